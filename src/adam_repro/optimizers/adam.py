"""Adam: Algorithm 1, and the reordered form of the end of section 2.

Kingma and Ba, "Adam: A Method for Stochastic Optimization", ICLR 2015, arXiv:1412.6980v9.
"""

from __future__ import annotations

import torch
from torch.optim.optimizer import ParamsT

from .rule import RuleOptimizer


def adam(theta, g, m, v, t, *, lr, beta1, beta2, eps, bias_correction=True):
    m = beta1 * m + (1 - beta1) * g
    v = beta2 * v + (1 - beta2) * g**2
    m_hat = m / (1 - beta1**t) if bias_correction else m
    v_hat = v / (1 - beta2**t) if bias_correction else v
    return theta - lr * m_hat / (torch.sqrt(v_hat) + eps), m, v


class Adam(RuleOptimizer):
    """Step against the mean of recent gradients, in units of their root mean square.

    With g the gradient at theta, everything elementwise, and m = v = t = 0 at first::

        t <- t + 1
        m <- beta1 * m + (1 - beta1) * g
        v <- beta2 * v + (1 - beta2) * g^2
        m_hat <- m / (1 - beta1^t)
        v_hat <- v / (1 - beta2^t)
        theta <- theta - alpha * m_hat / (sqrt(v_hat) + epsilon)

    Args:
        params: theta, the parameters, or groups of them.
        lr: alpha, the step size, in the units of theta; about the most that one step moves a
            coordinate (section 2.1).
        beta1: decay rate of m, the running mean of g.
        beta2: decay rate of v, the running mean of g^2.
        eps: epsilon, in the units of g.
        bias_correction: if False, m_hat = m and v_hat = v, which start near zero. For epsilon = 0
            that multiplies step t by (1 - beta1^t) / sqrt(1 - beta2^t) and does nothing else.

    Form: epsilon stands outside the root and after the bias correction, as in Algorithm 1 and in
    torch. `AdamEpsHat` is the other order.

    Defaults: Algorithm 1.

    Reference: Kingma and Ba 2015, Algorithm 1; section 3 on bias correction, section 6.4 on going
    without.

    Example: the first step is alpha against the sign of the gradient, however large that is.

        >>> theta = torch.zeros(2, requires_grad=True)
        >>> theta.grad = torch.tensor([0.5, -2000.0])
        >>> Adam([theta], lr=0.1).step()
        >>> theta.data
        tensor([-0.1000,  0.1000])
    """

    rule = staticmethod(adam)
    state_names = ("m", "v")

    def __init__(
        self,
        params: ParamsT,
        lr: float = 1e-3,
        *,
        beta1: float = 0.9,
        beta2: float = 0.999,
        eps: float = 1e-8,
        bias_correction: bool = True,
    ) -> None:
        super().__init__(params, lr=lr, beta1=beta1, beta2=beta2, eps=eps, bias_correction=bias_correction)


def adam_eps_hat(theta, g, m, v, t, *, lr, beta1, beta2, eps):
    m = beta1 * m + (1 - beta1) * g
    v = beta2 * v + (1 - beta2) * g**2
    lr_t = lr * (1 - beta2**t) ** 0.5 / (1 - beta1**t)
    return theta - lr_t * m / (torch.sqrt(v) + eps), m, v


class AdamEpsHat(RuleOptimizer):
    """Adam with both bias corrections moved into the step size, past epsilon.

    With g the gradient at theta, everything elementwise, and m = v = t = 0 at first::

        t <- t + 1
        m <- beta1 * m + (1 - beta1) * g
        v <- beta2 * v + (1 - beta2) * g^2
        alpha_t <- alpha * sqrt(1 - beta2^t) / (1 - beta1^t)
        theta <- theta - alpha_t * m / (sqrt(v) + epsilon_hat)

    Args:
        params: theta, the parameters, or groups of them.
        lr: alpha, the step size, in the units of theta.
        beta1: decay rate of m, the running mean of g.
        beta2: decay rate of v, the running mean of g^2.
        eps: epsilon_hat, in the units of g.

    Form: this is `Adam` with an effective epsilon of epsilon_hat / sqrt(1 - beta2^t): for beta2 =
    0.999, 31.6 times epsilon_hat at the first step, and less and less until it is epsilon_hat. The
    two agree for epsilon = 0, and for epsilon_hat = epsilon * sqrt(1 - beta2^t) at every step.
    TensorFlow and Keras have this form.

    Defaults: Algorithm 1. The paper names no epsilon_hat; Keras has 1e-7.

    Reference: Kingma and Ba 2015, section 2, the last lines before section 2.1.
    """

    rule = staticmethod(adam_eps_hat)
    state_names = ("m", "v")

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
