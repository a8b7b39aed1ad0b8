"""Figure 1: logistic regression on MNIST and on IMDB."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from adam_repro.analysis.curves import FigureData
from adam_repro.analysis.figures import figure
from adam_repro.analysis.figures.panels import (
    FRAMES,
    Frame,
    below,
    caption,
    matched_costs,
    sensitivity,
    stamp_if_stand_in,
    training_cost,
)


@figure("fig1_mnist")
def fig1_mnist(data: FigureData) -> Figure:
    """Figure 1, left: the tuned arm large, below it the other arms and the sensitivity to the learning rate."""
    return _regression(data, FRAMES["fig1_mnist"], matched=_between)


@figure("fig1_imdb")
def fig1_imdb(data: FigureData) -> Figure:
    """Figure 1, right: the same for IMDB with dropout."""
    return _regression(data, FRAMES["fig1_imdb"], matched=below)


@figure("fig1_imdb_no_dropout")
def fig1_imdb_no_dropout(data: FigureData) -> Figure:
    """IMDB without dropout, of which the paper speaks and shows nothing."""
    return _regression(data, FRAMES["fig1_imdb_no_dropout"], matched=None)


def _between(axes: Axes) -> dict[str, Any]:
    """Between the printed curves of MNIST."""
    return {"loc": "upper right", "bbox_to_anchor": (1, 0.5)}


def _regression(data: FigureData, frame: Frame, *, matched: Callable[[Axes], dict[str, Any]] | None) -> Figure:
    """``matched`` says where that arm's panel has room for a legend; None: there is no such panel."""
    height = 10.0 if matched is below else 9.2
    rect = (0, 0.69 / height, 1, 1 - 0.69 / height)
    drawn = Figure(figsize=(9, height), layout=ConstrainedLayoutEngine(h_pad=0.07, w_pad=0.07, rect=rect))
    middle = ["matched", "default"] if matched else ["default", "default"]
    layout: list[Any] = [["tuned", "tuned"], middle, ["grid", "grid"]]
    panels: dict[str, Axes] = drawn.subplot_mosaic(layout, height_ratios=[1.35, 1, 1])
    training_cost(panels["tuned"], data, frame, arm="tuned")
    panels["tuned"].set_title("Tuned by the protocol: this panel decides how optimizers compare")
    if matched:
        legend = matched(panels["matched"]) if data.provenance["provenance"] == "real" else {"loc": "best"}
        matched_costs(panels["matched"], data, frame, legend=legend)
    training_cost(panels["default"], data, frame, arm="default", printed=False, small=True)
    panels["default"].set_title("Default settings")
    sensitivity(panels["grid"], data)
    panels["grid"].set_title("Final training cost against learning rate, under lr/√t")
    more = (
        "The grid's runs have a schedule and a momentum in common, tuned runs their own"
        if len(data.arm("grid"))
        else ""
    )
    caption(drawn, data, panel=frame.panel, more=more)
    stamp_if_stand_in(data, panels.values())
    return drawn
