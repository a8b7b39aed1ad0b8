"""Figures of measurements: the arithmetic and theory claims that a picture helps."""

from __future__ import annotations

import textwrap
from typing import Any

import matplotlib.ticker
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from adam_repro.analysis.figures import STYLES, figure
from adam_repro.analysis.measurements import Measurements

PLAIN: list[dict[str, Any]] = [
    {**STYLES[name], "markersize": 4} for name in ("Adam", "SGDNesterov", "AdaGrad", "RMSProp", "AdaDelta", "AdaMax")
]
"""Looks for lines that are no optimizers, told apart without colour too."""

GUIDE: dict[str, Any] = {"color": "#888888", "linewidth": 0.9, "linestyle": ":"}

REDDI_ARMS = {
    "stream a, C = 2.5, Adam beta2 = 1/(1 + C^2)": "a, C = 2.5: Adam, β2 = 1/(1 + C²)",
    "stream a, C = 2.5, AMSGrad": "a, C = 2.5: AMSGrad",
    "stream b, Adam beta2 = 0.99": "b: Adam, β2 = 0.99",
    "stream b, AMSGrad beta2 = 0.99": "b: AMSGrad, β2 = 0.99",
    "stream b, Adam default betas, alpha = 0.01": "b: Adam, default β, α = 0.01",
    "stream b, Adam default betas": "b: Adam, default β",
}


@figure("properties")
def properties(data: Measurements) -> Figure:
    """The arithmetic claims that a picture helps: sections 2.1, 3, 5 and 7.1."""
    drawn = Figure(figsize=(9, 9.6), layout=ConstrainedLayoutEngine(h_pad=0.08, w_pad=0.08, rect=(0, 0.05, 1, 0.95)))
    panels = (spike, early_steps, annealing, sparse_gradients, adagrad_limit, powers)
    for draw, axes in zip(panels, drawn.subplots(3, 2).flat, strict=True):
        draw(axes, data)
    caption(
        drawn, data, "Properties of Adam and its relatives, measured on gradients of our own, in float64 unless named"
    )
    return drawn


@figure("online_convex")
def online_convex(data: Measurements) -> Figure:
    """Section 4: regret on random streams, the streams of Reddi et al., sparse features, and Wilson et al."""
    drawn = Figure(figsize=(9, 6.9), layout=ConstrainedLayoutEngine(h_pad=0.08, w_pad=0.08, rect=(0, 0.06, 1, 0.94)))
    panels = (random_streams, reddi, sparse_features, wilson)
    for draw, axes in zip(panels, drawn.subplots(2, 2).flat, strict=True):
        draw(axes, data)
    caption(
        drawn,
        data,
        "Convergence: Adam on streams of convex functions, projected, α / √t unless named; of Reddi et al. a is the "
        "first stream, b the second",
    )
    return drawn


def spike(axes: Axes, data: Measurements) -> None:
    sizes = data.of("C4", "size of the step in units of alpha")
    for look, betas in zip(PLAIN, ("beta1 = 0.9, beta2 = 0.999", "beta1 = 0.9, beta2 = 0.9999"), strict=False):
        line(axes, sizes, f"{betas}, t = ", look, label=betas.replace("beta", "β"))
    axes.axhline(0.1 / 0.001**0.5, **GUIDE)
    axes.text(1, 3.3, "the paper's bound, β2 = 0.999", fontsize=7.5, color="#555555")
    worst = data.of("C5", "size of the worst step in units of alpha").iloc[0]
    axes.plot([3000], [worst], "k*", markersize=9)
    axes.text(2200, worst, f"worst sequence,\nβ2 = 0.999: {worst:.2f}", fontsize=7.5, ha="right", va="center")
    titled(axes, "A gradient after zeros (C4, C5)", "step t, the first with a gradient", "size of the step, in α")


def early_steps(axes: Axes, data: Measurements) -> None:
    ratios = data.of("C13", "step without correction / with it")
    for look, beta2 in zip(PLAIN, ("0.99", "0.999", "0.9999"), strict=False):
        line(axes, ratios, f"beta1 = 0.9, beta2 = {beta2}, t = ", look, label=f"β1 = 0.9, β2 = {beta2}")
        line(axes, ratios, f"beta1 = 0, beta2 = {beta2}, t = ", {**look, "linewidth": 0.8, "markersize": 2})
    axes.set_yscale("log")
    titled(axes, "Steps without bias correction (C13)", "step t (thin: β1 = 0)", "step without / with correction")


def annealing(axes: Axes, data: Measurements) -> None:
    for look, beta1 in zip(PLAIN, ("0.9", "0"), strict=False):
        sizes = data.of("C8", f"mean |m_hat| / sqrt(v_hat), beta1 = {beta1}")
        line(axes, sizes[sizes.index != "distance = 0"], "distance = ", look, label=f"β1 = {beta1}")
        axes.axhline(sizes["distance = 0"], **{**GUIDE, "color": look["color"]})
    axes.set_ylim(0, 1.05)
    titled(axes, "Annealing near an optimum (C8)", "distance, in sd of the gradient (dotted: at 0)", "mean |m̂| / √v̂")


