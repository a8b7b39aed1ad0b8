"""How much memory there is, how much a process has had, and how many processes that train have room in it."""

from __future__ import annotations

import math
import re
import resource
import sys
from collections.abc import Iterator
from pathlib import Path

WORKER_BYTES = 600e6
"""Of a process that trains, beside its data and its runs: torch with its compiler loaded (measured on Linux)."""

EVALUATION_CHUNK = 1000
"""Examples that are evaluated at once: what every layer gives for so many lies in memory beside all else."""

LIMITS = {  # by the controllers that /proc/self/cgroup names: cgroup v2, and v1
    "": ("memory.max", "memory.current", "inactive_file"),
    "memory": ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
}


def available(root: Path = Path("/")) -> float:
    """The bytes that new processes can have: what the kernel would free, and what the limit of each control group
    above this process leaves. Infinite where neither is told, as elsewhere than on Linux."""
    told = re.search(r"^MemAvailable: +(\d+) kB$", _text(root / "proc/meminfo"), re.MULTILINE)
    free = 1024 * int(told[1]) if told else math.inf
    return max(0.0, min([free, *_left_by_limits(root)]))


def _left_by_limits(root: Path) -> Iterator[float]:
    for line in _text(root / "proc/self/cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers in LIMITS:
            most, used, cache = LIMITS[controllers]
            top = root / "sys/fs/cgroup" / controllers
            place = top / path.lstrip("/")
            for folder in (place, *place.parents[: len(place.parents) - len(top.parents)]):
                limit, taken = _text(folder / most).strip(), _text(folder / used).strip()
                freed = re.search(rf"^{cache} (\d+)$", _text(folder / "memory.stat"), re.MULTILINE)
                if limit.isdecimal() and taken.isdecimal():  # else: "max", or no such group is seen from in here
                    yield int(limit) - int(taken) + (int(freed[1]) if freed else 0)


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""


def fitting(processes: int, each: float, room: float) -> int:
    """How many of ``processes`` that need ``each`` so many bytes have room; at least one, which may do with less."""
    return max(1, int(min(processes, room / each)))


def peak() -> float:
    """The most bytes of memory that this process has had."""
    if told := re.search(r"^VmHWM:\s+(\d+) kB$", _text(Path("/proc/self/status")), re.MULTILINE):
        return 1024.0 * int(told[1])
    unit = 1 if sys.platform == "darwin" else 1024
    return float(unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
