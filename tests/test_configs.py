import inspect
import math
import re
import shlex
from pathlib import Path

import pytest
import yaml
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.utils import get_class, instantiate

from adam_repro.analysis.captions import CAPTIONS
from adam_repro.analysis.claims.comparisons import PASSES
from adam_repro.analysis.curves import paper_curves
from adam_repro.analysis.figures.panels import FRAMES
from adam_repro.app import CONFIGS, compose
from adam_repro.building import build_model, build_optimizer
from adam_repro.errors import NothingToDo
from adam_repro.optimizers import OPTIMIZERS
from adam_repro.protocol import Grid, check_budgets
from adam_repro.run import prepare
from adam_repro.search import Trials, experiment_of, figures, node_of
from adam_repro.surroundings import PROJECT_ROOT

README = PROJECT_ROOT / "README.md"
STAND_IN = "dataset.stand_in=only"
TRIALS = 24
NOT_TUNED = ("external", "sfo")  # the first is any optimizer, the second has nothing to tune


def options(group):
    return sorted(path.stem for path in (CONFIGS / group).glob("*.yaml"))


def settings_files(kind):
    return sorted((CONFIGS / kind).glob("*/*.yaml"))


@pytest.mark.parametrize("name", [name for name in options("optimizer") if name != "external"])
def test_every_optimizer_config_builds_its_optimizer_with_the_settings_it_shows(name):
    cfg = compose("logistic_regression", [f"optimizer={name}", STAND_IN])
    config = prepare(cfg).config
    optimizer = build_optimizer(config, build_model(config))
    (group,) = optimizer.param_groups
    left = {"frozen_after": math.ceil(config["dataset"]["train_examples"] / config["batch_size"])}  # to the run
    shown = {key: value for key, value in cfg.optimizer.items() if key not in ("_target_", "search")}
    assert {key: group[key] for key in shown} == {key: left[key] if shown[key] is None else shown[key] for key in shown}


@pytest.mark.parametrize("name", [name for name in options("optimizer") if name != "external"])
def test_every_optimizer_config_shows_the_defaults_of_its_class(name):
    node = yaml.safe_load((CONFIGS / "optimizer" / f"{name}.yaml").read_text())
    parameters = inspect.signature(get_class(node["_target_"])).parameters
    numbers = {key: value for key, value in node.items() if value is not None}  # null is left to the run
    shown = {key: float(value) for key, value in numbers.items() if key not in ("_target_", "search")}
    assert shown == {key: parameters[key].default for key in shown}


@pytest.mark.parametrize("name", [name for name in options("optimizer") if name not in NOT_TUNED])
def test_every_optimizer_gets_the_same_number_of_trials(name):
    search = yaml.safe_load((CONFIGS / "optimizer" / f"{name}.yaml").read_text())["search"]
    search["lr"] = [float(lr) for lr in search["lr"]]
    assert len(Grid.of(search, name=name).trials()) == TRIALS


def test_every_optimizer_class_has_a_config():
    shown = {yaml.safe_load(path.read_text())["_target_"] for path in (CONFIGS / "optimizer").glob("*.yaml")}
    assert shown >= {f"{rule.__module__.rpartition('.')[0]}.{rule.__name__}" for rule in OPTIMIZERS}


@pytest.mark.parametrize("name", options("schedule"))
def test_every_schedule_starts_at_one_but_what_stands_for_a_missing_correction(name):
    schedule = instantiate(compose("logistic_regression", [f"schedule={name}"]).schedule)
    assert schedule(1, 1) == (pytest.approx(10**0.5) if name == "missing_correction" else 1.0)


@pytest.mark.parametrize(
    ("scale", "epochs", "train_examples"), [("smoke", 2, 2000), ("quick", 20, 12000), ("paper", 46, 12000)]
)
def test_the_scale_takes_effect_under_a_figure(scale, epochs, train_examples):
    cfg = compose("logistic_regression", ["figure=fig1_mnist", "tuned=fig1_mnist/adam", f"scale={scale}", STAND_IN])
    config = prepare(cfg).config
    assert (config["epochs"], config["dataset"]["train_examples"]) == (epochs, train_examples)


