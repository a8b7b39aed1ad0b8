"""What a run needs to go on where it was stopped: written at an epoch's end, removed when its record is there.

Noise and minibatches are functions of (seed, epoch, purpose), so a checkpoint is the learner's state and the rows so
far. One file holds all members of a population, which go on together. A file is a line with its format and the sha256
of the rest, and the rest is ``torch.save``'s: read with ``weights_only``, it can hold numbers and run no code.
"""

from __future__ import annotations

import dataclasses
import hashlib
import io
import pickle
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from adam_repro import records
from adam_repro.training import Learner, Row

KIND = b"adam_repro checkpoint "
FORMAT = KIND.decode() + "3"  # 2: members in the order of their keys; 3: diagnostics of each


@dataclasses.dataclass(frozen=True)
class Checkpoint:
    """``rows`` up to the moment of ``state`` (see ``Learner.state``), and the ``diagnostics`` so far."""

    rows: list[Row]
    state: Any
    diagnostics: list[list]


class Keeper:
    """Keeps the checkpoint of one group of runs in ``path``, once ``every`` seconds have passed since the last.

    A checkpoint that cannot be written is reported once and costs the runs nothing.
    """

    def __init__(self, path: Path, *, every: float):
        self.path, self.every = path, every
        self._last = time.monotonic()
        self._complained = False

    def load(self) -> Checkpoint | None:
        """What was kept; None where there is nothing, or where it is damaged, which is said."""
        if not self.path.is_file():
            return None
        try:
            content = self.path.read_bytes()
        except OSError as error:
            self._say_unusable(str(error))
            return None
        header, _, body = content.partition(b"\n")
        if header.startswith(KIND) and not header.startswith(FORMAT.encode()):
            self._say_unusable("another version of this project wrote it")
            return None
        if header != _header(body):
            self._say_unusable("its checksum is not the one it begins with")
            return None
        try:
            kept = unpacked(body)
        except pickle.UnpicklingError:
            self._say_unusable("it holds more than numbers, which an optimizer of your own put there")
            return None
        return Checkpoint(_rows(kept["rows"]), kept["state"], kept["diagnostics"])

    def offer(self, learner: Learner, rows: Sequence[Row], diagnostics: list[list]) -> None:
        """Keep the state at the end of the last of ``rows``, if it is time."""
        if time.monotonic() - self._last < self.every:
            return
        try:
            body = packed({"rows": _columns(rows), "state": learner.state(), "diagnostics": diagnostics})
            records.write_atomically(self.path, _header(body) + b"\n" + body)
        except Exception as error:  # of the disk, or whatever the state of a stranger's optimizer raises
            if not self._complained:
                self._complained = True
                print(f"No checkpoint can be kept in {self.path} ({error}); the runs go on.", file=sys.stderr)
        self._last = time.monotonic()

    def remove(self) -> None:
        if self.path.is_file():
            self.path.unlink(missing_ok=True)  # another process may have been faster

    def _say_unusable(self, reason: str) -> None:
        print(f"The checkpoint {self.path} is of no use: {reason}. Its runs begin anew.", file=sys.stderr)


def packed(content: Any) -> bytes:
    """``content`` as a checkpoint has it behind its first line."""
    body = io.BytesIO()
    torch.save(content, body)
    return body.getvalue()


def unpacked(body: bytes) -> Any:
    """What was ``packed``, on the CPU; UnpicklingError where that is more than numbers in lists and dictionaries."""
    return torch.load(io.BytesIO(body), map_location="cpu", weights_only=True)


def _header(body: bytes) -> bytes:
    return f"{FORMAT} {hashlib.sha256(body).hexdigest()}".encode()


def _columns(rows: Sequence[Row]) -> dict[str, Any]:
    """The fields of ``rows``, each as one tensor [rows] or [rows, K]."""
    return {
        field.name: torch.stack([torch.as_tensor(getattr(row, field.name), dtype=_dtype(field.name)) for row in rows])
        for field in dataclasses.fields(Row)
    }


def _rows(columns: dict[str, Tensor]) -> list[Row]:
    lines = zip(*(column.unbind() for column in columns.values()), strict=True)
    return [
        Row(**{name: value if value.dim() else value.item() for name, value in zip(columns, line, strict=True)})
        for line in lines
    ]


def _dtype(name: str) -> torch.dtype:
    return torch.int64 if name in ("epoch", "diverged_step") else torch.float64
