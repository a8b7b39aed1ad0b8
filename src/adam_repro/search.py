"""Runs the trials of a figure's curves, for tuning and for matching, and writes the settings that were chosen."""

from __future__ import annotations

import argparse
import copy
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import pandas as pd
import yaml
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from adam_repro import records, sweep
from adam_repro.app import CONFIGS, compose, shown_kindly
from adam_repro.errors import NothingToDo, UserError
from adam_repro.process import settle_process, stop_by_signals
from adam_repro.protocol import MOST_EXTENSIONS, TUNING_SEEDS
from adam_repro.run import Job, prepare
from adam_repro.surroundings import PROJECT_ROOT

LIKE = "adam"
"""Whose search space an optimizer gets that brings none of its own: steps of Adam's size are the usual ones."""
TUNING, MATCHING = "tuning", "matching"
"""The arms of trials that settings are chosen from: by their costs, and by their distances from printed curves."""
OBJECTIVE = {"l2": "l2", "input_dropout": "model.input_dropout", "hidden_dropout": "model.hidden_dropout"}
"""Settings that belong to the objective and not to an optimizer, and their keys: only matching varies them."""
PLANNED_BY = {"epochs": "epochs", "train_examples": "train_examples", "scale.max_test": "train_examples"}
"""By which part of a ``Plan`` each key of its ``settings`` is set."""


def command(description: str | None, *, arm: str, work: Callable[[Trials], None]) -> None:
    """The command line of a script that does ``work`` on the trials of each figure it is asked for."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--figure", default="all", help="all, or names separated by commas")
    parser.add_argument("--scale", default="paper", help="paper, whose settings can be adopted; or smoke, quick")
    parser.add_argument("overrides", nargs="*", help="Hydra overrides for every trial, such as workers=4")
    given = parser.parse_args()
    settle_process()
    stop_by_signals()
    with shown_kindly():
        overrides = ["dataset.stand_in=forbid", "evaluate_at=[]", *given.overrides]
        figures = chosen_figures(given.figure)
        for figure in figures:  # before the first is worked on, which may take hours
            check_heeded(given.overrides, figure, arm=arm)
        for figure in figures:
            try:
                work(Trials(figure, scale=given.scale, arm=arm, overrides=overrides))
            except NothingToDo as answer:
                if len(figures) == 1:
                    raise
                print(answer)


@dataclass(frozen=True)
class Plan:
    """How a figure's settings are tuned where its own length would take days: the ``tuning`` node of its config. They
    are matched in the same way, or by a ``matching`` node of its own.

    ``epochs`` and ``train_examples``, where given, take the place of the figure's; ``seeds`` is how many of the tuning
    seeds are used, ``extensions`` how often a side of a grid may be extended, and ``search`` the narrower grids, by
    optimizer: equally many trials for each.
    """

    epochs: int | None = None
    train_examples: int | None = None
    seeds: int = len(TUNING_SEEDS)
    extensions: int = MOST_EXTENSIONS
    search: Mapping[str, Mapping[str, Sequence]] = field(default_factory=dict)

    def settings(self, arm: str) -> dict[str, int]:
        """The keys of a run's config that the plan sets for trials of that arm, and what to."""
        found = {} if self.epochs is None else {"epochs": self.epochs}
        if self.train_examples is not None and arm == TUNING:
            found |= {"train_examples": self.train_examples, "scale.max_test": self.train_examples}  # none is by tests
        return found


def check_heeded(overrides: Sequence[str], figure: str, *, arm: str) -> None:
    """UserError where one of ``overrides`` is of what the figure's plan sets, which then holds for the trials."""
    given = {key.lstrip("+~"): value for key, _, value in (override.partition("=") for override in overrides)}
    if not given.keys() & PLANNED_BY:
        return
    for key, planned in plan_of(figure, overrides, arm=arm).settings(arm).items():
        if key in given:
            raise UserError(
                f"{key}={given[key]} would change nothing: for trials of {figure} the plan in its config sets {key} to "
                f"{planned}. Give figure.{planned_in(figure, arm)}.{PLANNED_BY[key]}={given[key]} in its place."
            )


def plan_of(figure: str, overrides: Sequence[str], *, arm: str) -> Plan:
    return Plan(**Composed(figure, overrides).base.figure.get(planned_in(figure, arm), {}))


def planned_in(figure: str, arm: str) -> str:
    """The node of a figure's config that has the plan for trials of that arm."""
    return MATCHING if arm == MATCHING and MATCHING in node_of(figure) else TUNING


