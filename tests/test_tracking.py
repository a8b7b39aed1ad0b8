import dataclasses
import json
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from loopback import loopback
from pages import in_terminal

from adam_repro import records
from adam_repro.analysis.curves import paper_curves
from adam_repro.analysis.gather import final_costs
from adam_repro.app import compose
from adam_repro.errors import UserError
from adam_repro.run import execute, prepare
from adam_repro.surroundings import PROJECT_ROOT
from adam_repro.tracking import METRICS, OF_THE_GROUP, mirror_all, mirror_printed, mirror_printed_grid
from adam_repro.uploading import offline_runs, upload

TRACKING = {"mode": "offline", "project": "adam-repro", "entity": None, "members": "reported"}


def jobs(results, *arms):
    base = ["dataset.stand_in=only", "scale=smoke", "train_examples=256", f"results={results}", "figure=fig1_mnist"]
    overrides = [[f"arm={arm}", f"optimizer.lr={place + 1}e-3"] for place, arm in enumerate(arms)]
    return [prepare(compose("logistic_regression", [*base, *each])) for each in overrides]


@pytest.fixture(scope="module")
def mirrored(tmp_path_factory):
    """Two runs that a figure draws and two points of its grid, the first of them one of the runs; mirrored."""
    results = tmp_path_factory.mktemp("results")
    tuned, default, *_ = planned = jobs(results, "tuned", "default", "grid", "grid")
    planned[2] = dataclasses.replace(tuned, arm="grid")
    execute([tuned, default, planned[3]])
    folder = results / "smoke" / "fig1_mnist" / "wandb"
    mirror_all(planned, TRACKING, folder)
    return planned, folder


def runs(folder):
    return sorted(path.name for path in folder.glob("offline-run-*"))


def inspected(folder, id, kind):
    """What W&B's own reader finds of a ``kind`` in the file of a run."""
    (file,) = folder.glob(f"offline-run-{id}*/*.wandb")
    wandb = Path(sys.executable).with_name("wandb")
    shown = subprocess.run([wandb, "leet", "inspect", "--json", file], capture_output=True, text=True, check=True)
    return [found[kind] for line in shown.stdout.splitlines() if kind in (found := json.loads(line))]


def history(folder, id):
    return [found["item"] for found in inspected(folder, id, "history")]


def test_each_run_that_a_figure_draws_is_one_wandb_run_and_its_grid_one_table(mirrored):
    (tuned, default, *_), folder = mirrored
    assert len(runs(folder)) == 3
    for beginning in (
        f"offline-run-tuned_adam_seed0_lr0.001-{tuned.key[:8]}_fig1_mnist-",
        f"offline-run-default_adam_seed0_lr0.002-{default.key[:8]}_fig1_mnist-",
        "offline-run-grid_2runs-",
    ):
        assert sum(name.startswith(beginning) for name in runs(folder)) == 1, beginning


def test_the_terminal_viewer_lists_runs_by_what_they_are(mirrored):
    _, folder = mirrored
    status, screen = in_terminal(f"wandb leet {folder}", "q", folder.parent)
    assert status == 0
    for beginning in ("tuned_adam_seed0", "default_adam_seed0", "grid_2runs"):
        assert f"offline-run-{beginning}" in screen


def test_mirroring_again_adds_nothing(mirrored):
    planned, folder = mirrored
    before = runs(folder)
    mirror_all(planned, TRACKING, folder)
    assert runs(folder) == before


def test_what_a_killed_mirroring_has_left_is_not_uploaded_and_is_made_anew(mirrored, tmp_path):
    planned, folder = mirrored
    shutil.copytree(folder, tmp_path / "wandb")
    whole = offline_runs(tmp_path)
    id = next(id for id in (tmp_path / "wandb" / "mirrored-offline.txt").read_text().splitlines() if "tuned" in id)
    (kept,) = (path for path in whole if id in path.name)
    cut = kept.parent.rename(tmp_path / "wandb" / f"offline-run-20260101_000000-{id}") / kept.name
    cut.write_bytes(cut.read_bytes()[:100])
    ledger = tmp_path / "wandb" / "mirrored-offline.txt"
    ledger.write_text(ledger.read_text().replace(id, id[:20]))
    mine = tmp_path / "wandb" / "offline-run-20260101_000000-mine"
    mine.mkdir()
    assert offline_runs(tmp_path) == [path for path in whole if path != kept]
    mirror_all(planned, TRACKING, tmp_path / "wandb")
    assert len(offline_runs(tmp_path)) == len(whole) and not cut.exists() and mine.exists()
    assert len(history(tmp_path / "wandb", "tuned")) == len(records.read(planned[0].folder).curve)
    before = runs(tmp_path / "wandb")
    mirror_all(planned, TRACKING, tmp_path / "wandb")
    assert runs(tmp_path / "wandb") == before


