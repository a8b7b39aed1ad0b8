"""Costs and their gradients: by one program where a model has written its gradient out, else by automatic
differentiation, which costs small networks a tenth of a step and more.

That is not the arithmetic's price: a graph is recorded and walked, and what the forward pass has computed goes to
memory for the backward one, though a compiler that sees both would keep some of it in registers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable


class WrittenOut(nn.Module):
    """A model with its gradient written out. Its cost is as differentiable as any other, once."""

    def cost_and_gradients(self, x: Any, y: Tensor) -> tuple[Tensor, Sequence[Tensor]]:
        """The mean cost of a minibatch, [], in nats an example, and its gradients, of the parameters' shapes and in
        their order. Called without automatic differentiation."""
        raise NotImplementedError

    def cost(self, x: Any, y: Tensor) -> Tensor:
        """The mean cost of a minibatch, []."""
        return _Cost.apply(self, x, y, *self.parameters())


class _Cost(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, model: WrittenOut, x: Any, y: Tensor, *parameters: Tensor) -> Tensor:
        cost, gradients = model.cost_and_gradients(x, y)
        ctx.save_for_backward(*gradients)
        return cost

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (g,) = gradients
        return None, None, None, *(g * gradient for gradient in ctx.saved_tensors)


def cost_and_gradients(
    model: Any, x: Any, y: Tensor, parameters: Sequence[nn.Parameter]
) -> tuple[Tensor, Sequence[Tensor]]:
    """The mean cost of a minibatch, [], and its gradients with respect to all ``parameters`` of the model."""
    if isinstance(model, WrittenOut):
        with torch.no_grad():
            return model.cost_and_gradients(x, y)
    cost = model.cost(x, y)
    return cost.detach(), torch.autograd.grad(cost, parameters)


def backward(model: Any, x: Any, y: Tensor) -> Tensor:
    """The mean cost of a minibatch, [], which leaves its gradients where ``model.cost(x, y).backward()`` would: in
    parameters that have none yet."""
    if not isinstance(model, WrittenOut):
        cost = model.cost(x, y)
        cost.backward()
        return cost.detach()
    parameters = list(model.parameters())
    cost, gradients = cost_and_gradients(model, x, y, parameters)
    for parameter, gradient in zip(parameters, gradients, strict=True):
        parameter.grad = gradient
    return cost
