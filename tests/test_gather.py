"""From records to a figure's files: ends or milestones, divergence, and what Adam looked like from inside."""

from __future__ import annotations

import math
import shutil

import pandas as pd
import pytest
from made_records import CONFIG, curve_of, folder_of, meta_of

from adam_repro import diagnostics, records
from adam_repro.analysis.curves import FINAL_COLUMNS, FigureData
from adam_repro.analysis.gather import COSTS, final_costs, gather
from adam_repro.errors import UserError

MILESTONES = (10, 100)


def config(*, seed=0, epochs=100, l2=0.0, provenance="real"):
    """Test costs are there every tenth epoch only, and at the end."""
    dataset = {**CONFIG["dataset"], "provenance": provenance}
    every_tenth = list(range(0, 101, 10))
    return {**CONFIG, "dataset": dataset, "l2": l2, "epochs": epochs, "evaluate_at": every_tenth, "seed": seed}


@pytest.fixture
def figure(tmp_path):
    """Writes made-up runs, [(arm, seed, last epoch, first bad step, more)], and gathers them."""

    def write(runs, *, milestones=(), **settings):
        entries = []
        for arm, seed, last, diverged_step, *more in runs:
            given = config(seed=seed, **({"epochs": last} if not diverged_step else {}) | settings)
            status = "diverged" if diverged_step else "finished"
            place = folder_of(tmp_path, given)
            meta = meta_of(given, status=status, diverged_step=diverged_step)
            records.write(place, given, curve_of(given, last), meta, diagnostics=more[0] if more else None)
            entry = {"arm": arm, "curve": "Adam", "seed": seed, "tuned_at": None, "tuned_on": None}
            entries.append({**entry, "on_grid_edge": False, "record": str(place.relative_to(tmp_path))})
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
    assert line["record"].startswith("mnist_adam_lr0.1_seed0-")
    assert line["train_loss"] == 300, "of those five, the one that was evaluated"


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
    finals = figure([("grid", 0, 2, 0), ("grid", 1, 1, 700)], milestones=MILESTONES, epochs=2).finals
    assert lines(finals)[0] == [0, 2, "finished", 0, 102.0]
    assert lines(finals)[1][:4] == [1, 2, "diverged", 700]


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
    for path in (tmp_path / "runs").rglob("diagnostics.csv"):
        path.unlink()
    assert figure([("tuned", 0, 2, 0)]).diagnostics is None
    assert not (tmp_path / "paper" / "fig4" / "diagnostics.csv").exists()


def test_the_provenance_is_what_all_runs_share(figure):
    provenance = figure([("tuned", 1, 2, 0), ("tuned", 0, 2, 0)]).provenance
    shared = {"figure": "fig4", "scale": "paper", "experiment": "vae", "provenance": "real", "seeds": [0, 1]}
    assert provenance.items() >= {**shared, "epochs": 2, "command": "this", "commit": "abc"}.items()


def gathered(tmp_path):
    gather(tmp_path / "paper" / "fig4", tmp_path, figure="fig4", scale="paper", command="this")


def put(tmp_path, *configs, **changed):
    """An index of a run for each of ``configs``, all written with meta data that are ``changed``."""
    entries = []
    for given in configs:
        place = folder_of(tmp_path, given)
        records.write(place, given, curve_of(given, given["epochs"]), meta_of(given, **changed))
        entry = {"arm": "tuned", "curve": "Adam", "seed": given["seed"], "tuned_at": None, "tuned_on": None}
        entries.append({**entry, "on_grid_edge": False, "record": str(place.relative_to(tmp_path))})
    records.write_index(tmp_path / "paper" / "fig4" / "index.csv", entries)
    return [tmp_path / entry["record"] for entry in entries]


def test_runs_of_different_lengths_are_not_put_together(tmp_path):
    one, other = put(tmp_path, config(epochs=2), config(seed=1, epochs=7))
    said = f"differ in epochs: {one.name} has 2, and {other.name} has 7. Run the whole figure again"
    with pytest.raises(UserError, match=said):
        gathered(tmp_path)


