"""Panels that figures of section 6 are made of: training curves, final costs, captions. Axes in, nothing out."""

from __future__ import annotations

import json
import math
import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib.ticker
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.transforms import ScaledTranslation

from adam_repro.analysis.captions import CAPTIONS
from adam_repro.analysis.curves import FigureData, chosen_after, first_x, paper_curves, summary
from adam_repro.analysis.figures import spaced_markers, style_of
from adam_repro.analysis.gather import FINAL_EPOCHS
from adam_repro.analysis.statistics import ENOUGH_TO_RESAMPLE, over_seeds
from adam_repro.wording import counted

MOST_NAMED = 4  # printed curves whose names find room beside them; of more the colours tell
STAND_INS = {
    "digits": "scikit-learn's digits",
    "zipf": "a made-up bag of words",
    "shapes": "a generator of coloured shapes",
}
SCHEDULES = {
    "constant": "",
    "inverse_sqrt_step": "/√t",
    "inverse_sqrt_epoch": "/√epoch",
}


@dataclass(frozen=True)
class Frame:
    """Axes: whose printed curves lie in them (None: the paper shows none), and what they span: the paper's or less."""

    panel: str | None
    xlim: tuple[float, float]
    ylim: tuple[float, float]
    log: bool = False


FRAMES = {
    "fig1_mnist": Frame("1L", (-0.7, 45.7), (0.2, 0.7)),
    "fig1_imdb": Frame("1R", (-2, 177), (0.2, 0.5)),
    "fig1_imdb_no_dropout": Frame(None, (-2, 177), (0.05, 0.5)),
    "fig1_mnist_wide": Frame(None, (-0.7, 45.7), (0.2, 0.5)),
    "fig2_dropout": Frame("2a", (-2, 202), (3e-3, 0.3), log=True),
    "fig2_deterministic": Frame("2b", (-0.5, 25.5), (1e-6, 10), log=True),
    "fig3_first_epochs": Frame("3", (-0.1, 3.1), (0.5, 3.0)),
    "fig3_full": Frame("3", (-0.7, 48.7), (1e-4, 5), log=True),
}


def training_cost(
    axes: Axes,
    data: FigureData,
    frame: Frame,
    *,
    arm: str,
    printed: bool = True,
    small: bool = False,
    legend: dict[str, Any] | None = None,
    bold: str | None = None,
) -> None:
    """Mean training cost over seeds with the band about it, at the paper's x, over the ``printed`` curves.

    ``legend`` says where there is room for it; without, it goes where it fits. ``bold``: the curve that the panel is
    about, wider than the others.
    """
    curves = summary(data.curves, "train_cost", arm=arm)
    if frame.log:
        axes.set_yscale("log")
    panel = frame.panel if printed else None
    if panel is not None and data.provenance["provenance"] == "real":
        axes.set_xlim(*frame.xlim)
        theirs = paper_curves(panel)
        _printed(axes, theirs, named=not small and theirs["curve"].nunique() <= MOST_NAMED)
    last = max(curves["epoch"].max() - 1, 1) if len(curves) else 1
    names = data.arm(arm)["curve"].unique()
    for name in names:
        style, label = style_of(name), _label(data, arm, name, short=small)
        rows = curves[curves["curve"] == name]  # none where every seed diverged at once: the legend says so
        extra = panel is not None and name not in set(paper_curves(panel)["curve"])
        width = (3.0 if name == bold else 1.0 if extra else 2.0) * (0.75 if small else 1)
        x = rows["epoch"] - 1 + first_x(name)
        axes.plot(x, rows["mean"], linewidth=width, label=label + (" *" if extra else ""), zorder=3,
                  **spaced_markers(len(x)), **{"markersize": 3.5 if small else 5, **style})  # fmt: skip
        axes.fill_between(x, rows["low"], rows["high"], color=style["color"], alpha=0.2, linewidth=0, zorder=2)
    if not len(names):
        say_missing(axes, "runs", data)
    short = last < frame.xlim[1] - 1
    axes.set_xlim(*((-0.7, last + 0.7) if short else frame.xlim))
    axes.set_ylim(*_limits(curves, frame.ylim, log=frame.log, short=short))
    axes.xaxis.set_major_locator(matplotlib.ticker.MaxNLocator(steps=[1, 2, 5, 10], integer=True))
    axes.set_xlabel("passes over the training data, less one (the paper's x)" if not small else "passes, less one")
    axes.set_ylabel("training cost, nats")
    if axes.get_legend_handles_labels()[0]:
        place = legend or {"loc": "best"}
        axes.legend(**{"fontsize": 7.5 if small else None, "labelspacing": 0.3, "handlelength": 3.2, **place})


