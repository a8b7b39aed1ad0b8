"""AdaGrad, in its diagonal form.

Duchi, Hazan and Singer, "Adaptive Subgradient Methods for Online Learning and Stochastic
Optimization", Journal of Machine Learning Research 12, 2011.
"""

from __future__ import annotations

import torch
from torch.optim.optimizer import ParamsT

from .rule import RuleOptimizer


def adagrad(theta, g, v, t, *, lr, eps):
    v = v + g**2
    return theta - lr * g / (torch.sqrt(v) + eps), v


class AdaGrad(RuleOptimizer):
    """Step against the gradient, in units of the root of the sum of all its squares so far.

    With g the gradient at theta, everything elementwise, and v = 0 at first::

        v <- v + g^2
        theta <- theta - alpha * g / (sqrt(v) + epsilon)

    Args:
        params: theta, the parameters, or groups of them.
        lr: alpha, the step size, in the units of theta. Steps shrink like alpha / sqrt(t) by
            themselves; a schedule comes on top of that.
        eps: epsilon, in the units of g.

    Form: v is a sum, not a mean (the diagonal of G in the paper of Duchi et al.), and starts from
    zero; epsilon stands outside the root, as in torch. This is the limit of `Adam` for beta1 = 0,
    beta2 -> 1 and the step size alpha / sqrt(t).

    Defaults: torch's. Duchi et al. leave the step size open.

    Reference: Duchi, Hazan and Singer 2011, equation 1; Kingma and Ba 2015, section 5.
    """

    rule = staticmethod(adagrad)
    state_names = ("v",)

    def __init__(self, params: ParamsT, lr: float = 1e-2, *, eps: float = 1e-10) -> None:
        super().__init__(params, lr=lr, eps=eps)
