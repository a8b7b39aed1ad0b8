"""Find the settings that draw a figure's printed curves: `make match FIGURE=fig1_mnist`.

A first round tries the whole family on one seed, a second one the neighbourhood of the nearest setting on all tuning
seeds. Where the figure's config has a `matching` node, or else a `tuning` node with a search space, because its own
length takes days, what that lists is tried, with its passes and seeds and all examples, and compared by the passes
until each level. Curves with dropout are matched by a command of their own, with ARGS=dropout=with; where the paper
does not state the rates, a last round tries others with the nearest settings. Writes, below results/<scale>/<figure>/,
`matched/<curve>.yaml` and `matching.csv`: one line for each setting, with its distance from the printed curve under
both readings of "training cost", and its final cost (so the file is also the sweep over L2); and `dropout_rates.csv`,
one line for each curve and pair of rates. `make adopt` makes the settings the project's.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from adam_repro.analysis.curves import paper_curves
from adam_repro.analysis.gather import final_costs
from adam_repro.analysis.trials import dropout_rates
from adam_repro.errors import NothingToDo, UserError
from adam_repro.matching import (
    PLOTTED,
    distance,
    distance_in_passes,
    family,
    levels,
    plotted,
    refined,
    with_dropout_rates,
)
from adam_repro.protocol import TUNING_SEEDS, Grid
from adam_repro.search import MATCHING, Trials, command, table, write_settings

RUNNERS_UP = 3
Distance = Callable[[pd.Series, pd.Series], float]
Asked = list[tuple[str, dict[str, Any]]]


def match(trials: Trials) -> None:
    printed = {curve: points for curve in trials.curves if len(points := printed_curve(trials, curve))}
    if not printed:
        raise NothingToDo(
            f"{trials.folder.name} draws no curve that the paper printed: there is nothing to match. The points of "
            "Figure 4 are held against ours in docs/silent.md, by `make report SCALE=reference`."
        )
    grids = {curve: Grid.of(trials.search[curve], name=curve) for curve in printed}
    if trials.plan.search:
        passes: int | None = trials.epochs
        seeds, apart = TUNING_SEEDS[: trials.plan.seeds], distance_in_passes
        rows = measure(trials, as_planned(trials, grids), seeds, printed, apart)
        told = f"the ratio of passes until each level, in {passes} passes,"
    else:
        passes, seeds, apart = None, TUNING_SEEDS, distance
        every = [(curve, settings) for curve in printed for settings in family(grids[curve])]
        rows = measure(trials, every, TUNING_SEEDS[:1], printed, apart)
        around = [(curve, settings) for curve in printed for settings in refined(nearest(rows, curve)[0]["settings"])]
        rows += measure(trials, around, seeds, printed, apart)
        told = "the ratio"
    save(trials, "matching.csv", rows, printed, passes)
    variant, shared = trials.runs.base.variant, nearest_with_one_objective(rows)
    ranked = {curve: nearest(rows, curve) for curve in printed}
    for curve, (best, *others) in ranked.items():
        if math.isinf(best["distance"]):
            raise UserError(
                f"No setting of {curve} comes near: all diverged, or nothing is printed of its first passes."
            )
        why = [
            f"Of the settings tried, nearest to the curve that the paper printed: root mean square of the logarithm of "
            f"{told} {best['distance']:.4f},",
            f"taking what was plotted for the {best['plotted']} cost. Next, among other schedules or L2 strengths:",
            *(f"  {row['distance']:.4f}  {row['settings']}, {row['plotted']} cost" for row in others[:RUNNERS_UP]),
            "Nearest where all curves must have one L2 strength and one plotted cost:",
            f"  {shared[curve]['distance']:.4f}  {shared[curve]['settings']}, {shared[curve]['plotted']} cost",
            f"All of them: results/reference/{trials.folder.name}/matching.csv",
        ]
        path = trials.folder / "matched" / f"{curve}{variant}.yaml"
        dropout = "with" if variant else None
        write_settings(path, curve=curve, settings=best["settings"], labels={}, why=why, dropout=dropout)
        print(f"{curve + variant:>20}  distance {best['distance']:.4f}  {best['settings']}, {best['plotted']} cost")
    if trials.runs.base.model.get("hidden_dropout"):  # the rate of IMDB's words is the paper's
        asked = [(curve, each) for curve in printed for each in with_dropout_rates(ranked[curve][0]["settings"])]
        found = measure(trials, asked, seeds, printed, apart)
        found = [row for row in found if row["plotted"] == ranked[row["curve"]][0]["plotted"]]
        save(trials, "dropout_rates.csv", found, printed, passes)
        for rates in dropout_rates(pd.read_csv(trials.folder / "dropout_rates.csv")):
            where = f"dropout of {rates.input:g} of the input, {rates.hidden:g} of hidden units"
            print(f"{'all curves':>20}  distance {rates.together:.4f}  {where}")
    print(f"Settings: {trials.folder / 'matched'}{trials.how_to_adopt()}")


def save(trials: Trials, name: str, rows: list[dict], printed: dict, passes: int | None) -> None:
    """Write the rows as a table, beside those that it has of a figure's other curves."""
    path, variant, flat = trials.folder / name, trials.runs.base.variant, []
    for row in rows:
        measured = {key: value for key, value in row.items() if key != "settings"}
        within = len(levels(printed[row["curve"]], passes=passes)) if passes else None
        flat.append(
            {**measured, "curve": row["curve"] + variant, "passes": passes, "levels": within, **row["settings"]}
        )
    table(path, [*other_curves(path, flat, passes), *flat])


