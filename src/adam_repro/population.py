"""Softmax regression for K members at once: one program trains K optimizers on the same minibatches.

All members see the same minibatches, so their logits are one product, X [batch, in] with the weights of all members
side by side, and so is their gradient. What is left is elementwise and runs as two compiled loops: the softmax with
its gradient, and the update of every rule for every member.

Weights lie in memory as [K, classes, width], a member after the other, as K ``nn.Linear`` layers would. The bias is the
weight of a further input that is constantly one, and inputs that are constantly zero fill the rows up to whole vectors:
width is in + 1, rounded up to a multiple of 16. With examples innermost ([K, classes, batch]) the softmax reduces
over classes in full vectors for any K, a hyper-parameter is one number for a contiguous block of weights, and a
member's weights are one slice.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from adam_repro.compilation import compiled_in_long_runs
from adam_repro.members import InStep, Member, segments_of, update_of, vector
from adam_repro.memory import EVALUATION_CHUNK
from adam_repro.products import product

VECTOR = 16  # float32 numbers in the widest vector register


class SoftmaxRegressions:
    """K softmax regressions in step; what moves their weights is a subclass's. A learner for ``training.train``.

    A member that diverges keeps its place and computes on in NaN.
    """

    def __init__(self, l2: Sequence[float], *, in_features: int, classes: int, dtype: torch.dtype = torch.float32):
        self.size = len(l2)
        self.in_features = in_features
        width = -(-(in_features + 1) // VECTOR) * VECTOR
        self.theta = torch.zeros(self.size, classes, width, dtype=dtype)
        self.l2 = vector(l2).to(dtype)
        self.decay = self.l2[:, None, None].repeat(1, 1, width)
        self.decay[..., in_features] = 0
        self._inputs = torch.empty(0)

    def descend(self, gradient: Tensor) -> None:
        """Move ``theta`` by the ``gradient`` of the costs, [K, classes, width], to which the L2 term's is to be added:
        ``decay * theta``."""
        raise NotImplementedError

    def judged(self) -> Tensor:
        """The parameters that are evaluated, [K, classes, width]."""
        return self.theta

    @torch.no_grad()
    def step(self, x: Tensor, y: Tensor) -> Tensor:
        """One update of all members on the minibatch x [batch, in], y [batch]; their costs before it, [K]."""
        inputs = self._filled_up(x)
        logits = product(self.theta.flatten(0, 1), inputs)
        costs, error = cost_and_error(logits.view(self.size, -1, len(y)), y)
        self.descend(product(error.view(-1, len(y)), inputs.t()).view_as(self.theta))
        return costs

    @torch.no_grad()
    def evaluate(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Mean cost and accuracy of each member over all examples, [K] and [K], in float64."""
        theta = self.judged()
        weight = theta[..., : self.in_features].flatten(0, 1)
        bias = theta[..., self.in_features].flatten()[:, None]
        loss, correct = torch.zeros(2, self.size, dtype=torch.float64)
        for part, labels in zip(x.split(EVALUATION_CHUNK), y.split(EVALUATION_CHUNK), strict=True):
            logits = product(weight, part).add_(bias)
            costs, hits = costs_and_hits(logits.view(self.size, -1, len(labels)), labels)
            loss += costs
            correct += hits
        return loss / len(y), correct / len(y)

    def penalty(self) -> Tensor:
        """(lambda / 2) times the sum of squared weights, biases left out, [K]."""
        return self.l2.double() / 2 * (self.weight.double() ** 2).sum((1, 2))

    @property
    def weight(self) -> Tensor:
        """Every member's weights, [K, classes, in]."""
        return self.theta[..., : self.in_features]

    def _filled_up(self, x: Tensor) -> Tensor:
        """x with a column of ones and columns of zeros, in a buffer that the next minibatch of this size reuses."""
        if len(self._inputs) != len(x):
            self._inputs = torch.zeros(len(x), self.theta.shape[-1], dtype=self.theta.dtype)
            self._inputs[:, self.in_features] = 1
        self._inputs[:, : self.in_features] = x
        return self._inputs


class Population(InStep, SoftmaxRegressions):
    """K softmax regressions whose optimizers are rules of this package: all are updated by one compiled loop.

    ``members`` are kept in the order of their rules: ``self.members`` says which row of a result is whose.
    """

    def __init__(
        self, members: Sequence[Member], *, in_features: int, classes: int, dtype: torch.dtype = torch.float32
    ):
        self.segments = segments_of(members, dtype)
        self.members = [member for segment in self.segments for member in segment.members]
        l2 = [member.l2 for member in self.members]
        super().__init__(l2, in_features=in_features, classes=classes, dtype=dtype)
        self._sizes = [segment.size for segment in self.segments]
        self._thetas, self._decays = self.theta.split(self._sizes), self.decay.split(self._sizes)
        self._states = [segment.state_of(theta) for segment, theta in zip(self.segments, self._thetas, strict=True)]
        self._update = update_of(tuple(segment.staged.elementwise for segment in self.segments))

    @torch.no_grad()
    def begin_epoch(self, epoch: int, steps: range) -> None:
        """Evaluate every coefficient of the epoch's ``steps`` (t, counted from 1) at once, in float64."""
        every = ([step[..., None, None] for step in segment.coefficients(steps, epoch)] for segment in self.segments)
        self._coefficients = zip(*every, strict=True)

    def judged(self) -> Tensor:
        return torch.cat(self.judged_blocks())

    def descend(self, gradient: Tensor) -> None:
        gradients = gradient.split(self._sizes)
        self._update(self._thetas, gradients, self._decays, self._states, next(self._coefficients))


@compiled_in_long_runs
def cost_and_error(logits: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Mean cross-entropy [K] of ``logits`` [K, classes, batch], and its gradient: (softmax - onehot) / batch."""
    costs, softmax, onehot = _cross_entropy(logits, y)
    return costs.mean(1), (softmax - onehot.to(logits.dtype)) / logits.shape[2]


@compiled_in_long_runs
def costs_and_hits(logits: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Sum of the cross-entropies of ``logits`` [K, classes, batch], in float64, and number of right answers, [K]."""
    costs, _, _ = _cross_entropy(logits, y)
    return costs.sum(1, dtype=torch.float64), (logits.argmax(1) == y).sum(1)


def _cross_entropy(logits: Tensor, y: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Cross-entropy of each example [K, batch]; softmax [K, classes, batch] and onehot [classes, batch]."""
    onehot = torch.arange(logits.shape[1])[:, None] == y
    shifted = logits - logits.amax(1, keepdim=True)
    exponentials = shifted.exp()
    total = exponentials.sum(1, keepdim=True)
    costs = total.log().squeeze(1) - shifted.where(onehot, 0).sum(1)  # a product would make 0 * -inf a NaN
    return costs, exponentials / total, onehot
