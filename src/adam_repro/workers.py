"""Groups of jobs over processes of one thread each: two such processes do almost twice the work of one with two."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from multiprocessing import forkserver, resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any, Protocol

import torch

from adam_repro.compilation import DISABLED
from adam_repro.errors import in_full
from adam_repro.locks import ASK_AGAIN_SECONDS
from adam_repro.process import deaf_to_interrupts, settle_process

END_SECONDS = 10.0  # that a worker has to end in, before it is killed
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
TUNABLES, HUGE_PAGES = "GLIBC_TUNABLES", "glibc.malloc.hugetlb"
IMPORTED = ["adam_repro.app", *([] if DISABLED else ["torch._inductor.compile_fx"])]
"""What a worker finds imported when it begins; none of it starts a thread."""


@dataclass(frozen=True)
class Epoch:
    """A group has finished an epoch: (job, its training cost) for each of its runs."""

    group: int
    epoch: int
    costs: list[tuple[int, float]]


@dataclass(frozen=True)
class Finished:
    """A group has ended; ``error`` is None for success, else what to tell: a message, or the traceback of a failure."""

    group: int
    error: str | None


@dataclass
class Worker:
    process: BaseProcess
    connection: Connection
    group: int | None = field(default=None)


class Turns(Protocol):
    """Whose turn a group is, where several sweeps are at the same runs."""

    def take(self, group: int) -> bool | None:
        """True: it is ours until ``give_back``. False: somebody else is at it. None: nothing of it is left to do."""

    def give_back(self, group: int) -> None: ...


def get_ready(also: Sequence[str] = ()) -> None:
    """Start the process that workers are forked from, where it is not there yet: it begins with their imports.

    They take four seconds, once for all workers, and a sweep that calls this early composes its jobs meanwhile. It
    computes nothing, so it has one thread, and no state that a fork could break. ``also`` names modules that processes
    of another kind are to find imported; they too start no thread.
    """
    multiprocessing.get_context("forkserver").set_forkserver_preload([*IMPORTED, *also])
    resource_tracker.ensure_running()  # the server's start begins with it, and it lets interrupts through again
    with ready_to_train(), deaf_to_interrupts():
        forkserver.ensure_running()


def run_groups(
    execute: Callable, groups: Sequence[Sequence], processes: int, turns: Turns, *, forked: bool = True
) -> Iterator[Epoch | Finished]:
    """Run ``execute(jobs, on_row=...)`` for each of ``groups``, ``processes`` at a time; yields what happens.

    Workers that are ``forked`` start at once, with all imports done; but what they import has seen that there is CUDA,
    which does not outlive a fork, so that those that use a GPU are to start from nothing.

    ``execute`` is importable by name. A group that raises, or whose process dies, is reported as failed and costs no
    other group anything. Groups that others are at come last. However this ends, the processes end with it.
    """
    waiting = list(range(len(groups)))
    workers: list[Worker] = []
    try:
        if forked:
            get_ready()
        workers += [_start(execute, forked) for _ in range(min(processes, len(groups)))]
        while waiting or any(worker.group is not None for worker in workers):
            idle = [worker for worker in workers if worker.group is None]
            for group in waiting[:]:
                if idle and (ours := turns.take(group)) is not False:
                    waiting.remove(group)
                    if ours:
                        worker = idle.pop()
                        worker.group = group
                        with suppress(ConnectionError):  # it has died: what it says is its end
                            worker.connection.send((group, groups[group]))
                    else:
                        yield Finished(group, None)
            busy = [worker for worker in workers if worker.group is not None]
            if not busy:
                if waiting:
                    time.sleep(ASK_AGAIN_SECONDS)
                continue
            ready = wait([worker.connection for worker in busy], ASK_AGAIN_SECONDS if idle and waiting else None)
            for worker in busy:
                if worker.connection in ready:
                    event = _receive(worker)
                    if isinstance(event, Finished):
                        turns.give_back(event.group)
                        worker.group = None
                        if not worker.process.is_alive():
                            workers.remove(worker)
                            workers.append(_start(execute, forked))
                    yield event
    finally:
        for worker in workers:
            worker.process.terminate()
        for worker in workers:
            worker.process.join(END_SECONDS)
            worker.process.kill()
            worker.process.join()
            if worker.group is not None:
                turns.give_back(worker.group)


def _start(execute: Callable, forked: bool) -> Worker:
    context: Any = multiprocessing.get_context("forkserver" if forked else "spawn")
    ours, theirs = context.Pipe()
    process: BaseProcess = context.Process(target=_work, args=(execute, theirs), daemon=True)
    resource_tracker.ensure_running()  # as in ``get_ready``
    with ready_to_train(), deaf_to_interrupts():
        process.start()
    theirs.close()
    return Worker(process, ours)


def _receive(worker: Worker) -> Epoch | Finished:
    assert worker.group is not None
    try:
        return worker.connection.recv()
    except (EOFError, ConnectionError):  # the latter where it died with the group unread
        worker.process.join()
        return Finished(worker.group, f"its process died (exit code {worker.process.exitcode})")


def _work(execute: Callable, connection: Connection) -> None:
    """The life of a worker: groups come in, epochs and ends go out, until the parent ends it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends it to everybody, and the parent sees to the rest
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that a write that is under way is undone
    torch.set_num_threads(1)
    settle_process()
    while True:
        try:
            group, jobs = connection.recv()
        except (EOFError, ConnectionError):
            return
        place = {job.key: index for index, job in enumerate(jobs)}

        def tell(ordered: list, row: Any, group: int = group, place: dict = place) -> None:
            costs = [(place[job.key], cost) for job, cost in zip(ordered, row.train_cost.tolist(), strict=True)]
            _send(connection, Epoch(group, row.epoch, costs))

        error = None
        try:
            execute(jobs, on_row=tell)
        except Exception as raised:  # whatever a run raises is reported, and the next group goes on
            error = in_full(raised)
        _send(connection, Finished(group, error))


def _send(connection: Connection, event: Epoch | Finished) -> None:
    try:
        connection.send(event)
    except ConnectionError:
        sys.exit(0)  # the parent was killed: whoever goes on with the sweep does this group again


@contextmanager
def ready_to_train() -> Iterator[None]:
    """Processes started meanwhile begin with one thread in every library, and glibc (from 2.35) asks the kernel for
    pages of 2 MB: products of large matrices then miss fewer translations of addresses. It reads that as a process
    starts, so that this cannot stand beside ``process.keep_memory``, which a process calls itself. What the user has
    set of it stays, and other libraries of C do not know the variable."""
    given = os.environ.get(TUNABLES, "")
    tuned = given if HUGE_PAGES in given else ":".join(filter(None, [given, f"{HUGE_PAGES}=1"]))
    with _environment({**ONE_THREAD, TUNABLES: tuned}):
        yield


@contextmanager
def one_thread_each() -> Iterator[None]:
    """Processes started meanwhile begin with one thread in every library."""
    with _environment(ONE_THREAD):
        yield


@contextmanager
def _environment(variables: dict[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.__setitem__(name, value)
