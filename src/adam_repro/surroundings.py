"""What a run's numbers or times may depend on beside its configuration: versions, hardware, commit."""

from __future__ import annotations

import functools
import platform
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

PROJECT_ROOT = Path(__file__).parents[2]


@functools.cache
def surroundings(device: str = "cpu") -> dict[str, Any]:
    """Of a run on ``device``; a GPU is named where it is one."""
    return {
        "versions": {
            "python": platform.python_version(),
            **{name: metadata.version(name) for name in ("adam-repro", "torch", "numpy")},
        },
        "hardware": {
            "processor": _processor(),
            "simd": torch.backends.cpu.get_cpu_capability(),
            **({} if device == "cpu" else {"gpu": torch.cuda.get_device_name(device)}),
        },
        "commit": _commit(),
    }


def vendor() -> str:
    """Who made the processor, as it says itself: such as "AuthenticAMD"; empty where the system does not tell."""
    return _cpuinfo("vendor_id") or platform.processor().rpartition(" ")[2]  # which is how Windows ends


def _processor() -> str:
    return _cpuinfo("model name") or platform.processor() or platform.machine()


def _cpuinfo(field: str) -> str | None:
    """What Linux says of the first processor."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return None
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith(field)), None)


def _commit() -> str | None:
    """The commit of the working tree, with a + behind it where tracked files were changed since."""
    git = ["git", "-C", str(PROJECT_ROOT)]
    try:
        head = subprocess.run([*git, "rev-parse", "--short=12", "HEAD"], capture_output=True, text=True, check=True)
        changes = subprocess.run([*git, "status", "--porcelain", "-uno"], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return head.stdout.strip() + ("+" if changes.stdout.strip() else "")
