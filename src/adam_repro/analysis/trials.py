"""What tuning chose and what matching recovered: the tables of trials, read for settings. Frames in, settings out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from adam_repro.analysis.curves import paper_curves
from adam_repro.analysis.figures.panels import SCHEDULES
from adam_repro.matching import distance_of_a_miss

Settings = dict[str, Any]
OF_A_TRIAL = ("curve", "extension", "seed", "status", "train_cost")
OF_A_MATCH = ("curve", "plotted", "distance", "train_cost", "seeds", "passes", "levels")
RUNNERS_UP = 3
EITHER = "either"
SHARP, OPEN = 2.0, 1.1
"""A factor is told sharply where any other value lies this many times as far from the printed curve, and left open
where some other value lies nearly as near."""


NEIGHBOURS = {-2: "a tenth", -1: "a third", 1: "3 times", 2: "10 times"}
"""Learning rates by their distance from the chosen one, in half decades."""


@dataclass(frozen=True)
class Choice:
    """The trial of a curve with the least mean cost, and the next best; ``on_edge``: of the learning rates tried.

    ``sensitivity``: at each of NEIGHBOURS the least cost that any other settings had there, over the least of all;
    infinite where all diverged, None where none were tried.
    """

    curve: str
    settings: Settings
    cost: float
    next_settings: Settings | None
    next_cost: float
    trials: int
    diverged: int
    on_edge: bool
    sensitivity: list[float | None]


@dataclass(frozen=True)
class Match:
    """A setting that was tried against a printed curve; ``plotted``: data, objective, or ``EITHER`` without penalty."""

    settings: Settings
    plotted: str
    distance: float


@dataclass(frozen=True)
class Factor:
    """How much farther off the nearest setting lies in which ``name`` has another value, that of ``rival``; ``missed``:
    so far as it is only because runs that reach no level are all taken for equally far."""

    name: str
    rival: Any
    ratio: float
    missed: bool

    @property
    def decided(self) -> str:
        return "sharply" if self.ratio >= SHARP else "open" if self.ratio < OPEN else "weakly"


@dataclass(frozen=True)
class Recovered:
    """The settings nearest to a printed curve: the best, those of other schedules, L2 strengths or plotted costs, and
    the best under the objective (L2 and plotted cost) that suits all curves of the figure together. ``on_edge``: of the
    learning rates tried."""

    curve: str
    nearest: Match
    runners_up: list[Match]
    factors: dict[str, Factor]
    shared: Match
    on_edge: bool


@dataclass(frozen=True)
class Rates:
    """Dropout rates, of the ``input`` and of ``hidden`` units, that were tried with the nearest settings of each curve:
    their ``distances`` from the printed curves, by curve, and ``together``, the root mean square of those."""

    input: float
    hidden: float
    distances: dict[str, float]
    together: float


def choices(tuning: pd.DataFrame) -> list[Choice]:
    """The choice for each curve of a ``tuning.csv``. A trial that diverged on any seed ranks last."""
    return [_choice(str(curve), rows) for curve, rows in tuning.groupby("curve", sort=False)]


def _choice(curve: str, rows: pd.DataFrame) -> Choice:
    names = _settings_of(rows, OF_A_TRIAL)
    trials = rows.groupby(names, sort=False)["train_cost"].agg(lambda costs: costs.mean(skipna=False)).reset_index()
    ranked = trials.dropna(subset=["train_cost"]).sort_values("train_cost", kind="stable")
    best, *others = ranked.to_dict("records")  # there is one: tuning ends with an error where every trial diverged
    return Choice(
        curve=label(curve),
        settings={name: best[name] for name in names},
        cost=best["train_cost"],
        next_settings={name: others[0][name] for name in names} if others else None,
        next_cost=others[0]["train_cost"] if others else np.nan,
        trials=len(trials),
        diverged=len(trials) - len(ranked),
        on_edge=best["lr"] in (trials["lr"].min(), trials["lr"].max()),
        sensitivity=_sensitivity(trials, best["lr"], best["train_cost"]),
    )


def _sensitivity(trials: pd.DataFrame, lr: float, cost: float) -> list[float | None]:
    distances = (2 * np.log10(trials["lr"] / lr)).round()
    nearby = [trials.loc[distances == distance, "train_cost"] for distance in NEIGHBOURS]
    return [None if costs.empty else float(costs.fillna(np.inf).min() / cost) for costs in nearby]


def compared_passes(matching: pd.DataFrame) -> int | None:
    """How many passes of a ``matching.csv``'s runs were compared, by the time to each level; None: by their costs."""
    if "passes" not in matching or matching["passes"].isna().all():
        return None
    (passes,) = matching["passes"].unique()
    return int(passes)