def in_pairs(large: str, small: Sequence[str]) -> list[list[str]]:
    """The rows of a mosaic: the large panel, then the small ones two by two, an odd last one across the figure."""
    return [[large, large], *([small[i], small[i : i + 2][-1]] for i in range(0, len(small), 2))]


def matched_costs(axes: Axes, data: FigureData, frame: Frame, *, legend: dict[str, Any]) -> None:
    """Training cost under the settings nearest to the printed curves, over those."""
    training_cost(axes, data, frame, arm="matched", small=True, legend=legend)
    axes.set_title("Matched to the printed curves")


def below(axes: Axes) -> dict[str, Any]:
    """A legend's place under the axis label, for a panel that its curves fill."""
    assert axes.figure is not None
    points = ScaledTranslation(0, -32 / 72, axes.figure.dpi_scale_trans)
    return {
        "loc": "upper left",
        "bbox_to_anchor": (0, 0),
        "bbox_transform": axes.transAxes + points,
        "borderaxespad": 0,
    }


def other_column(axes: Axes, data: FigureData, column: str, *, label: str, arm: str = "tuned") -> None:
    """Mean over seeds of another column of the curves, from the first pass on."""
    measured = data.curves[data.curves["epoch"] > 0].dropna(subset=[column])
    means = summary(measured, column, arm=arm)
    for name, rows in means.groupby("curve", sort=False):
        style = style_of(str(name))
        axes.plot(rows["epoch"], rows["mean"], linewidth=1.5, label=str(name),
                  **spaced_markers(len(rows)), **{"markersize": 3.5, **style})  # fmt: skip
    axes.set_xlabel("passes")
    axes.set_ylabel(label)
    axes.xaxis.set_major_locator(matplotlib.ticker.MaxNLocator(steps=[1, 2, 5, 10], integer=True))
    if means["epoch"].nunique() == 1:  # no axis spans a single evaluation: the passes before it do
        axes.set_xlim(0, means["epoch"].max() + 0.5)
    if len(means):
        axes.legend(**below(axes), fontsize=7, ncols=2, handlelength=3.2, labelspacing=0.3)


def sensitivity(axes: Axes, data: FigureData) -> None:
    """Final training cost of the grid against lr: mean over seeds with the band about it; x at the top: diverged."""
    grid = data.arm("grid")
    axes.set_xscale("log")
    axes.set_yscale("log")
    for name, rows in grid.groupby("curve", sort=False):
        table = rows.pivot(index="lr", columns="seed", values="train_cost")
        whole = table.dropna()
        lost = table.index[table.isna().any(axis=1)]
        style = style_of(name)
        momentum = data.beside_lr("grid", str(name)).get("momentum")
        named = f"{name}, μ {momentum}" if momentum else name
        if len(whole):
            mean, low, high = over_seeds(whole.to_numpy(), ratios=True)
            axes.plot(whole.index, mean, label=f"{named}, n = {whole.shape[1]}", markersize=5, **style)
            axes.fill_between(whole.index, low, high, color=style["color"], alpha=0.2, linewidth=0)
        axes.plot(lost, np.full(len(lost), 0.97), "x", color=style["color"], transform=axes.get_xaxis_transform())
    if grid.empty:
        say_missing(axes, "grid", data)
        return
    axes.set_xlabel("learning rate")
    axes.set_ylabel("final cost, nats")
    bottom, top = axes.get_ylim()
    axes.set_ylim(bottom, top * (top / bottom) ** 0.2)  # room for the legend
    axes.yaxis.set_major_locator(matplotlib.ticker.LogLocator(subs=(1, 2, 3, 5)))
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_locator(matplotlib.ticker.NullLocator())
    axes.legend(loc="upper center", ncols=4, handlelength=3.2)


