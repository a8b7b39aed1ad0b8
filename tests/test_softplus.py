"""softplus and the cross-entropy against torch's own, values and gradients, compiled and not."""

import pytest
import torch
from torch.nn.functional import binary_cross_entropy_with_logits

from adam_repro.softplus import bernoulli_cross_entropy, softplus

X = torch.cat((torch.linspace(-40, 40, 4001), torch.logspace(-30, 2, 500), -torch.logspace(-30, 1.9, 500)))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_it_is_the_logarithm_of_1_plus_the_exponential_to_the_last_digits(dtype):
    expected = torch.nn.functional.softplus(X.double(), threshold=100)
    torch.testing.assert_close(softplus(X.to(dtype)).double(), expected, rtol=3 * torch.finfo(dtype).eps, atol=1e-37)


def test_a_compiled_one_is_the_same_for_every_size(compiler):
    for x in (X, X[:100].view(4, 25), X[:105].view(15, 7)):
        expected = torch.nn.functional.softplus(x.double(), threshold=100)
        torch.testing.assert_close(softplus(x).double(), expected, rtol=4e-7, atol=1e-37)


def test_its_gradient_is_the_logistic_function():
    x = X.double().requires_grad_()
    softplus(x).square().sum().backward()
    y = X.double()
    torch.testing.assert_close(
        x.grad, 2 * torch.nn.functional.softplus(y, threshold=100) * y.sigmoid(), rtol=1e-12, atol=0
    )


def test_it_has_no_bound():
    x = torch.tensor([-torch.inf, -1e30, 0.0, 1e30, torch.inf, torch.nan])
    expected = torch.nn.functional.softplus(x)
    torch.testing.assert_close(softplus(x), expected, equal_nan=True)


def test_a_second_derivative_is_refused_and_not_wrong():
    x = torch.ones(3, requires_grad=True)
    (slope,) = torch.autograd.grad(softplus(x).square().sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        slope.sum().backward()


def test_the_cross_entropy_and_its_gradient_are_those_of_torch(compiler):
    generator = torch.Generator().manual_seed(0)
    for shape in ((25, 200), (7, 3)):
        logits = (10 * torch.randn(shape, generator=generator, dtype=torch.float64)).requires_grad_()
        targets, weights = torch.rand(shape, generator=generator).double(), torch.rand(shape[0], generator=generator)
        costs = bernoulli_cross_entropy(logits, targets)
        expected = binary_cross_entropy_with_logits(logits, targets, reduction="none").sum(1)
        torch.testing.assert_close(costs, expected, rtol=1e-12, atol=0)
        (gradient,) = torch.autograd.grad(costs @ weights.double(), logits)
        (wanted,) = torch.autograd.grad(expected @ weights.double(), logits)
        torch.testing.assert_close(gradient, wanted, rtol=1e-9, atol=1e-15)
        single = bernoulli_cross_entropy(logits.float(), targets.float())
        torch.testing.assert_close(single.double(), expected, rtol=1e-6, atol=0)
