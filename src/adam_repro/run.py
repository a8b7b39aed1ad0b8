"""Builds a run from its configuration, trains it and writes its record: the one place where the parts meet.

``prepare`` turns a composed configuration into a ``Job``: everything is checked there, before any folder is made.
``execute`` trains jobs that share their minibatches, as a population where the model has one, and writes a record
for each.
"""

from __future__ import annotations

import dataclasses
import datetime
import functools
import math
import shlex
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import pandas as pd
import torch
from hydra.utils import get_class, instantiate
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import InterpolationKeyError, MissingMandatoryValue

from adam_repro import diagnostics, records
from adam_repro.admission import check_fit, tried
from adam_repro.building import build_model, build_optimizer
from adam_repro.checkpoints import Keeper
from adam_repro.compilation import in_a_run_of
from adam_repro.data import Dataset
from adam_repro.errors import UserError
from adam_repro.in_step import ModelsInStep
from adam_repro.members import Member
from adam_repro.optimizers import OPTIMIZERS, SFO
from adam_repro.partition import Partitioned
from adam_repro.settings import (
    check_device,
    check_figure,
    check_results,
    check_values,
    checked_settings,
    optimizer_class,
    partitioned,
    source_hash,
)
from adam_repro.surroundings import surroundings
from adam_repro.training import Row, Solo, train


@dataclass(frozen=True)
class Job:
    """A run that was checked and not yet trained.

    ``config`` is what decides its curve, and nothing else; ``key`` is the hash of that. ``source`` is how to load
    the data in any process without asking the network again. ``group`` is equal for jobs that can be one population,
    None for one that cannot be in any.
    ``resumable``: whether its optimizer's ``state_dict`` holds all that it has learnt. ``optimizer_source``: what the
    key has of an optimizer from outside, None for one of this package.
    """

    config: dict[str, Any]
    key: str
    folder: Path
    source: dict[str, Any]
    group: str | None
    population: dict[str, Any] | None
    resumable: bool
    optimizer_source: str | None
    figure: str | None
    arm: str | None
    curve: str
    tuned_at: int | None
    tuned_on: int | None
    on_grid_edge: bool
    device: str
    checkpoint_every: float
    command: str

    @property
    def lr(self) -> float:
        return self.config["optimizer"]["lr"]

    @property
    def steps(self) -> int:
        """Of all its passes together."""
        return self.config["epochs"] * math.ceil(self.config["dataset"]["train_examples"] / self.config["batch_size"])

    def on_gpu(self, device: str) -> Job:
        """The same run on a GPU, where models of any kind can be trained in step: see ``in_step``."""
        job = dataclasses.replace(self, device=device, group=_group(self.config, None))
        return job if is_captured(job) else dataclasses.replace(job, group=None)


