"""Experiments that measure quantities instead of training runs: who measures what, and the one writer of the result."""

from __future__ import annotations

import datetime
import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pandas as pd
import torch
from torch import Tensor

from adam_repro import records
from adam_repro.analysis.measurements import COLUMNS
from adam_repro.compilation import in_a_run_of
from adam_repro.optimizers import RuleOptimizer
from adam_repro.surroundings import surroundings

Measurement = tuple[str, str, float]
"""(quantity, setting, value)"""

Measure = Callable[[int], Iterator[Measurement]]
"""All measurements for one claim, from a seed."""


def write(folder: Path, measured: Mapping[str, Measure], *, scale: str, seed: int, command: str) -> None:
    """Measure everything; write ``measurements.csv`` and ``provenance.json`` into ``folder``.

    No data set is involved, and nothing depends on the scale. On one thread: two gain nothing on tensors so small, and
    beside another process they take five times as long. Nor is anything compiled in this process: no
    optimizer makes many steps in it.
    """
    torch.set_num_threads(1)
    with in_a_run_of(steps=0):
        rows = [(claim, *measurement) for claim, measure in measured.items() for measurement in measure(seed)]
    text = pd.DataFrame(rows, columns=COLUMNS).to_csv(index=False, float_format="%.6g", lineterminator="\n")
    records.write_atomically(folder / "measurements.csv", text)
    provenance = {
        "figure": folder.name,
        "scale": scale,
        "experiment": folder.name,
        "provenance": "synthetic",
        "seeds": [seed],
        **surroundings(),
        "command": command,
        "written": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }
    records.write_atomically(folder / "provenance.json", json.dumps(provenance, indent=2) + "\n")


def steps(optimizer: type[RuleOptimizer], gradients: Tensor, **settings: float | bool) -> Tensor:
    """What ``optimizer`` adds to a parameter at each of ``gradients`` [T, ...]: the steps, same shape.

    ``settings`` as for its constructor; lr is 1 unless given, so that a step is in units of alpha. A step is computed
    from a parameter of zero, where no rounding hides it.
    """
    settings = optimizer.settings(**{"lr": 1.0, **settings})
    zero = torch.zeros_like(gradients[0])
    state = [zero] * len(optimizer.state_names)
    taken = []
    for t, g in enumerate(gradients, start=1):
        step, *state = optimizer.rule(zero, g, *state, t, **settings)
        taken.append(step)
    return torch.stack(taken)


def difference(a: Tensor, b: Tensor) -> float:
    """The largest distance between two paths, relative to the farther one's extent."""
    return ((a - b).abs().max() / torch.maximum(a.abs(), b.abs()).max()).item()
