"""A sweep on a Slurm cluster: the populations that wait are cut into chunks, and one array has a job for each chunk.

The process that the user starts composes, checks and submits, waits for the array and collects what it made. It may be
stopped at any time: the jobs go on, and the same command finds them in the queue by what submitit keeps of them below
``results/slurm``.
"""

from __future__ import annotations

import dataclasses
import math
import os
import pickle
import shlex
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import submitit
from submitit.core.utils import FailedJobError, FailedSubmissionError

from adam_repro import records
from adam_repro.errors import UserError
from adam_repro.process import Stopped
from adam_repro.progress import Progress
from adam_repro.run import Job
from adam_repro.slurm_job import Chunk
from adam_repro.sweep import OVERHEAD_MEMBERS, all_left_of, populations, shares
from adam_repro.wording import counted

SIGNAL_SECONDS = 60  # before the time limit; Slurm keeps both to the minute
LEAST_MINUTES = 5
LONGEST_POLL_SECONDS = 15.0
LOG_LINES = 20
PICKLE = "_submitted.pkl"  # how submitit ends the name of the file that holds a job's chunk
OUT_OF_REQUEUES = "timed-out too many times"  # what submitit raises then


@dataclass(frozen=True)
class Array:
    """What a sweep asks of Slurm; see ``PopulationLauncherConf``. UserError for a number that cannot be."""

    partition: str | None
    cpus: int
    gpus: int
    time: int
    array: int
    chunks: int | None
    requeues: int
    sbatch: Mapping[str, Any]

    def __post_init__(self) -> None:
        least = {"cpus": 1, "gpus": 0, "time": LEAST_MINUTES, "array": 1, "chunks": 1, "requeues": 0}
        for name, bound in least.items():
            given = getattr(self, name)
            if given is not None and given < bound:
                raise UserError(f"hydra.launcher.{name}={given} is not allowed: give a whole number from {bound} on.")

    def device(self, asked: str) -> str:
        """The device on which a configuration is checked here, a login node, which may have no GPU.

        UserError where ``asked`` is not what the jobs are to have.
        """
        if asked != ("cuda" if self.gpus else "cpu"):
            raise UserError(
                f"device={asked} does not go with hydra.launcher.gpus={self.gpus}: give device=cuda and at least one "
                "GPU, or device=cpu and none."
            )
        return "cpu"

    def processes(self, workers: int | None) -> int:
        """The processes that train in each job."""
        return workers or self.gpus or self.cpus

    def most_processes(self, workers: int | None) -> int:
        """The processes that train at once on the cluster."""
        return min(self.array, self.chunks or self.array) * self.processes(workers)

    def train(self, jobs: Sequence[Job], workers: int | None) -> dict[str, str]:
        """Train what is left of ``jobs`` by an array, and wait for it; for each job without a record why, by its key.

        What is in Slurm's queue already is not submitted again, but waited for.
        """
        folder = jobs[0].folder.parents[2] / "slurm"
        queued, kept = _queue(), _kept(folder)
        left = {job.key: job for job in jobs if not _is_done(job)}
        followed = {name: chunk for name, chunk in kept.items() if name in queued and left.keys() & chunk.keys}
        under_way = set().union(*(chunk.keys for chunk in followed.values()))
        if both := left.keys() & under_way:
            print(f"{len(both)} in Slurm's queue already", end="; " if left.keys() - both else "\n")
        if chunks := self._chunks(jobs, under_way, self.processes(workers)):
            followed |= self._submit(folder, chunks)
        _show(folder, followed)
        try:
            _wait([*left.values()], followed)
        except Stopped as stopped:
            print(
                "\nThe jobs go on without this command. The same command, given again, collects what they have made "
                f"and waits for the rest; `scancel {_arrays(followed)}` ends them.",
                file=sys.stderr,
            )
            raise SystemExit(128 + stopped.number) from None
        failures = _unfinished(folder, followed, left)
        _forget(folder, (kept.keys() - queued.keys()) | followed.keys())
        return failures

    def _prepared(self, job: Job) -> Job:
        """The job as a node is to have it: on its device, with data that are there or not at all."""
        source = {**job.source, "stand_in": "only" if job.source["stand_in"] == "only" else "found"}
        there = dataclasses.replace(job, source=source)
        return there.on_gpu("cuda") if self.gpus else there

    def _chunks(self, jobs: Sequence[Job], under_way: Collection[str], processes: int) -> list[Chunk]:
        """What is left of ``jobs``, as chunks of about equal cost, each with work for all processes of its job.

        All jobs are grouped, done or not: so populations are the same whenever a sweep goes on, as checkpoints want it.
        """
        wanted = self.chunks or self.array
        whole = populations([self._prepared(job) for job in jobs], wanted * processes, least=OVERHEAD_MEMBERS)
        idle = [[job for job in population if job.key not in under_way] for population in whole]
        left = all_left_of(idle)
        count = min(wanted, math.ceil(len(left) / processes))
        return [Chunk(share, processes) for share in shares(left, count)]

    def _submit(self, folder: Path, chunks: list[Chunk]) -> dict[str, Chunk]:
        """Submit one array; its jobs by their names."""
        executor = submitit.SlurmExecutor(folder, max_num_timeout=self.requeues)
        executor.update_parameters(
            job_name="adam_repro",
            time=self.time,
            cpus_per_task=self.cpus,
            array_parallelism=self.array,
            signal_delay_s=SIGNAL_SECONDS,
            stderr_to_stdout=True,
            srun_args=[f"--cpus-per-task={self.cpus}"],  # since Slurm 22.05 a step does not inherit it
            additional_parameters={"requeue": True, **self.sbatch},
            **({} if self.partition is None else {"partition": self.partition}),
            **({"gpus_per_node": self.gpus} if self.gpus else {}),
        )
        folder.mkdir(parents=True, exist_ok=True)
        before = {*folder.iterdir()}
        try:
            submitted = executor.submit_array(chunks)
        except (FailedJobError, FailedSubmissionError) as error:
            for path in {*folder.iterdir()} - before:
                path.unlink()
            reason = " ".join(str(error).split()).rstrip(".")
            raise UserError(
                f"Slurm does not take the array: {reason}. `sinfo` lists the partitions and what they allow; "
                "hydra.launcher.* and +hydra.launcher.sbatch.<option>=<value> ask for something else."
            ) from None
        names = [job.job_id for job in submitted]
        runs = sum(len(chunk.keys) for chunk in chunks)
        print(
            f"Slurm array {_arrays(names)}: {counted(runs, 'run')} in {counted(len(names), 'job')}, "
            f"{min(self.array, len(names))} at once, {counted(chunks[0].processes, 'process')} and {self.time} minutes "
            "each"
        )
        return dict(zip(names, chunks, strict=True))


