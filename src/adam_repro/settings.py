"""Checks of what a user set, before any folder is made: each error names the key, the value and what is allowed."""

from __future__ import annotations

import difflib
import hashlib
import importlib
import inspect
import math
import os
import sys
from pathlib import Path
from typing import Any

import torch

import adam_repro.optimizers
from adam_repro.errors import UserError
from adam_repro.optimizers import SFO, RuleOptimizer

LEAST = {"seed": 0, "epochs": 1, "batch_size": 1, "train_examples": 1, "workers": 1, "tuned_on": 1}
OPTIONAL = ("train_examples", "workers", "tuned_on")
SWITCHES = ("frozen_noise", "diagnostics", "plan", "on_grid_edge")
NAMES = ("arm", "curve", "variant")
KEPT_ELSEWHERE = {"torch", "adam_repro", *sys.stdlib_module_names}
"""Whose changes are not a user's edits: a record knows them by its versions, and this package's by CURVE_VERSION."""
TRACKING = {"mode": ("online", "offline", "disabled"), "members": ("reported", "all")}


def check_values(given: dict[str, Any]) -> None:
    """Numbers with their bounds, switches, names, tracking, evaluate_at; the other parts check what is theirs."""
    for name, least in LEAST.items():
        value = given[name]
        if not (value is None and name in OPTIONAL) and not _is_whole(value, least):
            raise UserError(f"{name}={value!r} is not allowed: give a whole number of at least {least}.")
    for name, value in given["scale"].items():
        if not (isinstance(value, str) if name == "name" else value is None or _is_whole(value, 1)):
            raise UserError(
                f"scale.{name}={value!r} is not allowed: give a whole number of at least 1, or null for all."
            )
    for name in ("l2", "checkpoint_every"):
        value = given[name]
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < math.inf:
            raise UserError(f"{name}={value!r} is not allowed: give a number of at least 0.")
    for name in SWITCHES:
        if not isinstance(given[name], bool):
            raise UserError(f"{name}={given[name]!r} is not allowed: give true or false.")
    for name in NAMES:
        if not isinstance(given[name], str | None):
            raise UserError(f"{name}={given[name]!r} is not allowed: give a name.")
    for name, allowed in TRACKING.items():
        if (value := given["tracking"][name]) not in allowed:
            raise UserError(f"tracking.{name}={value!r} is not allowed: give one of {', '.join(allowed)}.")
    for name, kinds in (("project", str), ("entity", str | None)):
        if not isinstance(value := given["tracking"][name], kinds):
            raise UserError(f"tracking.{name}={value!r} is not allowed: give a name.")
    epochs = given["evaluate_at"]
    if epochs is not None and not (isinstance(epochs, list) and all(_is_whole(epoch, 0) for epoch in epochs)):
        raise UserError(
            f"evaluate_at={epochs!r} is not allowed: give a list of epochs such as [0,10,46], or null for all."
        )


def check_figure(given: dict[str, Any]) -> None:
    """UserError for a figure of another experiment: its name and its index are not for runs of this one's model."""
    figure = given["figure"]
    if figure is not None and figure["experiment"] != given["experiment"]:
        raise UserError(
            f"figure={figure['name']} is of another experiment than {given['experiment']}. Give it there: "
            f"`python experiments/{figure['experiment']}.py figure={figure['name']}`."
        )


def check_results(folder: str | Path) -> None:
    """UserError unless results can be written to ``folder``, which need not exist yet."""
    path = Path(folder).absolute()
    there = next(above for above in (path, *path.parents) if above.exists())
    if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        reason = "cannot be written" if there.is_dir() else "is a file"
        raise UserError(f"results={folder} is not allowed: {there} {reason}. Give a folder that you can write to.")


def check_device(name: Any) -> None:
    """UserError unless ``name`` is of the CPU or of a GPU with CUDA, and tensors can live there on this machine."""
    try:
        if not isinstance(name, str):
            raise RuntimeError("it is no name")
        torch.zeros(1, device=name).item()
        if torch.device(name).type not in ("cpu", "cuda"):
            raise RuntimeError("runs are trained on a CPU or by CUDA")
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0].rstrip(".")
        raise UserError(
            f"device={name} cannot be used here: {reason}. Give device=cpu, or device=cuda on a machine that has a GPU."
        ) from None


