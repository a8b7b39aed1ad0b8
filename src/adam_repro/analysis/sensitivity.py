"""Final cost against learning rate, by series: the runs of a grid that differ in nothing but learning rate and seed."""

from __future__ import annotations

import json
import re

import pandas as pd


def series_of(runs: pd.DataFrame) -> pd.Series:
    """The name of each run's series, of letters, digits and underscores: its curve, and its other settings where the
    curve has several.

    ``runs`` has the columns ``curve``, ``schedule``, ``hyper`` (JSON) and ``l2`` of finals.csv.
    """
    columns = (runs["hyper"], runs["schedule"], runs["l2"])
    settings = [json.loads(text) | {"schedule": each, "L2": l2} for text, each, l2 in zip(*columns, strict=True)]
    seen: dict[tuple[str, str], set[str]] = {}
    for curve, own in zip(runs["curve"], settings, strict=True):
        for name, value in own.items():
            seen.setdefault((curve, name), set()).add(str(value))
    names = []
    for curve, own in zip(runs["curve"], settings, strict=True):
        varied = [f"{name} {value}" for name, value in own.items() if len(seen[curve, name]) > 1]
        names.append(re.sub(r"\W+", "_", " ".join([curve, *varied])))
    return pd.Series(names, index=runs.index, dtype=str)


def by_learning_rate(runs: pd.DataFrame) -> pd.DataFrame:
    """Mean ``train_cost`` over seeds, [learning rate, series]; NaN where a seed diverged or there was no run.

    ``runs``, of one arm, has the columns ``curve``, ``schedule``, ``hyper``, ``l2``, ``lr`` and ``train_cost`` of
    finals.csv.
    """
    groups = runs["train_cost"].astype(float).groupby([runs["lr"], series_of(runs)])
    return groups.agg(lambda costs: costs.mean(skipna=False)).unstack()
