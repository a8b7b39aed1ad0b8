"""Sweeps that are killed, run out of disk or meet one another end as undisturbed ones; see ``torture``.

The long form is `make torture`; what runs with the other tests is a short form of it.
"""

import dataclasses
import itertools
import json
import multiprocessing
import random
import shutil
import signal
import time

import aiming
import pytest
import torture
from torture import Sweep, Table

from adam_repro.app import compose
from adam_repro.run import prepare
from adam_repro.surroundings import surroundings
from adam_repro.workers import get_ready

KILLS, SEED = 40, 0  # at random moments
TRACKING = {"populations": "disabled", "runs": "disabled", "figure": "offline"}
pytestmark = pytest.mark.timeout(3 * torture.LONGEST_SECONDS)  # each command has a limit of its own
EVERY_FULL = [torture.FULL[start::5] for start in range(5)]  # a disk for each of these: all kinds of cases in each


@pytest.fixture
def digits(tmp_path):
    torture.give_data(tmp_path)
    return tmp_path / "digits.npz"


def test_a_killed_sweep_ends_as_one_that_was_not(tmp_path, digits):
    table = Table()
    whole = torture.undisturbed("populations", tmp_path, digits, epochs=40)
    cut = Sweep("populations", tmp_path / "cut", digits, epochs=40)
    torture.killed(table, cut, random.Random(SEED), at_most=1, whole=whole)
    assert table.is_clean, table
    assert table.faults.total() == 1


def test_a_kill_at_any_write_of_a_sweep_loses_and_changes_nothing(tmp_path):
    """All writes, each in turn, of a small sweep in one process: cache, checkpoints, records, index, locks."""
    get_ready()  # as workers do, which other tests fork from the same process
    context = multiprocessing.get_context("forkserver")
    torture.give_data(tmp_path, train=64, test=16)
    trace = tmp_path / "trace"

    def begun(aim):
        """A sweep anew, until it is killed at ``aim``; None: traced to the end."""
        shutil.rmtree(tmp_path / "sweep", ignore_errors=True)
        sweep = Sweep("figure", tmp_path / "sweep", tmp_path / "digits.npz")
        process = context.Process(target=torture.begin, args=(jobs, sweep, aim, trace))
        process.start()
        process.join()
        assert process.exitcode == (0 if aim is None else -signal.SIGKILL), aim
        return sweep

    base = ["figure=fig1_mnist", "arm=default", "epochs=1", "evaluate_at=[]", "checkpoint_every=0", "batch_size=32"]
    base += ["dataset._target_=torture.load", f"dataset.root={tmp_path}", f"results={tmp_path / 'sweep' / 'results'}"]
    jobs = [prepare(compose("logistic_regression", [*base, f"optimizer.lr={lr}"])) for lr in (1e-3, 1e-2)]
    jobs = [dataclasses.replace(job, source=job.source | {"root": str(tmp_path / "sweep" / "data")}) for job in jobs]
    whole = begun(None)
    wanted = whole.curves(), (whole.results / "smoke" / "fig1_mnist" / "index.csv").read_bytes()
    assert len(wanted[0]) == 2 and whole.problems() == []
    aims = torture.every_aim(trace)
    assert {aim.write.kind for aim in aims} == {*aiming.KINDS} - {"a W&B run"}
    for aim in aims:
        sweep = begun(aim)
        left = sweep.curves()
        assert all(left[name] == wanted[0][name] for name in sweep.complete()), aim
        torture.in_this_process(jobs, sweep)
        index = (sweep.results / "smoke" / "fig1_mnist" / "index.csv").read_bytes()
        assert ((sweep.curves(), index), sweep.problems()) == (wanted, []), aim


def test_a_signal_stops_a_sweep_and_says_how_to_go_on(tmp_path, digits):
    table = Table()
    whole = torture.undisturbed("runs", tmp_path, digits, epochs=8)
    sweep = Sweep("runs", tmp_path / "cut", digits, epochs=8)
    torture.signalled(table, sweep, signal.SIGINT, whole=whole)
    assert table.is_clean, table


