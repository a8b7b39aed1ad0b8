"""From records to a figure's files: ends or milestones, divergence, and what Adam looked like from inside."""

from __future__ import annotations

import json
import math

import pandas as pd
import pytest

from adam_repro import diagnostics, records
from adam_repro.analysis.curves import FINAL_COLUMNS, FigureData
from adam_repro.analysis.gather import COSTS, gather
from adam_repro.errors import UserError

MILESTONES = (10, 100)


def config(*, seed=0, epochs=100, l2=0.0, provenance="real"):
    return {
        "experiment": "vae",
        "dataset": {"name": "mnist", "provenance": provenance, "checksum": "0", "train_examples": 60_000},
        "optimizer": {"_target_": "adam_repro.optimizers.Adam", "lr": 0.1, "beta1": 0.9},
        "schedule": {"_target_": "adam_repro.schedules.constant", "_partial_": True},
        "l2": l2,
        "batch_size": 100,
        "epochs": epochs,
        "seed": seed,
    }


def curve(last):
    """The training cost of epoch e is 100 + e; test costs are there every tenth epoch only."""
    rows = [
        [e, 100.0 + e if e else math.nan, *((200.0 + e, 0.0, 300.0 + e, math.nan) if e % 10 == 0 else 4 * [math.nan])]
        for e in range(last + 1)
    ]
    return pd.DataFrame(rows, columns=records.COLUMNS)


@pytest.fixture
def figure(tmp_path):
    """Writes made-up runs, [(arm, seed, last epoch, first bad step, more)], and gathers them."""

    def write(runs, *, milestones=(), **settings):
        entries = []
        for number, (arm, seed, last, diverged_step, *more) in enumerate(runs):
            meta = {"status": "diverged" if diverged_step else "finished", "diverged_step": diverged_step}
            meta |= {"key": "a" * 64, "versions": {"torch": "2"}, "hardware": {"cpu": "one"}, "commit": "abc"}
            folder = tmp_path / "runs" / "vae" / f"run{number}"
            inside = more[0] if more else None
            records.write(folder, config(seed=seed, **settings), curve(last), meta, diagnostics=inside)
            entry = {"arm": arm, "curve": "Adam", "seed": seed, "tuned_at": None, "tuned_on": None}
            entries.append({**entry, "on_grid_edge": False, "record": f"runs/vae/run{number}"})
        folder = tmp_path / "paper" / "fig4"
        records.write_index(folder / "index.csv", entries)
        gather(folder, tmp_path, figure="fig4", scale="paper", command="this", milestones=milestones)
        return FigureData.load(folder)

    return write


def lines(finals):
    return finals[["seed", "epochs", "status", "diverged_step", "train_cost"]].values.tolist()


def test_without_milestones_a_run_has_one_line_of_means_over_its_last_five_epochs(figure):
    finals = figure([("grid", 0, 100, 0)]).finals
    assert lines(finals) == [[0, 100, "finished", 0, 198.0]]
    assert finals.columns.tolist() == FINAL_COLUMNS
    line = finals.iloc[0].to_dict()
    assert (line["lr"], line["schedule"], line["hyper"], line["l2"]) == (0.1, "constant", '{"beta1":0.9}', 0)
    assert line["record"] == "run0" and line["train_loss"] == 300, "of those five, the one that was evaluated"


def test_milestones_have_a_line_each_with_the_costs_of_their_own_epoch(figure):
    finals = figure([("grid", 0, 100, 0), ("control", 1, 100, 0)], milestones=MILESTONES).finals
    assert lines(finals) == [[seed, epochs, "finished", 0, 100.0 + epochs] for seed in (0, 1) for epochs in MILESTONES]
    assert finals["train_loss"].tolist() == 2 * [210, 300] and finals["test_loss"].tolist() == 2 * [310, 400]
    assert finals["test_accuracy"].isna().all()


def test_a_run_that_diverged_between_milestones_had_finished_the_first_and_not_the_second(figure):
    finals = figure([("grid", 0, 37, 22_345)], milestones=MILESTONES).finals
    assert lines(finals)[0] == [0, 10, "finished", 0, 110.0]
    assert lines(finals)[1][:4] == [0, 100, "diverged", 22_345]
    assert finals.loc[1, COSTS].isna().all()


