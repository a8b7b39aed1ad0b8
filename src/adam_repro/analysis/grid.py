"""Figure 4's runs by what was varied: alpha, beta1, beta2, and whether biases are corrected."""

from __future__ import annotations

import json
import math

import pandas as pd

from adam_repro.analysis.curves import FigureData

KEYS = ["epochs", "beta1", "beta2", "lr"]


def cells(data: FigureData) -> pd.DataFrame:
    """A line for each run and milestone: epochs, beta1, beta2, lr, seed, form, train_cost, test_loss.

    ``form``: corrected, uncorrected, or control, which is corrected Adam under the schedule that stands for what is
    missing without.
    """
    runs = data.finals[data.finals["arm"].isin(("grid", "control"))].copy()
    hyper = [json.loads(text) for text in runs["hyper"]]
    for name in ("beta1", "beta2"):
        runs[name] = [float(each[name]) for each in hyper]
    corrected = [each["bias_correction"] for each in hyper]
    runs["form"] = [
        "control" if arm == "control" else "corrected" if whole else "uncorrected"
        for arm, whole in zip(runs["arm"], corrected, strict=True)
    ]
    return runs[[*KEYS, "seed", "form", "train_cost", "test_loss"]].reset_index(drop=True)


def last_milestone(data: FigureData) -> pd.DataFrame:
    """The cells after the most passes that were run."""
    grid = cells(data)
    return grid[grid["epochs"] == grid["epochs"].max()]


def gaps(data: FigureData, first: str, second: str) -> pd.Series:
    """Cost of ``first`` less that of ``second`` after the most passes, by beta1, beta2, lr and seed, where both ran.

    A run that diverged is worse than any cost: the gap is infinite, and NaN where both diverged.
    """
    grid = last_milestone(data)
    index = [*KEYS[1:], "seed"]
    a, b = (grid[grid["form"] == form].set_index(index)["train_cost"] for form in (first, second))
    a, b = a.align(b, join="inner")
    gap = a - b
    gap[a.isna() & b.notna()] = math.inf
    gap[b.isna() & a.notna()] = -math.inf
    return gap
