"""AdaMax, Algorithm 2: Adam with the infinity norm.

Kingma and Ba, "Adam: A Method for Stochastic Optimization", ICLR 2015, arXiv:1412.6980v9.
"""

from __future__ import annotations

import torch
from torch.optim.optimizer import ParamsT

from .rule import RuleOptimizer


def adamax(theta, g, m, u, t, *, lr, beta1, beta2, eps):
    m = beta1 * m + (1 - beta1) * g
    u = torch.maximum(beta2 * u, g.abs() + eps)
    return theta - lr / (1 - beta1**t) * m / u, m, u


class AdaMax(RuleOptimizer):
    """Step against the mean of recent gradients, in units of the largest, the older counting less.

    With g the gradient at theta, everything elementwise, and m = u = t = 0 at first::

        t <- t + 1
        m <- beta1 * m + (1 - beta1) * g
        u <- max(beta2 * u, |g| + epsilon)
        theta <- theta - alpha / (1 - beta1^t) * m / u

    Args:
        params: theta, the parameters, or groups of them.
        lr: alpha, the step size, in the units of theta.
        beta1: decay rate of m, the running mean of g.
        beta2: decay rate of u, the exponentially weighted infinity norm of the gradients.
        eps: epsilon, in the units of g. The paper has none: with 0, a coordinate whose gradients
            were all exactly zero so far (a dead unit, a word not yet seen) gets 0/0 = nan.

    Form: epsilon stands inside the maximum, as in torch. u needs no bias correction.

    Defaults: Algorithm 2; epsilon is torch's.

    Reference: Kingma and Ba 2015, section 7.1, Algorithm 2 and equation 12.
    """

    rule = staticmethod(adamax)
    state_names = ("m", "u")

    def __init__(
        self,
        params: ParamsT,
        lr: float = 2e-3,
        *,
        beta1: float = 0.9,
        beta2: float = 0.999,
        eps: float = 1e-8,
    ) -> None:
        super().__init__(params, lr=lr, beta1=beta1, beta2=beta2, eps=eps)