def _queue() -> dict[str, str]:
    """The state of each of the user's jobs that Slurm has not ended, by its name (12_0 for a job of array 12)."""
    command = ["squeue", f"--user={os.getuid()}", "--noheader", "--array", "--format=%i %T"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True)
    except FileNotFoundError:
        raise UserError(
            "hydra.launcher.cluster=slurm needs Slurm's commands, and there is no squeue here: start the sweep on a "
            "login node of the cluster, or leave the cluster out to train here."
        ) from None
    if answer.returncode:
        raise UserError(f"Slurm does not answer: {answer.stderr.strip()}")
    return dict(line.split(maxsplit=1) for line in answer.stdout.splitlines())


def _kept(folder: Path) -> dict[str, Chunk]:
    """The chunks that were submitted and not seen done, by the names of their jobs."""
    names = [path.name.removesuffix(PICKLE) for path in folder.glob(f"*{PICKLE}")]
    return {name: cast(Chunk, _slurm_job(folder, name).submission().function) for name in names}


def _forget(folder: Path, ended: Iterable[str]) -> None:
    """Remove what submitit keeps of jobs that have ended, but their logs."""
    for name in ended:
        paths = _slurm_job(folder, name).paths
        paths.submitted_pickle.unlink(missing_ok=True)
        paths.result_pickle.unlink(missing_ok=True)


