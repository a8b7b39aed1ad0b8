"""A convolution by spectra is PyTorch's, its gradients too."""

import pytest
import torch
from torch.nn.functional import conv2d

from adam_repro import convolution
from adam_repro.convolution import FEWEST_CHANNELS, Convolution, _BySpectra

CUDA = pytest.mark.skipif(not torch.cuda.is_available(), reason="this machine has no GPU")
DEVICES = ["cpu", pytest.param("cuda", marks=CUDA)]


def inputs(*, n: int, channels: int, side: int, filters: int, kernel: int, dtype: torch.dtype) -> list[torch.Tensor]:
    """Images, filters and a bias, as a network hands them on: channels innermost."""
    generator = torch.Generator().manual_seed(side)
    shapes = (n, channels, side, side), (filters, channels, kernel, kernel), (filters,)
    tensors = [torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype) for shape in shapes]
    tensors[:2] = [tensor.contiguous(memory_format=torch.channels_last) for tensor in tensors[:2]]
    return [tensor.requires_grad_() for tensor in tensors]


def value_and_gradients(convolve, tensors: list[torch.Tensor]) -> list[torch.Tensor]:
    y = convolve(*tensors)
    weights = torch.linspace(-1, 2, y.numel(), dtype=y.dtype, device=y.device).view(y.shape)
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


@pytest.mark.parametrize("device", DEVICES)
def test_in_float32_it_is_exact_to_a_millionth(device):
    tensors = inputs(n=8, channels=64, side=16, filters=64, kernel=5, dtype=torch.float32)
    tensors = [tensor.detach().to(device).requires_grad_() for tensor in tensors]
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


def test_the_gradient_of_an_input_that_needs_none_is_not_computed(monkeypatch):
    x, weight, bias = inputs(n=2, channels=4, side=6, filters=3, kernel=3, dtype=torch.float64)
    expected = torch.autograd.grad(_BySpectra.apply(x, weight, bias).sum(), (weight, bias))
    y = _BySpectra.apply(x.detach(), weight, bias)
    monkeypatch.setattr(convolution, "synthesis", None)  # the way back to pixels, which that gradient alone needs
    for a, b in zip(torch.autograd.grad(y.sum(), (weight, bias)), expected, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=0)


def test_a_second_derivative_is_refused():
    x, weight, bias = inputs(n=2, channels=4, side=6, filters=3, kernel=3, dtype=torch.float64)
    (gradient,) = torch.autograd.grad(_BySpectra.apply(x, weight, bias).square().sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        gradient.sum().backward()


@pytest.mark.parametrize("shape", [(0, 16, 8, 8), (2, 16, 8, 6), (16, 8, 8)])
def test_what_has_no_square_spectrum_goes_the_direct_way(shape):
    layer = Convolution(16, 8, kernel_size=3)
    x = torch.randn(shape)
    torch.testing.assert_close(layer(x), direct(x, layer.weight, layer.bias))


def test_a_wrong_shape_and_an_even_kernel_are_named():
    with pytest.raises(RuntimeError, match="expected input.* to have 16 channels, but got 17"):
        Convolution(16, 8, kernel_size=3)(torch.randn(2, 17, 8, 8))
    with pytest.raises(ValueError, match="kernel_size=4 is not allowed"):
        Convolution(16, 8, kernel_size=4)
