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
DRAWS = (60, 240)  # how many words are drawn for a review; some are repetitions
FLATTENED = 3.0  # the most frequent words are less frequent than Zipf's law has them (Mandelbrot's form of it)
SILENT = 0.02  # the share of words, the most frequent ones, that are as frequent in either class
TELLING = 0.7  # standard deviation of the other words' log odds
TURNED = 0.08  # the share of reviews with the wrong label, without which the classes could soon be told apart


@functools.cache
def load(words: int = 10_000) -> Dataset:
    """8,000 training and 2,000 test rows of ``words`` zeros and ones, about half of each class.

    A review is a number of draws from its class's distribution of words, of which word j, from 0, has a share that
    falls like 1 / (3 + j) (Zipf's law). The most frequent words are as frequent in either class; the log odds of the
    others are normal, so that what tells classes apart is in words seen seldom. Some labels are wrong.
    """
    randomness = generator(0, 0, "stand-in reviews")
    share = 1 / (FLATTENED + torch.arange(words, dtype=torch.float64))
    log_odds = TELLING * torch.randn(words, generator=randomness, dtype=torch.float64)
    log_odds[: int(SILENT * words)] = 0
    classes = torch.stack((share * (-log_odds / 2).exp(), share * (log_odds / 2).exp()))
    bags, labels = {}, {}
    for part, size in (("train", TRAIN), ("test", TEST)):
        kind = torch.randint(2, (size,), generator=randomness)
        turned = torch.rand(size, generator=randomness, dtype=torch.float64) < TURNED
        bags[part], labels[part] = _drawn(classes, kind, randomness), kind ^ turned.long()
    parameters = (VERSION, words, TRAIN, TEST, DRAWS, FLATTENED, SILENT, TELLING, TURNED)
    # Of the parameters, not of the result: exponentials may differ in a last bit between machines.
    checksum = hashlib.sha256(repr(parameters).encode()).hexdigest()
    return Dataset("zipf", "stand-in", checksum, bags["train"], labels["train"], bags["test"], labels["test"])


def _drawn(classes: Tensor, kind: Tensor, randomness: torch.Generator) -> SparseRows:
    """For each review's ``kind`` a row of the words drawn from that row of ``classes`` [2, words], unnormalised."""
    words = classes.shape[1]
    draws = torch.randint(*DRAWS, kind.shape, generator=randomness)
    row = torch.arange(len(kind)).repeat_interleave(draws)
    ends = (classes / classes.sum(1, keepdim=True)).flatten().cumsum(0)  # class 0 ends at 1, class 1 at 2
    where = torch.rand(len(row), generator=randomness, dtype=torch.float64) + kind[row]
    word = torch.searchsorted(ends, where, right=True).clamp(max=2 * words - 1) % words
    found = (row * words + word).unique()  # sorted: by row, then by word
    lengths = torch.bincount(found // words, minlength=len(kind))
    return SparseRows(found % words, torch.cat((lengths.new_zeros(1), lengths.cumsum(0))), words)
