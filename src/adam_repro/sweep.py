"""Many jobs at once: what is finished is skipped, the rest is grouped into populations and spread over processes."""

from __future__ import annotations

import json
import math
import os
import shlex
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from hydra.utils import get_class

from adam_repro import integrity, memory, records
from adam_repro.building import build_model
from adam_repro.compilation import in_a_run_of
from adam_repro.errors import UserError, in_full
from adam_repro.integrity import is_evaluated
from adam_repro.locks import Lock
from adam_repro.optimizers import SFO
from adam_repro.progress import Progress
from adam_repro.run import Job, build_learner, checkpoint_of, execute, group_name, load_data
from adam_repro.surroundings import PROJECT_ROOT
from adam_repro.training import CLEAN_EXAMPLES
from adam_repro.wording import counted
from adam_repro.workers import Epoch, Finished, run_groups

CALIBRATION_STEPS = 20
ROW_BYTES, RUN_BYTES = 400, 12_000  # an epoch and a run, in the record and in W&B's file
FOREIGN_STATES = ("m", "v", "v_max")  # as many as optimizers from outside may have
MOST_MEMBERS = 105  # beyond this a member's step gets no faster (`make bench`)
OVERHEAD_MEMBERS = 6  # a step of a population costs about as much as this many members more (measured by `make bench`)
MOST_ON_A_GPU = 24  # beyond this hardly: an H100 takes 0.21 ms for a step of one VAE, 0.058 of each of 24, 0.052 of 72
PROCESSES_ON_A_GPU = 3  # while one loads, compiles or evaluates, the others keep it at work


def run(
    jobs: Sequence[Job],
    *,
    workers: int | None,
    tracking: dict[str, Any],
    folder: Path,
    train: Callable[[Sequence[Job], int | None], dict[str, str]] | None = None,
    before: Sequence[Job] = (),
) -> dict[str, str]:
    """Train all jobs that have no record yet; why each job that failed did, by its key.

    Equal jobs are trained once. ``folder`` is where the index of a figure and the W&B runs go. ``train`` takes all
    jobs, and ``workers``, and returns what failed of those that had no record; None: processes of this machine do it.
    What was stopped goes on: the same jobs are grouped in the same way, and each group has its checkpoint. ``before``
    are jobs that are done and belong in the index, too: it takes the place of the one that names them.
    """
    began = time.perf_counter()
    distinct = list({job.key: job for job in jobs}.values())
    waiting = [job for job in distinct if not records.is_complete(job.folder, job.key)]
    skipped = f", {len(distinct) - len(waiting)} already done" if len(waiting) < len(distinct) else ""
    print(f"{counted(len(distinct), 'run')}{skipped}", end="; " if waiting else "\n", flush=True)
    failures = (train or train_here)(distinct, workers) if waiting else {}
    _show_failures(distinct, failures)
    if train is None:
        forget(grouped(distinct, workers or processes_for(distinct)))
    done = [job for job in jobs if job.key not in failures]
    _write_index(folder, [*before, *done])
    mirror(done, tracking, folder / "wandb")
    _report(distinct, len(failures), tracking=tracking, folder=folder, seconds=time.perf_counter() - began)
    return failures


def train_here(jobs: Sequence[Job], workers: int | None) -> dict[str, str]:
    """Train what is left of ``jobs`` on this machine, by so many ``workers`` (None: see ``processes_for``)."""
    processes = workers or processes_for(jobs)
    groups = all_left_of(grouped(jobs, processes))  # whatever there is room for, so that checkpoints are found
    return train_groups(groups, workers or with_room(processes, groups, room=memory.available()))


def processes_for(jobs: Sequence[Job]) -> int:
    """How many processes train ``jobs`` where nobody has said it: one for each core, or a few that share a GPU."""
    return cores() if jobs[0].device == "cpu" else PROCESSES_ON_A_GPU


def grouped(jobs: Sequence[Job], processes: int) -> list[list[Job]]:
    """The populations of a sweep on this machine; its processes share a GPU, whose work cutting makes no faster."""
    return populations(jobs, processes if jobs[0].device == "cpu" else 1)


def with_room(processes: int, groups: Sequence[Sequence[Job]], *, room: float) -> int:
    """How many of ``processes`` the ``room``, in bytes, is for; said where it is not all of them."""
    if not groups or groups[0][0].device != "cpu":
        return processes
    each = _most_bytes(groups)
    fewer = memory.fitting(processes, each, room)
    if fewer < min(processes, len(groups)):
        print(
            f"{fewer} processes at a time instead of {processes}: each takes about {each / 1e9:.1f} GB of memory, and "
            f"{room / 1e9:.1f} GB are free. workers={processes} asks for {processes} all the same."
        )
    return fewer


