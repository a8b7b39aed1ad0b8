"""Hydra plugins: a launcher that trains all jobs of a multirun together, and a sweeper for figures with several arms.

Hydra imports this module at every start, so torch is imported where it is first needed.
"""

import copy
import itertools
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.config_store import ConfigStore
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.core.utils import JobReturn, JobStatus, configure_log, setup_globals
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf

from adam_repro.errors import UserError

if TYPE_CHECKING:
    from adam_repro import slurm


@dataclass
class PopulationLauncherConf:
    """Where a multirun trains; all but the first are for ``cluster=slurm``."""

    _target_: str = "hydra_plugins.adam_repro_population.PopulationLauncher"
    cluster: str = "local"  # local: processes of this machine; slurm: the jobs of an array
    partition: str | None = None  # None: the cluster's default
    cpus: int = 4  # of each job, a process on each
    gpus: int = 0  # of each job; with device=cuda, a process on each
    time: int = 60  # minutes until a job is stopped and requeued
    array: int = 16  # how many jobs of the array run at once
    chunks: int | None = None  # into how many jobs the sweep is cut at most; None: as many as run at once
    requeues: int = 10  # how often a job goes on behind its time limit
    sbatch: dict[str, Any] = field(default_factory=dict)  # any other option of sbatch: account, mem, constraint, ...


@dataclass
class ArmsSweeperConf:
    _target_: str = "hydra_plugins.adam_repro_population.ArmsSweeper"
    arms: dict[str, dict[str, str]] = field(default_factory=dict)
    params: dict[str, str] | None = None


ConfigStore.instance().store(
    group="hydra/launcher", name="population", node=PopulationLauncherConf, provider="adam_repro"
)
ConfigStore.instance().store(group="hydra/sweeper", name="arms", node=ArmsSweeperConf, provider="adam_repro")


class ArmsSweeper(BasicSweeper):
    """Hydra's own sweeper, and for a figure the union of the sweeps that its ``arms`` name.

    A figure is several products (tuned settings x seeds, a grid x seeds, ...) which one product cannot express. All
    jobs go to the launcher in one batch, so that arms share populations. ``arm=`` and ``curve=`` on the command line
    choose among them, and values that an arm has of what it varies; the scale's caps thin them out.
    """

    def __init__(self, arms: dict[str, dict[str, str]], params: dict[str, str] | None = None):
        super().__init__(max_batch_size=None, params=params)
        self.arms = arms

    def sweep(self, arguments: list[str]) -> list[Sequence[JobReturn]]:
        assert self.config is not None and self.launcher is not None and self.hydra_context is not None
        parser = OverridesParser.create(config_loader=self.hydra_context.config_loader)
        given = parser.parse_overrides([*self._parse_config(), *arguments])
        if not self.arms:
            (jobs,) = self.split_arguments(given, None)
            return self._launched(jobs)
        chosen = {override.key_or_group: values_of(override) for override in given}
        arms = chosen.pop("arm", list(self.arms))
        curves = {_plain(curve): curve for curve in chosen.pop("curve", [])}
        jobs = []
        there: dict[str, str] = {}
        for arm in arms:
            if arm not in self.arms:
                raise UserError(f"arm={arm} is not allowed: {self.config.figure.name} has {', '.join(self.arms)}.")
            swept = parser.parse_overrides([f"{key}={values}" for key, values in self.arms[arm].items()])
            grid = {override.key_or_group: values_of(override) for override in swept}
            choices = {override.get_key_element(): _thinned(override, self.config.scale) for override in swept}
            choices |= {key: _points(key, values, grid.get(key, [])) for key, values in chosen.items()}
            there |= {_plain(option): _name(option) for key in CURVES for option in choices.get(key, [])}
            product = (dict(zip(choices, values, strict=True)) for values in itertools.product(*choices.values()))
            wanted = [
                job for job in product if not curves or curves.keys() & {_plain(job.get(key, "")) for key in CURVES}
            ]
            jobs += [[*(f"{key}={value}" for key, value in job.items()), f"arm={arm}"] for job in wanted]
        if unknown := [curve for plain, curve in curves.items() if plain not in there]:
            raise UserError(
                f"curve={','.join(unknown)} names no curve of {self.config.figure.name}, arm={','.join(arms)}: there "
                f"are {', '.join(there.values()) or 'none'}."
            )
        return self._launched(jobs)

    def _launched(self, jobs: Sequence[Sequence[str]]) -> list[Sequence[JobReturn]]:
        """All jobs in one batch; exit status 1 where some failed, which the launcher has told by then."""
        returns = self.launcher.launch(jobs, initial_job_idx=0)
        if any(job.status == JobStatus.FAILED for job in returns):
            sys.exit(1)
        return [returns]


CURVES = ("optimizer", "tuned", "matched")  # the groups whose option names a curve, in one arm or another


def _name(option: str) -> str:
    """fig1_mnist/sgd_nesterov is of the curve sgd_nesterov, and fig3_first_epochs/sgd_nesterov+dropout its variant."""
    return option.rsplit("/", 1)[-1].partition("+")[0]


