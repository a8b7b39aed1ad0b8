"""A reference that grows: parts of a figure, joined, are the figure."""

from __future__ import annotations

import json
import shutil

import pandas as pd
import pytest
from made_up import write_figure, write_vae_grid

from adam_repro.analysis.curves import FigureData
from adam_repro.analysis.merging import lend, merge
from adam_repro.errors import UserError
from adam_repro.surroundings import PROJECT_ROOT

REFERENCE = PROJECT_ROOT / "results" / "reference"
TABLES = ("curves.csv", "finals.csv")


def part_of(figure, folder, rows_of, **changed):
    """The rows of a committed figure that ``rows_of`` chooses, as a folder of their own."""
    folder.mkdir()
    for name in TABLES:
        table = pd.read_csv(REFERENCE / figure / name, dtype=str, keep_default_na=False)
        table[rows_of(table)].to_csv(folder / name, index=False, lineterminator="\n")
    facts = json.loads((REFERENCE / figure / "provenance.json").read_text())
    facts.pop("parts", None)  # as if all of the figure had been gathered at once
    seeds = sorted(map(int, set(pd.read_csv(folder / "finals.csv")["seed"])))
    (folder / "provenance.json").write_text(json.dumps({**facts, "seeds": seeds, **changed}))
    return folder


def facts_of(folder):
    return json.loads((folder / "provenance.json").read_text())


@pytest.mark.parametrize("figure", ["fig1_mnist", "fig2_deterministic"])
def test_seeds_that_are_joined_are_the_figure_byte_for_byte(figure, tmp_path):
    late = part_of(figure, tmp_path / "late", lambda table: table["seed"].astype(int) > 0, commit="of the late ones")
    early = part_of(figure, tmp_path / "early", lambda table: table["seed"].astype(int) == 0)
    said = merge(early, late)
    for name in TABLES:
        assert (early / name).read_bytes() == (REFERENCE / figure / name).read_bytes()
    whole, joined = facts_of(REFERENCE / figure), facts_of(early)
    assert joined["seeds"] == whole["seeds"] and joined["commit"] == "of the late ones"
    assert [part["seeds"] for part in joined["parts"]] == [[0], whole["seeds"][1:]]
    assert [part["commit"] for part in joined["parts"]] == [whole["commit"], "of the late ones"]
    assert {part["command"] for part in joined["parts"]} == {whole["command"]}
    runs = pd.read_csv(early / "finals.csv")["seed"]
    assert said == f"{(runs > 0).sum()} runs joined {(runs == 0).sum()} runs of the reference"


def test_arms_that_are_joined_are_the_figure_byte_for_byte(tmp_path):
    figure = "fig2_deterministic"
    first = part_of(figure, tmp_path / "first", lambda table: table["arm"] == "tuned")
    rest = {"tuned_at": None, "edges": []}  # as gathered from runs none of which is tuned
    merge(first, part_of(figure, tmp_path / "rest", lambda table: table["arm"] != "tuned", **rest))
    for name in TABLES:
        assert (first / name).read_bytes() == (REFERENCE / figure / name).read_bytes()
    assert {name: facts_of(first)[name] for name in ("tuned_at", "edges")} == {
        name: facts_of(REFERENCE / figure)[name] for name in ("tuned_at", "edges")
    }


def test_a_part_is_asked_only_for_what_its_runs_tell(tmp_path):
    """Matched runs have an L2 each, and SFO cuts minibatches of its own: neither is in the way."""
    old = write_figure(tmp_path / "old", {("tuned", "Adam"): [0.2]})
    new = write_figure(tmp_path / "new", {("matched", "Adam"): [0.3]}, l2=None, batch_size=128, tuned_at=None)
    merge(old, new)
    assert facts_of(old)["l2"] == 1e-4 and facts_of(old)["tuned_at"] == 46
    sfo = write_figure(tmp_path / "sfo", {("sfo", "SFO"): [0.1]}, batch_size=2500, tuned_at=None)
    ends = pd.read_csv(sfo / "finals.csv").assign(hyper='{"subfunctions":24}')
    ends.to_csv(sfo / "finals.csv", index=False)
    merge(old, sfo)
    assert facts_of(old)["batch_size"] == 128
    assert FigureData.load(old).finals["arm"].tolist() == ["tuned", "matched", "sfo"]


