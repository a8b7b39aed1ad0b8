"""Measures what the paper says about Algorithm 1 itself: in float64, on gradients of our own, with no data set.

Each function yields the measurements of one claim as (quantity, setting, value). What they mean for the claim is
decided in ``analysis/claims/properties.py``.
"""

from __future__ import annotations

import datetime
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pandas as pd
import torch
from torch import Tensor

from adam_repro import records
from adam_repro.analysis.measurements import COLUMNS
from adam_repro.data.order import generator
from adam_repro.models import SoftmaxRegression
from adam_repro.optimizers import Adam, AdamEpsHat
from adam_repro.surroundings import surroundings

Measurement = tuple[str, str, float]

STEPS, SIZE = 200, 50
SETTINGS = {"lr": 1e-3, "beta1": 0.9, "beta2": 0.999}
SCALES = [10.0**power for power in range(-8, 9, 2)]
PROBLEMS = 10


def path(gradients: Tensor, *, eps: float) -> Tensor:
    """Adam's positions after each of ``gradients`` [steps, size], from zero: [steps, size]."""
    theta, m, v = torch.zeros(3, gradients.shape[1], dtype=gradients.dtype)
    positions = []
    for t, g in enumerate(gradients, start=1):
        theta, m, v = Adam.rule(theta, g, m, v, t, eps=eps, **SETTINGS)
        positions.append(theta)
    return torch.stack(positions)


def random_gradients(seed: int, claim: str) -> Tensor:
    """A stream of gradients with a mean and noise of its own in each coordinate, [200, 50], float64."""
    randomness = generator(seed, 0, claim)
    mean = torch.randn(SIZE, generator=randomness, dtype=torch.float64)
    return mean + torch.randn(STEPS, SIZE, generator=randomness, dtype=torch.float64)


def difference(a: Tensor, b: Tensor) -> float:
    """The largest distance between two paths, relative to the farther one's extent."""
    return ((a - b).abs().max() / torch.maximum(a.abs(), b.abs()).max()).item()


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
    zero = torch.zeros(SIZE, dtype=torch.float64)
    lr, beta2, eps = SETTINGS["lr"], SETTINGS["beta2"], 1e-8

    def worst(rule: Callable, g: Tensor, eps: float, expected: Tensor) -> float:
        theta, *_ = rule(zero, g, zero, zero, 1, eps=eps, **SETTINGS)
        return (theta / (-lr * signs * expected) - 1).abs().max().item()

    for size in SCALES:
        g, setting = signs * size, f"|g| = {size:g}"
        root = abs(size) * (1 - beta2) ** 0.5
        one = torch.ones(SIZE, dtype=torch.float64)
        yield "relative error of the first step, eps = 0", setting, worst(Adam.rule, g, 0.0, one)
        expected = one / (1 + eps / size)
        yield "relative error of lr / (1 + eps / |g|), eps = 1e-8", setting, worst(Adam.rule, g, eps, expected)
        quantity = "relative error of lr / (1 + eps_hat / (|g| sqrt(1 - beta2))), eps_hat = 1e-8"
        yield quantity, setting, worst(AdamEpsHat.rule, g, eps, one / (1 + eps / root))


def memory(seed: int) -> Iterator[Measurement]:
    """C10: the bytes that the optimizer holds after a step, counted."""
    for dtype in (torch.float32, torch.float64):
        for in_features in (10, 784, 10_000):
            model = SoftmaxRegression(in_features, 10).to(dtype)
            optimizer = Adam(model.parameters())
            model(torch.ones(1, in_features, dtype=dtype)).sum().backward()
            optimizer.step()
            parameters = list(model.parameters())
            held = [value for p in parameters for value in optimizer.state[p].values() if torch.is_tensor(value)]
            setting = f"{in_features} inputs, {str(dtype).removeprefix('torch.')}"
            size = sum(p.nbytes for p in parameters)
            yield "bytes of state for each byte of parameters", setting, sum(value.nbytes for value in held) / size


MEASURED: dict[str, Callable[[int], Iterator[Measurement]]] = {
    "C1": scale_invariance,
    "C2": diagonal_invariance,
    "C3": first_step,
    "C10": memory,
}


def write(folder: Path, *, scale: str, seed: int, command: str) -> None:
    """Measure everything and write ``measurements.csv`` and ``provenance.json`` into ``folder``.

    The measurements are the same at every scale.
    """
    rows = [(claim, *measurement) for claim, measure in MEASURED.items() for measurement in measure(seed)]
    text = pd.DataFrame(rows, columns=COLUMNS).to_csv(index=False, float_format="%.6g", lineterminator="\n")
    records.write_atomically(folder / "measurements.csv", text)
    provenance = {
        "figure": folder.name,
        "scale": scale,
        "experiment": "properties",
        "provenance": "synthetic",
        "seeds": [seed],
        **surroundings(),
        "command": command,
        "written": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }
    records.write_atomically(folder / "provenance.json", json.dumps(provenance, indent=2) + "\n")