class Composed:
    """Runs of a figure's curves, composed under ``overrides``.

    A curve is an optimizer of that name in configs/optimizer, or what ``optimizers`` has under it: the overrides that
    choose its optimizer.
    """

    def __init__(self, figure: str, overrides: Sequence[str], optimizers: Mapping[str, Sequence[str]] | None = None):
        self.experiment = experiment_of(figure)
        self.overrides = [f"figure={figure}", *overrides]
        self.optimizers = optimizers or {}
        self.base = compose(self.experiment, self.overrides)
        self._configs: dict[tuple[str, str], DictConfig] = {}

    def job(self, curve: str, settings: Mapping[str, Any], seed: int) -> Job:
        """The run of a curve with those settings: lr, schedule, whatever else its optimizer takes, and OBJECTIVE's."""
        config = copy.deepcopy(self.config(curve, settings["schedule"]))
        config.seed = seed
        for name, value in settings.items():
            if name in OBJECTIVE:
                OmegaConf.update(config, OBJECTIVE[name], value)
            elif name != "schedule":
                with open_dict(config.optimizer):
                    config.optimizer[name] = value
        return prepare(config)

    def label(self, curve: str) -> str:
        """The name by which figures and claims know the curve: its optimizer's, and its variant's behind it."""
        config = self.config(curve)
        return config.optimizer._target_.rpartition(".")[2] + config.variant

    def config(self, curve: str, schedule: str = "constant") -> DictConfig:
        key = (curve, schedule)
        if key not in self._configs:
            chosen = self.optimizers.get(curve, [f"optimizer={curve}"])
            self._configs[key] = compose(self.experiment, [*self.overrides, *chosen, f"schedule={schedule}"])
        return self._configs[key]


class Trials:
    """The trials of one figure under one scale: ``arm`` names what they are for, ``overrides`` hold for all.

    Trials that are "tuning" take as few examples as the figure's plan says. Those of another arm are compared with
    printed curves pass by pass, and a pass is one over all examples.

    ``optimizers``: see ``Composed``; None: the figure's own curves. ``search``: search spaces to take in place of those
    that configs and the figure's plan give, by curve. ``folder``: where what was chosen is written; None: that of the
    figure and scale.

    NothingToDo where the figure's settings are those of another, which its config names as ``tuned_by``: trials at its
    own length would be neither that protocol nor that budget.
    """

    def __init__(
        self,
        figure: str,
        *,
        scale: str,
        arm: str,
        overrides: Sequence[str] = (),
        optimizers: Mapping[str, Sequence[str]] | None = None,
        search: Mapping[str, Mapping[str, Any]] | None = None,
        folder: Path | None = None,
    ):
        if (others := node_of(figure).get("tuned_by")) is not None:
            raise NothingToDo(
                f"{figure} has the settings of {others}: what is tuned, matched or compared there holds here, so give "
                f"FIGURE={others}."
            )
        overrides = [f"scale={scale}", f"arm={arm}", *overrides]
        plan = plan_of(figure, overrides, arm=arm)
        overrides += [f"{key}={value}" for key, value in plan.settings(arm).items()]
        self.runs = Composed(figure, overrides, optimizers)
        base = self.runs.base
        self.plan = plan
        self.curves: list[str] = list(optimizers or base.figure.curves)
        self.panel: str | None = base.figure.panel
        self.workers: int | None = base.workers
        self.tracking = dict(base.tracking)
        self.epochs: int = min(base.epochs, base.scale.max_epochs or base.epochs)
        self.folder = folder or Path(base.results) / base.scale.name / figure
        self.arm = arm
        self._done: list[Job] = []
        self.search: dict[str, Any] = {
            curve: dict(search[curve]) if search and curve in search else self._search(curve) for curve in self.curves
        }

    def how_to_adopt(self) -> str:
        """Behind the folder with the chosen settings: the command that makes them the project's, where there is one."""
        if self.folder != PROJECT_ROOT / "results" / "paper" / self.folder.name:
            return ""
        return f"   (`make adopt FIGURE={self.folder.name}` makes them the project's)"

    def run(self, trials: Sequence[tuple[str, Mapping[str, Any]]], seeds: Sequence[int]) -> list[list[records.Record]]:
        """The records of each (curve, settings), one for each seed; UserError where a run failed.

        The index of the trials names those of all calls.
        """
        jobs = [[self.runs.job(curve, settings, seed) for seed in seeds] for curve, settings in trials]
        every = [job for row in jobs for job in row]
        folder = self.folder / self.arm
        if sweep.run(every, workers=self.workers, tracking=self.tracking, folder=folder, before=self._done):
            raise UserError("Some trials failed, as listed above; the same command runs those again and no others.")
        self._done += every
        return [[records.read(job.folder) for job in row] for row in jobs]

    def _search(self, curve: str) -> dict[str, Any]:
        """The search space of a curve: its optimizer's, with what the figure's plan puts in its place."""
        space = OmegaConf.to_container(self.runs.config(curve).optimizer.search)
        narrowed = self.plan.search.get(curve, {})
        return {**cast(dict[str, Any], space), **{name: list(values) for name, values in narrowed.items()}}


