"""Schedules: the values the paper states, alike for Python numbers and for tensors."""

from __future__ import annotations

import math

import pytest
import torch

from adam_repro.schedules import constant, inverse_sqrt_epoch, inverse_sqrt_step

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
