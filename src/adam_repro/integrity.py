"""What a whole record is: what its files hold and how they fit together. Nothing is read or built here.

Each function gives, in words, the first thing that is wrong, or None.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

COLUMNS = ["epoch", "train_cost", "train_loss", "l2_penalty", "test_loss", "test_accuracy"]
DIAGNOSTICS = ["epoch", "layer", "below_eps", "sqrt_v_hat_p50", "step_p50", "step_p99", "step_max", "snr"]
FILES = ("config.yaml", "curve.csv", "meta.json", "diagnostics.csv")

NUMBER = (int, float)
META: dict[str, tuple[type, ...]] = {
    "status": (str,),
    "diverged_step": (int,),
    "key": (str,),
    "members": (int,),
    "train_seconds": NUMBER,
    "evaluation_seconds": NUMBER,
    "written": (str,),
    "command": (str,),
    "device": (str,),
    "versions": (dict,),
    "hardware": (dict,),
    "commit": (str, type(None)),
    "curve_version": (int,),
    "curve_sha256": (str,),
}
CONFIG: dict[str, tuple[type, ...]] = {
    "experiment": (str,),
    "dataset": (dict,),
    "model": (dict,),
    "optimizer": (dict,),
    "schedule": (dict,),
    "l2": NUMBER,
    "batch_size": (int,),
    "epochs": (int,),
    "evaluate_at": (list, type(None)),
    "seed": (int,),
}
WITHIN: dict[str, dict[str, tuple[type, ...]]] = {
    "dataset": {"name": (str,), "provenance": (str,), "checksum": (str,), "train_examples": (int,)},
    "optimizer": {"_target_": (str,), "lr": NUMBER},
    "schedule": {"_target_": (str,)},
}


def fault_of_fields(given: Any, fields: Mapping[str, tuple[type, ...]]) -> str | None:
    """Whether ``given`` has all ``fields``, each of one of its types; true and false are no numbers."""
    if not isinstance(given, dict):
        return "it is no list of keys with values"
    for name, types in fields.items():
        if name not in given:
            return f"it lacks {name}"
        if type(given[name]) not in types:
            return f"{name} is {given[name]!r}, of another type than it must be"
    return None


def fault_of_meta(meta: Any) -> str | None:
    fault = fault_of_fields(meta, META)
    if fault is None and (meta["status"], meta["diverged_step"] > 0) not in (("finished", False), ("diverged", True)):
        return f"its status is {meta['status']} and its first step that was not finite {meta['diverged_step']}"
    return fault


def fault_of_config(config: Any) -> str | None:
    if (fault := fault_of_fields(config, CONFIG)) is not None:
        return fault
    for name, fields in WITHIN.items():
        if (fault := fault_of_fields(config[name], fields)) is not None:
            return f"in {name}: {fault}"
    return "batch_size is below 1" if config["batch_size"] < 1 else None


def is_evaluated(epoch: int, config: Mapping[str, Any]) -> bool:
    """Whether a run has clean evaluations at the end of ``epoch``: those asked for, and the last."""
    return config["evaluate_at"] is None or epoch in config["evaluate_at"] or epoch == config["epochs"]


def taken(epoch: int, config: Mapping[str, Any], *, accuracy: bool) -> list[bool]:
    """Of each of ``COLUMNS``, whether an epoch's row has a number in it; ``accuracy``: whether the model has any."""
    evaluated = is_evaluated(epoch, config)
    return [True, epoch > 0, evaluated, True, evaluated, evaluated and accuracy]


def fault_of_curve(rows: list[list[str]], config: dict[str, Any], meta: dict[str, Any], *, lenient: bool) -> str | None:
    """Of a curve's fields, a row an epoch.

    A number that was taken may be infinite or nan, where parameters left the finite numbers with the last step before
    it, or the cost of a test example did; the training cost may not, which is what a run diverges by. ``lenient``:
    as records before ``config_sha256`` were written, with an empty field for nan, too.
    """
    if not rows:
        return "it has no row"
    if wrong := next((row for row in rows if len(row) != len(COLUMNS)), None):
        return f"a row has {len(wrong)} fields, not {len(COLUMNS)}: {','.join(wrong)}"
    epochs = [row[0] for row in rows]
    if epochs != [str(epoch) for epoch in range(len(rows))]:
        return _disorder(epochs)
    if (fault := _fault_of_end(len(rows) - 1, config, meta)) is not None:
        return fault
    accuracy = any(row[-1] for row in rows)
    for epoch, row in enumerate(rows):
        wanted = taken(epoch, config, accuracy=accuracy)
        if not _is_plain(row, wanted) and (fault := _fault_of_row(epoch, row, wanted, lenient=lenient)) is not None:
            return fault
    return None


def fault_of_diagnostics(frame: Any, last: int) -> str | None:
    """Of a table with a row for each epoch and layer: no row of another epoch than 1 to ``last``, and none twice."""
    if list(frame.columns) != DIAGNOSTICS:
        return f"it has the columns {list(frame.columns)}, not {DIAGNOSTICS}"
    numbers = frame.drop(columns="layer")
    if wrong := [name for name in numbers if numbers[name].dtype.kind not in "iuf"]:
        return f"{wrong[0]} is not of numbers"
    if not frame["epoch"].isin(range(1, last + 1)).all() or not frame["epoch"].is_monotonic_increasing:
        return f"its epochs are not in order from 1 to {last}"
    return "a layer has two rows of one epoch" if frame.duplicated(["epoch", "layer"]).any() else None


def _is_plain(row: list[str], wanted: list[bool]) -> bool:
    """Whether a row has finite numbers where they belong and nothing elsewhere, as almost all have: asked at once, for
    field by field takes as long as reading the rest of a record."""
    try:
        return [*map(bool, row)] == wanted and math.isfinite(sum(map(float, filter(None, row))))
    except ValueError:
        return False


def _fault_of_row(epoch: int, row: list[str], wanted: list[bool], *, lenient: bool) -> str | None:
    for column, field, belongs in zip(COLUMNS, row, wanted, strict=True):
        if bool(field) != belongs and not (lenient and belongs and column != "train_cost"):
            return f"{column} of epoch {epoch} is {field or 'empty'}, where {'a' if belongs else 'no'} number belongs"
        if (fault := _fault_of_field(column, field)) is not None:
            return f"{column} of epoch {epoch} is {field}, {fault}"
    return None


def _fault_of_field(column: str, field: str) -> str | None:
    try:
        number = float(field) if field else 0.0
    except ValueError:
        return "which is no number"
    return "which is not finite" if column == "train_cost" and not math.isfinite(number) else None


def _fault_of_end(last: int, config: dict[str, Any], meta: dict[str, Any]) -> str | None:
    """A finished run has all its epochs, one that diverged those before the pass in which it did."""
    if meta["status"] == "finished":
        wanted = config["epochs"]
    else:
        steps = math.ceil(config["dataset"]["train_examples"] / config["batch_size"])
        wanted = (meta["diverged_step"] - 1) // max(steps, 1)
    return None if last == wanted else f"its last epoch is {last}, and this run's ({meta['status']}) is {wanted}"


def _disorder(epochs: list[str]) -> str:
    before, after = next(
        ((one, other) for one, other in pairwise(["none", *epochs]) if other != _next(one)), ("none", epochs[0])
    )
    return f"its epochs are not 0, 1, 2 and so on: after {before} comes {after}"


def _next(epoch: str) -> str:
    return "0" if epoch == "none" else str(int(epoch) + 1)
