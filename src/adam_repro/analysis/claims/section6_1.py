"""Section 6.1: logistic regression on MNIST and on IMDB (Figure 1)."""

from __future__ import annotations

import numpy as np
import pandas as pd

from adam_repro.analysis.claims import Better, Equal, NotRun, claim
from adam_repro.analysis.claims.comparisons import (
    arrival_differences,
    context,
    differences,
    finals,
    in_print,
    joined,
    mean_of,
    missing,
    printed_final,
    time_to_target,
)
from adam_repro.analysis.curves import FigureData, paper_curves
from adam_repro.analysis.statistics import paired_differences
from adam_repro.matching import distance, plotted

IMDB_LAST, IMDB_UNTIL = 10, 175  # passes that are averaged, and the x at which the runs end
IMDB_TARGETS = (0.26, 0.25)  # nats
FIGURE, PANEL = "fig1_mnist", "1L"
TARGET = 0.27  # nats; Adam's printed curve reaches it at x = 14, SGDNesterov's at x = 30


@claim(
    "L7",
    section="6.1",
    figure=FIGURE,
    statement="On MNIST logistic regression, Adam and SGD with Nesterov momentum end at the same training cost, within "
    "5 %.",
    margin=0.05,
)
def adam_equals_nesterov(data: FigureData) -> Equal:
    times = " and ".join(f"{name} {time_to_target(data, name, TARGET)}" for name in ("Adam", "SGDNesterov"))
    note = f"the paper's x at {TARGET}, median over seeds: {times}; {context(data, 'Adam', 'SGDNesterov')}"
    return Equal(differences(data, "Adam", "SGDNesterov"), in_print(data, PANEL, "Adam", "SGDNesterov", until=45), note)


@claim(
    "L8a",
    section="6.1",
    figure=FIGURE,
    statement="On MNIST logistic regression, Adam ends more than a tenth below AdaGrad's training cost.",
    margin=0.10,
)
def adam_better_than_adagrad(data: FigureData) -> Better:
    matched = in_print(data, PANEL, "Adam", "AdaGrad", until=45)
    return Better(differences(data, "Adam", "AdaGrad"), matched, context(data, "Adam", "AdaGrad"))


@claim(
    "L8b",
    section="6.1",
    figure=FIGURE,
    statement="On MNIST logistic regression, SGD with Nesterov momentum ends more than a tenth below AdaGrad's "
    "training cost.",
    margin=0.10,
)
def nesterov_better_than_adagrad(data: FigureData) -> Better:
    matched = in_print(data, PANEL, "SGDNesterov", "AdaGrad", until=45)
    return Better(differences(data, "SGDNesterov", "AdaGrad"), matched, context(data, "SGDNesterov", "AdaGrad"))


@claim(
    "P1",
    section="6.1",
    figure=FIGURE,
    statement="The printed AdaGrad curve of Figure 1 (left) is what AdaGrad reaches at its best step size, "
    "within a tenth.",
    margin=0.10,
)
def printed_adagrad_is_adagrads_best(data: FigureData) -> Equal:
    ours = finals(data, "tuned", "AdaGrad")
    printed = pd.Series(printed_final(PANEL, "AdaGrad", until=45), index=ours.index)
    return Equal(paired_differences(ours, printed), _nearest_to_print(data, "AdaGrad"), context(data))


@claim(
    "L9",
    section="6.1",
    figure="fig1_imdb",
    statement="On IMDB with dropout, AdaGrad ends more than a fifth below the training cost of SGD with Nesterov "
    "momentum.",
    margin=0.20,
)
def adagrad_better_than_nesterov_on_imdb(data: FigureData) -> Better | NotRun:
    if lack := missing(data, "AdaGrad", "SGDNesterov"):
        return lack
    d = differences(data, "AdaGrad", "SGDNesterov", last=IMDB_LAST)
    printed = in_print(data, "1R", "AdaGrad", "SGDNesterov", last=IMDB_LAST, until=IMDB_UNTIL)
    return Better(d, printed, _imdb_note(data, "AdaGrad", "SGDNesterov"))


