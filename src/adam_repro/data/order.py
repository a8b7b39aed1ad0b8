"""All randomness of a run, as functions of (seed, epoch, purpose): no generator's state is ever stored.

Runs of equal seed therefore see equal initial parameters, minibatches and noise whatever their optimizer, whether
they run alone, in a population, or resumed.
"""

from __future__ import annotations

import hashlib

import torch
from torch import Tensor


def generator(seed: int, epoch: int, purpose: str) -> torch.Generator:
    """A fresh generator that depends on nothing but its arguments; equal on every machine."""
    digest = hashlib.sha256(f"{purpose}:{seed}:{epoch}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)


def epoch_order(n: int, seed: int, epoch: int) -> Tensor:
    """The order in which pass ``epoch`` (from 1) goes through ``n`` examples: a permutation, int64 [n]."""
    return torch.randperm(n, generator=generator(seed, epoch, "order"))


def seed_noise(seed: int, epoch: int, purpose: str) -> None:
    """Set what torch draws from by default, such as dropout masks, for one ``purpose`` in one pass of one run."""
    torch.manual_seed(generator(seed, epoch, purpose).initial_seed())


def fixed_subset(n: int, size: int) -> Tensor:
    """``size`` of ``n`` examples (all of them where n is smaller), the same for every run: sorted indices, int64."""
    return torch.randperm(n, generator=generator(0, 0, "fixed subset"))[:size].sort().values
