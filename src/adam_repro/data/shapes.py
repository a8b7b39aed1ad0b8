"""The stand-in for CIFAR-10: coloured shapes before a clutter of colours."""

from __future__ import annotations

import functools
import hashlib
import math

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from adam_repro.data import Dataset
from adam_repro.data.order import generator
from adam_repro.data.whitening import description, standardised

VERSION = 1  # part of the checksum: raise it with any change of what is below
TRAIN, TEST = 8_000, 2_000
SIDE, CLASSES = 32, 10
TURN, SHIFT = math.radians(30), 0.25  # at the most, either way; shift in halves of the side
CLUTTER, NOISE = 0.3, 0.12
CONTRAST = 0.4  # between shape and ground, in each colour; half of it at the least


@functools.cache
def load() -> Dataset:
    """8,000 training and 2,000 test images of ten kinds of shape, float32 [n, 3, 32, 32].

    Their channels are standardised, whatever is asked for CIFAR-10: ZCA would take longer than all else here.
    """
    parts = []
    for purpose, size in (("train", TRAIN), ("test", TEST)):
        randomness = generator(0, 0, f"shapes {purpose}")
        labels = torch.randperm(size, generator=randomness) % CLASSES
        parts += [drawn(labels, randomness), labels]
    train, test = standardised(parts[0], parts[2])
    parameters = (VERSION, TRAIN, TEST, TURN, SHIFT, CLUTTER, NOISE, CONTRAST, description("standardised"))
    digest = hashlib.sha256(repr(parameters).encode())
    return Dataset("shapes", "stand-in", digest.hexdigest(), train, parts[1], test, parts[3])


def drawn(labels: Tensor, randomness: torch.Generator) -> Tensor:
    """An image uint8 [3, 32, 32] for each of ``labels`` [n]: its shape somewhere, of some size, turn and colour."""
    n = len(labels)

    def uniform(low: float, high: float, *shape: int) -> Tensor:
        return torch.rand(n, *shape, generator=randomness) * (high - low) + low

    turn, size = uniform(-TURN, TURN, 1, 1), uniform(0.45, 0.85, 1, 1)
    right, down = uniform(-SHIFT, SHIFT, 1, 1), uniform(-SHIFT, SHIFT, 1, 1)
    line = torch.linspace(-1, 1, SIDE)
    x, y = (line[None, None, :] - right) / size, (line[None, :, None] - down) / size
    x, y = turn.cos() * x + turn.sin() * y, turn.cos() * y - turn.sin() * x
    mask = _membership(labels, x, y)[:, None]
    clutter = interpolate(uniform(-1, 1, 3, 5, 5), size=(SIDE, SIDE), mode="bilinear", align_corners=False)
    behind = uniform(0.1, 0.5, 3, 1, 1)
    before = behind + uniform(CONTRAST / 2, CONTRAST, 3, 1, 1)
    image = torch.where(mask, before, behind) + CLUTTER * clutter
    noisy = image + NOISE * torch.randn(image.shape, generator=randomness)
    return (noisy.clamp(0, 1) * 255).round().byte()


def _membership(labels: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """Whether the point (x, y) of each image, in its shape's own coordinates, lies in the shape: bool [n, 32, 32]."""
    radius, angle = (x**2 + y**2).sqrt(), torch.atan2(y, x)
    square = torch.maximum(x.abs(), y.abs())
    inside = [
        radius < 0.75,  # disc
        square < 0.65,  # square
        (y > -0.5) & (y < 0.75 - 1.7 * x.abs()),  # triangle
        (radius < 0.8) & (radius > 0.45),  # ring
        (square < 0.75) & (square > 0.45),  # frame
        torch.minimum(x.abs(), y.abs()).lt(0.22) & (square < 0.8),  # cross
        radius < 0.55 + 0.28 * (5 * angle).cos(),  # five petals
        radius < 0.55 + 0.28 * (3 * angle).cos(),  # three petals
        (radius < 0.8) & (x > 0),  # half a disc
        (radius < 0.8) & ((x - 0.4) ** 2 + y**2 > 0.35),  # crescent
    ]
    chosen = torch.zeros_like(x, dtype=torch.bool)
    for label, shape in enumerate(inside):
        chosen |= shape & (labels == label)[:, None, None]
    return chosen
