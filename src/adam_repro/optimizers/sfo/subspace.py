"""The shared, adaptive, low-dimensional representation: a few directions of the space of parameters."""

from __future__ import annotations

import math

import torch
from torch import Tensor

ROUNDINGS = 100  # a direction this many roundings long, or shorter, beside what it was left of is none
COLUMNS_AT_ONCE = 2**15


class Subspace:
    """The span of K orthonormal directions, of at most ``most``, in D dimensions.

    P [most, D] has the directions as its rows, in the dtype and on the device of the parameters; coordinates are
    float64 on the CPU, of shape [most], zero from K on, so that they stay what they are when K grows. P is all that
    is as large as D here: most * D numbers.
    """

    def __init__(self, most: int, like: Tensor):
        self.P, self.K, self.most = like.new_empty(most, like.numel()), 0, most

    def vector(self, coordinates: Tensor) -> Tensor:
        """P^T c: what has these ``coordinates`` [most], a vector [D]."""
        return self.P[: self.K].T @ coordinates[: self.K].to(self.P)

    def coordinates(self, vector: Tensor) -> Tensor:
        """P v: the coordinates [most] of what of ``vector`` [D] lies in the subspace."""
        result = torch.zeros(self.most, dtype=torch.float64)
        result[: self.K] = (self.P[: self.K] @ vector).cpu()
        return result

    def extended(self, vector: Tensor) -> Tensor:
        """The coordinates of ``vector`` [D], after what of it lies outside has become a direction of its own."""
        inside = self.coordinates(vector)
        outside = vector - self.vector(inside)
        whole, length = vector.norm().item(), outside.norm().item()
        if length < whole / math.sqrt(2):  # much was taken away, and its rounding is left
            more = self.coordinates(outside)
            inside += more
            outside -= self.vector(more)
            length = outside.norm().item()
        if length > ROUNDINGS * torch.finfo(vector.dtype).eps * whole:
            torch.div(outside, length, out=self.P[self.K])
            inside[self.K] = length
            self.K += 1
        return inside

    def collapse(self, spanning: Tensor) -> Tensor:
        """Keep the span of vectors alone, whose coordinates are the rows of ``spanning`` [n, most].

        Returns R [most, most]: what had the coordinates c has R c now, as far as it lies in that span.
        """
        Q, _ = torch.linalg.qr(spanning[:, : self.K].T)
        kept = Q.shape[1]
        turn = Q.T.to(self.P)
        for columns in self.P.split(COLUMNS_AT_ONCE, dim=1):  # in place: P is too large for two of it
            columns[:kept] = turn @ columns[: self.K]
        R = torch.zeros(self.most, self.most, dtype=torch.float64)
        R[:kept, : self.K] = Q.T
        self.K = kept
        return R
