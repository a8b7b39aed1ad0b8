"""The only reader and writer of records: one run, one folder ``{config.yaml, curve.csv, meta.json}``.

A record's name is what it is: its key is a hash of the resolved configuration, of the data and of ``CURVE_VERSION``.
``curve.csv`` is equal byte for byte for equal runs; what differs between two executions of a run (times, hardware,
versions, command) lies in ``meta.json``. That file is written last: a folder without it is an unfinished run. It holds
the checksums of all files, its own last; what a configuration names is never imported by reading it.
"""

from __future__ import annotations

import hashlib
import io
import json
import math
import os
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml

from adam_repro import integrity
from adam_repro.errors import UserError
from adam_repro.integrity import COLUMNS
from adam_repro.locks import leftover_prefix

CURVE_VERSION = 1
"""Raise by one whenever a change moves the numbers of any curve: older records are then no longer taken for done."""

MOST_CLEARED = 3  # times that others clear a file while it is written, which they do only as they take a lock
REMEDY = "Delete the folder and run it again."
INDEX_COLUMNS = ["arm", "curve", "seed", "tuned_at", "tuned_on", "on_grid_edge", "record"]
YAML_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # the same in a tenth of the time, where it was built


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


def key_of(identity: dict[str, Any], *, curve_version: int | None = None) -> str:
    """The hash, 64 hexadecimal digits, of everything that may move a curve; None: of ``CURVE_VERSION``."""
    version = CURVE_VERSION if curve_version is None else curve_version
    text = json.dumps({**identity, "curve_version": version}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def folder_name(dataset: str, optimizer: str, *, lr: float, seed: int, key: str) -> str:
    return f"{dataset}_{optimizer.lower()}_lr{lr:g}_seed{seed}-{key[:8]}"


def is_complete(folder: Path, key: str) -> bool:
    """Whether ``folder`` holds the finished run that ``key`` names; UserError where it holds another."""
    try:
        content = (folder / "meta.json").read_bytes()
    except FileNotFoundError:
        return False
    meta = _meta(folder / "meta.json", content)
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
    texts = {"config.yaml": yaml.safe_dump(config, sort_keys=False), "curve.csv": _curve_text(curve, config)}
    if diagnostics is not None:
        texts["diagnostics.csv"] = diagnostics.to_csv(index=False, float_format="%.6g", lineterminator="\n")
    for name, text in texts.items():
        write_atomically(folder / name, text)
    meta = {**meta, "curve_version": CURVE_VERSION, **{_sum_of(name): _sha256(text) for name, text in texts.items()}}
    write_atomically(folder / "meta.json", _sealed(meta))
    return Record(folder, config, curve, meta, diagnostics)


def read(folder: Path) -> Record:
    """Read a record and check that it is whole; UserError names the file, what is wrong with it and the remedy.

    A record from before configurations had checksums is read as what its key, a hash of its configuration, allows to
    check; that of an optimizer from outside then stands unchecked, as its key has a source that is written nowhere.
    """
    content = {name: _content(folder, name) for name in ("meta.json", "config.yaml", "curve.csv")}
    meta = _meta(folder / "meta.json", content["meta.json"])
    names = set(os.listdir(folder))
    if strangers := sorted(name for name in names if is_foreign(name, meta)):
        raise UserError(f"{folder / strangers[0]} is no part of this record. Move it elsewhere.")
    if "diagnostics.csv" in names or "diagnostics_sha256" in meta:
        content["diagnostics.csv"] = _content(folder, "diagnostics.csv")
    for name in content:
        if _sum_of(name) in meta and _sha256(content[name]) != meta[_sum_of(name)]:
            raise UserError(
                f"{folder / name} was changed after it was written: its checksum is not the one in meta.json. {REMEDY}"
            )
    config = _config(folder / "config.yaml", content["config.yaml"], meta)
    curve = _curve(folder / "curve.csv", content["curve.csv"], config, meta)
    inside = content.get("diagnostics.csv")
    diagnostics = None if inside is None else _diagnostics(folder / "diagnostics.csv", inside, last=len(curve) - 1)
    return Record(folder, config, curve, meta, diagnostics)


def read_in_place(folder: Path) -> Record:
    """``read``, of a record that lies where it was written: UserError where it has another experiment, or name."""
    record = read(folder)
    config, key = record.config, record.meta["key"]
    if folder.parent.name != config["experiment"] or not folder.name.endswith(f"_seed{config['seed']}-{key[:8]}"):
        raise UserError(
            f"{folder} has the record of another run: of {config['experiment']}, seed {config['seed']}, key {key}. "
            "Move it to its own name, or delete it and run it again."
        )
    return record


def is_foreign(name: str, meta: dict[str, Any]) -> bool:
    """Whether a file of that name does not belong beside ``meta``.

    What a write that was cut off has left is harmless, and may be another writer's who is just at it.
    """
    if name == "diagnostics.csv":
        return _has_sums(meta) and _sum_of(name) not in meta
    return name not in integrity.FILES and not is_leftover(name)


def is_leftover(name: str) -> bool:
    """Whether a file is of a write (see ``write_atomically``) that was cut off, or that goes on."""
    return any(name.startswith(leftover_prefix(of)) for of in integrity.FILES)


def _content(folder: Path, name: str) -> bytes:
    try:
        return (folder / name).read_bytes()
    except FileNotFoundError:
        raise UserError(
            f"{folder / name} is missing: {folder} is no finished run. Delete it and run it again."
        ) from None
    except OSError as error:
        raise UserError(f"{folder / name} cannot be read: {error.strerror}. Put that right.") from None


def _meta(path: Path, content: bytes) -> dict[str, Any]:
    """The meta data without their own checksum, which is of them as they are written."""
    try:
        meta = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} is damaged ({error}). {REMEDY}") from None
    if (fault := integrity.fault_of_meta(meta)) is not None:
        raise UserError(f"{path} is not as meta data are: {fault}. {REMEDY}")
    sealed = _has_sums(meta) or "meta_sha256" in meta  # either name may be what was damaged
    meta.pop("meta_sha256", None)
    if sealed and _sealed(meta).encode() != content:
        raise UserError(f"{path} was changed after it was written: its checksum is not the one in it. {REMEDY}")
    return meta