def search_space(figure: str, given: str | None, *, optimizer: str = LIKE) -> dict[str, Any]:
    """The search space that ``given`` names, a YAML file or YAML itself, or else that of ``optimizer`` in this figure.

    That is Adam's, unless ``optimizer`` is a name of configs/optimizer with a space of its own; where the figure
    narrows its curves' spaces and not that one, it is Adam's after all. Where lr or schedule is not given, those of
    that space are taken. UserError for anything else.
    """
    narrowed = node_of(figure).get("tuning", {}).get("search", {})
    file = CONFIGS / "optimizer" / f"{optimizer}.yaml"
    has_own = file.is_file() and "search" in OmegaConf.load(file) and (not narrowed or optimizer in narrowed)
    name = optimizer if has_own else LIKE
    usual = cast(DictConfig, OmegaConf.load(CONFIGS / "optimizer" / f"{name}.yaml"))["search"]
    usual = {**usual, **narrowed.get(name, {})}
    if given is None:
        return {name: list(values) for name, values in usual.items()}
    if given.endswith((".yaml", ".yml")) and not os.path.isfile(given):
        raise UserError(f"SEARCH={given}: there is no file {os.path.abspath(given)}.")
    try:
        asked = OmegaConf.to_container(OmegaConf.load(given) if os.path.isfile(given) else OmegaConf.create(given))
    except (yaml.YAMLError, OmegaConfBaseException) as error:
        raise UserError(f"SEARCH={given} is no YAML: {' '.join(str(error).split())}") from None
    if not isinstance(asked, dict) or not all(isinstance(values, list) and values for values in asked.values()):
        raise UserError(
            f"SEARCH={given} is no search space. Give each setting a list of values, such as "
            "'{lr: [1e-3, 3e-3, 1e-2], momentum: [0.9, 0.99]}', or a YAML file with that."
        )
    return {"lr": list(usual["lr"]), "schedule": list(usual["schedule"]), **asked}


def experiment_of(figure: str) -> str:
    """The entry point, as its file's stem, that draws ``figure``; UserError for an unknown figure."""
    return node_of(figure)["experiment"]


def node_of(figure: str) -> dict[str, Any]:
    """What a figure's config says of itself; UserError for an unknown figure."""
    path = CONFIGS / "figure" / f"{figure}.yaml"
    if not path.exists():
        raise UserError(f"figure={figure} is not known. Give one of {', '.join(figures())}.")
    return cast(dict[str, Any], OmegaConf.to_container(cast(DictConfig, OmegaConf.load(path))["figure"]))


def figures() -> list[str]:
    return sorted(path.stem for path in (CONFIGS / "figure").glob("*.yaml"))


def chosen_figures(names: str, *, others: Sequence[str] = ()) -> list[str]:
    """The figures that FIGURE names: "all", or names separated by commas; ``others`` are names known beside them."""
    known = [*figures(), *others]
    chosen = known if names == "all" else names.split(",")
    unknown = [name for name in chosen if name not in known]
    if unknown:
        raise UserError(f"FIGURE={','.join(unknown)} is not known. Give all, or some of {', '.join(known)}.")
    return chosen


def write_settings(
    path: Path,
    *,
    curve: str,
    settings: Mapping[str, Any],
    labels: Mapping[str, Any],
    why: Sequence[str],
    dropout: str | None = None,
) -> None:
    """A file for ``configs/tuned`` or ``configs/matched``: the settings as overrides, and in comments where from.

    ``dropout`` chooses in configs/dropout, where the settings are for a curve with dropout beside one without.
    """
    settings = dict(settings)
    defaults = [{"override /optimizer": curve}, {"override /schedule": settings.pop("schedule")}]
    if dropout is not None:
        defaults.append({"override /dropout": dropout})
    l2 = {"l2": settings.pop("l2")} if "l2" in settings else {}
    body = yaml.safe_dump({"defaults": defaults, "optimizer": settings, **l2, **labels}, sort_keys=False)
    records.write_atomically(path, "# @package _global_\n" + "".join(f"# {line}\n" for line in why) + body)


def table(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write what was tried, one line a row; settings of one optimizer that another lacks are empty there."""
    records.write_atomically(path, pd.DataFrame(rows).to_csv(index=False, float_format="%.9g", lineterminator="\n"))