def test_a_full_disk_costs_an_error_by_name(tmp_path, digits):
    table = Table()
    try:
        with torture.disk(tmp_path / "disk"):
            whole = torture.undisturbed("figure", tmp_path, digits, epochs=2)
            sweep = Sweep("figure", tmp_path / "disk", digits, epochs=2)
            torture.filled(table, sweep, torture.FULL[3:5], tmp_path / "output", whole=whole)
            torture.read_only(table, sweep, tmp_path / "output")
    except PermissionError as error:
        pytest.skip(str(error))
    assert table.is_clean, table
    assert table.named["config.yaml"], table


@pytest.mark.torture
@pytest.mark.timeout(0)
def test_a_hundred_kills_and_twenty_full_disks(tmp_path, digits, request):
    """The long form: prints its table, and writes it where --torture-table says."""
    table, began = Table(), time.monotonic()

    def show():
        seconds = round(time.monotonic() - began)
        text = json.dumps({**table.as_dict(), "seconds": seconds, **surroundings()}, indent=2) + "\n"
        print(text, flush=True)
        if (path := request.config.getoption("--torture-table")) is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)

    wholes = {
        name: torture.undisturbed(name, tmp_path, digits, trace=tmp_path / f"trace-{name}", tracking=TRACKING[name])
        for name in torture.SWEEPS
    }
    for part in (by_aimed_kills, on_full_disks, by_kills, by_signals, at_once):
        for _ in part(table, tmp_path / part.__name__, digits, wholes):
            show()
    assert table.is_clean, table


def at_once(table, folder, digits, wholes):
    for third in (False, True):
        sweep = Sweep("populations", folder / f"third {third}", digits)
        torture.together(table, sweep, whole=wholes["populations"], third=third)
        yield


def by_signals(table, folder, digits, wholes):
    for number in (signal.SIGINT, signal.SIGTERM):
        for name in ("populations", "runs"):
            torture.signalled(table, Sweep(name, folder / f"{number.name} {name}", digits), number, whole=wholes[name])
            yield


def by_aimed_kills(table, folder, digits, wholes):
    """At each write that a command does, once at least."""
    chance, every = random.Random(SEED), set()
    for name in ("figure", "populations", "runs"):
        trace = folder.parent / f"trace-{name}"
        aims = torture.aims_of(trace, chance, without=() if name == "figure" else ("a data cache", "a lock"))
        sweep = Sweep(name, folder / name, digits, tracking=TRACKING[name])
        torture.shot(table, sweep, aims, whole=wholes[name])
        every |= {str(aim.write) for aim in aims}
        yield
        if TRACKING[name] == "offline":
            sweep = Sweep(name, folder / "mirrored", digits, tracking=TRACKING[name])
            torture.shot_as_it_mirrors(table, sweep, 5, whole=wholes[name])
            yield
    table.faulty += [f"never killed at: {write}" for write in sorted(every - table.cut.keys())]


def on_full_disks(table, folder, digits, wholes):
    try:
        for number, cases in enumerate(EVERY_FULL):
            with torture.disk(folder / str(number)) as disk:
                sweep = Sweep("figure", disk, digits)
                torture.filled(table, sweep, cases, folder / "output", whole=wholes["figure"])
                torture.read_only(table, sweep, folder / "output")
            yield
    except PermissionError as error:
        print(f"No full disks: {error}.")


def by_kills(table, folder, digits, wholes):
    chance, kills = random.Random(SEED), 0
    for number in itertools.count():
        name = ("populations", "runs", "populations", "figure")[number % 4]
        sweep = Sweep(name, folder / str(number), digits, tracking=TRACKING[name])
        kills += torture.killed(table, sweep, chance, at_most=KILLS - kills, whole=wholes[name])
        shutil.rmtree(sweep.folder)
        yield
        if kills == KILLS:
            return
