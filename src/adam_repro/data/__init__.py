"""Data sets, each resident in memory as a few tensors."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from adam_repro.padded import PaddedRows, Rows
from adam_repro.sparse import SparseRows
from adam_repro.surroundings import PROJECT_ROOT


@dataclass(frozen=True)
class Dataset:
    """A data set as the training loop wants it.

    ``train_x`` and ``test_x`` are float32 of shape [examples, features...], or sparse rows of words; ``train_y`` and
    ``test_y`` are int64 class numbers of shape [examples]. ``provenance`` is "real" or "stand-in" and travels to every
    record and figure; ``checksum`` identifies the decoded data and is part of each run's identity.
    """

    name: str
    provenance: str
    checksum: str
    train_x: Tensor | Rows
    train_y: Tensor
    test_x: Tensor | Rows
    test_y: Tensor

    def head(self, train: int, test: int | None = None) -> Dataset:
        """The same data with the first ``train`` training examples and ``test`` of the test examples only.

        Those are taken at even distances, because test sets may lie in order of class. None: all of them.
        """
        there = len(self.test_y)
        part = dataclasses.replace(self, train_x=self.train_x[:train], train_y=self.train_y[:train])
        if test is None or test >= there:
            return part
        spread = torch.arange(test, device=self.test_y.device) * there // test
        return dataclasses.replace(part, test_x=self.test_x.index_select(0, spread), test_y=self.test_y[spread])

    def to(self, device: torch.device | str) -> Dataset:
        """The same data, resident on ``device``: as they are on cores, where every data set is loaded; on a GPU sparse
        rows become padded ones."""
        if torch.device(device).type == "cpu":
            return self
        parts = {name: getattr(self, name) for name in ("train_x", "train_y", "test_x", "test_y")}
        parts |= {name: PaddedRows.of(part) for name, part in parts.items() if isinstance(part, SparseRows)}
        return dataclasses.replace(self, **{name: part.to(device) for name, part in parts.items()})

    def minibatches(self, order: Tensor, size: int) -> Iterator[tuple[Tensor | Rows, Tensor]]:
        """The training examples in the ``order`` of a pass, int64 [n], ``size`` at a time; the last may be fewer."""
        order = order.to(self.train_y.device)
        if isinstance(self.train_x, SparseRows):  # gathered once a pass: then a minibatch is a slice
            yield from zip(
                self.train_x.index_select(0, order).split(size), self.train_y[order].split(size), strict=True
            )
        else:
            for batch in order.split(size):  # index_select takes rows in half the time of indexing
                yield self.train_x.index_select(0, batch), self.train_y.index_select(0, batch)


def default_root() -> Path:
    """Where data sets lie: the environment variable ADAM_REPRO_DATA, else ``data/`` in the project."""
    return Path(os.environ.get("ADAM_REPRO_DATA") or PROJECT_ROOT / "data")
