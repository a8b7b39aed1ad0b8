"""Uploads what tracking left offline, by W&B's own command, and says who is logged in to W&B.

W&B puts a mark beside the file of a run that is uploaded; what has its mark is not uploaded again.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import wandb

from adam_repro.errors import UserError

AT_A_TIME = 4
ANSWER_SECONDS = 10
LOOK_AGAIN_SECONDS = 0.2


def account() -> str:
    """The entity as which one is logged in to W&B; UserError where one is not, or where W&B does not answer."""
    try:
        entity = wandb.Api(timeout=ANSWER_SECONDS).default_entity
    except wandb.errors.CommError as error:
        raise UserError(
            f"W&B does not answer, or does not know your key ({' '.join(str(error).split())}). Is there a network? If "
            "so, `wandb login --relogin` takes a new key. Nothing is lost: the same command goes on."
        ) from None
    except wandb.errors.UsageError:
        entity = None
    if entity is None:
        raise UserError(
            "You are not logged in to W&B. Everything else works without an account; for this run `wandb login` once, "
            "and then the same command."
        )
    return entity


def offline_runs(results: Path) -> list[Path]:
    """The files of all offline runs below ``results``, in whatever folder named wandb.

    What is still being mirrored, or was when its command was killed, has its time in front of its id, and is left out.
    """
    found = results.rglob("wandb/offline-run-*/run-*.wandb")
    return sorted(path for path in found if path.parent.name.startswith(f"offline-{path.stem}-"))


def is_uploaded(run: Path) -> bool:
    return run.with_suffix(".wandb.synced").exists()


def size(run: Path) -> int:
    """Bytes of a run and of the files that belong to it."""
    return run.stat().st_size + sum(path.stat().st_size for path in run.with_name("files").rglob("*") if path.is_file())


def upload(runs: Sequence[Path], *, patience: float, on_progress: Callable[[int], None]) -> dict[Path, str]:
    """Upload ``runs``; of those that could not be, what W&B said. ``on_progress`` is told how many are done.

    All go at once, but W&B's command ends at the first that is damaged: those that are left then go one by one.
    UserError where no run was finished for ``patience`` seconds.
    """
    _sync(runs, patience, on_progress)
    refused: dict[Path, str] = {}
    for run in [run for run in runs if not is_uploaded(run)]:
        said = _sync([run], patience, lambda _: on_progress(sum(map(is_uploaded, runs))))
        if not is_uploaded(run):
            refused[run] = said
    return refused


def _sync(runs: Sequence[Path], patience: float, on_progress: Callable[[int], None]) -> str:
    """Call W&B's command for ``runs``; the last line that it wrote."""
    command = [str(Path(sys.executable).with_name("wandb")), "sync", "-n", str(AT_A_TIME), *map(str, runs)]
    with tempfile.TemporaryFile("w+") as said:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=said, stderr=said, start_new_session=True
        )  # a session of its own, so that the service that it starts ends with it
        try:
            _follow(process, runs, patience, on_progress)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        said.seek(0)
        return (said.read().strip().splitlines() or ["nothing"])[-1].removeprefix("wandb: ")


def _follow(
    process: subprocess.Popen, runs: Sequence[Path], patience: float, on_progress: Callable[[int], None]
) -> None:
    done, since = 0, time.monotonic()
    while time.monotonic() - since < patience:
        ended = process.poll() is not None
        if (now := sum(map(is_uploaded, runs))) > done:
            done, since = now, time.monotonic()
            on_progress(done)
        if ended:
            return
        time.sleep(LOOK_AGAIN_SECONDS)
    raise UserError(
        f"W&B has taken {done} of {len(runs)} runs, and then none for {patience:g} seconds. Nothing is lost: the same "
        "command uploads what is left, and --patience=600 waits longer."
    )
