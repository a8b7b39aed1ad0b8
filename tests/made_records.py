"""Whole records of invented runs, written by the real writer."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pandas as pd

from adam_repro import records

CONFIG: dict[str, Any] = {
    "experiment": "vae",
    "dataset": {"name": "mnist", "provenance": "real", "checksum": "0", "train_examples": 60_000},
    "model": {"_target_": "adam_repro.models.VAE"},
    "optimizer": {"_target_": "adam_repro.optimizers.Adam", "lr": 0.1, "beta1": 0.9},
    "schedule": {"_target_": "adam_repro.schedules.constant", "_partial_": True},
    "l2": 0.0,
    "batch_size": 100,
    "epochs": 2,
    "evaluate_at": None,
    "seed": 0,
}
META = {
    "status": "finished",
    "diverged_step": 0,
    "members": 1,
    "train_seconds": 1.5,
    "evaluation_seconds": 0.25,
    "written": "2020-01-01T00:00:00+00:00",
    "command": "none",
    "device": "cpu",
    "versions": {"torch": "2"},
    "hardware": {"cpu": "one"},
    "commit": "abc",
}


def meta_of(config: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """Meta data with the key that ``config`` has."""
    identity = {"config": config} | ({"source": changes["optimizer_source"]} if "optimizer_source" in changes else {})
    return {"key": records.key_of(identity), **META, **changes}


def folder_of(results: Path, config: dict[str, Any]) -> Path:
    """Where a run with ``config`` has its record."""
    name = records.folder_name(
        config["dataset"]["name"],
        config["optimizer"]["_target_"].rpartition(".")[2],
        lr=config["optimizer"]["lr"],
        seed=config["seed"],
        key=records.key_of({"config": config}),
    )
    return results / "runs" / config["experiment"] / name


def curve_of(config: dict[str, Any], last: int) -> pd.DataFrame:
    """The training cost of epoch e is 100 + e; evaluations are where ``config`` has them, without an accuracy."""
    rows = [
        [e, 100.0 + e if e else math.nan, *((200.0 + e, 0.0, 300.0 + e) if evaluated else (math.nan, 0.0, math.nan))]
        for e in range(last + 1)
        for evaluated in [config["evaluate_at"] is None or e in config["evaluate_at"] or e == config["epochs"]]
    ]
    return pd.DataFrame([[*row, math.nan] for row in rows], columns=records.COLUMNS)
