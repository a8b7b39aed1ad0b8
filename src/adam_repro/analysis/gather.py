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
from adam_repro.errors import UserError
from adam_repro.integrity import is_evaluated

COSTS = ["train_cost", "train_loss", "test_loss", "test_accuracy"]
FINAL_EPOCHS = 5
"""A final cost is the mean over the last five epochs (the protocol's criterion)."""

UNDRAWN_ARMS = ("grid", "control")
FLOAT_FORMAT = "%.9g"
NAMED = 10


def gather(
    folder: Path, results: Path, *, figure: str, scale: str, command: str, milestones: Sequence[int] = ()
) -> None:
    """Write the figure's files into ``folder`` from its ``index.csv`` and the records below ``results``.

    ``milestones``: the epochs whose costs ``finals.csv`` is to hold, a line for each, where a figure shows costs after
    so many passes and not at the end. Those beyond a run's length are left out; where all are, its last epoch is taken.
    UserError, before anything is written, names records that are missing, damaged or another run's.
    """
    found = runs_of(folder / "index.csv", results)
    provenance = _provenance(found, figure=figure, scale=scale, command=command)
    curves = [
        record.curve.assign(arm=entry["arm"], curve=entry["curve"], seed=entry["seed"])
        for entry, record in found
        if entry["arm"] not in UNDRAWN_ARMS
    ]
    frame = pd.concat(curves) if curves else pd.DataFrame(columns=CURVE_COLUMNS)
    _write_csv(folder / "curves.csv", frame[CURVE_COLUMNS])
    inside = [
        record.diagnostics.assign(arm=entry["arm"], curve=entry["curve"], seed=entry["seed"])
        for entry, record in found
        if record.diagnostics is not None
    ]
    if inside:
        _write_csv(folder / "diagnostics.csv", pd.concat(inside)[DIAGNOSTIC_COLUMNS])
    else:
        (folder / "diagnostics.csv").unlink(missing_ok=True)
    finals = [line for entry, record in found for line in _finals(entry, record, milestones)]
    _write_csv(folder / "finals.csv", pd.DataFrame(finals))
    records.write_atomically(folder / "provenance.json", json.dumps(provenance, indent=2) + "\n")


def runs_of(index: Path, results: Path) -> list[tuple[dict[str, Any], records.Record]]:
    """The lines of a figure's index, each with its record; UserError tells all that is wrong with any of them."""
    found, faults = [], []
    for entry in records.read_index(index):
        try:
            record = records.read_in_place(results / entry["record"])
            if record.config["seed"] != entry["seed"]:
                raise UserError(
                    f"{record.folder} has the seed {record.config['seed']}, and {index} says {entry['seed']}. "
                    "Run the figure again by its one command, which writes a new index."
                )
            found.append((entry, record))
        except UserError as error:
            faults.append(str(error))
    if faults:
        more = f"\nand {len(faults) - NAMED} more, which `make verify` lists" if len(faults) > NAMED else ""
        raise UserError("\n".join(dict.fromkeys(faults[:NAMED])) + more)
    return found


def final_costs(record: records.Record) -> dict[str, float | None]:
    """Means over the last epochs; None for a run that diverged.

    Evaluations are means over those epochs that have them. One that is not finite makes the mean so, too.
    """
    if record.meta["status"] == "diverged":
        return dict.fromkeys(COSTS)
    last = record.curve[record.curve["epoch"] > 0].tail(FINAL_EPOCHS)
    evaluated = last[[is_evaluated(epoch, record.config) for epoch in last["epoch"]]]
    means = evaluated[COSTS].mean(skipna=False).to_dict()
    return {**means, "train_cost": last["train_cost"].mean()}


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
    tuned = [(entry, record) for entry, record in found if entry["arm"] == "tuned"]
    unmatched = [(entry, record) for entry, record in found if entry["arm"] != "matched"]
    shuffled = [each for each in found if "subfunctions" not in each[1].config["optimizer"]] or found
    return {
        "figure": figure,
        "scale": scale,
        "experiment": first["experiment"],
        "provenance": _one("provenance", [config["dataset"]["provenance"] for config in configs], found),
        "dataset": _one("data", [config["dataset"] for config in configs], found),
        "epochs": _one("epochs", [config["epochs"] for config in configs], found),
        "batch_size": _one("batch_size", [record.config["batch_size"] for _, record in shuffled], shuffled),
        "l2": _one("l2", [record.config["l2"] for _, record in unmatched], unmatched),
        "seeds": sorted({config["seed"] for config in configs}),
        "tuned_at": _one("tuned_at", [entry["tuned_at"] for entry, _ in tuned], tuned),
        "tuned_on": _one("tuned_on", [entry["tuned_on"] for entry, _ in tuned], tuned),
        "edges": sorted({entry["curve"] for entry, _ in tuned if entry["on_grid_edge"]}),
        "curve_version": _one("curve_version", [meta["curve_version"] for meta in metas], found),
        "versions": metas[0]["versions"],
        "hardware": metas[0]["hardware"],
        "commit": metas[0]["commit"],
        "command": command,
        "written": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }


def _one(name: str, values: list, found: list[tuple]) -> Any:
    """The value that all share, None where there is none; UserError names runs of ``found`` that differ."""
    if not values:
        return None
    for value, (_, record) in zip(values, found, strict=True):
        if value != values[0]:
            raise UserError(
                f"The runs of one figure differ in {name}: {found[0][1].folder.name} has {values[0]}, and "
                f"{record.folder.name} has {value}. Run the whole figure again by its one command."
            )
    return values[0]


def _write_csv(path: Path, frame: pd.DataFrame) -> None:
    records.write_atomically(path, frame.to_csv(index=False, float_format=FLOAT_FORMAT, lineterminator="\n"))
