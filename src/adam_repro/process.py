"""What a process that trains does before its first tensor."""

from __future__ import annotations

import ctypes
import logging
import platform
import signal
from collections.abc import Iterator
from contextlib import contextmanager

import torch

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # mallopt's names for them, from glibc's malloc.h
KEPT_BYTES = 2**31 - 1
LARGEST_FROM_HEAP = 2**30


class Stopped(KeyboardInterrupt):
    """A signal asks the process to end; ``number`` says which."""

    def __init__(self, number: int):
        super().__init__()
        self.number = number


def stop_by_signals() -> None:
    """From now on SIGINT and SIGTERM raise ``Stopped``, once: what ends the process cleanly is not to be stopped."""

    def stop(number: int, _: object) -> None:
        for each in (signal.SIGINT, signal.SIGTERM):
            signal.signal(each, signal.SIG_IGN)
        raise Stopped(number)

    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, stop)


@contextmanager
def deaf_to_interrupts() -> Iterator[None]:
    """Processes started meanwhile hear no SIGINT, which a terminal sends to all of a command's: whoever starts them
    ends them, and one that is hit in the midst of its imports would show a traceback."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def settle_process() -> None:
    """Numbers too small for float32 become zero, memory once had is kept, and a GPU computes in float32, convolutions
    by whichever of cuDNN's ways is the fastest.

    TensorFloat-32 has 10 bits of mantissa: PyTorch leaves it out of matrix products by default, but not out of
    convolutions, whose curves would then differ from those of a CPU by more than another order of sums makes.
    """
    torch.set_flush_denormal(True)  # saturated softmax regressions are three times slower with denormal numbers
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cudnn.benchmark = True  # by trying them
    logging.getLogger("torch.utils.cpp_extension").setLevel(logging.ERROR)  # it looks for CUDA on every machine
    keep_memory()


def keep_memory() -> None:
    """Let glibc keep freed blocks: it would hand the activations of a CNN, 33 MB each, back to the kernel at every
    step and have them zeroed page by page at the next. Elsewhere than on glibc nothing is done."""
    if platform.libc_ver()[0] == "glibc":
        libc = ctypes.CDLL(None)
        libc.mallopt(M_MMAP_THRESHOLD, LARGEST_FROM_HEAP)
        libc.mallopt(M_TRIM_THRESHOLD, KEPT_BYTES)