def test_a_few_settings_of_a_grid_may_run_longer_than_the_others(tmp_path):
    def cost(form, *setting):
        return 100.0

    old = write_vae_grid(tmp_path / "old", cost, milestones=(10,), seeds=2)
    longer = {"alphas": (1e-3,), "forms": ("corrected",), "beta2s": (0.999,), "seeds": 2}
    new = write_vae_grid(tmp_path / "new", lambda form, *setting: 99.0, gains=(0.0, 4.0), **longer)
    before = FigureData.load(old).finals
    runs = len(before)
    merge(old, new)
    found = FigureData.load(old)
    short_ones = found.finals.query("epochs == 10").reset_index(drop=True)
    pd.testing.assert_frame_equal(short_ones, before)  # its pairs drew the same noise, of one device
    assert found.provenance["epochs"] == 10, "of the whole grid"
    assert found.finals["epochs"].value_counts().to_dict() == {10: runs, 100: 4}
    assert set(found.finals.query("epochs == 100")["train_cost"]) == {95.0}
    merge(old, write_vae_grid(tmp_path / "again", cost, milestones=(10,), seeds=2))
    assert FigureData.load(old).finals["epochs"].value_counts().to_dict() == {10: runs, 100: 4}, "none is lost"
    short = write_vae_grid(tmp_path / "short", cost, milestones=(2,), **longer)
    with pytest.raises(UserError, match="epochs: 10 and 2"):
        merge(old, short)


def test_joining_twice_changes_nothing(tmp_path):
    early = part_of("fig1_mnist", tmp_path / "early", lambda table: table["seed"] == "0")
    late = part_of("fig1_mnist", tmp_path / "late", lambda table: table["seed"] == "1", commit="of the late one")
    merge(early, late)
    before = {name: (early / name).read_bytes() for name in (*TABLES, "provenance.json")}
    merge(early, late)
    assert before == {name: (early / name).read_bytes() for name in before}


def test_a_run_that_both_have_is_taken_from_the_new_ones(tmp_path):
    old = write_figure(tmp_path / "old", {("tuned", "Adam"): [0.2, 0.3], ("tuned", "AdaGrad"): [0.4, 0.5]})
    merge(old, write_figure(tmp_path / "new", {("tuned", "Adam"): [0.1]}))
    assert FigureData.load(old).finals[["curve", "seed", "train_cost"]].to_numpy().tolist() == [
        ["Adam", 0, 0.1],
        ["Adam", 1, 0.3],
        ["AdaGrad", 0, 0.4],
        ["AdaGrad", 1, 0.5],
    ]
    ends = FigureData.load(old).curves.query("epoch == 46")
    assert ends["train_cost"].tolist() == [0.1, 0.3, 0.4, 0.5]


def test_seeds_of_two_settings_are_never_one_curve(tmp_path):
    costs = {("tuned", "Adam"): [0.2, 0.3], ("tuned", "AdaGrad"): [0.4], ("default", "Adam"): [0.6]}
    grid = {("Adam", 0.1): [0.2], ("Adam", 0.01): [0.3]}
    old = write_figure(tmp_path / "old", costs, grid=grid, edges=["Adam", "AdaGrad"])
    new = write_figure(tmp_path / "new", {("tuned", "Adam"): [0.1]}, grid={("Adam", 1.0): [0.9]}, edges=[])
    ends = pd.read_csv(new / "finals.csv")
    ends.assign(lr=ends["lr"].where(ends["arm"] == "grid", 0.03)).to_csv(new / "finals.csv", index=False)
    said = merge(old, new)
    assert said == "2 runs joined 4 runs of the reference; 2 runs of settings that are no longer chosen left it"
    found = FigureData.load(old)
    assert found.arm("tuned")[["curve", "lr", "seed"]].to_numpy().tolist() == [["Adam", 0.03, 0], ["AdaGrad", 0.1, 0]]
    assert found.arm("grid")["lr"].tolist() == [0.1, 0.01, 1.0]  # in a grid settings stand side by side
    assert set(found.curves.query("arm == 'tuned' and curve == 'Adam'")["seed"]) == {0}
    assert found.provenance["edges"] == ["AdaGrad"]


@pytest.mark.parametrize(
    "changed", [{"epochs": 10}, {"batch_size": 64}, {"tuned_at": 3}, {"dataset": {"name": "mnist", "checksum": "0"}}]
)
def test_what_cannot_stand_in_one_figure_is_refused_and_nothing_is_changed(changed, tmp_path):
    old = write_figure(tmp_path / "old", {("tuned", "Adam"): [0.2, 0.3]})
    new = write_figure(tmp_path / "new", {("tuned", "Adam"): [0.1]})
    facts = facts_of(new)
    (new / "provenance.json").write_text(json.dumps({**facts, **changed}))
    shutil.copytree(old, tmp_path / "before")
    with pytest.raises(UserError, match=rf"{next(iter(changed))}: .* ARGS=--replace"):
        merge(old, new)
    for path in old.iterdir():
        assert path.read_bytes() == (tmp_path / "before" / path.name).read_bytes()


def test_a_figure_that_is_tuned_anew_keeps_its_other_arms(tmp_path):
    old = write_figure(tmp_path / "old", {("tuned", "Adam"): [0.2], ("default", "Adam"): [0.6]}, tuned_at=2)
    new = write_figure(tmp_path / "new", {("tuned", "Adam"): [0.1]}, tuned_at=10)
    merge(old, new)
    found = FigureData.load(old)
    assert found.finals["arm"].tolist() == ["tuned", "default"] and found.provenance["tuned_at"] == 10


