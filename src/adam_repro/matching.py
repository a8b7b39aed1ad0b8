"""Which setting draws a printed curve? The paper states a family of settings and none of its numbers.

The family: the optimizer's own grid of learning rates (and momentum), every schedule, a range of L2 strengths, and
either reading of "training cost", with the penalty or without. Dropout rates are one choice for all curves of a
figure, and are tried with what is nearest otherwise. The distance of a run from a printed curve is the root
mean square of the logarithm of their ratio, over the printed points that the run reaches.

Where runs of a figure's own length take days, the settings that its config lists are compared over as many passes as it
says, by the time until each level: of so short a run that tells more than its costs.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from adam_repro.protocol import Grid

L2 = (0.0, 1e-5, 1e-4, 1e-3)
SCHEDULES = ("constant", "inverse_sqrt_step", "inverse_sqrt_epoch")
PLOTTED = ("data", "objective")
DROPOUT_RATES = ((0.0, 0.2), (0.0, 0.5), (0.2, 0.2), (0.2, 0.5), (0.5, 0.5))  # of the input, of hidden units
REFINED_STEPS = 8  # learning rates for each decade, in the second round


def family(grid: Grid) -> list[dict[str, Any]]:
    """Every setting of the first round."""
    others = {**grid.others, "schedule": SCHEDULES, "l2": L2}
    return Grid(grid.lr, others).trials()


def refined(best: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Settings around the nearest of the first round: half a decade of lr to both sides, and L2 a factor of 3."""
    steps = range(-REFINED_STEPS // 2 + 1, REFINED_STEPS // 2)
    lrs = [float(f"{best['lr'] * 10 ** (step / REFINED_STEPS):.3g}") for step in steps]
    strengths = sorted({float(f"{best['l2'] * factor:.3g}") for factor in (1 / 3, 1, 3)})
    return [{**best, "lr": lr, "l2": l2} for lr in lrs for l2 in strengths]


def with_dropout_rates(best: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The nearest settings with each of DROPOUT_RATES."""
    return [{**best, "input_dropout": of_input, "hidden_dropout": hidden} for of_input, hidden in DROPOUT_RATES]


def plotted(curves: Sequence[pd.DataFrame], what: str) -> pd.Series:
    """What the paper may have drawn, by its x (= our epoch - 1): the geometric mean over runs of one setting."""
    costs = [curve["train_cost"] + (curve["l2_penalty"] if what == "objective" else 0) for curve in curves]
    epochs = curves[0]["epoch"]
    logs = np.log(pd.concat(costs, axis=1)[epochs > 0]).mean(axis=1, skipna=False)
    return pd.Series(np.exp(logs.to_numpy()), index=(epochs[epochs > 0] - 1).to_numpy())


def distance(ours: pd.Series, printed: pd.Series) -> float:
    """Root mean square of ln(ours / printed) over the x that both have."""
    shared = printed.index.intersection(ours.index)
    return float(np.sqrt(np.mean(np.log(ours[shared] / printed[shared]) ** 2)))


def distance_in_passes(ours: pd.Series, printed: pd.Series) -> float:
    """Root mean square of ln(passes of ours / of the printed curve) until each of ``levels``.

    Passes are counted from 1, and between two of them a cost falls evenly in its logarithm. A level that ours does not
    come down to counts as reached one pass after its last, one that it begins below as reached in its first pass.
    Infinite where there is no level.
    """
    fall, printed = _fall(ours), levels(printed, passes=int(ours.index[-1]) + 1)
    if printed.empty:
        return math.inf
    passes = np.interp(-np.log(printed), -np.log(fall), fall.index + 1, right=ours.index[-1] + 2)
    return float(np.sqrt(np.mean(np.log(passes / (printed.index + 1)) ** 2)))


def distance_of_a_miss(printed: pd.Series, *, passes: int) -> float:
    """``distance_in_passes`` of a run of so many passes that comes down to none of the levels; infinite without any."""
    reached = levels(printed, passes=passes).index + 1
    if reached.empty:
        return math.inf
    return float(np.sqrt(np.mean(np.log((passes + 1) / reached) ** 2)))


def levels(printed: pd.Series, *, passes: int) -> pd.Series:
    """The costs of a printed curve that are below all before them, by x, of its first so many passes."""
    return _fall(printed[printed.index < passes])


def _fall(curve: pd.Series) -> pd.Series:
    """The points of a curve that are below all before them."""
    curve = curve.sort_index()
    return curve[curve < curve.cummin().shift(fill_value=math.inf)]
