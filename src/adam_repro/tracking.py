"""Mirrors records to Weights & Biases: files are the truth, W&B is a view of them.

A run in W&B has an id that says what it is (``run_id``), so that mirroring twice makes no second run on the server; a
file in the W&B folder remembers what was mirrored, so that it is not done twice here. What a mirroring that was killed
has left of a run goes when that run is mirrored. Runs that a figure draws become one W&B run each; the points of a grid
or of a tuning become one table, unless ``tracking.members=all``. docs/wandb.md lists all that a run holds.
"""

from __future__ import annotations

import logging
import os
import re
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import wandb

from adam_repro import records
from adam_repro.analysis.curves import paper_curves
from adam_repro.analysis.gather import final_costs, settings_of
from adam_repro.analysis.sensitivity import by_learning_rate
from adam_repro.errors import UserError
from adam_repro.locks import Lock

if TYPE_CHECKING:
    from adam_repro.run import Job

TABLED_ARMS = ("grid", "control", "tuning", "matching")
METRICS = {
    "train_cost": "train/cost",
    "train_loss": "train/loss",
    "l2_penalty": "train/l2_penalty",
    "test_loss": "test/loss",
    "test_accuracy": "test/accuracy",
}
OF_THE_GROUP = ("train_seconds", "evaluation_seconds", "members")
PRINTED = "printed"
LEAN = wandb.Settings(  # a run takes a third of the time, and nothing of the machine or of the code is looked at
    console="off",
    silent=True,
    host="",
    symlink=False,
    x_disable_stats=True,
    x_disable_meta=True,
    x_save_requirements=False,
    disable_git=True,
    disable_code=True,
    disable_job_creation=True,
)

OFFLINE = re.compile(r"offline-run-(?:\d{8}_\d{6}-(.+)|(.+)-\d{8}_\d{6})")
"""A run's folder, with its id: W&B puts the time in front, and behind goes what is whole (see ``_started``)."""

log = logging.getLogger(__name__)


def run_id(job: Job) -> str:
    """The id of a job's run in W&B: what tells runs apart comes first, as a list in a terminal shows no more.

    Figures and arms share records, and each of them has a run of its own. W&B takes no comma or slash in an id; a
    hyphen stands for what a curve's name ("Adam, beta1 = 0") has of such.
    """
    settings = f"seed{job.config['seed']}_lr{job.lr:g}-{job.key[:8]}"
    curve = re.sub(r"[^\w.+-]+", "-", job.curve.lower())
    names = [job.arm, curve, settings, job.figure]
    return "_".join(name for name in names if name is not None)


def mirror_all(jobs: Sequence[Job], tracking: dict[str, Any], folder: Path) -> None:
    """Mirror the records of ``jobs`` that ``folder`` does not hold yet.

    A failure of W&B or of the disk is told and costs nothing: the records are written, and the next call mirrors them.
    """
    tabled: dict[str, Job] = {}
    single: dict[str, Job] = {}
    for job in jobs:
        to_table = job.arm in TABLED_ARMS and tracking["members"] == "reported"
        (tabled if to_table else single)[run_id(job)] = job
    with _failures_told(), _opened(tracking, folder) as ledger:
        for id in ledger.without(single):
            _mirror_run(id, single[id], ledger)
            ledger.add([id])
        for arm in dict.fromkeys(job.arm for job in tabled.values()):
            if new := ledger.without([id for id, job in tabled.items() if job.arm == arm]):
                _mirror_table([tabled[id] for id in new], ledger)
                ledger.add(new)


def mirror_printed(figure: str, panel: str, tracking: dict[str, Any], folder: Path) -> None:
    """A run for each printed curve of the figure's ``panel``. The paper's x = 0 is the first pass: ``epoch`` 1."""
    printed = paper_curves(panel)
    with _failures_told(), _opened(tracking, folder) as ledger:
        for curve, points in printed.groupby("curve", sort=False):
            (id,) = ids = [_printed_id(f"{str(curve).lower()}_{figure}", tracking)]
            if not ledger.without(ids):
                continue
            config = {"figure": figure, "arm": PRINTED, "curve": f"{curve}, {PRINTED}"}
            with _started(ledger, id=id, group=figure, config=config) as run:
                rows = points.rename(columns={"training_cost": "train_cost"}).assign(epoch=points["epoch"] + 1)
                _log_rows(run, rows)
            ledger.add(ids)


def mirror_printed_grid(figure: str, points: pd.DataFrame, epochs: int, tracking: dict[str, Any], folder: Path) -> None:
    """A run for the ``points``, [learning rate, series], that the paper printed of a figure's grid after ``epochs``
    passes, as a table of runs logs its own."""
    with _failures_told(), _opened(tracking, folder) as ledger:
        (id,) = ids = [_printed_id(f"grid_{epochs}passes_{figure}", tracking)]
        if ledger.without(ids):
            of_ours = {"epochs": epochs, "data": "real"}  # beside these alone are they to be seen
            config = {"figure": figure, "arm": PRINTED, "curve": f"grid, {PRINTED}", **of_ours}
            with _started(ledger, id=id, group=figure, config=config) as run:
                _log_sensitivity(run, points)
            ledger.add(ids)


def _printed_id(name: str, tracking: dict[str, Any]) -> str:
    """With whose it is to be, where that is said: made for somebody else, it is another run."""
    return "_".join(filter(None, (PRINTED, name, tracking["entity"])))


def _mirror_run(id: str, job: Job, ledger: _Ledger) -> None:
    record = records.read(job.folder)
    with _started(ledger, id=id, group=_group(job), config=_config(job, record)) as run:
        _log_rows(run, record.curve)
        run.summary.update({name: record.meta[name] for name in ("status", "diverged_step", *OF_THE_GROUP)})


