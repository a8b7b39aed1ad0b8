"""Stochastic gradient descent: plain, with the heavy ball, and with Nesterov's momentum."""

from __future__ import annotations

from torch.optim.optimizer import ParamsT

from .rule import RuleOptimizer


def sgd(theta, g, b, t, *, lr, momentum):
    b = momentum * b + g
    return theta - lr * b, b


class SGD(RuleOptimizer):
    """Step against a fading sum of the gradients, which without momentum is the gradient itself.

    With g the gradient at theta, everything elementwise, and b = 0 at first::

        b <- mu * b + g
        theta <- theta - alpha * b

    Args:
        params: theta, the parameters, or groups of them.
        lr: alpha, the step size, in the units of theta over those of g.
        momentum: mu, the decay rate of b; 0 is plain gradient descent.

    Form: torch's, the heavy ball. A gradient enters b with the weight 1, not 1 - mu, so that mu
    lengthens steady steps 1 / (1 - mu) times; alpha stands outside b and rescales it as a whole.

    Defaults: lr is that of Keras (no paper names one), and no momentum.

    Reference: Polyak 1964, "Some methods of speeding up the convergence of iteration methods".
    """

    rule = staticmethod(sgd)
    state_names = ("b",)

    def __init__(self, params: ParamsT, lr: float = 1e-2, *, momentum: float = 0.0) -> None:
        super().__init__(params, lr=lr, momentum=momentum)


def sgd_nesterov(theta, g, b, t, *, lr, momentum):
    b = momentum * b + g
    return theta - lr * (g + momentum * b), b


class SGDNesterov(RuleOptimizer):
    """Momentum whose gradient is taken at the point to which the momentum is about to lead.

    With g the gradient at theta, everything elementwise, and b = 0 at first::

        b <- mu * b + g
        theta <- theta - alpha * (g + mu * b)

    Args:
        params: theta, the look-ahead parameters, or groups of them.
        lr: alpha, the step size, in the units of theta over those of g.
        momentum: mu, the decay rate of b.

    Form: torch's, with alpha outside b. Sutskever et al. keep a velocity w with alpha inside: w <-
    mu * w - alpha * g, then theta <- theta + mu * w - alpha * g. While alpha is constant, w is
    -alpha * b and the two are one. When alpha falls, as alpha / sqrt(t) does, theirs carries older
    gradients on at the step sizes they came with, and this one at the new, smaller step size.

    Defaults: lr is that of Keras, momentum the customary 0.9; no paper names either.

    Reference: Sutskever, Martens, Dahl and Hinton 2013, "On the importance of initialization and
    momentum in deep learning", equations 3 and 4, after Nesterov 1983.
    """

    rule = staticmethod(sgd_nesterov)
    state_names = ("b",)

    def __init__(self, params: ParamsT, lr: float = 1e-2, *, momentum: float = 0.9) -> None:
        super().__init__(params, lr=lr, momentum=momentum)
