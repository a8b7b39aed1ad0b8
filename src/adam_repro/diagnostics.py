"""What Adam's second moment looks like from inside (sections 2.1 and 6.3), by layer, from the optimizer's state."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from adam_repro.integrity import DIAGNOSTICS
from adam_repro.optimizers import Adam

COLUMNS = DIAGNOSTICS[1:]  # the first is the epoch


def has_moments(optimizer: torch.optim.Optimizer) -> bool:
    """Whether there is anything to look at: the moments of Algorithm 1, and steps that are made of them alone."""
    return isinstance(optimizer, Adam)


@torch.no_grad()
def by_layer(model: nn.Module, optimizer: torch.optim.Optimizer) -> Iterator[list]:
    """A row of ``COLUMNS`` for the weight of each layer, as the last step left it; nothing before the first.

    ``below_eps``: the fraction of coordinates with sqrt(v_hat) < eps; ``step_*``: quantiles of |step| / alpha, that is
    of |m_hat| / (sqrt(v_hat) + eps); ``snr``: the mean of |m_hat| / sqrt(v_hat) where v_hat is not zero (section 2.1).
    """
    names = {parameter: name for name, parameter in model.named_parameters()}
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            name = names[parameter]
            if parameter in optimizer.state and name.endswith("weight"):
                layer = name.removeprefix("layers.").removesuffix(".weight")
                yield [layer, *_numbers(optimizer.state[parameter], group)]


def _numbers(state: dict, group: dict) -> list[float]:
    m_hat, v_hat = (
        state[name] / (1 - group[beta] ** state["t"] if group["bias_correction"] else 1)
        for name, beta in (("m", "beta1"), ("v", "beta2"))
    )
    root = v_hat.sqrt().flatten()
    step = m_hat.abs().flatten() / (root + group["eps"])
    lively = root > 0
    snr = (m_hat.abs().flatten()[lively] / root[lively]).mean() if lively.any() else torch.tensor(float("nan"))
    numbers = ((root < group["eps"]).double().mean(), _quantile(root, 0.5), _quantile(step, 0.5), _quantile(step, 0.99))
    return [float(number) for number in (*numbers, step.max(), snr)]


def _quantile(values: Tensor, q: float) -> Tensor:
    """torch.quantile refuses more than 16 million values; this takes the nearest rank of any number of them."""
    return values.kthvalue(math.ceil(q * values.numel())).values