def _mirror_table(jobs: Sequence[Job], ledger: _Ledger) -> None:
    """A run that holds a line for each of ``jobs``, of one arm: settings and last row; and costs by learning rate."""
    columns: list[str | int] = ["arm", "curve", "lr", "schedule", "l2", "seed", "status", *records.COLUMNS, "record"]
    table = wandb.Table(columns=columns)
    ends = []
    for job in jobs:
        record = records.read(job.folder)
        end = settings_of(record.config)
        last = [float(record.curve[column].iloc[-1]) for column in records.COLUMNS]
        settings = (job.arm, job.curve, job.lr, end["schedule"], job.config["l2"], job.config["seed"])
        table.add_data(*settings, record.meta["status"], *last, job.folder.name)
        ends.append({**end, "curve": job.curve, "train_cost": final_costs(record)["train_cost"]})
    id = f"{jobs[0].arm}_{len(jobs)}runs-{records.key_of({'runs': [job.key for job in jobs]})[:8]}_{_group(jobs[0])}"
    config = {**_config(jobs[0], record), "curve": jobs[0].arm, "seed": None, "record": None}
    for name in ("optimizer", "schedule"):
        del config[name]
    with _started(ledger, id=id, group=_group(jobs[0]), config=config) as run:
        _log_sensitivity(run, by_learning_rate(pd.DataFrame(ends)))
        run.log({"runs": table})


def _log_sensitivity(run: wandb.Run, costs: pd.DataFrame) -> None:
    """``costs``: [learning rate, series]."""
    run.define_metric("sensitivity/*", step_metric="sensitivity/lr")
    for lr, row in costs.iterrows():
        run.log({"sensitivity/lr": lr, **{f"sensitivity/{name}": cost for name, cost in row.dropna().items()}})


def _config(job: Job, record: records.Record) -> dict[str, Any]:
    names = {"figure": job.figure, "arm": job.arm, "curve": job.curve, "record": job.folder.name}
    return {**record.config, "data": record.config["dataset"]["provenance"], **names}


def _group(job: Job) -> str:
    return job.figure or job.config["experiment"]


def _log_rows(run: wandb.Run, curve: pd.DataFrame) -> None:
    """The rows of a curve, against its epochs; numbers that were not taken are left out."""
    run.define_metric("epoch")
    run.define_metric("*", step_metric="epoch")
    for step, row in enumerate(curve.to_dict("records")):
        values = {metric: row[name] for name, metric in METRICS.items() if name in row and row[name] == row[name]}
        run.log({"epoch": row["epoch"], **values}, step=step)


class _Ledger:
    """The ids of the runs that a folder holds."""

    def __init__(self, tracking: dict[str, Any], folder: Path):
        self.tracking, self.folder = tracking, folder
        self.path = folder / f"mirrored-{tracking['mode']}.txt"
        self.ids = set(self.path.read_text().splitlines()) if self.path.exists() else set()
        self.made = {path: name[1] or name[2] for path in folder.iterdir() if (name := OFFLINE.fullmatch(path.name))}

    def without(self, ids: Sequence[str] | dict[str, Any]) -> list[str]:
        return [id for id in ids if id not in self.ids]

    def add(self, ids: Sequence[str]) -> None:
        with self.path.open("a") as file:
            file.writelines(f"\n{id}" for id in ids)  # a line that was cut off is no part of the next

    def clear(self, id: str) -> None:
        """Remove what there is offline of a run that has no line here: whoever made it was killed before the end."""
        if self.tracking["mode"] == "offline":
            for path in [path for path, of in self.made.items() if of == id]:
                shutil.rmtree(path)


@contextmanager
def _opened(tracking: dict[str, Any], folder: Path) -> Iterator[_Ledger]:
    """The ledger of ``folder``, for one process at a time."""
    folder.mkdir(parents=True, exist_ok=True)
    with Lock(folder / "mirroring.lock"):
        yield _Ledger(tracking, folder)


@contextmanager
def _failures_told() -> Iterator[None]:
    """What goes wrong with W&B or the disk is told and ends the block; the next call makes up for it.

    Not so what the user is to put right, as a damaged record.
    """
    os.environ.setdefault("WANDB_ERROR_REPORTING", "false")  # its one look-up of a host
    try:
        yield
    except UserError:
        raise
    except Exception as error:  # what W&B raises has no class in common
        told = str(error) or type(error).__name__
        log.warning("W&B was not updated: %s The records are complete; the same command mirrors them again.", told)
        log.debug("W&B was not updated, because of this:", exc_info=error)


@contextmanager
def _started(ledger: _Ledger, *, id: str, group: str, config: dict[str, Any]) -> Iterator[wandb.Run]:
    """A W&B run that ends with the block. Offline its folder is then named by its id, and its time behind that."""
    ledger.clear(id)
    tracking = ledger.tracking
    run = wandb.init(
        id=id,
        name=id,
        project=tracking["project"],
        entity=tracking["entity"],
        mode=tracking["mode"],
        dir=ledger.folder.parent,
        group=group,
        job_type=config["arm"] or "run",
        tags=[config["curve"]],
        config=config,
        resume="allow" if tracking["mode"] == "online" else None,
        reinit="create_new",
        settings=LEAN,
    )
    with run:
        yield run
    made = Path(run.settings.sync_dir)
    if made.name.startswith("offline-run-"):
        time = made.name.removeprefix("offline-run-").removesuffix(f"-{id}")
        made.rename(made.with_name(f"offline-run-{id}-{time}"))
