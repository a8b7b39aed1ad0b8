"""What one job of a Slurm array does on its node: trains its populations by as many processes as it has cores.

Slurm signals every process of a job, workers too. Before the time limit it sends USR2, to which submitit answers in the
job's first process: ``checkpoint``, a requeue, the end. ``scancel`` sends TERM. Either way what was finished has its
record, and the next execution trains the rest.
"""

from __future__ import annotations

import functools
import multiprocessing
import os
import signal
import socket
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from submitit.core.utils import DelayedSubmission

from adam_repro import run, sweep
from adam_repro.process import Stopped, settle_process, stop_by_signals
from adam_repro.run import Job

TIME_LIMIT_SIGNAL = signal.SIGUSR2  # submitit's choice
STOP_SECONDS = 30.0  # for workers to end


@dataclass(frozen=True)
class Chunk:
    """Populations for one job of an array, trained by ``processes`` at a time; submitit carries it to the node."""

    populations: list[list[Job]]
    processes: int

    @property
    def keys(self) -> set[str]:
        return {job.key for job in self.jobs}

    @property
    def jobs(self) -> list[Job]:
        return [job for population in self.populations for job in population]

    def __call__(self) -> dict[str, str]:
        """Train what has no record yet; the traceback of each job that failed, by its key."""
        settle_process()
        stop_by_signals()  # in place of submitit's handler, which ignores SIGTERM until SIGKILL comes
        left = sweep.all_left_of(self.populations)
        try:
            return sweep.train_groups(left, self.processes, execute) if left else {}
        except Stopped as stopped:
            sys.exit(128 + stopped.number)

    def checkpoint(self) -> DelayedSubmission:
        """Called by submitit before it requeues the job: end the workers, whose checkpoints lie on disk."""
        workers = multiprocessing.active_children()
        for worker in workers:
            worker.terminate()
        for worker in workers:
            worker.join(STOP_SECONDS)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # a requeue sends it while this process ends by itself
        return DelayedSubmission(self)


def execute(jobs: Sequence[Job], *, on_row: Callable[..., None]) -> Any:
    """``run.execute`` in a worker of a Slurm job."""
    signal.signal(TIME_LIMIT_SIGNAL, signal.SIG_IGN)  # the first process ends its workers when it is time
    claim_gpu()
    return run.execute(jobs, on_row=on_row)


@functools.cache
def claim_gpu() -> socket.socket | None:
    """Leave this process one of the GPUs that Slurm gave the job, one that no other process of the job has claimed.

    The claim is a name among Linux's abstract sockets, which is free again when the process ends.
    """
    for device in filter(None, os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")):
        claim = socket.socket(socket.AF_UNIX)
        try:
            claim.bind(f"\0adam_repro {os.environ['SLURM_JOB_ID']} {device}")
        except OSError:
            claim.close()
        else:
            os.environ["CUDA_VISIBLE_DEVICES"] = device
            return claim
    return None
