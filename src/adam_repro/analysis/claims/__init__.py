"""The claims ledger: what the paper says, what we measured, the verdict.

A claim is one function with one id. It looks at the data and returns what is to be decided: ``Better``, ``Equal``, or
a ``Finding`` where arithmetic decides. Margins stand beside the function and were written before any run. ``decide``
holds all that is to be ``Better`` in a figure to one family error (Holm) and makes the rows.
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable, Sequence
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from adam_repro.analysis import statistics
from adam_repro.analysis.curves import load_provenance
from adam_repro.analysis.measurements import load

COLUMNS = ["claim", "section", "statement", "verdict", "effect", "low", "high", "unit", "n", "scale", "provenance"]
COLUMNS += ["matched", "note"]
VERDICTS = ("supported", "contradicted", "inconclusive", "not testable")
SECTIONS = (
    "properties",
    "online_convex",
    "section6_1",
    "section6_2",
    "section6_3",
    "section6_4",
    "section7",
    "everywhere",
)


@dataclass(frozen=True)
class Better:
    """A is better than B by more than the claim's margin, by the paired differences ``d`` = ln(A / B), [seeds]."""

    d: np.ndarray
    matched: str = ""
    note: str = ""


@dataclass(frozen=True)
class Equal:
    """A equals B within the claim's margin, by the paired differences ``d`` = ln(A / B), [seeds]."""

    d: np.ndarray
    matched: str = ""
    note: str = ""


@dataclass(frozen=True)
class Within:
    """The mean of ``d`` [seeds] lies between ``low`` and ``high``: logarithms of ratios, or else plain differences in
    ``unit``."""

    d: np.ndarray
    low: float
    high: float
    ratios: bool = True
    note: str = ""
    matched: str = ""
    unit: str = ""


@dataclass(frozen=True)
class NotRun:
    """What a claim needs is not there: inconclusive, and ``note`` says what is missing."""

    note: str


@dataclass(frozen=True)
class Finding:
    """What arithmetic or a rule of its own decides: ``effect`` is the measured quantity, in ``unit`` where it has one,
    ``low`` and ``high`` its range over n cases. ``holds`` is None where the rule leaves it open."""

    holds: bool | None
    effect: float
    low: float
    high: float
    n: int
    note: str = ""
    unit: str = ""


Examination = Better | Equal | Within | Finding | NotRun


@dataclass(frozen=True)
class Claim:
    """A statement of the paper in our words, how it is examined, and the margin that was fixed beforehand."""

    id: str
    section: str
    figure: str
    statement: str
    margin: float
    examine: Callable[[Any], Examination]


LEDGER: dict[str, Claim] = {}


def claim(id: str, *, section: str, figure: str, statement: str, margin: float) -> Callable:
    """Enter the decorated function into the ledger; ValueError for an id that it has already."""

    def enter(examine: Callable) -> Callable:
        if id in LEDGER:
            raise ValueError(f"claim {id} is in the ledger already: {LEDGER[id].statement}")
        LEDGER[id] = Claim(id, section, figure, statement, margin, examine)
        return examine

    return enter


def decide(folder: Path) -> pd.DataFrame:
    """The verdicts (``COLUMNS``) on the claims that the figure in ``folder`` bears on; empty where there are none."""
    figure = load_provenance(folder)["figure"]
    claims = of_figure(figure)
    if not claims:
        return pd.DataFrame(columns=COLUMNS)
    return examined(claims, load(folder))


def of_figure(figure: str) -> list[Claim]:
    return [claim for claim in LEDGER.values() if claim.figure == figure]


def examined(claims: Sequence[Claim], data: Any) -> pd.DataFrame:
    """The verdicts (``COLUMNS``) on ``claims``, of which those that are to be ``Better`` are one family."""
    found = [(claim, claim.examine(data)) for claim in claims]
    family = {claim.id: statistics.p_better(x.d, claim.margin) for claim, x in found if isinstance(x, Better)}
    levels = dict(zip(family, statistics.holm_levels(list(family.values())), strict=True))
    rows = [_row(claim, examination, levels.get(claim.id), data.provenance) for claim, examination in found]
    return pd.DataFrame(rows, columns=COLUMNS)


def _row(claim: Claim, found: Examination, level: float | None, provenance: dict[str, Any]) -> list:
    matched = "" if isinstance(found, Finding | NotRun) else found.matched
    match found:
        case Finding(holds, effect, low, high, n, note, _):
            decided = "supported" if holds else "contradicted"
            verdict, numbers = "inconclusive" if holds is None else decided, (effect, low, high, n)
        case NotRun(note):
            verdict, numbers = "inconclusive", (math.nan, math.nan, math.nan, 0)
        case Within(d, low, high, ratios, note, _, _):
            verdict, numbers, note = _tested(statistics.within(d, low, high, ratios=ratios), note)
        case Better(d, _, note):
            verdict, numbers, note = _tested(statistics.better(d, claim.margin, level=level or 0.0), note)
        case Equal(d, _, note):
            verdict, numbers, note = _tested(statistics.equal(d, claim.margin), note)
    if provenance["provenance"] == "stand-in":
        verdict, note = "not testable", "stand-in data decide nothing about the paper"
    *interval, n = numbers
    unit = found.unit if isinstance(found, Finding | Within) else ""
    row = [claim.id, claim.section, claim.statement, verdict, *interval, unit, n]
    row += [provenance["scale"], provenance["provenance"]]
    return [*row, matched, note]


def _tested(result: statistics.Comparison, note: str) -> tuple[str, tuple, str]:
    p = f"sign-flip p = {result.p:.2g}" if math.isfinite(result.p) else ""
    notes = "; ".join(part for part in (result.note, p, note) if part)
    return result.verdict, astuple(result)[:4], notes


for name in SECTIONS:
    importlib.import_module(f"{__name__}.{name}")
