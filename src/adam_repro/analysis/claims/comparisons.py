"""What claims about training compare: final costs by seed, beside the printed curves and the other arms."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd

from adam_repro.analysis.claims import NotRun
from adam_repro.analysis.curves import FigureData, chosen_after, first_x, paper_curves
from adam_repro.analysis.gather import FINAL_EPOCHS
from adam_repro.analysis.statistics import paired_differences

PASSES = {
    "fig1_mnist": 46,
    "fig1_imdb": 176,
    "fig1_imdb_no_dropout": 176,
    "fig1_mnist_wide": 46,
    "fig2_dropout": 201,
    "fig2_deterministic": 26,
    "fig3_first_epochs": 4,
    "fig3_full": 49,
    "fig4": 100,
}
FAR = 1.25  # times a printed cost, from where on it is told how many times
EXAMPLES = {"mnist": 60_000, "imdb": 25_000, "cifar10": 50_000}


def missing(data: FigureData, *curves: str, epochs: int | None = None, arm: str = "tuned") -> NotRun | None:
    """What keeps a claim about these ``curves``, after so many ``epochs`` at least, from being examined."""
    there = set(data.arm(arm)["curve"])
    lacking = [curve for curve in curves if curve not in there]
    if lacking:
        return not_run(data, f"not run: {', '.join(lacking)} ({arm})")
    if epochs is not None and data.provenance["epochs"] < epochs:
        return not_run(data, f"not reached: {data.provenance['epochs']} of {epochs} passes")
    return None


def not_run(data: FigureData, what: str) -> NotRun:
    """``what`` is missing, and the command that makes it."""
    return NotRun(f"{what}; make reproduce SCALE=paper FIGURE={data.provenance['figure']}")


def reduced(data: FigureData, *, passes: int | None = None) -> str:
    """How a run falls short of the paper's length or of the whole data set; empty where it does not. ``passes``: of
    what is told, where that is not the figure's length."""
    facts = data.provenance
    passes = facts["epochs"] if passes is None else passes
    whole, examples = PASSES.get(facts["figure"], 0), EXAMPLES.get(facts["dataset"]["name"], 0)
    short = []
    if passes < whole:
        short.append(f"{passes} of {whole} passes")
    if facts["dataset"]["train_examples"] < examples:
        short.append(f"{facts['dataset']['train_examples']:,} of {examples:,} examples")
    return f"reduced: {', '.join(short)}" if short else ""


def joined(*notes: str) -> str:
    """The notes that say something, as one."""
    return "; ".join(filter(None, notes))


def finals(data: FigureData, arm: str, curve: str, *, last: int = FINAL_EPOCHS) -> pd.Series:
    """Final training cost by seed: the mean over the ``last`` passes, missing for a diverged run."""
    chosen = data.arm(arm)
    table = chosen[chosen["curve"] == curve].set_index("seed")["train_cost"]
    if last == FINAL_EPOCHS or table.empty:
        return table
    runs = data.curves[(data.curves["arm"] == arm) & (data.curves["curve"] == curve) & (data.curves["epoch"] > 0)]
    means = runs.groupby("seed")["train_cost"].apply(lambda costs: costs.tail(last).mean())
    return means.reindex(table.index).where(table.notna())


def differences(data: FigureData, a: str, b: str, *, arm: str = "tuned", last: int = FINAL_EPOCHS) -> np.ndarray:
    """ln(a / b) of the final training costs, [seeds]."""
    return paired_differences(finals(data, arm, a, last=last), finals(data, arm, b, last=last))


def costs_at(data: FigureData, curve: str, epoch: int, *, arm: str = "tuned") -> pd.Series:
    """Training cost of pass ``epoch`` by seed; missing for a run that had diverged by then."""
    chosen, runs = data.arm(arm), data.curves
    seeds = chosen[chosen["curve"] == curve]["seed"]
    rows = runs[(runs["arm"] == arm) & (runs["curve"] == curve) & (runs["epoch"] == epoch)]
    return rows.set_index("seed")["train_cost"].reindex(seeds)


def printed_final(panel: str, curve: str, *, last: int = FINAL_EPOCHS, until: int = 10**6) -> float:
    """The mean of the last printed points up to x = ``until`` (our row e is the paper's x = e - 1)."""
    printed = paper_curves(panel)
    return printed[(printed["curve"] == curve) & (printed["epoch"] <= until)]["training_cost"].tail(last).mean()