@pytest.mark.parametrize("figure", figures())
def test_a_figure_says_which_command_draws_it_and_has_settings_for_its_curves(figure):
    path = CONFIGS / "figure" / f"{figure}.yaml"
    package, command = path.read_text().splitlines()[:2]
    assert package == "# @package _global_"
    node = yaml.safe_load(path.read_text())
    experiment = node["figure"]["experiment"]
    assert command == f"# python experiments/{experiment}.py figure={figure}"
    assert (CONFIGS.parent / "experiments" / f"{experiment}.py").exists()
    panel = node["figure"]["panel"]
    assert panel is None or len(paper_curves(panel)) > 0
    for arm in node["hydra"]["sweeper"]["arms"].values():
        for kind in ("tuned", "matched"):
            for name in arm[kind].split(",") if kind in arm else ():
                assert (CONFIGS / kind / f"{name}.yaml").exists(), name


@pytest.mark.parametrize("figure", [figure for figure in figures() if "tuned_by" not in node_of(figure)])
def test_every_optimizer_of_a_figure_gets_the_same_number_of_trials(figure):
    trials = Trials(figure, scale="paper", arm="tuning", overrides=[STAND_IN])
    grids = {curve: Grid.of(search, name=curve) for curve, search in trials.search.items()}
    least = {"fig3_first_epochs": 6}  # a trial of its four passes takes minutes, and its steps are constant
    assert check_budgets(grids) >= least.get(figure, 12)


def test_a_figure_with_the_settings_of_another_is_neither_tuned_nor_matched_nor_compared_with():
    for arm in ("tuning", "matching"):
        with pytest.raises(NothingToDo, match="fig3_full has the settings of .* give FIGURE=fig3_first_epochs"):
            Trials("fig3_full", scale="paper", arm=arm, overrides=[STAND_IN])


@pytest.mark.parametrize(
    "path", [*settings_files("tuned"), *settings_files("matched")], ids=lambda path: "/".join(path.parts[-3:])
)
def test_every_chosen_setting_composes_and_is_what_its_file_says(path: Path):
    kind, figure, curve = path.parts[-3], path.parts[-2], path.stem
    experiment = experiment_of(figure)
    cfg = compose(experiment, [f"figure={figure}", f"{kind}={figure}/{curve}", STAND_IN])
    node = yaml.safe_load(path.read_text())
    assert {key: cfg.optimizer[key] for key in node["optimizer"]} == node["optimizer"]
    optimizer = curve.partition("+")[0]  # what stands behind it is a variant of the figure's curves
    assert cfg.optimizer._target_ == compose(experiment, [f"optimizer={optimizer}"]).optimizer._target_
    assert cfg.variant == curve.removeprefix(optimizer)
    if kind == "tuned":
        assert cfg.tuned_at == node["tuned_at"] > 0
        assert "l2" not in node, "L2 belongs to the objective: it is never tuned"


@pytest.mark.parametrize("command", re.findall(r"^    python (experiments/.+)$", README.read_text(), re.M))
def test_a_command_of_the_readme_composes_and_its_runs_can_be_made(command):
    script, *words = shlex.split(command)
    given = OverridesParser.create().parse_overrides([word for word in words if word not in ("-m", "--dry-run")])
    each = [next(one.sweep_string_iterator()) if one.is_sweep_override() else one.get_value_string() for one in given]
    overrides = [f"{one.input_line.partition('=')[0]}={value}" for one, value in zip(given, each, strict=True)]
    assert (PROJECT_ROOT / script).is_file()
    cfg = compose(Path(script).stem, [*overrides, STAND_IN])
    assert cfg.figure is not None or prepare(cfg).config["epochs"] > 0, "a figure's arms have the settings of its runs"


def test_the_readme_has_commands():
    assert len(re.findall(r"^    python experiments/", README.read_text(), re.M)) >= 5


@pytest.mark.parametrize("figure", figures())
def test_a_figure_has_one_title_wherever_it_is_named(figure):
    assert node_of(figure)["title"] == CAPTIONS[figure].title


@pytest.mark.parametrize("figure", figures())
def test_a_figure_lies_over_the_panel_and_has_the_length_that_its_config_says(figure):
    panel = FRAMES[figure].panel if figure in FRAMES else None
    assert panel == node_of(figure)["panel"]
    assert PASSES[figure] == compose(experiment_of(figure), [f"figure={figure}"]).epochs


def test_no_frame_and_no_length_is_of_a_figure_that_has_no_config():
    assert set(FRAMES) <= set(PASSES) == set(figures())
