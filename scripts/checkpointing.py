"""What checkpoints cost a run, as a share of its time: `make bench ARGS=--checkpoints`.

A checkpoint is written at the end of a pass when the setting's seconds have passed since the last (``checkpoint_every``
of configs/base.yaml), so the share is what one takes of the time between two, at the speed of the steps beside it.
"""

from __future__ import annotations

import math
import statistics
from pathlib import Path
from typing import Any

import torch
import workloads
from workloads import WORKLOADS

from adam_repro.app import compose
from adam_repro.checkpoints import Keeper
from adam_repro.training import Row

LARGEST = {"mlp": 1, "vae": 1, "cnn": 1, "logistic_mnist": 105, "logistic_imdb": 105}
"""The number of members of each workload that has the largest checkpoint."""

ROWS = 100  # epochs so far, which a checkpoint holds as well
STEPS, TURNS = 5, 9


def measure(names: list[str], folder: Path, turns: int | None = None) -> list[dict[str, Any]]:
    """A row for each of the workloads ``names``: see results/README.md, bench/checkpoints.json."""
    every = compose("logistic_regression", []).checkpoint_every
    rows, facts = [], {}
    for name in names:
        data = WORKLOADS[name].data
        if data not in facts:
            facts[data] = workloads.prepare(data, folder)
        rows.append(cost_of(name, LARGEST[name], folder, facts[data]["train"], every, turns or TURNS))
    return rows


def cost_of(name: str, k: int, folder: Path, examples: int, every: float, turns: int) -> dict[str, Any]:
    """Steps and checkpoints by turns, so that a machine whose speed drifts drifts for both."""
    workload = WORKLOADS[name]
    learner = workloads.solo(workload) if k == 1 else workloads.population(workload, k)
    data = torch.load(folder / workload.data / "ours.pt", weights_only=False)
    train = workloads.timed(workloads.training(learner, data, workload))
    train(STEPS)  # compiles, and fills the optimizers' state
    keeper = Keeper(folder / f"{name}.pt", every=0)
    rows = [row_of(k)] * ROWS
    passes, writes, shares = [], [], []
    for _ in range(turns):
        passes.append(train(STEPS)["seconds"] * math.ceil(examples / workload.batch))
        writes.append(workloads.seconds_of(lambda: keeper.offer(learner, rows, [])))
        between = math.ceil(every / passes[-1]) * passes[-1]  # a pass is never cut
        shares.append(writes[-1] / between)
    return {
        "workload": name,
        "k": k,
        "megabytes": keeper.path.stat().st_size / 1e6,
        "seconds": statistics.median(writes),
        "pass_seconds": statistics.median(passes),
        "checkpoint_every": every,
        "share": statistics.median(shares),
    }


def row_of(k: int) -> Row:
    number = torch.rand(k, dtype=torch.float64)
    return Row(1, number, number, number, number, number, torch.zeros(k, dtype=torch.int64), 1.0, 1.0)


def show(rows: list[dict[str, Any]]) -> None:
    print(f"{'':>17} {'K':>4} {'MB':>6} {'seconds':>8} {'a pass':>8} {'share of the time':>18}")
    for row in rows:
        print(
            f"{row['workload']:>17} {row['k']:>4} {row['megabytes']:>6.1f} {row['seconds']:>8.3f} "
            f"{row['pass_seconds']:>8.1f} {row['share']:>18.2%}"
        )
