"""Figures of section 6: training curves and final costs."""

from __future__ import annotations

import json
import math
import textwrap
from typing import Any

import matplotlib.ticker
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from adam_repro.analysis.curves import FigureData, paper_curves, summary
from adam_repro.analysis.figures import STYLES, figure
from adam_repro.analysis.statistics import bootstrap_interval

SCHEDULES = {
    "constant": "",
    "inverse_sqrt_step": "/√t",
    "inverse_sqrt_epoch": "/√epoch",
}


@figure("fig1_mnist")
def fig1_mnist(data: FigureData) -> Figure:
    """Figure 1, left: the tuned arm large, below it the other arms and the sensitivity to the learning rate."""
    drawn = Figure(figsize=(9, 9.2), layout=ConstrainedLayoutEngine(h_pad=0.07, w_pad=0.07, rect=(0, 0.075, 1, 0.925)))
    layout: list[Any] = [["tuned", "tuned"], ["matched", "default"], ["grid", "grid"]]
    panels: dict[str, Axes] = drawn.subplot_mosaic(layout, height_ratios=[1.35, 1, 1])
    xlim, ylim = (-0.7, 45.7), (0.2, 0.7)
    training_cost(panels["tuned"], data, arm="tuned", panel="1L", xlim=xlim, ylim=ylim)
    panels["tuned"].set_title("Tuned by the protocol: this panel decides the claims")
    training_cost(panels["matched"], data, arm="matched", panel="1L", xlim=xlim, ylim=ylim, small=True, legend_top=0.5)
    panels["matched"].set_title("Matched to the printed curves")
    training_cost(panels["default"], data, arm="default", panel=None, xlim=xlim, ylim=ylim, small=True)
    panels["default"].set_title("Default settings")
    sensitivity(panels["grid"], data)
    panels["grid"].set_title("Final training cost against learning rate, under lr/√t")
    caption(drawn, data, "Figure 1, left: logistic regression on MNIST")
    if data.provenance["provenance"] == "stand-in":
        for axes in panels.values():
            stamp(axes)
    return drawn


def training_cost(
    axes: Axes,
    data: FigureData,
    *,
    arm: str,
    panel: str | None,
    xlim: tuple[float, float],
    ylim: tuple[float, float],
    small: bool = False,
    legend_top: float | None = None,
) -> None:
    """Mean training cost over seeds with its 95 % interval, at x = epoch - 1, over the printed curves of ``panel``.

    ``legend_top`` is where the printed curves leave room for the legend; without them it goes where it fits.
    """
    curves = summary(data.curves, "train_cost", arm=arm)
    real = data.provenance["provenance"] == "real"
    printed = paper_curves(panel) if panel is not None and real else None
    if printed is not None:
        _printed(axes, printed, named=not small)
    last = max(curves["epoch"].max() - 1, 1) if len(curves) else 1
    names = data.arm(arm)["curve"].unique()
    for name in names:
        style, label = STYLES[name], _label(data, arm, name, short=small)
        rows = curves[curves["curve"] == name]  # none where every seed diverged at once: the legend says so
        extra = panel is not None and name not in set(paper_curves(panel)["curve"])
        width = (1.0 if extra else 2.0) * (0.75 if small else 1)
        x = rows["epoch"] - 1
        axes.plot(x, rows["mean"], linewidth=width, label=label + (" *" if extra else ""), zorder=3,
                  markevery=(0.0, 0.16), markersize=3.5 if small else 5, **style)  # fmt: skip
        axes.fill_between(x, rows["low"], rows["high"], color=style["color"], alpha=0.2, linewidth=0, zorder=2)
    if not len(names):
        missing = f"no runs here:\nmake reproduce\nFIGURE={data.provenance['figure']}"
        axes.text(0.5, 0.5, missing, transform=axes.transAxes, ha="center", va="center", color="#666666")
    axes.set_xlim(*((-0.7, last + 0.7) if last < xlim[1] - 1 else xlim))
    axes.set_ylim(*_limits(curves, ylim))
    axes.xaxis.set_major_locator(matplotlib.ticker.MaxNLocator(steps=[1, 2, 5, 10], integer=True))
    axes.set_xlabel("passes over the training data, less one (the paper's x)" if not small else "passes, less one")
    axes.set_ylabel("training cost, nats")
    if axes.get_legend_handles_labels()[0]:
        place: dict[str, Any] = {"loc": "best"}
        if printed is not None and legend_top is not None:
            place = {"loc": "upper right", "bbox_to_anchor": (1, legend_top)}
        axes.legend(**place, handlelength=3.2, fontsize=7.5 if small else None, labelspacing=0.3)