def test_all_members_can_be_runs_of_their_own(mirrored, tmp_path):
    planned, _ = mirrored
    mirror_all(planned, TRACKING | {"members": "all"}, tmp_path / "wandb")
    assert len(runs(tmp_path / "wandb")) == 4


def test_what_wandb_holds_is_what_the_record_says(mirrored):
    planned, folder = mirrored
    (run,) = inspected(folder, "tuned", "run")
    assert "host" not in run and platform.node() not in run.values()
    rows = history(folder, "tuned")
    curve = records.read(planned[0].folder).curve
    assert [row["epoch"] for row in rows] == curve["epoch"].tolist()
    for row, (_, recorded) in zip(rows[1:], curve.iloc[1:].iterrows(), strict=True):
        assert {name: row[shown] for name, shown in METRICS.items()} == recorded[list(METRICS)].to_dict()


def test_a_grid_is_a_cost_for_each_learning_rate_too(mirrored):
    planned, folder = mirrored
    *rows, table = history(folder, "grid")
    costs = {job.lr: final_costs(records.read(job.folder))["train_cost"] for job in planned[2:]}
    assert {row["sensitivity/lr"]: row["sensitivity/Adam"] for row in rows} == costs
    assert table["runs.nrows"] == 2


def test_what_differs_in_more_than_learning_rate_and_seed_is_never_averaged(tmp_path):
    """Arms have a table each, and in one schedules and penalties a series each."""
    base = ["dataset.stand_in=only", "scale=smoke", "train_examples=256", f"results={tmp_path}", "figure=fig1_mnist"]
    varied = ([], ["schedule=inverse_sqrt_step"], ["l2=0.001"])
    overrides = [["arm=grid", *each] for each in varied] + [["arm=control"]]
    planned = [prepare(compose("logistic_regression", [*base, *each])) for each in overrides]
    execute(planned[:3])
    mirror_all(planned, TRACKING, tmp_path / "wandb")
    assert len(runs(tmp_path / "wandb")) == 2
    costs = [final_costs(records.read(job.folder))["train_cost"] for job in planned]
    (row, _), (control, _) = (history(tmp_path / "wandb", arm) for arm in ("grid", "control"))
    shown = {name: value for name, value in row.items() if name.startswith("sensitivity/Adam")}
    assert shown == {
        "sensitivity/Adam_schedule_constant_L2_0_0001": costs[0],
        "sensitivity/Adam_schedule_inverse_sqrt_step_L2_0_0001": costs[1],
        "sensitivity/Adam_schedule_constant_L2_0_001": costs[2],
    }
    assert control["sensitivity/Adam"] == costs[3]


def test_a_grids_table_is_uploaded_from_the_folder_with_its_new_name(mirrored, tmp_path, monkeypatch):
    _, folder = mirrored
    shutil.copytree(folder, tmp_path / "wandb")
    with loopback() as server:
        monkeypatch.setenv("WANDB_BASE_URL", server.url)
        monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
        assert upload(offline_runs(tmp_path), patience=30, on_progress=lambda done: None) == {}
    files = [name for asked, variables in server.asked if asked == "createRunFiles" for name in variables["files"]]
    assert sum(name.startswith("media/table/runs") for name in files) == 1


def test_printed_curves_are_runs_beside_ours(tmp_path):
    for _ in range(2):
        mirror_printed("fig1_mnist", "1L", TRACKING, tmp_path / "wandb")
    assert len(runs(tmp_path / "wandb")) == 3
    printed = paper_curves("1L")
    adam = printed[printed["curve"] == "Adam"]
    rows = history(tmp_path / "wandb", "printed_adam_fig1_mnist")
    assert [row["train/cost"] for row in rows] == adam["training_cost"].tolist()
    assert [row["epoch"] for row in rows] == (adam["epoch"] + 1).tolist()


def test_the_printed_points_of_a_grid_are_a_run_by_learning_rate(tmp_path):
    points = pd.DataFrame(
        {"Adam_beta1_0_0": [120.5, 110.0], "Adam_beta1_0_9": [float("nan"), 105.0]}, index=[1e-4, 1e-3]
    )
    for _ in range(2):
        mirror_printed_grid("fig4", points, 10, TRACKING, tmp_path / "wandb")
    mirror_printed_grid("fig4", points, 100, TRACKING, tmp_path / "wandb")
    assert len(runs(tmp_path / "wandb")) == 2
    rows = [
        {name.removeprefix("sensitivity/"): value for name, value in row.items() if name.startswith("sensitivity/")}
        for row in history(tmp_path / "wandb", "printed_grid_10passes_fig4")
    ]
    assert rows == [
        {"lr": 1e-4, "Adam_beta1_0_0": 120.5},
        {"lr": 1e-3, "Adam_beta1_0_0": 110.0, "Adam_beta1_0_9": 105.0},
    ]


