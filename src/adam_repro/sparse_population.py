"""Logistic regression on a sparse bag of words for K members at once: see ``population`` for the dense one.

Here a word is a row: weights lie as [words, k], one block for each rule, so that a review gathers whole rows of numbers
and its gradient is added to whole rows. Members share minibatches and dropout noise, which is drawn for the words that
are there and for no others. Nothing is ever made dense but the weights, their gradient and the rules' memory.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from adam_repro.compilation import compiled_in_long_runs
from adam_repro.dropout import checked_rate
from adam_repro.members import InStep, Member, segments_of, update_of, vector
from adam_repro.memory import EVALUATION_CHUNK
from adam_repro.sparse import SparseRows


class SparsePopulation(InStep):
    """K logistic regressions (``models.LogisticRegression``) in step; a learner for ``training.train``.

    ``members`` are kept in the order of their rules: ``self.members`` says which row of a result is whose.
    A member that diverges keeps its place and computes on in NaN.
    """

    def __init__(
        self,
        members: Sequence[Member],
        *,
        in_features: int,
        input_dropout: float,
        dtype: torch.dtype = torch.float32,
    ):
        self.segments = segments_of(members, dtype, reciprocals=True)  # most of a step is the update of all words
        self.members = [member for segment in self.segments for member in segment.members]
        self.size, self.input_dropout = len(self.members), checked_rate(input_dropout)
        sizes = [segment.size for segment in self.segments]
        self.weights = [torch.zeros(in_features, k, dtype=dtype) for k in sizes]
        self.biases = [torch.zeros(k, dtype=dtype) for k in sizes]
        self.l2 = vector([member.l2 for member in self.members]).to(dtype)
        self._decays = [*self.l2.split(sizes), *(torch.zeros_like(bias) for bias in self.biases)]
        self._thetas = [*self.weights, *self.biases]
        self._states = [segment.state_of(theta) for segment, theta in zip(2 * self.segments, self._thetas, strict=True)]
        self._update = update_of(tuple(segment.staged.elementwise for segment in 2 * self.segments))

    @torch.no_grad()
    def begin_epoch(self, epoch: int, steps: range) -> None:
        """Evaluate every coefficient of the epoch's ``steps`` (t, counted from 1) at once, in float64."""
        self._coefficients = zip(*(segment.coefficients(steps, epoch) for segment in self.segments), strict=True)

    @torch.no_grad()
    def step(self, x: SparseRows, y: Tensor) -> Tensor:
        """One update of all members on the minibatch x [batch, in], y [batch]; their costs before it, [K]."""
        x = x.dropped(self.input_dropout)
        costs, error = cost_and_error(_logits(x, self._thetas), y)
        sizes = [len(bias) for bias in self.biases]
        gradients = [x.transposed_times(part) for part in error.split(sizes, dim=1)]
        gradients += error.sum(0).split(sizes)
        self._update(self._thetas, gradients, self._decays, self._states, 2 * next(self._coefficients))
        return costs

    @torch.no_grad()
    def evaluate(self, x: SparseRows, y: Tensor) -> tuple[Tensor, Tensor]:
        """Mean cost and accuracy of each member over all examples, [K] and [K], in float64."""
        thetas = self.judged_blocks()
        loss, correct = torch.zeros(2, self.size, dtype=torch.float64)
        for part, labels in zip(x.split(EVALUATION_CHUNK), y.split(EVALUATION_CHUNK), strict=True):
            costs, hits = costs_and_hits(_logits(part, thetas), labels)
            loss += costs
            correct += hits
        return loss / len(y), correct / len(y)

    def penalty(self) -> Tensor:
        """(lambda / 2) times the sum of squared weights, biases left out, [K]."""
        return (
            self.l2.double() / 2 * torch.cat([weight.square().sum(0, dtype=torch.float64) for weight in self.weights])
        )


def _logits(x: SparseRows, thetas: Sequence[Tensor]) -> Tensor:
    """The logit of class 1 for every example and member, [batch, K]; ``thetas``: all weights, then all biases."""
    half = len(thetas) // 2
    return torch.cat([x.times(weight) + bias for weight, bias in zip(thetas[:half], thetas[half:], strict=True)], 1)


@compiled_in_long_runs
def cost_and_error(logits: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Mean cross-entropy [K] of ``logits`` [batch, K], and its gradient: (probability of class 1 - y) / batch."""
    return _cross_entropy(logits, y).mean(0), (logits.sigmoid() - y[:, None]) / len(y)


@compiled_in_long_runs
def costs_and_hits(logits: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Sum of the cross-entropies of ``logits`` [batch, K], in float64, and number of right answers, [K]."""
    return _cross_entropy(logits, y).sum(0, dtype=torch.float64), ((logits > 0) == y[:, None].bool()).sum(0)


def _cross_entropy(logits: Tensor, y: Tensor) -> Tensor:
    """-log of the probability of the right class, [batch, K]."""
    towards_right = torch.where(y[:, None].bool(), logits, -logits)
    return (-towards_right).clamp(min=0) + torch.log1p((-towards_right.abs()).exp())
