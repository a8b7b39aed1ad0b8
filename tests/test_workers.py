import os
import signal

import pytest

from adam_repro.workers import Epoch, Finished, run_groups

# Spawned processes import this module by its name, so pytest's folder of tests must be theirs, too.


class Row:
    def __init__(self, epoch, costs):
        self.epoch = epoch
        self.train_cost = costs


class Costs(list):
    def tolist(self):
        return list(self)


class Task:
    def __init__(self, key, behaviour="finish"):
        self.key, self.behaviour = key, behaviour


def execute(tasks, *, on_row):
    on_row(tasks[::-1], Row(1, Costs(float(task.key) for task in tasks[::-1])))
    for task in tasks:
        if task.behaviour == "raise":
            raise ValueError(f"task {task.key} will not")
        if task.behaviour == "die":
            os.kill(os.getpid(), signal.SIGKILL)


def threads(tasks, *, on_row):
    import torch

    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")
    on_row(tasks, Row(torch.get_num_threads(), Costs(float(os.environ[name]) for name in names)))


@pytest.fixture(scope="module")
def events():
    groups = [[Task("1"), Task("2")], [Task("3", "raise")], [Task("4", "die")], [Task("5")]]
    return list(run_groups(execute, groups, 2))


def finished(events):
    return {event.group: event.error for event in events if isinstance(event, Finished)}


def test_every_group_ends_once(events):
    ends = [event.group for event in events if isinstance(event, Finished)]
    assert sorted(ends) == [0, 1, 2, 3]


def test_a_group_that_raises_is_reported_with_its_traceback(events):
    assert "ValueError: task 3 will not" in finished(events)[1]


def test_a_process_that_dies_costs_its_own_group_only(events):
    assert "its process died (exit code -9)" in finished(events)[2]
    assert finished(events)[0] is finished(events)[3] is None


def test_costs_are_told_in_the_order_of_the_group(events):
    (told,) = (event for event in events if isinstance(event, Epoch) and event.group == 0)
    assert sorted(told.costs) == [(0, 1.0), (1, 2.0)]


def test_a_worker_has_one_thread_in_every_library():
    (told, end) = run_groups(threads, [[Task("a"), Task("b")]], 1)
    assert told.epoch == 1
    assert told.costs == [(0, 1.0), (1, 1.0)]
    assert end == Finished(0, None)
