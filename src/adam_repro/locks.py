"""One process at a time trains a run: several sweeps may share a results folder, in terminals or on nodes."""

from __future__ import annotations

from pathlib import Path

from filelock import FileLock, Timeout


class Lock:
    """A lock that lies in a file and ends with the process that holds it, however that ends.

    Where a file system knows no locks everybody gets one: two processes then do the same work, and write the same.
    """

    def __init__(self, path: Path):
        self._path = path
        self._lock = FileLock(path, blocking=False)

    def take(self) -> bool:
        """Whether it is ours now; False while another process holds it."""
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._lock.acquire()
        except Timeout:
            return False
        except (OSError, NotImplementedError):
            pass
        return True

    def give_back(self) -> None:
        if self._lock.is_locked:
            self._path.unlink(missing_ok=True)  # while it is ours: later it may be another's
            self._lock.release()
