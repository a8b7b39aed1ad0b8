import errno
import itertools
import re
import shlex
import socket
import subprocess
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import filelock
import pytest
from tiny_data import OVERRIDES

from adam_repro import records
from adam_repro.app import compose
from adam_repro.locks import Lock
from adam_repro.run import checkpoint_of, execute, prepare
from adam_repro.surroundings import PROJECT_ROOT
from adam_repro.sweep import (
    CALIBRATION_STEPS,
    Claims,
    _calibrated_seconds,
    forget,
    grouped,
    left_of,
    populations,
    run,
    show_mirror,
    show_plan,
)

serial = itertools.count()


@dataclass
class Job:
    """What the cutting of populations looks at."""

    group: str | None
    rule: str = "Adam"
    epochs: int = 10
    device: str = "cpu"
    key: int = field(default_factory=lambda: next(serial))

    @property
    def config(self) -> dict[str, Any]:
        return {"optimizer": {"_target_": self.rule}, "epochs": self.epochs}


def test_every_job_is_in_one_population_and_none_spans_two_groups():
    jobs = [Job(f"seed {seed}", rule) for seed in range(3) for rule in ("Adam", "SGD", "AdaGrad") for _ in range(8)]
    cut = populations(jobs, 2)
    assert sorted(job.key for part in cut for job in part) == sorted(job.key for job in jobs)
    assert all(len({job.group for job in part}) == 1 for part in cut)


def test_jobs_that_must_run_alone_do():
    assert [len(part) for part in populations([Job(None), Job(None), Job(None)], 2)] == [1, 1, 1]


@pytest.mark.parametrize(("seeds", "processes", "parts"), [(10, 2, 10), (1, 2, 2), (3, 2, 6), (1, 1, 1)])
def test_populations_are_cut_so_that_all_processes_end_together(seeds, processes, parts):
    jobs = [Job(f"seed {seed}") for seed in range(seeds) for _ in range(24)]
    assert len(populations(jobs, processes)) == parts


def test_on_a_gpu_populations_are_cut_for_their_size_alone():
    jobs = [Job("seed", device="cuda") for _ in range(30)]
    assert [len(part) for part in grouped(jobs[:20], 3)] == [20]
    assert [len(part) for part in grouped(jobs, 3)] == [15, 15]


def test_jobs_of_one_rule_lie_together_in_a_population():
    jobs = [Job("seed", rule) for _ in range(4) for rule in ("Adam", "SGD")]
    (part,) = populations(jobs, 1)
    assert len(list(itertools.groupby(part, key=lambda job: job.rule))) == 2


@pytest.fixture
def trio(tmp_path):
    """Three runs that can be one population."""
    names = ("adam", "adagrad", "sgd_nesterov")
    settings = [*OVERRIDES, "epochs=2", f"results={tmp_path}"]
    return [prepare(compose("logistic_regression", [*settings, f"optimizer={name}"])) for name in names]


def test_what_is_asked_for_twice_is_trained_once_and_has_one_line_in_the_index(tmp_path):
    settings = [*OVERRIDES, "epochs=2", "figure=fig1_mnist", "arm=default", f"results={tmp_path}"]
    jobs = [prepare(compose("logistic_regression", [*settings, f"seed={seed}"])) for seed in (0, 1, 0)]
    trained = []
    run(
        jobs,
        workers=1,
        tracking={"mode": "disabled"},
        folder=tmp_path,
        train=lambda distinct, workers: trained.extend(distinct) or {},
    )
    assert trained == jobs[:2]
    assert [entry["seed"] for entry in records.read_index(tmp_path / "index.csv")] == [0, 1]


def test_what_has_no_record_is_left(trio):
    assert left_of(trio) == trio
    execute(trio[:1])
    assert left_of(trio) == trio[1:]
    execute(trio[1:])
    assert left_of(trio) == []


def test_members_that_were_stopped_while_their_records_were_written_go_on_together(trio):
    execute(trio)
    (trio[1].folder / "meta.json").unlink()
    assert left_of(trio) == trio


def test_a_run_that_was_trained_in_other_company_is_not_trained_again(trio):
    execute(trio[:1])
    execute(trio[1:])
    (trio[2].folder / "meta.json").unlink()
    assert left_of(trio) == trio[1:]


def test_what_is_kept_of_a_group_goes_when_it_is_done_and_nobody_is_at_it(trio):
    checkpoint = checkpoint_of(trio)
    checkpoint.parent.mkdir()
    for path in (checkpoint, checkpoint.with_suffix(".lock")):
        path.touch()
    forget([trio])
    assert checkpoint.exists(), "it is not done yet"
    execute(trio)
    checkpoint.touch()
    somebody = Claims([trio]).locks[0]
    assert somebody.take()
    forget([trio])
    assert checkpoint.exists()
    somebody.give_back()
    checkpoint.with_suffix(".lock").touch()
    forget([trio])
    assert list(checkpoint.parent.iterdir()) == []


