"""Section 6.3: convolutional networks on CIFAR-10 (Figure 3)."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd

from adam_repro.analysis.claims import Better, Finding, NotRun, Within, claim
from adam_repro.analysis.claims.comparisons import (
    context,
    costs_at,
    joined,
    mean_of,
    middle,
    missing,
    not_run,
    printed_final,
    time_to_target,
)
from adam_repro.analysis.curves import ABLATIONS, FigureData, paper_curves
from adam_repro.analysis.statistics import FAMILY_ERROR, FEWEST_SEEDS, paired_differences, t_interval
from adam_repro.wording import counted

PANEL = "3"
LAST = 46  # x = 45, where the paper's axis ends
AROUND = 5  # passes up to that one, whose mean stands beside
TARGETS = (1e-2, 1e-3)  # nats
EARLY = 4  # the passes of the left panel
FASTEST, SLOWEST = {"a": "Adam", "b": "AdaGrad"}, "SGDNesterov"
VANISHED_BY, VANISHED = 10, 0.5
WITHOUT_M, FROZEN_V = ABLATIONS.items()


def _enter(letter: str, name: str) -> None:
    @claim(
        f"L16{letter}",
        section="6.3",
        figure="fig3_first_epochs",
        statement=f"On CIFAR-10 without dropout, {name} is ahead of SGD with Nesterov momentum in each of the first "
        "four passes.",
        margin=0.0,
    )
    def is_ahead_early(data: FigureData) -> Better | NotRun:
        """Decided in the pass in which it does worst: what holds there holds in all. The paper speaks of rapid progress
        at first, which its own AdaGrad makes in two of the four."""
        if lack := missing(data, name, SLOWEST, epochs=EARLY):
            return lack
        by_pass = {epoch: _ahead(data, name, epoch) for epoch in range(1, EARLY + 1)}
        worst = max(by_pass, key=lambda epoch: middle(by_pass[epoch]))
        ratios = ", ".join(f"{math.exp(middle(d)):.3f}" for d in by_pass.values())
        note = f"in pass {worst}, over {SLOWEST}; by pass {ratios}; fastest first: {_order(data)}"
        others = [_in_arm(data, arm, name, worst) for arm in ("default", "matched")]
        printed = f"printed, by pass {', '.join(f'{_printed_ratio(name, x):.3f}' for x in range(EARLY))}"
        return Better(by_pass[worst], printed, joined(note, *others, context(data)))


for letter, name in FASTEST.items():
    _enter(letter, name)


def _ahead(data: FigureData, name: str, epoch: int, *, arm: str = "tuned") -> np.ndarray:
    """ln(cost of ``name`` / cost of SGD) in a pass, [seeds]; where both diverged neither is ahead."""
    costs, slowest = (costs_at(data, curve, epoch, arm=arm) for curve in (name, SLOWEST))
    lost = costs.isna() & slowest.reindex(costs.index).isna()
    return paired_differences(costs[~lost], slowest)


def _in_arm(data: FigureData, arm: str, name: str, epoch: int) -> str:
    """The same ratio of another arm's runs."""
    d = _ahead(data, name, epoch, arm=arm)
    if not len(d) or not np.isfinite(d).all():
        return ""
    words = {"default": "default settings", "matched": "settings nearest to print"}[arm]
    return f"{words}: {math.exp(d.mean()):.3f} (n = {len(d)})"


def _order(data: FigureData) -> str:
    """By pass, the tuned optimizers without dropout by their mean rank over seeds; one order where all passes agree."""
    names = [name for name in data.arm("tuned")["curve"].unique() if "+" not in name]
    orders = []
    for epoch in range(1, EARLY + 1):
        ranks = pd.DataFrame({name: costs_at(data, name, epoch) for name in names}).rank(axis=1, na_option="bottom")
        orders.append(" < ".join(ranks.mean().sort_values(kind="stable").index))
    return orders[0] if len(set(orders)) == 1 else ", ".join(orders)


def _printed_ratio(name: str, x: int) -> float:
    printed = paper_curves(PANEL).pivot(index="epoch", columns="curve", values="training_cost").loc[x]
    return printed[name] / printed[SLOWEST]


@claim(
    "L17a",
    section="6.3",
    figure="fig3_full",
    statement="On CIFAR-10 without dropout, Adam's training cost in pass 46, where the paper's axis ends, is more than "
    "ten times below AdaGrad's.",
    margin=9.0,
)
def adam_far_below_adagrad(data: FigureData) -> Better | NotRun:
    return _far_below(data, "Adam")


