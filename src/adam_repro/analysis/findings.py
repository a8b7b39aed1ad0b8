"""Pages of docs/ that tell results: what stands below their mark is written from the committed files alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from adam_repro import records
from adam_repro.analysis import trials
from adam_repro.analysis.captions import CAPTIONS
from adam_repro.analysis.claims import of_figure
from adam_repro.analysis.claims.comparisons import finals, printed_final, reduced
from adam_repro.analysis.claims.everywhere import OVERVIEW
from adam_repro.analysis.curves import FigureData, chosen_after
from adam_repro.analysis.figures.panels import FRAMES, SCHEDULES
from adam_repro.analysis.gather import FINAL_EPOCHS
from adam_repro.analysis.grid import readings
from adam_repro.analysis.headlines import rows_of
from adam_repro.analysis.measurements import load
from adam_repro.analysis.report import TEMPLATES, effect, gather_verdicts
from adam_repro.analysis.statistics import over_seeds, t_interval
from adam_repro.errors import UserError
from adam_repro.wording import counted

MARK = "<!-- below: make report SCALE=reference -->\n"
LEVEL = 0.95
NOT_TRIED = "not tried"
FACTORS = {"lr": "learning rate", "momentum": "momentum", "schedule": "schedule", "l2": "L2", "plotted": "plotted cost"}


def write(docs: Path, reference: Path) -> None:
    """Write findings.md and silent.md below their marks; UserError where a page has no mark, or several."""
    verdicts = gather_verdicts(reference)
    found = [_found(folder, verdicts) for folder in _folders(reference, "provenance.json")]
    matched = [_matched(folder) for folder in _folders(reference, "matching.csv")]
    everywhere = _verdicts(OVERVIEW, verdicts)
    _below_mark(docs / "findings.md", "findings.md.j2", figures=found, everywhere=everywhere, effect=effect)
    grid = reference / "fig4"
    read = readings(FigureData.load(grid)) if (grid / "finals.csv").is_file() else []
    told = {"figures": matched, "nearest": _nearest(matched), "readings": read}
    words = {"in_words": trials.in_words, "distance_in_words": trials.distance_in_words}
    _below_mark(docs / "silent.md", "recovered.md.j2", **told, **words)


def _folders(reference: Path, file: str) -> list[Path]:
    """Those that have the file, in the paper's order."""
    return [reference / name for name in CAPTIONS if (reference / name / file).is_file()]


def _below_mark(page: Path, template: str, **values: Any) -> None:
    above, mark, below = page.read_text().partition(MARK)
    if not mark or MARK in below:
        raise UserError(f"{page} must have the line {MARK.strip()} once: what the committed files tell goes below it.")
    records.write_atomically(page, above + mark + TEMPLATES.get_template(template).render(**values))


def _verdicts(figure: str, verdicts: pd.DataFrame) -> list[dict[str, Any]]:
    decided = set(verdicts["claim"])
    return rows_of([claim.id for claim in of_figure(figure) if claim.id in decided], verdicts)


def _found(folder: Path, verdicts: pd.DataFrame) -> dict[str, Any]:
    """What the page says of a figure that has results."""
    data = load(folder)
    return {
        "name": folder.name,
        "title": CAPTIONS[folder.name].title,
        "facts": data.provenance,
        "verdicts": _verdicts(folder.name, verdicts),
        "longer": _longer(data) if isinstance(data, FigureData) else "",
        "short": reduced(data) if isinstance(data, FigureData) else "",
        "ends": _ends(data) if isinstance(data, FigureData) else [],
        "cost": _cost(folder.name, data) if isinstance(data, FigureData) else "",
        "chosen": chosen_after(data.provenance) if isinstance(data, FigureData) else "",
        "matched": (folder / "matching.csv").is_file(),
    }


def _cost(figure: str, data: FigureData) -> str:
    """What the training costs of ``finals.csv`` are."""
    epochs = data.provenance["epochs"]
    if CAPTIONS[figure].at_milestones:
        return f"training cost after {counted(epochs, 'pass')}"
    return f"training cost, mean of the last {counted(min(FINAL_EPOCHS, epochs), 'pass')}"


def _longer(data: FigureData) -> str:
    """Which settings of the grid were run for more passes than the figure has: the betas, in words."""
    runs = data.arm("grid")
    seeds = runs["seed"].nunique()
    runs = runs[runs["epochs"] > data.provenance["epochs"]]
    parts = []
    for epochs, those in runs.groupby("epochs"):
        settings = pd.DataFrame([json.loads(text) for text in those["hyper"]])
        named = [
            f"{name} {' and '.join(f'{value:g}' for value in sorted(settings[name].unique()))}"
            for name in ("beta1", "beta2")
        ]
        fewer = those.groupby(["hyper", "lr"])["seed"].nunique().min() < seeds
        some = ", some of them with fewer seeds" if fewer else ""
        parts.append(f"the grid's runs with {', '.join(named)} also for {epochs}{some}")
    return "; ".join(parts)


def _ends(data: FigureData) -> list[dict[str, Any]]:
    """The tuned curves, best first: settings, final training cost with its interval over seeds, test accuracy."""
    data = data.with_arm("tuned", {"sfo": "SFO"})  # which has nothing to tune
    tuned = data.arm("tuned")
    last = tuned[tuned["epochs"] == tuned["epochs"].max()]
    rows = [
        _end(str(curve), runs, data.beside_lr("tuned", str(curve))) for curve, runs in last.groupby("curve", sort=False)
    ]
    return sorted(rows, key=lambda row: (np.isnan(row["mean"]), row["mean"]))


