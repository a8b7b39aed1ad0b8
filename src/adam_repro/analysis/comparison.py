"""Where a newcomer stands among the optimizers of a figure: ranks, paired ratios, a sentence. Data in, words out."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from adam_repro.analysis import statistics
from adam_repro.analysis.curves import FigureData
from adam_repro.errors import UserError

COLUMNS = ["rank", "curve", "train_cost", "ratio", "low", "high", "n", "newcomer_is", "note"]
SHARED = ("dataset", "epochs", "batch_size", "l2", "curve_version")
LOWER, HIGHER, OPEN = "lower", "higher", "not told apart"


@dataclass(frozen=True)
class Comparison:
    """A newcomer among the tuned curves of a figure.

    ``table`` (``COLUMNS``) has a line for each curve, best first: its final training cost, geometric mean over
    seeds (NaN where one diverged), and the ratio of the newcomer's cost to it, paired by seed, with the interval that
    decided. ``data`` holds both, as a figure is drawn from.
    """

    name: str
    table: pd.DataFrame
    data: FigureData

    def sentence(self) -> str:
        """The verdict in words: rank, cost, and against whom."""
        by_curve = self.table.set_index("curve")
        mine = by_curve.loc[self.name]
        cost = "it diverged" if math.isnan(mine["train_cost"]) else f"final training cost {mine['train_cost']:.4g}"
        others = by_curve.drop(self.name)
        parts = [
            f"{word} {_listed(found)}"
            for verdict, word in (
                (LOWER, "ends lower than"),
                (OPEN, "is not told apart from"),
                (HIGHER, "ends higher than"),
            )
            if (found := list(others.index[others["newcomer_is"] == verdict]))
        ]
        return f"{self.name} ranks {mine['rank']} of {len(by_curve)} ({cost}, n = {mine['n']}): it {'; '.join(parts)}."


def compare(baseline: FigureData, newcomer: FigureData) -> Comparison:
    """Hold the one tuned curve of ``newcomer`` against the tuned curves of ``baseline``.

    Differences are paired by seed and decided at Holm's level over the baseline's curves. UserError where the two were
    made on different terms: other data, another number of passes, another minibatch or penalty.
    """
    check_terms(newcomer.provenance, baseline)
    (name,) = newcomer.arm("tuned")["curve"].unique()
    costs = _final_costs(baseline)
    variant = name.partition("+")[2]
    costs = {curve: cost for curve, cost in costs.items() if curve.partition("+")[2] == variant}
    if not costs:
        raise UserError(f"{baseline.folder} has no tuned curve to compare {name} with.")
    mine = _final_costs(newcomer)[name]
    shown = f"{name} (new)" if name in costs else name
    differences = {curve: statistics.paired_differences(mine, cost) for curve, cost in costs.items()}
    p = [statistics.p_better(d, 0.0) for d in differences.values()]
    levels = dict(zip(differences, statistics.holm_levels(p), strict=True))
    rows = [
        {"curve": curve, "train_cost": _mean(costs[curve]), "n": len(d)} | _held(d, levels[curve])
        for curve, d in differences.items()
    ]
    rows.append({"curve": shown, "train_cost": _mean(mine), "n": len(mine), "ratio": 1.0, "note": ""})
    table = pd.DataFrame(rows).sort_values("train_cost", kind="stable", na_position="last")
    table["rank"] = range(1, len(table) + 1)
    return Comparison(shown, table[COLUMNS].reset_index(drop=True), _joined(baseline, newcomer, name, shown, costs))


def check_terms(mine: Mapping[str, Any], baseline: FigureData) -> None:
    """UserError where runs on the terms ``mine`` cannot be compared with those of ``baseline``."""
    for term in SHARED:
        if mine[term] != (theirs := baseline.provenance[term]):
            raise UserError(f"These runs have {term} {mine[term]}, and those of {baseline.folder} have {theirs}.")


def _held(d: np.ndarray, level: float) -> dict[str, object]:
    found = statistics.better(d, 0.0, level=level)
    verdict = {"supported": LOWER, "contradicted": HIGHER}.get(found.verdict, OPEN)
    numbers = {"ratio": found.effect, "low": found.low, "high": found.high}
    return {**numbers, "newcomer_is": verdict, "note": found.note}


def _final_costs(data: FigureData) -> dict[str, pd.Series]:
    """Final training cost by seed of each tuned curve; where a figure has milestones, that of the last."""
    tuned = data.arm("tuned")
    last = tuned[tuned["epochs"] == tuned["epochs"].max()]
    return {str(curve): rows.set_index("seed")["train_cost"] for curve, rows in last.groupby("curve", sort=False)}


def _mean(costs: pd.Series) -> float:
    return float(statistics.over_seeds(costs.to_numpy(), ratios=True)[0])


def _joined(baseline: FigureData, newcomer: FigureData, name: str, shown: str, costs: Collection[str]) -> FigureData:
    """The tuned arms of both as one figure's data, the newcomer last."""

    def both(table: str) -> pd.DataFrame:
        theirs, mine = getattr(baseline, table), getattr(newcomer, table)
        theirs = theirs[(theirs["arm"] == "tuned") & theirs["curve"].isin(list(costs))]
        return pd.concat([theirs, mine[mine["arm"] == "tuned"].replace({"curve": {name: shown}})], ignore_index=True)

    return dataclasses.replace(baseline, curves=both("curves"), finals=both("finals"), diagnostics=None)


def _listed(names: list[str]) -> str:
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))
