"""Faults for real commands: sweeps are killed, run out of disk, meet one another, and must end as undisturbed ones.

What is run is an experiment's own command, on two worker processes, with a checkpoint at every epoch. Its data set is
``load`` below, a part of the embedded digits, which is decoded into a cache as IMDB and CIFAR-10 are.
"""

from __future__ import annotations

import contextlib
import errno
import multiprocessing
import os
import random
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from adam_repro import verifying
from adam_repro.data import Dataset, caching
from adam_repro.surroundings import PROJECT_ROOT

ARRAYS = ("train_x", "train_y", "test_x", "test_y")
EXAMPLES = {"train": 2000, "test": 500}
SWEEPS = {  # populations of softmax regressions; and runs of their own, of optimizers from outside
    "populations": ["logistic_regression", "optimizer=adam,sgd,adagrad", "optimizer.lr=1e-3,1e-2", "seed=range(4)"],
    "runs": ["mlp", "model.hidden=[300]", "optimizer=external", "optimizer._target_=torch.optim.NAdam,torch.optim.SGD"]
    + ["optimizer.lr=1e-3,1e-2"],
    "figure": ["logistic_regression", "figure=fig1_mnist", "arm=default", "scale=smoke", "scale.max_epochs=null"],
}
COMMON = ["-m", "dataset._target_=torture.load", "evaluate_at=[]", "workers=2", "checkpoint_every=0"]
EPOCHS = {"populations": 60, "runs": 20, "figure": 20}
LONGEST_SECONDS = 300
PAGE = 4096
DISK_BYTES, DISK_INODES = 48 * 2**20, 600
LOADS = "loads"  # a line for each time that a worker began a group


def load(*, root: str, stand_in: str) -> Dataset:
    """The digits that ``give_data`` put into ``root``, by the signature of a data set's loader."""
    if multiprocessing.parent_process() is not None:
        with contextlib.suppress(OSError), (Path(root) / LOADS).open("a") as file:
            file.write(f"{os.getpid()}\n")
    arrays = caching.cached(Path(root), "digits", lambda: np.load(Path(root) / "digits.npz"))
    return Dataset("digits", "stand-in", "of the harness", *(torch.from_numpy(arrays[name]) for name in ARRAYS))


def give_data(root: Path) -> None:
    from adam_repro.data import digits

    data = digits.load().head(EXAMPLES["train"], EXAMPLES["test"])
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
        self.data.mkdir(parents=True, exist_ok=True)
        (self.data / "digits.npz").write_bytes(self.digits.read_bytes())

    @property
    def results(self) -> Path:
        return self.folder / "results"

    @property
    def data(self) -> Path:
        return self.folder / "data"

    def start(self, output: Path, *more: str) -> subprocess.Popen:
        """Start the command, as the leader of a group of processes; what it says goes to ``output``."""
        experiment, *settings = SWEEPS[self.name]
        settings += [f"results={self.results}", f"dataset.root={self.data}", f"tracking.mode={self.tracking}"]
        settings += [f"epochs={self.epochs or EPOCHS[self.name]}"]
        chosen = {setting.partition("=")[0]: setting for setting in (*COMMON, *settings, *more)}
        command = [sys.executable, str(PROJECT_ROOT / "experiments" / f"{experiment}.py"), *chosen.values()]
        environment = os.environ | {
            "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *filter(None, [os.environ.get("PYTHONPATH")])]),
            "TORCHDYNAMO_DISABLE": "1",
            "XDG_CACHE_HOME": str(self.folder / "cache"),
        }
        with output.open("w") as file:
            return subprocess.Popen(
                command, cwd=output.parent, env=environment, stdout=file, stderr=file, start_new_session=True
            )

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
        return problems + [f"{path.relative_to(self.folder)} is left" for path in kept]

    def begun(self) -> int:
        """How many groups workers have begun so far."""
        path = self.data / LOADS
        return len(path.read_text().splitlines()) if path.exists() else 0


@dataclass
class Table:
    """What was done and what came of it; everything in ``lost`` is to be empty."""

    faults: Counter[str] = field(default_factory=Counter)
    outcomes: Counter[str] = field(default_factory=Counter)
    sweeps: int = 0
    runs_lost: int = 0
    records_that_differ: int = 0
    groups_trained_twice: int = 0
    faulty: list[str] = field(default_factory=list)

    def compare(self, sweep: Sweep, undisturbed: Sweep, what: str) -> None:
        """Count what a completed sweep lacks, or has otherwise than the ``undisturbed`` one."""
        curves, wanted = sweep.curves(), undisturbed.curves()
        self.sweeps += 1
        self.runs_lost += len(wanted.keys() - sweep.complete())
        self.records_that_differ += sum(curves[name] != wanted[name] for name in curves.keys() & wanted.keys())
        self.faulty += [f"{what}: a run too many: {name}" for name in curves.keys() - wanted.keys()]
        self.faulty += [f"{what}: {problem}" for problem in sweep.problems()]

    def expect(self, condition: bool, what: str) -> None:
        if not condition:
            self.faulty.append(what)

    def as_dict(self) -> dict[str, Any]:
        return {
            "faults": dict(self.faults),
            "outcomes": dict(sorted(self.outcomes.items())),
            "sweeps completed": self.sweeps,
            "runs lost": self.runs_lost,
            "records that differ": self.records_that_differ,
            "groups trained twice by commands at once": self.groups_trained_twice,
            "other faults found": self.faulty,
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


def writes(sweep: Sweep, process: subprocess.Popen) -> None:
    """Wait until a checkpoint is being written, of which no more than a part need be there."""
    folder = sweep.results / "checkpoints"
    while process.poll() is None:
        if folder.is_dir() and any(name.startswith(".") for name in os.listdir(folder)):
            return


def undisturbed(name: str, place: Path, digits: Path, **settings) -> Sweep:
    sweep = Sweep(name, place / f"undisturbed-{name}", digits, **settings)
    output = sweep.folder / "output"
    status, said = ended(sweep.start(output), output)
    assert status == 0, said
    assert not sweep.problems(), sweep.problems()
    return sweep


def killed(table: Table, sweep: Sweep, chance: random.Random, *, at_most: int, whole: Sweep) -> int:
    """Kill the command at random moments and start it again until it ends by itself; how often it was killed."""
    output = sweep.folder / "output"
    for kills in range(at_most + 1):
        process = sweep.start(output)
        if kills == at_most:
            break
        starting = chance.random() < (0.5 if kills == 0 else 0.1)  # at first the cache is written, too
        if starting:
            moment = chance.uniform(0.5, 8)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(moment)
        elif trains(sweep, process):
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(chance.uniform(0, 2.5))
            if chance.random() < 0.5:
                writes(sweep, process)
        if process.poll() is not None:
            break
        kill(process)
        table.expect(is_gone(process), f"{sweep.name}: a process outlived kill -9 of its group")
        table.faults["killed while it started" if starting else "killed while it trained"] += 1
        table.outcomes["kills that cut a write"] += bool(sweep.leftovers())
    status, said = ended(process, output)
    table.expect(status == 0, f"{sweep.name}, killed {kills} times, ends with {status}: {said[-2000:]}")
    table.compare(sweep, whole, f"{sweep.name}, killed {kills} times")
    return kills


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
        for what in named:
            table.outcomes[f"full disk: an error that names {what}"] += 1
        for what, sign in SIGNS.items():
            table.outcomes[f"full disk: {what}"] += sign in said
        table.outcomes["full disk: the command completed"] += status == 0
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
