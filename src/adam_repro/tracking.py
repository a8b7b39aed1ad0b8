"""Mirrors records to Weights & Biases: files are the truth, W&B is a view of them.

A run in W&B carries the record's name as its id, so that mirroring twice makes no second run on the server; a file
beside the W&B folder remembers what was mirrored, so that it is not done twice here. Runs that a figure draws
become one W&B run each; the points of a grid or of a tuning become one table, unless ``tracking.members=all``.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import wandb

from adam_repro import records

if TYPE_CHECKING:
    from adam_repro.run import Job

TABLED_ARMS = ("grid", "tuning", "matching")
METRICS = {
    "train_cost": "train/cost",
    "train_loss": "train/loss",
    "l2_penalty": "train/l2_penalty",
    "test_loss": "test/loss",
    "test_accuracy": "test/accuracy",
}

log = logging.getLogger(__name__)


def mirror_all(jobs: Sequence[Job], tracking: dict[str, Any], folder: Path) -> None:
    """Mirror the records of ``jobs`` that ``folder`` does not hold yet.

    A failure of W&B or of the disk is told and costs nothing: the records are written, and the next call mirrors them.
    """
    os.environ.setdefault("WANDB_ERROR_REPORTING", "false")  # its one look-up of a host
    ledger = folder / f"mirrored-{tracking['mode']}.txt"
    mirrored = set(ledger.read_text().split()) if ledger.exists() else set()
    tabled: list[Job] = []
    single: list[Job] = []
    for job in {job.key: job for job in jobs}.values():
        if job.key not in mirrored:
            to_table = job.arm in TABLED_ARMS and tracking["members"] == "reported"
            (tabled if to_table else single).append(job)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for job in single:
            _mirror_run(job, tracking, folder)
            _remember(ledger, [job])
        if tabled:
            _mirror_table(tabled, tracking, folder)
            _remember(ledger, tabled)
    except (wandb.errors.Error, OSError) as error:
        log.warning("W&B was not updated: %s The records are complete; the same command mirrors them again.", error)


def _remember(ledger: Path, jobs: Sequence[Job]) -> None:
    with ledger.open("a") as file:
        file.writelines(f"{job.key}\n" for job in jobs)


def _mirror_run(job: Job, tracking: dict[str, Any], folder: Path) -> None:
    record = records.read(job.folder)
    with _init(tracking, folder, id=job.folder.name, group=job.figure or job.config["experiment"], job=job) as run:
        run.config.update(record.config)
        run.config.update({"arm": job.arm, "curve": job.curve, "figure": job.figure})
        run.define_metric("epoch")
        for metric in METRICS.values():
            run.define_metric(metric, step_metric="epoch", summary="last")
        for row in record.curve.to_dict("records"):
            values = {METRICS[name]: row[name] for name in METRICS if row[name] == row[name]}
            run.log({"epoch": int(row["epoch"]), **values}, step=int(row["epoch"]))
        run.summary.update({"status": record.meta["status"], "diverged_step": record.meta["diverged_step"]})


def _mirror_table(jobs: Sequence[Job], tracking: dict[str, Any], folder: Path) -> None:
    """One W&B run that holds a line for each of ``jobs``: its settings and its last row."""
    columns: list[str | int] = ["arm", "curve", "lr", "schedule", "l2", "seed", "status", *records.COLUMNS, "record"]
    table = wandb.Table(columns=columns)
    for job in jobs:
        record = records.read(job.folder)
        last = record.curve.iloc[-1]
        schedule = job.config["schedule"]["_target_"].rsplit(".", 1)[1]
        settings = (job.arm, job.curve, job.lr, schedule, job.config["l2"], job.config["seed"], record.meta["status"])
        table.add_data(*settings, *(float(last[column]) for column in records.COLUMNS), job.folder.name)
    group = jobs[0].figure or jobs[0].config["experiment"]
    name = f"{group}_{jobs[0].arm}-{records.key_of({'runs': [job.key for job in jobs]})[:8]}"
    with _init(tracking, folder, id=name, group=group, job=jobs[0]) as run:
        run.log({"runs": table})


def _init(tracking: dict[str, Any], folder: Path, *, id: str, group: str, job: Job) -> wandb.Run:
    return wandb.init(
        id=id,
        name=id,
        project=tracking["project"],
        entity=tracking["entity"],
        mode=tracking["mode"],
        dir=folder.parent,
        group=group,
        job_type=job.arm or "run",
        tags=[job.curve],
        resume="allow" if tracking["mode"] == "online" else None,
        reinit="create_new",
        settings=wandb.Settings(
            console="off",
            silent=True,
            x_disable_stats=True,
            x_disable_meta=True,
            x_save_requirements=False,
            disable_git=True,
            disable_code=True,
            disable_job_creation=True,
        ),
    )
