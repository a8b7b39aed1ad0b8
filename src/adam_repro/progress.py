"""What a sweep shows while it runs: one bar in a terminal, a plain line now and then where output is piped."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from adam_repro.run import Job

SECONDS_BETWEEN_LINES = 15.0
LEAST_SHARE = 0.05  # before, the start of the processes would be taken for slow training


class Progress:
    """Counts epochs of all runs, and remembers the lowest training cost so far for each optimizer."""

    def __init__(self, groups: Sequence[Sequence[Job]]):
        self.groups = groups
        self.runs_total = sum(len(group) for group in groups)
        self.runs_done = 0
        self.epochs_of = [[0] * len(group) for group in groups]
        self.epochs_total = sum(job.config["epochs"] for group in groups for job in group)
        self.best: dict[str, tuple[float, float]] = {}
        self.console = Console(stderr=True)
        columns = (
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("runs"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[best]}"),
        )
        self.bar = Bar(*columns, console=self.console, disable=not self.console.is_terminal)
        self.task = self.bar.add_task("", total=self.runs_total, best="")
        self.began = self.last_line = time.monotonic()

    def __enter__(self) -> Progress:
        self.bar.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.bar.stop()

    def epoch(self, group: int, epoch: int, costs: Sequence[tuple[int, float]]) -> None:
        for index, cost in costs:
            job = self.groups[group][index]
            self.epochs_of[group][index] = epoch
            if math.isfinite(cost) and cost < self.best.get(job.curve, (math.inf, 0.0))[0]:
                self.best[job.curve] = (cost, job.lr)
        self._show()

    def finished(self, group: int) -> None:
        self.runs_done += len(self.groups[group])
        self.epochs_of[group] = [job.config["epochs"] for job in self.groups[group]]
        self._show(line=self.runs_done == self.runs_total)

    def _show(self, *, line: bool = False) -> None:
        done = sum(map(sum, self.epochs_of)) / max(self.epochs_total, 1)
        best = "   ".join(f"{curve} {cost:.4f} (lr {lr:g})" for curve, (cost, lr) in sorted(self.best.items()))
        self.bar.update(self.task, completed=done * self.runs_total, best=best)
        now = time.monotonic()
        if not self.console.is_terminal and (line or now - self.last_line > SECONDS_BETWEEN_LINES):
            self.last_line = now
            counts = f"{self.runs_done} of {self.runs_total} runs, {done:.0%} of their epochs"
            if done >= LEAST_SHARE:
                counts += f", {(now - self.began) * (1 - done) / done:.0f} s left"
            self.console.print(f"{counts}; best so far: {best}", soft_wrap=True, highlight=False)
