"""Figure 2: fully connected networks on MNIST."""

from __future__ import annotations

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
    other_column,
    stamp_if_stand_in,
    training_cost,
)


@figure("fig2_dropout")
def fig2_dropout(data: FigureData) -> Figure:
    """Figure 2, (a): five optimizers, with dropout."""
    title = "Figure 2, (a): fully connected network with dropout on MNIST"
    return _network(data, title, FRAMES["fig2_dropout"], more="")


@figure("fig2_deterministic")
def fig2_deterministic(data: FigureData) -> Figure:
    """Figure 2, (b): without dropout; SFO's curve is the printed one only."""
    title = "Figure 2, (b): fully connected network without dropout on MNIST"
    more = "SFO was not run: its curve is the printed one" if data.provenance["provenance"] == "real" else ""
    return _network(data, title, FRAMES["fig2_deterministic"], more=more)


def _network(data: FigureData, title: str, frame: Frame, *, more: str) -> Figure:
    drawn = Figure(figsize=(9, 8.6), layout=ConstrainedLayoutEngine(h_pad=0.07, w_pad=0.07, rect=(0, 0.08, 1, 0.92)))
    panels: dict[str, Axes] = drawn.subplot_mosaic(
        [["tuned", "tuned"], ["default", "accuracy"]], height_ratios=[1.35, 1]
    )
    training_cost(panels["tuned"], data, frame, arm="tuned")
    panels["tuned"].set_title("Tuned by the protocol: this panel decides the claims")
    legend = below(panels["default"])
    training_cost(panels["default"], data, frame, arm="default", printed=False, small=True, legend=legend)
    panels["default"].set_title("Default settings")
    other_column(panels["accuracy"], data, "test_accuracy", label="test accuracy")
    panels["accuracy"].set_title("Test accuracy, tuned (not in the paper)")
    caption(drawn, data, title, panel=frame.panel, more=more)
    stamp_if_stand_in(data, panels.values())
    return drawn
