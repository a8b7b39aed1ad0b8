"""The tuning protocol at work: trials are trained, grids extended, settings chosen."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from adam_repro.analysis.gather import FINAL_EPOCHS, final_costs
from adam_repro.protocol import TUNING_SEEDS, Grid, check_budgets, check_seeds, choose, extension
from adam_repro.search import Trials, table


@dataclass(frozen=True)
class Choice:
    """What was chosen for a curve: its ``settings``, of so many ``trials``, and ``why``, as lines to be read.

    ``labels`` are keys of a run's config: ``tuned_at`` epochs, ``tuned_on`` examples, ``on_grid_edge``.
    """

    settings: dict[str, Any]
    labels: dict[str, Any]
    trials: int
    why: list[str]


def tune(trials: Trials, extensions: Sequence[tuple[int, int]] = ()) -> dict[str, Choice]:
    """Choose the settings of each curve by the protocol.

    ``extensions`` are those that every grid begins with: of each the side, -1 or 1, and the number of trials. Writes
    `tuning.csv` (one line for each trial and seed) into the folder of the trials.
    """
    seeds = TUNING_SEEDS[: trials.plan.seeds]
    check_seeds(seeds)
    grids = {curve: Grid.of(search, name=curve) for curve, search in trials.search.items()}
    check_budgets(grids)
    tried: dict[str, list[dict]] = {curve: [] for curve in grids}
    costs: dict[str, list[list[float]]] = {curve: [] for curve in grids}
    rows, extended = [], {-1: 0, 1: 0}
    for side, further in extensions:
        grids = {curve: grid.joined(grid.beyond(side, further)) for curve, grid in grids.items()}
        extended[side] += 1
    new = grids
    while True:
        asked = [(curve, settings) for curve, grid in new.items() for settings in grid.trials()]
        for (curve, settings), found in zip(asked, trials.run(asked, seeds), strict=True):
            finals = [final_costs(record)["train_cost"] for record in found]
            tried[curve].append(settings)
            costs[curve].append([math.inf if cost is None else cost for cost in finals])
            for record, cost in zip(found, finals, strict=True):
                meta = {"seed": record.config["seed"], "status": record.meta["status"], "train_cost": cost}
                rows.append({"curve": curve, **settings, "extension": sum(extended.values()), **meta})
        best = {curve: choose(dict(enumerate(costs[curve]))) for curve in grids}
        grids = {curve: grids[curve].joined(new[curve]) for curve in grids}
        best_lr = {curve: tried[curve][place]["lr"] for curve, place in best.items()}
        new = extension(grids, best_lr, extended, trials.plan.extensions)
        if not new:
            break
        side = 1 if next(iter(new.values())).lr[0] > next(iter(grids.values())).lr[-1] else -1
        extended[side] += 1
        print(f"An optimum lies on the {'upper' if side > 0 else 'lower'} edge: every grid is extended there.")
    table(trials.folder / "tuning.csv", rows)
    budget, last = check_budgets(grids), min(FINAL_EPOCHS, trials.epochs)
    examples = f" of {trials.plan.train_examples:,} examples" if trials.plan.train_examples else ""
    chosen = {}
    for curve, place in best.items():
        settings, edge = tried[curve][place], grids[curve].side(best_lr[curve]) != 0
        mean = sum(costs[curve][place]) / len(seeds)
        why = [
            f"Chosen by the protocol: lowest training cost, {mean:.4f} (mean of the last {last} epochs; tuning seeds "
            f"{', '.join(map(str, seeds))}),",
            f"of {budget} trials at {trials.epochs} epochs{examples}.",
        ]
        labels = {"tuned_at": trials.epochs, "tuned_on": trials.plan.train_examples, "on_grid_edge": edge}
        chosen[curve] = Choice(settings, labels, budget, why)
        flag = "   ON THE EDGE OF ITS GRID" if edge else ""
        print(f"{curve:>14}  cost {mean:.4f}  {settings}{flag}")
    return chosen