def test_runs_of_different_curve_versions_are_not_put_together(tmp_path, monkeypatch):
    put(tmp_path, config(epochs=2), config(seed=1, epochs=2))
    index = (tmp_path / "paper" / "fig4" / "index.csv").read_text().splitlines()
    monkeypatch.setattr(records, "CURVE_VERSION", records.CURVE_VERSION + 1)
    put(tmp_path, config(seed=2, epochs=2))
    newer = (tmp_path / "paper" / "fig4" / "index.csv").read_text().splitlines()
    (tmp_path / "paper" / "fig4" / "index.csv").write_text("\n".join([*index, *newer[1:], ""]))
    with pytest.raises(UserError, match=r"differ in curve_version: .*_seed0-\w+ has 1, and .*_seed2-\w+ has 2"):
        gathered(tmp_path)
    assert sorted(path.name for path in (tmp_path / "paper" / "fig4").iterdir()) == ["index.csv"]


def test_every_damaged_record_of_a_figure_is_named_and_nothing_is_written(tmp_path):
    places = put(tmp_path, *(config(seed=seed, epochs=2) for seed in range(5)))
    shutil.rmtree(places[0])
    (places[1] / "curve.csv").write_text("")
    (places[2] / "config.yaml").write_bytes((places[3] / "config.yaml").read_bytes())
    with pytest.raises(UserError) as told:
        gathered(tmp_path)
    said = str(told.value).splitlines()
    assert len(said) == 3
    for place, file, line in zip(places, ("meta.json", "curve.csv", "config.yaml"), said, strict=False):
        assert line.startswith(str(place / file)) and "run it again" in line
    assert sorted(path.name for path in (tmp_path / "paper" / "fig4").iterdir()) == ["index.csv"]


def test_a_record_under_another_runs_name_is_not_taken_for_it(tmp_path):
    one, other = put(tmp_path, config(epochs=2), config(seed=1, epochs=2))
    shutil.rmtree(other)
    shutil.copytree(one, other)
    with pytest.raises(UserError, match=rf"{other.name} has the record of another run: of vae, seed 0"):
        gathered(tmp_path)


@pytest.mark.parametrize(
    "changed, said",
    [
        (lambda text: "", "index.csv is damaged"),
        (lambda text: text.replace("arm,", "arms,"), "index.csv is no index: its columns are not"),
        (lambda text: text.replace(",0,", ",1,"), r"has the seed 0, and .*index.csv says 1"),
        (lambda text: text.replace(",0,", ",many,"), "index.csv is damaged"),
        (lambda text: text + text.splitlines()[1] + "\n", "index.csv has a line twice"),
        (lambda text: text.replace("runs/vae/", "runs/vae/x"), "meta.json is missing"),
    ],
)
def test_a_damaged_index_is_named_with_its_remedy(tmp_path, changed, said):
    put(tmp_path, config(epochs=2))
    path = tmp_path / "paper" / "fig4" / "index.csv"
    path.write_text(changed(path.read_text()))
    with pytest.raises(UserError, match=said) as told:
        gathered(tmp_path)
    assert "again" in str(told.value)


def test_a_missing_index_is_named(tmp_path):
    with pytest.raises(UserError, match=r"index\.csv is missing. Run the figure again"):
        gathered(tmp_path)


def test_an_evaluation_that_is_not_a_number_is_not_left_out_of_a_mean(tmp_path):
    given = {**config(epochs=7), "evaluate_at": None}
    curve = curve_of(given, 7)
    curve.loc[6, "test_loss"] = math.nan
    curve.loc[6, "train_loss"] = math.inf
    records.write(tmp_path, given, curve, meta_of(given))
    costs = final_costs(records.read(tmp_path))
    assert costs["train_cost"] == 105
    assert math.isnan(costs["test_loss"]) and costs["train_loss"] == math.inf
