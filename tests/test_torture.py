"""Sweeps that are killed, run out of disk or meet one another end as undisturbed ones; see ``torture``.

The long form is `make torture`; what runs with the other tests is a short form of it.
"""

import itertools
import json
import random
import shutil
import signal
import time

import pytest
import torture
from torture import Sweep, Table

from adam_repro.surroundings import surroundings

KILLS, SEED = 100, 0
EVERY_FULL = [torture.FULL[start::5] for start in range(5)]  # a disk for each of these: all kinds of cases in each


@pytest.fixture
def digits(tmp_path):
    torture.give_data(tmp_path)
    return tmp_path / "digits.npz"


def test_a_killed_sweep_ends_as_one_that_was_not(tmp_path, digits):
    table = Table()
    whole = torture.undisturbed("populations", tmp_path, digits, epochs=15)
    cut = Sweep("populations", tmp_path / "cut", digits, epochs=15)
    torture.killed(table, cut, random.Random(SEED), at_most=1, whole=whole)
    assert table.is_clean, table
    assert table.faults.total() == 1


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
    assert table.outcomes["full disk: an error that names config.yaml"], table


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

    wholes = {name: torture.undisturbed(name, tmp_path, digits) for name in torture.SWEEPS}
    for part in (at_once, by_signals, on_full_disks, by_kills):
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
        sweep = Sweep(name, folder / str(number), digits, tracking="offline" if name == "figure" else "disabled")
        kills += torture.killed(table, sweep, chance, at_most=KILLS - kills, whole=wholes[name])
        shutil.rmtree(sweep.folder)
        yield
        if kills == KILLS:
            return
