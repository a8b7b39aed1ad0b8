"""softplus and the cross-entropy against torch's own, values and slopes, compiled and not."""

import pytest
import torch
from torch.nn.functional import binary_cross_entropy_with_logits

from adam_repro.softplus import cross_entropy_and_slope, softplus_and_slope

X = torch.cat((torch.linspace(-40, 40, 4001), torch.logspace(-30, 2, 500), -torch.logspace(-30, 1.9, 500)))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_it_is_the_logarithm_of_1_plus_the_exponential_to_the_last_digits(dtype):
    expected = torch.nn.functional.softplus(X.double(), threshold=100)
    value, _ = softplus_and_slope(X.to(dtype))
    torch.testing.assert_close(value.double(), expected, rtol=3 * torch.finfo(dtype).eps, atol=1e-37)


def test_a_compiled_one_is_the_same_for_every_size(compiler):
    compiled = torch.compile(softplus_and_slope, dynamic=True)
    for x in (X, X[:100].view(4, 25), X[:105].view(15, 7)):
        value, slope = compiled(x)
        expected = torch.nn.functional.softplus(x.double(), threshold=100)
        torch.testing.assert_close(value.double(), expected, rtol=4e-7, atol=1e-37)
        torch.testing.assert_close(slope.double(), x.double().sigmoid(), rtol=4e-7, atol=1e-37)


def test_its_slope_is_the_logistic_function():
    torch.testing.assert_close(softplus_and_slope(X.double())[1], X.double().sigmoid(), rtol=1e-14, atol=0)


def test_it_has_no_bound():
    x = torch.tensor([-torch.inf, -1e30, 0.0, 1e30, torch.inf, torch.nan])
    value, slope = softplus_and_slope(x)
    torch.testing.assert_close(value, torch.nn.functional.softplus(x), equal_nan=True)
    torch.testing.assert_close(slope, x.sigmoid(), equal_nan=True)


def test_the_cross_entropy_and_its_slope_are_those_of_torch(compiler):
    compiled = torch.compile(cross_entropy_and_slope, dynamic=True)
    generator = torch.Generator().manual_seed(0)
    for shape in ((25, 200), (7, 3)):
        logits = (10 * torch.randn(shape, generator=generator, dtype=torch.float64)).requires_grad_()
        targets = torch.rand(shape, generator=generator).double()
        expected = binary_cross_entropy_with_logits(logits, targets, reduction="none").sum(1)
        (wanted,) = torch.autograd.grad(expected.sum(), logits)
        costs, slope = compiled(logits.detach(), targets)
        torch.testing.assert_close(costs, expected.detach(), rtol=1e-12, atol=0)
        torch.testing.assert_close(slope, wanted, rtol=1e-9, atol=1e-15)
        single, _ = compiled(logits.detach().float(), targets.float())
        torch.testing.assert_close(single.double(), expected.detach(), rtol=1e-6, atol=0)