def _plain(option: str) -> str:
    """fig1_mnist/sgd_nesterov and SGDNesterov are one curve."""
    return _name(option).replace("_", "").lower()


def values_of(override: Override) -> list[str]:
    """The values that a sweep is to take for what is overridden, one or several."""
    return (
        list(override.sweep_string_iterator())
        if override.is_sweep_override()
        else [override.get_value_element_as_str()]
    )


def _thinned(override: Override, scale: DictConfig) -> list[str]:
    """An arm's values under the scale's caps: the first seeds, every so many points of a grid over lr."""
    values = values_of(override)
    match override.key_or_group:
        case "seed":
            return values[: scale.max_seeds]
        case "optimizer.lr":
            return values[:: scale.grid_stride]
        case _:
            return values


def _points(key: str, values: list[str], grid: list[str]) -> list[str]:
    """What an arm is to take for ``key``: the ``values`` that were given; of what a figure fixes for its curves, the
    points of the arm's ``grid`` that they name. UserError where it has no such points."""
    if key not in ("optimizer", "schedule", "tuned", "matched") and not key.startswith(("optimizer.", "schedule.")):
        return values
    wanted = {_number(value) for value in values}
    if "." not in key or not wanted <= {_number(point) for point in grid}:
        raise UserError(
            f"{key}={','.join(values)} cannot be given with a figure, which fixes it for each of its curves. "
            "Choose among them by arm= and curve=, among the points of a grid by arm=grid and values that it has, "
            "or leave figure= out for a sweep of your own."
        )
    return [point for point in grid if _number(point) in wanted]


def _number(value: str) -> float | str:
    """1 and 1.0 are one point of a grid."""
    try:
        return float(value)
    except ValueError:
        return value


class PopulationLauncher(Launcher):
    """Composes and checks every job of a multirun, then trains them together: see ``adam_repro.sweep``, ``slurm``."""

    def __init__(self, cluster: str = "local", **asked: Any):
        if cluster not in ("local", "slurm"):
            raise UserError(f"hydra.launcher.cluster={cluster} is not allowed: give local or slurm.")
        self.cluster, self.asked = cluster, asked

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        self.hydra_context, self.config = hydra_context, config
        self.composed: dict[tuple[str, ...], DictConfig] = {}

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> list[JobReturn]:
        from adam_repro import sweep, workers
        from adam_repro.run import prepare

        if self.cluster == "local" and not self.config.plan and self.config.device == "cpu":
            workers.get_ready()
        setup_globals()
        configure_log(self.config.hydra.hydra_logging, self.config.hydra.verbose)
        configs = [self._compose(overrides) for overrides in job_overrides]
        array = self._array(configs)
        jobs = [prepare(config) for config in configs]
        cfg = configs[0]
        if cfg.plan:
            processes = cfg.workers if array is None else array.most_processes(cfg.workers)
            sweep.show_plan(jobs, workers=processes, elsewhere=array is not None and array.gpus > 0)
            failures = {}
        else:
            folder = Path(cfg.results)
            if cfg.figure is not None:
                folder = folder / cfg.scale.name / cfg.figure.name
            tracking = OmegaConf.to_container(cfg.tracking)
            train = None if array is None else array.train
            failures = sweep.run(jobs, workers=cfg.workers, tracking=tracking, folder=folder, train=train)
        return [
            JobReturn(
                overrides=list(overrides),
                cfg=config,
                working_dir=str(job.folder),
                task_name=config.experiment,
                status=JobStatus.FAILED if job.key in failures else JobStatus.COMPLETED,
                _return_value=RuntimeError(failures[job.key]) if job.key in failures else str(job.folder),
            )
            for overrides, config, job in zip(job_overrides, configs, jobs, strict=True)
        ]

    def _array(self, configs: Sequence[DictConfig]) -> "slurm.Array | None":
        """What is asked of Slurm, None for training here. What the nodes' GPUs are to train is checked on a CPU."""
        if self.cluster == "local":
            return None
        from adam_repro import slurm

        array = slurm.Array(**self.asked)
        for config in configs:
            config.device = array.device(config.device)
        return array

    def _compose(self, overrides: Sequence[str]) -> DictConfig:
        """The job's configuration without Hydra's own node.

        Composing takes Hydra a tenth of a second, and most jobs of a sweep differ in values alone: one composition
        serves all jobs with equal groups, and their values are set on copies of it, as Hydra would set them.
        """
        loader = self.hydra_context.config_loader
        parsed = OverridesParser.create(config_loader=loader).parse_overrides(list(overrides))
        is_group = {override.input_line: loader.repository.group_exists(override.key_or_group) for override in parsed}
        groups = tuple(line for line in overrides if is_group[line])
        if groups not in self.composed:
            config = loader.load_sweep_config(self.config, list(groups))
            self.composed[groups] = OmegaConf.masked_copy(config, [key for key in config if key != "hydra"])
        config = copy.deepcopy(self.composed[groups])
        values = [override for override in parsed if not is_group[override.input_line] and not _is_hydras(override)]
        loader._apply_overrides_to_config(values, config)
        return config


def _is_hydras(override: Override) -> bool:
    return override.key_or_group.split(".")[0] == "hydra"