def sensitivity(axes: Axes, data: FigureData) -> None:
    """Final training cost of the grid against lr: mean over seeds with its 95 % interval; x at the top: diverged."""
    grid = data.arm("grid")
    axes.set_xscale("log")
    axes.set_yscale("log")
    for name, rows in grid.groupby("curve", sort=False):
        table = rows.pivot(index="lr", columns="seed", values="train_cost")
        whole = table.dropna()
        lost = table.index[table.isna().any(axis=1)]
        style = STYLES[name]
        if len(whole):
            low, high = bootstrap_interval(whole.to_numpy())
            axes.plot(whole.index, whole.mean(axis=1), label=f"{name}, n = {whole.shape[1]}", markersize=5, **style)
            axes.fill_between(whole.index, low, high, color=style["color"], alpha=0.2, linewidth=0)
        axes.plot(lost, np.full(len(lost), 0.97), "x", color=style["color"], transform=axes.get_xaxis_transform())
    if grid.empty:
        missing = f"no grid here: make reproduce FIGURE={data.provenance['figure']}"
        axes.text(0.5, 0.5, missing, transform=axes.transAxes, ha="center", va="center", color="#666666")
        return
    axes.set_xlabel("learning rate")
    axes.set_ylabel("final cost, nats")
    bottom, top = axes.get_ylim()
    axes.set_ylim(bottom, top * (top / bottom) ** 0.2)  # room for the legend
    axes.yaxis.set_major_locator(matplotlib.ticker.LogLocator(subs=(1, 2, 3, 5)))
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_locator(matplotlib.ticker.NullLocator())
    axes.legend(loc="upper center", ncols=4, handlelength=3.2)


def caption(drawn: Figure, data: FigureData, title: str) -> None:
    """What the figure shows and where it comes from, below it."""
    facts = data.provenance
    seeds = len(data.arm("tuned")["seed"].unique())
    kind = "Real data" if facts["provenance"] == "real" else "STAND-IN DATA (scikit-learn's digits)"
    text = (
        f"{title}. {kind}, {facts['dataset']['train_examples']:,} training examples; {facts['epochs']} passes, "
        f"minibatches of {facts['batch_size']}, L2 {facts['l2']:g}; mean over {seeds} seeds with 95 % bootstrap "
        f"intervals; scale {facts['scale']}."
    )
    if facts["tuned_at"] != facts["epochs"]:
        text += f" Tuned at {facts['tuned_at']} passes."
    if facts["provenance"] == "real":
        text += " Faint: the paper's printed curves, digitised."
    text += " * not in the paper's panel. Training cost: mean over a pass of the minibatch costs, without the penalty."
    drawn.text(0.012, 0.012, textwrap.fill(text, 150), fontsize=8, color="#444444", va="bottom")


def stamp(axes: Axes) -> None:
    """Says across a panel that its data stand in for the paper's."""
    axes.text(0.5, 0.5, "stand-in data", transform=axes.transAxes, ha="center", va="center", rotation=18,
              fontsize=22, color="#b00000", alpha=0.28, zorder=5, weight="bold")  # fmt: skip


def _printed(axes: Axes, printed: pd.DataFrame, *, named: bool) -> None:
    """The printed curves, faint and wide, and their names where our lines and the legend leave room."""
    tables = {name: points.set_index("epoch")["training_cost"] for name, points in printed.groupby("curve", sort=False)}
    for place, name in enumerate(sorted(tables, key=lambda name: tables[name].iloc[-1])):
        points, color = tables[name], STYLES[name]["color"]
        axes.plot(points, color=color, linewidth=5, alpha=0.18, zorder=1, solid_capstyle="butt")
        if named:
            x, beside = points.index[points.index <= 6 + 10 * place].max(), (14, -30 if place == 2 else 24)
            axes.annotate(f"printed: {name}", (x, points[x]), xytext=beside, textcoords="offset points", color=color,
                          fontsize=8.5, arrowprops={"arrowstyle": "-", "color": color, "alpha": 0.5})  # fmt: skip


def _label(data: FigureData, arm: str, curve: str, *, short: bool) -> str:
    """Name, learning rate with its schedule, momentum, number of seeds; in full also the final cost."""
    runs = data.arm(arm)
    runs = runs[runs["curve"] == curve]
    setting = runs.iloc[0]
    momentum = json.loads(setting["hyper"]).get("momentum")
    parts = [f"{curve}", f"lr {setting['lr']:g}{SCHEDULES[setting['schedule']]}"]
    if momentum:
        parts.append(f"μ {momentum:g}" if short else f"momentum {momentum:g}")
    if arm == "matched":
        parts.append(f"L2 {setting['l2']:g}")
    lost = int((runs["status"] == "diverged").sum())
    parts.append(f"n = {len(runs)}" + (f", {lost} diverged" if lost else ""))
    final = "" if lost or short else f": {runs['train_cost'].mean():.4f}"
    return ", ".join(parts) + final


def _limits(curves: pd.DataFrame, wanted: tuple[float, float]) -> tuple[float, float]:
    """The paper's range of y, opened where the ends of our curves would lie outside."""
    if not len(curves):
        return wanted
    ends = curves[curves["epoch"] == curves["epoch"].max()]["mean"]
    start = curves[curves["epoch"] == 1]["mean"]
    low = min(wanted[0], math.floor(ends.min() * 20) / 20)
    high = max(wanted[1], math.ceil(ends.max() * 10.5) / 10) if ends.max() > wanted[1] else wanted[1]
    return low, max(high, start.min() * 1.05)
