import copy

import pytest
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.plugins import Plugins
from hydra.types import HydraContext, RunMode
from omegaconf import OmegaConf

from adam_repro.app import CONFIGS
from adam_repro.errors import UserError
from hydra_plugins.adam_repro_population import PopulationLauncher


class Jobs:
    """Stands where the launcher does, and keeps what the sweeper hands over."""

    def launch(self, job_overrides, initial_job_idx):
        self.overrides = [sorted(overrides) for overrides in job_overrides]
        return []


@pytest.fixture
def context():
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        yield HydraContext(config_loader=GlobalHydra.instance().config_loader(), callbacks=None)


def multirun(context, *overrides):
    return context.config_loader.load_configuration("logistic_regression", list(overrides), RunMode.MULTIRUN)


def jobs_of(context, *overrides, arguments=(), config=None):
    config = config or multirun(context, *overrides)
    HydraConfig.instance().set_config(config)
    sweeper = Plugins.instance().instantiate_sweeper(
        hydra_context=context, task_function=lambda cfg: None, config=config
    )
    sweeper.launcher = launcher = Jobs()
    sweeper.sweep(list(arguments))
    return launcher.overrides


FIGURE = "figure=fig1_mnist"


def test_a_figure_is_the_union_of_its_arms(context):
    jobs = jobs_of(context, FIGURE)
    count = {arm: sum(f"arm={arm}" in job for job in jobs) for arm in ("tuned", "default", "matched", "grid")}
    assert count == {"tuned": 40, "default": 40, "matched": 30, "grid": 320}
    assert len(jobs) == sum(count.values())


def test_arm_and_curve_choose_parts_of_a_figure(context):
    jobs = jobs_of(context, FIGURE, arguments=["arm=tuned,default", "curve=sgd_nesterov", "seed=0,1"])
    assert jobs == [
        ["arm=tuned", "seed=0", "tuned=fig1_mnist/sgd_nesterov"],
        ["arm=tuned", "seed=1", "tuned=fig1_mnist/sgd_nesterov"],
        ["arm=default", "optimizer=sgd_nesterov", "seed=0"],
        ["arm=default", "optimizer=sgd_nesterov", "seed=1"],
    ]


def test_a_curve_may_be_in_some_of_the_chosen_arms_only(context):
    config = context.config_loader.load_configuration("cnn", ["figure=fig3_full"], RunMode.MULTIRUN)
    given = ["arm=tuned,ablation_of_m", "dropout=without", "seed=0"]
    jobs = jobs_of(context, config=config, arguments=[*given, "curve=Adam,AdaGrad"])
    assert [job[0] for job in jobs] == ["arm=tuned", "arm=tuned", "arm=ablation_of_m"]
    with pytest.raises(
        UserError, match="curve=AdaGrad names no curve of fig3_full, arm=ablation_of_m: there are adam."
    ):
        jobs_of(context, config=config, arguments=["arm=ablation_of_m", "curve=Adam,AdaGrad"])


def test_a_curve_is_chosen_with_its_variants(context):
    config = context.config_loader.load_configuration("cnn", ["figure=fig3_first_epochs"], RunMode.MULTIRUN)
    jobs = jobs_of(context, config=config, arguments=["arm=matched", "curve=adam", "seed=0"])
    assert [job[1] for job in jobs] == [f"matched=fig3_first_epochs/{name}" for name in ("adam", "adam+dropout")]


def test_values_that_a_grid_has_choose_points_of_it(context):
    given = ["arm=grid", "optimizer.beta1=0.9", "optimizer.beta2=0.999,0.9999", "optimizer.lr=1e-3", "seed=0"]
    config = context.config_loader.load_configuration("vae", ["figure=fig4", "scale=smoke"], RunMode.MULTIRUN)
    jobs = jobs_of(context, config=config, arguments=given)
    assert len(jobs) == 4, "with bias correction and without"
    assert {part for job in jobs for part in job if "lr" in part or "beta1" in part} == {
        "optimizer.lr=0.001",
        "optimizer.beta1=0.9",
    }
    assert len(jobs_of(context, config=config, arguments=["arm=grid", "optimizer.beta1=0", "seed=0", *given[2:4]])) == 4
    with pytest.raises(UserError, match="optimizer.lr=0.002 cannot be given with a figure.* values that it has"):
        jobs_of(context, config=config, arguments=["arm=grid", "optimizer.lr=0.002"])


def test_a_scale_caps_seeds_and_thins_grids(context):
    jobs = jobs_of(context, FIGURE, "scale=smoke", arguments=["arm=grid", "curve=adam"])
    chosen = [[part for part in job if part.startswith(("optimizer.lr", "seed"))] for job in jobs]
    assert chosen == [[f"optimizer.lr={lr}", f"seed={seed}"] for lr in ("0.001", "0.1") for seed in (0, 1)]


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("arm=best", "arm=best is not allowed: fig1_mnist has tuned, default, matched, grid"),
        ("curve=adamw", "curve=adamw names no curve of fig1_mnist"),
        (
            "curve=adam,adagard,SGD",
            "curve=adagard,SGD names .* arm=tuned,.*grid: there are adam, sgd_nesterov, adagrad,",
        ),
        ("optimizer=adam", "optimizer=adam cannot be given with a figure"),
        ("optimizer.lr=1", "optimizer.lr=1 cannot be given with a figure"),
    ],
)
def test_what_a_figure_cannot_use_is_refused(context, argument, message):
    with pytest.raises(UserError, match=message):
        jobs_of(context, FIGURE, arguments=[argument])


def test_without_a_figure_a_sweep_is_hydras_own_product(context):
    jobs = jobs_of(context, arguments=["optimizer=adam,adagrad", "optimizer.lr=1e-3,1e-2", "seed=range(3)"])
    assert len(jobs) == 12
    assert ["optimizer.lr=0.01", "optimizer=adagrad", "seed=2"] in jobs


@pytest.mark.parametrize(
    "overrides",
    [
        ["optimizer=adagrad", "optimizer.lr=1e-4", "seed=2"],
        ["seed=1", "schedule=inverse_sqrt_step", "+optimizer.amsgrad=true", "l2=1e-3"],
        ["tuned=fig1_mnist/adam", "seed=1", "arm=tuned"],
        ["optimizer=external", "optimizer._target_=torch.optim.NAdam", "+optimizer.betas=[.9,.99]"],
    ],
)
def test_a_jobs_configuration_is_what_hydra_would_compose(context, overrides):
    config = multirun(context, "scale=smoke", *(["figure=fig1_mnist"] if "tuned=" in overrides[0] else []))
    launcher = PopulationLauncher()
    launcher.setup(hydra_context=context, task_function=lambda cfg: None, config=copy.deepcopy(config))
    launcher._compose(["seed=7", *overrides[:1]])  # fills the launcher's store of compositions
    ours = launcher._compose(overrides)
    theirs = context.config_loader.load_sweep_config(config, overrides)
    keys = [key for key in theirs if key != "hydra"]
    assert OmegaConf.to_yaml(ours) == OmegaConf.to_yaml(OmegaConf.masked_copy(theirs, keys))