def prepare(cfg: DictConfig) -> Job:
    """Check a composed configuration and resolve it into a job; UserError names what is wrong with it."""
    ours = OmegaConf.masked_copy(cfg, [str(key) for key in cfg if key != "hydra"]) if "hydra" in cfg else cfg
    try:
        given = cast(dict[str, Any], OmegaConf.to_container(ours, resolve=True, throw_on_missing=True))
    except MissingMandatoryValue as error:
        raise UserError(
            f"{error.full_key} has no default: give it a value, as in optimizer._target_=torch.optim.NAdam."
        ) from None
    except InterpolationKeyError as error:
        raise UserError(
            f"{error.full_key} is to be what another setting is, and that is not there "
            f"({str(error).splitlines()[0]}). A model that takes it from its data set needs one that has it: give the "
            "model and the dataset that belong together."
        ) from None
    check_figure(given)
    check_values(given)
    check_results(given["results"])
    check_device(given["device"])
    scale = given["scale"]
    data = instantiate(given["dataset"])
    optimizer = given["optimizer"]
    optimizer.pop("search", None)
    found = optimizer_class(optimizer["_target_"])
    epochs = _least(given["epochs"], scale["max_epochs"])
    config = {
        "experiment": given["experiment"],
        "dataset": {
            "name": data.name,
            "provenance": data.provenance,
            "checksum": data.checksum,
            "train_examples": _least(given["train_examples"], scale["max_train"], len(data.train_y)),
            **({} if scale["max_test"] is None else {"test_examples_spread": scale["max_test"]}),  # absent: all
        },
        "model": given["model"],
        "optimizer": optimizer,
        "schedule": given["schedule"],
        "l2": float(given["l2"]),
        "batch_size": given["batch_size"],
        "epochs": epochs,
        "evaluate_at": _reached(given["evaluate_at"], epochs, most=scale["max_evaluations"]),
        "seed": given["seed"],
        **({"diagnostics": True} if given["diagnostics"] else {}),  # absent: none, as in records older than they are
        **({"frozen_noise": True} if given["frozen_noise"] else {}),
    }
    identity: dict[str, Any] = {"config": config}
    check_fit(config, data)
    if given["frozen_noise"] and found is not SFO:
        raise UserError("frozen_noise=true is of minibatches that stay the same: give it with optimizer=sfo.")
    if found in OPTIMIZERS:
        examples, batch_size = config["dataset"]["train_examples"], config["batch_size"]
        config["optimizer"] = checked_settings(found, optimizer, examples=examples, batch_size=batch_size)
        population, resumable, in_step = given["population"], True, True
    elif found is SFO:
        config |= partitioned(optimizer, config["dataset"]["train_examples"], most=scale["max_subfunctions"])
        population, resumable, in_step = None, False, False
    else:
        population = given["guests"]
        resumable, in_step = tried(found, config, data)
        identity["source"] = source_hash(found)
    key = records.key_of(identity)
    name = records.folder_name(data.name, found.__name__, lr=config["optimizer"]["lr"], seed=config["seed"], key=key)
    job = Job(
        config=config,
        key=key,
        folder=Path(given["results"]) / "runs" / config["experiment"] / name,
        source={**given["dataset"], "stand_in": "forbid" if data.provenance == "real" else "only"},
        group=_group(config, population) if population and in_step and "diagnostics" not in config else None,
        population=population,
        resumable=resumable,
        optimizer_source=identity.get("source"),
        figure=cfg.figure.name if cfg.figure is not None else None,
        arm=given["arm"],
        curve=given["curve"] or found.__name__ + (given["variant"] or ""),
        tuned_at=given["tuned_at"],
        tuned_on=given["tuned_on"],
        on_grid_edge=given["on_grid_edge"],
        device="cpu",
        checkpoint_every=given["checkpoint_every"],
        command=shlex.join(sys.argv),
    )
    return job if torch.device(given["device"]).type == "cpu" else job.on_gpu(given["device"])


def _reached(evaluate_at: list[int] | None, epochs: int, *, most: int | None) -> list[int] | None:
    """Those that the run reaches: what is asked for beyond its end does not make it another run. Of more than ``most``
    the last ones, the run's end among them."""
    if most is None:
        return evaluate_at and [epoch for epoch in evaluate_at if epoch <= epochs]
    asked = range(epochs) if evaluate_at is None else sorted({epoch for epoch in evaluate_at if epoch < epochs})
    return [*asked, epochs][-most:]


def execute(jobs: Sequence[Job], *, on_row: Callable[[list[Job], Row], None] = lambda jobs, row: None) -> list:
    """Train ``jobs`` in step and write their records; more than one job must be of one ``group``.

    Where these very jobs were stopped before, they go on from their last checkpoint. ``on_row`` is told of every
    epoch, with the jobs in the order of the row's entries.
    """
    config = jobs[0].config
    data = load_data(jobs[0])
    # by key: a checkpoint has members in their order, which must not depend on that of the command
    learner, jobs = build_learner(sorted(jobs, key=lambda job: job.key))
    resumable = all(job.resumable for job in jobs)
    keeper = Keeper(checkpoint_of(jobs), every=jobs[0].checkpoint_every) if resumable else None
    rows: list[Row] = []
    inside: list[list] = []
    if keeper is not None and (kept := keeper.load()) is not None:
        learner.restore(kept.state)
        rows, inside = kept.rows, kept.diagnostics
    with in_a_run_of(jobs[0].steps):
        for row in train(
            learner,
            data,
            seed=config["seed"],
            epochs=config["epochs"],
            batch_size=config["batch_size"],
            evaluate_at=config["evaluate_at"],
            after=rows[-1] if rows else None,
        ):
            rows.append(row)
            if "diagnostics" in config and row.epoch:
                inside += [line for k in range(learner.size) for line in _inside(learner, k, row)]
            if keeper is not None:
                keeper.offer(learner, rows, inside)
            on_row(jobs, row)
    written = [_write(job, rows, k, inside, group=group_name(jobs)) for k, job in enumerate(jobs)]
    if keeper is not None:
        keeper.remove()
    return written


