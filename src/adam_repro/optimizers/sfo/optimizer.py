"""The steps of SFO."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.optim.optimizer import ParamsT

from .models import Models
from .subspace import Subspace

FIRST_ACTIVE = 2
FIRST_STEP = 1e-3  # of the parameters' norm, or of 1 where that is less: the length of the first step
LONGEST_STEP = 10  # times the mean length of the steps before


class SFO(torch.optim.Optimizer):
    """Go to the minimum of the sum of quadratic models of the subfunctions, of which each step renews one.

    The objective is a sum of N subfunctions f_i, the costs of the minibatches of a fixed partition of the data. In
    turn, with g_i the model of f_i (see ``Models``)::

        j <- the subfunction to be evaluated next
        g_j <- f_j(x) + (. - x)^T f_j'(x) + 1/2 (. - x)^T H_j (. - x),  H_j by BFGS from all evaluations of f_j
        x <- argmin sum_i g_i

    in the subspace of all x_i and f_i' so far, which is brought back to the last ones where it becomes too large.

    Args:
        params: x, the parameters: one group, of one dtype and device.
        lr: how far a step goes towards the minimum; the paper's is 1. There is nothing to be tuned.
        subfunctions: N; about sqrt(D) / 10 for D parameters, say its authors.
        history: of how many changes of each subfunction H_i is made.

    Use: ``step(closure)`` with a closure that clears the gradients, evaluates the minibatch of the number ``chosen``,
    calls backward and returns the cost; it must give the same cost at the same x whenever it is called.

    Which subfunction is next: one of the active ones that was never evaluated, else the one whose x_i is farthest from
    x in the metric of the average Hessian. Two are active at first, and one more whenever the average gradient has
    become as small as its standard error. A step is bad if f_j has risen, and that by more above g_j than the others
    should have fallen: x goes back to where it was, and the next steps are shorter.

    State: N points and N gradients, up to 3 N + 3 directions of D numbers each. It is not in ``state_dict``, so that a
    training can be started anew and not be resumed.

    Reference: Sohl-Dickstein, Poole and Ganguli 2014. Written from it alone. Its text leaves open, and here is fixed:
    the length of the first step, and what makes a step bad.

    Raises:
        ValueError: a setting out of range; more than one group, dtype or device; a gradient that is sparse or missing;
            a step without a closure.
    """

    def __init__(self, params: ParamsT, lr: float = 1.0, *, subfunctions: int = 24, history: int = 10) -> None:
        for name, value, least in (("subfunctions", subfunctions, 2), ("history", history, 1)):
            if not (isinstance(value, int) and not isinstance(value, bool) and value >= least):
                raise ValueError(f"SFO: {name}={value!r} is not allowed; set {name} to a whole number >= {least}.")
        if isinstance(lr, bool) or not isinstance(lr, (int, float)) or not 0 <= lr <= 1:
            raise ValueError(f"SFO: lr={lr!r} is not allowed; set lr to a number with 0 <= lr <= 1.")
        super().__init__(params, {"lr": float(lr), "subfunctions": subfunctions, "history": history})
        self.chosen = 0
        self._steps = 0

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        super().add_param_group(param_group)
        kinds = {(p.dtype, p.device) for group in self.param_groups for p in group["params"]}
        if len(self.param_groups) > 1 or len(kinds) > 1:
            self.param_groups.pop()
            raise ValueError("SFO takes one group of parameters, of one dtype on one device: its steps move all at once.")

    @staticmethod
    def directions(subfunctions: int) -> int:
        """The most directions that are remembered, each as large as all parameters."""
        return 3 * (subfunctions + 1)

    @torch.no_grad()
    def step(self, closure: Callable[[], Any]) -> Any:  # type: ignore[override] # it is not optional here
        """Evaluate the ``chosen`` subfunction at the parameters, and move them; return its cost there."""
        if closure is None:
            raise ValueError("SFO.step needs a closure that evaluates the minibatch SFO.chosen and calls backward.")
        with torch.enable_grad():
            cost = closure()
        f, g = float(cost), self._gradient()
        if not self._steps:
            self._begin(g)
        self._steps += 1
        if not math.isfinite(f) or not g.isfinite().all():
            self._go((self.x + self.before) / 2)
            return cost
        g = self._within(g)
        bad = self._is_bad(f)
        self.models.update(self.chosen, self.x, f, g)
        self.damping = self.damping / 2 if bad else self.damping + (1 - self.damping) / self.models.N
        if not bad:
            self.before = self.x
        K = self.subspace.K
        if self.models.seen.sum() == self.active < self.models.N and self.models.are_too_few(K):
            self.active += 1
        if not any(self.models.H):
            self.models.initial = max(self.models.g.sum(0).norm().item() / self.models.seen.sum().item(), 1e-30)
            self.models.initial /= self.first_length
        self._go(self.before + self._shortened(self.models.minimum(K) - self.before))
        self.chosen = self._choice()
        return cost

    def _begin(self, like: Tensor) -> None:
        (group,) = self.param_groups
        N = group["subfunctions"]
        self.start = torch.cat([p.flatten() for p in group["params"]])
        self.subspace = Subspace(self.directions(N), like)
        self.models = Models(N, self.subspace.most, history=group["history"])
        self.x = self.before = torch.zeros(self.subspace.most, dtype=torch.float64)
        self.active, self.damping, self.lengths = FIRST_ACTIVE, 1.0, []
        self.first_length = FIRST_STEP * max(self.start.norm().item(), 1.0)

    def _gradient(self) -> Tensor:
        parts = []
        for p in self.param_groups[0]["params"]:
            if p.grad is None or p.grad.layout is not torch.strided:
                what = "missing" if p.grad is None else str(p.grad.layout)
                raise ValueError(f"SFO takes dense gradients of all parameters, and one here is {what}.")
            parts.append(p.grad.flatten())
        return torch.cat(parts)

    def _within(self, g: Tensor) -> Tensor:
        """The coordinates of a gradient [D], for which the subspace grows."""
        if self.subspace.K == self.subspace.most:
            models = self.models
            kept = torch.cat([models.x[models.seen], models.g[models.seen], self.x[None], self.before[None]])
            R = self.subspace.collapse(kept)
            models.turn(R)
            self.x, self.before = R @ self.x, R @ self.before
        return self.subspace.extended(g)

    def _is_bad(self, f: float) -> bool:
        models, j = self.models, self.chosen
        if not models.seen[j] or f <= models.f[j]:
            return False
        others = [i for i in models.seen.nonzero().flatten().tolist() if i != j]
        return f - models.value(j, self.x) > sum(float(models.f[i]) - models.value(i, self.x) for i in others)

    def _shortened(self, step: Tensor) -> Tensor:
        step = step * self.damping * self.param_groups[0]["lr"]
        length = step.norm().item()
        longest = LONGEST_STEP * sum(self.lengths) / len(self.lengths) if self.lengths else math.inf
        if length > longest:
            step, length = step * (longest / length), longest
        self.lengths.append(length)
        return step

    def _go(self, x: Tensor) -> None:
        self.x = x
        theta = self.start + self.subspace.vector(x)
        for p in self.param_groups[0]["params"]:
            p.copy_(theta[: p.numel()].view_as(p))
            theta = theta[p.numel() :]

    def _choice(self) -> int:
        unseen = (~self.models.seen[: self.active]).nonzero().flatten()
        if len(unseen):
            return int(unseen[0])
        return int(self.models.distances(self.x, self.subspace.K)[: self.active].argmax())
