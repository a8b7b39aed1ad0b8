"""Workers are as many as there is memory for."""

import math
import os

import pytest

from adam_repro import memory, sweep
from adam_repro.app import compose
from adam_repro.run import prepare

from tiny_data import OVERRIDES  # isort: skip


@pytest.fixture
def machine(tmp_path):
    """Writes what a machine tells of its memory: a content for each file."""

    def write(**files):
        for name, content in files.items():
            path = tmp_path / name.replace("__", "/")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content)
        return tmp_path

    return write


FREE = {"proc__meminfo": "MemTotal:  9000 kB\nMemAvailable:    8000 kB\n"}


def group(folder, limit, used, cache="0"):
    v2 = {"memory.max": limit, "memory.current": used, "memory.stat": f"file 9\ninactive_file {cache}\n"}
    return {f"sys__fs__cgroup__{folder}{name}": content for name, content in v2.items()}


@pytest.mark.parametrize(
    ("files", "room"),
    [
        ({}, math.inf),
        (FREE, 8000 * 1024),
        (FREE | {"proc__self__cgroup": "0::/a/b\n"}, 8000 * 1024),
        (FREE | {"proc__self__cgroup": "0::/a/b\n"} | group("a__b__", "max\n", "5"), 8000 * 1024),
        (FREE | {"proc__self__cgroup": "0::/a/b\n"} | group("a__b__", "900\n", "500\n", "100"), 500),
        (FREE | {"proc__self__cgroup": "0::/a/b\n"} | group("a__b__", "900", "500") | group("a__", "600", "550"), 50),
        (FREE | {"proc__self__cgroup": "0::/\n"} | group("", "400", "500"), 0),
    ],
)
def test_there_is_the_room_that_kernel_and_limits_leave(machine, files, room):
    assert memory.available(machine(**files)) == room


def test_the_limits_of_the_older_control_groups_count(machine):
    v1 = {"memory.limit_in_bytes": "700", "memory.usage_in_bytes": "600", "memory.stat": "total_inactive_file 30\n"}
    files = {f"sys__fs__cgroup__memory__slurm__{name}": content for name, content in v1.items()}
    assert memory.available(machine(proc__self__cgroup="4:memory:/slurm\n2:cpu:/\n", **files)) == 130


def test_this_machine_has_room():
    assert 2**20 < memory.available()


def test_the_peak_stays_when_memory_is_given_back():
    before = memory.peak()
    held = bytearray(os.urandom(2**20)) * 400
    del held
    assert 300 * 2**20 < memory.peak() < 400 * 2**20 + max(before, 2**31)


@pytest.mark.parametrize(("room", "count"), [(math.inf, 8), (8e9, 8), (3.5e9, 3), (1e9, 1), (0, 1)])
def test_as_many_as_have_room_and_at_least_one(room, count):
    assert memory.fitting(8, 1e9, room) == count


def test_a_sweep_says_that_it_takes_fewer_processes_and_why(tmp_path, monkeypatch, capsys):
    settings = [*OVERRIDES, "epochs=1", f"results={tmp_path}"]
    jobs = [prepare(compose("logistic_regression", [*settings, f"seed={seed}"])) for seed in range(3)]
    groups = sweep.populations(jobs, 3)
    assert sweep.with_room(3, groups, room=1e12) == 3
    assert capsys.readouterr().out == ""
    assert sweep.with_room(3, groups, room=1.3e9) == 2
    assert "2 processes at a time instead of 3: each takes about 0.6 GB of memory, and 1.3 GB are free" in (
        capsys.readouterr().out
    )


def test_a_worker_needs_its_data_and_four_of_each_members_parameters_for_adam(tmp_path):
    settings = [*OVERRIDES, "epochs=1", f"results={tmp_path}"]
    pair = [prepare(compose("logistic_regression", [*settings, f"optimizer.lr={lr}"])) for lr in (0.1, 0.2)]
    data = sweep.load_data(pair[0])
    tensors = (data.train_x, data.train_y, data.test_x, data.test_y)
    parameters = 6 * 3 + 3
    assert sweep.bytes_of(pair) == memory.WORKER_BYTES + sum(each.nbytes for each in tensors) + 2 * parameters * 16


def test_workers_are_as_many_as_the_largest_of_single_runs_has_room(tmp_path):
    def job(*overrides):
        return prepare(compose("mlp", [*OVERRIDES, "model.hidden=[300,300]", f"results={tmp_path}", *overrides]))

    groups = [[job("optimizer=adam")], [job("optimizer=sfo", "optimizer.subfunctions=14")], [job("optimizer=sgd")]]
    sizes = [sweep.bytes_of(group) for group in groups]
    assert sizes[1] > sizes[0] + 1e7
    for ordered in (groups, groups[::-1]):
        assert sweep.with_room(3, ordered, room=3 * sizes[1] - 1) == 2
        assert sweep.with_room(3, ordered, room=3 * sizes[1]) == 3


def test_workers_are_as_many_as_have_room_for_the_largest_model(tmp_path):
    groups = [
        [prepare(compose("mlp", [*OVERRIDES, f"model.hidden=[{hidden},{hidden}]", f"results={tmp_path}"]))]
        for hidden in (8, 1000, 8)
    ]
    assert sweep.with_room(3, groups, room=3 * sweep.bytes_of(groups[1]) - 1) == 2
