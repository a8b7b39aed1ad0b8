"""Sections 5 and 7.1: AdaGrad as a limit, RMSProp with momentum, natural gradients, L_p norms and AdaMax."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from adam_repro.data.order import generator
from adam_repro.measuring import Measurement, difference, steps
from adam_repro.optimizers import AdaGrad, Adam, AdaMax, RMSProp

from .steps import SCALES, random_gradients

LIMIT_STEPS = 1000
FORGETTING = [10.0**-power for power in range(3, 8)]  # 1 - beta2; at 1e-8 and below 1 - beta2^t loses its digits
POWERS = (1, 2, 4, 8, 16, 32, 64, 128)
POWER_SIZES = (1e-3, 1.0, 1e3)
LARGE_ENOUGH = 1e-300  # an epsilon that keeps 0 / 0 away and moves no float64 step


def adagrad_limit(seed: int) -> Iterator[Measurement]:
    """C19: Adam with beta1 = 0, beta2 -> 1 and the step size alpha / sqrt(t), with bias correction, against AdaGrad."""
    gradients = random_gradients(seed, "C19", LIMIT_STEPS)
    adagrad = steps(AdaGrad, gradients, lr=1e-3, eps=0.0).cumsum(0)
    t = torch.arange(1, LIMIT_STEPS + 1, dtype=torch.float64)[:, None]
    gaps = []
    for small in FORGETTING:
        adam = steps(Adam, gradients, lr=1e-3, beta1=0.0, beta2=1 - small, eps=0.0) / t.sqrt()
        gaps.append(difference(adam.cumsum(0), adagrad))
        yield "relative distance of the path from AdaGrad's", f"1 - beta2 = {small:g}", gaps[-1]
    yield "slope of log distance over log(1 - beta2)", "all", slope(FORGETTING, gaps)


def limit_without_correction(seed: int) -> Iterator[Measurement]:
    """C20: the same limit without bias correction: the size of the hundredth step."""
    gradients = random_gradients(seed, "C20", 100)
    forgetting = [10.0**-power for power in range(4, 13)]
    sizes = []
    for small in forgetting:
        taken = steps(Adam, gradients, beta1=0.0, beta2=1 - small, eps=0.0, bias_correction=False)
        sizes.append(taken[-1].abs().median().item())
        yield "median size of step 100 in units of alpha", f"1 - beta2 = {small:g}", sizes[-1]
    yield "slope of log size over log(1 - beta2)", "all", slope(forgetting, sizes)


def slope(x: list[float], y: list[float]) -> float:
    """Of the least-squares line through (log x, log y)."""
    a, b = (torch.tensor(values, dtype=torch.float64).log() for values in (x, y))
    a = a - a.mean()
    return ((a * (b - b.mean())).sum() / (a * a).sum()).item()


def rmsprop_with_momentum(seed: int) -> Iterator[Measurement]:
    """C21: RMSProp with momentum, in two forms, against Adam, where v stands still and where gradients jump.

    Momentum 0.9 sums what Adam averages: alpha is a tenth of Adam's. The corrected form divides both running means by
    1 - beta^t.
    """
    randomness = generator(seed, 0, "C21")
    signs = torch.randint(2, (LIMIT_STEPS * 4, 50), generator=randomness, dtype=torch.float64) * 2 - 1
    jumping = signs.clone()
    jumping[-200:] *= 100
    for setting, gradients, part in (
        ("v rising from zero", signs, slice(0, 200)),
        ("v constant", signs, slice(-200, None)),
        ("gradients a hundred times as large from one step to the next", jumping, slice(-200, None)),
    ):
        for name, correction, momentum in (
            ("Adam without correction against RMSProp with momentum", False, steps_of_rmsprop(gradients)),
            ("Adam against RMSProp with momentum and corrections", True, corrected_rmsprop(gradients)),
        ):
            adam = steps(Adam, gradients, beta2=0.99, eps=LARGE_ENOUGH, bias_correction=correction)
            yield f"relative distance of 200 steps: {name}", setting, difference(adam[part], momentum[part])


def steps_of_rmsprop(gradients: Tensor) -> Tensor:
    return steps(RMSProp, gradients, lr=0.1, rho=0.99, momentum=0.9, eps=LARGE_ENOUGH)


def corrected_rmsprop(gradients: Tensor) -> Tensor:
    """RMSProp with momentum on the rescaled gradient, both means corrected for their start at zero."""
    v, b = torch.zeros(2, gradients.shape[1], dtype=torch.float64)
    taken = []
    for t, g in enumerate(gradients, start=1):
        v = 0.99 * v + 0.01 * g**2
        b = 0.9 * b + 0.1 * g / (v / (1 - 0.99**t)).sqrt()
        taken.append(-b / (1 - 0.9**t))
    return torch.stack(taken)


def natural_gradient(seed: int) -> Iterator[Measurement]:
    """C22: by what power of the mean squared gradient Adam divides the gradient. A natural gradient divides by its
    first power, E g^2 being the diagonal of the Fisher matrix."""
    sizes = []
    for c in SCALES:
        gradients = c * random_gradients(seed, "C22")
        ratio = (steps(Adam, gradients, beta1=0.0, eps=0.0)[-1] / gradients[-1]).abs()
        sizes.append(ratio.median().item())
        yield "step / gradient in units of alpha", f"gradients times {c:g}", sizes[-1]
    yield "slope of log(step / gradient) over log E g^2", "all", slope([c**2 for c in SCALES], sizes)


def powers(seed: int) -> Iterator[Measurement]:
    """C23: the L_p rule v <- beta2^p v + (1 - beta2^p) |g|^p with the step alpha m_hat / v_hat^(1/p), in float32.

    A step counts as wrong if it is not finite or lies more than 10 % off the same in float64, computed in logarithms.
    p = inf is AdaMax.
    """
    gradients = random_gradients(seed, "C23")
    for size in POWER_SIZES:
        for p in POWERS:
            taken, exact = lp_steps((size * gradients).float(), p), exact_lp_steps(size * gradients, p)
            yield "share of wrong steps in float32", f"p = {p}, gradients of about {size:g}", wrong(taken, exact)
        taken = steps(AdaMax, (size * gradients).float(), eps=0.0)
        exact = steps(AdaMax, size * gradients, eps=0.0)
        yield "share of wrong steps in float32", f"p = inf, gradients of about {size:g}", wrong(taken, exact)


def wrong(taken: Tensor, exact: Tensor) -> float:
    off = (taken.double() - exact).abs() > 0.1 * exact.abs()
    return (off | ~taken.isfinite()).double().mean().item()


def lp_steps(gradients: Tensor, p: int, beta1: float = 0.9, beta2: float = 0.999) -> Tensor:
    """The steps of section 7.1 before the limit, as written there, in the precision of ``gradients``."""
    m, v = torch.zeros(2, gradients.shape[1], dtype=gradients.dtype)
    taken = []
    for t, g in enumerate(gradients, start=1):
        m = beta1 * m + (1 - beta1) * g
        v = beta2**p * v + (1 - beta2**p) * g.abs() ** p
        v_hat = v / (1 - beta2 ** (p * t))
        taken.append(-m / (1 - beta1**t) / v_hat ** (1 / p))
    return torch.stack(taken)


def exact_lp_steps(gradients: Tensor, p: int, beta1: float = 0.9, beta2: float = 0.999) -> Tensor:
    """The same in float64 with log v, which neither overflows nor underflows."""
    m = torch.zeros(gradients.shape[1], dtype=torch.float64)
    log_v = torch.full_like(m, -math.inf)
    taken = []
    for t, g in enumerate(gradients, start=1):
        m = beta1 * m + (1 - beta1) * g
        log_v = torch.logaddexp(log_v + p * math.log(beta2), math.log1p(-(beta2**p)) + p * g.abs().log())
        taken.append(-m / (1 - beta1**t) * torch.exp(-(log_v - math.log1p(-(beta2 ** (p * t)))) / p))
    return torch.stack(taken)


def adamax_first_step(seed: int) -> Iterator[Measurement]:
    """C24: AdaMax's first step, and its u under gradients of constant size, from which no correction is missing."""
    randomness = generator(seed, 0, "C24")
    signs = torch.randint(2, (100, 50), generator=randomness, dtype=torch.float64) * 2 - 1
    for size in SCALES:
        (step,) = steps(AdaMax, size * signs[:1], eps=0.0)
        yield "relative error of the first step", f"|g| = {size:g}", (step / -signs[0] - 1).abs().max().item()
        u = torch.zeros(50, dtype=torch.float64)
        off = 0.0
        for t, g in enumerate(size * signs, start=1):
            *_, u = AdaMax.rule(0.0, g, 0.0, u, t, lr=1.0, beta1=0.9, beta2=0.999, eps=0.0)
            off = max(off, (u / size - 1).abs().max().item())
        yield "relative error of u under gradients of constant size", f"|g| = {size:g}", off


def adamax_bound(seed: int) -> Iterator[Measurement]:
    """C25: the largest steps of AdaMax. The worst gradients shrink like beta2^t: u then forgets nothing."""
    for beta1, beta2 in ((0.9, 0.999), (0.9, 0.99), (0.9, 0.95)):
        gradients = (beta2 ** torch.arange(3000, dtype=torch.float64))[:, None]
        setting = f"beta1 = {beta1:g}, beta2 = {beta2:g}"
        taken = steps(AdaMax, gradients, beta1=beta1, beta2=beta2, eps=0.0).abs()
        yield "size of the largest step in units of alpha", setting, taken.max().item()
        yield "its limit for long sequences", setting, (1 - beta1) / (1 - beta1 / beta2)