def _inside(learner: Any, k: int, row: Row) -> Iterator[list]:
    """The diagnostics of member ``k`` at the epoch of ``row``: a line [k, epoch, ...] a layer, none once diverged."""
    if not row.diverged_step[k]:
        model, optimizer = learner.inside(k)
        if diagnostics.has_moments(optimizer):
            yield from ([k, row.epoch, *layer] for layer in diagnostics.by_layer(model, optimizer))


def group_name(jobs: Sequence[Job]) -> str:
    """The name of jobs that are trained in step: equal for the same runs on the same kind of device."""
    return records.key_of({"runs": sorted(job.key for job in jobs), "device": torch.device(jobs[0].device).type})[:16]


def checkpoint_of(jobs: Sequence[Job]) -> Path:
    return jobs[0].folder.parents[2] / "checkpoints" / f"{group_name(jobs)}.pt"


def load_data(job: Job) -> Dataset:
    """The data of a job, as many examples as it is to have, on its device."""
    wanted = job.config["dataset"]
    data = instantiate(job.source)
    return data.head(wanted["train_examples"], wanted.get("test_examples_spread")).to(job.device)


def _least(*values: int | None) -> int:
    return min(value for value in values if value is not None)


def build_learner(jobs: Sequence[Job]) -> tuple[Any, list[Job]]:
    """The learner of ``jobs``, and the jobs in the order of its members.

    A population of one is twice as fast as the model and the optimizer that it stands for, so a single job has one.
    """
    config, device = jobs[0].config, torch.device(jobs[0].device)
    if is_captured(jobs[0]):
        in_step = functools.partial(ModelsInStep, functools.partial(build_model, config), device=device)
    elif jobs[0].group is None:
        (job,) = jobs
        model = build_model(job.config).to(job.device)
        optimizer = build_optimizer(job.config, model)
        objective = {"schedule": instantiate(job.config["schedule"]), "l2": job.config["l2"]}
        if not isinstance(optimizer, SFO):
            return Solo(model, optimizer, **objective), [job]
        noise = {"seed": job.config["seed"], "frozen_noise": "frozen_noise" in job.config}
        return Partitioned(model, optimizer, **objective, **noise), [job]
    else:
        in_step = instantiate(jobs[0].population, _partial_=True)
    of_member = {id(member := _member(job.config)): (member, job) for job in jobs}
    learner = in_step([member for member, _ in of_member.values()])
    return learner, [of_member[id(member)][1] for member in learner.members]


def _group(config: dict[str, Any], population: dict[str, Any] | None) -> str:
    """Equal for runs that share minibatches and noise."""
    shared = {name: config[name] for name in config if name not in ("optimizer", "schedule", "l2")}
    return records.key_of({**shared, "population": population})


def is_captured(job: Job) -> bool:
    """Whether the job's steps are made by ``ModelsInStep``: on a GPU, if that has the rule, and no averages of
    parameters."""
    optimizer = get_class(job.config["optimizer"]["_target_"])
    return optimizer in OPTIMIZERS and optimizer.judged is None and torch.device(job.device).type != "cpu"


def _member(config: dict[str, Any]) -> Member:
    settings = dict(config["optimizer"])
    return Member(get_class(settings.pop("_target_")), settings, instantiate(config["schedule"]), config["l2"])


def _write(job: Job, rows: list[Row], k: int, inside: list[list], *, group: str) -> records.Record:
    """The record of member ``k``: its rows up to the last finite epoch."""
    last = rows[-1]
    diverged_step = int(last.diverged_step[k])
    finite = [row for row in rows if not row.diverged_step[k]]
    curve = pd.DataFrame(
        [[row.epoch, *(float(getattr(row, column)[k]) for column in records.COLUMNS[1:])] for row in finite],
        columns=records.COLUMNS,
    )
    meta = {
        "status": "diverged" if diverged_step else "finished",
        "diverged_step": diverged_step,
        "key": job.key,
        **({} if job.optimizer_source is None else {"optimizer_source": job.optimizer_source}),
        "members": len(last.diverged_step),
        "group": group,
        "train_seconds": sum(row.train_seconds for row in rows),
        "evaluation_seconds": sum(row.evaluation_seconds for row in rows),
        "written": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "command": job.command,
        "device": job.device,
        **surroundings(job.device),
    }
    ours = [line for member, *line in inside if member == k]
    more = pd.DataFrame(ours, columns=["epoch", *diagnostics.COLUMNS]) if ours else None
    return records.write(job.folder, job.config, curve, meta, diagnostics=more)
