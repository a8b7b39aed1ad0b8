"""Section 6.4: bias correction in a variational autoencoder (Figure 4). Costs are negative bounds, nats an image."""

from __future__ import annotations

import math

import pandas as pd
from scipy import stats

from adam_repro.analysis.claims import Finding, NotRun, Within, claim
from adam_repro.analysis.curves import FigureData, paper_figure_4
from adam_repro.analysis.grid import cells, pairs
from adam_repro.analysis.statistics import FAMILY_ERROR, FEWEST_SEEDS, holm_levels

FIGURE = "fig4"
PASSES = 100
USABLE = 5.0  # nats above the best
DECADES_A_STEP = 0.5
SAME = 0.1  # nats
SMALL = 0.01  # 1 - beta2 below this is small


@claim(
    "L21",
    section="6.4",
    figure=FIGURE,
    statement="Without bias correction fewer step sizes are usable when beta2 is close to 1.",
    margin=0.0,
)
def correction_widens_the_usable_range(data: FigureData) -> Within | NotRun:
    grid = _last(data)
    if grid.empty:
        return NotRun("no grid was run")
    best = grid.groupby(["beta1", "beta2", "seed"])["train_cost"].transform("min")
    usable = grid.assign(usable=(grid["train_cost"] <= best + USABLE) * DECADES_A_STEP)
    width = usable.groupby(["form", "beta2", "seed", "beta1"])["usable"].sum().groupby(["form", "beta2", "seed"]).mean()
    gain = (width["corrected"] - width["uncorrected"]).unstack("seed")
    by_beta2 = ", ".join(f"{mean:.2f} at beta2 = {beta2:g}" for beta2, mean in gain.mean(axis=1).items())
    note = (
        f"decades of alpha within {USABLE:g} nats of the best, with correction less without: {by_beta2}; {_how(data)}"
    )
    return Within(gain.loc[gain.index.max()].to_numpy(), 0.0, math.inf, ratios=False, note=note)


@claim(
    "L22",
    section="6.4",
    figure=FIGURE,
    statement="Adam is at least as good as it is without bias correction, for every setting.",
    margin=0.0,
)
def correction_never_hurts(data: FigureData) -> Finding | NotRun:
    table = _side_by_side(data, "corrected", "uncorrected").dropna()
    seeds = table.groupby(level=["beta1", "beta2", "lr"]).size()
    if table.empty or seeds.max() < FEWEST_SEEDS:
        return NotRun(f"n too small: {seeds.max() if len(seeds) else 0} seeds, {FEWEST_SEEDS} are needed; {_how(data)}")
    worse, p = {}, {}
    for cell, rows in table.groupby(level=["beta1", "beta2", "lr"]):
        gap = (rows["corrected"] - rows["uncorrected"]).to_numpy()
        if len(gap) >= FEWEST_SEEDS:
            worse[cell], p[cell] = float(gap.mean()), float(stats.ttest_1samp(gap, 0, alternative="greater").pvalue)
    levels = dict(zip(p, holm_levels(list(p.values()), FAMILY_ERROR), strict=True))
    hurt = [cell for cell in p if p[cell] <= levels[cell]]
    largest = max(worse, key=lambda cell: worse[cell])
    note = (
        f"nats by which correction is worse, largest at beta1, beta2, alpha = {', '.join(f'{x:g}' for x in largest)}; "
        f"significantly worse in {len(hurt)} of {len(p)} settings where neither diverged (Holm); {_how(data)}"
    )
    return Finding(not hurt, worse[largest], min(worse.values()), worse[largest], len(p), note)


@claim(
    "L23",
    section="6.4",
    figure=FIGURE,
    statement="The best results come with bias correction and a small 1 - beta2.",
    margin=0.0,
)
def best_with_correction_and_beta2_near_1(data: FigureData) -> Within | NotRun:
    grid = _last(data)
    if grid.empty:
        return NotRun("no grid was run")
    praised = (grid["form"] == "corrected") & (1 - grid["beta2"] < SMALL - 1e-9)
    best, others = (grid[chosen].groupby("seed")["train_cost"].min() for chosen in (praised, ~praised))
    cells_best = grid.groupby(["form", "beta1", "beta2", "lr"])["train_cost"].mean()
    where = cells_best.idxmin()
    named = f"{where[0]}, beta1, beta2, alpha = {', '.join(f'{x:g}' for x in where[1:])}"
    note = (
        f"best of those less the best of the others, nats; best of all: {named}, {cells_best.min():.2f}; {_how(data)}"
    )
    return Within((best - others).to_numpy(), -math.inf, 0.0, ratios=False, note=note)


@claim(
    "L24",
    section="6.4",
    figure=FIGURE,
    statement="Leaving bias correction out is the same as a schedule of larger first steps.",
    margin=SAME,
)
def a_schedule_does_the_same(data: FigureData) -> Within | NotRun:
    table = _side_by_side(data, "control", "uncorrected").dropna()
    if table.empty:
        return NotRun("the control was not run")
    gap = table["control"] - table["uncorrected"]
    d = gap.groupby(level="seed").mean().to_numpy()
    note = f"nats, mean over settings where neither diverged; single settings up to {gap.abs().max():.2g}; {_how(data)}"
    return Within(d, -SAME, SAME, ratios=False, note=note)


@claim(
    "P3",
    section="6.4",
    figure=FIGURE,
    statement="In the points of Figure 4 as printed, bias correction is nowhere worse.",
    margin=0.0,
)
def printed_points_agree_with_the_text(data: FigureData) -> Finding:
    points = paper_figure_4().dropna()
    gap = points["bias_corrected_loss"] - points["uncorrected_loss"]
    lower = int((gap > 0).sum())
    note = f"pairs of {len(gap)} in which the point without correction lies lower; by up to {gap.max():.1f} nats"
    return Finding(lower == 0, lower, 0, lower, len(gap), note)


def _last(data: FigureData) -> pd.DataFrame:
    """The grid after the most passes that were run, the control left out."""
    grid = cells(data)
    return grid[(grid["epochs"] == grid["epochs"].max()) & (grid["form"] != "control")]


def _side_by_side(data: FigureData, first: str, second: str) -> pd.DataFrame:
    table = pairs(data, first, second)
    return table[table.index.get_level_values("epochs") == table.index.get_level_values("epochs").max()]


def _how(data: FigureData) -> str:
    epochs = int(data.finals["epochs"].max())
    return f"after {epochs} passes" + ("" if epochs >= PASSES else f" (reduced: the paper has {PASSES})")
