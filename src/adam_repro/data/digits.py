"""The stand-in for MNIST: scikit-learn's real 8x8 digits, enlarged to 28x28 and jittered."""

from __future__ import annotations

import functools
import hashlib
import math
from importlib.metadata import distribution

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from adam_repro.data import Dataset
from adam_repro.data.order import generator

VERSION = 1  # part of the checksum: raise it with any change of what is below
TRAIN, TEST = 12_000, 2_000
TEST_ORIGINALS = 300  # of 1,797; no original is behind a training and a test image
SIDE = 28
ROTATION, ZOOM, SHIFT, NOISE = math.radians(15), 0.15, 0.15, 0.08


@functools.cache
def load() -> Dataset:
    """12,000 training and 2,000 test images of digits, pixels in [0, 1] in steps of 1/255, shape [n, 784]."""
    originals, targets = _originals()
    images = torch.from_numpy(originals).float() / 16
    labels = torch.from_numpy(targets)
    shuffled = torch.randperm(len(labels), generator=generator(0, 0, "stand-in originals"))
    parts = []
    for purpose, size, chosen in (
        ("train", TRAIN, shuffled[TEST_ORIGINALS:]),
        ("test", TEST, shuffled[:TEST_ORIGINALS]),
    ):
        picked = chosen[torch.arange(size) % len(chosen)]
        parts += [jittered(images[picked], generator(0, 0, f"stand-in {purpose}")), labels[picked]]
    # Of the source, not of the result: resampling may differ in a last bit between machines.
    source = hashlib.sha256(originals.tobytes() + targets.tobytes())
    source.update(f"version {VERSION}".encode())
    return Dataset("digits", "stand-in", source.hexdigest(), *parts)


def _originals() -> tuple[np.ndarray, np.ndarray]:
    """The images, float64 [1797, 8, 8] from 0 to 16, and labels, int64 [1797], of ``sklearn.datasets.load_digits``.

    From scikit-learn's file without its import, which takes each process a second.
    """
    file = distribution("scikit-learn").locate_file("sklearn/datasets/data/digits.csv.gz")
    rows = np.loadtxt(str(file), delimiter=",")
    return np.ascontiguousarray(rows[:, :-1]).reshape(-1, 8, 8), rows[:, -1].astype(np.int64)


def jittered(images: Tensor, randomness: torch.Generator) -> Tensor:
    """Each of ``images`` [n, 8, 8] turned, zoomed, shifted and made noisy a little, at 28x28: [n, 784]."""
    n = len(images)
    turn, zoom, right, down = torch.rand(4, n, generator=randomness) * 2 - 1
    cos, sin, scale = (ROTATION * turn).cos(), (ROTATION * turn).sin(), 1.1 + ZOOM * zoom
    rows = [scale * cos, -scale * sin, SHIFT * right, scale * sin, scale * cos, SHIFT * down]
    grid = functional.affine_grid(torch.stack(rows, 1).view(n, 2, 3), [n, 1, SIDE, SIDE], align_corners=False)
    large = functional.grid_sample(images[:, None], grid, mode="bicubic", align_corners=False).view(n, -1)
    noise = NOISE * torch.randn(large.shape, generator=randomness) * (large > 0.05)
    return ((large + noise).clamp(0, 1) * 255).round() / 255
