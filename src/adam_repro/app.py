"""The command line of every entry point: composes with Hydra, and shows a user's mistakes as one paragraph."""

from __future__ import annotations

import difflib
import functools
import os
import shlex
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import hydra
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.types import Quote, QuotedString
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import (
    ConfigAttributeError,
    ConfigKeyError,
    InterpolationResolutionError,
    OmegaConfBaseException,
)

from adam_repro import records, sweep
from adam_repro.data import default_root
from adam_repro.errors import UserError, of_the_disk
from adam_repro.locks import ASK_AGAIN_SECONDS
from adam_repro.process import Stopped, settle_process, stop_by_signals
from adam_repro.run import Job, execute, prepare
from adam_repro.surroundings import PROJECT_ROOT
from adam_repro.training import Row

CONFIGS = PROJECT_ROOT / "configs"
WITHIN = "ADAM_REPRO_WITHIN"
"""Set in the environment of a command that another one started, which says how to go on for both."""
FULL_ERROR = "HYDRA_FULL_ERROR"
"""Hydra's name for it: whoever sets it to 1 sees tracebacks, of their own mistakes too."""

OmegaConf.register_new_resolver("project_root", lambda: str(PROJECT_ROOT))
OmegaConf.register_new_resolver("data_root", lambda: str(default_root()))
OmegaConf.register_new_resolver("record_folder", lambda *, _root_: str(prepare(_root_).folder))


def app(config_name: str) -> Callable[[Callable[[DictConfig], None]], Callable[[], None]]:
    """Make ``run(cfg)`` a command that composes ``configs/<config_name>.yaml`` with the overrides it is given."""

    def decorate(run: Callable[[DictConfig], None]) -> Callable[[], None]:
        hydra_main = hydra.main(version_base="1.3", config_path=str(CONFIGS), config_name=config_name)(run)

        @functools.wraps(run)
        def command() -> None:
            sys.argv[1:] = _as_hydra_wants(sys.argv[1:])
            sys.path.append(os.getcwd())  # where a user's own optimizer lies
            settle_process()
            stop_by_signals()
            with shown_kindly(), _errors_handed_on():
                hydra_main()

        return command

    return decorate


def run_one(cfg: DictConfig) -> None:
    """Train the one run that ``cfg`` describes, write its record, mirror it; a finished run is not run again."""
    job = prepare(cfg)
    if cfg.plan:
        _remove_if_empty(job.folder)
        sweep.show_plan([job])
        return
    if records.is_complete(job.folder, job.key):
        print(f"Already done: {job.folder}")
        sweep.forget([[job]])
    else:
        try:
            with _turn(job):
                if not records.is_complete(job.folder, job.key):
                    execute([job], on_row=_print_row)
        except BaseException:
            _remove_if_empty(job.folder)
            raise
        print(f"Record: {job.folder}")
    tracking, folder = dict(cfg.tracking), Path(cfg.results) / "wandb"
    sweep.mirror([job], tracking, folder)
    sweep.show_mirror(tracking, folder)


@contextmanager
def _turn(job: Job) -> Iterator[None]:
    """Wait until no other process trains the run, and keep others from it."""
    lock = sweep.lock_of([job])
    if not lock.take():
        print(f"Another process trains this run ({job.folder}); it is waited for.", flush=True)
        while not lock.take():
            time.sleep(ASK_AGAIN_SECONDS)
    try:
        yield
    finally:
        lock.give_back()


def compose(config_name: str, overrides: Sequence[str]) -> DictConfig:
    """The configuration of an entry point, as its command line would compose it."""
    GlobalHydra.instance().clear()
    with hydra.initialize_config_dir(str(CONFIGS), version_base="1.3"):
        return hydra.compose(config_name, list(overrides))


def override(key: str, value: object) -> str:
    """An override that sets ``key`` to the text of ``value``: commas and brackets of a path are no part of a sweep."""
    return f"{key}={QuotedString(str(value), Quote.single).with_quotes()}"


def check_scale(scale: str, *others: str) -> None:
    """UserError unless ``scale`` is one that the configuration has, or one of ``others``."""
    known = sorted({*others, *(path.stem for path in (CONFIGS / "scale").glob("*.yaml"))})
    if scale not in known:
        raise UserError(f"SCALE={scale} is not known. Give one of {', '.join(known)}.")


def check_place(overrides: Sequence[str]) -> None:
    """UserError where one of ``overrides`` sends runs elsewhere than where a script looks for them, its --results."""
    for given in overrides:
        key, _, place = given.partition("=")
        if key == "results":
            raise UserError(
                f"{given} would send the runs elsewhere than what is made of them: give --results={place} "
                f"(`make ... ARGS=--results={place}`)."
            )


