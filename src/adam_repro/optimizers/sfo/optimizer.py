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
FIRST_STEP = 1e-3  # the length of the first step: of the parameters' norm, or of 1 where that is less
LONGEST_STEP = 10  # times the mean length of the steps before
INDISTINCT = 10  # roundings of the parameters: two points that lie no farther apart tell no curvature


class SFO(torch.optim.Optimizer):
    """Go to the minimum of the sum of quadratic models of the subfunctions, of which each step renews one.

    The objective is a sum of N subfunctions f_i, the costs of the minibatches of a fixed partition of the data. With
    g_i the model of f_i, about the x_i where that was evaluated last::

        j <- the subfunction to be evaluated next
        g_j <- f_j(x) + (. - x)^T f_j'(x) + 1/2 (. - x)^T H_j (. - x),  H_j by BFGS from all evaluations of f_j
        x <- argmin sum_i g_i

    in the subspace of all x_i and f_i' so far, which is brought back to the latest where it becomes too large. Next is
    one of the active subfunctions that was never evaluated, else the one whose x_i is farthest from x in the metric of
    the average Hessian. Two are active at first, and one more whenever the average gradient has become as small as its
    standard error, or all active ones have had their turn. Where the measured f_j(x) is above g_j(x) by more than the
    last step was to lower the sum of the models, that step was bad: x goes back, and the next steps are shorter.

    Args:
        params: x, the parameters: one group, of one dtype on one device.
        lr: how far a step goes towards the minimum; the paper's is 1. There is nothing to be tuned.
        subfunctions: N; about sqrt(number of training examples) / 10, as its authors recommend: 24 of 60,000.
        history: of how many changes of each subfunction its Hessian is made at most.

    Use: ``step(closure)``, with a closure that clears the gradients, evaluates the minibatch with the number
    ``chosen``, calls backward and returns the cost. What it returns must be a function of x: no fresh noise.

    State: up to 3 N + 3 directions, each as large as all parameters. It is in no ``state_dict``, and no copy has it: a
    training is started anew, not resumed.

    Form: the paper starts BFGS from the smallest curvature that a history tells, this from the median one (see
    ``hessian``). When a step is bad, the length of the first one, and how much steps are shortened are our choices.

    Reference: Sohl-Dickstein, Poole and Ganguli 2014; no other source was used.

    Raises:
        ValueError: a setting out of range; more than one group, dtype or device; a gradient that is sparse or missing;
            no closure.
    """

    chosen = 0
    models: Models | None = None  # until the first step, and in a copy
    x: Tensor
    before: Tensor
    damping: float

    def __init__(self, params: ParamsT, lr: float = 1.0, *, subfunctions: int = 24, history: int = 10) -> None:
        for name, value, least in (("subfunctions", subfunctions, 2), ("history", history, 1)):
            if not (isinstance(value, int) and not isinstance(value, bool) and value >= least):
                raise ValueError(f"SFO: {name}={value!r} is not allowed; set {name} to a whole number >= {least}.")
        if isinstance(lr, bool) or not isinstance(lr, int | float) or not 0 <= lr <= 1:
            raise ValueError(f"SFO: lr={lr!r} is not allowed; set lr to a number with 0 <= lr <= 1.")
        super().__init__(params, {"lr": float(lr), "subfunctions": subfunctions, "history": history})

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Only the constructor's: a second group is refused."""
        super().add_param_group(param_group)
        kinds = {(p.dtype, p.device) for group in self.param_groups for p in group["params"]}
        if len(self.param_groups) > 1 or len(kinds) > 1:
            self.param_groups.pop()
            raise ValueError("SFO takes one group of parameters, of one dtype on one device: a step moves all at once.")

    @property
    def subfunctions(self) -> int:
        return self.param_groups[0]["subfunctions"]

    @staticmethod
    def directions(subfunctions: int) -> int:
        """How many directions, each as large as all parameters, the subspace has at most: half as many again as there
        are in its narrowest form, the last point and gradient of each subfunction and the last two points of all."""
        return 3 * (subfunctions + 1)

    @torch.no_grad()
    def step(self, closure: Callable[[], Any]) -> Any:  # type: ignore[override] # it is not optional here
        """Evaluate the ``chosen`` subfunction at the parameters, and move them; return what the closure returned."""
        if closure is None:
            raise ValueError("SFO.step needs a closure that evaluates the minibatch SFO.chosen and calls backward.")
        with torch.enable_grad():
            cost = closure()
        f, g = float(cost), self._gradient()
        models = self.models or self._begin(g)
        if not (math.isfinite(f) and g.isfinite().all()):
            self._go((self.x + self.before) / 2)
            return cost
        inside = self._extended(g)
        is_bad = self._is_bad(f)
        models.update(self.chosen, self.x, f, inside)
        if is_bad:
            self.damping /= 2
        else:
            self.before = self.x
            self.damping += (1 - self.damping) / self.subfunctions
        self._grow()
        self._go(self.before + self._shortened(models.minimum(self.subspace.K) - self.before))
        self.chosen = self._choice()
        return cost

    def _begin(self, like: Tensor) -> Models:
        (group,) = self.param_groups
        self.start = torch.cat([p.flatten() for p in group["params"]])
        norm = self.start.norm().item()
        self.subspace = Subspace(self.directions(self.subfunctions), like)
        self.models = Models(
            self.subfunctions,
            self.subspace.most,
            history=group["history"],
            first_step=FIRST_STEP * max(norm, 1.0),
            least_change=INDISTINCT * torch.finfo(like.dtype).eps * norm,
        )
        self.x = self.before = torch.zeros(self.subspace.most, dtype=torch.float64)  # from the start, coordinates
        self.active, self.ungrown, self.damping = FIRST_ACTIVE, 0, 1.0
        self.lengths: list[float] = []
        return self.models

    def _gradient(self) -> Tensor:
        """[D]"""
        parts = []
        for p in self.param_groups[0]["params"]:
            if p.grad is None or p.grad.layout is not torch.strided:
                what = "missing" if p.grad is None else f"of layout {p.grad.layout}"
                raise ValueError(f"SFO takes dense gradients of all parameters, and one here is {what}.")
            parts.append(p.grad.flatten())
        return torch.cat(parts)

    def _extended(self, g: Tensor) -> Tensor:
        """The coordinates of a gradient [D], for which the subspace grows, after it was made narrow if it is full."""
        assert self.models is not None
        if self.subspace.K == self.subspace.most:
            points = torch.stack([self.x, self.before])
            seen = self.models.seen
            R = self.subspace.collapse(torch.cat([self.models.x[seen], self.models.g[seen], points]))
            self.models.turn(R)
            self.x, self.before = R @ self.x, R @ self.before
        return self.subspace.extended(g)

    def _is_bad(self, f: float) -> bool:
        models, j = self.models, self.chosen
        assert models is not None
        if not models.seen[j] or f <= models.f[j]:
            return False
        return f - models.value(j, self.x) > models.total(self.before) - models.total(self.x)

    def _grow(self) -> None:
        assert self.models is not None
        self.ungrown += 1
        if self.active < self.subfunctions and self.models.seen.sum() == self.active:
            if self.ungrown >= self.active or self.models.are_too_few(self.subspace.K):
                self.active, self.ungrown = self.active + 1, 0

    def _shortened(self, step: Tensor) -> Tensor:
        step = step * (self.damping * self.param_groups[0]["lr"])
        length = step.norm().item()
        longest = LONGEST_STEP * sum(self.lengths) / len(self.lengths) if self.lengths else length
        self.lengths.append(min(length, longest))
        return step if length <= longest else step * (longest / length)

    def _go(self, x: Tensor) -> None:
        self.x = x
        theta = self.start + self.subspace.vector(x)
        parameters = self.param_groups[0]["params"]
        for p, part in zip(parameters, theta.split([p.numel() for p in parameters]), strict=True):
            p.copy_(part.view_as(p))

    def _choice(self) -> int:
        assert self.models is not None
        unseen = (~self.models.seen[: self.active]).nonzero()
        if len(unseen):
            return int(unseen[0])
        return int(self.models.distances(self.x, self.subspace.K)[: self.active].argmax())
