"""Tuning by a figure's own plan: shorter trials and narrower grids; settings that were written compose again."""

from __future__ import annotations

import re
import sys

import pytest
import yaml
from omegaconf import OmegaConf
from tiny_data import OVERRIDES

from adam_repro import records, search
from adam_repro.app import compose
from adam_repro.errors import UserError
from adam_repro.matching import SCHEDULES
from adam_repro.protocol import MOST_EXTENSIONS, TUNING_SEEDS, Grid
from adam_repro.run import execute
from adam_repro.search import Plan, Trials, chosen_figures, write_settings

IMAGES = ["dataset._target_=tiny_data.load_images", "results=unused"]


@pytest.fixture(scope="module")
def cnn():
    return Trials("fig3_first_epochs", scale="paper", arm="tuning", overrides=IMAGES)


def test_a_figure_without_a_plan_is_tuned_at_its_own_length_on_every_tuning_seed():
    trials = Trials("fig1_mnist", scale="paper", arm="tuning", overrides=["dataset._target_=tiny_data.load"])
    assert trials.plan == Plan() == Plan(None, None, len(TUNING_SEEDS), MOST_EXTENSIONS, {})
    assert trials.epochs == 46
    own = yaml.safe_load(OmegaConf.to_yaml(compose("logistic_regression", ["optimizer=adam"]).optimizer.search))
    assert trials.search["adam"] == own


def test_a_plan_takes_the_place_of_the_figures_length_and_narrows_its_grids(cnn):
    assert (cnn.epochs, cnn.plan.epochs, cnn.plan.train_examples, cnn.plan.seeds) == (4, 4, 12500, 1)
    assert cnn.search["adam"] == {"lr": [1e-5, 3e-5, 1e-4, 3e-4, 1e-3, 3e-3], "schedule": ["constant"]}
    assert cnn.search["sgd_nesterov"]["momentum"] == [0.9, 0.99]


def test_trials_that_are_compared_with_printed_curves_take_every_example(cnn):
    matching = Trials("fig3_first_epochs", scale="paper", arm="matching", overrides=IMAGES)
    assert (matching.epochs, matching.runs.base.train_examples, matching.search) == (4, None, cnn.search)


@pytest.mark.parametrize(("figure", "passes"), [("fig2_dropout", 10), ("fig2_deterministic", 26)])
def test_printed_curves_may_have_a_plan_of_their_own_which_tries_every_schedule(figure, passes):
    overrides = ["dataset._target_=tiny_data.load", "results=unused"]
    matching = Trials(figure, scale="paper", arm="matching", overrides=overrides)
    assert (matching.epochs, matching.plan.seeds) == (passes, 1)
    tuning = Trials(figure, scale="paper", arm="tuning", overrides=overrides)
    assert (tuning.epochs, tuning.plan.extensions) == (10, 1), "what is tuned stays as it was"
    for curve in matching.plan.search:
        grid = Grid.of(matching.search[curve], name=curve)
        assert set(grid.others["schedule"]) == set(SCHEDULES)
        assert len(grid.trials()) == 12


def test_what_the_plan_does_not_name_stays():
    search = Trials("fig2_dropout", scale="paper", arm="tuning", overrides=["dataset._target_=tiny_data.load"]).search
    assert search["adam"]["lr"] == [1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2]
    assert search["adam"]["schedule"] == ["constant", "inverse_sqrt_step"]


def test_a_scale_that_is_shorter_than_the_plan_is_kept_to():
    assert Trials("fig3_first_epochs", scale="smoke", arm="tuning", overrides=IMAGES).epochs == 1


def test_a_trial_is_a_run_of_the_plans_length_with_the_settings_that_are_tried(cnn):
    job = cnn.runs.job("adam", {"lr": 0.03, "schedule": "inverse_sqrt_step"}, 100)
    assert job.config["optimizer"]["_target_"] == "adam_repro.optimizers.Adam"
    assert (job.lr, job.config["epochs"], job.config["seed"]) == (0.03, 4, 100)
    assert job.config["schedule"]["_target_"].endswith("inverse_sqrt_step")
    assert job.config["dataset"]["train_examples"] == 16, "all there are, where the plan asks for more"
    assert cnn.runs.job("adam", {"lr": 0.1, "schedule": "constant", "l2": 0.5}, 101).config["l2"] == 0.5


@pytest.fixture
def worked(monkeypatch):
    """Gives the command line of a script some arguments, and tells what it worked on."""
    for name in ("settle_process", "stop_by_signals"):  # this process has its own settings and signals
        monkeypatch.setattr(search, name, lambda: None)

    def command(*arguments, arm="tuning"):
        monkeypatch.setattr(sys, "argv", ["tune.py", *arguments])
        found = []
        search.command("", arm=arm, work=found.append)
        return found

    return command


