"""Reproduce the paper: `make reproduce SCALE=quick FIGURE=all`.

For each figure: train what is not trained yet, gather the records, draw, decide the claims. At the end the verdicts,
beside those of the committed reference, and all of it as one page, report.html.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import re
import runpy
import shlex
import subprocess
import sys
import traceback
from collections.abc import Generator, Iterator, Sequence
from contextlib import chdir, closing, contextmanager
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import NamedTuple

from adam_repro.analysis import page, report
from adam_repro.analysis.drawing import draw
from adam_repro.app import WITHIN, check_place, check_scale, override, shown_kindly
from adam_repro.process import Stopped, deaf_to_interrupts, stop_by_signals
from adam_repro.search import chosen_figures, experiment_of, node_of
from adam_repro.surroundings import PROJECT_ROOT
from adam_repro.workers import get_ready, one_thread_each

MEASURED = ("properties", "online_convex", "sfo_cost")  # they write their own measurements and train no runs
TIMED = ("sfo_cost",)  # of these, what takes minutes of a machine for itself: of all figures only at the paper's scale
LEAST_PRIORITY = 19  # as `nice` counts
SIGNALLED = 128  # an exit status above it names the signal that ended a command


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scale", default="quick", help="smoke, quick or paper")
    parser.add_argument("--figure", default="all", help="all, or names separated by commas")
    parser.add_argument("--results", type=Path, default=PROJECT_ROOT / "results", help="where everything is written")
    parser.add_argument("overrides", nargs="*", help="Hydra overrides for all runs, such as workers=4")
    given = parser.parse_args()
    stop_by_signals()
    with shown_kindly():
        check_place(given.overrides)
        chosen = wanted(given.figure, given.scale)
        sys.exit(reproduce(given.scale, chosen, results=given.results, overrides=given.overrides))


def wanted(names: str, scale: str) -> list[str]:
    """The figures that FIGURE names at that scale."""
    left_out = TIMED if names == "all" and scale != "paper" else ()
    return [figure for figure in chosen_figures(names, others=MEASURED) if figure not in left_out]


def reproduce(scale: str, chosen: list[str], *, results: Path, overrides: list[str]) -> int:
    """The exit status: 0, or 1 where a run failed; what could be made of the others is made."""
    check_scale(scale)
    get_ready([draw.__module__])
    status = 0
    place = [f"scale={scale}", override("results", results.absolute())]
    drawings: list[BaseProcess] = []
    try:
        measuring, training = [*place, *of_measuring(overrides)], [*place, *overrides]
        with closing(in_turn(chosen, results / scale, measuring=measuring, training=training)) as ended:
            for figure, failed, has_news in ended:
                status |= failed
                if has_news:
                    drawings.append(begun_to_draw(figure, scale, results, overrides))
    finally:
        for drawing in drawings:
            drawing.join()
            status |= int(drawing.exitcode != 0)
    folder, reference = results / scale, PROJECT_ROOT / "results" / "reference"
    there = report.built(folder)
    if there:
        report.build_overview(folder)  # whose verdicts stand among the others
    report.show_verdicts(folder, reference)
    if there and (shown := page.write(folder, reference)):
        print(f"Report: {shown}")
    return status


def begun_to_draw(figure: str, scale: str, results: Path, overrides: list[str]) -> BaseProcess:
    """The process that draws a figure and decides its claims, while the next one trains."""
    gathered = None
    if figure not in MEASURED:
        command, milestones = command_of(figure, scale, overrides), node_of(figure).get("milestones", [])
        gathered = {"figure": figure, "scale": scale, "command": command, "milestones": list(milestones)}
    context = multiprocessing.get_context("forkserver")
    process = context.Process(target=draw, args=(results / scale / figure, results, gathered))
    with deaf_to_interrupts():
        process.start()
    return process


def command_of(figure: str, scale: str, overrides: Sequence[str]) -> str:
    """The command that makes this figure as it is: what was overridden is part of it."""
    args = f' ARGS="{shlex.join(overrides)}"' if overrides else ""
    return f"make reproduce SCALE={scale} FIGURE={figure}{args}"


def of_measuring(overrides: Sequence[str]) -> list[str]:
    """Of what was given for the runs, what those experiments know too that train none: a seed, where it is one."""
    return [given for given in overrides if re.fullmatch(r"seed=\d+", given)]


class Ended(NamedTuple):
    """A figure whose experiment has ended; ``has_news`` where that has written what the figure is drawn from."""

    figure: str
    failed: int
    has_news: bool


def in_turn(
    figures: Sequence[str], folder: Path, *, measuring: list[str], training: list[str]
) -> Generator[Ended, None, None]:
    """Run the experiments of ``figures``; each figure as it has ended, with 1 where it failed, else 0.

    ``measuring`` and ``training``: the overrides of those that only measure, and of those that train.

    What trains comes one after the other. What only measures takes the time that all of them leave over, but for what
    needs a machine for itself: that comes when all else has ended. Closing this ends what runs.
    """
    beside = [figure for figure in figures if figure in MEASURED and figure not in TIMED]
    running: dict[str, subprocess.Popen] = {}

    def announced(*names: str) -> None:
        print(f"\n{', '.join(names)}, scale {folder.name}", flush=True)

    def trained(figure: str) -> Ended:
        index = folder / figure / "index.csv"
        before = state_of(index)
        failed = train(figure, training)
        return Ended(figure, failed, has_news=state_of(index) not in (None, before))

    def ended(figure: str) -> Ended:
        failed = running[figure].wait() != 0
        del running[figure]
        return Ended(figure, int(failed), has_news=not failed)

    try:
        if beside:
            announced(*beside)
            running.update((figure, begun_to_measure(figure, measuring)) for figure in beside)
            for process in running.values():
                os.setpriority(os.PRIO_PROCESS, process.pid, LEAST_PRIORITY)
        for figure in figures:
            if figure not in MEASURED:
                announced(figure)
                yield trained(figure)
        yield from map(ended, beside)
        for figure in figures:
            if figure in TIMED:
                announced(figure)
                running[figure] = begun_to_measure(figure, measuring)
                yield ended(figure)
    finally:
        for process in running.values():
            process.terminate()
        for process in running.values():
            process.wait()


def state_of(file: Path) -> tuple[int, int] | None:
    """Something that is another once the file has been written anew, with the same content too; None: there is none.

    The file itself stays until then: another command, on the same results, may be about to read it.
    """
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns


def begun_to_measure(experiment: str, overrides: list[str]) -> subprocess.Popen:
    """The process of an experiment, as a user would start it from the project's folder."""
    command = [sys.executable, str(path_of(experiment)), *overrides]
    with one_thread_each(), deaf_to_interrupts():
        return subprocess.Popen(command, cwd=PROJECT_ROOT, env=os.environ | {WITHIN: "1"})


def train(figure: str, overrides: list[str]) -> int:
    """The exit status of a figure's experiment: as a user would start it, but that nothing is imported again.

    Of its own process half the time would go into imports, at the smaller scales: its own, its workers' and W&B's.
    """
    path = path_of(experiment_of(figure))
    try:
        with command_line([str(path), f"figure={figure}", *overrides]):
            runpy.run_path(str(path), run_name="__main__")
    except SystemExit as end:
        if isinstance(end.code, int) and end.code > SIGNALLED:
            raise Stopped(end.code - SIGNALLED) from None
        return int(bool(end.code))
    except Exception:  # a fault of ours costs no other figure anything
        traceback.print_exc()
        return 1
    return 0


@contextmanager
def command_line(words: list[str]) -> Iterator[None]:
    """What runs meanwhile finds itself started by these words, by another command, in the project's folder."""
    before = sys.argv
    sys.argv, os.environ[WITHIN] = words, "1"
    try:
        with chdir(PROJECT_ROOT):
            yield
    finally:
        sys.argv = before
        del os.environ[WITHIN]


def path_of(experiment: str) -> Path:
    return PROJECT_ROOT / "experiments" / f"{experiment}.py"


if __name__ == "__main__":
    main()
