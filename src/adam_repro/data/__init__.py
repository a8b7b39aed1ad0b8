"""Data sets, each resident in memory as a few tensors."""

from __future__ import annotations

import dataclasses
import os
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from adam_repro.surroundings import PROJECT_ROOT


@dataclass(frozen=True)
class Dataset:
    """A data set as the training loop wants it.

    ``train_x`` and ``test_x`` are float32 of shape [examples, features...], ``train_y`` and ``test_y`` int64 class
    numbers of shape [examples]. ``provenance`` is "real" or "stand-in" and travels to every record and figure;
    ``checksum`` identifies the decoded data and is part of each run's identity.
    """

    name: str
    provenance: str
    checksum: str
    train_x: Tensor
    train_y: Tensor
    test_x: Tensor
    test_y: Tensor

    def head(self, n: int) -> Dataset:
        """The same data with the first ``n`` training examples only."""
        return dataclasses.replace(self, train_x=self.train_x[:n], train_y=self.train_y[:n])


def default_root() -> Path:
    """Where data sets lie: the environment variable ADAM_REPRO_DATA, else ``data/`` in the project."""
    return Path(os.environ.get("ADAM_REPRO_DATA") or PROJECT_ROOT / "data")
