"""Dropout by shared random integers: exact rates, inverted scale, and a gradient that sees the same mask."""

from __future__ import annotations

import math

import pytest
import torch

from adam_repro.dropout import Dropout, kept

BYTES = (0.5, 0.25, 1 / 256, 255 / 256)  # multiples of 1/256, which take a byte an element
PAIRS = (0.2, 0.1, 1 / 3, 0.996)  # any other, which take two


def every_value_once(monkeypatch, dtype):
    """What is drawn is every number of ``dtype`` once, so that frequencies are probabilities."""
    span = torch.iinfo(dtype)
    values = torch.arange(span.min, span.max + 1).to(dtype).view(torch.int64)
    monkeypatch.setattr(torch.Tensor, "random_", lambda bits, *bounds: bits.copy_(values))


@pytest.mark.parametrize("p", [*BYTES, 0.0])
def test_a_multiple_of_1_256_is_met_exactly(monkeypatch, p):
    every_value_once(monkeypatch, torch.int8)
    assert (~kept(256, p)).sum() == 256 * p


@pytest.mark.parametrize("p", [*PAIRS, 1e-9])
def test_any_other_rate_is_met_to_the_nearest_of_65_536(monkeypatch, p):
    every_value_once(monkeypatch, torch.int16)
    assert (~kept(65_536, p)).sum() == round(65_536 * p)


@pytest.mark.parametrize("p", [1 - 1e-5, 1 - 1e-7, math.nextafter(1, 0)])
def test_next_to_1_nearly_all_are_left_out_and_not_none(monkeypatch, p):
    every_value_once(monkeypatch, torch.int16)
    assert kept(65_536, p).sum() == 1


@pytest.mark.parametrize("p", [*BYTES, *PAIRS])
def test_every_place_of_an_integer_is_left_out_at_the_rate_and_apart_from_its_neighbours(p):
    torch.manual_seed(0)
    n = 40_000
    places = kept(8 * n, p).view(n, 8).double()
    deviation = math.sqrt(p * (1 - p) / n)
    assert (places.mean(0) - (1 - p)).abs().max() < 4.5 * deviation
    covariance = places.t().cov() / (p * (1 - p))
    assert (covariance - torch.eye(8)).triu(1).abs().max() < 4.5 / math.sqrt(n)


@pytest.mark.parametrize("n", [0, 1, 3, 4, 7, 8, 9, 1001])
@pytest.mark.parametrize("p", [0.5, 0.2])
def test_there_is_an_answer_for_each_element_however_many(n, p):
    mask = kept(n, p)
    assert mask.shape == (n,) and mask.dtype is torch.bool


def test_it_draws_from_torchs_default_generator_and_goes_on_from_there():
    torch.manual_seed(5)
    first, second = kept(1000, 0.5), kept(1000, 0.5)
    torch.manual_seed(5)
    assert torch.equal(kept(1000, 0.5), first)
    assert not torch.equal(first, second)
    torch.manual_seed(6)
    assert not torch.equal(kept(1000, 0.5), first)


@pytest.mark.parametrize("p", [0.5, 0.2, 0.996])
@pytest.mark.parametrize("shape", [(1001,), (7, 13), (2, 3, 5, 5)])
def test_what_stays_is_scaled_up_and_its_gradient_is_the_mask_times_the_scale(p, shape):
    torch.manual_seed(0)
    x = (torch.rand(shape, dtype=torch.float64) + 1).requires_grad_()
    weight = torch.randn(shape, dtype=torch.float64)
    torch.manual_seed(1)
    expected = kept(x.numel(), p).view(shape).double() / (1 - p)
    torch.manual_seed(1)
    y = Dropout(p)(x)
    (y * weight).sum().backward()
    torch.testing.assert_close(y.detach(), x.detach() * expected, rtol=1e-15, atol=0)
    torch.testing.assert_close(x.grad, weight * expected, rtol=1e-15, atol=0)
    assert y.dtype is x.dtype


def test_channels_innermost_in_memory_are_the_same_numbers():
    x = torch.rand(2, 3, 5, 5)
    outputs = []
    for layout in (torch.contiguous_format, torch.channels_last):
        torch.manual_seed(0)
        outputs.append(Dropout(0.2)(x.contiguous(memory_format=layout)))
    assert torch.equal(*outputs)


def test_evaluation_and_a_rate_of_0_change_nothing_and_draw_nothing():
    x = torch.rand(10)
    before = torch.get_rng_state()
    assert Dropout(0.5).eval()(x) is x
    assert Dropout(0)(x) is x
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("p", [1, 1.5, -0.1, math.nan, math.inf])
def test_what_is_no_rate_is_refused_with_what_is_allowed(p):
    with pytest.raises(ValueError, match=f"a dropout rate of {p} is not allowed: give a number with 0 <= p < 1"):
        Dropout(p)


def test_a_printed_model_shows_the_rate():
    assert repr(Dropout(0.25)) == "Dropout(p=0.25)"
