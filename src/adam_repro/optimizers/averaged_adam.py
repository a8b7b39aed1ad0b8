"""Adam with the temporal average of its parameters: section 7.2.

Kingma and Ba, "Adam: A Method for Stochastic Optimization", ICLR 2015, arXiv:1412.6980v9.
"""

from __future__ import annotations

import torch
from torch.optim.optimizer import ParamsT

from .adam import adam
from .rule import RuleOptimizer

IN_EVAL = "in_eval"
"""What groups have among their keys between `eval()` and `train()`, while average and parameter are in each other's
places: groups are copied, pickled and saved with the state that this is said of, attributes are not."""


def averaged_adam(theta, g, m, v, average, t, *, lr, beta1, beta2, eps):
    theta, m, v = adam(theta, g, m, v, t, lr=lr, beta1=beta1, beta2=beta2, eps=eps)
    average = average + (1 - beta2) / (1 - beta2**t) * (theta - average)
    return theta, m, v, average


class AveragedAdam(RuleOptimizer):
    """Adam, judged by an exponential average of its parameters, which it trains as `Adam` would.

    With g the gradient at theta, everything elementwise, and m = v = average = t = 0 at first::

        t <- t + 1
        m <- beta1 * m + (1 - beta1) * g
        v <- beta2 * v + (1 - beta2) * g^2
        m_hat <- m / (1 - beta1^t)
        v_hat <- v / (1 - beta2^t)
        theta <- theta - alpha * m_hat / (sqrt(v_hat) + epsilon)
        average <- average + (1 - beta2) / (1 - beta2^t) * (theta - average)

    Between `eval()` and `train()` the parameters are the average; gradients are taken and steps made
    in `train()`, where an optimizer is from the start.

    Args:
        params: theta, the parameters, or groups of them.
        lr: alpha, the step size, in the units of theta.
        beta1: decay rate of m, the running mean of g.
        beta2: decay rate of v, the running mean of g^2, and of the average: section 7.2 has one letter
            for both.
        eps: epsilon, in the units of g.

    Form: this average is section 7.2's theta_hat, the running mean theta_bar divided by 1 - beta2^t;
    the first parameters are no part of it.

    Defaults: Algorithm 1.

    Reference: Kingma and Ba 2015, section 7.2.

    Example: after one step the average is the parameter; after two it lies between both.

        >>> theta = torch.zeros(1, requires_grad=True)
        >>> optimizer = AveragedAdam([theta], lr=0.1)
        >>> for _ in range(2):
        ...     theta.grad = torch.tensor([1.0])
        ...     optimizer.step()
        >>> optimizer.eval()
        >>> theta.data
        tensor([-0.1500])
    """

    rule = staticmethod(averaged_adam)
    state_names = ("m", "v", "average")
    judged = "average"

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

    @torch.no_grad()
    def eval(self) -> None:
        """Put the averages in the parameters' place; nothing changes before the first step, or twice."""
        if not self._in_eval():
            self._swap()
        for group in self.param_groups:
            group[IN_EVAL] = True

    @torch.no_grad()
    def train(self) -> None:
        """Put the parameters back."""
        if self._in_eval():
            self._swap()
        for group in self.param_groups:
            group.pop(IN_EVAL, None)

    def _in_eval(self) -> bool:
        return any(IN_EVAL in group for group in self.param_groups)

    def _swap(self) -> None:
        for p, state in self.state.items():
            parameter = p.clone()
            p.copy_(state["average"])
            state["average"] = parameter  # a new tensor: another optimizer that loaded this state has the old one
