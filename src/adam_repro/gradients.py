"""Costs and their gradients: by one program where a model has written its gradient out, else by automatic
differentiation, which makes a compiled step of a small network a tenth longer.

That is not the arithmetic's price: a graph is recorded and walked, and what the forward pass has computed goes to
memory for the backward one, though a compiler that sees both would keep some of it in registers.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable


class WrittenOut(nn.Module):
    """A model with its gradient written out.

    A subclass of one that changes its ``forward`` or ``cost``, and not its ``cost_and_gradients``, is trained by
    automatic differentiation of what it has changed.
    """

    def cost_and_gradients(self, x: Any, y: Tensor) -> tuple[Tensor, Sequence[Tensor]]:
        """The mean cost of a minibatch, [], in nats an example, and its gradients, of the parameters' shapes and in
        their order. Called without automatic differentiation."""
        raise NotImplementedError

    def cost(self, x: Any, y: Tensor) -> Tensor:
        """The mean cost of a minibatch, [], differentiable once, with respect to the parameters."""
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


def cost_and_gradients(model: Any, x: Any, y: Tensor) -> tuple[Tensor, Sequence[Tensor]]:
    """The mean cost of a minibatch, [], and its gradients with respect to all parameters of the model."""
    if _is_written_out(model.__class__):
        with torch.no_grad():
            return model.cost_and_gradients(x, y)
    cost = model.cost(x, y)
    return cost.detach(), torch.autograd.grad(cost, list(model.parameters()))


def backward(model: Any, x: Any, y: Tensor) -> Tensor:
    """The mean cost of a minibatch, [], with its gradients, in place of any there were, where
    ``model.cost(x, y).backward()`` leaves them; that it is where a parameter takes no gradient, or has hooks that wait
    for it."""
    parameters = list(model.parameters())
    for parameter in parameters:
        parameter.grad = None  # before the next one is made, which takes its memory
    if not _is_written_out(model.__class__) or any(map(_is_waited_for, parameters)):
        cost = model.cost(x, y)
        cost.backward()
        return cost.detach()
    cost, gradients = cost_and_gradients(model, x, y)
    for parameter, gradient in zip(parameters, gradients, strict=True):
        parameter.grad = gradient
    return cost


@functools.cache
def _is_written_out(kind: type) -> bool:
    """Whether no class has changed what is computed behind the one that wrote the gradient out."""
    if not issubclass(kind, WrittenOut):
        return False
    written, *computed = (
        next(place for place, cls in enumerate(kind.__mro__) if name in vars(cls))
        for name in ("cost_and_gradients", "cost", "forward")
    )
    return written <= min(computed)


def _is_waited_for(parameter: nn.Parameter) -> bool:
    hooks = parameter._backward_hooks or parameter._post_accumulate_grad_hooks
    return bool(hooks) or not parameter.requires_grad