@pytest.mark.parametrize(
    ("override", "remedy"),
    [
        ("epochs=20", "figure.tuning.epochs=20"),
        ("++epochs=20", "figure.tuning.epochs=20"),
        ("train_examples=50", "figure.tuning.train_examples=50"),
        ("scale.max_test=50", "figure.tuning.train_examples=50"),
    ],
)
def test_an_override_of_what_the_plan_sets_is_refused_with_its_remedy(worked, capsys, override, remedy):
    given = ["--figure", "fig1_mnist,fig4", *IMAGES[1:]]
    with pytest.raises(SystemExit):
        worked(*given, override)
    told = capsys.readouterr().err
    key, _, value = override.lstrip("+").partition("=")
    assert f"{key}={value} would change nothing: for trials of fig4 the plan" in told and f"Give {remedy} in" in told
    if override == "epochs=20":
        with pytest.raises(SystemExit):
            worked("--figure", "fig2_dropout", *IMAGES[1:], override, arm="matching")
        assert "Give figure.matching.epochs=20 in" in capsys.readouterr().err
        (trials,) = worked("--figure", "fig4", *IMAGES[1:], remedy)
        assert trials.epochs == 20


def test_an_override_of_what_no_plan_sets_holds(worked):
    (trials,) = worked("--figure", "fig1_mnist", *IMAGES[1:], "epochs=20")
    assert trials.epochs == 20
    (trials,) = worked("--figure", "fig4", *IMAGES[1:], "train_examples=50", arm="matching")
    assert trials.runs.base.train_examples == 50
    (trials,) = worked("--figure", "fig4", *IMAGES[1:], "figure.tuning.epochs=null", "epochs=20")
    assert trials.epochs == 20


def test_the_index_names_the_trials_of_all_rounds(tmp_path, monkeypatch):
    def train_here(jobs, workers):
        for job in jobs:
            execute([job])
        return {}

    monkeypatch.setattr("adam_repro.sweep.train_here", train_here)
    overrides = [*OVERRIDES, "epochs=1", f"results={tmp_path}", "tracking.mode=disabled"]
    trials = Trials("fig1_mnist", scale="paper", arm="tuning", overrides=overrides)
    for rates in ([1e-3, 3e-3], [3e-3, 1e-2]):
        asked = [("adam", {"lr": lr, "schedule": "constant"}) for lr in rates]
        assert [found.config["optimizer"]["lr"] for (found,) in trials.run(asked, [100])] == rates
    entries = records.read_index(tmp_path / "paper" / "fig1_mnist" / "tuning" / "index.csv")
    assert [re.search("lr([^_]*)_", entry["record"])[1] for entry in entries] == ["0.001", "0.003", "0.01"]


def test_settings_that_were_written_compose_to_what_was_chosen(tmp_path):
    path = tmp_path / "tuned" / "made_up" / "rmsprop.yaml"
    settings = {"lr": 0.3, "rho": 0.5, "schedule": "inverse_sqrt_step", "l2": 0.25}
    labels = {"tuned_at": 2, "tuned_on": 2560, "on_grid_edge": True}
    write_settings(path, curve="rmsprop", settings=settings, labels=labels, why=["Because.", "Of this."])
    assert path.read_text().splitlines()[:3] == ["# @package _global_", "# Because.", "# Of this."]
    found = compose("cnn", [f"hydra.searchpath=[file://{tmp_path}]", "tuned=made_up/rmsprop"])
    assert found.optimizer._target_ == "adam_repro.optimizers.RMSProp"
    assert (found.optimizer.lr, found.optimizer.rho, found.l2) == (0.3, 0.5, 0.25)
    assert found.schedule._target_.endswith("inverse_sqrt_step")
    assert (found.tuned_at, found.tuned_on, found.on_grid_edge) == (2, 2560, True)
    assert settings["schedule"] == "inverse_sqrt_step", "what was given is left as it was"


def test_settings_of_a_curve_with_dropout_say_so(tmp_path):
    path = tmp_path / "matched" / "made_up" / "adam+dropout.yaml"
    settings = {"lr": 0.3, "schedule": "constant"}
    write_settings(path, curve="adam", settings=settings, labels={}, why=[], dropout="with")
    found = compose("cnn", [f"hydra.searchpath=[file://{tmp_path}]", "matched=made_up/adam+dropout"])
    assert (found.variant, found.model.hidden_dropout) == ("+dropout", 0.5)


def test_figures_are_chosen_by_name_and_unknown_ones_refused_with_those_that_exist():
    assert chosen_figures("fig4,fig1_mnist") == ["fig4", "fig1_mnist"]
    assert {"fig1_imdb", "fig4"} <= set(chosen_figures("all"))
    with pytest.raises(UserError, match="FIGURE=fig9 is not known. Give all, or some of fig1_imdb"):
        chosen_figures("fig4,fig9")
