"""Draws figures. A panel takes Axes and returns nothing; a figure lays panels out.

Every optimizer has one colour, one dash pattern and one marker everywhere, told apart without colour too.
"""

from __future__ import annotations

import json
import math
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib.ticker
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from adam_repro.analysis.curves import FigureData, paper_curves, summary
from adam_repro.analysis.measurements import Measurements
from adam_repro.analysis.statistics import bootstrap_interval

STYLES: dict[str, dict[str, Any]] = {  # Okabe and Ito's colours
    "Adam": {"color": "#000000", "linestyle": "-", "marker": "o"},
    "SGDNesterov": {"color": "#0072b2", "linestyle": (0, (6, 2)), "marker": "s"},
    "AdaGrad": {"color": "#d55e00", "linestyle": (0, (1, 1.2)), "marker": "^"},
    "RMSProp": {"color": "#009e73", "linestyle": (0, (5, 1.5, 1, 1.5)), "marker": "D"},
    "AdaDelta": {"color": "#cc79a7", "linestyle": (0, (3, 1, 1, 1, 1, 1)), "marker": "v"},
    "AdaMax": {"color": "#e69f00", "linestyle": (0, (8, 3)), "marker": "P"},
    "SFO": {"color": "#56b4e9", "linestyle": (0, (2, 2)), "marker": "X"},
}
SCHEDULES = {
    "constant": "",
    "inverse_sqrt_step": "/√t",
    "inverse_sqrt_epoch": "/√epoch",
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

FIGURES: dict[str, Callable[[Any], Figure]] = {}


def figure(name: str) -> Callable:
    """Register the function that draws the figure of that name."""

    def enter(draw: Callable[[Any], Figure]) -> Callable[[Any], Figure]:
        FIGURES[name] = draw
        return draw

    return enter


def save(data: FigureData | Measurements, folder: Path) -> list[Path]:
    """Draw the figure of ``data`` and write figure.svg and figure.png into ``folder``: equal data, equal bytes."""
    with matplotlib.rc_context(RC):
        drawn = FIGURES[data.provenance["figure"]](data)
        paths = [folder / "figure.svg", folder / "figure.png"]
        drawn.savefig(paths[0], metadata={"Date": None, "Creator": None})
        drawn.savefig(paths[1], dpi=150, metadata={"Software": None})
    return paths


@figure("fig1_mnist")
def fig1_mnist(data: FigureData) -> Figure:
    """Figure 1, left: the tuned arm large, below it the other arms and the sensitivity to the learning rate."""
    drawn = Figure(figsize=(9, 9.2), layout=ConstrainedLayoutEngine(h_pad=0.07, w_pad=0.07, rect=(0, 0.075, 1, 0.925)))
    layout: list[Any] = [["tuned", "tuned"], ["matched", "default"], ["grid", "grid"]]
    panels: dict[str, Axes] = drawn.subplot_mosaic(layout, height_ratios=[1.35, 1, 1])
    xlim, ylim = (-0.7, 45.7), (0.2, 0.7)
    training_cost(panels["tuned"], data, arm="tuned", panel="1L", xlim=xlim, ylim=ylim)
    panels["tuned"].set_title("Tuned by the protocol: this panel decides the claims")
    training_cost(panels["matched"], data, arm="matched", panel="1L", xlim=xlim, ylim=ylim, small=True, legend_top=0.5)
    panels["matched"].set_title("Matched to the printed curves")
    training_cost(panels["default"], data, arm="default", panel=None, xlim=xlim, ylim=ylim, small=True)
    panels["default"].set_title("Default settings")
    sensitivity(panels["grid"], data)
    panels["grid"].set_title("Final training cost against learning rate, under lr/√t")
    caption(drawn, data, "Figure 1, left: logistic regression on MNIST")
    if data.provenance["provenance"] == "stand-in":
        for axes in panels.values():
            stamp(axes)
    return drawn


def training_cost(
    axes: Axes,
    data: FigureData,
    *,
    arm: str,
    panel: str | None,
    xlim: tuple[float, float],
    ylim: tuple[float, float],
    small: bool = False,
    legend_top: float | None = None,
) -> None:
    """Mean training cost over seeds with its 95 % interval, at x = epoch - 1, over the printed curves of ``panel``.

    ``legend_top`` is where the printed curves leave room for the legend; without them it goes where it fits.
    """
    curves = summary(data.curves, "train_cost", arm=arm)
    real = data.provenance["provenance"] == "real"
    printed = paper_curves(panel) if panel is not None and real else None
    if printed is not None:
        _printed(axes, printed, named=not small)
    last = max(curves["epoch"].max() - 1, 1) if len(curves) else 1
    names = data.arm(arm)["curve"].unique()
    for name in names:
        style, label = STYLES[name], _label(data, arm, name, short=small)
        rows = curves[curves["curve"] == name]  # none where every seed diverged at once: the legend says so
        extra = panel is not None and name not in set(paper_curves(panel)["curve"])
        width = (1.0 if extra else 2.0) * (0.75 if small else 1)
        x = rows["epoch"] - 1
        axes.plot(x, rows["mean"], linewidth=width, label=label + (" *" if extra else ""), zorder=3,
                  markevery=(0.0, 0.16), markersize=3.5 if small else 5, **style)  # fmt: skip
        axes.fill_between(x, rows["low"], rows["high"], color=style["color"], alpha=0.2, linewidth=0, zorder=2)
    if not len(names):
        missing = f"no runs here:\nmake reproduce\nFIGURE={data.provenance['figure']}"
        axes.text(0.5, 0.5, missing, transform=axes.transAxes, ha="center", va="center", color="#666666")
    axes.set_xlim(*((-0.7, last + 0.7) if last < xlim[1] - 1 else xlim))
    axes.set_ylim(*_limits(curves, ylim))
    axes.xaxis.set_major_locator(matplotlib.ticker.MaxNLocator(steps=[1, 2, 5, 10], integer=True))
    axes.set_xlabel("passes over the training data, less one (the paper's x)" if not small else "passes, less one")
    axes.set_ylabel("training cost, nats")
    if axes.get_legend_handles_labels()[0]:
        place: dict[str, Any] = {"loc": "best"}
        if printed is not None and legend_top is not None:
            place = {"loc": "upper right", "bbox_to_anchor": (1, legend_top)}
        axes.legend(**place, handlelength=3.2, fontsize=7.5 if small else None, labelspacing=0.3)


def sensitivity(axes: Axes, data: FigureData) -> None:
    """Final training cost of the grid against lr: mean over seeds with its 95 % interval; x at the top: diverged."""
    grid = data.arm("grid")
    axes.set_xscale("log")
    axes.set_yscale("log")
    for name, rows in grid.groupby("curve", sort=False):
        table = rows.pivot(index="lr", columns="seed", values="train_cost")
        whole = table.dropna()
        lost = table.index[table.isna().any(axis=1)]
        style = STYLES[name]
        if len(whole):
            low, high = bootstrap_interval(whole.to_numpy())
            axes.plot(whole.index, whole.mean(axis=1), label=f"{name}, n = {whole.shape[1]}", markersize=5, **style)
            axes.fill_between(whole.index, low, high, color=style["color"], alpha=0.2, linewidth=0)
        axes.plot(lost, np.full(len(lost), 0.97), "x", color=style["color"], transform=axes.get_xaxis_transform())
    if grid.empty:
        missing = f"no grid here: make reproduce FIGURE={data.provenance['figure']}"
        axes.text(0.5, 0.5, missing, transform=axes.transAxes, ha="center", va="center", color="#666666")
        return
    axes.set_xlabel("learning rate")
    axes.set_ylabel("final cost, nats")
    bottom, top = axes.get_ylim()
    axes.set_ylim(bottom, top * (top / bottom) ** 0.2)  # room for the legend
    axes.yaxis.set_major_locator(matplotlib.ticker.LogLocator(subs=(1, 2, 3, 5)))
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_locator(matplotlib.ticker.NullLocator())
    axes.legend(loc="upper center", ncols=4, handlelength=3.2)


def caption(drawn: Figure, data: FigureData, title: str) -> None:
    """What the figure shows and where it comes from, below it."""
    facts = data.provenance
    seeds = len(data.arm("tuned")["seed"].unique())
    kind = "Real data" if facts["provenance"] == "real" else "STAND-IN DATA (scikit-learn's digits)"
    text = (
        f"{title}. {kind}, {facts['dataset']['train_examples']:,} training examples; {facts['epochs']} passes, "
        f"minibatches of {facts['batch_size']}, L2 {facts['l2']:g}; mean over {seeds} seeds with 95 % bootstrap "
        f"intervals; scale {facts['scale']}."
    )
    if facts["tuned_at"] != facts["epochs"]:
        text += f" Tuned at {facts['tuned_at']} passes."
    if facts["provenance"] == "real":
        text += " Faint: the paper's printed curves, digitised."
    text += " * not in the paper's panel. Training cost: mean over a pass of the minibatch costs, without the penalty."
    drawn.text(0.012, 0.012, textwrap.fill(text, 150), fontsize=8, color="#444444", va="bottom")


def stamp(axes: Axes) -> None:
    """Says across a panel that its data stand in for the paper's."""
    axes.text(0.5, 0.5, "stand-in data", transform=axes.transAxes, ha="center", va="center", rotation=18,
              fontsize=22, color="#b00000", alpha=0.28, zorder=5, weight="bold")  # fmt: skip


def _printed(axes: Axes, printed: pd.DataFrame, *, named: bool) -> None:
    """The printed curves, faint and wide, and their names where our lines and the legend leave room."""
    tables = {name: points.set_index("epoch")["training_cost"] for name, points in printed.groupby("curve", sort=False)}
    for place, name in enumerate(sorted(tables, key=lambda name: tables[name].iloc[-1])):
        points, color = tables[name], STYLES[name]["color"]
        axes.plot(points, color=color, linewidth=5, alpha=0.18, zorder=1, solid_capstyle="butt")
        if named:
            x, beside = points.index[points.index <= 6 + 10 * place].max(), (14, -30 if place == 2 else 24)
            axes.annotate(f"printed: {name}", (x, points[x]), xytext=beside, textcoords="offset points", color=color,
                          fontsize=8.5, arrowprops={"arrowstyle": "-", "color": color, "alpha": 0.5})  # fmt: skip


def _label(data: FigureData, arm: str, curve: str, *, short: bool) -> str:
    """Name, learning rate with its schedule, momentum, number of seeds; in full also the final cost."""
    runs = data.arm(arm)
    runs = runs[runs["curve"] == curve]
    setting = runs.iloc[0]
    momentum = json.loads(setting["hyper"]).get("momentum")
    parts = [f"{curve}", f"lr {setting['lr']:g}{SCHEDULES[setting['schedule']]}"]
    if momentum:
        parts.append(f"μ {momentum:g}" if short else f"momentum {momentum:g}")
    if arm == "matched":
        parts.append(f"L2 {setting['l2']:g}")
    lost = int((runs["status"] == "diverged").sum())
    parts.append(f"n = {len(runs)}" + (f", {lost} diverged" if lost else ""))
    final = "" if lost or short else f": {runs['train_cost'].mean():.4f}"
    return ", ".join(parts) + final


def _limits(curves: pd.DataFrame, wanted: tuple[float, float]) -> tuple[float, float]:
    """The paper's range of y, opened where the ends of our curves would lie outside."""
    if not len(curves):
        return wanted
    ends = curves[curves["epoch"] == curves["epoch"].max()]["mean"]
    start = curves[curves["epoch"] == 1]["mean"]
    low = min(wanted[0], math.floor(ends.min() * 20) / 20)
    high = max(wanted[1], math.ceil(ends.max() * 10.5) / 10) if ends.max() > wanted[1] else wanted[1]
    return low, max(high, start.min() * 1.05)


@figure("properties")
def properties(data: Measurements) -> Figure:
    """The arithmetic claims that a picture helps: sections 2.1, 3, 5 and 7.1."""
    drawn = Figure(figsize=(9, 9.6), layout=ConstrainedLayoutEngine(h_pad=0.08, w_pad=0.08, rect=(0, 0.05, 1, 0.95)))
    (spike, early), (annealing, sparse), (limit, powers) = drawn.subplots(3, 2)
    t = "t = "
    sizes = data.of("C4", "size of the step in units of alpha")
    for style, beta in zip(PLAIN, ("beta1 = 0.9, beta2 = 0.999", "beta1 = 0.9, beta2 = 0.9999"), strict=False):
        line(spike, sizes, f"{beta}, {t}", style, label=greek(beta))
    spike.axhline(0.1 / 0.001**0.5, color="#777777", linewidth=1, linestyle=":")
    spike.text(1, 3.3, "the paper's bound, β2 = 0.999", fontsize=7.5, color="#555555")
    worst = data.of("C5", "size of the worst step in units of alpha").iloc[0]
    spike.plot([3000], [worst], "k*", markersize=9)
    spike.text(2500, worst, f"worst sequence,\nβ2 = 0.999: {worst:.2f}", fontsize=7.5, ha="right", va="center")
    titled(spike, "A gradient after zeros (C4, C5)", "step t, the first with a gradient", "size of the step, in α")
    ratios = data.of("C13", "step without correction / with it")
    for style, beta2 in zip(PLAIN, ("0.99", "0.999", "0.9999"), strict=False):
        line(early, ratios, f"beta1 = 0.9, beta2 = {beta2}, {t}", style, label=f"β1 = 0.9, β2 = {beta2}")
        line(early, ratios, f"beta1 = 0, beta2 = {beta2}, {t}", {**style, "linewidth": 0.8, "markersize": 2})
    early.set_yscale("log")
    titled(early, "Steps without bias correction (C13)", "step t (thin: β1 = 0)", "step without / with correction")
    for style, beta1 in zip(PLAIN, ("0.9", "0"), strict=False):
        snr = data.of("C8", f"mean |m_hat| / sqrt(v_hat), beta1 = {beta1}")
        line(annealing, snr[snr.index != "distance = 0"], "distance = ", style, label=f"β1 = {beta1}")
        annealing.axhline(snr.iloc[-1], color=style["color"], linewidth=0.8, linestyle=":")
    annealing.set_ylim(0, 1.05)
    titled(annealing, "Annealing near an optimum (C8)", "distance, in sd of the gradient (dots: at 0)", "mean |m̂| / √v̂")
    for style, p in zip(PLAIN, ("1", "0.1", "0.01"), strict=False):
        for quantity, look in (
            ("relative standard deviation of v_hat", {**style, "linestyle": "none"}),
            ("the same by theory", {**style, "marker": "", "linewidth": 1}),
        ):
            spread = data.of("C14", quantity)
            spread = spread[spread.index.str.endswith(f", p = {p}")]
            forgetting = 1 - spread.index.str.extract(r"beta2 = ([\d.]+)", expand=False).astype(float)
            sparse.plot(
                forgetting, spread.to_numpy(), label=f"{p} of gradients not 0" if look["marker"] else None, **look
            )
    sparse.set_xscale("log")
    sparse.set_yscale("log")
    titled(sparse, "v̂ of sparse gradients (C14)", "1 - β2 (lines: theory)", "relative sd of v̂")
    line(limit, data.of("C19", "relative distance of the path from AdaGrad's"), "1 - beta2 = ", PLAIN[0],
         label="with correction: distance from AdaGrad's path")  # fmt: skip
    line(limit, data.of("C20", "median size of step 100 in units of alpha"), "1 - beta2 = ", PLAIN[1],
         label="without: size of a step, in α")  # fmt: skip
    limit.set_yscale("log")
    limit.set_ylim(1e-7, 1e9)
    titled(limit, "AdaGrad as the limit β2 → 1 (C19, C20)", "1 - β2", "")
    wrong = data.of("C23", "share of wrong steps in float32")
    for style, size in zip(PLAIN, ("0.001", "1", "1000"), strict=False):
        shares = wrong[wrong.index.str.endswith(f"of about {size}") & ~wrong.index.str.startswith("p = inf")]
        power = shares.index.str.extract(r"p = (\d+),", expand=False).astype(int)
        powers.plot(power, shares.to_numpy(), label=f"gradients of about {size}", **style)
    powers.set_xscale("log", base=2)
    powers.xaxis.set_major_formatter(matplotlib.ticker.FormatStrFormatter("%d"))
    titled(powers, "L_p norms in float32 (C23)", "p (none is wrong at p = ∞, AdaMax)", "share of wrong steps")
    measured_caption(drawn, data, "Properties of Adam and its relatives, measured on gradients of our own, in float64")
    return drawn


@figure("online_convex")
def online_convex(data: Measurements) -> Figure:
    """Section 4: regret on random streams, the streams of Reddi et al., sparse features, and Wilson et al."""
    drawn = Figure(figsize=(9, 6.9), layout=ConstrainedLayoutEngine(h_pad=0.08, w_pad=0.08, rect=(0, 0.06, 1, 0.94)))
    (random, reddi), (sparse, wilson) = drawn.subplots(2, 2)
    for style, stream in zip(PLAIN, ("linear", "squares"), strict=False):
        regret = data.of("C15", f"mean regret over seeds, {stream}")
        line(random, regret, "T = ", style, label=stream)
    times = np.array([100.0, 30_000.0])
    random.plot(times, 5 * times**0.5, color="#999999", linewidth=1, linestyle=":", label="slope 1/2")
    random.set_yscale("log")
    titled(random, "Random convex streams (C15a)", "T", "mean regret R(T)")
    for style, (arm, label) in zip(PLAIN, REDDI_ARMS.items(), strict=False):
        line(reddi, data.of("C15", f"R(T) / T, {arm}"), "T = ", style, label=label)
    reddi.axhline(0, color="#999999", linewidth=0.8)
    reddi.set_ylim(-0.05, 1.35)
    titled(reddi, "Streams of Reddi et al. (C15b)", "T", "average regret R(T) / T")
    for name in ("Adam", "AdaGrad"):
        ratios = data.of("C17", f"regret of {name} / regret of SGD")
        dimensions = ratios.index.str.extract(r"d = (\d+),", expand=False).astype(int)
        means = np.exp(np.log(ratios).groupby(dimensions).mean())
        sparse.plot(dimensions, ratios.to_numpy(), color=STYLES[name]["color"], marker=".", linestyle="none", alpha=0.4)
        sparse.plot(means.index, means.to_numpy(), label=name, **STYLES[name])
    sparse.set_xscale("log")
    sparse.axhline(1, color="#999999", linewidth=0.8)
    titled(sparse, "Sparse features (C17)", "number of features (dots: seeds)", "regret / regret of SGD")
    for name, style in (
        ("gradient descent", STYLES["SGDNesterov"]),
        ("Adam", STYLES["Adam"]),
        ("AdaGrad", STYLES["AdaGrad"]),
    ):
        line(wilson, data.of("Wilson", f"test error, {name}"), "p = ", style, label=name, log=False)
    wilson.set_ylim(-0.03, 0.65)
    titled(wilson, "Construction of Wilson et al.", "share p of positive labels", "test error, training error 0")
    measured_caption(drawn, data, "Convergence: Adam on streams of convex functions, projected, α / √t unless named")
    return drawn


PLAIN: list[dict[str, Any]] = [
    {**STYLES[name], "markersize": 4} for name in ("Adam", "SGDNesterov", "AdaGrad", "RMSProp", "AdaDelta", "AdaMax")
]
REDDI_ARMS = {
    "stream a, C = 2.5, Adam beta2 = 1/(1 + C^2)": "a, C = 2.5: Adam, β2 = 1/(1 + C²)",
    "stream a, C = 2.5, AMSGrad": "a: AMSGrad",
    "stream b, Adam beta2 = 0.99": "b: Adam, β2 = 0.99",
    "stream b, AMSGrad beta2 = 0.99": "b: AMSGrad, β2 = 0.99",
    "stream b, Adam default betas, alpha = 0.01": "b: Adam, default β, α = 0.01",
    "stream b, Adam default betas": "b: Adam, default β",
}


def line(
    axes: Axes, values: pd.Series, before: str, style: dict[str, Any], *, label: str = "", log: bool = True
) -> None:
    """The measurements whose setting is ``before`` and a number, over that number."""
    chosen = values[values.index.str.startswith(before)]
    x = chosen.index.str.removeprefix(before).astype(float)
    axes.plot(x, chosen.to_numpy(), label=label or None, **style)
    if log:
        axes.set_xscale("log")


def titled(axes: Axes, title: str, x: str, y: str) -> None:
    axes.set_title(title)
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.legend(loc="best", fontsize=7.5, handlelength=3.2)


def greek(text: str) -> str:
    return text.replace("beta", "β")


def measured_caption(drawn: Figure, data: Measurements, title: str) -> None:
    seed = data.provenance["seeds"][0]
    text = f"{title}. No data set is involved; seed {seed}; the same at every scale."
    drawn.text(0.012, 0.012, textwrap.fill(text, 150), fontsize=8, color="#444444", va="bottom")
