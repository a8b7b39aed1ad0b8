"""Figure 4: Adam's bias correction in a variational autoencoder, over alpha, beta1 and beta2."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from adam_repro.analysis.curves import FigureData, paper_figure_4
from adam_repro.analysis.figures import figure, style_of
from adam_repro.analysis.figures.panels import caption, say_missing, span_in_words, stamp_if_stand_in
from adam_repro.analysis.grid import cells, seeds_by_setting
from adam_repro.analysis.statistics import over_seeds
from adam_repro.wording import counted

TOP, BOTTOM = 140.0, 95.0  # the paper's axis, nats
COST = "the negative bound, nats an image, mean over that pass"
MARKS = "Crosses: some run diverged; triangles: above the axis"
OTHERS = "Thin horizontal lines: the suite's four, tuned; one that is not seen lies above the axis"
MORE = {"real": f"{MARKS}; faint: the paper's points, digitised", "stand-in": MARKS}
LOOKS: dict[str, dict[str, Any]] = {
    "corrected": {"color": "#c00000", "linestyle": "-", "marker": "o", "label": "with bias correction"},
    "uncorrected": {"color": "#007f3f", "linestyle": (0, (4, 2)), "marker": "s", "label": "without"},
    "control": {
        "color": "#222222",
        "linestyle": (0, (1, 1.5)),
        "linewidth": 0.9,
        "marker": "",
        "label": "with, its steps scaled to those without",
    },  # fmt: skip
}


@figure("fig4")
def fig4(data: FigureData) -> Figure:
    """A block of panels for each milestone, as the paper has them: rows beta1, columns beta2."""
    grid = cells(data)
    milestones = sorted(grid["epochs"].unique())
    if not milestones:
        return _empty(data)
    below = 0.75 + (0.45 if len(data.arm("tuned")) else 0)  # inches
    rows = [grid[grid["epochs"] == epochs]["beta1"].nunique() for epochs in milestones]
    heights = [0.6 + 2.15 * count for count in rows]
    height = sum(heights) + 0.15 + below
    drawn = Figure(figsize=(9, height), layout=ConstrainedLayoutEngine(rect=(0, below / height, 1, 1 - below / height)))
    blocks = drawn.subfigures(len(milestones), 1, squeeze=False, height_ratios=heights)[:, 0]
    panels = [
        axes for block, epochs in zip(blocks, milestones, strict=True) for axes in _block(block, grid, epochs, data)
    ]
    handles, labels = panels[0].get_legend_handles_labels()
    forms = len(grid["form"].unique())
    blocks[0].legend(handles[:forms], labels[:forms], loc="upper right", ncols=3, fontsize=8.5, handlelength=3.2)
    if others := handles[forms:]:
        place: dict[str, Any] = {"loc": "lower center", "bbox_to_anchor": (0.5, 0.72 / height)}
        drawn.legend(others, labels[forms:], ncols=2, fontsize=8.5, handlelength=3.2, **place)
    longer = [f"Some settings: {epochs} passes" for epochs in milestones if epochs > data.provenance["epochs"]]
    more = [*longer, MORE[data.provenance["provenance"]], *([OTHERS] if len(data.arm("tuned")) else [])]
    caption(drawn, data, arm="grid", panel=None, mean="mean", cost=COST, more=". ".join(more))
    stamp_if_stand_in(data, panels)
    return drawn


def _empty(data: FigureData) -> Figure:
    drawn = Figure(figsize=(9, 2))
    axes = drawn.subplots()
    say_missing(axes, "runs", data)
    stamp_if_stand_in(data, [axes])
    return drawn


def _block(block: SubFigure, grid: pd.DataFrame, epochs: int, data: FigureData) -> list[Axes]:
    block.suptitle(f"after {counted(epochs, 'pass')}", x=0.01, ha="left", fontweight="bold")
    chosen = grid[grid["epochs"] == epochs]
    beta1s, beta2s = sorted(chosen["beta1"].unique()), sorted(grid["beta2"].unique())
    every = block.subplots(len(beta1s), len(beta2s), sharex=True, sharey=True, squeeze=False)
    panels = []
    for row, beta1 in zip(every, beta1s, strict=True):
        there = set(chosen[chosen["beta1"] == beta1]["beta2"])
        first = min(there)
        for axes, beta2 in zip(row, beta2s, strict=True):
            if beta2 not in there:
                axes.remove()
                continue
            one_cell(axes, data, chosen, beta1, beta2)
            _others(axes, data, epochs)
            axes.set_title(f"β1 = {beta1:g}, β2 = {beta2:g}{_fewer_seeds(grid, epochs, beta1, beta2)}", fontsize=9)
            if beta2 == first:
                axes.set_ylabel("training cost, nats")
                axes.tick_params(labelleft=True)
            panels.append(axes)
    for axes in every[-1]:
        axes.set_xlabel("log10 α")
    return panels


def _fewer_seeds(grid: pd.DataFrame, epochs: int, beta1: float, beta2: float) -> str:
    """ ", n = 1" for a panel of fewer seeds than the others have."""
    seeds = seeds_by_setting(grid)
    here = seeds.loc[epochs, beta1, beta2]
    return "" if here.min() == seeds.max() else f", n = {span_in_words(here)}"


def one_cell(axes: Axes, data: FigureData, block: pd.DataFrame, beta1: float, beta2: float) -> None:
    """The costs of a block, ``cells`` after equally many passes, at these betas; over the printed points."""
    finished = block["train_cost"].dropna()
    lowest = finished.min() if len(finished) else BOTTOM
    top = TOP if lowest < TOP else float(np.ceil(finished.quantile(0.75) / 20 + 0.5) * 20)
    cell = block[(block["beta1"] == beta1) & (block["beta2"] == beta2)]
    there = set(block["form"])
    for form, look in LOOKS.items():
        if form in there:
            _curve(axes, cell[cell["form"] == form], look, top)
    if data.provenance["provenance"] == "real":
        _printed(axes, block["epochs"].iloc[0], beta1, beta2)
    axes.set_xlim(-5, -1)
    axes.set_ylim(min(BOTTOM, lowest * 0.98), top)


def _curve(axes: Axes, runs: pd.DataFrame, look: dict[str, Any], top: float) -> None:
    """Mean over seeds against log10 alpha; a triangle at the top for a mean above the axis, a cross for divergence."""
    table = runs.pivot(index="lr", columns="seed", values="train_cost")
    x = np.log10(table.index.to_numpy(float))
    mean = table.mean(axis=1, skipna=False).to_numpy()
    axes.plot(x, mean, **{"markersize": 4, "linewidth": 1.4, **look})
    if look["marker"] and (whole := ~np.isnan(mean)).any():
        _, low, high = over_seeds(table.to_numpy()[whole])
        axes.fill_between(x[whole], low, high, color=look["color"], alpha=0.2, linewidth=0)
    if look["marker"]:
        for marker, where in (("x", np.isnan(mean)), ("^", mean > top)):
            y = np.full(where.sum(), 0.965 if look["linestyle"] == "-" else 0.91)
            axes.plot(x[where], y, marker, color=look["color"], markersize=5, transform=axes.get_xaxis_transform())


def _others(axes: Axes, data: FigureData, epochs: int) -> None:
    """The costs of tuned optimizers with settings of their own, for which alpha is no axis: mean over seeds."""
    tuned = data.arm("tuned")
    for name, runs in tuned[tuned["epochs"] == epochs].groupby("curve", sort=False):
        style = {**style_of(str(name)), "marker": ""}
        label = f"{name}, lr {runs['lr'].iloc[0]:g}, n = {len(runs)}"
        axes.axhline(runs["train_cost"].mean(skipna=False), linewidth=0.8, label=label, zorder=1, **style)


def _printed(axes: Axes, epochs: int, beta1: float, beta2: float) -> None:
    points = paper_figure_4()
    points = points[(points["epochs"] == epochs) & (points["beta1"] == beta1) & (points["beta2"] == beta2)]
    for column, form in (("bias_corrected_loss", "corrected"), ("uncorrected_loss", "uncorrected")):
        axes.plot(np.log10(points["alpha"]), points[column], color=LOOKS[form]["color"], linewidth=5, alpha=0.18,
                  zorder=1, solid_capstyle="butt")  # fmt: skip
