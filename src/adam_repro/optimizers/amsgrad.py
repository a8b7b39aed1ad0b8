"""AMSGrad: Adam that forgets no large gradient.

Reddi, Kale and Kumar, "On the Convergence of Adam and Beyond", ICLR 2018.
"""

from __future__ import annotations

import torch
from torch.optim.optimizer import ParamsT

from .rule import RuleOptimizer


def amsgrad(theta, g, m, v, v_max, t, *, lr, beta1, beta2, eps):
    m = beta1 * m + (1 - beta1) * g
    v = beta2 * v + (1 - beta2) * g**2
    v_max = torch.maximum(v_max, v)
    m_hat = m / (1 - beta1**t)
    v_hat = v_max / (1 - beta2**t)
    return theta - lr * m_hat / (torch.sqrt(v_hat) + eps), m, v, v_max


class AMSGrad(RuleOptimizer):
    """Adam in units of the largest root mean square that recent gradients ever had.

    With g the gradient at theta, everything elementwise, and m = v = v_max = t = 0 at first::

        t <- t + 1
        m <- beta1 * m + (1 - beta1) * g
        v <- beta2 * v + (1 - beta2) * g^2
        v_max <- max(v_max, v)
        m_hat <- m / (1 - beta1^t)
        v_hat <- v_max / (1 - beta2^t)
        theta <- theta - alpha * m_hat / (sqrt(v_hat) + epsilon)

    Args:
        params: theta, the parameters, or groups of them.
        lr: alpha, the step size, in the units of theta.
        beta1: decay rate of m, the running mean of g.
        beta2: decay rate of v, the running mean of g^2.
        eps: epsilon, in the units of g.

    Form: torch's: the maximum is taken of v before its bias correction. Reddi et al. have neither
    bias corrections nor epsilon. The maximum keeps alpha / sqrt(v) from growing, which the proof of
    Theorem 4.1 takes for granted of Adam, and the bias correction lets alpha / sqrt(v_hat) grow in the
    first steps; it costs a third vector of the parameters' size.

    Defaults: those of Adam, as in torch.

    Reference: Reddi, Kale and Kumar 2018, Algorithm 2.
    """

    rule = staticmethod(amsgrad)
    state_names = ("m", "v", "v_max")

    def __init__(
        self,
        params: ParamsT,
        lr: float = 1e-3,
        *,
        beta1: float = 0.9,
        beta2: float = 0.999,
        eps: float = 1e-8,
    ) -> None:
        super().__init__(params, lr=lr, beta1=beta1, beta2=beta2, eps=eps)
