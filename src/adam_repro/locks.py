"""One process at a time does a piece of work: several may share a results folder, in terminals or on nodes."""

from __future__ import annotations

import shutil
import time
from collections.abc import Sequence
from pathlib import Path

from filelock import FileLock, Timeout

ASK_AGAIN_SECONDS = 1.0  # for what another process is at


class Lock:
    """A lock that lies in a file and ends with the process that holds it, however that ends.

    ``guards``: what is written under the lock. What writes of it have left that were cut off is removed when the lock
    is taken. Of what two sweeps share in different groups, as runs, that may be a write of the other's that goes on:
    ``records.write_atomically`` then writes again.

    On a file system without ``flock`` filelock warns, and the file itself is the lock: of a process that was killed it
    stays, until another process on the same machine asks for it, or until somebody deletes it by hand. Where ``flock``
    is there and fails, everybody gets the lock, as filelock 3 may give it to everybody without ``flock``, too: two
    processes then do the same work, and write the same.
    """

    def __init__(self, path: Path, guards: Sequence[Path] = ()):
        self._path, self._guards = path, guards
        self._lock = FileLock(path, blocking=False)

    def take(self) -> bool:
        """Whether it is ours now; False while another process holds it."""
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._lock.acquire()
        except Timeout:
            return False
        except (OSError, NotImplementedError):
            return True  # and the leftovers stay, which may be of a write that goes on
        for path in self._guards:
            _remove_leftovers(path)
        return True

    def give_back(self) -> None:
        if self._lock.is_locked:
            self._path.unlink(missing_ok=True)  # while it is ours: later it may be another's
            self._lock.release()

    def forget(self) -> None:
        """Remove the file of the lock where whoever had it was killed, and nobody else is going to take it."""
        if self._path.exists() and self.take():
            self.give_back()

    def __enter__(self) -> Lock:
        """Waits for the lock."""
        while not self.take():
            time.sleep(ASK_AGAIN_SECONDS)
        return self

    def __exit__(self, *exc: object) -> None:
        self.give_back()


def leftover_prefix(name: str) -> str:
    """How the names begin of what is written before it takes the ``name`` of a file or folder."""
    return f".{name}-"


def _remove_leftovers(path: Path) -> None:
    for left in path.parent.glob(leftover_prefix(path.name) + "*"):
        if left.is_dir():
            shutil.rmtree(left, ignore_errors=True)
        else:
            left.unlink(missing_ok=True)
