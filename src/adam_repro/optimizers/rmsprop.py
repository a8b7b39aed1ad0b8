"""RMSProp, plain and with momentum.

Tieleman and Hinton, "Lecture 6.5: rmsprop", Neural Networks for Machine Learning, Coursera, 2012.
"""

from __future__ import annotations

import torch
from torch.optim.optimizer import ParamsT

from .rule import RuleOptimizer


def rmsprop(theta, g, v, b, t, *, lr, rho, eps, momentum):
    v = rho * v + (1 - rho) * g**2
    b = momentum * b + g / (torch.sqrt(v) + eps)
    return theta - lr * b, v, b


class RMSProp(RuleOptimizer):
    """Step against the gradient, in units of its recent root mean square; momentum comes after that.

    With g the gradient at theta, everything elementwise, and v = b = 0 at first::

        v <- rho * v + (1 - rho) * g^2
        b <- mu * b + g / (sqrt(v) + epsilon)
        theta <- theta - alpha * b

    Args:
        params: theta, the parameters, or groups of them.
        lr: alpha, the step size, in the units of theta.
        rho: decay rate of v, the running mean of g^2. Torch's name for it is alpha.
        eps: epsilon, in the units of g.
        momentum: mu, the decay rate of b, the sum of rescaled gradients; 0 is plain RMSProp.

    Form: epsilon stands outside the root, alpha outside b, as in torch. v has no bias correction: a
    first step has the length alpha / sqrt(1 - rho). Momentum acts on the rescaled gradient, where
    Adam divides one running mean by another (section 5 of the Adam paper). The version cited there,
    Graves 2013, differs: it takes the squared running mean of g off v, has epsilon inside the root,
    and alpha inside b, which is not the same when alpha changes.

    Defaults: rho is the lecture's, which names no step size; lr is what Keras joins to that rho
    (torch has lr = 0.01 and rho = 0.99); epsilon is torch's.

    Reference: Tieleman and Hinton 2012; Graves 2013, "Generating Sequences With Recurrent Neural
    Networks", equations 38 to 41; Kingma and Ba 2015, section 5.
    """

    rule = staticmethod(rmsprop)
    state_names = ("v", "b")

    def __init__(
        self,
        params: ParamsT,
        lr: float = 1e-3,
        *,
        rho: float = 0.9,
        eps: float = 1e-8,
        momentum: float = 0.0,
    ) -> None:
        super().__init__(params, lr=lr, rho=rho, eps=eps, momentum=momentum)