def recovered(matching: pd.DataFrame, panel: str | None = None) -> list[Recovered]:
    """What is recovered for each curve of a ``matching.csv``, compared with those printed in ``panel``; settings that
    diverged are left out."""
    finished = matching[np.isfinite(matching["distance"])]
    rates = matching.groupby("curve")["lr"].agg(["min", "max"])
    nearest = finished.groupby(["l2", "plotted", "curve"])["distance"].min().unstack("curve").dropna()
    objective = (nearest**2).sum(axis=1).idxmin()
    ranked = finished.sort_values("distance", kind="stable")
    passes = compared_passes(matching)
    misses = {} if panel is None or passes is None else _misses(panel, passes)
    return [
        _recovered(
            curve,
            ranked[ranked["curve"] == curve],
            objective,
            edges=tuple(rates.loc[curve]),
            miss=misses.get(label(curve), np.inf),
        )
        for curve in finished["curve"].unique()
    ]


def _misses(panel: str, passes: int) -> dict[str, float]:
    """The distance from each printed curve of a run that reaches none of its levels."""
    curves = paper_curves(panel).set_index("epoch").groupby("curve")["training_cost"]
    return {str(curve): distance_of_a_miss(printed, passes=passes) for curve, printed in curves}


def _recovered(
    curve: str, ranked: pd.DataFrame, objective: tuple[float, str], *, edges: tuple[float, float], miss: float
) -> Recovered:
    names = _settings_of(ranked, OF_A_MATCH)

    def matches(rows: pd.DataFrame) -> list[Match]:
        return [
            Match({name: row[name] for name in names}, row["plotted"] if row["l2"] else EITHER, row["distance"])
            for row in rows.to_dict("records")
        ]

    distinct = ranked[(ranked["l2"] > 0) | (ranked["plotted"] == "data")]  # without a penalty both costs are one
    nearest, *runners_up = matches(distinct.drop_duplicates(["schedule", "l2", "plotted"]).head(1 + RUNNERS_UP))
    told = names if nearest.plotted == EITHER else (*names, "plotted")
    factors = {name: factor for name in told if (factor := _factor(ranked, name, miss))}
    (shared,) = matches(ranked[(ranked["l2"] == objective[0]) & (ranked["plotted"] == objective[1])].head(1))
    return Recovered(label(curve), nearest, runners_up, factors, shared, on_edge=nearest.settings["lr"] in edges)


def _factor(ranked: pd.DataFrame, name: str, miss: float) -> Factor | None:
    best = ranked.iloc[0]
    others = ranked[ranked[name] != best[name]]
    if others.empty:
        return None
    rival = others.iloc[0]
    missed = bool(np.isclose(rival["distance"], miss, rtol=1e-6))  # a table has nine digits
    return Factor(name, rival[name], float(rival["distance"] / best["distance"]), missed)


def dropout_rates(tried: pd.DataFrame) -> list[Rates]:
    """The pairs of rates of a ``dropout_rates.csv``, nearest to all its curves together first."""
    tried = tried.assign(curve=tried["curve"].map(label))
    pairs = tried.pivot(index=["input_dropout", "hidden_dropout"], columns="curve", values="distance")
    pairs = pairs[tried["curve"].unique()]  # in the figure's order
    found = [
        Rates(of_input, hidden, dict(zip(pairs.columns, row, strict=True)), float(np.sqrt(np.mean(np.square(row)))))
        for (of_input, hidden), row in zip(pairs.index, pairs.to_numpy(), strict=True)
    ]
    return sorted(found, key=lambda rates: rates.together)


def _settings_of(rows: pd.DataFrame, others: Sequence[str]) -> list[str]:
    """The columns that are settings of this curve: an optimizer without momentum has an empty column of it."""
    return [name for name in rows.columns if name not in others and rows[name].notna().any()]


LABELS = {"adam": "Adam", "sgd_nesterov": "SGDNesterov", "adagrad": "AdaGrad", "rmsprop": "RMSProp"}
LABELS |= {"adadelta": "AdaDelta", "adamax": "AdaMax", "sfo": "SFO", "amsgrad": "AMSGrad", "adamw": "AdamW"}


def label(curve: str) -> str:
    """The name of a curve in figures, from that of its settings' file, with the variant behind it that it may have; one
    that is not known stays as it is."""
    optimizer, plus, variant = curve.partition("+")
    return LABELS.get(optimizer, optimizer) + plus + variant


def value_in_words(name: str, value: Any) -> str:
    """``/√t`` for a schedule that decays by steps, and the shortest form of a number."""
    if name == "schedule":
        return SCHEDULES.get(value, value) or "constant"
    return f"{value:g}" if isinstance(value, int | float) else str(value)


def distance_in_words(distance: float) -> str:
    return f"{distance:.4f}" if np.isfinite(distance) else "diverged"


def in_words(settings: Settings) -> str:
    """``lr 0.01 constant, momentum 0.9, L2 0.0001``, the penalty last."""
    schedule = settings.get("schedule")
    decay = "" if schedule is None else f" {value_in_words('schedule', schedule)}".replace(" /", "/")
    others = sorted((name for name in settings if name not in ("lr", "schedule")), key=lambda name: name == "l2")
    named = [f"{'L2' if name == 'l2' else name} {value_in_words(name, settings[name])}" for name in others]
    return ", ".join([f"lr {settings['lr']:g}{decay}", *named])
