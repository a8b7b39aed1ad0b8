"""Figure 4's runs by what was varied: alpha, beta1, beta2, and whether biases are corrected."""

from __future__ import annotations

import json

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


def pairs(data: FigureData, first: str, second: str) -> pd.DataFrame:
    """Runs of two forms side by side, by ``KEYS`` and seed: columns ``first``, ``second``; NaN: diverged."""
    grid = cells(data)
    table = grid[grid["form"].isin((first, second))].pivot(index=[*KEYS, "seed"], columns="form", values="train_cost")
    both = grid.groupby([*KEYS, "seed"])["form"].agg(set).map({first, second}.issubset)
    return table.reindex(columns=[first, second])[both.reindex(table.index)]
