"""Tests run uncompiled, so that nobody waits for a compiler; one that is about compilation asks for ``compiler``.

One test more at a time than there are cores, for many wait for processes that they have started; each has one thread:
two threads each would wait for one another. Those on Slurm wait longest, for its clocks and for one another: they come
first, which keeps two of them in one process. Behind them come those with a time limit of their own, the longest: at
the end short ones are left, and no process waits long for another.
"""

import os
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = "1"

import pytest
import torch
from tiny_data import tiny

from adam_repro.data import Dataset
from adam_repro.sweep import cores


def pytest_addoption(parser):
    parser.addoption("--torture-table", type=Path, help="where the long form of test_torture.py writes its table")


def pytest_xdist_auto_num_workers(config):
    return cores() + 1


def pytest_collection_modifyitems(items):
    items.sort(key=lambda item: [item.get_closest_marker(name) is None for name in ("slurm", "timeout")])


@pytest.fixture
def compiler():
    """What torch.compile is asked to compile is compiled in this test."""


@pytest.fixture(autouse=True)
def uncompiled(request):
    if "compiler" in request.fixturenames:
        yield
    else:
        with torch.compiler.set_stance("force_eager"):
            yield


@pytest.fixture
def data() -> Dataset:
    return tiny()
