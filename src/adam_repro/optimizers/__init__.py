"""The method: one file a rule, its mathematics in the paper's symbols.

A rule is a pure, elementwise function `rule(theta, g, *state, t, *, lr, ...) -> (theta, *state)`.
It takes a parameter, its gradient, what is remembered of it, the number of the update (from 1) and
the hyper-parameters. It is called in three ways, hence plain arithmetic and no `if` but on flags:

- by the optimizer below it, with Python floats: they are float64, so that 1 - beta loses nothing;
- with K values of each hyper-parameter, shaped to broadcast over K members: K optimizers at once;
- with symbols in place of all arguments but the flags, to be compiled.

To add an optimizer, write its file and put its class into `OPTIMIZERS`. SFO is none of these: it is no
rule, and chooses its own minibatches.
"""

from .adadelta import AdaDelta
from .adagrad import AdaGrad
from .adam import Adam, AdamEpsHat
from .adamax import AdaMax
from .adamw import AdamW
from .amsgrad import AMSGrad
from .averaged_adam import AveragedAdam
from .decaying_adam import DecayingAdam
from .frozen_adam import FrozenAdam
from .rmsprop import RMSProp
from .rule import RuleOptimizer
from .sfo import SFO
from .sgd import SGD, SGDNesterov

OPTIMIZERS: tuple[type[RuleOptimizer], ...] = (
    Adam,
    AdamEpsHat,
    AdaMax,
    AveragedAdam,
    FrozenAdam,
    DecayingAdam,
    AMSGrad,
    AdamW,
    AdaGrad,
    AdaDelta,
    RMSProp,
    SGD,
    SGDNesterov,
)

__all__ = [
    "OPTIMIZERS",
    "SFO",
    "SGD",
    "AMSGrad",
    "AdaDelta",
    "AdaGrad",
    "AdaMax",
    "Adam",
    "AdamEpsHat",
    "AdamW",
    "AveragedAdam",
    "DecayingAdam",
    "FrozenAdam",
    "RMSProp",
    "RuleOptimizer",
    "SGDNesterov",
]
