"""Data sets of a few examples, for tests that train: ``dataset._target_=tiny_data.load``."""

from __future__ import annotations

import dataclasses

import torch

from adam_repro.data import Dataset
from adam_repro.sparse import SparseRows

FEATURES, CLASSES = 6, 3
WORDS = 12


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


def sparse_rows(rows: list[list[int]], width: int) -> SparseRows:
    """The words of each row, which may have none."""
    starts = torch.tensor([0, *(len(row) for row in rows)]).cumsum(0)
    return SparseRows(torch.tensor([column for row in rows for column in row], dtype=torch.int64), starts, width)


def tiny_words(train: int = 28, test: int = 10) -> Dataset:
    """Reviews of up to twelve words, a few of none, in two classes that depend on one word and on noise."""
    places = torch.arange((train + test) * WORDS, dtype=torch.float64).view(-1, WORDS)
    present = (torch.sin(places**1.5) > 0.3) & (torch.arange(train + test) % 7 > 0)[:, None]
    x = sparse_rows([row.nonzero().flatten().tolist() for row in present], WORDS)
    y = (present[:, 0] + torch.sin(places[:, 0] ** 1.7) > 0.5).long()
    return Dataset("words", "synthetic", "of no file", x[:train], y[:train], x[train:], y[train:])


def tiny_images(train: int = 16, test: int = 4) -> Dataset:
    """Coloured images of the CNN's size, in ten classes that they know nothing of."""
    x = torch.sin(torch.arange((train + test) * 3 * 32 * 32, dtype=torch.float64) ** 1.1).view(-1, 3, 32, 32).float()
    y = torch.arange(train + test) % 10
    return Dataset("images", "synthetic", "of no file", x[:train], y[:train], x[train:], y[train:])


def tiny_pixels(train: int = 28, test: int = 10, *, dtype: torch.dtype = torch.float32) -> Dataset:
    """``tiny()`` with its numbers moved into [0, 1], as pixels are."""
    data = tiny(train, test, dtype=dtype)
    return dataclasses.replace(data, train_x=(data.train_x + 1) / 2, test_x=(data.test_x + 1) / 2)


def load_words(**settings) -> Dataset:
    return tiny_words()


def load_images(**settings) -> Dataset:
    return tiny_images()


def load_pixels(**settings) -> Dataset:
    return tiny_pixels()
