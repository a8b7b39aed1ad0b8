"""A bag of words for a GPU, where what a step computes must not depend on numbers that are to be read back first."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from adam_repro.dropout import kept
from adam_repro.sparse import SparseRows


@dataclass(frozen=True)
class PaddedRows:
    """What ``SparseRows`` are, with as many places in each row as the longest row has ones.

    Shapes therefore are known before any number is, so that nothing waits for the device and a step fits a CUDA graph.
    ``columns`` is int32 [rows, places]; a place without a one has a column behind the matrix, ``width`` + place. Such
    columns differ from place to place, or sums into them would queue for one address.
    """

    columns: Tensor
    width: int
    scale: float = 1.0

    @classmethod
    def of(cls, rows: SparseRows) -> PaddedRows:
        """The same matrix."""
        lengths = rows.lengths.long()
        places = int(lengths.max()) if len(rows) else 0
        columns = rows.width + torch.arange(places, dtype=torch.int32).repeat(len(rows), 1)
        columns[torch.arange(places) < lengths[:, None]] = rows.columns
        return cls(columns, rows.width, rows.scale)

    def __len__(self) -> int:
        return len(self.columns)

    @property
    def shape(self) -> torch.Size:
        return torch.Size((len(self), self.width))

    @property
    def nbytes(self) -> int:
        return self.columns.nbytes

    def __getitem__(self, part: slice) -> PaddedRows:
        return replace(self, columns=self.columns[part])

    def split(self, size: int) -> list[PaddedRows]:
        return [replace(self, columns=columns) for columns in self.columns.split(size)]

    def index_select(self, dim: int, index: Tensor) -> PaddedRows:
        """The rows of ``index`` int64 [n], in that order; ``dim`` is 0, as for a tensor's rows."""
        return replace(self, columns=self.columns.index_select(dim, index))

    def to(self, device: torch.device | str) -> PaddedRows:
        return replace(self, columns=self.columns.to(device))

    def clone(self) -> PaddedRows:
        return replace(self, columns=self.columns.clone())

    def copy_(self, other: PaddedRows) -> None:
        """Take the ones of ``other``, of equal shape and scale."""
        self.columns.copy_(other.columns)

    def dropped(self, p: float) -> PaddedRows:
        """Inverted dropout with probability ``p``: a one that is left out is a place without one."""
        if p == 0:
            return self
        stays = kept(self.columns.numel(), p, self.columns.device).view(self.columns.shape)
        return replace(self, columns=torch.where(stays, self.columns, self._behind()), scale=self.scale / (1 - p))

    def times(self, weight: Tensor) -> Tensor:
        """This matrix [rows, width] times ``weight`` [width, n]: [rows, n]."""
        padded = torch.nn.functional.pad(weight, (0, 0, 0, self._places))
        found = padded.index_select(0, self.columns.view(-1)).view(len(self), self._places, weight.shape[1])
        return found.sum(1) * self.scale

    def transposed_times(self, g: Tensor) -> Tensor:
        """The transpose of this matrix times ``g`` [rows, n]: [width, n]."""
        sums = g.new_zeros(self.width + self._places, g.shape[1])
        at_each_place = g[:, None].expand(-1, self._places, -1).reshape(-1, g.shape[1])
        return sums.index_add_(0, self.columns.view(-1), at_each_place, alpha=self.scale)[: self.width]

    @property
    def _places(self) -> int:
        return self.columns.shape[1]

    def _behind(self) -> Tensor:
        """The column that each place has where it has no one, int32 [places]."""
        behind = torch.arange(self._places, dtype=torch.int32, device=self.columns.device)
        return self.width + behind


Rows = SparseRows | PaddedRows
"""A bag of words, on cores or on a GPU."""


class SparseTimes(torch.autograd.Function):
    """``rows.times(weight)`` with a gradient for ``weight`` [width, n]."""

    @staticmethod
    def forward(ctx: Any, rows: Rows, weight: Tensor) -> Tensor:
        ctx.rows = rows
        return rows.times(weight)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[None, Tensor]:
        return None, ctx.rows.transposed_times(gradients[0])