def _most_bytes(groups: Sequence[Sequence[Job]]) -> float:
    """Of the group that takes most, which need not have most members: a single run may remember more than a hundred.

    Of groups with the same data and model one is asked, as each has them loaded and built.
    """
    of_kind = {}
    for group in sorted(groups, key=_copies):
        of_kind[json.dumps([group[0].config[part] for part in ("dataset", "model")])] = group  # the last has most
    return max(map(bytes_of, of_kind.values()))


def bytes_of(group: Sequence[Job]) -> float:
    """About what a worker takes that trains ``group``: torch, the data, and each member's parameters, gradients and
    what its optimizer remembers, all in float32."""
    data = load_data(group[0])
    examples = sum(part.nbytes for part in (data.train_x, data.train_y, data.test_x, data.test_y))
    parameters = sum(parameter.numel() for parameter in build_model(group[0].config).parameters())
    return memory.WORKER_BYTES + examples + 4 * parameters * _copies(group)


def _copies(group: Sequence[Job]) -> int:
    """How many tensors as large as all parameters a group has: those, their gradients and what is remembered."""
    return sum(2 + _remembered(job) for job in group)


def _remembered(job: Job) -> int:
    """How many tensors as large as all parameters the job's optimizer has at most."""
    found = get_class(_rule(job))
    if found is SFO:
        return SFO.directions(job.config["optimizer"]["subfunctions"])
    return len(getattr(found, "state_names", FOREIGN_STATES))


def all_left_of(groups: Sequence[list[Job]]) -> list[list[Job]]:
    return [left for group in groups if (left := left_of(group))]


def left_of(group: list[Job]) -> list[Job]:
    """What of a population is still to be trained.

    All of it where it was stopped while its records were written: its members go on as they began, together.
    """
    done = [job for job in group if records.is_complete(job.folder, job.key)]
    waiting = [job for job in group if job.key not in {job.key for job in done}]
    if waiting and done:
        of = [records.read(job.folder).meta.get("group") for job in done]
        for name in {*of} - {None}:
            together = [*waiting, *(job for job, group in zip(done, of, strict=True) if group == name)]
            if group_name(together) == name:
                return sorted(together, key=group.index)
    return waiting


def lock_of(group: Sequence[Job]) -> Lock:
    """Whoever has it trains the group; it lies beside the group's checkpoint."""
    checkpoint = checkpoint_of(group)
    files = [job.folder / name for job in group for name in integrity.FILES]
    return Lock(checkpoint.with_suffix(".lock"), guards=[checkpoint, *files])


def forget(groups: Sequence[Sequence[Job]]) -> None:
    """Remove the checkpoint and the lock of each group that is done: who was killed at its very end has left them."""
    for group in groups:
        checkpoint = checkpoint_of(group)
        kept = any(path.exists() for path in (checkpoint, checkpoint.with_suffix(".lock")))
        if kept and _are_done(group) and (lock := lock_of(group)).take():
            checkpoint.unlink(missing_ok=True)
            lock.give_back()


def _are_done(group: Sequence[Job]) -> bool:
    return all(records.is_complete(job.folder, job.key) for job in group)


class Claims:
    """Which of several sweeps trains a group: ``workers.Turns``, by the lock of each."""

    def __init__(self, groups: Sequence[Sequence[Job]]):
        self.groups = groups
        self.locks = [lock_of(group) for group in groups]

    def take(self, group: int) -> bool | None:
        if not self.locks[group].take():
            return False
        if _are_done(self.groups[group]):
            self.give_back(group)  # somebody else was faster
            return None
        return True

    def give_back(self, group: int) -> None:
        self.locks[group].give_back()


def train_groups(
    groups: Sequence[Sequence[Job]], processes: int, execute: Callable[..., Any] = execute
) -> dict[str, str]:
    """Train populations, ``processes`` at a time; the traceback of each job that failed, by its key."""
    print(f"{counted(len(groups), 'group')} on {counted(min(processes, len(groups)), 'process')}", flush=True)
    failures: dict[str, str] = {}
    with Progress(groups) as progress:
        forked = not groups or groups[0][0].device == "cpu"
        for event in run_groups(execute, groups, processes, Claims(groups), forked=forked):
            match event:
                case Epoch(group, epoch, costs):
                    progress.epoch(group, epoch, costs)
                case Finished(group, error):
                    progress.finished(group)
                    if error is not None:
                        failures.update(
                            {job.key: error for job in groups[group] if not records.is_complete(job.folder, job.key)}
                        )
    return failures


