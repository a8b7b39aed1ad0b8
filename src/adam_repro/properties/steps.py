"""Sections 1, 2 and 2.1: the size of steps, what changes it, the order of computation, memory."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from adam_repro.data.order import generator
from adam_repro.measuring import Measurement, difference, steps
from adam_repro.models import SoftmaxRegression
from adam_repro.optimizers import Adam, AdamEpsHat

STEPS, SIZE = 200, 50
SCALES = [10.0**power for power in range(-8, 9, 2)]
PROBLEMS = 10

SPIKE_BETAS = ((0.9, 0.999), (0.9, 0.9999), (0.0, 0.999))  # 1 - beta1 > sqrt(1 - beta2)
OTHER_BETAS = ((0.9, 0.99), (0.9, 0.9), (0.95, 0.9))  # 1 - beta1 <= sqrt(1 - beta2)
SPIKE_AFTER = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000, 20_000)
WORST_LENGTHS = {0.9: 60, 0.99: 1000, 0.999: 3000, 0.9999: 3000}  # by beta2; longer ones underflow or add nothing


def path(gradients: Tensor, **settings: float | bool) -> Tensor:
    """Adam's positions after each of ``gradients`` [T, size], from zero: [T, size]."""
    return steps(Adam, gradients, lr=1e-3, **settings).cumsum(0)


def random_gradients(seed: int, claim: str, count: int = STEPS) -> Tensor:
    """A stream of gradients with a mean and noise of its own in each coordinate, [count, 50], float64."""
    randomness = generator(seed, 0, claim)
    mean = torch.randn(SIZE, generator=randomness, dtype=torch.float64)
    return mean + torch.randn(count, SIZE, generator=randomness, dtype=torch.float64)


def scale_invariance(seed: int) -> Iterator[Measurement]:
    """C1: all gradients times c."""
    gradients = random_gradients(seed, "C1")
    straight = path(gradients, eps=0.0)
    for c in SCALES:
        moved = difference(path(c * gradients, eps=0.0), straight)
        yield "relative difference of the path, eps = 0", f"c = {c:g}", moved
    with_eps = path(gradients, eps=1e-8)
    broken = [
        c for c in (10.0**-power for power in range(13)) if difference(path(c * gradients, eps=1e-8), with_eps) > 0.01
    ]
    yield "largest |c| at which the path with eps = 1e-8 differs by 1 %", "powers of ten", max(broken)
    single = gradients.float()
    moved = difference(path(1e-3 * single, eps=0.0), path(single, eps=0.0))
    yield "relative difference of the path, eps = 0, in float32", "c = 0.001", moved


def diagonal_invariance(seed: int) -> Iterator[Measurement]:
    """C2: each coordinate of the gradient times a factor of its own; and a rotation, which is no such thing."""
    for problem in range(PROBLEMS):
        gradients = random_gradients(seed + problem, "C2")
        randomness = generator(seed + problem, 0, "C2 factors")
        factors = 10 ** (6 * torch.rand(SIZE, generator=randomness, dtype=torch.float64) - 3)
        rotation, _ = torch.linalg.qr(torch.randn(SIZE, SIZE, generator=randomness, dtype=torch.float64))
        straight, setting = path(gradients, eps=0.0), f"problem {problem}"
        moved = difference(path(factors * gradients, eps=0.0), straight)
        yield "relative difference of the path, eps = 0", setting, moved
        moved = difference(path(factors * gradients, eps=1e-8), path(gradients, eps=1e-8))
        yield "relative difference of the path, eps = 1e-8", setting, moved
        moved = difference(path(gradients @ rotation, eps=0.0), straight @ rotation)
        yield "relative difference of the path under a rotation, eps = 0", setting, moved


def first_step(seed: int) -> Iterator[Measurement]:
    """C3: the first step, for gradients from 1e-8 to 1e8, in both orders of computation."""
    randomness = generator(seed, 0, "C3")
    signs = torch.randint(2, (SIZE,), generator=randomness, dtype=torch.float64) * 2 - 1
    eps, beta2 = 1e-8, 0.999

    def worst(optimizer: type[Adam] | type[AdamEpsHat], g: Tensor, eps: float, expected: float) -> float:
        (step,) = steps(optimizer, g[None], eps=eps)
        return (step / (-signs * expected) - 1).abs().max().item()

    for size in SCALES:
        g, setting = signs * size, f"|g| = {size:g}"
        yield "relative error of the first step, eps = 0", setting, worst(Adam, g, 0.0, 1.0)
        yield "relative error of lr / (1 + eps / |g|), eps = 1e-8", setting, worst(Adam, g, eps, 1 / (1 + eps / size))
        expected = 1 / (1 + eps / (size * (1 - beta2) ** 0.5))
        quantity = "relative error of lr / (1 + eps_hat / (|g| sqrt(1 - beta2))), eps_hat = 1e-8"
        yield quantity, setting, worst(AdamEpsHat, g, eps, expected)


