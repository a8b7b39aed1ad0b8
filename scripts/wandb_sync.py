"""Upload all offline runs to W&B: `make wandb-sync` says what would be uploaded, `make wandb-sync ARGS=--yes` does it.

What is uploaded already is left out, so the command may be stopped and given again.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from pathlib import Path

from adam_repro.app import shown_kindly
from adam_repro.errors import UserError
from adam_repro.process import stop_by_signals
from adam_repro.surroundings import PROJECT_ROOT
from adam_repro.uploading import account, is_uploaded, offline_runs, size, upload
from adam_repro.wording import counted


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--results", type=Path, default=PROJECT_ROOT / "results", help="where offline runs are sought")
    parser.add_argument("--yes", action="store_true", help="upload them; without, only say which")
    parser.add_argument("--patience", type=float, default=120, help="seconds to wait for the next run to be uploaded")
    given = parser.parse_args()
    stop_by_signals()
    with shown_kindly():
        runs = offline_runs(given.results)
        waiting = [run for run in runs if not is_uploaded(run)]
        show(waiting, uploaded=len(runs) - len(waiting))
        if waiting and given.yes:
            print(f"Uploading as {account()}.", flush=True)
            send(waiting, patience=given.patience)
        elif waiting:
            print("Nothing was sent. `make wandb-sync ARGS=--yes` uploads them, after `wandb login`.")


def show(waiting: list[Path], *, uploaded: int) -> None:
    """A line for each folder of runs that wait, and one for all of them."""
    folders: dict[Path, list[Path]] = defaultdict(list)
    for run in waiting:
        folders[run.parents[1]].append(run)
    for folder, runs in folders.items():
        print(f"{len(runs):>6} runs  {megabytes(runs):>8.1f} MB  {folder}")
    print(f"{counted(len(waiting), 'run')} to upload, {megabytes(waiting):.1f} MB; {uploaded} are uploaded already.")


def megabytes(runs: list[Path]) -> float:
    return sum(map(size, runs)) / 1e6


def send(runs: list[Path], *, patience: float) -> None:
    refused = upload(runs, patience=patience, on_progress=lambda done: print(f"{done} of {len(runs)}", flush=True))
    if refused:
        raise UserError(
            "\n".join(
                [
                    f"{len(refused)} of {len(runs)} runs could not be uploaded. A damaged one may be deleted with its "
                    "folder: it is but a view of its record.",
                    *(f"  {run.parent}: {said}" for run, said in refused.items()),
                ]
            )
        )


if __name__ == "__main__":
    main()
