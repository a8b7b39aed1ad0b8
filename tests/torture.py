"""Faults for real commands: sweeps are killed, run out of disk, meet one another, and must end as undisturbed ones.

What is run is an experiment's own command, on two worker processes, with a checkpoint at every epoch. Its data set is
``load`` below, a part of the embedded digits, which is decoded into a cache as IMDB and CIFAR-10 are. A command whose
environment names an aim, or a file for a trace, has its writes watched from the first ``load`` on (see aiming.py).
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import functools
import json
import multiprocessing
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import commands
import numpy as np
import torch
from aiming import MOST_BYTES, Aim, Write, shoot, watch
from commands import UNCOMPILED

from adam_repro import verifying
from adam_repro.data import Dataset, caching
from adam_repro.run import Job, execute
from adam_repro.surroundings import PROJECT_ROOT
from adam_repro.sweep import all_left_of, forget, lock_of, populations, run

ARRAYS = ("train_x", "train_y", "test_x", "test_y")
EXAMPLES = {"train": 2000, "test": 500}
SWEEPS = {  # populations of softmax regressions; and runs of their own, of optimizers from outside
    "populations": ["logistic_regression", "optimizer=adam,sgd,adagrad", "optimizer.lr=1e-3,1e-2", "seed=range(4)"],
    "runs": ["mlp", "model.hidden=[300]", "optimizer=external", "optimizer._target_=torch.optim.NAdam,torch.optim.SGD"]
    + ["optimizer.lr=1e-3,1e-2"],
    "figure": ["logistic_regression", "figure=fig1_mnist", "arm=default", "scale=smoke", "scale.max_epochs=null"],
}
COMMON = ["-m", "dataset._target_=torture.load", "evaluate_at=[]", "workers=2", "checkpoint_every=0"]
EPOCHS = {"populations": 40, "runs": 20, "figure": 20}
LONGEST_SECONDS = 300
PAGE = 4096
DISK_BYTES, DISK_INODES = 48 * 2**20, 600
LOADS = "loads"  # a line for each time that a worker began a group
WATCHED, TRACE, AIM = "TORTURE_WATCHED", "TORTURE_TRACE", "TORTURE_AIM"


def load(*, root: str, stand_in: str) -> Dataset:
    """The digits that ``give_data`` put into ``root``, by the signature of a data set's loader."""
    watch_writes()
    if multiprocessing.parent_process() is not None:
        with contextlib.suppress(OSError), (Path(root) / LOADS).open("a") as file:
            file.write(f"{os.getpid()}\n")
    arrays = caching.cached(Path(root), "digits", lambda: np.load(Path(root) / "digits.npz"))
    return Dataset("digits", "stand-in", "of the harness", *(torch.from_numpy(arrays[name]) for name in ARRAYS))


@functools.cache
def watch_writes() -> None:
    """As the environment says: shoot at one write of this process, or trace them all."""
    if AIM in os.environ:
        write, nth, size = json.loads(os.environ[AIM])
        shoot(Path(os.environ[WATCHED]), Aim(Write(*write), nth, size))
    elif TRACE in os.environ:
        trace_writes(Path(os.environ[WATCHED]), Path(os.environ[TRACE]))