def spike(seed: int) -> Iterator[Measurement]:
    """C4: the step at a gradient that follows only zeros, against (1 - beta1) / sqrt(1 - beta2) alpha."""
    gradients = torch.zeros(max(SPIKE_AFTER), len(SPIKE_AFTER), dtype=torch.float64)
    for column, t in enumerate(SPIKE_AFTER):
        gradients[t - 1, column] = 1
    for beta1, beta2 in SPIKE_BETAS:
        taken = steps(Adam, gradients, beta1=beta1, beta2=beta2, eps=1e-300).abs()
        for column, t in enumerate(SPIKE_AFTER):
            setting = f"beta1 = {beta1:g}, beta2 = {beta2:g}, t = {t}"
            size = taken[t - 1, column].item()
            yield "size of the step in units of alpha", setting, size
            yield "size of the step in units of the bound", setting, size / bound(beta1, beta2)


def bound(beta1: float, beta2: float) -> float:
    """The paper's bound on a step, in units of alpha (section 2.1)."""
    first = (1 - beta1) / (1 - beta2) ** 0.5
    return first if first > 1 else 1.0


def worst(beta1: float, beta2: float, length: int) -> float:
    """The largest step, in units of alpha, that ``length`` gradients can make Adam take.

    By the inequality of Cauchy and Schwarz the worst gradients grow like (beta2 / beta1)^t.
    """
    if beta1 == 0:
        gradients = torch.zeros(length, 1, dtype=torch.float64)
        gradients[-1] = 1
    else:
        back = torch.arange(length - 1, -1, -1, dtype=torch.float64)
        gradients = ((beta1 / beta2) ** back)[:, None]
    return steps(Adam, gradients, beta1=beta1, beta2=beta2, eps=1e-300)[-1].abs().item()


def _worst_of(betas: tuple[tuple[float, float], ...]) -> Iterator[Measurement]:
    for beta1, beta2 in betas:
        length = WORST_LENGTHS[beta2]
        setting, found = f"beta1 = {beta1:g}, beta2 = {beta2:g}, {length} steps", worst(beta1, beta2, length)
        yield "size of the worst step in units of alpha", setting, found
        yield "size of the worst step in units of the bound", setting, found / bound(beta1, beta2)
        r = beta1**2 / beta2
        supremum = (1 - beta1) / (1 - beta2) ** 0.5 / (1 - r) ** 0.5 if r < 1 else float("inf")
        yield "its limit for long sequences, in units of alpha", setting, supremum


def worst_sequence(seed: int) -> Iterator[Measurement]:
    """C5: the same bound against the worst sequence."""
    yield from _worst_of(SPIKE_BETAS)


def worst_sequence_otherwise(seed: int) -> Iterator[Measurement]:
    """C6: the bound alpha, where 1 - beta1 <= sqrt(1 - beta2), against the worst sequence."""
    yield from _worst_of(OTHER_BETAS)


def memory(seed: int) -> Iterator[Measurement]:
    """C10: the bytes that the optimizer holds after a step, counted; and AMSGrad's, for contrast."""
    builders: dict[str, Callable] = {
        "bytes of state for each byte of parameters": Adam,
        "the same for AMSGrad": lambda parameters: torch.optim.Adam(parameters, amsgrad=True),
    }
    for dtype, in_features in itertools.product((torch.float32, torch.float64), (10, 784, 10_000)):
        for quantity, build in builders.items():
            model = SoftmaxRegression(in_features, 10).to(dtype)
            optimizer = build(model.parameters())
            model(torch.ones(1, in_features, dtype=dtype)).sum().backward()
            optimizer.step()
            parameters = list(model.parameters())
            held = [value for p in parameters for value in optimizer.state[p].values() if torch.is_tensor(value)]
            size = sum(value.nbytes for value in held if value.dim()) / sum(p.nbytes for p in parameters)
            yield quantity, f"{in_features} inputs, {str(dtype).removeprefix('torch.')}", size


def order_of_computation(seed: int) -> Iterator[Measurement]:
    """C11: the reordered form, with the eps_hat that matches at each step, and with eps_hat = eps throughout."""
    beta2, lr, eps = 0.999, 1e-3, 1e-8
    for size in (1.0, 1e-4, 1e-6):
        gradients = size * random_gradients(seed, "C11", 2000)
        straight = path(gradients, eps=eps)
        theta, m, v = torch.zeros(3, SIZE, dtype=torch.float64)
        positions = []
        for t, g in enumerate(gradients, start=1):
            matching = eps * (1 - beta2**t) ** 0.5
            theta, m, v = AdamEpsHat.rule(theta, g, m, v, t, lr=lr, beta1=0.9, beta2=beta2, eps=matching)
            positions.append(theta)
        setting = f"gradients of about {size:g}"
        moved = difference(torch.stack(positions), straight)
        yield "relative difference of the path, eps_hat = eps sqrt(1 - beta2^t)", setting, moved
        reordered = steps(AdamEpsHat, gradients, lr=lr, eps=eps).cumsum(0)
        yield "relative difference of the path, eps_hat = eps", setting, difference(reordered, straight)
