"""AdamW: Adam with weight decay beside the gradient.

Loshchilov and Hutter, "Decoupled Weight Decay Regularization", ICLR 2019.
"""

from __future__ import annotations

import torch
from torch.optim.optimizer import ParamsT

from .rule import RuleOptimizer


def adamw(theta, g, m, v, t, *, lr, beta1, beta2, eps, weight_decay):
    m = beta1 * m + (1 - beta1) * g
    v = beta2 * v + (1 - beta2) * g**2
    m_hat = m / (1 - beta1**t)
    v_hat = v / (1 - beta2**t)
    return (1 - lr * weight_decay) * theta - lr * m_hat / (torch.sqrt(v_hat) + eps), m, v


class AdamW(RuleOptimizer):
    """Adam that shrinks the parameters by a factor of their own at every step.

    With g the gradient at theta, everything elementwise, and m = v = t = 0 at first::

        t <- t + 1
        m <- beta1 * m + (1 - beta1) * g
        v <- beta2 * v + (1 - beta2) * g^2
        m_hat <- m / (1 - beta1^t)
        v_hat <- v / (1 - beta2^t)
        theta <- (1 - alpha * weight_decay) * theta - alpha * m_hat / (sqrt(v_hat) + epsilon)

    Args:
        params: theta, the parameters, or groups of them. All of them shrink, biases too: put those
            into a group with weight_decay = 0 to spare them.
        lr: alpha, the step size, in the units of theta.
        beta1: decay rate of m, the running mean of g.
        beta2: decay rate of v, the running mean of g^2.
        eps: epsilon, in the units of g.
        weight_decay: the share of theta that is taken off, in units of alpha.

    Form: torch's: the decay is multiplied by alpha, schedule and all. An L2 term in the objective is
    another thing for Adam: its gradient passes through m and v, and shrinks least where gradients
    are large. The objective of this project's figures has that term; this one comes on top.

    Defaults: torch's.

    Reference: Loshchilov and Hutter 2019, Algorithm 2 and Proposition 2.
    """

    rule = staticmethod(adamw)
    state_names = ("m", "v")

    def __init__(
        self,
        params: ParamsT,
        lr: float = 1e-3,
        *,
        beta1: float = 0.9,
        beta2: float = 0.999,
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
    ) -> None:
        super().__init__(params, lr=lr, beta1=beta1, beta2=beta2, eps=eps, weight_decay=weight_decay)
