"""log(1 + exp(x)) on the CPU several times as fast as ``torch.nn.functional.softplus``, which waits for its log1p.

Value and slope share an exponential and are formed in one pass, in compiled programs with a logarithm of our own.
Automatic differentiation does not see through them: a backward pass multiplies by the slope.
"""

from __future__ import annotations

import torch
from torch import Tensor


def softplus_and_slope(x: Tensor) -> tuple[Tensor, Tensor]:
    """log(1 + exp(x)) elementwise, as exact as the dtype allows, for x of any size and either sign; and its derivative,
    the logistic function. Shapes: as x."""
    small = (-x.abs()).exp()
    return x.clamp(min=0) + _log1p(small), torch.where(x < 0, small, 1) / (1 + small)


def _log1p(x: Tensor) -> Tensor:
    """log(1 + x) for x in [0, 1]."""
    if not torch.compiler.is_compiling() or x.dtype != torch.float32:
        return x.log1p()
    # log(1 + x) / x as the polynomial that meets it in Chebyshev's ten points of [0, 1]: off by 6e-9 of it at most, a
    # tenth of what float32 rounds off. As literals: PyTorch's compiler would hand numbers with a name over as tensors.
    quotient: Tensor | float = -0.00317605705
    for coefficient in (
        0.0195425274,
        -0.0563736132,
        0.105436238,
        -0.152696671,
        0.196632743,
        -0.249516163,
        0.333297105,
        -0.499998926,
        0.999999995,
    ):
        quotient = quotient * x + coefficient
    return quotient * x


def cross_entropy_and_slope(logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """The Bernoulli cross-entropy of ``targets`` in [0, 1], summed over each row; and its derivative with respect to
    ``logits``. Shapes: both [rows, columns], the result [rows] and [rows, columns]."""
    value, slope = softplus_and_slope(logits)
    return (value - logits * targets).sum(1), slope - targets
