"""Section 6.1: logistic regression on MNIST (Figure 1, left)."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd

from adam_repro.analysis.claims import Better, Equal, claim
from adam_repro.analysis.curves import FigureData, paper_curves
from adam_repro.analysis.statistics import paired_differences

FIGURE, PANEL = "fig1_mnist", "1L"
TARGET = 0.27  # nats; Adam's printed curve reaches it at x = 14, SGDNesterov's at x = 30
LAST_POINTS = 5


@claim(
    "L7",
    section="6.1",
    figure=FIGURE,
    statement="On MNIST logistic regression, Adam and SGD with Nesterov momentum end at the same training cost.",
    margin=0.05,
)
def adam_equals_nesterov(data: FigureData) -> Equal:
    times = " and ".join(f"{name} {_time_to_target(data, name)}" for name in ("Adam", "SGDNesterov"))
    note = f"passes until {TARGET}, median over seeds: {times}; {_context(data, 'Adam', 'SGDNesterov')}"
    return Equal(_differences(data, "Adam", "SGDNesterov"), _matched(data, "Adam", "SGDNesterov"), note)


@claim(
    "L8a",
    section="6.1",
    figure=FIGURE,
    statement="On MNIST logistic regression, Adam ends at a lower training cost than AdaGrad.",
    margin=0.10,
)
def adam_better_than_adagrad(data: FigureData) -> Better:
    matched = _matched(data, "Adam", "AdaGrad")
    return Better(_differences(data, "Adam", "AdaGrad"), matched, _context(data, "Adam", "AdaGrad"))


@claim(
    "L8b",
    section="6.1",
    figure=FIGURE,
    statement="On MNIST logistic regression, SGD with Nesterov momentum ends at a lower training cost than AdaGrad.",
    margin=0.10,
)
def nesterov_better_than_adagrad(data: FigureData) -> Better:
    matched = _matched(data, "SGDNesterov", "AdaGrad")
    return Better(_differences(data, "SGDNesterov", "AdaGrad"), matched, _context(data, "SGDNesterov", "AdaGrad"))


@claim(
    "P1",
    section="6.1",
    figure=FIGURE,
    statement="The printed AdaGrad curve of Figure 1 (left) is what AdaGrad reaches at its best step size.",
    margin=0.10,
)
def printed_adagrad_is_adagrads_best(data: FigureData) -> Equal:
    ours = _finals(data, "tuned", "AdaGrad")
    printed = pd.Series(_printed_final("AdaGrad"), index=ours.index)
    return Equal(paired_differences(ours, printed), _nearest_to_print(data, "AdaGrad"), _context(data))


def _finals(data: FigureData, arm: str, curve: str) -> pd.Series:
    """Final training cost by seed: the mean over the last five epochs, missing for a diverged run."""
    chosen = data.arm(arm)
    return chosen[chosen["curve"] == curve].set_index("seed")["train_cost"]


def _differences(data: FigureData, a: str, b: str) -> np.ndarray:
    return paired_differences(_finals(data, "tuned", a), _finals(data, "tuned", b))


def _printed_final(curve: str) -> float:
    """The mean of the last five printed points within our epochs (our row e is the paper's x = e - 1)."""
    printed = paper_curves(PANEL)
    return printed[(printed["curve"] == curve) & (printed["epoch"] <= 45)]["training_cost"].tail(LAST_POINTS).mean()


def _matched(data: FigureData, a: str, b: str) -> str:
    """What the matched arm and the printed curves give for the same ratio."""
    printed = f"printed {_printed_final(a) / _printed_final(b):.3f}"
    d = paired_differences(_finals(data, "matched", a), _finals(data, "matched", b))
    return f"{math.exp(d.mean()):.3f} ({printed})" if len(d) and np.isfinite(d).all() else printed


def _nearest_to_print(data: FigureData, curve: str) -> str:
    """The matched setting of a curve, and how far from the printed curve it lies."""
    chosen = data.arm("matched")
    chosen = chosen[chosen["curve"] == curve]
    runs = data.curves[(data.curves["arm"] == "matched") & (data.curves["curve"] == curve)]
    printed = paper_curves(PANEL).query("curve == @curve").set_index("epoch")["training_cost"]
    if chosen.empty:
        return ""
    setting = chosen.iloc[0]
    mean = np.exp(np.log(runs.pivot(index="epoch", columns="seed", values="train_cost")).mean(axis=1, skipna=False))
    ours = pd.Series(mean.to_numpy(), index=mean.index - 1).dropna()
    shared = printed.index.intersection(ours.index)
    if shared.empty:
        return f"lr {setting['lr']:g}, {setting['schedule']}, L2 {setting['l2']:g}"
    distance = math.sqrt(((np.log(ours[shared] / printed[shared])) ** 2).mean())
    return (
        f"printed curve comes out at lr {setting['lr']:g}, {setting['schedule']}, L2 {setting['l2']:g}: "
        f"RMS log distance {distance:.3f}"
    )


def _time_to_target(data: FigureData, curve: str) -> str:
    """Median over seeds of the paper's x at which the training cost first is at most ``TARGET``; a miss is infinite."""
    runs = data.curves[(data.curves["arm"] == "tuned") & (data.curves["curve"] == curve)]
    firsts = [run.loc[run["train_cost"] <= TARGET, "epoch"].min() - 1 for _, run in runs.groupby("seed")]
    median = np.median([math.inf if math.isnan(first) else first for first in firsts]) if firsts else math.inf
    return f"{median:g}" if math.isfinite(median) else "never"


def _context(data: FigureData, a: str | None = None, b: str | None = None) -> str:
    """What else a reader should know: the default arm, the horizon of the tuning, optima on an edge."""
    notes = []
    if a and b:
        d = paired_differences(_finals(data, "default", a), _finals(data, "default", b))
        if len(d) and np.isfinite(d).all():
            notes.append(f"default settings: {math.exp(d.mean()):.3f}")
    if data.provenance["tuned_at"] != data.provenance["epochs"]:
        notes.append(f"tuned at {data.provenance['tuned_at']} epochs")
    if data.provenance["edges"]:
        notes.append(f"on the edge of its grid: {', '.join(data.provenance['edges'])}")
    return "; ".join(notes)
