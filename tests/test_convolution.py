"""A convolution by spectra is PyTorch's, its gradients too."""

import pytest
import torch
from torch.nn.functional import conv2d

from adam_repro.convolution import FEWEST_CHANNELS, Convolution, _BySpectra


def inputs(*, n: int, channels: int, side: int, filters: int, kernel: int, dtype: torch.dtype) -> list[torch.Tensor]:
    """Images, filters and a bias, as a network hands them on: channels innermost."""
    generator = torch.Generator().manual_seed(side)
    shapes = (n, channels, side, side), (filters, channels, kernel, kernel), (filters,)
    tensors = [torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype) for shape in shapes]
    tensors[:2] = [tensor.contiguous(memory_format=torch.channels_last) for tensor in tensors[:2]]
    return [tensor.requires_grad_() for tensor in tensors]


def value_and_gradients(convolve, tensors: list[torch.Tensor]) -> list[torch.Tensor]:
    y = convolve(*tensors)
    weights = torch.linspace(-1, 2, y.numel(), dtype=y.dtype).view(y.shape)
    return [y.detach(), *torch.autograd.grad(y, tensors, weights)]


def direct(x, weight, bias):
    return conv2d(x, weight, bias, padding=weight.shape[-1] // 2)


@pytest.mark.parametrize(("side", "kernel"), [(16, 5), (8, 5), (9, 5), (5, 3), (3, 7), (2, 1), (1, 3)])
def test_a_convolution_by_spectra_is_the_direct_one(side, kernel):
    tensors = inputs(n=3, channels=4, side=side, filters=5, kernel=kernel, dtype=torch.float64)
    for ours, theirs in zip(
        value_and_gradients(_BySpectra.apply, tensors), value_and_gradients(direct, tensors), strict=True
    ):
        torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)


def test_in_float32_it_is_exact_to_a_millionth():
    tensors = inputs(n=8, channels=64, side=16, filters=64, kernel=5, dtype=torch.float32)
    exact = value_and_gradients(direct, [tensor.detach().double().requires_grad_() for tensor in tensors])
    for ours, wanted in zip(value_and_gradients(_BySpectra.apply, tensors), exact, strict=True):
        assert (ours - wanted).norm() <= 1e-6 * wanted.norm()


def test_any_order_of_its_input_in_memory_will_do_and_its_output_has_channels_innermost():
    tensors = inputs(n=2, channels=4, side=6, filters=3, kernel=3, dtype=torch.float64)
    y = value_and_gradients(_BySpectra.apply, tensors)[0]
    assert y.is_contiguous(memory_format=torch.channels_last)
    other = [tensor.detach().contiguous().requires_grad_() for tensor in tensors]
    torch.testing.assert_close(value_and_gradients(_BySpectra.apply, other)[0], y, rtol=0, atol=0)


@pytest.mark.parametrize("channels", [FEWEST_CHANNELS - 1, FEWEST_CHANNELS])
def test_a_layer_takes_spectra_from_enough_channels_on(channels):
    layer = Convolution(channels, 8, kernel_size=5)
    x = torch.randn(2, channels, 8, 8)
    y = layer(x)
    assert (type(y.grad_fn).__name__ == "_BySpectraBackward") == (channels == FEWEST_CHANNELS)
    torch.testing.assert_close(y, direct(x, layer.weight, layer.bias), rtol=1e-4, atol=1e-5)


def test_the_gradient_of_an_input_that_needs_none_is_not_computed():
    x, weight, bias = inputs(n=2, channels=4, side=6, filters=3, kernel=3, dtype=torch.float64)
    whole = torch.autograd.grad(_BySpectra.apply(x, weight, bias).sum(), (weight, bias))
    parts = torch.autograd.grad(_BySpectra.apply(x.detach(), weight, bias).sum(), (weight, bias))
    for a, b in zip(whole, parts, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=0)
