"""The one training loop, and the learner that runs any torch optimizer in it.

A learner is K runs in step (K = 1 for an ordinary model; ``population.Population`` for many). ``train`` drives it:
the same minibatches in the same order for equal seeds, one row of results for each pass over the data.
"""

from __future__ import annotations

import inspect
import math
import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from typing import Any, Protocol, cast

import torch
from torch import Tensor, nn

from adam_repro.data import Dataset
from adam_repro.data.order import epoch_order, fixed_subset, seed_noise
from adam_repro.gradients import backward
from adam_repro.memory import EVALUATION_CHUNK
from adam_repro.padded import Rows

CLEAN_EXAMPLES = 10_000


class Learner(Protocol):
    """K runs that share their minibatches. Every Tensor it returns has shape [K].

    One that has a say in which minibatch it gets has a ``minibatches`` with the arguments of ``shuffled``.
    """

    size: int

    def begin_epoch(self, epoch: int, steps: range) -> None: ...
    def step(self, x: Any, y: Tensor) -> Tensor: ...
    def evaluate(self, x: Any, y: Tensor) -> tuple[Tensor, Tensor]: ...
    def penalty(self) -> Tensor: ...
    def state(self) -> Any:
        """All that the runs have learnt, as tensors and numbers in lists and dictionaries, not copied."""

    def restore(self, state: Any) -> None:
        """Go on from a ``state``, of a learner with the same members."""


class Model(Protocol):
    """A module with a ``cost`` and a ``judged``: see ``models``."""

    def cost(self, x: Any, y: Tensor) -> Tensor: ...
    def judged(self, x: Any, y: Tensor) -> tuple[Tensor, Tensor]: ...
    def parameters(self) -> Iterator[nn.Parameter]: ...
    def named_parameters(self) -> Iterator[tuple[str, nn.Parameter]]: ...
    def state_dict(self) -> dict[str, Any]: ...
    def load_state_dict(self, state_dict: Any) -> Any: ...
    def train(self) -> Any: ...
    def eval(self) -> Any: ...


@dataclass(frozen=True)
class Row:
    """Results of one epoch for K runs; every Tensor has shape [K] and dtype float64.

    Costs are means of the data term in nats per example (the L2 penalty stands apart). Row 0 holds the evaluations
    before the first step; its ``train_cost`` is NaN. ``diverged_step`` is the first step (t, from 1) whose minibatch
    cost was not finite, 0 for none so far.
    """

    epoch: int
    train_cost: Tensor
    train_loss: Tensor
    l2_penalty: Tensor
    test_loss: Tensor
    test_accuracy: Tensor
    diverged_step: Tensor
    train_seconds: float
    evaluation_seconds: float


def shuffled(data: Dataset, batch_size: int, *, seed: int, epoch: int) -> Iterator[tuple[Any, Tensor]]:
    """The minibatches of a pass, x and y of each: new ones in every pass, equal ones for equal seeds."""
    return data.minibatches(epoch_order(len(data.train_y), seed, epoch), batch_size)


def train(
    learner: Learner,
    data: Dataset,
    *,
    seed: int,
    epochs: int,
    batch_size: int,
    evaluate_at: Collection[int] | None,
    after: Row | None = None,
) -> Iterator[Row]:
    """Train for ``epochs`` passes over ``data``, a row a pass; ends early when every run has diverged.

    ``after`` is the last row of a training that was cut off, for a learner whose state was restored to that moment:
    the rows behind it come, bit for bit as they would have come (same machine, threads and members, on a CPU).

    ``train_cost`` is the mean over the pass's examples of the minibatch cost as the optimizer saw it, which is what
    the paper plots; the last, shorter minibatch counts by its examples. ``evaluate_at`` lists the epochs with clean
    evaluations (None: all of them; the last is always among them); elsewhere their columns are NaN.
    """
    n = len(data.train_y)
    clean = fixed_subset(n, CLEAN_EXAMPLES).to(data.train_y.device)
    clean_x, clean_y = data.train_x.index_select(0, clean), data.train_y[clean]
    steps = math.ceil(n / batch_size)
    minibatches = getattr(learner, "minibatches", shuffled)
    diverged = torch.zeros(learner.size, dtype=torch.int64) if after is None else after.diverged_step.clone()

    def row(epoch: int, train_cost: Tensor, began: float) -> Row:
        trained = time.perf_counter()
        train_loss = test_loss = test_accuracy = torch.full((learner.size,), math.nan, dtype=torch.float64)
        if evaluate_at is None or epoch in evaluate_at or epoch == epochs:
            seed_noise(seed, epoch, "evaluation")  # of models that are noisy there, too
            train_loss, _ = learner.evaluate(clean_x, clean_y)
            test_loss, test_accuracy = learner.evaluate(data.test_x, data.test_y)
        results = (train_cost, train_loss, learner.penalty(), test_loss, test_accuracy)
        return Row(epoch, *results, diverged.clone(), trained - began, time.perf_counter() - trained)

    if after is None:
        yield row(0, torch.full((learner.size,), math.nan, dtype=torch.float64), time.perf_counter())
    for epoch in range(1 if after is None else after.epoch + 1, epochs + 1):
        if diverged.all():
            return
        began = time.perf_counter()
        t = (epoch - 1) * steps
        seed_noise(seed, epoch, "noise")
        learner.begin_epoch(epoch, range(t + 1, t + 1 + steps))
        taken = [(learner.step(x, y), len(y)) for x, y in minibatches(data, batch_size, seed=seed, epoch=epoch)]
        costs = torch.stack([cost for cost, _ in taken]).cpu()  # the one wait for a device in an epoch
        examples = torch.tensor([size for _, size in taken], dtype=torch.float64)
        _note_divergence(diverged, costs, t)
        yield row(epoch, examples @ costs.double() / examples.sum(), began)