def in_print(data: FigureData, panel: str, a: str, b: str, *, last: int = FINAL_EPOCHS, until: int = 10**6) -> str:
    """What the matched arm and the printed curves give for the ratio of final costs; where either cost is far from its
    printed one, by how much: a ratio can agree where neither curve does."""
    costs = [printed_final(panel, name, last=last, until=until) for name in (a, b)]
    ratio = costs[0] / costs[1]
    printed = f"printed {ratio:.3g}" if ratio < 0.1 or ratio > 10 else f"printed {ratio:.3f}"
    d = differences(data, a, b, arm="matched", last=last)
    if not len(d) or not np.isfinite(d).all():
        return printed
    ours = [np.exp(np.log(finals(data, "matched", name, last=last)).mean()) for name in (a, b)]
    over = [mine / theirs for mine, theirs in zip(ours, costs, strict=True)]
    if max(abs(math.log(each)) for each in over) > math.log(FAR):
        printed += f"; ours over print {over[0]:.3g} and {over[1]:.3g}"
    tuned = ", as tuned" if all(_as_tuned(data, name) for name in (a, b)) else ""
    return f"{math.exp(d.mean()):.3f}, n = {len(d)}{tuned} ({printed})"


def _as_tuned(data: FigureData, curve: str) -> bool:
    """Whether the setting nearest to print is the one that the protocol chose."""
    settings = data.finals[data.finals["curve"] == curve].groupby("arm")[["lr", "schedule", "hyper", "l2"]].first()
    return {"matched", "tuned"} <= set(settings.index) and settings.loc["matched"].equals(settings.loc["tuned"])


def passes_to(data: FigureData, curve: str, target: float) -> pd.Series:
    """By seed, the first pass, counted from 1, whose training cost is at most ``target``; infinite for a miss."""
    runs = data.curves[(data.curves["arm"] == "tuned") & (data.curves["curve"] == curve)]
    firsts = {seed: run.loc[run["train_cost"] <= target, "epoch"].min() for seed, run in runs.groupby("seed")}
    return pd.Series(firsts, dtype=float).fillna(math.inf)


def arrival_differences(data: FigureData, a: str, b: str, target: float) -> tuple[np.ndarray, int]:
    """ln(a / b) of the passes until ``target``, [seeds], counted from 1, so that none is zero; a miss takes infinitely
    many. Seeds with which both miss have no ratio: they are left out, and their number stands beside."""
    passes_a, passes_b = (passes_to(data, curve, target) for curve in (a, b))
    passes_a, passes_b = passes_a.align(passes_b, join="inner")
    reached = np.isfinite(passes_a) | np.isfinite(passes_b)
    d = paired_differences(*(passes[reached].replace(math.inf, np.nan) for passes in (passes_a, passes_b)))
    return d, int((~reached).sum())


def middle(d: np.ndarray) -> float:
    """The mean, or where a run diverged the upper median."""
    return float(d.mean() if np.isfinite(d).all() else np.sort(d)[len(d) // 2]) if len(d) else 0.0


def time_to_target(data: FigureData, curve: str, target: float) -> str:
    """The median over seeds of ``passes_to``, as the paper's x, in words."""
    firsts = passes_to(data, curve, target) - 1 + first_x(curve)
    median = float(np.median(firsts)) if len(firsts) else math.inf
    return f"{median:g}" if math.isfinite(median) else "never"


def mean_of(data: FigureData, column: str, curve: str) -> float:
    """Mean over seeds of a column of the tuned arm's final results."""
    chosen = data.arm("tuned")
    return float(chosen[chosen["curve"] == curve][column].mean())


def context(
    data: FigureData, a: str | None = None, b: str | None = None, *, last: int = FINAL_EPOCHS, then: str = ""
) -> str:
    """What else a reader should know: the default arm, of as many ``last`` passes as what decides, the horizon of the
    tuning, optima on an edge, a shorter run.

    ``then``: what the effect is at that horizon, where it is not what decides.
    """
    notes = []
    if a and b:
        d = differences(data, a, b, arm="default", last=last)
        if len(d) and np.isfinite(d).all():
            notes.append(f"default settings: {math.exp(d.mean()):.3f} (n = {len(d)})")
    facts = data.provenance
    if chosen := chosen_after(facts):
        notes.append(f"tuned at {chosen}{', where it is ' if then else ''}{then}")
    if facts["edges"]:
        notes.append(f"on the edge of its grid: {', '.join(facts['edges'])}")
    return joined(*notes, reduced(data))
