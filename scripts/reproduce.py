"""Reproduce the paper: `make reproduce SCALE=quick FIGURE=all`.

For each figure: train what is not trained yet, gather the records, draw, decide the claims. At the end the verdicts,
beside those of the committed reference, and all of it as one page, report.html.
"""

from __future__ import annotations

import argparse
import os
import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from adam_repro.analysis import page, report
from adam_repro.analysis.gather import gather
from adam_repro.app import CONFIGS, WITHIN, shown_kindly
from adam_repro.errors import UserError
from adam_repro.process import Stopped, stop_by_signals
from adam_repro.search import chosen_figures, experiment_of, node_of
from adam_repro.surroundings import PROJECT_ROOT
from adam_repro.workers import one_thread_each

MEASURED = ("properties", "online_convex", "sfo_cost")  # they write their own measurements and train no runs
TIMED = ("sfo_cost",)  # of these, what takes minutes of a machine for itself: of all figures only at the paper's scale


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scale", default="quick", help="smoke, quick or paper")
    parser.add_argument("--figure", default="all", help="all, or names separated by commas")
    parser.add_argument("--results", type=Path, default=PROJECT_ROOT / "results", help="where everything is written")
    parser.add_argument("overrides", nargs="*", help="Hydra overrides for every figure, such as workers=4")
    given = parser.parse_args()
    stop_by_signals()
    with shown_kindly():
        chosen = wanted(given.figure, given.scale)
        sys.exit(reproduce(given.scale, chosen, results=given.results, overrides=given.overrides))


def wanted(names: str, scale: str) -> list[str]:
    """The figures that FIGURE names at that scale."""
    left_out = TIMED if names == "all" and scale != "paper" else ()
    return [figure for figure in chosen_figures(names, others=MEASURED) if figure not in left_out]


def reproduce(scale: str, chosen: list[str], *, results: Path, overrides: list[str]) -> int:
    """The exit status: 0, or 1 where a run failed; what could be made of the others is made."""
    scales = [path.stem for path in (CONFIGS / "scale").glob("*.yaml")]
    if scale not in scales:
        raise UserError(f"SCALE={scale} is not known. Give one of {', '.join(sorted(scales))}.")
    status = 0
    passed = [f"scale={scale}", f"results={results.absolute()}", *overrides]
    for figure in chosen:
        if figure in MEASURED:
            continue
        folder = results / scale / figure
        print(f"\n{figure}, scale {scale}", flush=True)
        (folder / "index.csv").unlink(missing_ok=True)
        status |= entry_points([experiment_of(figure), f"figure={figure}", *passed])[0]
        if not (folder / "index.csv").exists():
            continue
        command = command_of(figure, scale, overrides)
        milestones = node_of(figure).get("milestones", [])
        gather(folder, results, figure=figure, scale=scale, command=command, milestones=milestones)
        report.build(folder)
    for figures in side_by_side([figure for figure in chosen if figure in MEASURED]):
        print(f"\n{', '.join(figures)}, scale {scale}", flush=True)
        with one_thread_each():
            failed = entry_points(*([figure, *passed] for figure in figures))
        for figure, its in zip(figures, failed, strict=True):
            status |= its
            if not its:
                report.build(results / scale / figure)
    reference = PROJECT_ROOT / "results" / "reference"
    report.show_verdicts(results / scale, reference)
    if report.built(results / scale):
        report.build_overview(results / scale)
        print(f"Report: {page.write(results / scale, reference)}")
    return status


def side_by_side(measured: list[str]) -> list[list[str]]:
    """Which of MEASURED run at the same time: all of them, but for what needs a machine for itself."""
    together = [figure for figure in measured if figure not in TIMED]
    return [*([together] if together else []), *([figure] for figure in measured if figure in TIMED)]


def command_of(figure: str, scale: str, overrides: Sequence[str]) -> str:
    """The command that makes this figure as it is: what was overridden is part of it."""
    args = f' ARGS="{shlex.join(overrides)}"' if overrides else ""
    return f"make reproduce SCALE={scale} FIGURE={figure}{args}"


def entry_points(*commands: list[str]) -> list[int]:
    """Run experiments at the same time, each as a user would from the project's folder: its name and its overrides.

    For each 0, or 1 where it failed.
    """
    processes: list[subprocess.Popen] = []
    try:
        for experiment, *overrides in commands:
            command = [sys.executable, str(PROJECT_ROOT / "experiments" / f"{experiment}.py"), *overrides]
            processes.append(subprocess.Popen(command, cwd=PROJECT_ROOT, env=os.environ | {WITHIN: "1"}))
        return [int(process.wait() != 0) for process in processes]
    except Stopped:
        for process in processes:
            process.terminate()  # a terminal has sent it the signal, too; a second one does no harm
        for process in processes:
            process.wait()
        raise


if __name__ == "__main__":
    main()