def sparse_gradients(axes: Axes, data: Measurements) -> None:
    for look, p in zip(PLAIN, ("1", "0.1", "0.01"), strict=False):
        for quantity, shown, label in (
            ("relative standard deviation of v_hat", {"linestyle": "none"}, f"{float(p):.0%} of gradients not 0"),
            ("the same by theory", {"marker": "", "linewidth": 1}, None),
        ):
            spread = data.of("C14", quantity)
            spread = spread[spread.index.str.endswith(f", p = {p}")]
            beta2 = spread.index.str.extract(r"beta2 = ([\d.]+)", expand=False).astype(float)
            axes.plot(1 - beta2, spread.to_numpy(), label=label, **{**look, **shown})
    axes.set_xscale("log")
    axes.set_yscale("log")
    titled(axes, "v̂ of sparse gradients (C14)", "1 - β2 (lines: theory)", "relative sd of v̂")


def adagrad_limit(axes: Axes, data: Measurements) -> None:
    gaps = data.of("C19", "relative distance of the path from AdaGrad's")
    line(axes, gaps, "1 - beta2 = ", PLAIN[0], label="with correction: distance from AdaGrad's path")
    sizes = data.of("C20", "median size of step 100 in units of alpha")
    line(axes, sizes, "1 - beta2 = ", PLAIN[1], label="without: size of a step, in α")
    axes.set_yscale("log")
    axes.set_ylim(1e-7, 1e9)
    titled(axes, "AdaGrad as the limit β2 → 1 (C19, C20)", "1 - β2", "")


def powers(axes: Axes, data: Measurements) -> None:
    wrong = data.of("C23", "share of wrong steps in float32")
    for look, size in zip(PLAIN, ("0.001", "1", "1000"), strict=False):
        shares = wrong[wrong.index.str.endswith(f"of about {size}") & ~wrong.index.str.startswith("p = inf")]
        power = shares.index.str.extract(r"p = (\d+),", expand=False).astype(int)
        axes.plot(power, shares.to_numpy(), label=f"gradients of about {size}", **look)
    axes.set_xscale("log", base=2)
    axes.xaxis.set_major_formatter(matplotlib.ticker.FormatStrFormatter("%d"))
    titled(axes, "L_p norms in float32 (C23)", "p (none is wrong at p = ∞, AdaMax)", "share of wrong steps")


def random_streams(axes: Axes, data: Measurements) -> None:
    for look, stream in zip(PLAIN, ("linear", "squares"), strict=False):
        line(axes, data.of("C15", f"mean regret over seeds, {stream}"), "T = ", look, label=stream)
    times = np.array([100.0, 30_000.0])
    axes.plot(times, 5 * times**0.5, label="slope 1/2", **GUIDE)
    axes.set_yscale("log")
    titled(axes, "Random convex streams (C15a)", "T", "mean regret R(T)")


def reddi(axes: Axes, data: Measurements) -> None:
    for look, (arm, label) in zip(PLAIN, REDDI_ARMS.items(), strict=True):
        line(axes, data.of("C15", f"R(T) / T, {arm}"), "T = ", look, label=label)
    axes.axhline(0, **GUIDE)
    axes.set_ylim(-0.05, 1.4)
    titled(axes, "Streams of Reddi et al. (C15b)", "T", "average regret R(T) / T")


def sparse_features(axes: Axes, data: Measurements) -> None:
    for name in ("Adam", "AdaGrad"):
        ratios = data.of("C17", f"regret of {name} / regret of SGD")
        dimensions = ratios.index.str.extract(r"d = (\d+),", expand=False).astype(int)
        means = np.exp(np.log(ratios).groupby(dimensions).mean())
        axes.plot(dimensions, ratios.to_numpy(), ".", color=STYLES[name]["color"], alpha=0.4)
        axes.plot(means.index, means.to_numpy(), label=name, **STYLES[name])
    axes.axhline(1, **GUIDE)
    axes.set_xscale("log")
    titled(axes, "Sparse features (C17)", "number of features (dots: seeds)", "regret / regret of SGD")


def wilson(axes: Axes, data: Measurements) -> None:
    for name in ("gradient descent", "Adam", "AdaGrad"):
        look = STYLES.get(name, STYLES["SGDNesterov"])
        line(axes, data.of("Wilson", f"test error, {name}"), "p = ", look, label=name)
    axes.set_xscale("linear")
    axes.set_xticks([0.55, 0.6, 0.65, 0.7, 0.75])
    axes.set_ylim(-0.03, 0.65)
    titled(axes, "Construction of Wilson et al.", "share p of positive labels", "test error, training error 0")


def line(axes: Axes, values: pd.Series, before: str, look: dict[str, Any], *, label: str | None = None) -> None:
    """The measurements whose setting is ``before`` and a number, over the logarithm of that number."""
    chosen = values[values.index.str.startswith(before)]
    axes.plot(chosen.index.str.removeprefix(before).astype(float), chosen.to_numpy(), label=label, **look)
    axes.set_xscale("log")


def titled(axes: Axes, title: str, x: str, y: str) -> None:
    axes.set_title(title)
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.legend(loc="best", fontsize=7.5, handlelength=3.2)


def caption(drawn: Figure, data: Measurements, title: str) -> None:
    first = data.provenance["seeds"][0]
    text = f"{title}. No data set is involved; seeds count from {first}; the same at every scale."
    drawn.text(0.012, 0.012, textwrap.fill(text, 150), fontsize=8, color="#444444", va="bottom")
