"""Section 7.1 and what came later: AdaMax's suggested settings, and rankings under a wider search."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pandas as pd

from adam_repro.analysis.claims import Better, Finding, NotRun, claim
from adam_repro.analysis.claims.comparisons import context, differences, finals, joined, missing
from adam_repro.analysis.curves import FigureData
from adam_repro.analysis.statistics import FAMILY_ERROR, FEWEST_SEEDS, paired_differences, resampling, t_interval

FIGURE = "fig1_mnist_wide"
FOUR = ("Adam", "SGDNesterov", "AdaGrad", "RMSProp")
ARMS = ("narrow", "tuned")


@claim(
    "L25",
    section="7.1",
    figure=FIGURE,
    statement="On MNIST logistic regression, AdaMax ends with the suggested settings at most a fifth above what it "
    "reaches when it is tuned.",
    margin=1 / 1.2 - 1,
)
def adamax_has_good_defaults(data: FigureData) -> Better | NotRun:
    if lack := missing(data, "AdaMax") or missing(data, "AdaMax", arm="default"):
        return lack
    costs = {arm: finals(data, arm, "AdaMax") for arm in ("default", "tuned")}
    ratios = [
        f"{words} {math.exp(d.mean()):.3f}"
        for words, arm in (("suggested settings", "default"), ("tuned", "tuned"))
        if len(d := differences(data, "AdaMax", "Adam", arm=arm)) and np.isfinite(d).all()
    ]
    note = f"AdaMax over Adam: {', '.join(ratios)}" if ratios else ""
    return Better(paired_differences(costs["default"], costs["tuned"]), note=joined(note, context(data)))


@claim(
    "L26",
    section="7.2",
    figure=FIGURE,
    statement="Averaging Adam's parameters lowers the test loss of MNIST logistic regression by more than a hundredth.",
    margin=0.01,
)
def averaging_generalises_better(data: FigureData) -> Better | NotRun:
    """The same run twice, judged by the average and by the last parameters."""
    if lack := missing(data, "Adam", arm="narrow") or missing(data, "AveragedAdam", arm="averaged"):
        return lack
    d = _test_losses(data, ("averaged", "AveragedAdam"), ("narrow", "Adam"))
    constant = _test_losses(data, ("default", "AveragedAdam"), ("default", "Adam"))
    note = "test losses" + (
        f"; suggested settings, alpha constant: {math.exp(constant.mean()):.4f}" if len(constant) else ""
    )
    return Better(d, note=joined(note, context(data)))


def _test_losses(data: FigureData, *pair: tuple[str, str]) -> np.ndarray:
    """ln(a / b) of the final test losses of two (arm, curve), [seeds]."""
    a, b = (
        runs[runs["curve"] == curve].set_index("seed")["test_loss"]
        for runs, curve in ((data.arm(arm), curve) for arm, curve in pair)
    )
    return paired_differences(a, b)


@claim(
    "L28",
    section="6",
    figure=FIGURE,
    statement="On MNIST logistic regression, the order of the suite's four optimizers is the same whether the learning "
    "rate is tuned, and SGD's momentum, or every hyper-parameter.",
    margin=0.01,
)
def the_ranking_survives_a_wider_search(data: FigureData) -> Finding | NotRun:
    """By pairs: one is lower, higher, or level within the margin, where the interval of the log ratio says so.

    Contradicted where a pair is decided differently under the two searches, supported where all are decided equally.
    The intervals of all pairs under both searches have Bonferroni's level. Effect: Kendall's tau of the two orders.
    """
    for arm in ARMS:
        if lack := missing(data, *FOUR, arm=arm):
            return lack
    tables = {arm: pd.DataFrame({name: finals(data, arm, name) for name in FOUR}).dropna() for arm in ARMS}
    n = min(map(len, tables.values()))
    if n < FEWEST_SEEDS:
        return NotRun(f"n too small: {n} seeds without a diverged run, at least {FEWEST_SEEDS} are needed")
    pairs = list(itertools.combinations(FOUR, 2))
    orders = {
        arm: {pair: _order(table, *pair, tests=2 * len(pairs)) for pair in pairs} for arm, table in tables.items()
    }
    changed, open_ = [], []
    for pair in pairs:
        narrow, wide = (orders[arm][pair] for arm in ARMS)
        if narrow and wide and narrow != wide:
            changed.append(f"{pair[0]} {narrow} {pair[1]} becomes {wide}")
        elif not (narrow and wide):
            open_.append(" and ".join(pair))
    ranks = [" < ".join(np.log(tables[arm]).mean().sort_values().index) for arm in ARMS]
    note = joined(
        f"Kendall's tau of the two orders; narrow: {ranks[0]}; wide, with RMSProp's momentum: {ranks[1]}",
        "pairs that change, = for level within 1 %: " + ", ".join(changed) if changed else "no pair changes",
        f"undecided: {', '.join(open_)}" if open_ else "",
        context(data),
    )
    holds = False if changed else None if open_ else True
    return Finding(holds, *_tau(*tables.values()), n, note)


def _order(costs: pd.DataFrame, a: str, b: str, *, tests: int) -> str:
    """How the costs of ``a`` stand to those of ``b``: "<", ">", "=" within the margin, "" where it is open."""
    low, high = t_interval(paired_differences(costs[a], costs[b]), 1 - FAMILY_ERROR / tests)
    margin = math.log(1.01)
    if high < -margin:
        return "<"
    if low > margin:
        return ">"
    return "=" if -margin <= low and high <= margin else ""


def _tau(narrow: pd.DataFrame, wide: pd.DataFrame) -> tuple[float, float, float]:
    """Kendall's tau of the mean costs under the two searches, with its 95 % interval over resampled seeds."""
    shared = narrow.index.intersection(wide.index)
    logs = [np.log(table.loc[shared, list(FOUR)].to_numpy().T) for table in (narrow, wide)]  # [optimizers, seeds]
    low, high = np.quantile(_agreement(*(log @ resampling(len(shared)) for log in logs)), [0.025, 0.975])
    (tau,) = _agreement(*(log.mean(1, keepdims=True) for log in logs))
    return float(tau), float(low), float(high)


def _agreement(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Kendall's tau of two orders of the same things, [things, orders]: 1 where they agree, -1 where they oppose."""
    pairs = itertools.combinations(range(len(a)), 2)
    return np.mean([np.sign(a[i] - a[j]) * np.sign(b[i] - b[j]) for i, j in pairs], axis=0)
