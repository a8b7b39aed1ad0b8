"""Schedules: the values the paper states, alike for Python numbers and for tensors."""

from __future__ import annotations

import math

import pytest
import torch

from adam_repro.optimizers import Adam
from adam_repro.schedules import constant, inverse_sqrt_epoch, inverse_sqrt_step, missing_correction

SCHEDULES = [constant, inverse_sqrt_step, inverse_sqrt_epoch]


@pytest.mark.parametrize(
    ("schedule", "expected"), [(constant, 1), (inverse_sqrt_step, 1 / 40), (inverse_sqrt_epoch, 1 / 2)]
)
def test_the_factor_at_step_1600_of_epoch_4_is_the_stated_one(schedule, expected):
    factor = schedule(1600, 4)
    assert type(factor) is float and factor == expected


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_the_first_factor_is_1(schedule):
    assert schedule(1, 1) == 1


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("dtype", [torch.int64, torch.float32, torch.float64])
def test_tensors_of_steps_give_the_factors_of_python_numbers_in_float64(schedule, dtype):
    t = torch.arange(1, 2001).view(4, 500)
    epoch = (t - 1) // 469 + 1
    factors = schedule(t.to(dtype), epoch.to(dtype))
    assert factors.dtype is torch.float64 and factors.shape == t.shape
    pairs = zip(t.flatten().tolist(), epoch.flatten().tolist(), strict=True)
    assert factors.flatten().tolist() == pytest.approx([schedule(*pair) for pair in pairs], rel=1e-15)


def test_the_two_readings_of_section_6_1_differ_by_the_root_of_the_steps_in_an_epoch():
    t, epoch = torch.arange(469, 469 * 46 + 1, 469), torch.arange(1, 47)
    ratio = inverse_sqrt_epoch(t, epoch) / inverse_sqrt_step(t, epoch)
    torch.testing.assert_close(ratio, torch.full_like(ratio, math.sqrt(469)))


BETAS = [(0.9, 0.999), (0.0, 0.99), (0.5, 0.0), (0.9, 0.9999)]


@pytest.mark.parametrize(("beta1", "beta2"), BETAS)
@pytest.mark.parametrize("numbers", [True, False], ids=["numbers", "tensors"])
def test_with_the_missing_correction_adam_repeats_adam_without_correction(beta1, beta2, numbers):
    steps, betas = 40, {"beta1": beta1, "beta2": beta2}
    t = torch.arange(1, steps + 1)
    if numbers:
        factors = [missing_correction(step, 1, **betas) for step in range(1, steps + 1)]
    else:
        factors = missing_correction(t, torch.ones_like(t), **betas).tolist()
    gradients = torch.randn(steps, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    paths = []
    for corrected in (True, False):
        theta = torch.zeros(5, dtype=torch.float64, requires_grad=True)
        optimizer = Adam([theta], lr=0.1, eps=0, bias_correction=corrected, **betas)
        points = []
        for gradient, factor in zip(gradients, factors, strict=True):
            optimizer.param_groups[0]["lr"] = 0.1 * factor if corrected else 0.1
            theta.grad = gradient.clone()
            optimizer.step()
            points.append(theta.detach().clone())
        paths.append(torch.stack(points))
    torch.testing.assert_close(*paths, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize(("beta1", "beta2"), BETAS)
@pytest.mark.parametrize("dtype", [torch.int64, torch.float32, torch.float64])
def test_the_missing_correction_of_tensors_is_that_of_numbers_in_float64(beta1, beta2, dtype):
    t = torch.arange(1, 2001).view(4, 500)
    factors = missing_correction(t.to(dtype), torch.ones_like(t), beta1=beta1, beta2=beta2)
    assert factors.dtype is torch.float64 and factors.shape == t.shape
    expected = [missing_correction(step, 1, beta1=beta1, beta2=beta2) for step in t.flatten().tolist()]
    assert factors.flatten().tolist() == pytest.approx(expected, rel=1e-13)


def test_the_missing_correction_is_the_root_of_10_at_first_and_nearly_1_in_the_end():
    assert missing_correction(1, 1, beta1=0.9, beta2=0.999) == pytest.approx(0.1 / math.sqrt(0.001), rel=1e-12)
    assert missing_correction(10**5, 1, beta1=0.9, beta2=0.999) == pytest.approx(1, rel=1e-12)