@claim(
    "L17b",
    section="6.3",
    figure="fig3_full",
    statement="On CIFAR-10 without dropout, in pass 46, SGD with Nesterov momentum is at a training cost more than ten "
    "times below AdaGrad's.",
    margin=9.0,
)
def nesterov_far_below_adagrad(data: FigureData) -> Better | NotRun:
    return _far_below(data, "SGDNesterov")


def _far_below(data: FigureData, name: str) -> Better | NotRun:
    if lack := missing(data, name, "AdaGrad", epochs=LAST):
        return lack
    return Better(_at_the_end(data, name, "AdaGrad"), _printed_end(name, "AdaGrad"), _note(data, name, "AdaGrad"))


@claim(
    "L18",
    section="6.3",
    figure="fig3_full",
    statement="On CIFAR-10 without dropout, in pass 46, Adam is better than SGD with Nesterov momentum, by less than a "
    "factor of two.",
    margin=1.0,
)
def adam_marginally_better(data: FigureData) -> Within | NotRun:
    names = ("Adam", "SGDNesterov")
    if lack := missing(data, *names, epochs=LAST):
        return lack
    times = [f"{target:g}: {' and '.join(time_to_target(data, name, target) for name in names)}" for target in TARGETS]
    note = joined(f"the paper's x at {'; at '.join(times)}", _note(data, *names))
    return Within(_at_the_end(data, *names), -math.log(2), 0.0, note=note, matched=_printed_end(*names))


@claim(
    "L19",
    section="6.3",
    figure="fig3_full",
    statement="In the convolutional network v_hat vanishes in convolutions after a few passes and eps takes its place.",
    margin=VANISHED,
)
def v_hat_vanishes(data: FigureData) -> Finding | NotRun:
    """Decided in the layer and the pass with the largest share, mean over seeds."""
    if lack := missing(data, "Adam"):
        return lack
    if data.diagnostics is None:
        return not_run(data, "no diagnostics were recorded")
    inside = data.diagnostics.query("arm == 'tuned' and curve == 'Adam' and epoch <= @VANISHED_BY")
    convolutions = inside[inside["layer"].str.startswith("conv")]
    if convolutions.empty:
        return not_run(data, "no diagnostics of convolutional layers were recorded")
    if (n := convolutions["seed"].nunique()) < FEWEST_SEEDS:
        return not_run(data, f"n too small: {n} seeds, at least {FEWEST_SEEDS} are needed")
    shares = convolutions.groupby(["layer", "epoch"])["below_eps"].mean()
    reached = int(inside["epoch"].max())
    if shares.max() < VANISHED and reached < VANISHED_BY:
        return not_run(data, f"not reached: {reached} of {VANISHED_BY} passes; largest share so far {shares.max():.2g}")
    layer, epoch = shares.idxmax()
    there = convolutions[(convolutions["layer"] == layer) & (convolutions["epoch"] == epoch)]
    note = (
        f"share of coordinates with sqrt(v_hat) < eps and its range over seeds, in the first {VANISHED_BY} passes "
        f"largest in {layer} after {counted(epoch, 'pass')}; "
        f"there the median of sqrt(v_hat) is {there['sqrt_v_hat_p50'].mean():.1e}"
    )
    numbers = (shares.max(), there["below_eps"].min(), there["below_eps"].max(), n)
    return Finding(bool(shares.max() >= VANISHED), *numbers, joined(note, context(data)))


@claim(
    "C7b",
    section="2.1",
    figure="fig3_full",
    statement="In training the convolutional network, one step in a hundred is longer than alpha, at most, in each "
    "layer after each pass.",
    margin=0.0,
)
def steps_in_training(data: FigureData) -> Finding | NotRun:
    """By seed, in the layer and after the pass with the largest 99th percentile; open where seeds disagree."""
    if lack := missing(data, "Adam"):
        return lack
    if data.diagnostics is None:
        return not_run(data, "no diagnostics were recorded")
    inside = data.diagnostics.query("arm == 'tuned' and curve == 'Adam'")
    if (n := inside["seed"].nunique()) < FEWEST_SEEDS:
        return not_run(data, f"n too small: {n} seeds, at least {FEWEST_SEEDS} are needed")
    largest = inside.loc[inside.groupby("seed")["step_p99"].idxmax()]
    worst = largest.loc[largest["step_p99"].idxmax()]
    note = (
        f"99th percentile of |step| / alpha, median and range over seeds of the largest, in {worst['layer']} after "
        f"{counted(worst['epoch'], 'pass')}; above 1 in {(inside['step_p99'] > 1).mean():.0%} of layers and passes; "
        f"the longest step {inside['step_max'].max():.2f} alpha"
    )
    p99 = largest["step_p99"]
    holds = True if p99.max() <= 1 else False if p99.min() > 1 else None
    return Finding(holds, p99.median(), p99.min(), p99.max(), n, joined(note, context(data)), unit="alpha")


