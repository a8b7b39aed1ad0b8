"""An optimizer of one's own among those of a figure: tuned as they were, trained on their seeds, held against them."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from adam_repro import records, sweep
from adam_repro.analysis import comparison, figures
from adam_repro.analysis.curves import FigureData
from adam_repro.analysis.figures.compared import compared
from adam_repro.analysis.gather import gather
from adam_repro.app import CONFIGS, override
from adam_repro.errors import UserError
from adam_repro.protocol import Grid
from adam_repro.run import Job
from adam_repro.search import TUNING, Composed, Trials, node_of, search_space, table
from adam_repro.settings import optimizer_class
from adam_repro.surroundings import PROJECT_ROOT
from adam_repro.tuning import Choice, tune

REFERENCE = PROJECT_ROOT / "results" / "reference"


def compare(
    optimizer: str,
    figure: str,
    *,
    scale: str,
    results: Path,
    search: str | None,
    overrides: Sequence[str],
    command: str,
) -> tuple[comparison.Comparison, Choice, Path]:
    """Tune, train and draw ``optimizer`` over the baseline of ``figure``.

    The baseline is the committed reference at the paper's scale; at another, what ``make reproduce`` left in
    ``results``. Returns the comparison, the newcomer's settings and the folder with figure.svg, figure.png and
    comparison.csv. UserError where there is no baseline, where the optimizer cannot train, and where its search space
    has another number of trials than everybody had.
    """
    baseline = _baseline(figure, scale, results)
    facts = baseline.provenance
    on_its_terms = [f"scale={scale}", f"epochs={facts['epochs']}", override("results", results), *overrides]
    if facts["provenance"] == "real":
        on_its_terms.append("dataset.stand_in=forbid")
    name, chosen_by = overrides_of(optimizer)
    optimizers = {name: chosen_by}
    folder = results / "compare" / scale / figure / name
    trials = Trials(
        figure,
        scale=scale,
        arm=TUNING,
        overrides=["evaluate_at=[]", *on_its_terms],
        optimizers=optimizers,
        search={name: search_space(figure, search, optimizer=optimizer)},
        folder=folder,
    )
    tuning = REFERENCE / figure / "tuning.csv"
    tried = pd.read_csv(tuning) if tuning.is_file() else pd.DataFrame(columns=["curve", "seed", "extension", "lr"])
    _check_budget(figure, trials.search[name], name, tried)
    runs = Composed(figure, [*on_its_terms, "arm=tuned"], optimizers)
    _check_terms(_first_run(runs, name, trials.search[name], seed=facts["seeds"][0]), baseline)
    (choice,) = tune(trials, _extensions(tried)).values()
    labels = [f"{key}={'null' if value is None else value}" for key, value in choice.labels.items()]
    runs = Composed(figure, [*runs.overrides[1:], *labels], optimizers)
    jobs = [runs.job(name, choice.settings, seed) for seed in facts["seeds"]]
    if sweep.run(jobs, workers=trials.workers, tracking=trials.tracking, folder=folder):
        raise UserError("Some runs failed, as listed above; the same command runs those again and no others.")
    node = node_of(figure)
    gather(folder, results, figure=figure, scale=scale, command=command, milestones=node.get("milestones", []))
    found = comparison.compare(baseline, FigureData.load(folder))
    table(folder / "comparison.csv", found.table.to_dict("records"))
    source = "the committed reference" if scale == "paper" else f"this machine's runs at scale {scale}"
    figures.write(lambda: compared(found, title=node["title"], panel=node["panel"], source=source), folder)
    return found, choice, folder


def overrides_of(optimizer: str) -> tuple[str, list[str]]:
    """A name for the newcomer, and the overrides that choose it.

    ``optimizer`` is a name in configs/optimizer, an import path, or a file and a class in it: path/to/mine.py:MyOpt.
    """
    if not optimizer:
        raise UserError(
            "OPTIMIZER is missing: give an import path (torch.optim.NAdam), a file and a class in it "
            "(my_opt.py:MyOpt), or a name of configs/optimizer."
        )
    if (CONFIGS / "optimizer" / f"{optimizer}.yaml").is_file():
        return optimizer, [f"optimizer={optimizer}"]
    if optimizer.endswith(".py"):
        raise UserError(f"OPTIMIZER={optimizer} is a file: give a class in it, too, as in {optimizer}:MyOpt.")
    if ":" in optimizer:
        path, _, name = optimizer.rpartition(":")
        file = Path(path).absolute()
        if not file.is_file():
            raise UserError(f"OPTIMIZER={optimizer}: there is no file {file}.")
        sys.path.insert(0, str(file.parent))  # worker processes get it, too
        optimizer = f"{file.stem}.{name}"
    optimizer_class(optimizer, key="OPTIMIZER")
    return optimizer.rpartition(".")[2], ["optimizer=external", override("optimizer._target_", optimizer)]


def _baseline(figure: str, scale: str, results: Path) -> FigureData:
    node_of(figure)  # or UserError
    folder = REFERENCE / figure if scale == "paper" else results / scale / figure
    if not (folder / "finals.csv").is_file():
        there = sorted(path.parent.name for path in folder.parent.glob("*/finals.csv"))
        remedy = f"make reproduce SCALE={scale} FIGURE={figure}" + (
            f" and make adopt FIGURE={figure}" if scale == "paper" else ""
        )
        raise UserError(
            f"FIGURE={figure} has no curves to compare with in {folder}. There are some for "
            f"{', '.join(there) or 'none'}; {remedy} makes them for this one."
        )
    return FigureData.load(folder)


def _check_budget(figure: str, search: Mapping[str, Any], name: str, tried: pd.DataFrame) -> None:
    """Equal numbers of trials for all; UserError names both. ``tried``: the figure's tuning.csv, empty for none."""
    grid = Grid.of(search, name=name)
    mine, theirs = len(grid.trials()), int((_of_one(tried)["extension"] == 0).sum())
    if theirs and mine != theirs:
        raise UserError(
            f"SEARCH gives {name} {mine} trials (lr x schedule x the rest), and every optimizer of {figure} had "
            f"{theirs}: give it {theirs}, too. The schedule is searched in [constant, inverse_sqrt_step] unless "
            "SEARCH says otherwise."
        )
    for _, further in _extensions(tried):
        if further % grid.combinations:
            raise UserError(
                f"SEARCH gives {name} {grid.combinations} settings for each learning rate, and every grid of {figure} "
                f"was extended by {further} trials, which are no whole number of learning rates then: give it as many "
                f"settings as divide {further}."
            )