def _note_divergence(diverged: Tensor, costs: Tensor, t: int) -> None:
    """Enter into ``diverged`` [K] the first step of ``costs`` [steps, K] with a cost that is not finite."""
    bad = ~costs.isfinite()
    first = t + 1 + bad.int().argmax(0)
    newly = bad.any(0) & (diverged == 0)
    diverged[newly] = first[newly]


@torch.no_grad()
def judge(model: Model, x: Tensor | Rows, y: Tensor) -> tuple[Tensor, Tensor]:
    """Mean cost and accuracy of a model over all examples, [1] and [1], in float64."""
    model.eval()
    loss, correct = torch.zeros(2, 1, dtype=torch.float64, device=y.device)
    for part, labels in zip(x.split(EVALUATION_CHUNK), y.split(EVALUATION_CHUNK), strict=True):
        costs, hits = model.judged(part, labels)
        loss += costs.sum(dtype=torch.float64)
        correct += hits.sum(dtype=torch.float64)
    model.train()
    return loss.cpu() / len(y), correct.cpu() / len(y)


class Solo:
    """An ordinary model with any ``torch.optim.Optimizer``; a learner of size one.

    ``schedule(t, epoch)`` is the factor on the learning rate that each parameter group was built with. The L2 term,
    (lambda / 2) times the sum of squared weights without biases, belongs to the objective: it reaches the optimizer
    through the gradient. An optimizer that has ``eval`` and ``train``, as those have that average parameters, is put
    into the one for evaluations and back into the other. Its ``zero_grad`` is called where it is its own: torch's would
    walk the parameters once more, which is a fiftieth of a small network's step.
    """

    size = 1

    def __init__(self, model: Model, optimizer: torch.optim.Optimizer, *, schedule: Callable, l2: float):
        self.model, self.optimizer, self.schedule, self.l2 = model, optimizer, schedule, l2
        self.weights = [p for name, p in model.named_parameters() if not name.endswith("bias")]
        self.base_lrs = [group["lr"] for group in optimizer.param_groups]
        closure = inspect.signature(optimizer.step).parameters.get("closure")
        self.averages = all(hasattr(optimizer, name) for name in ("eval", "train"))
        if self.averages:
            optimizer.train()  # type: ignore[attr-defined]
        self.clears_gradients = type(optimizer).zero_grad is not torch.optim.Optimizer.zero_grad
        self.needs_closure = closure is not None and closure.default is inspect.Parameter.empty

    def begin_epoch(self, epoch: int, steps: range) -> None:
        self._epoch, self._steps = epoch, iter(steps)

    def step(self, x: Tensor | Rows, y: Tensor) -> Tensor:
        """One update on the minibatch x [batch, ...], y [batch]; the cost before it, [1]."""
        t = next(self._steps)
        for group, lr in zip(self.optimizer.param_groups, self.base_lrs, strict=True):
            group["lr"] = lr * self.schedule(t, self._epoch)
        costs = []

        def objective() -> Tensor:
            if self.clears_gradients:
                self.optimizer.zero_grad()
            costs.append(cost := backward(self.model, x, y))
            if not self.l2:
                return cost
            for weight in self.weights:
                cast(Tensor, weight.grad).add_(weight.detach(), alpha=self.l2)
            return cost + self.penalty()[0].to(cost) if self.needs_closure else cost

        if self.needs_closure:
            self.optimizer.step(objective)  # type: ignore[arg-type] # torch says float, its optimizers take tensors
        else:
            objective()
            self.optimizer.step()
        return costs[0][None]

    def evaluate(self, x: Tensor | Rows, y: Tensor) -> tuple[Tensor, Tensor]:
        """Mean cost and accuracy over all examples, [1] and [1], in float64."""
        if self.averages:
            self.optimizer.eval()  # type: ignore[attr-defined]
        results = judge(self.model, x, y)
        if self.averages:
            self.optimizer.train()  # type: ignore[attr-defined]
        return results

    def inside(self, k: int) -> tuple[Any, torch.optim.Optimizer]:
        """The model and the optimizer of the only member."""
        return self.model, self.optimizer

    @torch.no_grad()
    def penalty(self) -> Tensor:
        squares = torch.stack([weight.pow(2).sum() for weight in self.weights]).sum()
        return (self.l2 / 2 * squares).double().reshape(1).cpu()

    def state(self) -> dict[str, Any]:
        return {"model": self.model.state_dict(), "optimizer": self.optimizer.state_dict()}

    def restore(self, state: dict[str, Any]) -> None:
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
