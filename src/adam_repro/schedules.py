"""Step-size schedules: the factor on `lr` at step t of epoch e, both counted from 1.

A schedule is a pure function of (t, epoch). Python numbers give a float. Tensors of one shape, say
for all steps of an epoch, give a float64 tensor of that shape.
"""

from __future__ import annotations

from typing import TypeVar

import torch
from torch import Tensor

Number = TypeVar("Number", float, Tensor)


def constant(t: Number, epoch: Number) -> Number:
    """alpha_t = alpha, as Algorithms 1 and 2 of the paper have it."""
    return torch.ones_like(t, dtype=torch.float64) if isinstance(t, Tensor) else 1.0


def inverse_sqrt_step(t: Number, epoch: Number) -> Number:
    """alpha_t = alpha / sqrt(t), with t the number of the update.

    Theorem 4.1 assumes it (section 4), and section 6.1 states it for the logistic regressions.
    """
    return _inverse_sqrt(t)


def inverse_sqrt_epoch(t: Number, epoch: Number) -> Number:
    """alpha_e = alpha / sqrt(e), with e the number of the pass over the data.

    The other reading of section 6.1, which does not say what its t counts; section 4 counts updates.
    """
    return _inverse_sqrt(epoch)


def missing_correction(t: Number, epoch: Number, *, beta1: float, beta2: float) -> Number:
    """alpha_t = alpha (1 - beta1^t) / sqrt(1 - beta2^t): Adam's steps as they are without bias correction.

    Section 3's argument, turned into a schedule: with it Adam repeats what it does without correction, but for eps.
    """
    t = t.double() if isinstance(t, Tensor) else t
    return (1 - beta1**t) / (1 - beta2**t) ** 0.5


def _inverse_sqrt(n: Number) -> Number:
    return (n.double() if isinstance(n, Tensor) else n) ** -0.5
