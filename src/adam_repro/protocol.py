"""The tuning protocol: what is tried, how a grid is extended, what is chosen. Settings and costs in, settings out.

Every optimizer gets the same number of trials, on seeds that no report uses. A trial's settings are its optimizer's
own hyper-parameters and its schedule; L2 and dropout belong to the objective and are never tuned. The choice falls on
training cost, never on test metrics.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from adam_repro.errors import UserError

TUNING_SEEDS = (100, 101, 102)
REPORTING_SEEDS_BELOW = 100
MOST_EXTENSIONS = 2  # of each side: each a decade, or less for a grid that has more than lr and schedule


@dataclass(frozen=True)
class Grid:
    """The trials of one optimizer: every ``lr`` with every combination of the ``others`` (schedule, momentum, ...).

    ``lr`` are half decades, 1 and 3 in each decade, in rising order without a gap.
    """

    lr: tuple[float, ...]
    others: Mapping[str, tuple]

    @classmethod
    def of(cls, search: Mapping[str, Sequence], *, name: str) -> Grid:
        """The grid of an optimizer's ``search:`` node; UserError where its learning rates are no half decades."""
        asked = search["lr"]
        positive = all(isinstance(lr, int | float) and 0 < lr < math.inf for lr in asked)
        numbers = [_number(lr) for lr in asked] if positive else []
        lrs = tuple(half_decade(number) for number in numbers)
        gapless = numbers == [*range(numbers[0], numbers[0] + len(asked))] if positive else False
        if not gapless or not all(math.isclose(a, b, rel_tol=1e-9) for a, b in zip(lrs, asked, strict=True)):
            raise UserError(
                f"The search space of optimizer {name} has lr={list(asked)}. Give rising half decades without a "
                "gap, such as [1e-3, 3e-3, 1e-2], so that a grid can be extended and its edges be told."
            )
        return cls(lrs, {key: tuple(values) for key, values in search.items() if key != "lr"})

    @property
    def combinations(self) -> int:
        """Trials for each learning rate."""
        return math.prod(len(values) for values in self.others.values())

    def trials(self) -> list[dict[str, Any]]:
        names = ("lr", *self.others)
        return [dict(zip(names, values, strict=True)) for values in itertools.product(self.lr, *self.others.values())]

    def side(self, lr: float) -> int:
        """-1 where ``lr`` is the grid's lower edge, 1 for its upper edge, 0 inside."""
        return (lr == self.lr[-1]) - (lr == self.lr[0])

    def beyond(self, side: int, trials: int) -> Grid:
        """So many further trials past one edge, as a grid of their own."""
        edge = _number(self.lr[0 if side < 0 else -1])
        numbers = sorted(edge + side * step for step in range(1, trials // self.combinations + 1))
        return replace(self, lr=tuple(half_decade(number) for number in numbers))

    def joined(self, other: Grid) -> Grid:
        return replace(self, lr=tuple(sorted({*self.lr, *other.lr})))


def half_decade(number: int) -> float:
    """The half decade of that number: ..., -2: 0.1, -1: 0.3, 0: 1, 1: 3, 2: 10, ..."""
    return float(f"{3 if number % 2 else 1}e{number // 2}")


def _number(lr: float) -> int:
    return round(2 * math.log10(lr))


def check_budgets(grids: Mapping[str, Grid]) -> int:
    """The number of trials that every optimizer gets; UserError where they differ."""
    budgets = {name: len(grid.trials()) for name, grid in grids.items()}
    if len(set(budgets.values())) > 1:
        raise UserError(
            "The optimizers of a figure must have equal numbers of trials, and their search spaces in "
            f"configs/optimizer give {', '.join(f'{name}: {budget}' for name, budget in budgets.items())}."
        )
    return next(iter(budgets.values()))


def check_seeds(seeds: Sequence[int]) -> None:
    """Tuning and reporting never share a seed."""
    if min(seeds) < REPORTING_SEEDS_BELOW:
        raise UserError(
            f"seeds={list(seeds)} cannot be used for tuning: seeds below {REPORTING_SEEDS_BELOW} are for reporting."
        )


def choose(costs: Mapping[int, Sequence[float]]) -> int:
    """The trial with the lowest mean cost over its seeds; one that diverged on any seed (infinite cost) ranks last.

    ``costs`` maps a trial's place to its final training costs. Of equal trials the first is taken.
    """
    means = {trial: sum(values) / len(values) for trial, values in costs.items()}
    if not any(map(math.isfinite, means.values())):
        raise UserError("Every trial diverged: there is nothing to choose. Extend the search space to lower lr.")
    return min(means, key=lambda trial: means[trial])


def extension(
    grids: Mapping[str, Grid], best_lr: Mapping[str, float], extended: Mapping[int, int], most: int = MOST_EXTENSIONS
) -> dict[str, Grid]:
    """Further trials for every optimizer, equally many, where the optimum of any lies on an edge; else an empty dict.

    ``extended`` counts how often each side (-1, 1) was extended already; past ``most`` an optimum on the
    edge stays there and is flagged.
    """
    for side in (-1, 1):
        if extended[side] < most and any(grids[name].side(lr) == side for name, lr in best_lr.items()):
            combinations = [grid.combinations for grid in grids.values()]
            unit = math.lcm(*combinations)  # the fewest that all can spend evenly; enough of them for a decade
            trials = unit * math.ceil(2 * min(combinations) / unit)
            return {name: grid.beyond(side, trials) for name, grid in grids.items()}
    return {}