@claim(
    "L20a",
    section="6.3",
    figure="fig3_full",
    statement="In the convolutional network the first moment matters: without it, all else equal, Adam's cost in pass "
    "46 is twice as high or more.",
    margin=1.0,
)
def the_first_moment_matters(data: FigureData) -> Within | NotRun:
    d = _ablated(data, *WITHOUT_M)
    return d if isinstance(d, NotRun) else Within(d, math.log(2), math.inf, note=_ablation_note(data, *WITHOUT_M))


@claim(
    "L20b",
    section="6.3",
    figure="fig3_full",
    statement="In the convolutional network the second moment matters little: with v as it is after the first pass, "
    "all else equal, Adam's cost in pass 46 is less than twice as high.",
    margin=1.0,
)
def the_second_moment_does_not(data: FigureData) -> Within | NotRun:
    d = _ablated(data, *FROZEN_V)
    return d if isinstance(d, NotRun) else Within(d, -math.inf, math.log(2), note=_ablation_note(data, *FROZEN_V))


def _ablated(data: FigureData, arm: str, curve: str) -> np.ndarray | NotRun:
    """ln(Adam's ablation / Adam) of the training costs where the paper's axis ends, [seeds]."""
    if lack := missing(data, "Adam", epochs=LAST) or missing(data, curve, arm=arm):
        return lack
    return paired_differences(costs_at(data, curve, LAST, arm=arm), costs_at(data, "Adam", LAST))


def _ablation_note(data: FigureData, arm: str, curve: str) -> str:
    """The costs themselves, and when runs diverged."""
    finite = {"Adam's": costs_at(data, "Adam", LAST), "without": costs_at(data, curve, LAST, arm=arm)}
    shown = [f"{words} {_range(costs.dropna())}" for words, costs in finite.items() if costs.notna().any()]
    lost = data.arm(arm).query("curve == @curve and status == 'diverged'")["diverged_step"]
    diverged = f"{len(lost)} diverged, in step {_range(lost)}" if len(lost) else ""
    alpha = "at Adam's own step size, which was not tuned anew"
    return joined(f"cost without over Adam's; range over seeds, {' and '.join(shown)}", alpha, diverged, context(data))


def _range(values: pd.Series) -> str:
    return f"{values.min():.3g} to {values.max():.3g}"


def _at_the_end(data: FigureData, a: str, b: str, *, arm: str = "tuned") -> np.ndarray:
    """ln(a / b) of the training costs where the paper's axis ends, [seeds]."""
    return paired_differences(costs_at(data, a, LAST, arm=arm), costs_at(data, b, LAST, arm=arm))


def _printed_end(a: str, b: str) -> str:
    first, second = (printed_final(PANEL, name, last=1, until=LAST - 1) for name in (a, b))
    return f"printed {first / second:.3g}"


def _note(data: FigureData, a: str, b: str) -> str:
    """Test accuracy, and the same ratio with dropout and in the default arm."""
    accuracy = " and ".join(f"{name} {mean_of(data, 'test_accuracy', name):.3f}" for name in (a, b))
    ratios = []
    for words, names, arm in (
        ("with dropout", (f"{a}+dropout", f"{b}+dropout"), "tuned"),
        ("default settings", (a, b), "default"),
    ):
        d = _at_the_end(data, *names, arm=arm)
        if len(d) and np.isfinite(d).all():
            ratios.append(f"{words}: {math.exp(d.mean()):.3g} (n = {len(d)})")
    return joined(_around_the_end(data, a, b), f"test accuracy: {accuracy}", *ratios, context(data))


def _around_the_end(data: FigureData, a: str, b: str) -> str:
    """The ratio of means over the last passes up to the one that decides: single passes are noisy."""
    first = LAST - AROUND + 1
    means = [
        pd.concat([costs_at(data, name, epoch) for epoch in range(first, LAST + 1)], axis=1).mean(axis=1, skipna=False)
        for name in (a, b)
    ]
    d = paired_differences(*means)
    if len(d) < FEWEST_SEEDS or not np.isfinite(d).all():
        return ""
    low, high = np.exp(t_interval(d, 1 - FAMILY_ERROR))
    return (
        f"means over passes {first} to {LAST}, which decide nothing: {math.exp(d.mean()):.3f} [{low:.3f}, {high:.3f}]"
    )
