"""What arithmetic decides: measurements are Adam's own, repeat themselves, and give the verdicts that are known."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import pandas as pd
import pytest
import torch

from adam_repro import online_convex, properties
from adam_repro.analysis.claims import LEDGER, examined
from adam_repro.analysis.measurements import COLUMNS, Measurements
from adam_repro.data.order import epoch_order
from adam_repro.measuring import steps, write
from adam_repro.optimizers import AdaGrad, Adam
from adam_repro.properties.practice import PROBLEMS, SEEDS, train
from adam_repro.properties.steps import SIZE, path, random_gradients
from adam_repro.surroundings import PROJECT_ROOT

PROVENANCE = {"figure": "properties", "scale": "paper", "provenance": "synthetic"}

# What each group of measurements decides. Nobody knows C9a, C26b and C28 beforehand.
MEASURED_ALONE = ("properties", "online_convex")  # figures that train on no data set
KNOWN = {
    "C1": ["C1 supported"],
    "C2": ["C2 supported"],
    "C3": ["C3 supported"],
    "C4": ["C4 supported"],
    "C5": ["C5 contradicted"],
    "C6": ["C6 contradicted"],
    "C8": ["C8 supported"],
    "C10": ["C10 supported"],
    "C11": ["C11 supported"],
    "C12": ["C12 supported"],
    "C13": ["C13a supported", "C13b supported"],
    "C14": ["C14a supported", "C14b contradicted"],
    "C19": ["C19 supported"],
    "C20": ["C20 supported"],
    "C21": ["C21 supported"],
    "C22": ["C22 supported"],
    "C23": ["C23 supported"],
    "C24": ["C24 supported"],
    "C25": ["C25 contradicted"],
}


def measured(*groups, of=properties, seed=0):
    """The measurements of some groups, as they would be read back."""
    rows = [(group, *row) for group in groups for row in of.MEASURED[group](seed)]
    return Measurements(pd.DataFrame(rows, columns=COLUMNS), PROVENANCE, Path())


def verdicts(*groups, of=properties):
    """``C5 contradicted`` for each claim that the groups decide."""
    entered = [claim for claim in LEDGER.values() if claim.figure in MEASURED_ALONE]
    claims = [claim for claim in entered if claim.id.rstrip("abcd") in groups]
    table = examined(claims, measured(*groups, of=of))
    assert table["effect"].map(math.isfinite).all() and (table["n"] > 0).all()
    return (table["claim"] + " " + table["verdict"]).tolist()


@pytest.mark.parametrize("group", KNOWN)
def test_a_claim_that_arithmetic_decides_is_decided_as_it_must_be(group):
    assert verdicts(group) == KNOWN[group]


def test_claims_about_training_are_decided_on_problems_of_our_own():
    decided = verdicts("C7", "C9", "C26", "C27", "C28")
    assert {"C7a supported", "C9b contradicted", "C26a supported", "C27a contradicted", "C27b supported"} < set(decided)
    assert [row.split()[0] for row in decided] == ["C7a", "C9a", "C9b", "C26a", "C26b", "C27a", "C27b", "C28"]


def test_the_theorem_holds_on_random_streams_and_fails_on_those_of_reddi_et_al(monkeypatch):
    shorter = [dataclasses.replace(arm, horizon=min(arm.horizon, 1_000_000)) for arm in online_convex.ARMS]
    monkeypatch.setattr(online_convex, "ARMS", tuple(shorter))
    decided = verdicts("C15", "C16", "C18", of=online_convex)
    assert decided[:2] == ["C15a supported", "C15b contradicted"]
    assert decided[2:6] == ["C16a supported", "C16b contradicted", "C16c contradicted", "C16d contradicted"]
    assert decided[6].startswith("C18 ")


def test_sparse_features_are_measured_against_sgd_at_its_best(monkeypatch):
    monkeypatch.setattr(online_convex, "SPARSE_DIMENSIONS", (10, 100))
    monkeypatch.setattr(online_convex, "SPARSE_SEEDS", 3)
    assert verdicts("C17", of=online_convex)[0].startswith("C17 ")


def test_streams_are_those_of_the_committed_measurements(monkeypatch):
    """Seeds and settings go on at once, and each is measured as if it were alone."""
    monkeypatch.setattr(online_convex, "SPARSE_DIMENSIONS", (10,))
    monkeypatch.setattr(online_convex, "TIMES", (100, 300))
    monkeypatch.setattr(online_convex, "ARMS", online_convex.ARMS[:2])
    online_convex.play.cache_clear()
    rows = [(group, *row) for group in ("C15", "C16", "C17") for row in online_convex.MEASURED[group](0)]
    online_convex.play.cache_clear()
    committed = Measurements.load(PROJECT_ROOT / "results" / "reference" / "online_convex")
    for group, quantity, setting, value in rows:
        if "slope" not in quantity:  # of which there is one over all times
            assert value == pytest.approx(committed.of(group, quantity)[setting], rel=1e-5), (quantity, setting)


def test_adaptive_methods_fail_on_the_construction_of_wilson_et_al_and_gradient_descent_does_not():
    data = measured("Wilson", of=online_convex)
    assert (data.of("Wilson", "test error, gradient descent") == 0).all()
    for name in ("Adam", "AdaGrad"):
        assert data.of("Wilson", f"test error, {name}").tolist() == pytest.approx([0.45, 0.4, 0.25], abs=0.02)
        assert (data.of("Wilson", f"training loss, {name}") < 1e-10).all()


def test_every_measured_group_is_one_that_claims_ask_for_and_the_other_way_round():
    groups = [*properties.MEASURED, *online_convex.MEASURED]
    asked = {claim.id.rstrip("abcd") for claim in LEDGER.values() if claim.id.startswith("C")}
    assert asked == {f"C{number}" for number in range(1, 29)} == set(groups) - {"Wilson"}


def test_measurements_are_written_the_same_each_time_and_depend_on_the_seed(tmp_path, monkeypatch):
    few = {name: properties.MEASURED[name] for name in ("C1", "C2")}
    for name, seed in (("first", 0), ("again", 0), ("other", 1)):
        write(tmp_path / name / "properties", few, scale="paper", seed=seed, command="none")
    texts = [(tmp_path / name / "properties" / "measurements.csv").read_text() for name in ("first", "again", "other")]
    assert texts[0] == texts[1] != texts[2]
    read = Measurements.load(tmp_path / "first" / "properties")
    assert set(read.table["claim"]) == set(few) and read.provenance["provenance"] == "synthetic"


def test_the_paths_positions_are_those_of_the_optimizer():
    gradients = random_gradients(0, "test")[:5]
    theta = torch.zeros(SIZE, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.Adam([theta], lr=1e-3, eps=1e-8)
    for g, position in zip(gradients, path(gradients, eps=1e-8), strict=True):
        theta.grad = g.clone()
        optimizer.step()
        torch.testing.assert_close(position, theta.detach(), rtol=0, atol=1e-15)


def test_steps_are_in_units_of_alpha_and_take_settings_in_range_only():
    gradients = torch.ones(3, 1, dtype=torch.float64)
    assert steps(Adam, gradients, eps=0.0).flatten().tolist() == pytest.approx([-1, -1, -1], rel=1e-14)
    assert steps(AdaGrad, gradients, lr=2.0, eps=0.0)[:, 0].tolist() == pytest.approx([-2, -(2**0.5), -2 / 3**0.5])
    with pytest.raises(ValueError, match="beta2=1"):
        steps(Adam, gradients, beta2=1.0)


def test_a_coordinate_of_reddis_streams_follows_algorithm_1():
    arm = online_convex.Arm("twin", "a", 0.1, 0.9, 0.99, c=2.5, horizon=1000)
    gradients = list(online_convex.gradients_of(arm, 0))
    assert len(gradients) == 1000 and gradients[:7] == [2.5, -1, -1, 2.5, -1, -1, 2.5]
    theta, m, v = torch.zeros(3, 1, dtype=torch.float64)
    regret = 0.0
    for t, slope in enumerate(gradients, start=1):
        regret += slope * theta.item() + slope
        g = torch.tensor([slope], dtype=torch.float64)
        theta, m, v = Adam.rule(theta, g, m, v, t, lr=0.1 / t**0.5, beta1=0.9, beta2=0.99, eps=0.0)
        theta = theta.clamp(-1, 1)
    ((time, position, average),) = online_convex.reddi(arm, 0)
    assert time == 1000 and (position, average) == pytest.approx((theta.item(), regret / 1000), rel=1e-9)


def test_the_least_loss_of_a_stream_of_squares_is_that_of_least_squares():
    x = torch.randn(2, 50, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    y = x @ torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64) + 0.1
    both = torch.cat([x, y[..., None]], 2)
    found = online_convex.least_squares(both.mT @ both)
    for place in range(2):
        residual = y[place] - x[place] @ torch.linalg.lstsq(x[place], y[place, :, None]).solution[:, 0]
        assert found[place].item() == pytest.approx((residual @ residual).item() / 2, rel=1e-9)


def test_runs_of_a_problem_are_those_of_the_optimizer_one_by_one():
    problem = PROBLEMS[1]
    together = train(problem, [3, 4], [1e-2, 1e-1], count=50)
    drawn = problem.sample(4)
    theta = drawn["start"].clone().requires_grad_()
    optimizer = torch.optim.Adam([theta], lr=1e-1)
    order = [epoch_order(400, 4, epoch) for epoch in (1, 2)]
    for t in range(50):
        batch = order[t // 25][t % 25 * 16 :][:16]
        optimizer.zero_grad()
        problem.loss(theta, drawn["x"][batch], drawn["y"][batch]).backward()
        optimizer.step()
    expected = problem.loss(theta, drawn["test_x"], drawn["test_y"]).item()
    assert together.test[1, 1].item() == pytest.approx(expected, rel=1e-6)
    assert together.test.shape == (2, 2) and SEEDS == 10