def test_a_run_that_diverged_at_once_has_diverged_at_every_milestone_and_without_any(figure):
    for milestones, epochs in ((MILESTONES, [10, 100]), ((), [100])):
        finals = figure([("grid", 0, 0, 3)], milestones=milestones).finals
        assert finals["epochs"].tolist() == epochs
        assert set(finals["status"]) == {"diverged"} and set(finals["diverged_step"]) == {3}
        assert finals[COSTS].isna().all(axis=None)


def test_a_run_that_ends_before_a_milestone_has_no_line_for_it(figure):
    finals = figure([("grid", 0, 20, 0)], milestones=MILESTONES, epochs=20).finals
    assert lines(finals) == [[0, 10, "finished", 0, 110.0]]


def test_a_run_shorter_than_all_milestones_has_a_line_for_its_last_epoch(figure):
    finals = figure([("grid", 0, 2, 0), ("grid", 1, 1, 200)], milestones=MILESTONES, epochs=2).finals
    assert lines(finals)[0] == [0, 2, "finished", 0, 102.0]
    assert lines(finals)[1][:4] == [1, 2, "diverged", 200]


def test_curves_are_those_of_the_arms_that_are_drawn(figure):
    data = figure([("default", 0, 10, 0), ("grid", 1, 10, 0), ("control", 2, 10, 0)])
    assert set(data.curves["arm"]) == {"default"} and data.curves["epoch"].tolist() == list(range(11))
    assert len(figure([("grid", 0, 10, 0)]).curves) == 0


def inside(*epochs):
    rows = [[epoch, layer, 0.5, 1e-9, 0.1, 0.9, 1.5, 0.25] for epoch in epochs for layer in ("conv1", "output")]
    return pd.DataFrame(rows, columns=["epoch", *diagnostics.COLUMNS])


def test_diagnostics_are_put_together_with_the_arm_curve_and_seed_of_their_run(figure):
    data = figure([("tuned", 3, 2, 0, inside(1, 2)), ("tuned", 4, 2, 0), ("grid", 5, 2, 0, inside(1))])
    found = data.diagnostics
    assert found.columns.tolist() == ["arm", "curve", "seed", "epoch", *diagnostics.COLUMNS]
    assert found[["arm", "seed", "epoch", "layer"]].values.tolist() == [
        [arm, seed, epoch, layer]
        for arm, seed, epoch in (("tuned", 3, 1), ("tuned", 3, 2), ("grid", 5, 1))
        for layer in ("conv1", "output")
    ]
    pd.testing.assert_frame_equal(found.iloc[:4, 3:].reset_index(drop=True), inside(1, 2))


def test_diagnostics_of_an_earlier_gathering_are_gone_where_no_run_has_any(figure, tmp_path):
    assert figure([("tuned", 0, 2, 0, inside(1))]).diagnostics is not None
    (tmp_path / "runs" / "vae" / "run0" / "diagnostics.csv").unlink()
    assert figure([("tuned", 0, 2, 0)]).diagnostics is None
    assert not (tmp_path / "paper" / "fig4" / "diagnostics.csv").exists()


def test_the_provenance_is_what_all_runs_share(figure):
    provenance = figure([("tuned", 1, 2, 0), ("tuned", 0, 2, 0)]).provenance
    shared = {"figure": "fig4", "scale": "paper", "experiment": "vae", "provenance": "real", "seeds": [0, 1]}
    assert provenance.items() >= {**shared, "epochs": 100, "command": "this", "commit": "abc"}.items()


def test_runs_of_different_lengths_are_not_put_together(figure, tmp_path):
    figure([("tuned", 0, 2, 0), ("tuned", 1, 2, 0)])
    path = tmp_path / "runs" / "vae" / "run1"
    records.write(path, config(seed=1, epochs=7), curve(2), json.loads((path / "meta.json").read_text()))
    with pytest.raises(UserError, match=r"differ in epochs: \[100, 7\]. Run the whole figure again"):
        gather(tmp_path / "paper" / "fig4", tmp_path, figure="fig4", scale="paper", command="this")
