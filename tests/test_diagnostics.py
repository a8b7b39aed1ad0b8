"""Adam's moments from inside: by hand after two steps, by layer, in the record, and nothing where there are none."""

from __future__ import annotations

import math
from collections import OrderedDict

import pandas as pd
import pytest
import torch
from made_records import CONFIG, curve_of, meta_of
from tiny_data import OVERRIDES
from torch import nn

from adam_repro import diagnostics, records
from adam_repro.app import compose
from adam_repro.models import CNN, VAE
from adam_repro.optimizers import OPTIMIZERS, Adam
from adam_repro.run import execute, prepare

BETA1, BETA2, EPS = 0.5, 0.75, 2.0


class OneLayer(nn.Module):
    """A layer named ``hidden`` with as many weights as there are ``gradients`` in each step."""

    def __init__(self, weights):
        super().__init__()
        self.layers = nn.Sequential(OrderedDict(hidden=nn.Linear(weights, 1)))


def after(*gradients, **settings):
    """The row of the layer's weight once Adam has seen ``gradients``, one list a step."""
    model = OneLayer(len(gradients[0])).double()
    optimizer = Adam(model.parameters(), **{"beta1": BETA1, "beta2": BETA2, "eps": EPS, **settings})
    for gradient in gradients:
        model.layers.hidden.weight.grad = torch.tensor([gradient], dtype=torch.float64)
        model.layers.hidden.bias.grad = torch.ones(1, dtype=torch.float64)
        optimizer.step()
    (row,) = diagnostics.by_layer(model, optimizer)
    return dict(zip(diagnostics.COLUMNS, row, strict=True))


@pytest.mark.parametrize("bias_correction", [True, False])
def test_after_two_steps_the_numbers_are_those_computed_by_hand(bias_correction):
    first, second = [1.0, -2.0, 0.0], [3.0, 4.0, 0.0]
    got = after(first, second, bias_correction=bias_correction)
    m = [0.5 * 0.5 * a + 0.5 * b for a, b in zip(first, second, strict=True)]
    v = [0.75 * 0.25 * a**2 + 0.25 * b**2 for a, b in zip(first, second, strict=True)]
    if bias_correction:
        m, v = [each / (1 - 0.5**2) for each in m], [each / (1 - 0.75**2) for each in v]
    roots = [math.sqrt(each) for each in v]
    steps = sorted(abs(each) / (root + EPS) for each, root in zip(m, roots, strict=True))
    assert got == {
        "layer": "hidden",
        "below_eps": pytest.approx(1 / 3 if bias_correction else 2 / 3),
        "sqrt_v_hat_p50": pytest.approx(sorted(roots)[1], rel=1e-12),
        "step_p50": pytest.approx(steps[1], rel=1e-12),
        "step_p99": pytest.approx(steps[2], rel=1e-12),
        "step_max": pytest.approx(steps[2], rel=1e-12),
        "snr": pytest.approx(sum(abs(m[k]) / roots[k] for k in (0, 1)) / 2, rel=1e-12),
    }


def test_a_constant_gradient_has_a_ratio_of_1_and_steps_of_nearly_alpha():
    got = after(*3 * [[2.0, -0.5]], eps=1e-6)
    assert got["snr"] == pytest.approx(1, rel=1e-12)
    assert got["step_max"] == pytest.approx(2 / (2 + 1e-6), rel=1e-9)


def test_gradients_of_zero_lie_below_eps_and_have_no_ratio():
    got = after([0.0, 0.0], eps=1e-8)
    assert got["below_eps"] == 1 and got["step_max"] == 0 and math.isnan(got["snr"])


def test_a_root_that_equals_eps_is_not_below_it():
    assert after([2.0, 1.0], eps=2.0)["below_eps"] == 0.5


