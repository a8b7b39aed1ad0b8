"""The process that workers are forked from, as a fork of the one that asks for it: it begins with that one's imports,
which take four seconds anew. For commands that compute nothing themselves, so that they have one thread and no state
that a fork could break.
"""

from __future__ import annotations

import functools
import itertools
import os
import signal
import sys
from collections.abc import Callable, Sequence
from multiprocessing import util


def install() -> None:
    """From now on a fork server of this process is a fork of it."""
    util.spawnv_passfds = functools.partial(_forked_or_spawned, util.spawnv_passfds)


def _forked_or_spawned(spawn: Callable, path: bytes, arguments: Sequence[str], descriptors: Sequence[int]) -> int:
    """``multiprocessing.util.spawnv_passfds`` for a fork server; ``spawn`` is that itself, for all others."""
    code = arguments[-1]
    if "multiprocessing.forkserver" not in code:
        return spawn(path, arguments, descriptors)
    for stream in (sys.stdout, sys.stderr):
        stream.flush()  # or each would write what it holds, too
    process = os.fork()
    if process == 0:
        try:
            for number in (signal.SIGINT, signal.SIGTERM):
                signal.signal(number, signal.SIG_DFL)
            kept = sorted({0, 1, 2, *descriptors})
            for before, after in itertools.pairwise([*kept, os.sysconf("SC_OPEN_MAX")]):
                os.closerange(before + 1, after)
            exec(code, {})
        finally:
            os._exit(0)
    return process