def test_diagnostics_are_joined_too(tmp_path):
    old = write_figure(tmp_path / "old", {("tuned", "Adam"): [0.2, 0.3]})
    new = write_figure(tmp_path / "new", {("tuned", "Adam"): [0.1]})
    columns = "arm,curve,seed,epoch,layer,below_eps,sqrt_v_hat_p50,step_p50,step_p99,step_max,snr\n"
    old_lines = "".join(f"tuned,Adam,{seed},1,conv1,0.{seed},1,1,1,1,1\n" for seed in (0, 1))
    (old / "diagnostics.csv").write_text(columns + old_lines)
    merge(old, new)  # the new run of seed 0 has none, and the old one's were another run's
    assert FigureData.load(old).diagnostics["seed"].tolist() == [1]
    (new / "diagnostics.csv").write_text(columns + "tuned,Adam,0,1,conv1,0.9,1,1,1,1,1\n")
    merge(old, new)
    assert FigureData.load(old).diagnostics["below_eps"].tolist() == [0.9, 0.1]


def test_a_run_that_two_arms_ask_for_stands_in_both(tmp_path):
    folder = write_figure(tmp_path, {("tuned", "Adam"): [0.2, 0.3], ("default", "AdaGrad"): [0.4]})
    diagnosed = "arm,curve,seed,epoch,layer,below_eps,sqrt_v_hat_p50,step_p50,step_p99,step_max,snr\n"
    (folder / "diagnostics.csv").write_text(diagnosed + "tuned,Adam,1,1,conv1,0.9,1,1,1,1,1\n")
    same = {"curve": "Adam", "lr": 0.1, "schedule": "constant", "hyper": "{}", "l2": 1e-4, "terms": ""}
    asked = pd.DataFrame(
        [
            {"arm": "tuned", **same},
            {"arm": "default", **same},
            {"arm": "default", **same, "curve": "AdaGrad"},
            {"arm": "default", **same, "curve": "RMSProp"},  # which no arm has
            {"arm": "matched", **same, "curve": "RMSProp"},  # not run at all: an arm is lent as a whole, or not
            {"arm": "matched", **same},
            {"arm": "tuned", **same, "curve": "AdaGrad", "lr": 0.2},  # another setting
        ]
    )
    assert lend(folder, asked) == "lent: 2 runs to the arm default"
    found = FigureData.load(folder)
    assert found.finals[["arm", "curve", "seed", "train_cost"]].to_numpy().tolist() == [
        ["tuned", "Adam", 0, 0.2],
        ["tuned", "Adam", 1, 0.3],
        ["default", "AdaGrad", 0, 0.4],
        ["default", "Adam", 0, 0.2],
        ["default", "Adam", 1, 0.3],
    ]
    of_adam = found.curves[found.curves["curve"] == "Adam"]
    tuned, default = (of_adam[of_adam["arm"] == arm].drop(columns="arm") for arm in ("tuned", "default"))
    assert len(tuned) and tuned.reset_index(drop=True).equals(default.reset_index(drop=True))
    assert found.diagnostics["arm"].tolist() == ["tuned", "default"]
    before = (folder / "finals.csv").read_bytes()
    assert lend(folder, asked) == "" and (folder / "finals.csv").read_bytes() == before


def test_an_arm_that_was_not_run_is_lent_when_other_arms_have_all_of_it(tmp_path):
    folder = write_figure(tmp_path, {("tuned", "Adam"): [0.2, 0.3], ("default", "AdaGrad"): [0.4]})
    same = {"lr": 0.1, "schedule": "constant", "hyper": "{}", "l2": 1e-4, "terms": ""}
    every = [("tuned", "Adam"), ("default", "AdaGrad"), ("matched", "Adam"), ("matched", "AdaGrad")]
    asked = pd.DataFrame([{"arm": arm, "curve": curve, **same} for arm, curve in every])
    assert lend(folder, asked) == "lent: 3 runs to the arm matched"
    assert FigureData.load(folder).arm("matched")["train_cost"].tolist() == [0.2, 0.3, 0.4]


def test_an_arm_is_lent_the_seeds_that_it_lacks_and_keeps_its_own(tmp_path):
    folder = write_figure(tmp_path, {("tuned", "Adam"): [0.2, 0.3], ("matched", "Adam"): [0.21]})
    same = {"curve": "Adam", "lr": 0.1, "schedule": "constant", "hyper": "{}", "l2": 1e-4}
    asked = pd.DataFrame([{"arm": "tuned", **same, "terms": "dropout"}, {"arm": "matched", **same, "terms": "none"}])
    assert lend(folder, asked) == "", "the arms differ in more than their curves' settings"
    assert lend(folder, asked.assign(terms="none")) == "lent: 1 run to the arm matched"
    assert FigureData.load(folder).arm("matched")["train_cost"].tolist() == [0.21, 0.3]
