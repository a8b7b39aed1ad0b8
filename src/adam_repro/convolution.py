"""Convolutions as products of spectra (Mathieu, Henaff & LeCun 2014, arXiv:1312.5851, section 2).

PyTorch's are direct: 5x5 filters over 16x16 pixels take 25 multiplications for every pixel, channel and filter. By the
convolution theorem spectra of 18x18 points take two, for half of the points are the conjugates of the others and one
complex product is three real ones. The Fourier transforms of so few pixels are products of matrices as well, along
which images and channels ride; for 64 channels, 64 filters and 128 images they take three more. So the whole is a
bilinear map, as Winograd's are (Lavin & Gray 2016, arXiv:1509.09308):

    y = S (A x · B w)

for each image, channel and filter, summed over channels, with matrices A, B and S. Its gradients are the same products
with each matrix transposed.
"""

from __future__ import annotations

import math
from functools import cache
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

FEWEST_CHANNELS = 16  # with the three colours of an image the transforms would cost more than they save


class Convolution(nn.Conv2d):
    """``nn.Conv2d`` that keeps the size of images: stride 1, an odd kernel, half of it padded with zeros.

    Square images of at least ``FEWEST_CHANNELS`` go by their spectra, all else goes PyTorch's way, errors
    included. Shapes:
    [batch, in_channels, side, side] in any order of memory to [batch, out_channels, side, side], channels innermost.
    ValueError for an even kernel, which has no middle.
    """

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int):
        if kernel_size % 2 == 0:
            raise ValueError(f"kernel_size={kernel_size} is not allowed: give an odd number.")
        super().__init__(in_channels, out_channels, kernel_size, padding=kernel_size // 2)

    def forward(self, x: Tensor) -> Tensor:
        if self.in_channels < FEWEST_CHANNELS or not self._has_spectra(x):
            return super().forward(x)
        return _BySpectra.apply(x, self.weight, self.bias)

    def _has_spectra(self, x: Tensor) -> bool:
        return x.dim() == 4 and x.shape[1] == self.in_channels and x.shape[2] == x.shape[3] and x.numel() > 0


class Transforms(NamedTuple):
    """The matrices: A is ``rows`` after ``columns``, B is ``filters``, S is ``columns_back`` after ``rows_back``.

    "Part" is the real or the imaginary one; a "product" one of the three whose sums are a complex product:
    (Xr + Xi) Wr, Xr (Wi - Wr) and Xi (Wr + Wi), of which the first less the third is the real part, and the first plus
    the second the imaginary one.
    """

    columns: Tensor  # [2 half, side]: the pixels of a row, to (part, frequency)
    rows: Tensor  # [3 period, 2 side]: (pixel, part) of a column, to (factor of product, frequency)
    filters: Tensor  # [3 period half, kernel²]: a filter, to (factor of product, frequencies of both)
    rows_back: Tensor  # [2 side, 3 period]: (product, frequency) of a column, to (pixel, part)
    columns_back: Tensor  # [side, 2 half]: (part, frequency) of a row, to its pixels


@cache
def transforms(side: int, kernel: int, dtype: torch.dtype, device: torch.device) -> Transforms:
    """For images of side² pixels and filters of kernel² numbers.

    A period of side + kernel // 2 is enough: of what wraps around it, only zeros meet a pixel that is kept.
    """
    period = side + kernel // 2
    half = period // 2 + 1  # the other frequencies of a row are the conjugates of these
    frequency = torch.arange(period, dtype=torch.float64)
    turn = 2 * math.pi / period

    angle = turn * torch.outer(frequency, torch.arange(side, dtype=torch.float64))  # [period, side]
    cos, sin = angle.cos(), angle.sin()

    columns = torch.cat([cos[:half], -sin[:half]])
    real, imaginary = torch.stack([cos, sin], 2), torch.stack([-sin, cos], 2)  # of (a + ib) exp(-i angle)
    rows = torch.cat([real + imaginary, real, imaginary])

    # y at p is the sum of w at k times x at p + k - kernel // 2: a correlation, so the filter's spectrum is conjugate.
    lag = torch.arange(kernel, dtype=torch.float64) - kernel // 2
    down, across = turn * torch.outer(frequency, lag), turn * torch.outer(frequency[:half], lag)
    of_both = down[:, None, :, None] + across[None, :, None, :]
    filters = torch.cat([of_both.cos(), of_both.sin() - of_both.cos(), of_both.cos() + of_both.sin()])

    of_real, of_imaginary = torch.stack([cos, sin]), torch.stack([-sin, cos])  # of (a + ib) exp(i angle), for a and b
    rows_back = torch.cat([of_real + of_imaginary, of_imaginary, -of_real], 1).permute(2, 0, 1)
    shares = torch.full((half, 1), 2.0, dtype=torch.float64)  # a point's and its conjugate's
    shares[0] = 1
    if period % 2 == 0:
        shares[-1] = 1
    columns_back = torch.cat([shares * cos[:half], -shares * sin[:half]]).t() / period**2

    matrices = (
        columns,
        rows.reshape(3 * period, 2 * side),
        filters.reshape(3 * period * half, kernel**2),
        rows_back.reshape(2 * side, 3 * period),
        columns_back,
    )
    return Transforms(*(matrix.to(device, dtype) for matrix in matrices))


class _BySpectra(torch.autograd.Function):
    """x [n, c, side, side], weight [k, c, kernel, kernel], bias [k]: the convolution plus bias, [n, k, side, side].

    Between the transforms pixels come first, [side, side, n, c], so that each transform is one product of matrices.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        (n, c, side, _), (k, _, kernel, _) = x.shape, weight.shape
        by = transforms(side, kernel, x.dtype, x.device)
        xs = analysis(x, by.columns, by.rows)
        ws = torch.mm(by.filters, weight.permute(2, 3, 1, 0).reshape(kernel**2, c * k)).view(-1, c, k)
        y = synthesis(torch.bmm(xs, ws), by.rows_back, by.columns_back)
        ctx.save_for_backward(xs, ws)
        ctx.side, ctx.kernel = side, kernel
        return torch.add(y.permute(2, 0, 1, 3), bias, out=y.new_empty(n, side, side, k)).permute(0, 3, 1, 2)

    @staticmethod
    @once_differentiable  # for what is kept is no input
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor, Tensor]:
        xs, ws = ctx.saved_tensors
        (g,) = gradients
        _, c, k = ws.shape
        by = transforms(ctx.side, ctx.kernel, g.dtype, g.device)
        gs = analysis(g, by.columns_back.t(), by.rows_back.t())
        filters = torch.mm(by.filters.t(), torch.bmm(xs.mT, gs).view(-1, c * k))
        weight = filters.view(ctx.kernel, ctx.kernel, c, k).permute(3, 2, 0, 1)
        weight = weight.contiguous(memory_format=torch.channels_last)
        back = None
        if ctx.needs_input_grad[0]:
            pixels = synthesis(torch.bmm(gs, ws.mT), by.rows.t(), by.columns.t())
            back = pixels.permute(2, 3, 0, 1).contiguous(memory_format=torch.channels_last)
        return back, weight, g.sum((0, 2, 3))


def analysis(x: Tensor, columns: Tensor, rows: Tensor) -> Tensor:
    """Images x [n, c, side, side] to factors [points, n, c]: ``rows`` after ``columns``."""
    n, c, side, _ = x.shape
    halves = torch.matmul(columns, x.permute(2, 3, 0, 1).reshape(side, side, n * c))
    return torch.mm(rows, halves.view(2 * side, -1)).view(-1, n, c)


def synthesis(products: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Products [points, n, c] to images [side, side, n, c]: ``columns`` after ``rows``."""
    _, n, c = products.shape
    side, across = columns.shape
    halves = torch.mm(rows, products.view(rows.shape[1], -1))
    return torch.matmul(columns, halves.view(side, across, n * c)).view(side, side, n, c)