def caption(
    drawn: Figure,
    data: FigureData,
    *,
    title: str | None = None,
    arm: str = "tuned",
    panel: str | None,
    mean: str = "geometric mean",
    cost: str = "",
    more: str = "",
) -> None:
    """What the figure shows and where it comes from, below it. ``title``: where ``CAPTIONS`` has none; ``panel``: whose
    printed curves it lies over."""
    facts = data.provenance
    title = title or CAPTIONS[facts["figure"]].title
    stand_in = STAND_INS.get(facts["dataset"]["name"], "made up")
    kind = "Real data" if facts["provenance"] == "real" else f"STAND-IN DATA ({stand_in})"
    l2 = "no L2 in common" if facts["l2"] is None else f"L2 {facts['l2']:g}"
    text = (
        f"{title}. {kind}, {facts['dataset']['train_examples']:,} training examples; "
        f"{counted(facts['epochs'], 'pass')}, minibatches of {facts['batch_size']}, {l2}; "
        f"{over_seeds_in_words(data, arm, mean=mean)}; scale {facts['scale']}."
    )
    if chosen := chosen_after(facts):
        text += f" Tuned at {chosen}."
    if facts["edges"]:
        text += f" On the edge of its grid: {', '.join(facts['edges'])}."
    if facts["provenance"] == "real" and panel is not None:
        many = paper_curves(panel)["curve"].nunique() > MOST_NAMED
        text += f" Faint: the paper's printed curves, digitised{', in our colours' if many else ''}."
    if panel is not None and set(data.arm(arm)["curve"]) - set(paper_curves(panel)["curve"]):
        text += " * not in the paper's panel."
    last = counted(min(FINAL_EPOCHS, facts["epochs"]), "pass")
    usual = f"mean over a pass of the minibatch costs, without the penalty; in the legend, of the last {last}"
    text += f" Training cost: {cost or usual}."
    text += f" {more}." if more else ""
    drawn.text(0.012, 0.012, textwrap.fill(text, 150), fontsize=8, color="#444444", va="bottom")


def over_seeds_in_words(data: FigureData, arm: str, *, mean: str) -> str:
    """What lines and bands of an arm are: "mean over 3 seeds, bands their range"."""
    seeds = seeds_of(data, arm)
    if seeds == "1":
        return "1 seed"
    counts = data.arm(arm).groupby("curve")["seed"].nunique()
    bands = "95 % bootstrap intervals"
    if counts.min() < ENOUGH_TO_RESAMPLE:
        few = counts.max() < ENOUGH_TO_RESAMPLE
        bands = "their range" if few else f"{bands}, of fewer than {ENOUGH_TO_RESAMPLE} their range"
    return f"{mean} over {seeds} seeds, bands {bands}"


def seeds_of(data: FigureData, arm: str) -> str:
    """How many seeds the curves of an arm have: "3", or "1 to 3" where they differ."""
    counts = data.arm(arm).groupby("curve")["seed"].nunique()
    return span_in_words(counts) if len(counts) else "0"


def span_in_words(counts: pd.Series) -> str:
    """ "3", or "1 to 3" of counts that differ."""
    return " to ".join(dict.fromkeys(f"{count}" for count in (counts.min(), counts.max())))


def say_missing(axes: Axes, what: str, data: FigureData) -> None:
    """In axes that have nothing to show: of what, and the command that makes it."""
    asked = f"SCALE={data.provenance['scale']}\nFIGURE={data.provenance['figure']}"
    told = f"no {what} here:\nmake reproduce\n{asked}"
    axes.text(0.5, 0.5, told, transform=axes.transAxes, ha="center", va="center", color="#666666")


