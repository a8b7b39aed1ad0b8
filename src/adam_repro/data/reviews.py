"""The stand-in for IMDB: made-up reviews whose rare words tell their class."""

from __future__ import annotations

import functools
import hashlib

import torch
from torch import Tensor

from adam_repro.data import Dataset
from adam_repro.data.order import generator
from adam_repro.sparse import SparseRows

VERSION = 1  # part of the checksum: raise it with any change of what is below
TRAIN, TEST = 8_000, 2_000
MEAN_WORDS = 90  # in a review
MOST_LIKELY = 0.9
TELLING = 0.5  # spread of a rare word's log odds between the classes
RARE_FROM = 100  # words more frequent than the hundredth tell little


@functools.cache
def load(words: int) -> Dataset:
    """8,000 training and 2,000 test rows of ``words`` zeros and ones, half of each class.

    Word j is found in a share of the reviews that falls like 1 / j (Zipf's law). Frequent words are equally likely in
    both classes; the log odds of the others are normal, so that what tells classes apart is in words seen seldom.
    """
    randomness = generator(0, 0, "stand-in reviews")
    rank = torch.arange(1, words + 1, dtype=torch.float64)
    share = 1 / rank
    share = (share * (MEAN_WORDS / share.sum())).clamp(max=MOST_LIKELY)
    telling = TELLING * torch.randn(words, generator=randomness, dtype=torch.float64) * (rank > RARE_FROM)
    parts: list[SparseRows | Tensor] = []
    for size in (TRAIN, TEST):
        labels = torch.arange(size) % 2
        labels = labels[torch.randperm(size, generator=randomness)]
        parts += [_rows(share, telling, labels, randomness), labels]
    digest = hashlib.sha256(f"{VERSION} {words} {TRAIN} {TEST} {MEAN_WORDS} {TELLING} {RARE_FROM}".encode())
    return Dataset("zipf", "stand-in", digest.hexdigest(), *parts)


def _rows(share: Tensor, telling: Tensor, labels: Tensor, randomness: torch.Generator) -> SparseRows:
    """A row for each label: word j with probability ``share`` x exp(+-telling / 2), a few hundred rows at a time."""
    columns, lengths = [], []
    for part in labels.split(500):
        odds = torch.outer(2.0 * part - 1, telling / 2)
        words = torch.rand(len(part), len(share), generator=randomness) < (share * odds.exp()).clamp(max=MOST_LIKELY)
        columns.append(words.nonzero()[:, 1])
        lengths.append(words.sum(1))
    starts = torch.cat((torch.zeros(1, dtype=torch.int64), torch.cat(lengths).cumsum(0)))
    return SparseRows(torch.cat(columns), starts, len(share))
