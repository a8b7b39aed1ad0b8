"""Sections 2.1 and 3: the running means, their bias and its correction, noise and sparsity."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from adam_repro.data.order import generator
from adam_repro.measuring import Measurement, difference, steps
from adam_repro.optimizers import Adam

from .steps import random_gradients

PATHS = 100_000
MEAN = 0.5  # of the gradients whose noise has variance 1
TIMES = (1, 10, 100, 1000)
LARGE = 1e12  # an epsilon beside which sqrt(v_hat) is nothing

DISTANCES = (100.0, 30.0, 10.0, 3.0, 1.0, 0.3, 0.1, 0.0)  # from the optimum, in standard deviations of the gradient

EARLY_BETAS = [(beta1, beta2) for beta1 in (0.0, 0.9) for beta2 in (0.99, 0.999, 0.9999)]
EARLY_TIMES = (1, 2, 3, 5, 8, 12, 13, 20, 30, 50, 100, 200, 600, 2000, 6000)

SPARSITIES, LONG_MEMORIES = (1.0, 0.1, 0.01), (0.9, 0.99, 0.999, 0.9999)
SPARSE_STEPS, SPARSE_PATHS = 20_000, 1000


def annealing(seed: int) -> Iterator[Measurement]:
    """C8: mean |m_hat| / sqrt(v_hat) where the gradient is a distance to the optimum plus noise of variance 1."""
    randomness = generator(seed, 0, "C8")
    at = torch.tensor(DISTANCES, dtype=torch.float64)[:, None]
    for beta1 in (0.9, 0.0):
        m, v = torch.zeros(2, len(DISTANCES), 2000, dtype=torch.float64)
        zero = torch.zeros_like(m)
        sums, count = torch.zeros(len(DISTANCES), dtype=torch.float64), 0
        for t in range(1, 3001):
            g = at + torch.randn(m.shape, generator=randomness, dtype=torch.float64)
            step, m, v = Adam.rule(zero, g, m, v, t, lr=1.0, beta1=beta1, beta2=0.999, eps=0.0)
            if t > 2000 and t % 20 == 0:
                sums, count = sums + step.abs().mean(1), count + 1
        for distance, size in zip(DISTANCES, (sums / count).tolist(), strict=True):
            yield f"mean |m_hat| / sqrt(v_hat), beta1 = {beta1:g}", f"distance = {distance:g}", size


def unbiasedness(seed: int) -> Iterator[Measurement]:
    """C12: means of m_hat and v_hat over 100,000 paths, in standard errors from E g and E g^2.

    Both are read off the steps of the rule: with a huge epsilon and step size a step is -m_hat, and with beta1 = 0 and
    no epsilon it is -g / sqrt(v_hat).
    """
    randomness = generator(seed, 0, "C12")
    zero = m1 = v1 = m2 = v2 = torch.zeros(PATHS, dtype=torch.float64)
    for t in range(1, max(TIMES) + 1):
        g = MEAN + torch.randn(PATHS, generator=randomness, dtype=torch.float64)
        first, m1, v1 = Adam.rule(zero, g, m1, v1, t, lr=LARGE, beta1=0.9, beta2=0.999, eps=LARGE)
        second, m2, v2 = Adam.rule(zero, g, m2, v2, t, lr=1.0, beta1=0.0, beta2=0.999, eps=0.0)
        if t in TIMES:
            yield "m_hat: standard errors from E g", f"t = {t}", _z(-first, MEAN)
            yield "v_hat: standard errors from E g^2", f"t = {t}", _z((g / second) ** 2, MEAN**2 + 1)
    growing = (1 + torch.arange(1, 1001, dtype=torch.float64) / 1000)[:, None]  # gradients that double in size
    roots = growing / -steps(Adam, growing, beta1=0.0, eps=0.0)
    yield "v_hat / g^2 when gradients double in size over 1000 steps", "t = 1000", (roots[-1] / growing[-1]).item() ** 2


def _z(values: Tensor, expected: float) -> float:
    return ((values.mean() - expected) / (values.std() / len(values) ** 0.5)).item()


def early_steps(seed: int) -> Iterator[Measurement]:
    """C13: steps without bias correction against those with it, and against those of a schedule of step sizes."""
    gradients = random_gradients(seed, "C13", max(EARLY_TIMES))
    for beta1, beta2 in EARLY_BETAS:
        settings = {"beta1": beta1, "beta2": beta2, "eps": 0.0}
        corrected = steps(Adam, gradients, **settings)
        without = steps(Adam, gradients, **settings, bias_correction=False)
        ratio = (without / corrected).abs().median(1).values
        setting = f"beta1 = {beta1:g}, beta2 = {beta2:g}"
        for t in EARLY_TIMES:
            yield "step without correction / with it", f"{setting}, t = {t}", ratio[t - 1].item()
        yield "largest step without correction / with it", setting, ratio.max().item()
        yield "the step at which it is largest", setting, float(ratio.argmax() + 1)
        every = torch.arange(1, len(gradients) + 1, dtype=torch.float64)[:, None]
        schedule = (1 - beta1**every) / (1 - beta2**every) ** 0.5
        moved = difference((schedule * corrected).cumsum(0), without.cumsum(0))
        yield "relative difference of the path from that of the schedule", setting, moved


def sparse_gradients(seed: int) -> Iterator[Measurement]:
    """C14: relative standard deviation of v_hat where a gradient is normal with probability p and else zero.

    With E g^4 / (E g^2)^2 = 3 / p it is sqrt(w (3 / p - 1)), where w is the sum of the squared weights of v_hat.
    """
    randomness = generator(seed, 0, "C14")
    p = torch.tensor(SPARSITIES, dtype=torch.float64)[:, None]
    beta2 = torch.tensor(LONG_MEMORIES, dtype=torch.float64)[:, None, None]
    m, v = torch.zeros(2, len(LONG_MEMORIES), len(SPARSITIES), SPARSE_PATHS, dtype=torch.float64)
    for t in range(1, SPARSE_STEPS + 1):
        seen = torch.rand(SPARSE_PATHS, generator=randomness, dtype=torch.float64) < p
        g = seen * torch.randn(SPARSE_PATHS, generator=randomness, dtype=torch.float64)
        step, m, v = Adam.rule(0.0, g + 1e-30, m, v, t, lr=1.0, beta1=0.0, beta2=beta2, eps=0.0)
    estimate = ((g + 1e-30) / step) ** 2
    measured = estimate.std(-1) / p[:, 0]
    b = beta2[..., 0]
    weights = (1 - b) / (1 + b) * (1 - b ** (2 * SPARSE_STEPS)) / (1 - b**SPARSE_STEPS) ** 2
    expected = (weights * (3 / p[:, 0] - 1)).sqrt()
    for row, memory in enumerate(LONG_MEMORIES):
        for column, share in enumerate(SPARSITIES):
            setting = f"beta2 = {memory:g}, p = {share:g}"
            yield "relative standard deviation of v_hat", setting, measured[row, column].item()
            yield "the same by theory", setting, expected[row, column].item()
