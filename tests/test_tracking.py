import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from adam_repro import records
from adam_repro.app import compose
from adam_repro.run import execute, prepare
from adam_repro.surroundings import PROJECT_ROOT
from adam_repro.tracking import METRICS, mirror_all

TRACKING = {"mode": "offline", "project": "adam-repro", "entity": None, "members": "reported"}


def jobs(results, *arms):
    base = ["dataset.stand_in=only", "scale=smoke", "train_examples=256", f"results={results}", "figure=fig1_mnist"]
    overrides = [[f"arm={arm}", f"optimizer.lr={place + 1}e-3"] for place, arm in enumerate(arms)]
    return [prepare(compose("logistic_regression", [*base, *each])) for each in overrides]


@pytest.fixture(scope="module")
def mirrored(tmp_path_factory):
    """Two runs that a figure draws and two points of its grid, mirrored."""
    results = tmp_path_factory.mktemp("results")
    planned = jobs(results, "tuned", "default", "grid", "grid")
    execute(planned)
    folder = results / "smoke" / "fig1_mnist" / "wandb"
    mirror_all(planned, TRACKING, folder)
    return planned, folder


def runs(folder):
    return sorted(path.name for path in folder.glob("offline-run-*"))


def test_each_run_that_a_figure_draws_is_one_wandb_run_and_its_grid_one_table(mirrored):
    planned, folder = mirrored
    names = runs(folder)
    assert len(names) == 3
    for job in planned[:2]:
        assert sum(name.endswith(job.folder.name) for name in names) == 1
    assert sum("fig1_mnist_grid-" in name for name in names) == 1


def test_mirroring_again_adds_nothing(mirrored):
    planned, folder = mirrored
    before = runs(folder)
    mirror_all(planned, TRACKING, folder)
    assert runs(folder) == before


def test_all_members_can_be_runs_of_their_own(mirrored, tmp_path):
    planned, _ = mirrored
    mirror_all(planned, TRACKING | {"members": "all"}, tmp_path / "wandb")
    assert len(runs(tmp_path / "wandb")) == 4


def test_what_wandb_holds_is_what_the_record_says(mirrored):
    planned, folder = mirrored
    (run,) = folder.glob(f"offline-run-*{planned[0].folder.name}")
    (file,) = run.glob("*.wandb")
    wandb = Path(sys.executable).with_name("wandb")
    shown = subprocess.run([wandb, "leet", "inspect", "--json", file], capture_output=True, text=True, check=True)
    rows = [json.loads(line).get("history", {}).get("item") for line in shown.stdout.splitlines()]
    rows = [row for row in rows if row]
    curve = records.read(planned[0].folder).curve
    assert [row["epoch"] for row in rows] == curve["epoch"].tolist()
    for row, (_, recorded) in zip(rows[1:], curve.iloc[1:].iterrows(), strict=True):
        assert {name: row[shown] for name, shown in METRICS.items()} == recorded[list(METRICS)].to_dict()


def test_no_secret_of_the_environment_is_in_a_record_or_in_what_wandb_holds(tmp_path):
    """A run as a user starts it, in an environment with secrets: none is in any file that is left."""
    secrets = {"WANDB_API_KEY": "0f" * 20, "HF_TOKEN": "hf_a-secret-of-ours", "DATABASE_URL": "sql://u:another-one@h"}
    command = [sys.executable, PROJECT_ROOT / "experiments" / "logistic_regression.py", "dataset.stand_in=only"]
    command += ["scale=smoke", "train_examples=256", f"results={tmp_path}", "tracking.mode=offline"]
    environment = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    subprocess.run(command, env=environment | secrets, check=True, capture_output=True, cwd=tmp_path)
    left = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert {path.suffix for path in left} >= {".yaml", ".csv", ".json", ".wandb"}
    for path, content in left.items():
        for secret in secrets.values():
            assert secret.encode() not in content, path