def test_whoever_takes_a_group_clears_what_cut_off_writes_have_left_of_it(trio):
    left = [
        trio[0].folder / ".meta.json-abcdefgh",
        checkpoint_of(trio).parent / f".{checkpoint_of(trio).name}-abcdefgh",
    ]
    others = [trio[0].folder / ".mine-abcdefgh", checkpoint_of(trio).parent / ".other.pt-abcdefgh"]
    for path in (*left, *others):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    claims = Claims([trio])
    assert claims.take(0) and [path.exists() for path in left + others] == [False, False, True, True]
    claims.give_back(0)


def test_of_two_sweeps_one_trains_a_group_and_the_other_finds_it_done(trio):
    ours, theirs = Claims([trio]), Claims([trio])
    assert ours.take(0) is True
    assert theirs.take(0) is False
    ours.give_back(0)
    assert theirs.take(0) is True
    execute(trio)
    theirs.give_back(0)
    assert ours.take(0) is None
    assert list(trio[0].folder.parents[2].glob("checkpoints/*")) == []


@pytest.mark.filterwarnings("ignore:flock not supported")
@pytest.mark.skipif(filelock.__version__ < "4", reason="older versions may take the file away from whoever has it")
@pytest.mark.parametrize(("fault", "everybody"), [(errno.ENOSYS, False), (errno.ENOLCK, True)])
def test_without_locks_of_the_file_system_a_file_is_one_and_where_they_fail_everybody_gets_it(
    tmp_path, monkeypatch, fault, everybody
):
    def flock(descriptor, operation):
        raise OSError(fault, "as of this file system")

    monkeypatch.setattr("fcntl.flock", flock)
    ours, theirs = (Lock(tmp_path / "a.lock") for _ in range(2))
    assert (ours.take(), theirs.take()) == (True, everybody)
    ours.give_back()
    assert theirs.take()
    theirs.give_back()
    killed = subprocess.Popen(["true"])
    killed.wait()
    (tmp_path / "a.lock").write_text(f"{killed.pid}\n{socket.gethostname()}\n")
    assert any(ours.take() for _ in range(10)), "nobody holds it"


def test_the_command_that_uploads_is_named_with_the_place_of_the_runs(tmp_path, capsys):
    for results in (PROJECT_ROOT / "results", tmp_path / "my results"):
        show_mirror({"mode": "offline"}, results / "quick" / "fig1_mnist" / "wandb")
    ours, elsewhere = re.findall(r"Upload:  (make wandb-sync.*?)   \(", capsys.readouterr().out)
    assert ours == "make wandb-sync"
    made = subprocess.run(f"{elsewhere} --dry-run", shell=True, cwd=PROJECT_ROOT, capture_output=True, text=True)
    (line,) = (line for line in made.stdout.splitlines() if "wandb_sync" in line)  # make says more inside another make
    asked = shlex.split(line)
    assert asked[-2:] == ["scripts/wandb_sync.py", f"--results={tmp_path}/my results/quick/fig1_mnist"], made.stderr


def test_a_plan_times_groups_of_each_size_of_minibatches(monkeypatch, capsys):
    monkeypatch.setattr("adam_repro.sweep._calibrated_seconds", lambda group: 3600.0 * group[0].steps)
    jobs = [
        prepare(compose("logistic_regression", [*OVERRIDES, "epochs=1", f"batch_size={size}"])) for size in (10, 100)
    ]
    show_plan(jobs, workers=1)
    assert f"about {sum(job.steps for job in jobs):.3f} core-hours" in capsys.readouterr().out
    show_plan(jobs, workers=1, elsewhere=True)
    told = capsys.readouterr().out
    assert "not known here" in told and "hours" not in told and "MB of disk" in told


@pytest.mark.parametrize(("evaluate_at", "evaluations"), [("null", 9), ("[]", 1), ("[0,4]", 3)])
def test_a_plan_counts_the_evaluations_that_a_run_has(monkeypatch, evaluate_at, evaluations):
    monkeypatch.setattr("adam_repro.sweep.time", SimpleNamespace(perf_counter=itertools.count().__next__))
    job = prepare(compose("logistic_regression", [*OVERRIDES, "epochs=8", f"evaluate_at={evaluate_at}"]))
    a_step, of_test, of_training = 1 / CALIBRATION_STEPS, 1, 28 / 10
    assert _calibrated_seconds([job]) == pytest.approx(job.steps * a_step + evaluations * (of_test + of_training))
