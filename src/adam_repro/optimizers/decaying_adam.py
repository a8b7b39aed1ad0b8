"""Adam whose first moment forgets ever faster: beta1 decays towards zero, as Theorem 4.1 supposes.

Kingma and Ba, "Adam: A Method for Stochastic Optimization", ICLR 2015, arXiv:1412.6980v9.
"""

from __future__ import annotations

import torch
from torch.optim.optimizer import ParamsT

from .rule import RuleOptimizer


def decaying_adam(theta, g, m, v, t, *, lr, beta1, beta2, eps, beta1_decay):
    beta1_t = beta1 * beta1_decay ** (t - 1)
    m = beta1_t * m + (1 - beta1_t) * g
    v = beta2 * v + (1 - beta2) * g**2
    m_hat = m / (1 - beta1**t)
    v_hat = v / (1 - beta2**t)
    return theta - lr * m_hat / (torch.sqrt(v_hat) + eps), m, v


class DecayingAdam(RuleOptimizer):
    """`Adam` whose mean of gradients gets shorter with every step, until it is the gradient itself.

    With g the gradient at theta, everything elementwise, and m = v = t = 0 at first::

        t <- t + 1
        beta1_t <- beta1 * beta1_decay^(t - 1)
        m <- beta1_t * m + (1 - beta1_t) * g
        v <- beta2 * v + (1 - beta2) * g^2
        m_hat <- m / (1 - beta1^t)
        v_hat <- v / (1 - beta2^t)
        theta <- theta - alpha * m_hat / (sqrt(v_hat) + epsilon)

    Args:
        params: theta, the parameters, or groups of them.
        lr: alpha, the step size, in the units of theta.
        beta1: decay rate of m, the running mean of g, at the first step.
        beta2: decay rate of v, the running mean of g^2.
        eps: epsilon, in the units of g.
        beta1_decay: lambda, by which beta1 is multiplied at every step, below 1.

    Form: m is corrected by 1 - beta1^t, with beta1 as it is at first, which is how section 10.1
    writes the update; for a beta1 that decays that is no longer unbiased. With the step size
    alpha / sqrt(t), the schedule inverse_sqrt_step, it is what Theorem 4.1 is about.

    Defaults: Algorithm 1, and the lambda that section 4 suggests, with which beta1 takes 10^8 steps
    to fall to a third.

    Reference: Kingma and Ba 2015, section 4, Theorem 4.1, and section 10.1, its proof.

    Example: the first step is Adam's; with beta1_decay = 0 the second has no mean left.

        >>> theta = torch.zeros(1, requires_grad=True)
        >>> optimizer = DecayingAdam([theta], lr=0.1, beta1=0.5, beta1_decay=0.0)
        >>> for g in (1.0, 3.0):
        ...     theta.grad = torch.tensor([g])
        ...     optimizer.step()
        >>> optimizer.state[theta]["m"]
        tensor([3.])
    """

    rule = staticmethod(decaying_adam)
    state_names = ("m", "v")

    def __init__(
        self,
        params: ParamsT,
        lr: float = 1e-3,
        *,
        beta1: float = 0.9,
        beta2: float = 0.999,
        eps: float = 1e-8,
        beta1_decay: float = 1 - 1e-8,
    ) -> None:
        super().__init__(params, lr=lr, beta1=beta1, beta2=beta2, eps=eps, beta1_decay=beta1_decay)