def _has_sums(meta: dict[str, Any]) -> bool:
    return _sum_of("config.yaml") in meta


def _sealed(meta: dict[str, Any]) -> str:
    return json.dumps({**meta, "meta_sha256": _sha256(json.dumps(meta))}, indent=2) + "\n"


def _sum_of(name: str) -> str:
    return f"{name.partition('.')[0]}_sha256"


def _sha256(content: str | bytes) -> str:
    return hashlib.sha256(content.encode() if isinstance(content, str) else content).hexdigest()


def _config(path: Path, content: bytes, meta: dict[str, Any]) -> dict[str, Any]:
    try:
        config = yaml.load(content, Loader=YAML_LOADER)  # plain values only, whatever tags it has
    except Exception as error:  # of values that do not fit their tags it raises whatever Python does
        raise UserError(f"{path} is damaged ({' '.join(str(error).split())}). {REMEDY}") from None
    if (fault := integrity.fault_of_config(config)) is not None:
        raise UserError(f"{path} is no configuration of a run: {fault}. {REMEDY}")
    identity = {"config": config}
    if "optimizer_source" in meta:
        identity["source"] = meta["optimizer_source"]
    is_ours = config["optimizer"]["_target_"].startswith("adam_repro.optimizers.")
    try:
        key = key_of(identity, curve_version=meta["curve_version"])
    except (TypeError, ValueError) as error:
        raise UserError(f"{path} is no configuration of a run: {error}. {REMEDY}") from None
    if key != meta["key"] and (is_ours or _has_sums(meta)):
        raise UserError(f"{path} is another run's: its key is {key}, and meta.json has {meta['key']}. {REMEDY}")
    return config


