"""From records to the three files of a figure: ``curves.csv``, ``finals.csv``, ``provenance.json``.

A sweep's index says which record is which run of the figure; everything else is read from the records.
"""

from __future__ import annotations

import datetime
import json
from pathlib import Path
from typing import Any

import pandas as pd

from adam_repro import records

FINAL_EPOCHS = 5
"""A final cost is the mean over the last five epochs (the protocol's criterion)."""

UNDRAWN_ARMS = ("grid",)


def gather(folder: Path, results: Path, *, figure: str, scale: str, command: str) -> None:
    """Write the figure's files into ``folder`` from its ``index.csv`` and the records below ``results``."""
    index = pd.read_csv(folder / "index.csv", dtype={"tuned_at": "Int64"}).replace({pd.NA: None})
    found = [(entry, records.read(results / entry["record"])) for entry in index.to_dict("records")]
    curves = [
        record.curve.assign(arm=entry["arm"], curve=entry["curve"], seed=entry["seed"])
        for entry, record in found
        if entry["arm"] not in UNDRAWN_ARMS
    ]
    if curves:
        frame = pd.concat(curves)[["arm", "curve", "seed", *records.COLUMNS]]
        _write_csv(folder / "curves.csv", frame)
    _write_csv(folder / "finals.csv", pd.DataFrame([_final(entry, record) for entry, record in found]))
    provenance = _provenance(found, figure=figure, scale=scale, command=command)
    records.write_atomically(folder / "provenance.json", json.dumps(provenance, indent=2) + "\n")


def final_costs(record: records.Record) -> dict[str, float | None]:
    """Means over the last epochs; None for a run that diverged."""
    columns = ["train_cost", "train_loss", "test_loss", "test_accuracy"]
    if record.meta["status"] == "diverged":
        return dict.fromkeys(columns)
    return record.curve[record.curve["epoch"] > 0].tail(FINAL_EPOCHS)[columns].mean().to_dict()


def settings_of(config: dict[str, Any]) -> dict[str, Any]:
    """lr, schedule, the other hyper-parameters as compact JSON, l2."""
    optimizer = {name: value for name, value in config["optimizer"].items() if name not in ("_target_", "lr")}
    return {
        "lr": config["optimizer"]["lr"],
        "schedule": config["schedule"]["_target_"].rsplit(".", 1)[1],
        "hyper": json.dumps(optimizer, separators=(",", ":")),
        "l2": config["l2"],
    }


def _final(entry: dict[str, Any], record: records.Record) -> dict[str, Any]:
    return {
        "arm": entry["arm"],
        "curve": entry["curve"],
        **settings_of(record.config),
        "seed": entry["seed"],
        "status": record.meta["status"],
        "diverged_step": record.meta["diverged_step"],
        "epochs": record.config["epochs"],
        **final_costs(record),
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
