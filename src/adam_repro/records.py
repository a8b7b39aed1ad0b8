"""The only reader and writer of records: one run, one folder ``{config.yaml, curve.csv, meta.json}``.

A record's name is what it is: its key is a hash of the resolved configuration, of the data and of ``CURVE_VERSION``.
``curve.csv`` is equal byte for byte for equal runs; what differs between two executions of a run (times, hardware,
versions, command) lies in ``meta.json``. That file is written last: a folder without it is an unfinished run.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from adam_repro.errors import UserError

CURVE_VERSION = 1
"""Raise by one whenever a change moves the numbers of any curve: older records are then no longer taken for done."""

COLUMNS = ["epoch", "train_cost", "train_loss", "l2_penalty", "test_loss", "test_accuracy"]


@dataclass(frozen=True)
class Record:
    """A finished run: its resolved configuration, its curve (``COLUMNS``, a row an epoch) and its meta data.

    ``diagnostics``, where they were asked for and the optimizer has any: a row for each epoch and layer.
    """

    folder: Path
    config: dict[str, Any]
    curve: pd.DataFrame
    meta: dict[str, Any]
    diagnostics: pd.DataFrame | None = None


def key_of(identity: dict[str, Any]) -> str:
    """The hash, 64 hexadecimal digits, of everything that may move a curve."""
    text = json.dumps({**identity, "curve_version": CURVE_VERSION}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def folder_name(dataset: str, optimizer: str, *, lr: float, seed: int, key: str) -> str:
    return f"{dataset}_{optimizer.lower()}_lr{lr:g}_seed{seed}-{key[:8]}"


def is_complete(folder: Path, key: str) -> bool:
    """Whether ``folder`` holds the finished run that ``key`` names; UserError where it holds another."""
    path = folder / "meta.json"
    if not path.exists():
        return False
    meta = _parsed(path, path.read_text())
    if meta["key"] != key:
        raise UserError(
            f"{folder} holds another run: its key is {meta['key']}, this run's is {key}. "
            "Two runs share the first eight digits of their keys; move the folder elsewhere to run this one."
        )
    return True


def write(
    folder: Path,
    config: dict[str, Any],
    curve: pd.DataFrame,
    meta: dict[str, Any],
    *,
    diagnostics: pd.DataFrame | None = None,
) -> Record:
    """Write a record, each file atomically and ``meta.json`` last. Two writers of one record write the same curve."""
    folder.mkdir(parents=True, exist_ok=True)
    curve_text = curve[COLUMNS].to_csv(index=False, float_format=_format, lineterminator="\n")
    write_atomically(folder / "config.yaml", yaml.safe_dump(config, sort_keys=False))
    write_atomically(folder / "curve.csv", curve_text)
    if diagnostics is not None:
        text = diagnostics.to_csv(index=False, float_format="%.6g", lineterminator="\n")
        write_atomically(folder / "diagnostics.csv", text)
    meta = {**meta, "curve_version": CURVE_VERSION, "curve_sha256": hashlib.sha256(curve_text.encode()).hexdigest()}
    write_atomically(folder / "meta.json", json.dumps(meta, indent=2) + "\n")
    return Record(folder, config, curve, meta, diagnostics)


def read(folder: Path) -> Record:
    """Read a record and check that it is whole; UserError names the file and what is wrong with it."""
    texts = {}
    for name in ("config.yaml", "curve.csv", "meta.json"):
        try:
            texts[name] = (folder / name).read_text()
        except FileNotFoundError:
            raise UserError(
                f"{folder / name} is missing: {folder} is no finished run. Delete it and run it again."
            ) from None
    meta = _parsed(folder / "meta.json", texts["meta.json"])
    if hashlib.sha256(texts["curve.csv"].encode()).hexdigest() != meta["curve_sha256"]:
        raise UserError(
            f"{folder / 'curve.csv'} was changed after it was written: its checksum is not the one in meta.json. "
            "Delete the folder and run it again."
        )
    curve = pd.read_csv(folder / "curve.csv")
    if list(curve.columns) != COLUMNS:
        raise UserError(
            f"{folder / 'curve.csv'} has the columns {list(curve.columns)}, not {COLUMNS}. Delete the folder."
        )
    inside = folder / "diagnostics.csv"
    diagnostics = pd.read_csv(inside) if inside.is_file() else None
    return Record(folder, yaml.safe_load(texts["config.yaml"]), curve, meta, diagnostics)


def _parsed(path: Path, text: str) -> dict[str, Any]:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise UserError(f"{path} is damaged ({error}). Delete the folder and run it again.") from None


def write_atomically(path: Path, content: str | bytes) -> None:
    """Write ``content`` so that a reader finds the old file or the new one, never a part of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def write_index(path: Path, entries: list[dict[str, Any]]) -> None:
    """The sweep's index: where each run that a figure asked for is found, one line for each (arm, curve, seed, ...)."""
    write_atomically(path, pd.DataFrame(entries).to_csv(index=False, lineterminator="\n"))


def _format(value: float) -> str:
    """Nine digits: what tells two float32 numbers apart. No number is an empty field."""
    return "" if math.isnan(value) else f"{value:.9g}"
