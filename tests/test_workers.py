import os
import signal

import pytest

from adam_repro.workers import Epoch, Finished, ready_to_train, run_groups

# Workers import this module by its name, so pytest's folder of tests must be theirs, too.


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


def huge_pages(tasks, *, on_row):
    on_row(tasks, Row(0, Costs([float(os.environ["GLIBC_TUNABLES"].rpartition("glibc.malloc.hugetlb=")[2])])))


class Free:
    """Turns where nobody else is at anything."""

    def __init__(self, groups):
        self.taken, self.ended = set(), set()

    def take(self, group):
        self.taken.add(group)
        return True

    def give_back(self, group):
        self.ended.add(group)


class Shared(Free):
    """Another sweep has trained group 0, and is at group 1 until group 2 is taken here."""

    def take(self, group):
        if group == 1 and 2 not in self.taken:
            return False
        return None if group == 0 else super().take(group)


@pytest.fixture(scope="module", params=[True, False], ids=["forked", "from nothing"])
def events(request):
    groups = [[Task("1"), Task("2")], [Task("3", "raise")], [Task("4", "die")], [Task("5")]]
    return list(run_groups(execute, groups, 2, Free(groups), forked=request.param))


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


class Deadly:
    """What a worker dies of before it has read its first group."""

    def __reduce__(self):
        return os._exit, (3,)


@pytest.mark.parametrize("forked", [True, False])
def test_a_process_that_dies_before_it_reads_its_group_costs_that_group_only(forked):
    groups = [
        [Task("1")],
        [Task("2" * 10**6)],
        [Task("3")],
    ]  # which a dead reader's pipe takes, and one that it does not
    turns = Free(groups)
    assert finished(run_groups(Deadly(), groups, 2, turns, forked=forked)) == dict.fromkeys(
        range(3), "its process died (exit code 3)"
    )
    assert turns.ended == {0, 1, 2}


def test_costs_are_told_in_the_order_of_the_group(events):
    (told,) = (event for event in events if isinstance(event, Epoch) and event.group == 0)
    assert sorted(told.costs) == [(0, 1.0), (1, 2.0)]


@pytest.mark.parametrize("forked", [True, False])
def test_a_worker_has_one_thread_in_every_library(forked):
    groups = [[Task("a"), Task("b")]]
    (told, end) = run_groups(threads, groups, 1, Free(groups), forked=forked)
    assert told.epoch == 1
    assert told.costs == [(0, 1.0), (1, 1.0)]
    assert end == Finished(0, None)


def test_a_worker_has_its_memory_in_huge_pages():
    groups = [[Task("a")]]
    (told, _) = run_groups(huge_pages, groups, 1, Free(groups), forked=False)
    assert told.costs == [(0, 1.0)]


@pytest.mark.parametrize(
    ("given", "has"),
    [
        (None, "glibc.malloc.hugetlb=1"),
        ("glibc.malloc.arena_max=1", "glibc.malloc.arena_max=1:glibc.malloc.hugetlb=1"),
        ("glibc.malloc.hugetlb=0", "glibc.malloc.hugetlb=0"),
    ],
)
def test_what_the_user_has_set_of_glibc_stays(given, has, monkeypatch):
    monkeypatch.delenv("GLIBC_TUNABLES", raising=False)
    if given is not None:
        monkeypatch.setenv("GLIBC_TUNABLES", given)
    with ready_to_train():
        assert os.environ["GLIBC_TUNABLES"] == has
    assert os.environ.get("GLIBC_TUNABLES") == given


def test_what_another_sweep_is_at_comes_last_and_what_it_has_done_is_not_done_again():
    groups = [[Task(str(group))] for group in range(3)]
    turns = Shared(groups)
    seen = list(run_groups(execute, groups, 1, turns))
    assert [event.group for event in seen if isinstance(event, Epoch)] == [2, 1]
    assert finished(seen) == {0: None, 1: None, 2: None}
    assert turns.ended == {1, 2}


class Done(Free):
    """Another sweep was faster with everything."""

    def take(self, group):
        return None


def test_what_another_sweep_has_done_is_not_waited_for():
    groups = [[Task("1")], [Task("2")]]
    assert finished(run_groups(execute, groups, 2, Done(groups))) == {0: None, 1: None}


def wait_for_ever(tasks, *, on_row):
    on_row(tasks, Row(os.getpid(), Costs([0.0])))
    while True:
        signal.pause()


def test_whoever_stops_listening_ends_the_processes_and_gives_their_groups_back():
    groups = [[Task("1")], [Task("2")]]
    turns = Free(groups)
    events = run_groups(wait_for_ever, groups, 2, turns)
    workers = [next(events).epoch, next(events).epoch]  # their process ids
    events.close()
    assert turns.ended == {0, 1}
    for worker in workers:
        with pytest.raises(ProcessLookupError):
            os.kill(worker, 0)