@pytest.mark.parametrize(("n", "median", "p99"), [(1, 1, 1), (2, 1, 2), (5, 3, 5), (100, 50, 99), (101, 51, 100)])
def test_quantiles_are_nearest_ranks(n, median, p99):
    gradients = torch.arange(1, n + 1, dtype=torch.float64)[torch.randperm(n)].tolist()
    got = after(gradients, beta1=0.0, eps=1.0)  # after one step m_hat = g and sqrt(v_hat) = |g|
    assert got["sqrt_v_hat_p50"] == pytest.approx(median)
    assert got["step_p50"] == pytest.approx(median / (median + 1))
    assert got["step_p99"] == pytest.approx(p99 / (p99 + 1))
    assert got["step_max"] == pytest.approx(n / (n + 1))


@pytest.mark.parametrize(
    ("build", "layers"),
    [
        (lambda: CNN(3, 10, input_dropout=0.0, hidden_dropout=0.0), ["conv1", "conv2", "conv3", "hidden", "output"]),
        (lambda: VAE(6, 4, 2), ["encoder", "posterior", "decoder", "likelihood"]),
    ],
    ids=["CNN", "VAE"],
)
def test_layers_are_named_as_the_model_names_them_and_biases_left_out(build, layers):
    model = build()
    optimizer = Adam(model.parameters())
    assert list(diagnostics.by_layer(model, optimizer)) == [], "nothing before the first step"
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    assert [row[0] for row in diagnostics.by_layer(model, optimizer)] == layers


def test_only_adam_has_the_moments_of_algorithm_1():
    parameter = [torch.zeros(1, requires_grad=True)]
    assert [one for one in OPTIMIZERS if diagnostics.has_moments(one(parameter))] == [Adam]
    assert not diagnostics.has_moments(torch.optim.Adam(parameter))


def job(tmp_path, *overrides):
    settings = [*OVERRIDES, "epochs=3", f"results={tmp_path}", "diagnostics=true", *overrides]
    return prepare(compose("logistic_regression", settings))


def test_a_run_that_is_to_have_diagnostics_has_a_row_for_each_epoch_and_layer(tmp_path):
    planned = job(tmp_path)
    execute([planned])
    read = records.read(planned.folder)
    assert read.diagnostics.columns.tolist() == ["epoch", *diagnostics.COLUMNS]
    assert read.diagnostics["epoch"].tolist() == [1, 2, 3]
    assert set(read.diagnostics["layer"]) == {"linear"}
    assert read.diagnostics["step_max"].between(0, 1).all()
    assert (planned.folder / "diagnostics.csv").is_file()


def test_diagnostics_move_the_key_and_no_curve(tmp_path):
    with_them, without = job(tmp_path), job(tmp_path, "diagnostics=false")
    assert with_them.key != without.key
    looked_at, plain = execute([with_them])[0], execute([without])[0]
    pd.testing.assert_frame_equal(looked_at.curve, plain.curve, rtol=1e-6)  # a population's sums are in another order
    assert plain.diagnostics is None and not (without.folder / "diagnostics.csv").exists()
    assert "diagnostics" not in plain.config


def test_an_optimizer_without_moments_leaves_a_record_without_diagnostics(tmp_path):
    planned = job(tmp_path, "optimizer=sgd")
    execute([planned])
    assert records.read(planned.folder).diagnostics is None
    assert sorted(path.name for path in planned.folder.iterdir()) == ["config.yaml", "curve.csv", "meta.json"]


def test_a_run_that_diverges_has_diagnostics_as_far_as_its_curve(tmp_path):
    (record,) = execute([job(tmp_path, "optimizer.lr=1e25", "l2=1e20")])
    assert record.meta["status"] == "diverged"
    assert record.diagnostics["epoch"].tolist() == record.curve["epoch"].tolist()[1:] == [1, 2]


def test_a_record_reads_its_diagnostics_as_they_were_written(tmp_path):
    rows = [[1, "conv1", 1 / 3, 1e-30, 0.5, 1.0, 7.0, math.nan], [1, "conv2", 0.0, 2.0, 0.25, 1.5, 1e9, 0.75]]
    written = pd.DataFrame(rows, columns=["epoch", *diagnostics.COLUMNS])
    config = {**CONFIG, "epochs": 1}
    records.write(tmp_path, config, curve_of(config, 1), meta_of(config), diagnostics=written)
    pd.testing.assert_frame_equal(records.read(tmp_path).diagnostics, written, rtol=1e-5)