def _is_whole(value: Any, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def optimizer_class(path: str, *, key: str = "optimizer._target_") -> type[torch.optim.Optimizer]:
    """The class at an import path, given as ``key``; UserError where there is none, or it is no optimizer."""
    file, _, name = path.rpartition(":")
    if file.endswith(".py"):  # records, and processes on other machines, know an optimizer by its import path
        raise UserError(
            f"{key}={path} is a file and a class in it, which only `make compare` takes. Give "
            f"optimizer._target_={Path(file).stem}.{name}, and start the command in {Path(file).absolute().parent}."
        )
    module, _, name = path.rpartition(".")
    try:
        found = getattr(importlib.import_module(module), name)
    except Exception as error:  # a stranger's file may raise anything
        known = [f"adam_repro.optimizers.{known}" for known in adam_repro.optimizers.__all__]
        near = difflib.get_close_matches(path, known, n=1, cutoff=0.5)
        hint = f" Did you mean {near[0]}?" if near else ""
        raise UserError(
            f"{key}={path} cannot be imported ({error}).{hint} Give the import path of a "
            "torch.optim.Optimizer class, such as torch.optim.NAdam; a file of your own is found from the folder "
            "that you start the command in."
        ) from None
    if not (isinstance(found, type) and issubclass(found, torch.optim.Optimizer)):
        raise UserError(f"{key}={path} is no torch.optim.Optimizer class. Give the path of one that is.")
    return found


def checked_settings(
    found: type[RuleOptimizer], optimizer: dict[str, Any], *, examples: int, batch_size: int
) -> dict[str, Any]:
    """The ``optimizer`` node with every default filled in, each value in its range.

    A ``frozen_after`` that is null or absent is the steps of a pass over so many ``examples``, whose number the class
    cannot know.
    """
    given = {name: value for name, value in optimizer.items() if name != "_target_"}
    if "frozen_after" in found.hyperparameters and given.get("frozen_after") is None:
        given["frozen_after"] = math.ceil(examples / batch_size)
    try:
        return {"_target_": optimizer["_target_"], **found.settings(**given)}
    except ValueError as error:
        raise UserError(f"optimizer: {error}") from None


def partitioned(optimizer: dict[str, Any], examples: int, *, most: int | None) -> dict[str, Any]:
    """The ``optimizer`` node of SFO and the ``batch_size`` of a run: the minibatches of a partition of so many
    ``examples`` into as many as it asks for, or ``most``, or a few less where that makes them equal."""
    given = {name: value for name, value in optimizer.items() if name != "_target_"}
    try:
        settings = SFO([torch.zeros(1)], **given).defaults
    except (TypeError, ValueError) as error:
        raise UserError(f"optimizer: {error}") from None
    wanted = min(settings["subfunctions"], settings["subfunctions"] if most is None else most)
    batch_size = math.ceil(examples / wanted)
    subfunctions = math.ceil(examples / batch_size)
    if subfunctions < 2:
        raise UserError(f"optimizer.subfunctions={wanted} cannot be had of {examples} examples: give more of them.")
    settings = {"_target_": optimizer["_target_"], **settings, "subfunctions": subfunctions}
    return {"optimizer": settings, "batch_size": batch_size}


def source_hash(found: type) -> str:
    """The hash of the files that define an optimizer from outside torch, so that an edited one is run again: its own
    and those of the classes that it inherits from."""
    if _package(found) == "torch":
        return f"torch {torch.__version__}"
    files = [_source_file(cls) for cls in found.__mro__ if cls is found or _package(cls) not in KEPT_ELSEWHERE]
    paths = [Path(file) for file in dict.fromkeys(files) if file]
    if not paths:
        return "no source"
    digest = hashlib.sha256(paths[0].read_bytes())
    for path in paths[1:]:
        digest.update(hashlib.sha256(path.read_bytes()).digest())  # of each alone, or what moves between them is unseen
    return digest.hexdigest()


def _package(cls: type) -> str:
    return cls.__module__.partition(".")[0]


def _source_file(cls: type) -> str | None:
    try:
        return inspect.getsourcefile(cls)
    except (TypeError, OSError):  # its module is not among those imported: its functions know their file all the same
        functions = [inspect.unwrap(value) for value in vars(cls).values() if inspect.isfunction(value)]
        return inspect.getsourcefile(functions[0]) if functions else None
