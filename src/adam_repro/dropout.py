"""Dropout whose masks cost little: Srivastava et al. 2014, in the inverted form.

On a CPU, ``torch.nn.Dropout`` spends a fifth of a fully connected network's step on drawing one Bernoulli number an
element. Here eight or four elements share a random integer of 64 bits.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn


def kept(n: int, p: float, device: torch.device | None = None) -> Tensor:
    """Which of ``n`` elements stay when each is left out with probability ``p``: bool [n].

    A probability that is a multiple of 1/256 takes a byte an element and is exact; any other takes two bytes and is
    exact to 1/131,072 (to 1/65,536 next to 1). Drawn from torch's default generator.
    """
    dtype, values = (torch.uint8, 2**8) if (p * 2**8).is_integer() else (torch.uint16, 2**16)
    per_integer = 8 // dtype.itemsize
    bits = torch.empty(-(-n // per_integer), dtype=torch.int64, device=device)
    bits.random_(-(2**63), None)  # all 64 bits
    signed = {torch.uint8: torch.int8, torch.uint16: torch.int16}[dtype]  # comparisons of these are vectorised,
    left_out = min(round(p * values), values - 1)  # of so many values; all of them would not fit the comparison's type
    stays = bits.view(signed)[:n].ge_(left_out - values // 2)  # if their result is, too
    return stays.view(torch.bool) if signed is torch.int8 else stays.bool()


def checked_rate(p: float) -> float:
    """p as a float; ValueError unless 0 <= p < 1."""
    if not 0 <= p < 1:
        raise ValueError(f"a dropout rate of {p} is not allowed: give a number with 0 <= p < 1.")
    return float(p)


class Dropout(nn.Module):
    """Leave each element of a training step out with probability ``p`` and scale the others by 1 / (1 - p).

    Evaluation needs no scaling then. Shapes: any, the same out as in. ValueError unless 0 <= p < 1.
    """

    def __init__(self, p: float):
        super().__init__()
        self.p = checked_rate(p)

    def forward(self, x: Tensor) -> Tensor:
        stays = self.draw(x.shape, x.device)
        return x if stays is None else x * stays.to(x.dtype).mul_(self.scale)

    @property
    def scale(self) -> float:
        """What elements that stay are multiplied by."""
        return 1 / (1 - self.p) if self.training else 1.0

    def draw(self, shape: Sequence[int], device: torch.device) -> Tensor | None:
        """1 for each element that stays, 0 for the others, int8 of ``shape``; None where all stay."""
        if not self.training or self.p == 0:
            return None
        stays = kept(math.prod(shape), self.p, device)
        return stays.view(torch.int8).view(shape)  # of int8 torch makes floats seven times as fast as of bool

    def extra_repr(self) -> str:
        return f"p={self.p:g}"
