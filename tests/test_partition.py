"""SFO in the training loop: minibatches that stay the same, masks that do or do not, and its runs from end to end."""

from __future__ import annotations

import pytest
import torch
from tiny_data import CLASSES, FEATURES, OVERRIDES, tiny

from adam_repro import records, sweep
from adam_repro.app import compose
from adam_repro.errors import UserError
from adam_repro.models import MLP
from adam_repro.optimizers import SFO
from adam_repro.partition import Partitioned
from adam_repro.run import checkpoint_of, execute, prepare
from adam_repro.schedules import constant
from adam_repro.training import train


def job(*overrides, results="unused", optimizer="sfo"):
    tiny_network = [*OVERRIDES, "model.hidden=[8,8]", "epochs=3", "optimizer.subfunctions=4"]
    if optimizer != "sfo":
        tiny_network.pop()
    return prepare(compose("mlp", [*tiny_network, f"optimizer={optimizer}", f"results={results}", *overrides]))


class Noting(Partitioned):
    def step(self, x, y):
        number, cost = self.sfo.chosen, super().step(x, y)
        self.given = [*getattr(self, "given", []), (number, x)]
        self.costs = [*getattr(self, "costs", []), (cost.item(), len(y))]
        return cost


def watched(*, frozen, passes=6, seed=0, examples=28):
    """Of each evaluation in so many passes of a network with dropout: the minibatch's number, what it was and the mask
    of its inputs; its cost and its size; and the rows of the training."""
    torch.manual_seed(0)
    model = MLP(FEATURES, [8], CLASSES, input_dropout=0.5, hidden_dropout=0.5)
    optimizer = SFO(model.parameters(), subfunctions=4)
    learner = Noting(model, optimizer, schedule=constant, l2=1e-3, seed=seed, frozen_noise=frozen)
    masks, draw = [], model.layers[0].draw
    model.layers[0].draw = lambda *args: masks.append(draw(*args)) or masks[-1]
    rows = list(train(learner, tiny(examples), seed=seed, epochs=passes, batch_size=7, evaluate_at=None))
    masks = [mask for mask in masks if mask is not None]  # evaluations have none
    assert len(masks) == 4 * passes
    return [(*given, mask) for given, mask in zip(learner.given, masks, strict=True)], learner.costs, rows


def test_a_minibatch_has_the_same_examples_in_every_pass_and_all_examples_are_in_one():
    seen, _, _ = watched(frozen=False)
    of_number = {number: x for number, x, _ in seen}
    assert sorted(of_number) == [0, 1, 2, 3]
    assert all(torch.equal(x, of_number[number]) for number, x, _ in seen)
    assert sorted(torch.cat(list(of_number.values())).tolist()) == sorted(tiny().train_x.tolist())
    other, _, _ = watched(frozen=False, seed=1)
    assert not torch.equal(other[0][1], seen[0][1]), "another seed has another partition"


@pytest.mark.parametrize("frozen", [True, False])
def test_frozen_masks_are_those_of_the_minibatch_and_fresh_ones_are_new(frozen):
    seen, _, _ = watched(frozen=frozen)
    for number in range(4):
        masks = [mask for chosen, _, mask in seen if chosen == number]
        assert len(masks) > 2
        assert all(torch.equal(mask, masks[0]) == frozen for mask in masks[1:])
    if frozen:
        first, *others = {number: mask for number, _, mask in seen}.values()
        assert not any(torch.equal(first, other) for other in others), "each minibatch has its own"


def test_the_cost_of_a_pass_is_the_mean_over_what_was_evaluated():
    _, costs, rows = watched(frozen=True, examples=26)
    assert {size for _, size in costs} == {6, 7}
    for number, row in enumerate(rows[1:]):
        costs_here, sizes = zip(*costs[4 * number : 4 * number + 4], strict=True)
        mean = sum(cost * size for cost, size in zip(costs_here, sizes, strict=True)) / sum(sizes)
        assert row.train_cost.item() == pytest.approx(mean)
    assert rows[-1].train_loss < rows[0].train_loss


def test_a_run_of_sfo_is_recorded_with_its_partition_and_starts_anew_where_it_was_stopped(tmp_path):
    planned = job("l2=1e-3", results=tmp_path)
    (record,) = execute([planned])
    read = records.read(planned.folder)
    assert read.config["optimizer"]["subfunctions"] == 4 and read.config["batch_size"] == 7
    assert read.config["optimizer"]["history"] == 10 and "frozen_noise" not in read.config
    assert planned.curve == "SFO" and record.meta["status"] == "finished"
    assert not planned.resumable and planned.group is None
    assert not checkpoint_of([planned]).exists()
    (again,) = execute([job("l2=1e-3", results=tmp_path / "again")])
    assert again.curve.equals(record.curve)
    (frozen,) = execute([job("frozen_noise=true", results=tmp_path)])
    assert frozen.config["frozen_noise"] and not frozen.curve.equals(record.curve)


def test_the_number_of_minibatches_decides_their_size_and_a_scale_caps_it():
    for asked, (parts, size) in {5: (5, 6), 8: (7, 4), 28: (28, 1), 100: (28, 1)}.items():
        config = job(f"optimizer.subfunctions={asked}").config
        assert (config["optimizer"]["subfunctions"], config["batch_size"]) == (parts, size)
    capped = job("optimizer.subfunctions=20", "scale=smoke", "epochs=1").config
    assert (capped["optimizer"]["subfunctions"], capped["batch_size"]) == (3, 10)


def test_room_is_asked_for_all_directions_that_it_may_remember():
    rooms = [sweep.bytes_of([job(f"optimizer.subfunctions={N}")]) for N in (2, 4, 7)]
    per_vector = 4 * (FEATURES * 8 + 8 + 8 * 8 + 8 + 8 * CLASSES + CLASSES)
    assert rooms[1] - rooms[0] == pytest.approx(6 * per_vector) and rooms[2] - rooms[1] == pytest.approx(9 * per_vector)


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["optimizer.subfunctions=1"], "subfunctions=1 is not allowed"),
        (["optimizer.history=none"], "history='none' is not allowed"),
        (["optimizer.lr=3"], "lr=3.* is not allowed"),
        (["+optimizer.momentum=0.9"], "unexpected keyword argument 'momentum'"),
        (["train_examples=1"], "cannot be had of 1 examples"),
    ],
)
def test_settings_that_cannot_be_are_refused_before_anything_runs(overrides, words):
    with pytest.raises(UserError, match=words):
        job(*overrides)


def test_frozen_noise_is_refused_where_minibatches_are_new_in_every_pass():
    with pytest.raises(UserError, match="frozen_noise=true.*optimizer=sfo"):
        job("frozen_noise=true", optimizer="adam")