def test_a_curve_may_have_any_name(mirrored, tmp_path, caplog):
    (tuned, *_), _ = mirrored
    names = ["Adam, beta1 = 0", "mine.py:My/Opt?", "Adam+dropout"]
    mirror_all([dataclasses.replace(tuned, curve=name) for name in names], TRACKING, tmp_path / "wandb")
    assert "was not updated" not in caplog.text
    ids = [name.removeprefix("offline-run-tuned_").partition("_seed")[0] for name in runs(tmp_path / "wandb")]
    assert ids == ["adam+dropout", "adam-beta1-0", "mine.py-my-opt-"]
    (shown,) = inspected(tmp_path / "wandb", "tuned_adam-beta1-0", "run")
    assert "Adam, beta1 = 0" in shown["tags"]


def test_a_disk_that_cannot_be_written_costs_a_warning(mirrored, tmp_path, caplog):
    planned, _ = mirrored
    (tmp_path / "wandb").write_text("no folder")
    mirror_all(planned, TRACKING, tmp_path / "wandb")
    assert "the same command mirrors them again" in caplog.text


class Unreachable(Exception):
    """As wandb's own process raises where it has ended: of no class that W&B's other errors have."""


@pytest.mark.parametrize("error", [Unreachable("The service is gone."), Unreachable()], ids=["told", "without a word"])
def test_whatever_wandb_raises_costs_a_warning(mirrored, tmp_path, monkeypatch, caplog, error):
    planned, _ = mirrored

    def fails(**settings):
        raise error

    with monkeypatch.context() as broken:
        broken.setattr("wandb.init", fails)
        mirror_all(planned, TRACKING, tmp_path / "wandb")
    assert f"W&B was not updated: {str(error) or 'Unreachable'} The records are complete" in caplog.text
    mirror_all(planned[:1], TRACKING, tmp_path / "wandb")
    assert len(runs(tmp_path / "wandb")) == 1, "the same command mirrors them"


def test_a_damaged_record_is_no_failure_of_wandb(mirrored, tmp_path):
    (tuned, *_), _ = mirrored
    shutil.copytree(tuned.folder, tmp_path / tuned.folder.name)
    (tmp_path / tuned.folder.name / "curve.csv").write_text("")
    with pytest.raises(UserError, match=r"curve\.csv was changed after it was written"):
        mirror_all([dataclasses.replace(tuned, folder=tmp_path / tuned.folder.name)], TRACKING, tmp_path / "wandb")


def test_no_secret_of_the_environment_is_in_a_record_or_in_what_wandb_holds(tmp_path):
    """A run as a user starts it, in an environment with secrets: none is in any file that is left."""
    secrets = {"WANDB_API_KEY": "0f" * 20, "HF_TOKEN": "hf_a-secret-of-ours", "DATABASE_URL": "sql://u:another-one@h"}
    command = [sys.executable, PROJECT_ROOT / "experiments" / "logistic_regression.py", "dataset.stand_in=only"]
    command += ["scale=smoke", "train_examples=256", f"results={tmp_path}", "tracking.mode=offline"]
    environment = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    subprocess.run(
        command, env=environment | secrets | {"TORCHDYNAMO_DISABLE": "1"}, check=True, capture_output=True, cwd=tmp_path
    )
    left = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert {path.suffix for path in left} >= {".yaml", ".csv", ".json", ".wandb"}
    for path, content in left.items():
        for secret in secrets.values():
            assert secret.encode() not in content, path


def test_the_page_names_all_that_a_run_holds(mirrored):
    _, folder = mirrored
    page = (PROJECT_ROOT / "docs" / "wandb.md").read_text()
    config, logged = set(), set()
    for id in ("tuned", "grid"):
        for found in inspected(folder, id, "run"):
            config |= set(found["config"]["update"])
        logged |= {name for row in history(folder, id) for name in row}
    logged = {name.partition(".")[0] for name in logged if name[0] != "_"} - {"sensitivity/Adam"}
    assert len(config) > 10 and len(logged) > 5
    for name in {*config, *logged, *OF_THE_GROUP, "status", "diverged_step"} - {"_wandb"}:
        assert f"`{name}`" in page, name
