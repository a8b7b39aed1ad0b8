"""kill -9 aimed at a write: before a file is there, in the middle of its bytes, before it takes its name, or goes.

Python tells an audit hook of each file that is opened, renamed or removed, before that is done: the hook counts those
of a kind and kills its process's whole group at the chosen one. In the middle of the bytes the system does it: a limit
to the size of files ends the write there, by a signal whose handler kills. What is killed knows nothing of it.
"""

from __future__ import annotations

import ctypes
import os
import re
import resource
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MOST_BYTES = 100
CHANGES = ("os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.chmod")
BYTES = "bytes"
KINDS = {  # by where a file lies in the folder of a sweep, the first that fits
    "a lock": r".*\.lock",
    "a data cache": r"(data/\.adam_repro|cache/adam_repro)/.*",
    "a checkpoint": r"results/checkpoints/.*",
    "a record": r"results/runs/.*",
    "an index": r"results/.*/index\.csv",
    "a W&B run": r"results/.*wandb/.*",
}
SHORT = {"a checkpoint": "checkpoint", "a lock": "lock"}  # whose names say nothing
RUN = re.compile(r"(offline-)?run-(.*\.wandb)?.*")


@dataclass(frozen=True)
class Write:
    """A step of writing: a ``kind`` of file, what is done (an event of Python's audit hooks, or ``BYTES``), to what."""

    kind: str
    event: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind}, {self.event} {self.name}"


@dataclass(frozen=True)
class Aim:
    """The ``nth`` such write of a process; where it is cut in its bytes, behind so many."""

    write: Write
    nth: int = 1
    bytes: int = 1


def watch(folder: Path, seen: Callable[[Write], None]) -> None:
    """From now on tell ``seen`` of all writes below ``folder``, by this process, before they are done."""
    inside = f"{folder}{os.sep}"

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open":
            path, _, flags = arguments
            if not flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
                return
        elif event in CHANGES:
            path = arguments[1 if event == "os.rename" else 0]
        else:
            return
        if isinstance(path, str | os.PathLike) and (place := os.fspath(path)).startswith(inside):
            for write in writes_of(event, place.removeprefix(inside)):
                seen(write)

    sys.addaudithook(hook)


def writes_of(event: str, place: str) -> list[Write]:
    """The writes that an ``event`` at ``place`` is, or begins: whoever opens a file writes its bytes."""
    parts = [left[1] if (left := LEFT.fullmatch(part)) else part for part in place.split("/")]
    kind = next((kind for kind, pattern in KINDS.items() if re.fullmatch(pattern, "/".join(parts))), None)
    if kind is None:
        return []
    name = SHORT.get(kind, parts[-1])
    if kind == "a record" and len(parts) < 5:
        if len(parts) < 4:
            return []  # the folder of all records
        name = "its folder"
    if kind == "a W&B run" and RUN.fullmatch(name):
        name = "its folder"
    return [Write(kind, each, name) for each in ((event, BYTES) if event == "open" and kind != "a lock" else (event,))]


LEFT = re.compile(r"\.(.+)-[a-z0-9_]{8}")  # a temporary name, by the name that it is for


def shoot(folder: Path, aim: Aim) -> None:
    """Kill this process's group at ``aim``, if that is ever reached."""
    left = aim.nth

    def seen(write: Write) -> None:
        nonlocal left
        if write == aim.write:
            left -= 1
            if left == 0:
                cut_at(aim.bytes) if write.event == BYTES else kill_all()

    watch(folder, seen)


def kill_all(*_: object) -> None:
    os.killpg(0, signal.SIGKILL)


handler = ctypes.CFUNCTYPE(None, ctypes.c_int)(kill_all)


def cut_at(size: int) -> None:
    """From now on whoever writes a file beyond ``size`` bytes is killed there, with the group."""
    ctypes.CDLL(None).signal(signal.SIGXFSZ, handler)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