@claim(
    "L10",
    section="6.1",
    figure="fig1_imdb_no_dropout",
    statement="On IMDB without dropout, AdaGrad ends more than a tenth below the training cost of SGD with Nesterov "
    "momentum.",
    margin=0.10,
)
def the_same_without_dropout(data: FigureData) -> Better | NotRun:
    if lack := missing(data, "AdaGrad", "SGDNesterov"):
        return lack
    d = differences(data, "AdaGrad", "SGDNesterov", last=IMDB_LAST)
    return Better(d, "not printed", _imdb_note(data, "AdaGrad", "SGDNesterov"))


@claim(
    "L11a",
    section="6.1",
    figure="fig1_imdb",
    statement="On IMDB with dropout, Adam comes down to 0.26 in no more passes than AdaGrad, up to a tenth.",
    margin=1 / 1.1 - 1,
)
def adam_as_fast_as_adagrad(data: FigureData) -> Better | NotRun:
    return _as_fast(data, IMDB_TARGETS[0])


@claim(
    "L11b",
    section="6.1",
    figure="fig1_imdb",
    statement="On IMDB with dropout, Adam comes down to 0.25 in no more passes than AdaGrad, up to a tenth.",
    margin=1 / 1.1 - 1,
)
def adam_as_fast_as_adagrad_further_down(data: FigureData) -> Better | NotRun:
    return _as_fast(data, IMDB_TARGETS[1])


def _as_fast(data: FigureData, target: float) -> Better | NotRun:
    """The ratio of passes until ``target`` by seed; a pass is counted from 1, so that none is zero."""
    if lack := missing(data, "Adam", "AdaGrad"):
        return lack
    d, left_out = arrival_differences(data, "Adam", "AdaGrad", target)
    if not len(d):
        return NotRun(joined(f"neither reaches {target} with this objective", context(data)))
    printed = [points[points["training_cost"] <= target]["epoch"].min() for points in _printed(("Adam", "AdaGrad"))]
    times = " and ".join(f"{name} {time_to_target(data, name, target)}" for name in ("Adam", "AdaGrad"))
    note = joined(
        "" if np.isfinite(d).all() else "a run that misses the target counts as lost",
        f"the same pass with {int((d == 0).sum())} of {len(d)} seeds" if (d == 0).any() else "",
        f"seeds with which neither reaches it, left out: {left_out}" if left_out else "",
        f"ratio of passes until {target}; the paper's x there, median over seeds: {times}",
        context(data),
    )
    return Better(d, f"printed x: {printed[0]:g} and {printed[1]:g}", note)


def _printed(names: tuple[str, ...]) -> list[pd.DataFrame]:
    printed = paper_curves("1R")
    return [printed[printed["curve"] == name] for name in names]


def _imdb_note(data: FigureData, a: str, b: str) -> str:
    accuracy = " and ".join(f"{name} {mean_of(data, 'test_accuracy', name):.3f}" for name in (a, b))
    return joined(f"test accuracy: {accuracy}", context(data, a, b, last=IMDB_LAST))


def _nearest_to_print(data: FigureData, curve: str) -> str:
    """The matched setting of a curve, and how far from the printed curve it lies."""
    chosen = data.arm("matched")
    chosen = chosen[chosen["curve"] == curve]
    runs = data.curves[(data.curves["arm"] == "matched") & (data.curves["curve"] == curve)]
    printed = paper_curves(PANEL).query("curve == @curve").set_index("epoch")["training_cost"]
    if chosen.empty:
        return ""
    words = "lr {lr:g}, {schedule}, L2 {l2:g}".format(**chosen.iloc[0])
    if runs.empty:  # all diverged at once
        return words
    ours = plotted([run.reset_index() for _, run in runs.groupby("seed")], "data").dropna()
    return f"printed curve comes out at {words}: RMS log distance {distance(ours, printed):.3f}"
