"""Sweeps on a real Slurm, which one machine is enough for; skipped where none answers and none can be started."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest
from commands import UNCOMPILED, run
from own_slurm import OWN_SLURM, answered
from own_slurm import slurm as slurm_that_answers
from torture import LONGEST_SECONDS

from adam_repro import records, slurm
from adam_repro.checkpoints import Keeper
from adam_repro.errors import UserError
from adam_repro.run import checkpoint_of
from adam_repro.slurm import Array
from adam_repro.slurm_job import claim_gpu
from adam_repro.surroundings import PROJECT_ROOT

ENTRY_POINT = PROJECT_ROOT / "experiments" / "logistic_regression.py"
ENVIRONMENT = os.environ | UNCOMPILED  # here and, since Slurm hands it on, in the jobs
ASKED = Array(partition=None, cpus=2, gpus=0, time=60, array=4, chunks=None, requeues=3, sbatch={})

SWEEP = ["-m", "dataset.stand_in=only", "tracking.mode=disabled", "epochs=40", "checkpoint_every=0", "evaluate_at=[]"]
SWEEP += ["optimizer=adam,sgd", "optimizer.lr=1e-3,3e-3,1e-2,3e-2,1e-1"]
SIX_SEEDS = "seed=range(6)"
RUNS = 60
ON_SLURM = ["hydra.launcher." + setting for setting in ("cluster=slurm", "cpus=1", "array=2", "chunks=3", "time=5")]


def send(name, signal="USR2"):
    """Send a job a signal; USR2 is what Slurm itself sends before the time limit."""
    with contextlib.suppress(subprocess.TimeoutExpired):  # scancel may be told "try again" by what it has just caused
        subprocess.run(["scancel", f"--signal={signal}", name], timeout=3)


@pytest.fixture
def cluster():
    with slurm_that_answers() as answers:
        if not answers:
            pytest.skip(f"no Slurm answers (sinfo), and root could start none by {OWN_SLURM / 'up.sh'}")
        yield


@pytest.fixture
def results(cluster, tmp_path):
    """A folder for results, of whose jobs none outlives the test."""
    results = tmp_path / "results"
    yield results
    if left := slurm._arrays(slurm._kept(results / "slurm")):
        answered("scancel", *left.split())


@dataclass
class Command:
    """The command of a sweep, which lives as long as a ``with``."""

    arguments: list[str]
    folder: Path

    def __enter__(self):
        command = [sys.executable, str(ENTRY_POINT), *SWEEP, *self.arguments]
        self.folder.mkdir(exist_ok=True)
        with (self.folder / "output").open("w") as output:
            self.process = subprocess.Popen(
                command, cwd=self.folder, env=ENVIRONMENT, stdout=output, stderr=subprocess.STDOUT
            )
        return self

    def __exit__(self, *exc):
        self.process.kill()
        self.process.wait()

    def said(self):
        return (self.folder / "output").read_text()

    def ended(self):
        """Its exit status and all that it said."""
        return self.process.wait(LONGEST_SECONDS), self.said()


def until(condition, what, seconds=60):
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, f"{what}: not in {seconds} s"
        time.sleep(0.1)
    return found


def recorded(results):
    """The records of a results folder, by the names of their folders."""
    return {path.parent.name: records.read(path.parent) for path in results.glob("runs/*/*/meta.json")}


def are_done(population):
    return all(records.is_complete(job.folder, job.key) for job in population)


def checkpoints(chunk):
    return [path for path in map(checkpoint_of, chunk.populations) if path.exists()]


def mark_as_long(checkpoint):
    """Have every pass that a checkpoint holds seem to have taken an hour: what goes on from there will tell."""
    keeper = Keeper(checkpoint, every=0)
    kept = keeper.load()
    keeper.offer(
        SimpleNamespace(state=lambda: kept.state), [replace(row, train_seconds=3600.0) for row in kept.rows], []
    )


@pytest.mark.slurm
@pytest.mark.timeout(3 * LONGEST_SECONDS)  # each command has a limit of its own
def test_a_sweep_on_slurm_survives_interrupts_cancels_and_time_limits_and_makes_the_records_of_a_local_one(
    results, tmp_path
):
    folder = results / "slurm"
    arguments = [f"results={results}", SIX_SEEDS, *ON_SLURM]

    with Command(arguments, tmp_path / "first") as first:
        until(lambda: "Follow:" in first.said(), "it says what it submitted")
        chunks = {int(name.split("_")[1]): (name, chunk) for name, chunk in slurm._kept(folder).items()}
        (limited, limited_chunk), (cancelled, cancelled_chunk), _ = (chunks[index] for index in range(3))
        for name, chunk in (limited, limited_chunk), (cancelled, cancelled_chunk):
            until(lambda chunk=chunk: checkpoints(chunk), "a job keeps a checkpoint")
            send(name, "STOP")  # or it would be done before it is its turn
        first.process.send_signal(signal.SIGINT)
        status, said = first.ended()
    assert status == 130 and "The jobs go on without this command" in said
    assert f"{RUNS} runs; Slurm array" in said and "60 runs in 3 jobs, 2 at once" in said

    with Command(arguments, tmp_path / "second") as second:
        until(lambda: "Follow:" in second.said(), "it says what it found")
        send(limited)
        send(limited, "CONT")
        until(lambda: slurm._queue().get(limited) == "PENDING", "the job is requeued")
        (checkpoint,) = checkpoints(limited_chunk)
        mark_as_long(checkpoint)
        answered("scontrol", "update", f"jobid={limited}", "StartTime=now")  # Slurm itself waits two minutes
        send(cancelled, "CONT")
        until(lambda: are_done(cancelled_chunk.populations[0]), "the other job has finished a population")
        assert not are_done(cancelled_chunk.populations[1])
        answered("scancel", cancelled)
        status, said = second.ended()
    assert "60 in Slurm's queue already" in said and "Slurm array" not in said
    assert status == 1 and "10 runs are unfinished" in said and f"Slurm job {cancelled} ended before it" in said
    assert not list(folder.glob("*.pkl")), "what has ended is forgotten"
    kept = recorded(results)
    assert len(kept) == 50
    resumed = [record for record in kept.values() if record.meta["train_seconds"] > 3600]
    assert len(resumed) == 10

    with Command(arguments, tmp_path / "third") as third:
        status, said = third.ended()
    assert status == 0 and "60 runs, 50 already done; Slurm array" in said and "60 of 60 runs are done" in said

    with Command([f"results={tmp_path / 'here'}", SIX_SEEDS, "workers=2"], tmp_path / "local") as local:
        assert local.ended()[0] == 0
    here, there = recorded(tmp_path / "here"), recorded(results)
    assert len(here) == RUNS and here.keys() == there.keys()
    for name, record in there.items():
        assert record.meta["group"] == here[name].meta["group"]
        assert (record.folder / "curve.csv").read_bytes() == (here[name].folder / "curve.csv").read_bytes()

    with Command([f"results={tmp_path / 'cut'}", "seed=0", "workers=2"], tmp_path / "halves") as halves:
        assert halves.ended()[0] == 0
    cut = recorded(tmp_path / "cut")
    assert len(cut) == 10 and all(record.meta["group"] != there[name].meta["group"] for name, record in cut.items())
    for name, record in cut.items():
        pd.testing.assert_frame_equal(record.curve, there[name].curve, rtol=1e-4)

    last = sorted(there.keys() - kept.keys())
    (name,) = slurm._arrays(path.name for path in folder.glob("*log.out")).split()[-1:]
    spent = answered("sacct", "--allocations", "--noheader", "--format=ElapsedRaw", f"--jobs={name}")
    if spent and spent.strip():  # Slurm may keep no accounts
        overhead = int(spent) - there[last[0]].meta["train_seconds"] - there[last[0]].meta["evaluation_seconds"]
        print(f"overhead of a job: {overhead:.1f} s")
        assert overhead < 10 * max(1, os.getloadavg()[0] / os.cpu_count())


@pytest.mark.parametrize(
    ("setting", "value"), [("cpus", 0), ("gpus", -1), ("time", 4), ("array", 0), ("chunks", 0), ("requeues", -1)]
)
def test_a_number_that_cannot_be_is_refused(setting, value):
    with pytest.raises(UserError, match=f"hydra.launcher.{setting}={value} is not allowed"):
        replace(ASKED, **{setting: value})


@pytest.mark.parametrize(("gpus", "device"), [(0, "cuda"), (1, "cpu"), (2, "cuda:1")])
def test_a_device_that_the_jobs_are_not_to_have_is_refused(gpus, device):
    with pytest.raises(UserError, match=f"device={device} does not go with hydra.launcher.gpus={gpus}"):
        replace(ASKED, gpus=gpus).device(device)


@dataclass(frozen=True)
class Job:
    """What the cutting of a sweep looks at."""

    key: str
    group: str | None
    config: dict = field(default_factory=lambda: {"optimizer": {"_target_": "Adam"}, "epochs": 10})
    source: dict = field(default_factory=lambda: {"stand_in": "forbid"})
    folder: Path = Path("nowhere")
    device: str = "cpu"

    def on_gpu(self, device):
        return replace(self, device=device)


def seeds(count, members=24):
    return [Job(f"{seed} {member}", f"seed {seed}") for seed in range(count) for member in range(members)]


def sizes(chunks):
    return [sorted(map(len, chunk.populations)) for chunk in chunks]


def test_chunks_are_of_equal_cost_and_hold_every_job_once():
    jobs = seeds(10)
    chunks = ASKED._chunks(jobs, (), 2)
    assert len(chunks) == 4
    assert sorted(job.key for chunk in chunks for job in chunk.jobs) == sorted(job.key for job in jobs)
    totals = [sum(populations) for populations in sizes(chunks)]
    assert max(totals) <= 1.25 * min(totals)


@pytest.mark.parametrize(("members", "least"), [(24, 6), (10, 10), (3, 3)])
def test_many_chunks_leave_populations_that_pay_and_work_for_every_process(members, least):
    chunks = replace(ASKED, chunks=100)._chunks(seeds(4, members), (), 2)
    assert min(size for populations in sizes(chunks) for size in populations) >= least
    assert all(len(chunk.populations) >= 2 for chunk in chunks)


def keys(chunks):
    return sorted([job.key for job in population] for chunk in chunks for population in chunk.populations)


def test_what_is_under_way_is_not_submitted_again_and_the_rest_is_grouped_as_before():
    first, *others = ASKED._chunks(seeds(5), (), 2)
    assert keys(ASKED._chunks(seeds(5), first.keys, 2)) == keys(others)


def test_nodes_take_data_that_are_there_and_gpus_share_the_members_of_a_population():
    (on_cores,) = replace(ASKED, chunks=1)._chunks(seeds(1, 8), (), 1)
    assert {job.source["stand_in"] for job in on_cores.jobs} == {"found"} and len(on_cores.populations) == 1
    (on_gpus,) = replace(ASKED, chunks=1, gpus=2)._chunks(seeds(1, 16), (), 2)
    assert {job.device for job in on_gpus.jobs} == {"cuda"}
    assert [len(population) for population in on_gpus.populations] == [8, 8]


def test_each_process_of_a_job_has_a_gpu_of_its_own(monkeypatch):
    monkeypatch.setenv("SLURM_JOB_ID", f"test {os.getpid()}")
    with contextlib.ExitStack() as claims:

        def claim():
            monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,5")
            held = claim_gpu.__wrapped__()
            return held and claims.enter_context(held), os.environ["CUDA_VISIBLE_DEVICES"]

        first, device = claim()
        assert device == "2" and claim()[1] == "5"
        assert claim() == (None, "2,5"), "no third process is to be"
        first.close()  # as its end does
        assert claim()[1] == "2"


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        (["hydra.launcher.cluster=cloud"], "hydra.launcher.cluster=cloud is not allowed"),
        (["hydra.launcher.cluster=slurm"], "needs Slurm's commands"),
        (["hydra.launcher.cluster=slurm", "hydra.launcher.time=1"], "hydra.launcher.time=1 is not allowed"),
    ],
)
def test_a_users_mistake_is_one_paragraph_and_leaves_nothing(tmp_path, settings, named):
    words = [*SWEEP[1:], f"results={tmp_path / 'results'}", *settings]
    outcome = run(ENTRY_POINT, *words, cwd=tmp_path, environment={"PATH": ""})
    assert outcome.returncode == 1 and len(outcome.stderr.strip().splitlines()) == 1
    assert outcome.stderr.startswith("Error: ") and named in outcome.stderr
    assert not (tmp_path / "results").exists()
