"""Section 7.1 and later: AdaMax and AMSGrad beside the suite's four, under three protocols."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from adam_repro.analysis.curves import FigureData
from adam_repro.analysis.figures import figure, style_of
from adam_repro.analysis.figures.panels import FRAMES, caption, stamp_if_stand_in, training_cost
from adam_repro.analysis.statistics import over_seeds

PROTOCOLS: dict[str, dict[str, Any]] = {
    "default": {"label": "suggested settings", "marker": "x"},
    "narrow": {"label": "as tuned in Figure 1", "marker": "o"},
    "tuned": {"label": "every hyper-parameter tuned", "marker": "D"},
}


@figure("fig1_mnist_wide")
def fig1_mnist_wide(data: FigureData) -> Figure:
    """Final costs by protocol, large; below them the training curves of the widest."""
    drawn = Figure(figsize=(9, 8.2), layout=ConstrainedLayoutEngine(h_pad=0.07, w_pad=0.07, rect=(0, 0.09, 1, 0.91)))
    above, below = drawn.subplots(2, 1, height_ratios=[1, 1.2])
    final_costs(above, data)
    above.set_title("Final training cost by protocol")
    training_cost(below, data, FRAMES["fig1_mnist_wide"], arm="tuned")
    below.set_title("Every hyper-parameter tuned: this arm and the narrow one decide the claims")
    caption(drawn, data, panel=None)
    stamp_if_stand_in(data, (above, below))
    return drawn


def final_costs(axes: Axes, data: FigureData) -> None:
    """A row for each optimizer, lowest first; mean over seeds with the band about it. A diverged run: no mark."""
    table = data.finals.pivot_table(index="curve", columns=["arm", "seed"], values="train_cost", dropna=False)
    order = list(data.arm("tuned").groupby("curve")["train_cost"].mean().sort_values(ascending=False).index)
    for lane, (arm, look) in enumerate(PROTOCOLS.items()):
        if arm not in table:
            continue
        whole = table[arm].reindex(order).dropna()
        rows = [order.index(curve) - 0.2 * (lane - 1) for curve in whole.index]
        mean, low, high = over_seeds(whole.to_numpy(), ratios=True)
        colours = [style_of(str(curve))["color"] for curve in whole.index]
        axes.hlines(rows, low, high, colors=colours, linewidth=1.5)
        axes.scatter(mean, rows, c=colours, marker=look["marker"], s=36, zorder=3)
        axes.plot([], [], look["marker"], color="#444444", linestyle="", label=look["label"])
    axes.set_yticks(np.arange(len(order)), order)
    axes.set_ylim(-0.6, len(order) - 0.4)
    axes.set_xlabel("final training cost, nats")
    axes.legend(loc="best")  # one that reaches beyond its axes makes the layout's last bits differ from run to run
