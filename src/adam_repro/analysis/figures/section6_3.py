"""Figure 3: a convolutional network on CIFAR-10."""

from __future__ import annotations

from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from adam_repro.analysis.curves import FigureData
from adam_repro.analysis.figures import STYLES, figure
from adam_repro.analysis.figures.panels import caption, other_column, stamp_if_stand_in, training_cost

LAYERS: dict[str, dict[str, Any]] = dict(
    zip(("conv1", "conv2", "conv3", "hidden", "output"), STYLES.values(), strict=False)
)


@figure("fig3_first_epochs")
def fig3_first_epochs(data: FigureData) -> Figure:
    """Figure 3, left: the first four passes."""
    title = "Figure 3, left: convolutional network on CIFAR-10, first passes"
    return _network(data, title, xlim=(-0.1, 3.1), ylim=(0.5, 3.0), log=False)


@figure("fig3_full")
def fig3_full(data: FigureData) -> Figure:
    """Figure 3, right: all 49 passes, and Adam without its first moment."""
    title = "Figure 3, right: convolutional network on CIFAR-10"
    return _network(data, title, xlim=(-0.7, 48.7), ylim=(1e-4, 10), log=True)


def _network(
    data: FigureData, title: str, *, xlim: tuple[float, float], ylim: tuple[float, float], log: bool
) -> Figure:
    drawn = Figure(figsize=(9, 9.6), layout=ConstrainedLayoutEngine(h_pad=0.07, w_pad=0.07, rect=(0, 0.075, 1, 0.925)))
    below: list[Any] = ["default", "accuracy"]
    last: list[Any] = ["ablation", "inside"] if len(data.arm("ablation")) else ["inside", "inside"]
    rows = [["tuned", "tuned"], below, last] if data.diagnostics is not None else [["tuned", "tuned"], below]
    panels: dict[str, Axes] = drawn.subplot_mosaic(rows, height_ratios=[1.5, 1, 0.9][: len(rows)])
    training_cost(panels["tuned"], data, arm="tuned", panel="3", xlim=xlim, ylim=ylim, log=log)
    panels["tuned"].set_title("Tuned by the protocol: this panel decides the claims")
    training_cost(panels["default"], data, arm="default", panel=None, xlim=xlim, ylim=ylim, small=True, log=log)
    panels["default"].set_title("Default settings")
    other_column(panels["accuracy"], data, "test_accuracy", label="test accuracy")
    panels["accuracy"].set_title("Test accuracy of the tuned settings")
    if "ablation" in panels:
        training_cost(panels["ablation"], data, arm="ablation", panel=None, xlim=xlim, ylim=ylim, small=True, log=log)
        panels["ablation"].set_title("Adam without its first moment")
    if "inside" in panels:
        small_roots(panels["inside"], data)
    caption(drawn, data, title)
    stamp_if_stand_in(data, panels.values())
    return drawn


def small_roots(axes: Axes, data: FigureData) -> None:
    """The share of each layer's coordinates with sqrt(v_hat) < eps over the passes, tuned Adam, mean over seeds."""
    assert data.diagnostics is not None
    chosen = data.diagnostics.query("arm == 'tuned' and curve == 'Adam'")
    for layer, rows in chosen.groupby("layer", sort=False):
        means = rows.groupby("epoch")["below_eps"].mean()
        axes.plot(means.index, means, label=str(layer), markersize=4, **LAYERS.get(str(layer), {}))
    axes.set_ylim(-0.02, 1.02)
    axes.set_xlabel("passes")
    axes.set_ylabel("share with √v̂ < ε")
    axes.set_title("Does v̂ vanish? (section 6.3), Adam without dropout")
    if len(chosen):
        axes.legend(ncols=3, loc="upper right")
