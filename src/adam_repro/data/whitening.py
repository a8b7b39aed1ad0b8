"""Preparation of colour images: global contrast normalisation and whitening, or standardised channels.

The paper says "whitened" and no more. What was usual for CIFAR-10 at the time (Krizhevsky 2009, "Learning Multiple
Layers of Features from Tiny Images"; Goodfellow et al. 2013, "Maxout Networks", as in their pylearn2): each image's
mean is taken away and its norm set to 55, then ZCA, which makes pixels uncorrelated and keeps as near to the image as
that can be.
"""

from __future__ import annotations

import torch
from torch import Tensor

SCALE = 55.0
SMALLEST_NORM = 1e-8
FILTER_BIAS = 0.1
CHUNK = 5000


def contrast_normalised(images: Tensor) -> Tensor:
    """Each of ``images`` [n, values] less its mean, with the norm ``SCALE``; an image of one colour becomes zeros."""
    centred = images - images.mean(1, keepdim=True)
    norm = centred.norm(dim=1, keepdim=True)
    return centred / torch.where(norm < SMALLEST_NORM, 1.0, norm / SCALE)


def zca(train: Tensor) -> tuple[Tensor, Tensor]:
    """Mean [values] and whitening matrix [values, values] of ``train`` [n, values].

    The matrix is U diag(1 / sqrt(lambda + ``FILTER_BIAS``)) U^T for the covariance U diag(lambda) U^T; it is symmetric.
    """
    mean = train.double().mean(0)
    covariance = torch.zeros(train.shape[1], train.shape[1], dtype=torch.float64)
    for part in train.split(CHUNK):
        centred = (part - mean).float()
        covariance += (centred.t() @ centred).double()
    values, vectors = torch.linalg.eigh(covariance / len(train))
    matrix = (vectors / (values.clamp(min=0) + FILTER_BIAS).sqrt()) @ vectors.t()
    return mean.float(), matrix.float()


def whitened(train: Tensor, test: Tensor) -> tuple[Tensor, Tensor]:
    """Images uint8 [n, 3, side, side], normalised and whitened by the statistics of ``train``: float32, same shapes."""
    flat = [contrast_normalised(images.flatten(1).float()) for images in (train, test)]
    mean, matrix = zca(flat[0])
    results = [torch.cat([(part - mean) @ matrix for part in images.split(CHUNK)]) for images in flat]
    return results[0].view(train.shape), results[1].view(test.shape)


def standardised(train: Tensor, test: Tensor) -> tuple[Tensor, Tensor]:
    """Images uint8 [n, 3, side, side] with channels of mean 0 and standard deviation 1 over all pixels of ``train``."""
    pixels = train.permute(1, 0, 2, 3).flatten(1)
    mean = torch.stack([channel.double().mean() for channel in pixels])[:, None, None]
    std = torch.stack([channel.double().std(correction=0) for channel in pixels])[:, None, None]
    return ((train - mean) / std).float(), ((test - mean) / std).float()


PREPROCESSING = {"whitened": whitened, "standardised": standardised}
