"""A process that trains keeps the memory that it once had."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

RESIDENT_AFTER_FREEING = """
import os
import torch
from adam_repro.process import keep_memory

def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

def kept():
    before = resident()
    block = torch.ones(2**24)
    held = resident() - before
    del block
    return held, resident() - before

print(*kept())
keep_memory()
print(*kept())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc's memory can be told to stay")
def test_64_mb_that_are_freed_stay_with_the_process_and_without_it_they_do_not():
    done = subprocess.run([sys.executable, "-c", RESIDENT_AFTER_FREEING], capture_output=True, text=True, check=True)
    (held, returned), (held_again, kept) = (map(int, line.split()) for line in done.stdout.splitlines())
    size = 4 * 2**24
    assert held > 0.9 * size and held_again > 0.9 * size
    assert returned < 0.1 * size, "what the kernel gets back otherwise"
    assert kept > 0.9 * size


PRECISION_ONCE_SETTLED = """
import torch
from adam_repro.process import settle_process

settle_process()
print(torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32, torch.get_float32_matmul_precision())
print((torch.tensor(1e-30) * torch.tensor(1e-12)).item())
"""


def test_products_and_convolutions_are_in_float32_and_denormal_numbers_are_zero():
    command = [sys.executable, "-W", "error", "-c", PRECISION_ONCE_SETTLED]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["False False highest", "0.0"]