def other_curves(path: Path, found: Sequence[dict], passes: int | None) -> list[dict]:
    """What the file has of curves that were not matched now but in the same way: a variant has a command of its own."""
    if not path.is_file():
        return []
    before = pd.read_csv(path)
    alike = before.reindex(columns=["passes"])["passes"].fillna(0) == (passes or 0)
    return before[alike & ~before["curve"].isin({row["curve"] for row in found})].to_dict("records")


def printed_curve(trials: Trials, curve: str):
    """The printed points of a curve, by x; empty where the paper's panel lacks it."""
    points = paper_curves(trials.panel or "")
    return points[points["curve"] == trials.runs.label(curve)].set_index("epoch")["training_cost"]


def as_planned(trials: Trials, grids: dict[str, Grid]) -> Asked:
    """What the figure's plan lists, under the figure's own L2 strength."""
    l2 = trials.runs.base.l2
    return [(curve, {**settings, "l2": l2}) for curve, grid in grids.items() for settings in grid.trials()]


def measure(trials: Trials, asked: Asked, seeds: Sequence[int], printed: dict, apart: Distance) -> list[dict]:
    """A row for each (curve, settings) and reading of the plotted cost."""
    rows = []
    for (curve, settings), found in zip(asked, trials.run(asked, seeds), strict=True):
        finals = [cost for record in found if (cost := final_costs(record)["train_cost"]) is not None]
        finished = len(finals) == len(found)
        for what in PLOTTED:
            gap = apart(plotted([record.curve for record in found], what), printed[curve]) if finished else math.inf
            cost = sum(finals) / len(finals) if finished else None
            common = {"distance": gap, "train_cost": cost, "seeds": len(found)}
            rows.append({"curve": curve, "settings": settings, "plotted": what, **common})
    return rows


def nearest(rows: list[dict], curve: str) -> list[dict]:
    """The nearest row, then the nearest of each other combination of schedule, L2 strength and plotted cost."""
    ranked = sorted((row for row in rows if row["curve"] == curve), key=lambda row: row["distance"])
    kinds: dict[tuple, dict] = {}
    for row in ranked:
        kinds.setdefault((row["settings"]["schedule"], row["settings"]["l2"], row["plotted"]), row)
    return list(kinds.values())


def nearest_with_one_objective(rows: list[dict]) -> dict[str, dict]:
    """The nearest row of each curve under the L2 strength and the plotted cost that suit all curves together best."""
    best: dict[tuple, dict[str, dict]] = {}
    for row in sorted(rows, key=lambda row: row["distance"]):
        best.setdefault((row["settings"]["l2"], row["plotted"]), {}).setdefault(row["curve"], row)
    curves = {row["curve"] for row in rows}
    whole = [found for found in best.values() if set(found) == curves]
    return min(whole, key=lambda found: sum(row["distance"] ** 2 for row in found.values()))


if __name__ == "__main__":
    command(__doc__, arm=MATCHING, work=match)