def stamp_if_stand_in(data: FigureData, panels: Iterable[Axes]) -> None:
    if data.provenance["provenance"] == "stand-in":
        for axes in panels:
            stamp(axes)


def stamp(axes: Axes) -> None:
    """Says across a panel that its data stand in for the paper's."""
    axes.text(0.5, 0.5, "stand-in data", transform=axes.transAxes, ha="center", va="center", rotation=18,
              fontsize=22, color="#b00000", alpha=0.28, zorder=5, weight="bold")  # fmt: skip


def _printed(axes: Axes, printed: pd.DataFrame, *, named: bool) -> None:
    """The printed curves, faint and wide, and their names where our lines and the legend leave room."""
    tables = {name: points.set_index("epoch")["training_cost"] for name, points in printed.groupby("curve", sort=False)}
    end = min(axes.get_xlim()[1], max(points.index.max() for points in tables.values()))
    for place, name in enumerate(sorted(tables, key=lambda name: tables[name].iloc[-1])):
        points, color = tables[name], style_of(name)["color"]
        dashes: Any = (0, (1.6, 0.8)) if "+" in name else "-"  # a variant, told apart
        axes.plot(points, color=color, linewidth=5, alpha=0.18, zorder=1, linestyle=dashes, dash_capstyle="butt",
                  solid_capstyle="butt")  # fmt: skip
        if named:
            wanted, beside = (6 + 10 * place) * end / 45, (14, -30 if place == 2 else 24)
            x = max((x for x in points.index if x <= wanted), default=points.index[0])  # some curves start late
            axes.annotate(f"printed: {name}", (x, points[x]), xytext=beside, textcoords="offset points", color=color,
                          fontsize=8.5, arrowprops={"arrowstyle": "-", "color": color, "alpha": 0.5})  # fmt: skip


def _symbol(name: str) -> str:
    return {"momentum": "μ", "beta1": "β1", "beta2": "β2", "rho": "ρ", "eps": "ε"}.get(name, name)


def _label(data: FigureData, arm: str, curve: str, *, short: bool) -> str:
    """Name, learning rate with its schedule, other settings, number of seeds; in full also the final cost."""
    runs = data.arm(arm)
    runs = runs[runs["curve"] == curve]
    setting = runs.iloc[0]
    subfunctions = json.loads(setting["hyper"]).get("subfunctions")
    rate = f"lr {setting['lr']:g}{SCHEDULES[setting['schedule']]}"
    parts = [curve, rate if subfunctions is None else f"N {subfunctions}"]
    parts += [f"{_symbol(name) if short else name} {value}" for name, value in data.beside_lr(arm, curve).items()]
    if arm == "matched":
        parts.append(f"L2 {setting['l2']:g}")
    lost = int((runs["status"] == "diverged").sum())
    parts.append(f"n = {len(runs)}" + (f", {lost} diverged" if lost else ""))
    if not (lost or short):
        mean, _, _ = over_seeds(runs["train_cost"].to_numpy(), ratios=True)
        parts[-1] += f": {_cost(float(mean))}"
    return ", ".join(parts)


def _cost(value: float) -> str:
    return f"{value:.4f}" if value >= 0.1 else f"{value:.3g}"


def _limits(curves: pd.DataFrame, wanted: tuple[float, float], *, log: bool, short: bool) -> tuple[float, float]:
    """The paper's range of y, opened where the ends of our curves would lie outside; decades that a short run does not
    come down to are left out."""
    if not len(curves):
        return wanted
    if log:
        ours = curves[curves["epoch"] > 0]["mean"]
        low = ours.min() / 3 if short else min(wanted[0], ours.min() / 1.3)
        return low, max(wanted[1], ours.max() * 1.3)
    ends = curves[curves["epoch"] == curves["epoch"].max()]["mean"]
    start = curves[curves["epoch"] == 1]["mean"]
    low = min(wanted[0], math.floor(ends.min() * 20) / 20)
    high = max(wanted[1], math.ceil(ends.max() * 10.5) / 10) if ends.max() > wanted[1] else wanted[1]
    return low, max(high, start.min() * 1.05)
