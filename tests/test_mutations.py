"""Errors planted in the source: each must turn a known verdict, or fail a check that holds without it."""

from __future__ import annotations

import inspect
import textwrap

import pytest
import test_optimizers
import test_population
import test_protocol
import test_schedules
import test_training
from test_properties import KNOWN, verdicts
from tiny_data import tiny

from adam_repro import protocol, schedules, training
from adam_repro.data import Dataset
from adam_repro.members import Segment
from adam_repro.optimizers import AdaGrad, Adam, AdaMax, SGDNesterov
from adam_repro.population import SoftmaxRegressions
from adam_repro.protocol import Grid


def plant(monkeypatch, owners, name, old, new):
    """Replace ``old`` in the source of ``owners[0].name`` by ``new``, and put the result wherever it is known."""
    original = getattr(owners[0], name)
    source = textwrap.dedent(inspect.getsource(original))
    assert source.count(old) == 1, f"{old!r} is not in the source once:\n{source}"
    namespace = dict(inspect.unwrap(original).__globals__)
    exec(compile(source.replace(old, new), "planted", "exec", dont_inherit=True, flags=ANNOTATIONS), namespace)
    planted = namespace[original.__name__]
    for owner in owners:
        monkeypatch.setattr(owner, name, staticmethod(planted) if name == "rule" else planted)


ANNOTATIONS = 1 << 24  # as `from __future__ import annotations` above the source had it


def nesterov_agrees_with_torch():
    test_optimizers.test_agrees_with_torch_after_each_of_100_steps(*test_optimizers.TWINS["SGDNesterov"])


def no_tuning_seed_reports():
    protocol.check_seeds(protocol.TUNING_SEEDS)


OF_CLAIMS = {
    "no bias correction": ([Adam], "rule", "m / (1 - beta1**t) if bias_correction else m", "m", "C3"),
    "betas swapped": ([Adam], "rule", "    m = ", "    beta1, beta2 = beta2, beta1\n    m = ", "C8"),
    "eps inside the root": ([Adam], "rule", "torch.sqrt(v_hat) + eps", "torch.sqrt(v_hat + eps)", "C3"),
    "v of sizes instead of squares": ([Adam], "rule", "* g**2", "* g.abs()", "C1"),
    "t one too high": ([Adam], "rule", "    m = ", "    t = t + 1\n    m = ", "C12"),
    "AdaMax's u corrected": ([AdaMax], "rule", "m / u", "m / (u / (1 - beta2**t))", "C24"),
    "AdaGrad as a mean": ([AdaGrad], "rule", "v + g**2", "0.99 * v + 0.01 * g**2", "C19"),
}
PLANTED = {
    "momentum of the wrong sign": (
        [SGDNesterov],
        "rule",
        "momentum * b +",
        "-momentum * b +",
        nesterov_agrees_with_torch,
    ),
    "the schedule one step late": (
        [schedules],
        "inverse_sqrt_step",
        "_inverse_sqrt(t)",
        "_inverse_sqrt(t + 1)",
        lambda: test_schedules.test_the_first_factor_is_1(schedules.inverse_sqrt_step),
    ),
    "a population's t one too high": (
        [Segment],
        "coefficients",
        "torch.arange(steps.start, steps.stop,",
        "torch.arange(steps.start + 1, steps.stop + 1,",
        test_population.test_members_equal_their_solo_runs_in_float64,
    ),
    "L2 on biases": (
        [SoftmaxRegressions],
        "__init__",
        "self.decay[..., in_features] = 0",
        "pass",
        lambda: test_population.test_l2_pulls_on_weights_and_not_on_biases(tiny()),
    ),
    "the last example dropped": (
        [Dataset],
        "minibatches",
        "in order.split(size)",
        "in order[:-1].split(size)",
        test_training.test_every_epoch_sees_every_example_once_in_an_order_of_its_own,
    ),
    "the last part dropped in evaluation": (
        [training],
        "judge",
        "zip(x.split(EVALUATION_CHUNK), y.split(EVALUATION_CHUNK), strict=True)",
        "zip(x.split(EVALUATION_CHUNK)[:-1], y.split(EVALUATION_CHUNK), strict=False)",
        test_training.test_evaluation_is_the_mean_over_every_example_and_leaves_the_model_in_training,
    ),
    "the same in a population": (
        [SoftmaxRegressions],
        "evaluate",
        "zip(x.split(EVALUATION_CHUNK), y.split(EVALUATION_CHUNK), strict=True)",
        "zip(x.split(EVALUATION_CHUNK)[:-1], y.split(EVALUATION_CHUNK), strict=False)",
        test_population.test_evaluation_is_the_mean_over_every_example_however_many,
    ),
    "training examples read as test": (
        [training, test_training],
        "train",
        "learner.evaluate(data.test_x, data.test_y)",
        "learner.evaluate(data.train_x, data.train_y)",
        test_training.test_every_test_example_is_evaluated_and_the_same_10_000_training_examples_in_all_runs,
    ),
    "a grid cut short": (
        [Grid],
        "trials",
        "itertools.product(self.lr,",
        "itertools.product(self.lr[:-1],",
        test_protocol.test_a_grid_has_every_combination_once,
    ),
}


@pytest.mark.parametrize("error", OF_CLAIMS)
def test_a_planted_error_turns_a_verdict(error, monkeypatch):
    """One that test_properties.py finds to be so where nothing is planted."""
    *where, claim = OF_CLAIMS[error]
    assert KNOWN[claim] == [f"{claim} supported"]
    plant(monkeypatch, *where)
    with pytest.raises(AssertionError):
        assert all(verdict.endswith("supported") for verdict in verdicts(claim))


@pytest.mark.parametrize("error", PLANTED)
def test_a_planted_error_is_found(error, monkeypatch):
    *where, check = PLANTED[error]
    check()
    plant(monkeypatch, *where)
    with pytest.raises(AssertionError):
        check()


def test_tuning_on_reporting_seeds_is_found(monkeypatch):
    no_tuning_seed_reports()
    monkeypatch.setattr(protocol, "TUNING_SEEDS", (0, 1, 2))
    with pytest.raises(protocol.UserError, match="cannot be used for tuning"):
        no_tuning_seed_reports()