def _extensions(tried: pd.DataFrame) -> list[tuple[int, int]]:
    """On which side the grids were extended, -1 or 1, and by how many trials, in the order in which they were."""
    one, found = _of_one(tried), []
    for number in sorted({*one["extension"]} - {0}):
        before, new = one[one["extension"] < number], one[one["extension"] == number]
        found.append((1 if new["lr"].min() > before["lr"].max() else -1, len(new)))
    return found


def _of_one(tried: pd.DataFrame) -> pd.DataFrame:
    """The trials of one curve, on one seed: all curves had equally many, on each."""
    return tried[(tried["curve"] == tried["curve"].min()) & (tried["seed"] == tried["seed"].min())]


def _first_run(runs: Composed, name: str, search: Mapping[str, Any], *, seed: int) -> Job:
    try:
        return runs.job(name, Grid.of(search, name=name).trials()[0], seed)
    except UserError as error:
        if set(search) <= {"lr", "schedule"}:
            raise
        raise UserError(
            f"{error} It was to be searched in {', '.join(search)}: SEARCH gives it another space."
        ) from None


def _check_terms(job: Job, baseline: FigureData) -> None:
    """What ``comparison.compare`` will ask for, before hours of training."""
    mine, theirs = job.config | {"curve_version": records.CURVE_VERSION}, baseline.provenance
    if mine["dataset"] != theirs["dataset"]:
        raise UserError(
            f"The data here are {mine['dataset']}, and the curves of {baseline.folder} were made on "
            f"{theirs['dataset']}. `make data` gets the real data sets; SCALE=quick compares with your own `make "
            "reproduce`."
        )
    comparison.check_terms(mine, baseline)
