"""When does a curve come down to a level? In passes, steps and seconds, beside the printed curve.

The levels were fixed before the runs: they are those at which the printed curves of a panel are apart.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from adam_repro.analysis.claims.comparisons import passes_to
from adam_repro.analysis.curves import FigureData, first_x, paper_curves
from adam_repro.analysis.figures.panels import FRAMES

TARGETS: dict[str, tuple[float, ...]] = {  # nats
    "fig1_mnist": (0.30, 0.28, 0.27),
    "fig1_imdb": (0.27, 0.26, 0.25),
    "fig1_imdb_no_dropout": (0.27, 0.26, 0.25),  # nothing is printed: those of the same data with dropout
    "fig2_dropout": (0.02, 0.015),
    "fig2_deterministic": (1e-1, 1e-2, 1e-3, 1e-4, 1e-5),
    "fig3_full": (1e-2, 1e-3),
}
SOLO = "solo"  # variants of bench.json: "solo" is Adam's, "solo AdaGrad" another's
WITHOUT = " without dropout"  # behind the name of an optimizer there
TIMED = {  # what a curve's steps are in bench.json: by figure and what stands behind "+" in the curve's name
    ("fig1_mnist", ""): ("logistic_mnist", ""),
    ("fig1_imdb", ""): ("logistic_imdb", ""),
    ("fig1_imdb_no_dropout", ""): ("logistic_imdb", WITHOUT),
    ("fig2_dropout", ""): ("mlp", ""),
    ("fig2_deterministic", ""): ("mlp", WITHOUT),
    ("fig3_full", ""): ("cnn", WITHOUT),
    ("fig3_full", "dropout"): ("cnn", ""),
}


@dataclass(frozen=True)
class Arrival:
    """When the tuned runs of a ``curve`` first have a training cost of at most ``target``.

    ``passes`` is the median over ``seeds``, counted from 1 (see ``first_x`` for the paper's x), and infinite where too
    many ``missed``; ``steps`` likewise. ``seconds``: steps times the time of one; None for a miss, or where none was
    taken. ``printed``: the pass of the printed curve, infinite for a miss; None where there is none to compare with.
    """

    target: float
    curve: str
    passes: float
    steps: float
    seconds: float | None
    seeds: int
    missed: int
    printed: float | None

    @property
    def lost(self) -> bool:
        return math.isinf(self.passes)


def times_to_target(
    data: FigureData, step_ms: Mapping[tuple[str, str], float], sfo_pass: Mapping[int, float] | None = None
) -> list[Arrival]:
    """The arrivals of each tuned curve at each level of the figure, by level, the first to arrive first.

    ``step_ms``: milliseconds of a step by workload and optimizer, as ``solo_steps`` gives them; ``sfo_pass``: the time
    of a pass of SFO in passes of Adam, by its number of minibatches. Both are taken for real data only.
    """
    data, facts = data.with_arm("tuned", {"sfo": "SFO"}), data.provenance  # which has nothing to tune
    figure, real = facts["figure"], facts["provenance"] == "real"
    usual = math.ceil(facts["dataset"]["train_examples"] / facts["batch_size"])
    panel = FRAMES[figure].panel if real and figure in TARGETS else None
    printed = None if panel is None else paper_curves(panel)
    found = []
    for target in TARGETS.get(figure, ()):
        arrivals = []
        for curve, runs in data.arm("tuned").groupby("curve", sort=False):
            hyper = json.loads(runs["hyper"].iloc[0])
            minibatches = hyper.get("subfunctions")  # SFO has its own
            steps_a_pass = minibatches or usual
            firsts = passes_to(data, curve, target)
            passes = float(np.median(firsts))
            factor, timed = (1.0, None) if minibatches is None else ((sfo_pass or {}).get(minibatches), "Adam")
            ms = step_ms.get(_timed_as(figure, curve, timed)) if real else None
            known = ms is not None and factor is not None and math.isfinite(passes)
            seconds = passes * usual * ms * factor / 1000 if known else None
            print_pass = None if printed is None else _printed_pass(printed, curve, target)
            missed = int(np.isinf(firsts).sum())
            arrivals.append(
                Arrival(target, curve, passes, passes * steps_a_pass, seconds, len(firsts), missed, print_pass)
            )
        found += sorted(arrivals, key=lambda arrival: arrival.passes)
    return found


def _timed_as(figure: str, curve: str, timed: str | None) -> tuple[str, str]:
    """Under what ``solo_steps`` has the steps of a curve, or those that ``timed`` would take in its place."""
    optimizer, _, variant = curve.partition("+")
    workload, dropout = TIMED.get((figure, variant), ("", ""))
    return workload, (timed or optimizer) + dropout


def solo_steps(bench: Mapping[str, Any]) -> dict[tuple[str, str], float]:
    """Milliseconds of a step of one run that trains alone, by workload and optimizer of a bench.json; ``WITHOUT`` may
    stand behind the latter."""
    return {
        (row["workload"], row["variant"].removeprefix(SOLO).strip() or "Adam"): row["ms_per_member_step"]
        for row in bench["measured"]
        if row["variant"].split()[0] == SOLO
    }


def _printed_pass(printed: pd.DataFrame, curve: str, target: float) -> float | None:
    points = printed[printed["curve"] == curve]
    if points.empty:
        return None
    first = points.loc[points["training_cost"] <= target, "epoch"].min()
    return math.inf if math.isnan(first) else float(first) + 1 - first_x(curve)
