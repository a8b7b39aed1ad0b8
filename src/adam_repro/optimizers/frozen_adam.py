"""Adam whose second moment stands still after so many steps: an ablation of section 6.3.

Kingma and Ba, "Adam: A Method for Stochastic Optimization", ICLR 2015, arXiv:1412.6980v9.
"""

from __future__ import annotations

import torch
from torch.optim.optimizer import ParamsT

from .rule import RuleOptimizer


def frozen_adam(theta, g, m, v, t, *, lr, beta1, beta2, eps, frozen_after):
    frozen = (t > frozen_after) * 1.0
    m = beta1 * m + (1 - beta1) * g
    v = (beta2 + (1 - beta2) * frozen) * v + (1 - beta2) * (1 - frozen) * g**2
    m_hat = m / (1 - beta1**t)
    v_hat = v / (1 - beta2 ** (t + (frozen_after - t) * frozen))
    return theta - lr * m_hat / (torch.sqrt(v_hat) + eps), m, v


class FrozenAdam(RuleOptimizer):
    """`Adam` until step ``frozen_after``; from then on the step size of each coordinate stays what it is.

    With g the gradient at theta, everything elementwise, and m = v = t = 0 at first::

        t <- t + 1
        m <- beta1 * m + (1 - beta1) * g
        v <- v if t > frozen_after else beta2 * v + (1 - beta2) * g^2
        m_hat <- m / (1 - beta1^t)
        v_hat <- v / (1 - beta2^min(t, frozen_after))
        theta <- theta - alpha * m_hat / (sqrt(v_hat) + epsilon)

    That is SGD with momentum and a fixed preconditioner. How much worse it ends than Adam tells what
    following the second moment is worth.

    Args:
        params: theta, the parameters, or groups of them.
        lr: alpha, the step size, in the units of theta.
        beta1: decay rate of m, the running mean of g.
        beta2: decay rate of v, the running mean of g^2, as long as it runs.
        eps: epsilon, in the units of g.
        frozen_after: the number of steps after which v stands still, at least 1.

    Form: `adam` for t <= frozen_after.

    Defaults: Algorithm 1; the paper knows no frozen_after. 391 steps are one pass over the 50,000
    images of CIFAR-10 in minibatches of 128. A run of an experiment takes the steps of its own pass
    unless it is given another number: see configs/optimizer/frozen_adam.yaml.

    Reference: Kingma and Ba 2015, section 6.3, which holds that in convolutional networks v_hat is "a
    poor approximation to the geometry of the cost function" and the first moment is what matters.

    Example: after a gradient of 1 v stands still, and a gradient of 3 moves theta three times as far.

        >>> theta = torch.zeros(1, requires_grad=True)
        >>> optimizer = FrozenAdam([theta], lr=0.1, beta1=0.0, frozen_after=1)
        >>> for g in (1.0, 3.0):
        ...     theta.grad = torch.tensor([g])
        ...     optimizer.step()
        >>> theta.data
        tensor([-0.4000])
    """

    rule = staticmethod(frozen_adam)
    state_names = ("m", "v")

    def __init__(
        self,
        params: ParamsT,
        lr: float = 1e-3,
        *,
        beta1: float = 0.9,
        beta2: float = 0.999,
        eps: float = 1e-8,
        frozen_after: float = 391,
    ) -> None:
        super().__init__(params, lr=lr, beta1=beta1, beta2=beta2, eps=eps, frozen_after=frozen_after)
