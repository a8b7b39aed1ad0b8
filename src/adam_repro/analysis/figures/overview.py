"""Figures 1 to 4 on one sheet: the tuned curves of each that has results, over the printed ones."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from adam_repro.analysis.claims.comparisons import reduced
from adam_repro.analysis.curves import FigureData, chosen_after
from adam_repro.analysis.figures.panels import FRAMES, seeds_of, stamp_if_stand_in, training_cost
from adam_repro.analysis.figures.section6_4 import one_cell
from adam_repro.analysis.grid import last_milestone
from adam_repro.wording import counted

TITLES = {
    "fig1_mnist": "Figure 1, left: regression, MNIST",
    "fig1_imdb": "Figure 1, right: regression, IMDB",
    "fig2_dropout": "Figure 2, (a): network, dropout",
    "fig2_deterministic": "Figure 2, (b): network",
    "fig3_first_epochs": "Figure 3, left: convolutions",
    "fig3_full": "Figure 3, right: convolutions",
    "fig4": "Figure 4: autoencoder",
}
COLUMNS = 3
BETAS = (0.9, 0.9999)  # the cell in which the paper says that bias correction matters most


def with_panels(figures: Mapping[str, FigureData]) -> dict[str, FigureData]:
    """Those of ``figures`` that have a place on the sheet and runs to show there, in the paper's order."""
    here = {name: _with_sfo(figures[name]) for name in TITLES if name in figures}
    return {name: data for name, data in here.items() if len(data.arm(_arm(name)))}


def overview(shown: Mapping[str, FigureData]) -> Figure:
    """The sheet of all figures ``with_panels``."""
    columns = min(COLUMNS, len(shown))
    rows = math.ceil(len(shown) / columns)
    text = textwrap.fill(_words(shown), 165)
    below = 0.55 + 0.14 * text.count("\n")  # inches, for the legend and the text
    height = 2.6 * rows + below
    engine = ConstrainedLayoutEngine(h_pad=0.06, w_pad=0.05, rect=(0, below / height, 1, 1 - below / height))
    drawn = Figure(figsize=(10, height), layout=engine)
    every = list(drawn.subplots(rows, columns, squeeze=False).flat)
    handles: dict[str, Any] = {}
    for place, (axes, (name, data)) in enumerate(zip(every, shown.items(), strict=False)):
        handles |= (_grid if name == "fig4" else _curves)(axes, name, data)
        axes.set_ylabel("" if place % columns else "training cost, nats", fontsize=8.5)
        axes.set_title(TITLES[name], fontsize=9.5)
        axes.tick_params(labelsize=8)
        stamp_if_stand_in(data, [axes])
    for axes in every[len(shown) :]:
        axes.set_axis_off()
    drawn.legend(handles.values(), handles, loc="upper center", ncols=len(handles), fontsize=8, handlelength=3.4,
                 columnspacing=1.2, bbox_to_anchor=(0.5, (below + 0.02) / height))  # fmt: skip
    drawn.text(0.012, 0.06 / height, text, fontsize=8, color="#444444", va="bottom")
    return drawn


def _arm(name: str) -> str:
    return "grid" if name == "fig4" else "tuned"


def _with_sfo(data: FigureData) -> FigureData:
    return data.with_arm("tuned", {"sfo": "SFO"})  # it has nothing to tune


def _curves(axes: Axes, name: str, data: FigureData) -> dict[str, Any]:
    """Draw the panel; what its legend would say, curves with dropout left out."""
    training_cost(axes, data, FRAMES[name], arm="tuned", small=True)
    lines, _ = axes.get_legend_handles_labels()
    if legend := axes.get_legend():
        legend.remove()
    axes.set_xlabel(f"passes, less one; n = {seeds_of(data, 'tuned')}", fontsize=8.5)
    named = zip(data.arm("tuned")["curve"].unique(), lines, strict=True)
    return {curve: line for curve, line in named if "+" not in curve}


def _grid(axes: Axes, name: str, data: FigureData) -> dict[str, Any]:
    block = last_milestone(data)
    one_cell(axes, data, block, *BETAS)
    passes = counted(block["epochs"].iloc[0], "pass")
    betas = f"β1 = {BETAS[0]:g}, β2 = {BETAS[1]:g}"
    axes.set_xlabel(f"log10 α; {passes}, {betas}, n = {seeds_of(data, 'grid')}", fontsize=8.5)
    lines, labels = axes.get_legend_handles_labels()
    return dict(zip((f"Adam {labels[0]}", labels[1]), lines, strict=False))


def _words(shown: Mapping[str, FigureData]) -> str:
    text = (
        "Wide and faint: the paper's printed curves, digitised. Lines: ours, each optimizer tuned by the same "
        "protocol (SFO has nothing to tune), geometric mean over n seeds; bands: 95 % intervals, of fewer than 10 "
        "seeds their range; hollow markers: with dropout."
    )
    if "fig4" in shown:
        text += (
            " Figure 4 is a grid: means over seeds; cross: a run diverged there; triangle: above the axis; dotted: "
            "with correction, its steps scaled to those without."
        )
    reductions = {name: reduced(data).removeprefix("reduced: ") for name, data in shown.items()}
    horizons = {name: chosen_after(data.provenance) for name, data in shown.items() if name != "fig4"}
    for heading, words in (("Reduced", reductions), ("Settings chosen after", horizons)):
        parts = "; ".join(f"{TITLES[name].partition(':')[0]}: {each}" for name, each in words.items() if each)
        text += f" {heading}: {parts}." if parts else ""
    return text
