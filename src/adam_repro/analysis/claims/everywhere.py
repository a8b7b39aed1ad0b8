"""Claims that all figures bear on together."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from adam_repro.analysis.claims import Finding, NotRun, claim
from adam_repro.analysis.claims.comparisons import finals, joined
from adam_repro.analysis.curves import FigureData, chosen_after
from adam_repro.analysis.statistics import paired_differences

OVERVIEW = "overview"  # stands for all figures; the folder beside theirs of what concerns them together
LITTLE = 1.2
FEWEST_TASKS = 3
ALGORITHM_1 = {"lr": 1e-3, "beta1": 0.9, "beta2": 0.999, "eps": 1e-8, "bias_correction": True}
VARIATIONS = ("fig1_mnist_wide", "fig3_full")  # of tasks that are counted by another figure


@dataclass(frozen=True)
class Everything:
    """The data of all figures with results, by name."""

    figures: Mapping[str, FigureData]

    @property
    def provenance(self) -> dict[str, Any]:
        """What they share: a stand-in among them is none of the paper's data."""
        every = [data.provenance for data in self.figures.values()]
        kinds = {facts["provenance"] for facts in every}
        return {
            "scale": ", ".join(sorted({facts["scale"] for facts in every})),
            "provenance": "stand-in" if "stand-in" in kinds else "real",
        }


@claim(
    "L27",
    section="abstract",
    figure=OVERVIEW,
    statement="Adam needs little tuning: in the median task its default settings end at most a fifth above tuned ones.",
    margin=LITTLE - 1,
)
def adam_needs_little_tuning(data: Everything) -> Finding | NotRun:
    """A task's ratio is the geometric mean over seeds of the final training costs, default over tuned."""
    ratios = {name: ratio for name, figure in data.figures.items() if (ratio := _ratio(name, figure)) is not None}
    if len(ratios) < FEWEST_TASKS:
        return NotRun(f"n too small: {len(ratios)} tasks with default and tuned settings, {FEWEST_TASKS} are needed")
    median, low, high = (float(f(list(ratios.values()))) for f in (np.median, min, max))
    note = "default over tuned, median and range over tasks: " + ", ".join(
        f"{name} {ratio:.3g}{_how_tuned(data.figures[name], ratio)}" for name, ratio in ratios.items()
    )
    without = [name for name in data.figures if name not in (*ratios, *VARIATIONS)]
    note = joined(
        note,
        f"no run with default settings: {', '.join(without)}" if without else "",
        "a median without an interval: tasks are no sample of a population; small problems of our own: C28",
    )
    return Finding(median <= LITTLE, median, low, high, len(ratios), note)


def _how_tuned(data: FigureData, ratio: float) -> str:
    """What weakens a task's ratio: that its settings were chosen on less than it trains on, or are the default ones."""
    horizon = chosen_after(data.provenance)
    words = [*([f"tuned at {horizon}"] if horizon else []), *(["to the default settings"] if ratio == 1 else [])]
    return f" ({' '.join(words)})" if words else ""


def _with_default_settings(data: FigureData) -> pd.Series:
    """Adam's final costs by seed: of the default arm, or where there is none of the runs of the grid that are alike."""
    if len(costs := finals(data, "default", "Adam")):
        return costs
    grid = data.arm("grid")
    grid = grid[(grid["curve"] == "Adam") & (grid["schedule"] == "constant")]
    settings = [{"lr": lr, **json.loads(hyper)} for lr, hyper in zip(grid["lr"], grid["hyper"], strict=True)]
    alike = grid[np.array([each == ALGORITHM_1 for each in settings], dtype=bool)]
    alike = alike[alike["epochs"] <= data.provenance["epochs"]].sort_values("epochs")  # some may have run longer
    return alike.drop_duplicates("seed", keep="last").set_index("seed")["train_cost"]


def _ratio(name: str, data: FigureData) -> float | None:
    """Infinite where a default run diverged; None where the figure has no pair of Adam's runs, or counts elsewhere."""
    d = paired_differences(_with_default_settings(data), finals(data, "tuned", "Adam"))
    if name in VARIATIONS or not len(d):
        return None
    return math.exp(d.mean()) if np.isfinite(d).all() else math.inf
