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
from collections.abc import Generator, Sequence
from contextlib import closing, nullcontext
from pathlib import Path

from adam_repro.analysis import page, report
from adam_repro.analysis.gather import gather
from adam_repro.app import CONFIGS, WITHIN, shown_kindly
from adam_repro.errors import UserError
from adam_repro.process import deaf_to_interrupts, stop_by_signals
from adam_repro.search import chosen_figures, experiment_of, node_of
from adam_repro.surroundings import PROJECT_ROOT
from adam_repro.workers import one_thread_each

MEASURED = ("properties", "online_convex", "sfo_cost")  # they write their own measurements and train no runs
TIMED = ("sfo_cost",)  # of these, what takes minutes of a machine for itself: of all figures only at the paper's scale
LEAST_PRIORITY = 19  # as `nice` counts


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
    with closing(in_turn(chosen, results / scale, passed)) as ended:
        for figure, failed in ended:
            status |= failed
            folder = results / scale / figure
            if (folder / "index.csv").exists():
                command, milestones = command_of(figure, scale, overrides), node_of(figure).get("milestones", [])
                gather(folder, results, figure=figure, scale=scale, command=command, milestones=milestones)
                report.build(folder)
            elif figure in MEASURED and not failed:
                report.build(folder)
    reference = PROJECT_ROOT / "results" / "reference"
    report.show_verdicts(results / scale, reference)
    if report.built(results / scale):
        report.build_overview(results / scale)
        print(f"Report: {page.write(results / scale, reference)}")
    return status


def command_of(figure: str, scale: str, overrides: Sequence[str]) -> str:
    """The command that makes this figure as it is: what was overridden is part of it."""
    args = f' ARGS="{shlex.join(overrides)}"' if overrides else ""
    return f"make reproduce SCALE={scale} FIGURE={figure}{args}"


def in_turn(figures: Sequence[str], folder: Path, overrides: list[str]) -> Generator[tuple[str, int], None, None]:
    """Run the experiments of ``figures``; each figure as it has ended, with 1 where it failed, else 0.

    What trains comes one after the other, and is handed out when the next has begun: it is drawn while that one's
    imports leave a core free. What only measures takes the time that all of them leave over, but for what needs a
    machine for itself: that comes when all else is drawn. Closing this ends what runs.
    """
    beside = [figure for figure in figures if figure in MEASURED and figure not in TIMED]
    running: dict[str, subprocess.Popen] = {}

    def start(*names: str) -> None:
        print(f"\n{', '.join(names)}, scale {folder.name}", flush=True)
        running.update((figure, started(figure, folder / figure, overrides)) for figure in names)

    def ended(figure: str) -> tuple[str, int]:
        status = running[figure].wait()
        del running[figure]
        return figure, int(status != 0)

    try:
        if beside:
            start(*beside)
            for process in running.values():
                os.setpriority(os.PRIO_PROCESS, process.pid, LEAST_PRIORITY)
        waiting: list[tuple[str, int]] = []
        for figure in figures:
            if figure not in MEASURED:
                start(figure)
                yield from waiting
                waiting = [ended(figure)]
        yield from waiting
        yield from map(ended, beside)
        for figure in figures:
            if figure in TIMED:
                start(figure)
                yield ended(figure)
    finally:
        for process in running.values():
            process.terminate()
        for process in running.values():
            process.wait()


def started(figure: str, folder: Path, overrides: list[str]) -> subprocess.Popen:
    """The process of a figure's experiment, as a user would start it from the project's folder."""
    (folder / "index.csv").unlink(missing_ok=True)
    measured = figure in MEASURED
    experiment, named = (figure, []) if measured else (experiment_of(figure), [f"figure={figure}"])
    command = [sys.executable, str(PROJECT_ROOT / "experiments" / f"{experiment}.py"), *named, *overrides]
    with one_thread_each() if measured else nullcontext(), deaf_to_interrupts():
        return subprocess.Popen(command, cwd=PROJECT_ROOT, env=os.environ | {WITHIN: "1"})


if __name__ == "__main__":
    main()