def _curve(path: Path, content: bytes, config: dict[str, Any], meta: dict[str, Any]) -> pd.DataFrame:
    header, *lines = content.decode(errors="replace").split("\n")
    if header.split(",") != COLUMNS:
        raise UserError(f"{path} has the columns {header.split(',')}, not {COLUMNS}. {REMEDY}")
    if not lines or lines.pop() != "":
        raise UserError(f"{path} is cut off: its last line has no end. {REMEDY}")
    rows = [line.split(",") for line in lines]
    if (fault := integrity.fault_of_curve(rows, config, meta, lenient=not _has_sums(meta))) is not None:
        raise UserError(f"{path} is no curve of this run: {fault}. {REMEDY}")
    numbers = np.array([[float(field or "nan") for field in row[1:]] for row in rows])
    curve = pd.DataFrame(numbers, columns=COLUMNS[1:])  # at once: each column by itself takes as long as all of them
    curve.insert(0, "epoch", range(len(rows)))
    return curve


def _diagnostics(path: Path, content: bytes, last: int) -> pd.DataFrame:
    try:
        frame = pd.read_csv(io.BytesIO(content))
    except ValueError as error:
        raise UserError(f"{path} is damaged ({error}). {REMEDY}") from None
    if (fault := integrity.fault_of_diagnostics(frame, last)) is not None:
        raise UserError(f"{path} holds no diagnostics of this run: {fault}. {REMEDY}")
    return frame


def _curve_text(curve: pd.DataFrame, config: dict[str, Any]) -> str:
    """Nine digits: what tells two float32 numbers apart. A number that was not taken is an empty field."""
    accuracy = bool(curve["test_accuracy"].notna().any())
    lines = [",".join(COLUMNS)]
    for epoch, *numbers in curve[COLUMNS].itertuples(index=False):
        wanted = integrity.taken(epoch, config, accuracy=accuracy)[1:]
        fields = [
            "" if math.isnan(number) and not was else f"{number:.9g}"
            for number, was in zip(numbers, wanted, strict=True)
        ]
        lines.append(",".join([str(int(epoch)), *fields]))
    return "\n".join([*lines, ""])


def write_atomically(path: Path, content: str | bytes) -> None:
    """Write ``content`` so that a reader finds the old file or the new one, never a part of it.

    An OSError has the name of the file. Of a write that is cut off a file is left, which goes when somebody takes the
    lock that guards ``path``: see ``locks.Lock``. That looks the same while the write goes on, under another lock or
    under none, so that a write whose file has gone begins again.
    """
    try:
        for _ in range(MOST_CLEARED):
            with suppress(FileNotFoundError):
                return _write_beside(path, content)
        _write_beside(path, content)
    except OSError as error:
        error.filename = str(path)
        raise


def _write_beside(path: Path, content: str | bytes) -> None:
    """Write a file that takes the name ``path`` when it is whole; FileNotFoundError where it has gone before that."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=leftover_prefix(path.name))
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


def read_index(path: Path) -> list[dict[str, Any]]:
    """The lines of a figure's index; UserError where it is missing, damaged, or has a line twice."""
    remedy = "Run the figure again by its one command, which writes a new index."
    try:
        frame = pd.read_csv(path, dtype={"tuned_at": "Int64", "tuned_on": "Int64", "seed": "int64", "record": str})
    except FileNotFoundError:
        raise UserError(f"{path} is missing. {remedy}") from None
    except (ValueError, OSError) as error:
        raise UserError(f"{path} is damaged ({error}). {remedy}") from None
    if list(frame.columns) != INDEX_COLUMNS or frame["record"].isna().any():
        raise UserError(f"{path} is no index: its columns are not {INDEX_COLUMNS}, or a line names no record. {remedy}")
    if (twice := frame[frame.duplicated()]).size:
        raise UserError(f"{path} has a line twice, of {twice['record'].iloc[0]}. {remedy}")
    return frame.replace({pd.NA: None}).to_dict("records")
