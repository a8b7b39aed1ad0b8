"""A bag of words: rows that are mostly zeros, of which only the columns of the ones are kept."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from scipy.sparse import csr_matrix
from scipy.sparse._sparsetools import csc_matvecs
from torch import Tensor

from adam_repro.dropout import kept


@dataclass(frozen=True)
class SparseRows:
    """A matrix [rows, width] of zeros and ones, times ``scale``, which indexes as a tensor does along dimension 0.

    The ones of row i stand in ``columns[starts[i]:starts[i + 1]]``; ``columns`` is int32 [ones], ``starts`` int32
    [rows + 1] from 0 to the number of ones. A row may be empty. Other integers given are converted.
    """

    columns: Tensor
    starts: Tensor
    width: int
    scale: float = 1.0

    def __post_init__(self) -> None:
        for name in ("columns", "starts"):
            object.__setattr__(self, name, getattr(self, name).int())

    def __len__(self) -> int:
        return len(self.starts) - 1

    @property
    def shape(self) -> torch.Size:
        return torch.Size((len(self), self.width))

    @property
    def nbytes(self) -> int:
        return self.columns.nbytes + self.starts.nbytes

    @property
    def lengths(self) -> Tensor:
        """The number of ones in each row, [rows]."""
        return self.starts.diff()

    def __getitem__(self, part: slice) -> SparseRows:
        first, last, step = part.indices(len(self))
        if step != 1:
            raise ValueError(f"sparse rows are sliced without gaps, and {part} has a step of {step}.")
        starts = self.starts[first : max(first, last) + 1]
        return SparseRows(self.columns[int(starts[0]) : int(starts[-1])], starts - starts[0], self.width, self.scale)

    def split(self, size: int) -> list[SparseRows]:
        return [self[first : first + size] for first in range(0, len(self), size)]

    def index_select(self, dim: int, index: Tensor) -> SparseRows:
        """The rows of ``index`` int64 [n], in that order; ``dim`` is 0, as for a tensor's rows."""
        unread = np.empty(len(self.columns), dtype=np.int8)
        matrix = csr_matrix((unread, self.columns.numpy(), self.starts.numpy()), shape=self.shape, copy=False)
        chosen = matrix[index.numpy()]  # copies row by row, where torch would look up every single word
        return SparseRows(torch.from_numpy(chosen.indices), torch.from_numpy(chosen.indptr), self.width, self.scale)

    def to_dense(self) -> Tensor:
        """The same as a float32 tensor [rows, width]."""
        dense = torch.zeros(self.shape)
        dense[torch.arange(len(self)).repeat_interleave(self.lengths), self.columns] = self.scale
        return dense

    def dropped(self, p: float) -> SparseRows:
        """Inverted dropout with probability ``p``: zeros stay zeros, so noise is drawn for the ones alone."""
        if p == 0:
            return self
        # By numpy, which finds and takes without a branch to mispredict at each word: torch takes twice the time.
        (places,) = kept(len(self.columns), p).numpy().nonzero()
        columns = torch.from_numpy(self.columns.numpy().take(places))
        starts = torch.from_numpy(np.searchsorted(places, self.starts.numpy()))
        return SparseRows(columns, starts, self.width, self.scale / (1 - p))

    def times(self, weight: Tensor) -> Tensor:
        """This matrix [rows, width] times ``weight`` [width, n]: [rows, n]."""
        sums = torch.nn.functional.embedding_bag(self.columns, weight, self.starts[:-1], mode="sum")
        return sums if self.scale == 1 else sums * self.scale

    def transposed_times(self, g: Tensor) -> Tensor:
        """The transpose of this matrix times ``g`` [rows, n]: [width, n]."""
        n, sums = g.shape[1], g.new_zeros(self.width, g.shape[1])
        ones = g.new_full((len(self.columns),), self.scale).numpy()
        # What ``csc_matrix @ g`` does behind its checks, which take longer; torch's scatter is five times slower.
        where = self.starts.numpy(), self.columns.numpy()
        csc_matvecs(self.width, len(self), n, *where, ones, g.contiguous().view(-1).numpy(), sums.view(-1).numpy())
        return sums
