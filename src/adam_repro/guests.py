"""Softmax regressions in step whose optimizers come from outside the package.

Costs and gradients are the population's, two products for all members. Every member has parameters and an optimizer
of its own, as it would have alone: what the optimizer does is its own, and takes its own time.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from adam_repro.members import Member
from adam_repro.population import SoftmaxRegressions


class Guests(SoftmaxRegressions):
    """K softmax regressions with any ``torch.optim.Optimizer`` that takes gradients and asks for no closure.

    Each optimizer sees the two parameters of ``models.SoftmaxRegression``, weight [classes, in] and bias [classes].
    """

    def __init__(self, members: Sequence[Member], *, in_features: int, classes: int):
        super().__init__([member.l2 for member in members], in_features=in_features, classes=classes)
        self.members = list(members)
        self._places = self._as_parameters(self.theta)
        self._parameters: list[Tensor] = [nn.Parameter(place.clone()) for place in self._places]
        self._gradients = [torch.empty_like(parameter) for parameter in self._parameters]
        pairs = zip(self._parameters[::2], self._parameters[1::2], strict=True)
        self.optimizers = [
            member.optimizer([*pair], **member.settings) for member, pair in zip(self.members, pairs, strict=True)
        ]
        self._base_lrs = [[group["lr"] for group in optimizer.param_groups] for optimizer in self.optimizers]

    def begin_epoch(self, epoch: int, steps: range) -> None:
        """Evaluate every schedule at the epoch's ``steps`` (t, counted from 1)."""
        t = torch.arange(steps.start, steps.stop, dtype=torch.float64)
        factors = zip(*(member.schedule(t, torch.full_like(t, epoch)).tolist() for member in self.members), strict=True)
        self._factors = iter(factors)

    def descend(self, gradient: Tensor) -> None:
        gradient.addcmul_(self.decay, self.theta)
        torch._foreach_copy_(self._gradients, self._as_parameters(gradient))
        for parameter, own in zip(self._parameters, self._gradients, strict=True):
            parameter.grad = own
        for optimizer, lrs, factor in zip(self.optimizers, self._base_lrs, next(self._factors), strict=True):
            for group, lr in zip(optimizer.param_groups, lrs, strict=True):
                group["lr"] = lr * factor
            with torch.enable_grad():  # as where anyone else calls it
                optimizer.step()
        torch._foreach_copy_(self._places, self._parameters)

    def state(self) -> dict[str, Any]:
        return {"theta": self.theta, "optimizers": [optimizer.state_dict() for optimizer in self.optimizers]}

    @torch.no_grad()
    def restore(self, state: dict[str, Any]) -> None:
        self.theta.copy_(state["theta"])
        torch._foreach_copy_(self._parameters, self._places)
        for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)

    def _as_parameters(self, packed: Tensor) -> list[Tensor]:
        """Views of [K, classes, width] as the members' weights and biases: weight, bias, weight, bias, ..."""
        return [
            view for member in packed.unbind() for view in (member[:, : self.in_features], member[:, self.in_features])
        ]
