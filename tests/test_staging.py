"""Staging: a rule cut in two says the same, and its coefficients keep float64 until they are cast."""

from __future__ import annotations

import itertools
import operator
from fractions import Fraction

import numpy as np
import pytest
import torch

from adam_repro.members import Member, Segment
from adam_repro.optimizers import OPTIMIZERS, Adam, RuleOptimizer
from adam_repro.schedules import constant, inverse_sqrt_step
from adam_repro.staging import stage

FORMS = [
    pytest.param(optimizer, tuple(zip(optimizer.flags, values, strict=True)), id=f"{optimizer.__name__} {values}")
    for optimizer in OPTIMIZERS
    for values in itertools.product((True, False), repeat=len(optimizer.flags))
]
every_form = pytest.mark.parametrize(("optimizer", "flags"), FORMS)

# Three members, none with a default.
VALUES = {
    "lr": [0.003, 0.1, 1.0],
    "eps": [1e-6, 1e-3, 0.1],
    "beta1": [0.0, 0.5, 0.95],
    "beta1_decay": [0.0, 0.9, 1 - 1e-8],
    "beta2": [0.9, 0.99, 0.9999],
    "rho": [0.5, 0.95, 0.999],
    "momentum": [0.0, 0.5, 0.99],
    "weight_decay": [0.0, 0.1, 1.0],
    "frozen_after": [2, 7, 400],
}


def numbers(optimizer, flags):
    return {name: VALUES[name] for name in optimizer.hyperparameters if name not in dict(flags)}


def gradients(steps, *shape):
    return torch.randn(steps, *shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@every_form
def test_a_staged_rule_is_bit_equal_to_the_rule_itself_over_100_steps(optimizer, flags):
    staged = stage(optimizer.rule, optimizer.state_names, flags)
    hyper = {name: values[1] for name, values in numbers(optimizer, flags).items()}
    ours = theirs = [torch.zeros(5, dtype=torch.float64) for _ in ("theta", *optimizer.state_names)]
    for t, g in enumerate(gradients(100, 5), start=1):
        ours = staged.elementwise(ours[0], g, *ours[1:], *staged.coefficients(t, **hyper))
        theirs = optimizer.rule(theirs[0], g, *theirs[1:], t, **hyper, **dict(flags))
        assert all(map(torch.equal, ours, theirs)), t


@every_form
def test_members_staged_together_follow_the_rule_each_with_its_own_numbers(optimizer, flags):
    values = numbers(optimizer, flags)
    members = [dict(zip(values, row, strict=True)) for row in zip(*values.values(), strict=True)]
    theta = torch.zeros(3, 1, 5, dtype=torch.float64)
    segment = Segment(
        [Member(optimizer, {**settings, **dict(flags)}, inverse_sqrt_step, 0.0) for settings in members], theta.dtype
    )
    together = [theta, *segment.state_of(theta)]
    alone = [[torch.zeros(1, 5, dtype=torch.float64) for _ in together] for _ in members]
    every = segment.coefficients(range(1, 101), 1)
    for step, (g, coefficients) in enumerate(zip(gradients(100, 3, 1, 5), every, strict=True), 1):
        together = segment.staged.elementwise(together[0], g, *together[1:], *coefficients[..., None, None])
        for k, settings in enumerate(members):
            hyper = {**settings, "lr": settings["lr"] * inverse_sqrt_step(step, 1)}
            alone[k] = optimizer.rule(alone[k][0], g[k], *alone[k][1:], step, **hyper, **dict(flags))
            torch.testing.assert_close([part[k] for part in together], list(alone[k]), rtol=1e-11, atol=1e-14)


@every_form
def test_nothing_that_depends_on_numbers_alone_is_left_in_the_elementwise_half(optimizer, flags):
    staged = stage(optimizer.rule, optimizer.state_names, flags)
    graph = staged.elementwise.__self__.graph
    tensors = {node for node in graph.nodes if node.name in ("theta", "g", *optimizer.state_names)}
    for node in graph.nodes:
        if node.op != "placeholder":
            assert tensors.intersection(node.all_input_nodes), f"{node} is the same for every weight"
            tensors.add(node)
    settings = {name: torch.tensor(values) for name, values in numbers(optimizer, flags).items()}
    assert len(staged.coefficients(torch.tensor(1.0), **settings)) <= 9


@every_form
def test_with_reciprocals_the_elementwise_half_divides_by_no_coefficient_and_still_follows_the_rule(optimizer, flags):
    staged = stage(optimizer.rule, optimizer.state_names, flags, reciprocals=True)
    graph = staged.elementwise.__self__.graph
    assert not any(node.target is operator.truediv and node.args[1].op == "placeholder" for node in graph.nodes)
    hyper = {name: values[1] for name, values in numbers(optimizer, flags).items()}
    ours = theirs = [torch.zeros(5, dtype=torch.float64) for _ in ("theta", *optimizer.state_names)]
    for t, g in enumerate(gradients(100, 5), start=1):
        ours = staged.elementwise(ours[0], g, *ours[1:], *staged.coefficients(t, **hyper))
        theirs = optimizer.rule(theirs[0], g, *theirs[1:], t, **hyper, **dict(flags))
        torch.testing.assert_close(list(ours), list(theirs), rtol=1e-13, atol=1e-14)


def test_with_reciprocals_one_of_adams_three_divisions_is_left():
    def divisions(**how):
        staged = stage(Adam.rule, Adam.state_names, (("bias_correction", True),), **how)
        return sum(node.target is operator.truediv for node in staged.elementwise.__self__.graph.nodes)

    assert (divisions(), divisions(reciprocals=True)) == (3, 1)


class Decayed(RuleOptimizer):
    """A rule with two coefficients, 1 - beta2 and 1 - beta2^t."""

    rule = staticmethod(lambda theta, g, t, *, lr, beta2: (theta - (1 - beta2) * g - (1 - beta2**t) * g,))
    state_names = ()

    def __init__(self, params, lr=1.0, *, beta2=0.9999):
        super().__init__(params, lr=lr, beta2=beta2)


def test_float32_coefficients_are_formed_in_float64_and_rounded_once():
    beta2, steps = 0.9999, range(1, 41)
    segment = Segment([Member(Decayed, Decayed.settings(beta2=beta2), constant, 0.0)], torch.float32)
    coefficients = segment.coefficients(steps, 1)
    for t, step in zip(steps, coefficients, strict=True):
        assert step.dtype is torch.float32 and step.shape == (2, 1)
        for value, exact in zip(step.flatten().numpy(), (1 - Fraction(beta2), 1 - Fraction(beta2) ** t), strict=True):
            assert abs(Fraction(float(value)) - exact) < 0.51 * Fraction(float(np.spacing(value)))
    formed_in_float32 = 1 - torch.tensor(beta2)
    assert abs(formed_in_float32.item() / 1e-4 - 1) > 1e-4, "what rounding early would cost"
