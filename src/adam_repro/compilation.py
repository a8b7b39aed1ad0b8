"""torch.compile where there is a C++ compiler and it pays; elsewhere the same function uncompiled."""

from __future__ import annotations

import functools
import logging
import math
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

DISABLED = os.environ.get("TORCHDYNAMO_DISABLE") == "1"
"""PyTorch's own switch. With it neither what is ``compiled`` nor a worker imports the compiler."""
RECOMPILE_LIMIT = 64  # kinds of population that one process may meet; torch would give up after eight
LONG_RUN = 2000
"""Steps from which on a population's programs pay: they save half a millisecond to five of each, and take two seconds
to compile, up to sixteen where nothing is cached yet."""
LONG_RUN_OF_A_NETWORK = 500
"""The same for one run of a network, where they save ten to thirty milliseconds of each step."""

log = logging.getLogger(__name__)
_steps = math.inf  # of the run that is under way; unknown: as many as it takes


@contextmanager
def in_a_run_of(steps: int) -> Iterator[None]:
    """Meanwhile all that is ``compiled`` knows the length of the run that it serves: of all of it, not of what a stop
    has left, so that a run that goes on computes as before."""
    global _steps
    before, _steps = _steps, steps
    try:
        yield
    finally:
        _steps = before


def compiled(
    function: Callable, *, dynamic: bool | None = None, options: dict[str, Any] | None = None, least_steps: int = 0
) -> Callable:
    """``function`` through torch.compile; ``function`` itself from the first call on that cannot be compiled.

    ``dynamic``: one program for tensors of every size, instead of one for each. ``options``: torch.compile's. In runs
    of fewer than ``least_steps`` steps ``function`` runs as it is written.
    """
    if DISABLED:
        return function
    chosen: Callable | None = None

    @functools.wraps(function)
    def call(*args):
        nonlocal chosen
        if _steps < least_steps:
            return function(*args)
        if chosen is None:  # not before the first call: the import of the compiler takes longer than a short run
            torch._dynamo.config.recompile_limit = RECOMPILE_LIMIT
            # or torch's cache on disk serves code made for narrower vectors, which then writes past the end of buffers
            torch.compiler.config.cache_key_tag = torch.backends.cpu.get_cpu_capability()
            chosen = torch.compile(function, dynamic=dynamic, options=options)
        try:
            return chosen(*args)
        except torch._dynamo.exc.TorchDynamoException as error:
            if chosen is function:
                raise
            reason = str(error).strip().splitlines()[0]
            log.warning("no compiled updates on this machine, they run uncompiled and slower: %s", reason)
            chosen = function
            return function(*args)

    return call


compiled_in_long_runs = functools.partial(compiled, least_steps=LONG_RUN)
compiled_for_networks = functools.partial(
    compiled,
    dynamic=True,
    options={"pattern_matcher": False},  # which gives a bias to its product, for which it is first copied to each row
    least_steps=LONG_RUN_OF_A_NETWORK,
)
"""One program for tensors of every size, but for parameters that are handed over as such: their shapes are constants to
PyTorch's compiler. A network's gradient is 1 to 3 % faster for it; updates, which are those of any network, are not."""
