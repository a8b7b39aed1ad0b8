"""Figure 2: fully connected networks on MNIST."""

from __future__ import annotations

import matplotlib.ticker
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from adam_repro.analysis.curves import FigureData
from adam_repro.analysis.figures import figure, style_of
from adam_repro.analysis.figures.measured import caption as measured_caption
from adam_repro.analysis.figures.measured import titled
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
from adam_repro.analysis.measurements import Measurements


@figure("fig2_dropout")
def fig2_dropout(data: FigureData) -> Figure:
    """Figure 2, (a): five optimizers, with dropout."""
    return _network(data, FRAMES["fig2_dropout"], more="")


@figure("fig2_deterministic")
def fig2_deterministic(data: FigureData) -> Figure:
    """Figure 2, (b): without dropout; SFO, which has nothing to tune, stands with the tuned ones."""
    if len(data.arm("sfo")):
        more = "SFO has nothing to tune; its N minibatches stay the same, and its x is its passes, as in print"
    else:
        more = "SFO was not run: its curve is the printed one" if data.provenance["provenance"] == "real" else ""
    masks = {"sfo": "SFO", "sfo_fresh_masks": "SFO+dropout", "sfo_frozen_masks": "SFO, frozen masks"}
    data = data.with_arm("tuned", {"sfo": "SFO"}).with_arm("masks", masks)
    return _network(data, FRAMES["fig2_deterministic"], more=more)


def _network(data: FigureData, frame: Frame, *, more: str) -> Figure:
    arms = [name for name in ("default", "matched") if len(data.arm(name))]
    small = [*arms, "accuracy", *(["masks"] if len(data.arm("masks")) else [])]
    rows: list = in_pairs("tuned", small)
    height = 4.9 + 3.7 * (len(rows) - 1)
    rect = (0, 0.69 / height, 1, 1 - 0.69 / height)
    drawn = Figure(figsize=(9, height), layout=ConstrainedLayoutEngine(h_pad=0.07, w_pad=0.07, rect=rect))
    panels: dict[str, Axes] = drawn.subplot_mosaic(rows, height_ratios=[1.35, *[1] * (len(rows) - 1)])
    training_cost(panels["tuned"], data, frame, arm="tuned")
    panels["tuned"].set_title("Tuned by the protocol: this panel decides how optimizers compare")
    if "default" in panels:
        legend = below(panels["default"])
        training_cost(panels["default"], data, frame, arm="default", printed=False, small=True, legend=legend)
        panels["default"].set_title("Default settings")
    if "matched" in panels:
        matched_costs(panels["matched"], data, frame, legend=below(panels["matched"]))
    other_column(panels["accuracy"], data, "test_accuracy", label="test accuracy")
    panels["accuracy"].set_title("Test accuracy, tuned (not in the paper)")
    if "masks" in panels:
        legend = below(panels["masks"])
        training_cost(panels["masks"], data, frame, arm="masks", printed=False, small=True, legend=legend)
        panels["masks"].set_title("SFO and dropout masks")
    caption(drawn, data, panel=frame.panel, more=more)
    stamp_if_stand_in(data, panels.values())
    return drawn


@figure("sfo_cost")
def sfo_cost(data: Measurements) -> Figure:
    """What section 6.2 says of SFO's seconds and memory."""
    drawn = Figure(figsize=(9, 3.9), layout=ConstrainedLayoutEngine(h_pad=0.08, w_pad=0.08, rect=(0, 0.08, 1, 0.92)))
    left, right = drawn.subplots(1, 2)
    for name in ("SFO", "Adam"):
        values = data.of("L14", f"seconds of a pass, {name}")
        N = values.index.str.extract(r"N = (\d+)", expand=False).astype(int)
        by_number = values.groupby(N).agg(["mean", "min", "max"])
        reach = [by_number["mean"] - by_number["min"], by_number["max"] - by_number["mean"]]
        left.errorbar(by_number.index, by_number["mean"], yerr=reach, capsize=3, label=name, **style_of(name))
    left.set_ylim(0)
    titled(left, "Time: mean and range over repeats", "minibatches N of SFO", "seconds of a pass")
    peak: pd.Series = data.of("L14", "peak of the process, MB")
    right.plot(peak.index.astype(int), peak, label="SFO, the whole process", **style_of("SFO"))
    right.set_ylim(0)
    titled(right, "Memory", "minibatches N of SFO", "peak, MB")
    for axes in (left, right):
        axes.set_xlim(0)
        axes.xaxis.set_major_locator(matplotlib.ticker.FixedLocator(list(peak.index.astype(int))))
    measured_caption(drawn, data, "SFO beside Adam, network of Figure 2, 60,000 random examples, one thread of a CPU")
    return drawn