def _slurm_job(folder: Path, name: str) -> submitit.SlurmJob:
    return submitit.SlurmJob(folder, name)


def _arrays(names: Iterable[str]) -> str:
    return " ".join(sorted({name.split("_")[0] for name in names}, key=int))


def _is_done(job: Job) -> bool:
    return records.is_complete(job.folder, job.key)


def _show(folder: Path, followed: Iterable[str]) -> None:
    arrays = _arrays(followed)
    logs = " ".join(f"{folder / array}_*log.out" for array in arrays.split())
    jobs = arrays.replace(" ", ",")
    print(f"Logs:    {logs}\nFollow:  squeue --job {jobs}\nCancel:  scancel {arrays}", flush=True)


def _wait(jobs: Sequence[Job], followed: Collection[str]) -> None:
    """Return when Slurm has ended the jobs that are ``followed``; shows meanwhile how many runs have a record."""
    began, told = time.monotonic(), ""
    waiting = dict(enumerate(jobs))
    with Progress([[job] for job in jobs]) as progress:
        while True:
            try:
                states = Counter(state.lower() for name, state in _queue().items() if name in followed)
                line = ", ".join(f"{count} {state}" for state, count in sorted(states.items()))
            except UserError as error:  # the controller is restarted, say
                states, line = Counter(unknown=1), f"{error}; asked again until it does"
            for index, job in [*waiting.items()]:
                if _is_done(job):
                    cost = records.read(job.folder).curve["train_cost"].min()
                    progress.epoch(index, job.config["epochs"], [(0, cost)])
                    progress.finished(index)
                    del waiting[index]
            if not states:
                return
            if line != told:
                progress.console.print(f"Slurm's jobs: {line}", highlight=False)
                told = line
            time.sleep(min(LONGEST_POLL_SECONDS, 1 + (time.monotonic() - began) / 20))


def _unfinished(folder: Path, followed: Mapping[str, Chunk], wanted: Collection[str]) -> dict[str, str]:
    """For each run of jobs that Slurm has ended that has no record, its traceback or the end of its job's log."""
    failures: dict[str, str] = {}
    cut_off = 0
    for name, chunk in followed.items():
        left = [job.key for job in chunk.jobs if job.key in wanted and not _is_done(job)]
        if not left:
            continue
        raised, error = _outcome(folder, name)
        cut_off += sum(key not in raised for key in left)
        if OUT_OF_REQUEUES in error:
            text = f"unfinished: Slurm job {name} used up its time limit and its requeues"
        else:
            text = f"The end of its log:\n{_tail(folder, name)}\nunfinished: Slurm job {name} ended before it was done"
        failures |= {key: raised.get(key, text) for key in left}
    if cut_off:
        print(f"{cut_off} runs are unfinished; this goes on with them:\n    {shlex.join(['python', *sys.argv])}")
    return failures


def _outcome(folder: Path, name: str) -> tuple[dict[str, str], str]:
    """What an ended job of Slurm has returned, and what it has raised."""
    path = _slurm_job(folder, name).paths.result_pickle
    if not path.exists():
        return {}, ""
    status, value = pickle.loads(path.read_bytes())
    return (value, "") if status == "success" else ({}, value)


def _tail(folder: Path, name: str) -> str:
    path = _slurm_job(folder, name).paths.stdout
    if not path.exists():
        return f"({path} is not there: the job was ended before it began, or its node cannot write there)"
    return "\n".join(path.read_text(errors="replace").splitlines()[-LOG_LINES:])
