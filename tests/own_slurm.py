"""A Slurm for tests: a cluster's own where one answers, else one that is started for them and ended behind them.

``up.sh`` and ``down.sh`` do that, in the folder that ADAM_REPRO_SLURM names, by default ``shared/slurm`` beside the
checkout.
"""

import contextlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock

from adam_repro.surroundings import PROJECT_ROOT

OWN_SLURM = Path(os.environ.get("ADAM_REPRO_SLURM", PROJECT_ROOT.parent / "shared" / "slurm"))
LOCK = Path(tempfile.gettempdir()) / f"adam_repro_own_slurm_{os.getuid()}"


def answered(*command: str) -> str | None:
    """What one of Slurm's commands prints; None where there is no Slurm."""
    if shutil.which(command[0]) is None:
        return None
    outcome = subprocess.run(command, capture_output=True, text=True, timeout=60)
    return outcome.stdout if outcome.returncode == 0 else None


@contextlib.contextmanager
def slurm() -> Iterator[bool]:
    """Whether a Slurm answers within the block, which one process at a time is in."""
    with FileLock(LOCK):
        if answered("sinfo", "--noheader"):
            yield True
        elif os.geteuid() == 0 and (OWN_SLURM / "up.sh").is_file():
            threads = {"OMP_NUM_THREADS", "OMP_THREAD_LIMIT"}  # nproc would count no more cores than these
            environment = {name: value for name, value in os.environ.items() if name not in threads}
            subprocess.run(["bash", OWN_SLURM / "up.sh", "acct"], check=True, capture_output=True, env=environment)
            try:
                yield True
            finally:
                subprocess.run(["bash", OWN_SLURM / "down.sh"], capture_output=True)
        else:
            yield False
