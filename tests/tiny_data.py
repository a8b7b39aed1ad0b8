"""A data set of a few examples, for tests that train: ``dataset._target_=tiny_data.load``."""

from __future__ import annotations

import torch

from adam_repro.data import Dataset

FEATURES, CLASSES = 6, 3


def tiny(train: int = 28, test: int = 10, *, dtype: torch.dtype = torch.float32) -> Dataset:
    """Points in [-1, 1]^6 whose class depends on their first two coordinates and on noise; equal on every machine."""
    x = torch.sin(torch.arange((train + test) * FEATURES, dtype=torch.float64) ** 1.5).view(-1, FEATURES)
    noise = torch.sin(torch.arange(train + test, dtype=torch.float64) ** 1.7)
    y = (2 * (x[:, 0] + noise > 0).long() + (x[:, 1] > 0).long()).clamp(max=CLASSES - 1)
    x = x.to(dtype)
    return Dataset("tiny", "synthetic", "of no file", x[:train], y[:train], x[train:], y[train:])


def load(*, root: str, stand_in: str) -> Dataset:
    """``tiny()`` by the signature of a data set's loader."""
    return tiny()


OVERRIDES = (f"dataset._target_={__name__}.load", f"model.in_features={FEATURES}", f"model.classes={CLASSES}")
"""What makes a composed logistic regression one on these data."""