class shown_kindly:  # noqa: N801 - reads as a phrase where it is used
    """Turn an error that a user can cause into one paragraph on standard error and exit status 1.

    A signal that ends the process is answered by how to go on, and by the exit status that shells give it.
    """

    def __enter__(self) -> None:
        self._traceback_wanted = os.environ.get(FULL_ERROR) == "1"

    def __exit__(self, kind: type | None, error: BaseException | None, traceback: object) -> None:
        if isinstance(error, Stopped):
            if WITHIN not in os.environ:
                go_on = "What is done is kept, and the same command goes on"
                print(f"\nStopped. {go_on}:\n    {_command()}", file=sys.stderr)
            sys.exit(128 + error.number)
        message = None if error is None or self._traceback_wanted else _message(error)
        if message is not None:
            print(f"Error: {message}", file=sys.stderr)
            sys.exit(1)


@contextmanager
def _errors_handed_on() -> Iterator[None]:
    """Hydra hands errors on meanwhile, instead of printing them itself."""
    before = os.environ.get(FULL_ERROR)
    os.environ[FULL_ERROR] = "1"
    try:
        yield
    finally:
        os.environ.pop(FULL_ERROR) if before is None else os.environ.__setitem__(FULL_ERROR, before)


def _command() -> str:
    python = shutil.which("python")
    ours = python is not None and os.path.samefile(Path(python).parent, Path(sys.executable).parent)
    return shlex.join(["python" if ours else sys.executable, *sys.argv])


def _as_hydra_wants(arguments: Sequence[str]) -> list[str]:
    """--dry-run is plan=true, launchers are for multiruns, -m comes first: Hydra knows no overrides on both sides."""
    renamed = ["plan=true" if argument == "--dry-run" else argument for argument in arguments]
    if any(argument.startswith("hydra.launcher.") for argument in renamed) and not {"-m", "--multirun"} & {*renamed}:
        renamed.append("-m")
    return sorted(renamed, key=lambda argument: argument not in ("-m", "--multirun"))


def _message(error: BaseException) -> str | None:
    """What to tell the user, or None for an error that is ours."""
    chain = [error]
    while (below := chain[-1].__cause__ or chain[-1].__context__) is not None:  # OmegaConf takes the causes away
        chain.append(below)
    for link in chain:
        if isinstance(link, UserError):
            return str(link)
        if (message := of_the_disk(link)) is not None:
            return message
        if isinstance(link, ConfigKeyError | ConfigAttributeError) and isinstance(link.parent_node, DictConfig):
            return _no_such_key(str(link.full_key), link.parent_node)
    if isinstance(error, InterpolationResolutionError) and not isinstance(chain[-1], OmegaConfBaseException):
        return None  # one of our resolvers failed
    if isinstance(error, HydraException | OmegaConfBaseException):
        cause = f" {error.__cause__}" if error.__cause__ else ""
        return " ".join(f"{error}{cause}".split()) + " (`--help` lists the keys and groups.)"
    return None


def _no_such_key(full_key: str, node: DictConfig) -> str:
    parent, dot, key = full_key.rpartition(".")
    there = sorted(str(name) for name in node if name != "hydra")
    allowed = [parent + dot + name for name in there]
    similar = [parent + dot + name for name in difflib.get_close_matches(key, there, n=1)]
    near = similar or sorted(_within(node, key, parent + dot), key=len)
    hint = f" Did you mean {near[0]}?" if near else ""
    names = ", ".join(allowed) or "none"
    add = f" To add one, write +{full_key}=..." if parent else ""  # one beside all others would change nothing
    return f"There is no key {full_key}.{hint} Allowed there: {names}.{add}"


def _within(node: DictConfig, key: str, above: str) -> Iterator[str]:
    """The full names of the keys called ``key`` that lie deeper in ``node``."""
    for name, part in node.items_ex(resolve=False):
        if isinstance(part, DictConfig) and not part._is_none() and not part._is_interpolation() and name != "hydra":
            if key in part:
                yield f"{above}{name!s}.{key}"
            yield from _within(part, key, f"{above}{name!s}.")


def _remove_if_empty(folder: Path) -> None:
    """Hydra makes the folder before the run begins; a run that fails leaves none behind."""
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()


def _print_row(jobs: list[Job], row: Row) -> None:
    (job,) = jobs
    shown = {"train cost": row.train_cost, "test loss": row.test_loss, "test accuracy": row.test_accuracy}
    costs = [f"{name} {value.item():.4f}" for name, value in shown.items() if not value.isnan()]
    end = [f"diverged at step {row.diverged_step.item()}"] if row.diverged_step.item() else []
    print("   ".join([f"epoch {row.epoch:>3}/{job.config['epochs']}", *costs, *end]), flush=True)
