"""Where a data set comes from: found, fetched, or stood in for; one rule for all of them."""

from __future__ import annotations

import functools
import logging
import shutil
import tempfile
import threading
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from adam_repro.errors import UserError

STAND_IN = ("allow", "forbid", "only", "found")
PROBE_SECONDS = 5.0
WORKPLACE = ".download-"  # how the name of a ``workplace`` begins

log = logging.getLogger(__name__)


def obtained(
    name: str, folder: Path, *, is_there: bool, fetch: Callable[[], str | None], stand_in: str, instead: str
) -> bool:
    """Whether the real data set is to be read from ``folder``; if not, its stand-in serves, which is ``instead``.

    ``stand_in``: "allow" fetches what is missing and lets the stand-in serve where that fails, "forbid" makes that an
    error, "only" takes the stand-in at once, "found" takes what lies there and asks no network. ``fetch`` puts the data
    into ``folder`` and gives None, or says in words why it cannot. UserError for another ``stand_in``, and where
    "forbid" or "found" leave nothing.
    """
    if stand_in not in STAND_IN:
        raise UserError(f"dataset.stand_in={stand_in} is not allowed: give one of {', '.join(STAND_IN)}.")
    if stand_in == "only" or is_there:
        return stand_in != "only"
    if stand_in == "found":
        raise UserError(
            f"{name} is not at {folder}, and nothing is downloaded here: set ADAM_REPRO_DATA (or dataset.root) to a "
            "folder that all machines see."
        )
    reason = fetch()
    if reason is None:
        return True
    if stand_in == "forbid":
        raise UserError(
            f"{name} is not at {folder}, and cannot be downloaded: {reason}. Set ADAM_REPRO_DATA (or dataset.root) "
            "to a folder that has it, or leave dataset.stand_in=allow."
        )
    log.warning(
        "%s is not at %s and cannot be downloaded (%s), so there is a stand-in: %s. Figures and records say so, and no "
        "claim about the paper is decided on it. With a network, `make data` gets %s; a copy that you have is found "
        "through ADAM_REPRO_DATA.",
        name,
        folder,
        reason,
        instead,
        name,
    )
    return False


@contextmanager
def workplace(name: str, folder: Path) -> Iterator[Path]:
    """A new folder in ``folder`` for what is downloaded or unpacked, gone afterwards with all that is left in it.

    What is whole is ``moved`` out of it, so that nothing half-written is ever found. UserError where ``folder`` cannot
    be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=WORKPLACE, dir=folder))
    except OSError as error:
        raise UserError(
            f"{name} cannot be put into {folder}: {error.strerror}. Set ADAM_REPRO_DATA (or dataset.root) to a folder "
            "that can be written."
        ) from None
    try:
        yield temporary
    finally:
        shutil.rmtree(temporary)
        if not any(folder.iterdir()):
            folder.rmdir()


@functools.cache
def unreachable(urls: tuple[str, ...]) -> str | None:
    """None where one of ``urls`` answers within five seconds, else why not; asked once a process.

    The question runs in a thread of its own, because looking up a name may block for longer than any time-out.
    """
    answers: list[str | None] = []

    def ask() -> None:
        for url in urls:
            try:
                urllib.request.urlopen(urllib.request.Request(url, method="HEAD"), timeout=PROBE_SECONDS).close()
                answers.append(None)
                return
            except OSError as error:
                reason = str(getattr(error, "reason", error))
        answers.append(f"no server that has it answers: {reason}")

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(PROBE_SECONDS)
    return answers[0] if answers else f"no server that has it answered within {PROBE_SECONDS:.0f} s"


def moved(whole: Path, target: Path) -> None:
    """Move what is whole to its place, unless another process was faster."""
    try:
        whole.rename(target)
    except OSError:
        if not target.exists():
            raise
