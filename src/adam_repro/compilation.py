"""torch.compile where there is a C++ compiler, the same function uncompiled where there is none."""

from __future__ import annotations

import functools
import logging
import os
from collections.abc import Callable

import torch

DISABLED = os.environ.get("TORCHDYNAMO_DISABLE") == "1"
"""PyTorch's own switch. With it neither what is ``compiled`` nor a worker imports the compiler."""
RECOMPILE_LIMIT = 64  # kinds of population that one process may meet; torch would give up after eight

log = logging.getLogger(__name__)


def compiled(function: Callable, *, dynamic: bool | None = None) -> Callable:
    """``function`` through torch.compile; ``function`` itself from the first call on that cannot be compiled.

    ``dynamic``: one program for tensors of every size, instead of one for each.
    """
    if DISABLED:
        return function
    chosen: Callable | None = None

    @functools.wraps(function)
    def call(*args):
        nonlocal chosen
        if chosen is None:  # not before the first call: the import of the compiler takes longer than a short run
            torch._dynamo.config.recompile_limit = RECOMPILE_LIMIT
            # or torch's cache on disk serves code made for narrower vectors, which then writes past the end of buffers
            torch.compiler.config.cache_key_tag = torch.backends.cpu.get_cpu_capability()
            chosen = torch.compile(function, dynamic=dynamic)
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
