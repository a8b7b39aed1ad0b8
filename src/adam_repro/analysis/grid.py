"""Figure 4's runs by what was varied: alpha, beta1, beta2, and whether biases are corrected."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass

import pandas as pd

from adam_repro.analysis.curves import FigureData, paper_figure_4
from adam_repro.analysis.sensitivity import series_of
from adam_repro.analysis.statistics import FEWEST_SEEDS

KEYS = ["epochs", "beta1", "beta2", "lr"]

READINGS = {
    "train_cost": "training bound, mean over the pass",
    "train_loss": "training bound at its end",
    "test_loss": "test bound at its end",
}
"""What the paper may have drawn for "loss"."""


@dataclass(frozen=True)
class Reading:
    """How far the runs, read in one of the ``READINGS``, are from the points of Figure 4: medians, in nats.

    ``corrected``, ``uncorrected``: of the absolute difference, over ``points`` in all. ``agree``: in how many of
    ``pairs`` of points, which differ in bias correction alone, the lower one is the same; ``differences``: of how much
    the difference within a pair is another. ``readable`` pairs are printed, of which ``not_run`` were not run at all.
    Means are over ``seeds``, but those of ``fewer_seeds`` of the pairs.
    """

    plotted: str
    points: int
    corrected: float
    uncorrected: float
    pairs: int
    agree: int
    differences: float
    readable: int
    not_run: int
    seeds: int
    fewer_seeds: int


def readings(data: FigureData) -> list[Reading]:
    """Each reading of the printed points that ours have a finite mean over seeds for, nearest first."""
    printed = paper_figure_4().rename(columns={"alpha": "lr"}).set_index(KEYS)
    printed.columns = pd.Index(["corrected", "uncorrected"])
    grid = cells(data)
    seeds = seeds_by_setting(grid).unstack("form").reindex(columns=printed.columns).min(axis=1)
    found = []
    for column, words in READINGS.items():
        means = grid.groupby([*KEYS, "form"])[column].agg(lambda costs: costs.mean(skipna=False)).unstack("form")
        off = (means - printed)[list(printed.columns)].dropna(how="all")
        pairs, readable = off.dropna(), printed.dropna()
        ours, theirs = (frame.loc[pairs.index].diff(axis=1).iloc[:, 1] for frame in (means[off.columns], printed))
        found.append(
            Reading(
                plotted=words,
                points=int(off.notna().sum().sum()),
                corrected=float(off["corrected"].abs().median()),
                uncorrected=float(off["uncorrected"].abs().median()),
                pairs=len(pairs),
                agree=int(((ours > 0) == (theirs > 0)).sum()),
                differences=float((ours - theirs).abs().median()),
                readable=len(readable),
                not_run=int((~readable.index.isin(means.index)).sum()),
                seeds=int(seeds.max()),
                fewer_seeds=int((seeds.loc[pairs.index] < seeds.max()).sum()),
            )
        )
    return sorted(found, key=lambda reading: reading.corrected)


def printed_points(data: FigureData) -> pd.DataFrame:
    """Figure 4's printed points after as many passes as ``data`` has, [learning rate, series], under the names that
    ``series_of`` gives our own."""
    ours = data.arm("grid")
    settings = [json.loads(text) for text in ours["hyper"]]
    names = pd.DataFrame(settings, columns=["beta1", "beta2", "bias_correction"]).drop_duplicates()
    names["series"] = series_of(ours).to_numpy()[names.index]
    printed = paper_figure_4().query(f"epochs == {data.provenance['epochs']}").drop(columns="epochs")
    points = printed.melt(["beta1", "beta2", "alpha"], var_name="bias_correction", value_name="cost").dropna()
    points["bias_correction"] = points["bias_correction"] == "bias_corrected_loss"
    return points.merge(names).pivot(index="alpha", columns="series", values="cost")


def cells(data: FigureData) -> pd.DataFrame:
    """A line for each run and milestone: epochs, beta1, beta2, lr, seed, form, and the costs.

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
    return runs[[*KEYS, "seed", "form", *READINGS]].reset_index(drop=True)


def seeds_by_setting(grid: pd.DataFrame) -> pd.Series:
    """How many seeds each setting has, by the ``KEYS`` and form."""
    return grid.groupby([*KEYS, "form"])["seed"].nunique()


def last_milestone(data: FigureData) -> pd.DataFrame:
    """The cells after the most passes for which there are as many runs as for any: of longer ones there may be few."""
    grid = cells(data)
    runs = grid["epochs"].value_counts()
    return grid[grid["epochs"] == runs[runs == runs.max()].index.max()]


def longest(data: FigureData) -> pd.DataFrame | None:
    """The cells after the most passes, of settings with enough seeds, where those are of longer runs than the
    ``last_milestone``."""
    grid, passes = cells(data), last_milestone(data)["epochs"].max()
    longer = grid[grid["epochs"] > passes]
    return None if longer.empty else _with_enough_seeds(longer[longer["epochs"] == longer["epochs"].max()])


def gaps(data: FigureData, first: str, second: str) -> pd.Series:
    """Cost of ``first`` less that of ``second`` in the ``last_milestone``, by beta1, beta2, lr and seed, where both
    ran.

    A run that diverged is worse than any cost: the gap is infinite, and NaN where both diverged.
    """
    return gaps_within(last_milestone(data), first, second)


def gaps_by_milestone(data: FigureData, first: str, second: str) -> dict[int, pd.Series]:
    """The same for each number of passes, fewest first, in settings with enough seeds."""
    blocks = cells(data).groupby("epochs")
    return {int(epochs): gaps_within(_with_enough_seeds(block), first, second) for epochs, block in blocks}


def gaps_within(block: pd.DataFrame, first: str, second: str) -> pd.Series:
    """The same among the cells after equally many passes."""
    index = [*KEYS[1:], "seed"]
    a, b = (block[block["form"] == form].set_index(index)["train_cost"] for form in (first, second))
    a, b = a.align(b, join="inner")
    gap = a - b
    gap[a.isna() & b.notna()] = math.inf
    gap[b.isna() & a.notna()] = -math.inf
    return gap


def _with_enough_seeds(block: pd.DataFrame) -> pd.DataFrame:
    """The settings of a block that have enough seeds for a claim, or as many as any has: a mean over seeds in which
    each has other settings is of nothing."""
    seeds = block.groupby([*KEYS[1:], "form"])["seed"].transform("nunique")
    return block[seeds >= min(FEWEST_SEEDS, seeds.max())]
