"""log(1 + exp(x)) on the CPU several times as fast as ``torch.nn.functional.softplus``, which waits for its log1p.

Value and slope share an exponential: both are formed in one pass, and the backward pass is a product. There are no
second derivatives.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from adam_repro.compilation import compiled


def softplus(x: Tensor) -> Tensor:
    """log(1 + exp(x)) elementwise, as exact as the dtype allows, for x of any size and either sign."""
    return _Softplus.apply(x)


def bernoulli_cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """The cross-entropy of ``targets`` in [0, 1], summed over each row; both are [rows, columns], the result [rows].

    The gradient reaches ``logits`` alone.
    """
    return _BernoulliCrossEntropy.apply(logits, targets)


class _Softplus(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        value, slope = _compiled_value_and_slope(x)
        ctx.save_for_backward(slope)
        return value

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        (slope,) = ctx.saved_tensors
        return slope * gradients[0]


class _BernoulliCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, logits: Tensor, targets: Tensor) -> Tensor:
        costs, slope = _compiled_costs_and_slope(logits, targets)
        ctx.save_for_backward(slope)
        return costs

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (slope,) = ctx.saved_tensors
        return slope * gradients[0][:, None], None


def _value_and_slope(x: Tensor) -> tuple[Tensor, Tensor]:
    """log(1 + exp(x)) and its derivative, the logistic function."""
    small = (-x.abs()).exp()
    rounded = 1 + small
    lost = (rounded - 1) - small  # by rounding: the logarithm's derivative makes up for it
    value = x.clamp(min=0) + (rounded.log() - lost / rounded)
    return value, torch.where(x < 0, small, 1) / rounded


_compiled_value_and_slope = compiled(_value_and_slope, dynamic=True)


def _costs_and_slope(logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    value, slope = _value_and_slope(logits)
    return (value - logits * targets).sum(1), slope - targets


_compiled_costs_and_slope = compiled(_costs_and_slope, dynamic=True)