def populations(jobs: Sequence[Job], processes: int, *, least: int = 1) -> list[list[Job]]:
    """Jobs that share minibatches (never across seeds) as populations, cut so that all processes end together.

    No group is cut into parts of fewer than ``least`` members, on average.
    """
    by_group: dict[str, list[Job]] = {}
    for index, job in enumerate(jobs):
        by_group.setdefault(job.group or f"alone {index}", []).append(job)
    groups = [sorted(group, key=_rule) for group in by_group.values()]
    cuts = [[part for group in groups for part in _cut(group, parts, least)] for parts in range(1, 5)]
    best = min(cuts, key=lambda cut: (_makespan(cut, processes), len(cut)))
    return sorted(best, key=len, reverse=True)


def _rule(job: Job) -> str:
    return job.config["optimizer"]["_target_"]


def _cut(group: list[Job], parts: int, least: int) -> list[list[Job]]:
    most = MOST_MEMBERS if group[0].device == "cpu" else MOST_ON_A_GPU
    parts = max(min(parts, len(group) // least), math.ceil(len(group) / most))
    size = math.ceil(len(group) / parts)
    return [group[start : start + size] for start in range(0, len(group), size)]


def cost(population: Sequence[Job]) -> float:
    """How long a population takes, in member-epochs."""
    return (len(population) + OVERHEAD_MEMBERS) * population[0].config["epochs"]


def _makespan(cut: list[list[Job]], processes: int) -> float:
    """How long the longest process takes, in member-epochs, when each takes the next group as it comes free."""
    return max(sum(map(cost, share)) for share in shares(cut, processes))


def shares(cut: Sequence[list[Job]], count: int) -> list[list[list[Job]]]:
    """``count`` shares of populations that cost about the same: the next longest goes where least is."""
    dealt: list[list[list[Job]]] = [[] for _ in range(count)]
    totals = [0.0] * count
    for population in sorted(cut, key=cost, reverse=True):
        least = totals.index(min(totals))
        dealt[least].append(population)
        totals[least] += cost(population)
    return dealt


def mirror(jobs: Sequence[Job], tracking: dict[str, Any], folder: Path) -> None:
    """Mirror the jobs' records to Weights & Biases, where tracking is on."""
    if tracking["mode"] != "disabled" and jobs:
        from adam_repro.tracking import mirror_all

        mirror_all(jobs, tracking, folder)


def show_mirror(tracking: dict[str, Any], folder: Path) -> None:
    """Say how the curves that ``mirror`` left in ``folder`` are looked at and uploaded."""
    if tracking["mode"] == "offline":
        ours = folder.absolute().is_relative_to(PROJECT_ROOT / "results")
        place = f"--results={shlex.quote(str(folder.parent.absolute()))}"  # as make hands it to a shell
        elsewhere = "" if ours else f" ARGS={shlex.quote(place)}"
        print(
            f"Curves:  wandb leet {folder}   (in the terminal)\n"
            f"Upload:  make wandb-sync{elsewhere}   (says what it would send, and how to send it)"
        )


def cores() -> int:
    """The cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def show_plan(jobs: Sequence[Job], *, workers: int | None = None, elsewhere: bool = False) -> None:
    """Print what ``run`` would cost: runs, core-hours by a calibration of a few steps, disk.

    ``elsewhere``: on GPUs that this machine has not, whose time it cannot tell.
    UserError where an optimizer raises in these steps, as it would in training; what it raised is printed before.
    """
    distinct = list({job.key: job for job in jobs}.values())
    waiting = [job for job in distinct if not records.is_complete(job.folder, job.key)]
    print(f"{counted(len(distinct), 'run')}, {len(distinct) - len(waiting)} of them already done.")
    if waiting:
        print("What they take on the cluster's GPUs is not known here." if elsewhere else _time_of(waiting, workers))
        epochs = sum(job.config["epochs"] for job in waiting)
        megabytes = (epochs * ROW_BYTES + len(waiting) * RUN_BYTES) / 1e6
        print(f"About {megabytes:.1f} MB of disk, records and W&B together.")


def _time_of(waiting: Sequence[Job], workers: int | None) -> str:
    processes = workers or processes_for(waiting)
    groups = grouped(waiting, processes)
    on_gpu = waiting[0].device != "cpu"
    places = 1 if on_gpu else min(processes, len(groups))
    torch.set_num_threads(1)  # as a worker has
    seconds = _seconds_of({_shape(group): group for group in groups})
    total = sum(seconds[_shape(group)] for group in groups)
    unit, there = ("GPU-hours", "the GPU") if on_gpu else ("core-hours", f"{places} cores")
    return (
        f"{len(groups)} groups, about {total / 3600:.3f} {unit}: {total / places / 60:.1f} minutes on {there}, by "
        "timing a few steps of each kind of group on this machine."
    )


def _shape(group: list[Job]) -> tuple:
    """What decides how long a group takes: all but seeds and what its optimizers and their penalties are set to."""
    like = {
        name: value for name, value in group[0].config.items() if name not in ("optimizer", "schedule", "l2", "seed")
    }
    return len(group), *sorted({_rule(job) for job in group}), json.dumps(like, sort_keys=True)


def _seconds_of(kinds: dict[tuple, list[Job]]) -> dict[tuple, float]:
    seconds: dict[tuple, float] = {}
    failures: dict[str, str] = {}
    for shape, group in kinds.items():
        try:
            seconds[shape] = _calibrated_seconds(group)
        except Exception as raised:  # an optimizer from outside may raise anything
            failures |= dict.fromkeys((job.key for job in group), in_full(raised))
    if failures:
        _show_failures([job for group in kinds.values() for job in group], failures)
        raise UserError(
            f"The runs above, tried for {CALIBRATION_STEPS} steps, fail, so that nobody knows what all would cost. Put "
            "their optimizer right, or leave them out."
        )
    return seconds


def _calibrated_seconds(group: list[Job]) -> float:
    """Seconds that a group would take on one core, from a few steps and one evaluation of the test set."""
    config = group[0].config
    data = load_data(group[0])
    learner, _ = build_learner(group)
    x, y = data.train_x[: config["batch_size"]], data.train_y[: config["batch_size"]]
    with in_a_run_of(group[0].steps):
        learner.begin_epoch(1, range(1, CALIBRATION_STEPS + 2))
        learner.step(x, y).cpu()  # the first calls compile
        learner.evaluate(data.test_x, data.test_y)
        began = time.perf_counter()
        for _ in range(CALIBRATION_STEPS):
            last = learner.step(x, y)
        last.cpu()  # waits for a GPU
        step = (time.perf_counter() - began) / CALIBRATION_STEPS
        began = time.perf_counter()
        learner.evaluate(data.test_x, data.test_y)
        evaluation = time.perf_counter() - began
    evaluations = sum(is_evaluated(epoch, config) for epoch in range(config["epochs"] + 1))
    of_both = 1 + min(len(data.train_y), CLEAN_EXAMPLES) / len(data.test_y)  # of training examples, too
    return group[0].steps * step + evaluations * of_both * evaluation


def _write_index(folder: Path, jobs: Sequence[Job]) -> None:
    """Where the analysis finds the runs of a figure. A figure's index names all its runs, a part of it too.

    What was asked for twice, as by seed=0,0, has one line.
    """
    figures = {job.figure for job in jobs} - {None}
    if figures:
        entries = [
            {
                "arm": job.arm,
                "curve": job.curve,
                "seed": job.config["seed"],
                "tuned_at": job.tuned_at,
                "tuned_on": job.tuned_on,
                "on_grid_edge": job.on_grid_edge,
                "record": str(job.folder.relative_to(job.folder.parents[2])),
            }
            for job in jobs
        ]
        distinct = {tuple(entry.values()): entry for entry in entries}
        index = folder / "index.csv"
        with Lock(index.with_suffix(".lock"), guards=[index]):
            records.write_index(index, list(distinct.values()))


def _show_failures(jobs: Sequence[Job], failures: dict[str, str]) -> None:
    for job in jobs:
        if job.key in failures:
            print(f"failed: {job.folder.name}: {failures[job.key].strip().splitlines()[-1]}", file=sys.stderr)
    if tracebacks := [failure for failure in failures.values() if "\n" in failure]:
        print(f"\nThe first failure in full:\n{tracebacks[0]}", file=sys.stderr)


def _report(jobs: Sequence[Job], failed: int, *, tracking: dict[str, Any], folder: Path, seconds: float) -> None:
    print(f"{len(jobs) - failed} of {len(jobs)} runs are done, in {seconds:.0f} s.")
    if jobs:
        print(f"Records: {jobs[0].folder.parent}")
    show_mirror(tracking, folder / "wandb")
