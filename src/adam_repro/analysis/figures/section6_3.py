"""Figure 3: a convolutional network on CIFAR-10."""

from __future__ import annotations

import dataclasses
from typing import Any

import matplotlib.ticker
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from adam_repro.analysis.curves import ABLATIONS, FigureData
from adam_repro.analysis.figures import figure, spaced_markers
from adam_repro.analysis.figures.panels import (
    FRAMES,
    Frame,
    below,
    caption,
    in_pairs,
    matched_costs,
    other_column,
    stamp_if_stand_in,
    training_cost,
)

LAYERS: dict[str, dict[str, Any]] = {  # in none of the optimizers' colours
    "conv1": {"color": "#440154", "linestyle": "-", "marker": "<"},
    "conv2": {"color": "#3b6fa0", "linestyle": (0, (6, 2)), "marker": ">"},
    "conv3": {"color": "#2aa198", "linestyle": (0, (1, 1.2)), "marker": "d"},
    "hidden": {"color": "#a05a2c", "linestyle": (0, (5, 1.5, 1, 1.5)), "marker": "H"},
    "output": {"color": "#909090", "linestyle": (0, (3, 1, 1, 1, 1, 1)), "marker": "8"},
}


@figure("fig3_first_epochs")
def fig3_first_epochs(data: FigureData) -> Figure:
    """Figure 3, left: the first four passes."""
    return _network(data, FRAMES["fig3_first_epochs"])


@figure("fig3_full")
def fig3_full(data: FigureData) -> Figure:
    """Figure 3, right: all 49 passes, and Adam without either moment."""
    return _network(data, FRAMES["fig3_full"])


def _network(data: FigureData, frame: Frame) -> Figure:
    arm = "tuned" if len(data.arm("tuned")) else "default"  # whose curves are large
    there = {
        "default": arm == "tuned" and len(data.arm("default")) > 0,
        "matched": arm == "tuned" and len(data.arm("matched")) > 0,
        "accuracy": True,
        "ablated": data.finals["arm"].isin(ABLATIONS).any(),
        "inside": data.diagnostics is not None,
    }
    small = [name for name, is_there in there.items() if is_there]
    rows: list[list[Any]] = in_pairs("large", small)
    height = 5.1 + 3.1 * (len(rows) - 1)
    rect = (0, 0.8 / height, 1, 1 - 0.8 / height)
    drawn = Figure(figsize=(9, height), layout=ConstrainedLayoutEngine(h_pad=0.07, w_pad=0.07, rect=rect))
    panels: dict[str, Axes] = drawn.subplot_mosaic(rows, height_ratios=[1.6, *[1] * (len(rows) - 1)])
    two_columns = {**below(panels["large"]), "ncols": 2, "fontsize": 7.8, "columnspacing": 1.0}
    training_cost(panels["large"], data, frame, arm=arm, legend=two_columns)
    decides = "Tuned by the protocol: this panel decides how optimizers compare"
    panels["large"].set_title(decides if arm == "tuned" else "Default settings, which decide no claim")
    if "default" in panels:
        legend = below(panels["default"])
        training_cost(panels["default"], data, frame, arm="default", printed=False, small=True, legend=legend)
        panels["default"].set_title("Default settings")
    if "matched" in panels:
        matched_costs(panels["matched"], data, frame, legend=below(panels["matched"]))
    other_column(panels["accuracy"], data, "test_accuracy", label="test accuracy", arm=arm)
    panels["accuracy"].set_title(f"Test accuracy, {arm} (not in the paper)")
    if "ablated" in panels:
        legend = below(panels["ablated"])
        training_cost(panels["ablated"], _ablated(data), frame, arm="ablated", printed=False, small=True, legend=legend)
        panels["ablated"].set_ylim(bottom=min(panels["ablated"].get_ylim()[0], panels["ablated"].dataLim.y0))
        panels["ablated"].set_title("What either moment is worth to Adam")
    if "inside" in panels:
        small_roots(panels["inside"], data, arm)
    more = "Hollow markers" + (", and printed curves in pieces" if data.provenance["provenance"] == "real" else "")
    caption(drawn, data, arm=arm, panel=frame.panel, more=f"{more}: with dropout")
    stamp_if_stand_in(data, panels.values())
    return drawn


def _ablated(data: FigureData) -> FigureData:
    """Tuned Adam and its ablations as one arm."""

    def joined(frame: Any) -> Any:
        chosen = frame["arm"].isin(ABLATIONS) | ((frame["arm"] == "tuned") & (frame["curve"] == "Adam"))
        return frame[chosen].assign(arm="ablated")

    return dataclasses.replace(data, curves=joined(data.curves), finals=joined(data.finals))


def small_roots(axes: Axes, data: FigureData, arm: str) -> None:
    """The share of each layer's coordinates with sqrt(v_hat) < eps by pass: Adam without dropout, mean over seeds."""
    assert data.diagnostics is not None
    chosen = data.diagnostics.query("arm == @arm and curve == 'Adam'")
    for layer, rows in chosen.groupby("layer", sort=False):
        means = rows.groupby("epoch")["below_eps"].mean()
        look = {"markersize": 4, **spaced_markers(len(means)), **LAYERS.get(str(layer), {})}
        axes.plot(means.index, means, label=str(layer), **look)
    axes.set_ylim(-0.02, 1.38)  # room for the legend
    axes.set_yticks([0, 0.25, 0.5, 0.75, 1])
    axes.xaxis.set_major_locator(matplotlib.ticker.MaxNLocator(steps=[1, 2, 5, 10], integer=True))
    axes.set_xlabel("passes")
    axes.set_ylabel("share with √v̂ < ε")
    axes.set_title("Does v̂ vanish? Adam, section 6.3")
    if chosen.empty:
        missing = f"no diagnostics of Adam ({arm})"
        axes.text(0.5, 0.5, missing, transform=axes.transAxes, ha="center", va="center", color="#666666")
    else:
        axes.legend(ncols=3, loc="upper right", handlelength=3.2)