def trace_writes(folder: Path, trace: Path) -> None:
    """From now on append each write below ``folder`` to the file ``trace``: process, kind, event, name."""
    file = os.open(trace, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def seen(write: Write) -> None:
        os.write(file, "\t".join([str(os.getpid()), write.kind, write.event, f"{write.name}\n"]).encode())

    watch(folder, seen)


def begin(jobs: Sequence[Job], sweep: Sweep, aim: Aim | None, trace: Path) -> None:
    """``in_this_process``, as the leader of a group of processes, until it comes by ``aim``; None: it is traced."""
    os.setpgid(0, 0)
    torch.set_num_threads(1)
    if aim is None:
        trace_writes(sweep.folder, trace)
    else:
        shoot(sweep.folder, aim)
    with torch.compiler.set_stance("force_eager"):  # as in the test that compares
        in_this_process(jobs, sweep)


def in_this_process(jobs: Sequence[Job], sweep: Sweep) -> None:
    """A sweep without workers: one population after the other."""

    def train(jobs: Sequence[Job], _: int | None) -> dict[str, str]:
        for group in all_left_of(populations(jobs, 1)):
            with lock_of(group):
                execute(group)
        return {}

    run(jobs, workers=1, tracking={"mode": "disabled"}, folder=sweep.results / "smoke" / "fig1_mnist", train=train)
    forget(populations(jobs, 1))


def give_data(root: Path, *, train: int = EXAMPLES["train"], test: int = EXAMPLES["test"]) -> None:
    from adam_repro.data import digits

    data = digits.load().head(train, test)
    root.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(root / "digits.npz", **{name: getattr(data, name).numpy() for name in ARRAYS})


@dataclass
class Sweep:
    """The command of one of ``SWEEPS`` with all that it reads and writes in ``folder``."""

    name: str
    folder: Path
    digits: Path
    epochs: int | None = None
    tracking: str = "disabled"

    def __post_init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Nothing is done yet; a folder that is a disk of its own stays one."""
        for path in (self.results, self.data):
            shutil.rmtree(path, ignore_errors=True)
        self.data.mkdir(parents=True)
        (self.data / "digits.npz").write_bytes(self.digits.read_bytes())

    @property
    def results(self) -> Path:
        return self.folder / "results"

    @property
    def data(self) -> Path:
        return self.folder / "data"

    def start(self, output: Path, *more: str, aim: Aim | None = None, trace: Path | None = None) -> subprocess.Popen:
        """Start the command, as the leader of a group of processes; what it says goes to ``output``."""
        environment = os.environ | UNCOMPILED | self.environment(aim=aim, trace=trace)
        with output.open("w") as file:
            return subprocess.Popen(
                [sys.executable, self.script, *self.settings(*more)],
                cwd=output.parent,
                env=environment,
                stdout=file,
                stderr=file,
                start_new_session=True,
            )

    @property
    def script(self) -> Path:
        return PROJECT_ROOT / "experiments" / f"{SWEEPS[self.name][0]}.py"

    def settings(self, *more: str) -> list[str]:
        settings = SWEEPS[self.name][1:]
        settings += [f"results={self.results}", f"dataset.root={self.data}", f"tracking.mode={self.tracking}"]
        settings += [f"epochs={self.epochs or EPOCHS[self.name]}"]
        chosen = {setting.partition("=")[0]: setting for setting in (*COMMON, *settings, *more)}
        return [*chosen.values()]

    def environment(self, *, aim: Aim | None = None, trace: Path | None = None) -> dict[str, str]:
        """What the command finds in its environment beside what is in ours."""
        found = {
            "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *filter(None, [os.environ.get("PYTHONPATH")])]),
            "XDG_CACHE_HOME": str(self.folder / "cache"),
            WATCHED: str(self.folder),
        }
        if aim is not None:
            write = (aim.write.kind, aim.write.event, aim.write.name)
            found[AIM] = json.dumps([write, aim.nth, aim.bytes])
        if trace is not None:
            found[TRACE] = str(trace)
        return found

    def curves(self) -> dict[str, bytes]:
        return {path.parent.name: path.read_bytes() for path in self.results.glob("runs/*/*/curve.csv")}

    def complete(self) -> set[str]:
        return {path.parent.name for path in self.results.glob("runs/*/*/meta.json")}

    def leftovers(self) -> list[Path]:
        return [path for path in self.folder.rglob(".*") if verifying.LEFTOVER.fullmatch(path.name)]

    def problems(self) -> list[str]:
        """What ``make verify`` would name."""
        kept, found = verifying.check_records(self.results)
        problems = kept.problems + verifying.check_indexes(self.results, found).problems
        for place in [path for path in (self.data / caching.FOLDER).glob("*") if path.is_dir()]:
            try:
                caching.checked(place)
            except Exception as error:
                problems.append(str(error))
        kept = [*self.leftovers(), *self.folder.rglob("*.lock"), *self.results.glob("checkpoints/*.pt")]
        kept += self.unmirrored()
        return problems + [f"{path.relative_to(self.folder)} is left" for path in kept]

    def unmirrored(self) -> list[Path]:
        """The folders of W&B runs that are being made, or were when their command was killed."""
        return [*self.results.glob("*/*/wandb/offline-run-[0-9]*_*")]

    def mirrored(self) -> dict[str, list[dict]]:
        """The rows that W&B's own reader finds in its files, by their names."""
        return {path.name: _rows_of(path) for path in self.results.rglob("wandb/offline-run-*/run-*.wandb")}

    def begun(self) -> int:
        """How many groups workers have begun so far."""
        path = self.data / LOADS
        return len(path.read_text().splitlines()) if path.exists() else 0


def _rows_of(run: Path) -> list[dict]:
    reader = [Path(sys.executable).with_name("wandb"), "leet", "inspect", "--json", run]
    lines = subprocess.run(reader, capture_output=True, text=True, check=True).stdout.splitlines()
    rows = [found["history"]["item"] for line in lines if "history" in (found := json.loads(line))]
    return [{name: value for name, value in row.items() if not name.startswith("_")} for row in rows]


@dataclass
class Table:
    """What was done and what came of it; everything in ``lost`` is to be empty."""

    faults: Counter[str] = field(default_factory=Counter)
    outcomes: Counter[str] = field(default_factory=Counter)
    cut: Counter[str] = field(default_factory=Counter)
    named: Counter[str] = field(default_factory=Counter)
    sweeps: int = 0
    runs_lost: int = 0
    records_that_differ: int = 0
    groups_trained_twice: int = 0
    faulty: list[str] = field(default_factory=list)

    def compare(self, sweep: Sweep, undisturbed: Sweep, what: str) -> None:
        """Count what a completed sweep lacks, or has otherwise than the ``undisturbed`` one."""
        self.sweeps += 1
        self.runs_lost += len(undisturbed.complete() - sweep.complete())
        self.compare_curves(sweep, undisturbed, what)
        self.faulty += [f"{what}: {problem}" for problem in sweep.problems()]
        if sweep.tracking == undisturbed.tracking:
            self.expect(sweep.mirrored() == undisturbed.mirrored(), f"{what}: what W&B holds is not the same")

    def compare_curves(self, sweep: Sweep, undisturbed: Sweep, what: str) -> None:
        """Count what is there already otherwise than in the ``undisturbed`` sweep."""
        curves, wanted = sweep.curves(), undisturbed.curves()
        self.records_that_differ += sum(curves[name] != wanted[name] for name in curves.keys() & wanted.keys())
        self.faulty += [f"{what}: a run too many: {name}" for name in curves.keys() - wanted.keys()]

    def expect(self, condition: bool, what: str) -> None:
        if not condition:
            self.faulty.append(what)

    def as_dict(self) -> dict[str, Any]:
        return {
            "faults": dict(sorted(self.faults.items())),
            "outcomes": dict(sorted(self.outcomes.items())),
            "sweeps completed": self.sweeps,
            "runs lost": self.runs_lost,
            "records that differ": self.records_that_differ,
            "groups trained twice by commands at once": self.groups_trained_twice,
            "other faults found": self.faulty,
            "writes that kills were aimed at": dict(sorted(self.cut.items())),
            "names in errors of full disks": dict(sorted(self.named.items())),
        }

    @property
    def is_clean(self) -> bool:
        return not (self.runs_lost or self.records_that_differ or self.groups_trained_twice or self.faulty)


def ended(process: subprocess.Popen, output: Path) -> tuple[int, str]:
    """The exit status of a command and what it said; its group of processes is gone by then."""
    try:
        status = process.wait(LONGEST_SECONDS)
    except subprocess.TimeoutExpired:
        status = errno.ETIMEDOUT
    finally:
        if process.returncode is None:
            kill(process)
    return status, output.read_text(errors="replace")


def kill(process: subprocess.Popen) -> None:
    """kill -9 of the command and all processes that it started."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def is_gone(process: subprocess.Popen, seconds: float = 10) -> bool:
    """Whether no process of the command's group is left, some seconds after it ended."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            os.killpg(process.pid, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.1)
    return False


def trains(sweep: Sweep, process: subprocess.Popen) -> bool:
    """Wait for the first sign of training; False where the command ends before."""
    began = time.time_ns()
    while process.poll() is None:
        for path in sweep.results.glob("checkpoints/*.pt"):
            with contextlib.suppress(FileNotFoundError):
                if path.stat().st_mtime_ns > began:
                    return True
        time.sleep(0.02)
    return False


def mirrors(sweep: Sweep, process: subprocess.Popen) -> bool:
    """Wait until W&B, which is no program of Python, writes a run's file; False where the command ends before."""
    before = {*sweep.unmirrored()}
    while process.poll() is None:
        if any(any(folder.glob("run-*.wandb")) for folder in sweep.unmirrored() if folder not in before):
            return True
    return False


def undisturbed(name: str, place: Path, digits: Path, *, trace: Path | None = None, **settings) -> Sweep:
    sweep = Sweep(name, place / f"undisturbed-{name}", digits, **settings)
    done = commands.run(sweep.script, *sweep.settings(), cwd=sweep.folder, environment=sweep.environment(trace=trace))
    assert done.returncode == 0, done.stderr
    assert not sweep.problems(), sweep.problems()
    return sweep


def killed(table: Table, sweep: Sweep, chance: random.Random, *, at_most: int, whole: Sweep) -> int:
    """Kill the command at random moments and start it again until it ends by itself; how often it was killed."""
    output = sweep.folder / "output"
    for kills in range(at_most + 1):
        process = sweep.start(output)
        if kills == at_most:
            break
        starting = chance.random() < (0.5 if kills == 0 else 0.1)
        if starting or trains(sweep, process):
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(chance.uniform(0.5, 8) if starting else chance.uniform(0, 2.5))
        if process.poll() is not None:
            break
        kill(process)
        table.faults["kill -9 at a random moment"] += 1
        look_after(table, sweep, process, whole)
    complete(table, sweep, process, f"{sweep.name}, killed {kills} times", whole=whole)
    return kills


def shot(table: Table, sweep: Sweep, aims: Sequence[Aim], *, whole: Sweep) -> None:
    """Kill the command at one aim after the other, and let it complete.

    One that completes before it comes by an aim begins anew, and is killed where it first comes by.
    """
    output = sweep.folder / "output"
    for aim in aims:
        for each in (aim, dataclasses.replace(aim, nth=1)):
            process = sweep.start(output, aim=each)
            status, said = ended(process, output)
            if status == -signal.SIGKILL:
                table.faults[f"kill -9 while {aim.write.kind} was written or removed"] += 1
                table.cut[str(aim.write)] += 1
                look_after(table, sweep, process, whole)
                break
            table.expect(status == 0, f"{sweep.name} misses {each} and ends with {status}: {said[-2000:]}")
            table.compare(sweep, whole, f"{sweep.name} misses {each}")
            sweep.clear()
    complete(table, sweep, sweep.start(output), f"{sweep.name}, killed by aim", whole=whole)


def shot_as_it_mirrors(table: Table, sweep: Sweep, times: int, *, whole: Sweep) -> None:
    """Kill the command while W&B writes, so many times, and let it complete."""
    output = sweep.folder / "output"
    for _ in range(times):
        process = sweep.start(output)
        if mirrors(sweep, process):
            kill(process)
            table.faults["kill -9 while a W&B run was written or removed"] += 1
            table.cut["a W&B run, by W&B's own process"] += 1
            look_after(table, sweep, process, whole)
    complete(table, sweep, sweep.start(output), f"{sweep.name}, killed as it mirrors", whole=whole)


def look_after(table: Table, sweep: Sweep, process: subprocess.Popen, whole: Sweep) -> None:
    """What a kill may not leave: a process, or a record that looks finished and is not as it ought to be."""
    table.expect(is_gone(process), f"{sweep.name}: a process outlived kill -9 of its group")
    table.compare_curves(sweep, whole, f"{sweep.name}, after a kill")
    table.outcomes["kill -9: a half-written file was left, which the same command cleared"] += bool(sweep.leftovers())


def complete(table: Table, sweep: Sweep, process: subprocess.Popen, what: str, *, whole: Sweep) -> None:
    status, said = ended(process, sweep.folder / "output")
    table.expect(status == 0, f"{what}, ends with {status}: {said[-2000:]}")
    table.compare(sweep, whole, what)


def times_of(trace: Path) -> dict[Write, int]:
    """The writes of a ``trace``, in their order, and how often a process did each, at most."""
    times: dict[Write, Counter[str]] = {}
    for line in trace.read_text().splitlines():
        process, kind, event, name = line.split("\t")
        times.setdefault(Write(kind, event, name), Counter())[process] += 1
    return {write: max(each.values()) for write, each in times.items()}


def every_aim(trace: Path) -> list[Aim]:
    return [Aim(write, nth, 10) for write, times in times_of(trace).items() for nth in range(1, times + 1)]


def aims_of(trace: Path, chance: random.Random, *, without: Sequence[str] = ()) -> list[Aim]:
    """An aim for each write that ``trace`` has, ``without`` those kinds, at a time that chance decides.

    It is none of the last, which a command that goes on in the middle need not come by.
    """
    return [
        Aim(write, chance.randint(1, max(1, min(8, times // 4))), chance.randint(1, MOST_BYTES))
        for write, times in times_of(trace).items()
        if write.kind not in without
    ]


def signalled(table: Table, sweep: Sweep, number: signal.Signals, *, whole: Sweep) -> None:
    """Stop the command by a signal in the middle, then let it complete."""
    output = sweep.folder / "output"
    process = sweep.start(output)
    table.expect(trains(sweep, process), f"{number.name}: no training to stop")
    if number is signal.SIGINT:
        os.killpg(process.pid, number)  # as a terminal does
    else:
        process.send_signal(number)
    status, said = ended(process, output)
    table.faults[number.name] += 1
    table.expect(status == 128 + number, f"{number.name}: exit status {status}: {said[-2000:]}")
    table.expect(said.count("the same command goes on:") == 1, f"{number.name}: how to go on is not said: {said}")
    table.expect("Traceback" not in said, f"{number.name}: {said}")
    table.expect(is_gone(process), f"{number.name}: a process is left")
    table.expect(not [*sweep.results.rglob("*.lock")], f"{number.name}: a lock is left")
    table.expect(not sweep.leftovers(), f"{number.name}: {sweep.leftovers()}")
    status, said = ended(sweep.start(output), output)
    table.expect(status == 0, f"after {number.name}: {said[-2000:]}")
    table.compare(sweep, whole, f"after {number.name}")


def together(table: Table, sweep: Sweep, *, whole: Sweep, third: bool) -> None:
    """Start the command twice at once, and a third time while they train."""
    outputs = [sweep.folder / f"output{number}" for number in range(2 + third)]
    processes = [sweep.start(output) for output in outputs[:2]]
    if third:
        trains(sweep, processes[0])
        processes.append(sweep.start(outputs[2]))
    for process, output in zip(processes, outputs, strict=True):
        status, said = ended(process, output)
        table.expect(status == 0, f"sweeps at once: {said[-2000:]}")
    table.faults[f"{len(processes)} commands at once"] += 1
    table.groups_trained_twice += sweep.begun() - whole.begun()
    table.compare(sweep, whole, "sweeps at once")


@contextlib.contextmanager
def disk(folder: Path) -> Iterator[Path]:
    """A small disk of its own at ``folder``; PermissionError where that is not allowed."""
    folder.mkdir(parents=True)
    command = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES},nr_inodes={DISK_INODES}", "tmpfs", str(folder)]
    if os.geteuid() or subprocess.run(command, capture_output=True).returncode:
        raise PermissionError("a small disk cannot be mounted here: it takes root, and a system that allows it")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@contextlib.contextmanager
def full(folder: Path, *, pages: int, inodes: bool) -> Iterator[None]:
    """Leave the disk of ``folder`` so many free pages, or all of them and no file that could be made."""
    ballast = folder / "ballast"
    ballast.mkdir()
    free = os.statvfs(folder)
    try:
        if inodes:
            for number in range(free.f_favail):
                with contextlib.suppress(OSError):
                    (ballast / str(number)).touch()
        elif (size := free.f_bavail * free.f_bsize - pages * PAGE) > 0:
            with (ballast / "file").open("wb") as file:
                os.posix_fallocate(file.fileno(), 0, size)
        yield
    finally:
        for path in ballast.iterdir():
            path.unlink()
        ballast.rmdir()


@dataclass(frozen=True)
class Fullness:
    """Free pages at the start of a command, on a disk where nothing, something or everything was done before."""

    pages: int = 0
    inodes: bool = False
    more: tuple[str, ...] = ()
    lose: str | None = None  # a file that is removed before, so that it is written


SIGNS = {"went on without checkpoints": "No checkpoint can be kept", "went on without W&B": "W&B was not updated"}
PATIENT = ("checkpoint_every=1000",)  # so that records meet the full disk, and no checkpoint before them
FULL = [
    Fullness(0),  # at the start the cache, then the checkpoints
    Fullness(500),
    Fullness(0, inodes=True),  # no lock can be made
    Fullness(0, more=PATIENT),  # config.yaml of the first record
    *(Fullness(pages, more=PATIENT) for pages in (1, 2, 3, 5, 7, 10)),  # curve.csv, meta.json, ...
    *(Fullness(pages) for pages in (20, 60, 130, 200, 300)),  # checkpoints and then records
    Fullness(0, lose="smoke/fig1_mnist/index.csv"),
    Fullness(0, inodes=True, lose="smoke/fig1_mnist/index.csv"),
    Fullness(0, lose="smoke/fig1_mnist/wandb", more=("tracking.mode=offline",)),
    Fullness(4, lose="smoke/fig1_mnist/wandb", more=("tracking.mode=offline",)),
    Fullness(0, inodes=True, lose="smoke/fig1_mnist/wandb", more=("tracking.mode=offline",)),
]


def filled(table: Table, sweep: Sweep, cases: list[Fullness], output: Path, *, whole: Sweep) -> None:
    """Let the command meet a full disk again and again; then it gets room, and completes."""
    for case in cases:
        if case.lose is not None:  # all was done before, so that nothing else is written
            status, said = ended(sweep.start(output), output)
            table.expect(status == 0, f"room for {case}: {said[-2000:]}")
            subprocess.run(["rm", "-rf", str(sweep.results / case.lose)], check=True)
        with full(sweep.folder, pages=case.pages, inodes=case.inodes):
            status, said = ended(sweep.start(output, *case.more), output)
        table.faults["full disk"] += 1
        named = {*re.findall(r"No space left on device \([^()]*?([^/()]+)\):", said)}
        table.named.update(named)
        for what, sign in SIGNS.items():
            table.outcomes[f"full disk: {what}"] += sign in said
        table.outcomes["full disk: ended by an error that names the file"] += status == 1
        table.outcomes["full disk: completed"] += status == 0
        is_told = status == 0 or (status == 1 and named)
        table.expect(bool(is_told) and "Traceback" not in said, f"{case}: {status}: {said}")
    status, said = ended(sweep.start(output), output)
    table.expect(status == 0, f"room again: {said[-2000:]}")
    table.compare(sweep, whole, "after full disks")


def read_only(table: Table, sweep: Sweep, output: Path) -> None:
    """A disk that cannot be written is refused before anything is trained."""
    remount = ["mount", "-o", "remount,{}", str(sweep.folder)]
    before = sweep.begun()
    subprocess.run([part.format("ro") for part in remount], check=True)
    status, said = ended(sweep.start(output), output)
    subprocess.run([part.format("rw") for part in remount], check=True)
    table.faults["read-only disk"] += 1
    table.expect(status == 1 and "cannot be written" in said and "Traceback" not in said, f"read-only: {status} {said}")
    table.expect(sweep.begun() == before, "read-only: something was trained")
