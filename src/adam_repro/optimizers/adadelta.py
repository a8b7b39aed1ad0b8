"""AdaDelta, whose steps have the units of the parameters.

Zeiler, "ADADELTA: An Adaptive Learning Rate Method", 2012, arXiv:1212.5701.
"""

from __future__ import annotations

import torch
from torch.optim.optimizer import ParamsT

from .rule import RuleOptimizer


def adadelta(theta, g, v, d, t, *, lr, rho, eps):
    v = rho * v + (1 - rho) * g**2
    step = torch.sqrt(d + eps) / torch.sqrt(v + eps) * g
    d = rho * d + (1 - rho) * step**2
    return theta - lr * step, v, d


class AdaDelta(RuleOptimizer):
    """Step against the gradient, as long as recent steps were, in units of its recent root mean square.

    With g the gradient at theta, everything elementwise, and v = d = 0 at first::

        v <- rho * v + (1 - rho) * g^2
        step <- sqrt(d + epsilon) / sqrt(v + epsilon) * g
        d <- rho * d + (1 - rho) * step^2
        theta <- theta - alpha * step

    Args:
        params: theta, the parameters, or groups of them.
        lr: alpha, a number without units; Zeiler has none, which is 1.
        rho: decay rate of v, the running mean of g^2, and of d, that of the squared steps.
        eps: epsilon, in the squared units of g and of theta. It starts the steps: the first ones have
            a length of about sqrt(epsilon).

    Form: epsilon stands inside both roots; alpha stands outside d, as in torch.

    Defaults: torch's.

    Reference: Zeiler 2012, Algorithm 1.
    """

    rule = staticmethod(adadelta)
    state_names = ("v", "d")

    def __init__(self, params: ParamsT, lr: float = 1.0, *, rho: float = 0.9, eps: float = 1e-6) -> None:
        super().__init__(params, lr=lr, rho=rho, eps=eps)
