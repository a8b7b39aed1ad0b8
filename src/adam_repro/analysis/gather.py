"""From records to the files of a figure: ``curves.csv``, ``finals.csv``, ``provenance.json``, ``diagnostics.csv``.

A sweep's index says which record is which run of the figure; everything else is read from the records.
"""

from __future__ import annotations

import datetime
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from adam_repro import records
from adam_repro.analysis.curves import CURVE_COLUMNS, DIAGNOSTIC_COLUMNS

COSTS = ["train_cost", "train_loss", "test_loss", "test_accuracy"]
FINAL_EPOCHS = 5
"""A final cost is the mean over the last five epochs (the protocol's criterion)."""

UNDRAWN_ARMS = ("grid", "control")


def gather(
    folder: Path, results: Path, *, figure: str, scale: str, command: str, milestones: Sequence[int] = ()
) -> None:
    """Write the figure's files into ``folder`` from its ``index.csv`` and the records below ``results``.

    ``milestones``: the epochs whose costs ``finals.csv`` is to hold, a line for each, where a figure shows costs after
    so many passes and not at the end. Those beyond a run's length are left out; where all are, its last epoch is taken.
    """
    whole = {"tuned_at": "Int64", "tuned_on": "Int64"}
    index = pd.read_csv(folder / "index.csv", dtype=whole).replace({pd.NA: None})
    found = [(entry, records.read(results / entry["record"])) for entry in index.to_dict("records")]
    curves = [
        record.curve.assign(arm=entry["arm"], curve=entry["curve"], seed=entry["seed"])
        for entry, record in found
        if entry["arm"] not in UNDRAWN_ARMS
    ]
    frame = pd.concat(curves) if curves else pd.DataFrame(columns=CURVE_COLUMNS)
    _write_csv(folder / "curves.csv", frame[CURVE_COLUMNS])
    (folder / "diagnostics.csv").unlink(missing_ok=True)
    inside = [
        record.diagnostics.assign(arm=entry["arm"], curve=entry["curve"], seed=entry["seed"])
        for entry, record in found
        if record.diagnostics is not None
    ]
    if inside:
        _write_csv(folder / "diagnostics.csv", pd.concat(inside)[DIAGNOSTIC_COLUMNS])
    finals = [line for entry, record in found for line in _finals(entry, record, milestones)]
    _write_csv(folder / "finals.csv", pd.DataFrame(finals))
    provenance = _provenance(found, figure=figure, scale=scale, command=command)
    records.write_atomically(folder / "provenance.json", json.dumps(provenance, indent=2) + "\n")


def final_costs(record: records.Record) -> dict[str, float | None]:
    """Means over the last epochs; None for a run that diverged."""
    if record.meta["status"] == "diverged":
        return dict.fromkeys(COSTS)
    return record.curve[record.curve["epoch"] > 0].tail(FINAL_EPOCHS)[COSTS].mean().to_dict()


def settings_of(config: dict[str, Any]) -> dict[str, Any]:
    """lr, schedule, the other hyper-parameters as compact JSON, l2."""
    optimizer = {name: value for name, value in config["optimizer"].items() if name not in ("_target_", "lr")}
    return {
        "lr": config["optimizer"]["lr"],
        "schedule": config["schedule"]["_target_"].rsplit(".", 1)[1],
        "hyper": json.dumps(optimizer, separators=(",", ":")),
        "l2": config["l2"],
    }


def _finals(entry: dict[str, Any], record: records.Record, milestones: Sequence[int]) -> list[dict[str, Any]]:
    """The run's line, or one for each milestone that it was to reach."""
    epochs = record.config["epochs"]
    if not milestones:
        return [_final(entry, record, epochs, final_costs(record))]
    reached = [milestone for milestone in milestones if milestone <= epochs] or [epochs]
    return [_final(entry, record, milestone, costs_at(record, milestone)) for milestone in reached]


def costs_at(record: records.Record, epoch: int) -> dict[str, float | None]:
    """The costs of one pass; None where the run had diverged by then."""
    row = record.curve[record.curve["epoch"] == epoch][COSTS]
    return row.iloc[0].to_dict() if len(row) else dict.fromkeys(COSTS)


def _final(entry: dict[str, Any], record: records.Record, epochs: int, costs: dict[str, Any]) -> dict[str, Any]:
    finished = costs["train_cost"] is not None  # up to that epoch
    return {
        "arm": entry["arm"],
        "curve": entry["curve"],
        **settings_of(record.config),
        "seed": entry["seed"],
        "status": "finished" if finished else "diverged",
        "diverged_step": 0 if finished else record.meta["diverged_step"],
        "epochs": epochs,
        **costs,
        "record": record.folder.name,
    }


def _provenance(found: list[tuple], *, figure: str, scale: str, command: str) -> dict[str, Any]:
    """What all runs of the figure share. Records of different data or curve versions are never put together."""
    configs = [record.config for _, record in found]
    metas = [record.meta for _, record in found]
    first = configs[0]
    tuned = [entry for entry, _ in found if entry["arm"] == "tuned"]
    return {
        "figure": figure,
        "scale": scale,
        "experiment": first["experiment"],
        "provenance": _one("provenance", [config["dataset"]["provenance"] for config in configs]),
        "dataset": _one("data", [config["dataset"] for config in configs]),
        "epochs": _one("epochs", [config["epochs"] for config in configs]),
        "batch_size": _one("batch_size", [config["batch_size"] for config in configs]),
        "l2": _one(
            "l2", [config["l2"] for config, (entry, _) in zip(configs, found, strict=True) if entry["arm"] != "matched"]
        ),
        "seeds": sorted({config["seed"] for config in configs}),
        "tuned_at": _one("tuned_at", [entry["tuned_at"] for entry in tuned]),
        "tuned_on": _one("tuned_on", [entry["tuned_on"] for entry in tuned]),
        "edges": sorted({entry["curve"] for entry in tuned if entry["on_grid_edge"]}),
        "curve_version": _one("curve_version", [meta["curve_version"] for meta in metas]),
        "versions": metas[0]["versions"],
        "hardware": metas[0]["hardware"],
        "commit": metas[0]["commit"],
        "command": command,
        "written": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }


def _one(name: str, values: list) -> Any:
    """The value that all share, None where there is none; UserError where they differ."""
    distinct = [value for number, value in enumerate(values) if value not in values[:number]]
    if len(distinct) > 1:
        raise records.UserError(
            f"The runs of one figure differ in {name}: {distinct}. Run the whole figure again by its one command."
        )
    return distinct[0] if distinct else None


def _write_csv(path: Path, frame: pd.DataFrame) -> None:
    records.write_atomically(path, frame.to_csv(index=False, float_format="%.9g", lineterminator="\n"))