def _end(curve: str, runs: pd.DataFrame, others: dict[str, Any]) -> dict[str, Any]:
    first, costs, accuracy = runs.iloc[0], runs["train_cost"].to_numpy(float), runs["test_accuracy"].mean()
    lost = int(np.isnan(costs).sum())
    subfunctions = json.loads(first["hyper"]).get("subfunctions")
    settings = {"lr": first["lr"], "schedule": first["schedule"], **others}
    return {
        "curve": curve,
        "settings": trials.in_words(settings) if subfunctions is None else f"{subfunctions} subfunctions",
        "mean": float(over_seeds(costs, ratios=True)[0]),
        "cost": f"diverged on {lost} of {len(costs)} seeds" if lost else _with_interval(costs),
        "n": len(costs),
        "accuracy": "" if np.isnan(accuracy) else f"{accuracy:.4f}",
    }


def _with_interval(costs: np.ndarray) -> str:
    """The geometric mean and its interval: costs are compared as ratios, and none is below zero."""
    if len(costs) == 1:
        return f"{costs[0]:.4g}"
    low, high = np.exp(t_interval(np.log(costs), LEVEL))
    return f"{np.exp(np.log(costs).mean()):.4g} [{low:.4g}, {high:.4g}]"


def _matched(folder: Path) -> dict[str, Any]:
    """What the printed curves of a figure tell of their settings."""
    matching = pd.read_csv(folder / "matching.csv")
    nearest = matching.groupby(["curve", "schedule"])["distance"].min()
    distances = {trials.label(str(name)): rows.droplevel(0) for name, rows in nearest.groupby("curve")}
    found = trials.recovered(matching, FRAMES[folder.name].panel)
    passes = trials.compared_passes(matching)
    levels = {trials.label(str(name)): rows["levels"].max() for name, rows in matching.groupby("curve") if passes}
    tuning, rates = folder / "tuning.csv", folder / "dropout_rates.csv"
    choices = trials.choices(pd.read_csv(tuning)) if tuning.is_file() else []
    chosen = {choice.curve: trials.in_words(choice.settings) for choice in choices}
    l2, plotted = found[0].shared.settings["l2"], found[0].shared.plotted
    data = FigureData.load(folder) if (folder / "finals.csv").is_file() else None
    return {
        "name": folder.name,
        "title": CAPTIONS[folder.name].title,
        "curves": [
            {
                "found": curve,
                "levels": levels.get(curve.curve),
                "distances": [_distance(distances[curve.curve].get(schedule)) for schedule in SCHEDULES],
                "decided": _decided(curve),
                "chosen": chosen.get(curve.curve.partition("+")[0], ""),  # with dropout the same
                "end": _over_print(data, curve.curve),
            }
            for curve in found
        ],
        "shared": f"L2 {l2:g}, {plotted}, distances {', '.join(f'{c.shared.distance:.4f}' for c in found)}",
        "passes": passes,
        "rates": trials.dropout_rates(pd.read_csv(rates)) if rates.is_file() else [],
        "settings": matching.groupby("curve").size().max() // matching["plotted"].nunique(),
        "seeds": matching["seeds"].max(),
    }


def _over_print(data: FigureData | None, curve: str) -> str:
    """The final cost of the matched runs, over the last passes that were printed, as a ratio to the printed one: what
    is nearest over few passes may part later."""
    panel = None if data is None else FRAMES[data.provenance["figure"]].panel
    if data is None or panel is None:
        return ""
    costs = finals(data, "matched", curve)
    if costs.empty or costs.isna().any():
        return "diverged" if len(costs) else ""
    printed = printed_final(panel, curve, until=data.provenance["epochs"] - 1)
    return f"{float(over_seeds(costs.to_numpy(), ratios=True)[0]) / printed:.3g}, n = {len(costs)}"


def _distance(found: float | None) -> str:
    return NOT_TRIED if found is None else trials.distance_in_words(found)


def _nearest(figures: list[dict[str, Any]]) -> dict[str, int]:
    """How many printed curves are nearest under each schedule, of those that more than one was tried for; and how many
    there are with one."""
    curves = [curve for figure in figures for curve in figure["curves"]]
    compared = [curve for curve in curves if sum(shown != NOT_TRIED for shown in curve["distances"]) > 1]
    schedules = [curve["found"].nearest.settings["schedule"] for curve in compared]
    return {schedule: schedules.count(schedule) for schedule in SCHEDULES} | {"alone": len(curves) - len(compared)}


def _decided(curve: trials.Recovered) -> str:
    """How sharply the printed curve decides each choice, the choices of a kind together."""
    kinds: dict[str, list[str]] = {"sharply": [], "weakly": [], "open": []}
    for name, factor in curve.factors.items():
        rival = trials.value_in_words(name, factor.rival)
        missed = ", which reaches no level" if factor.missed else ""
        told = f"{FACTORS.get(name, name)} ({factor.ratio:.2f} times as far with {rival}{missed})"
        kinds[factor.decided].append(told)
    return "; ".join(f"*{kind}* {', '.join(choices)}" for kind, choices in kinds.items() if choices)
