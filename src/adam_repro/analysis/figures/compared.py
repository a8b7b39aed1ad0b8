"""A newcomer drawn over the curves of a figure, and its final cost beside theirs."""

from __future__ import annotations

import math

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from adam_repro.analysis.comparison import Comparison
from adam_repro.analysis.figures import style_of
from adam_repro.analysis.figures.panels import Frame, caption, stamp_if_stand_in, training_cost

DECADES = 1.5  # of cost, beyond which an axis is logarithmic
HEIGHT = 8.0


def compared(found: Comparison, *, title: str, panel: str | None, source: str) -> Figure:
    """Training curves large, below them what the newcomer's final cost is of each other's. ``source``: whose curves
    it is drawn over."""
    rect = (0, 0.69 / HEIGHT, 1, 1 - 0.69 / HEIGHT)
    drawn = Figure(figsize=(9, HEIGHT), layout=ConstrainedLayoutEngine(h_pad=0.07, w_pad=0.07, rect=rect))
    above, below = drawn.subplots(2, 1, height_ratios=[2.2, 1])
    first, last = _extent(found)
    log = math.log10(first / last) > DECADES
    ylim = (last / 1.3, first * 1.3) if log else (last * 0.9, first * 1.02)
    epochs = found.data.provenance["epochs"]
    xlim = (-0.015 * epochs, epochs - 0.7)
    training_cost(above, found.data, Frame(panel, xlim, ylim, log), arm="tuned", bold=found.name)
    above.set_title(f"{found.name} among the tuned curves of {title}")
    ratios(below, found)
    heading = f"{found.name}, tuned by the same protocol, over {source}"
    caption(drawn, found.data, title=heading, panel=panel)
    stamp_if_stand_in(found.data, (above, below))
    return drawn


def ratios(axes: Axes, found: Comparison) -> None:
    """The newcomer's final cost as a share of each other's, paired by seed, with the interval that decided."""
    others = found.table[found.table["curve"] != found.name].reset_index(drop=True)
    for place, row in others.iterrows():
        style = style_of(row["curve"])
        whole = [row["ratio"] - row["low"], row["high"] - row["ratio"]]
        reach = np.array([whole]).T if np.isfinite(whole).all() else None
        axes.errorbar([row["ratio"]], [place], xerr=reach, color=style["color"], marker=style["marker"], capsize=3)
    axes.axvline(1, color="#888888", linewidth=0.9, linestyle=":")
    axes.set_yticks(range(len(others)), [f"against {curve}" for curve in others["curve"]])
    axes.set_ylim(len(others) - 0.5, -0.5)
    axes.set_xlabel(f"final training cost of {found.name} as a ratio (left of 1: {found.name} is lower)")


def _extent(found: Comparison) -> tuple[float, float]:
    """The highest mean cost of a first pass and the lowest of any."""
    curves = found.data.curves
    means = curves[curves["epoch"] > 0].groupby(["curve", "epoch"])["train_cost"].mean()
    return float(means.xs(1, level="epoch").max()), float(means.min())
