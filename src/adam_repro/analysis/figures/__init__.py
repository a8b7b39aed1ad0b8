"""Draws figures: a figure lays panels out, a panel takes Axes and returns nothing.

Every optimizer has one colour, one dash pattern and one marker everywhere, told apart without colour too.
"""

from __future__ import annotations

import importlib
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.figure import Figure

from adam_repro import records
from adam_repro.analysis.curves import FigureData
from adam_repro.analysis.measurements import Measurements

STYLES: dict[str, dict[str, Any]] = {  # Okabe and Ito's colours
    "Adam": {"color": "#000000", "linestyle": "-", "marker": "o"},
    "SGDNesterov": {"color": "#0072b2", "linestyle": (0, (6, 2)), "marker": "s"},
    "AdaGrad": {"color": "#d55e00", "linestyle": (0, (1, 1.2)), "marker": "^"},
    "RMSProp": {"color": "#009e73", "linestyle": (0, (5, 1.5, 1, 1.5)), "marker": "D"},
    "AdaDelta": {"color": "#cc79a7", "linestyle": (0, (3, 1, 1, 1, 1, 1)), "marker": "v"},
    "AdaMax": {"color": "#e69f00", "linestyle": (0, (8, 3)), "marker": "P"},
    "SFO": {"color": "#56b4e9", "linestyle": (0, (2, 2)), "marker": "X"},
    "AMSGrad": {"color": "#7f7f7f", "linestyle": (0, (7, 1, 1, 1, 1, 1)), "marker": "p"},
    "AdamW": {"color": "#8c6d31", "linestyle": (0, (4, 1)), "marker": "h"},
}
HOLLOW: dict[str, Any] = {"markerfacecolor": "white", "alpha": 0.65}
NEWCOMER: dict[str, Any] = {"color": "#8e1bb3", "linestyle": "-", "marker": "*"}
VARIANTS: dict[str, dict[str, Any]] = {
    "Adam, beta1 = 0": {"color": "#b00000", "linestyle": (0, (1, 3)), "marker": "*"},
    "SFO, frozen masks": {"color": "#b00000", "linestyle": (0, (1, 3)), "marker": "*"},
    "Adam, v frozen": {"color": "#c06000", "linestyle": (0, (4, 3)), "marker": "P"},
}
RC: Any = {
    "font.family": "DejaVu Sans",
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 10.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.grid": True,
    "grid.color": "#e6e6e6",
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "legend.fontsize": 8.5,
    "svg.hashsalt": "adam-repro",
    "svg.fonttype": "path",
}


def style_of(curve: str) -> dict[str, Any]:
    """The looks of a curve: its optimizer's; with dropout paler and with hollow markers; a variant's its own; any
    other optimizer's those of a newcomer."""
    optimizer, _, variant = curve.partition("+")
    return (STYLES | VARIANTS).get(optimizer, NEWCOMER) | (HOLLOW if variant else {})


def spaced_markers(points: int) -> dict[str, Any]:
    """A marker every so far along a line; of a single point, which has no length, the marker itself."""
    return {"markevery": (0.0, 0.16)} if points > 1 else {}


FIGURES: dict[str, Callable[[Any], Figure]] = {}


def figure(name: str) -> Callable:
    """Register the function that draws the figure of that name."""

    def enter(draw: Callable[[Any], Figure]) -> Callable[[Any], Figure]:
        FIGURES[name] = draw
        return draw

    return enter


def save(data: FigureData | Measurements, folder: Path) -> list[Path]:
    """Draw the figure of ``data`` and write figure.svg and figure.png into ``folder``: equal data, equal bytes."""
    return write(lambda: FIGURES[data.provenance["figure"]](data), folder)


def write(draw: Callable[[], Figure], folder: Path) -> list[Path]:
    """Draw, with the looks of all figures, and write figure.svg and figure.png into ``folder``."""
    with matplotlib.rc_context(RC):
        drawn = draw()
        _settle(drawn)
        svg, png = io.BytesIO(), io.BytesIO()
        drawn.savefig(svg, format="svg", metadata={"Date": None, "Creator": None})
        drawn.savefig(png, format="png", dpi=150, metadata={"Software": None})
    paths = _files(folder)
    for path, content in zip(paths, (svg, png), strict=True):
        records.write_atomically(path, content.getvalue())
    return paths


def remove(folder: Path) -> None:
    """Take the figure out of ``folder`` that was drawn when there was something to draw."""
    for path in _files(folder):
        path.unlink(missing_ok=True)


def _files(folder: Path) -> list[Path]:
    return [folder / "figure.svg", folder / "figure.png"]


def _settle(drawn: Figure) -> None:
    """Lay the figure out once and hold its axes where they are, to a millionth of its size.

    The solver behind the layout orders its variables by their addresses, so that its last bits differ from process to
    process; identifiers in an SVG are hashes of positions, and would differ with them.
    """
    drawn.draw_without_rendering()
    drawn.set_layout_engine("none")
    for axes in drawn.axes:
        axes.set_position(tuple(round(place, 6) for place in axes.get_position().bounds))


for name in ("section6_1", "section6_2", "section6_3", "section6_4", "section7", "measured"):
    importlib.import_module(f"{__name__}.{name}")
