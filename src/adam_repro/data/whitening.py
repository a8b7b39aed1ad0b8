"""Preparation of colour images: global contrast normalisation and whitening, or standardised channels.

The paper says "whitened" and no more. What was usual for CIFAR-10 at the time (Krizhevsky 2009, "Learning Multiple
Layers of Features from Tiny Images"; Goodfellow et al. 2013, "Maxout Networks", as in their pylearn2): each image's
mean is taken away and its norm set to 55, then ZCA, which makes pixels uncorrelated and keeps as near to the image as
that can be.
Pixels come in units of 0 to 255; the unit does not matter to either preparation.
"""

from __future__ import annotations

import torch
from torch import Tensor

from adam_repro.errors import UserError

SCALE = 55.0  # pylearn2's names: scale, min_divisor, filter_bias; sqrt_bias is 0 and use_std False
MIN_DIVISOR = 1e-8
FILTER_BIAS = 0.1
CHUNK = 5000  # images at a time: bounds what is held beside the data
VERSION = 1  # part of checksums: raise it with any change of what is below


def contrast_normalised(images: Tensor) -> Tensor:
    """Each of ``images`` [n, values] less its mean, with the norm ``SCALE``; an image of one colour becomes zeros."""
    centred = images - images.mean(1, keepdim=True)
    divisor = centred.norm(dim=1, keepdim=True) / SCALE
    return centred / torch.where(divisor < MIN_DIVISOR, 1.0, divisor)


def zca(train: Tensor) -> tuple[Tensor, Tensor]:
    """Mean [values] and whitening matrix [values, values] of ``train`` [n, values].

    The matrix is U diag(1 / sqrt(lambda + ``FILTER_BIAS``)) U^T for the covariance U diag(lambda) U^T; it is symmetric.
    """
    mean = torch.stack([part.double().sum(0) for part in train.split(CHUNK)]).sum(0) / len(train)
    covariance = torch.zeros(train.shape[1], train.shape[1], dtype=torch.float64)
    for part in train.split(CHUNK):
        centred = (part - mean).float()
        covariance += (centred.t() @ centred).double()
    values, vectors = torch.linalg.eigh(covariance / len(train))
    matrix = (vectors / (values.clamp(min=0) + FILTER_BIAS).sqrt()) @ vectors.t()
    return mean.float(), matrix.float()


def whitened(train: Tensor, test: Tensor) -> tuple[Tensor, Tensor]:
    """Images uint8 [n, 3, side, side], normalised and whitened by the statistics of ``train``: float32, same shapes."""
    results = []
    for images in (train, test):
        flat = torch.empty(len(images), images[0].numel())
        for part, source in zip(flat.split(CHUNK), images.split(CHUNK), strict=True):
            part.copy_(contrast_normalised(source.flatten(1).float()))
        results.append(flat)
    mean, matrix = zca(results[0])
    for flat in results:
        for part in flat.split(CHUNK):
            part.copy_((part - mean) @ matrix)
    return results[0].view(train.shape), results[1].view(test.shape)


def standardised(train: Tensor, test: Tensor) -> tuple[Tensor, Tensor]:
    """Images uint8 [n, 3, side, side] with channels of mean 0 and standard deviation 1 over all pixels of ``train``."""
    std, mean = zip(*(torch.std_mean(train[:, channel].double(), correction=0) for channel in range(3)), strict=True)
    centre, spread = (torch.stack(values).float()[:, None, None] for values in (mean, std))
    return (train.float() - centre).div_(spread), (test.float() - centre).div_(spread)


PREPROCESSING = {"whitened": whitened, "standardised": standardised}


def description(preprocessing: str) -> str:
    """What ``preprocessing`` does, for checksums; UserError for another than there are."""
    if preprocessing not in PREPROCESSING:
        raise UserError(
            f"dataset.preprocessing={preprocessing} is not allowed: give one of {', '.join(PREPROCESSING)}."
        )
    parameters = {"scale": SCALE, "min_divisor": MIN_DIVISOR, "filter_bias": FILTER_BIAS}
    return f"{preprocessing} {VERSION} {parameters if preprocessing == 'whitened' else {}}"
