"""What tables of trials say: settings that tuning chose, settings that matching recovered."""

import math
import re

import pandas as pd
import pytest
import yaml

from adam_repro.analysis import trials
from adam_repro.surroundings import PROJECT_ROOT

REFERENCE = PROJECT_ROOT / "results" / "reference"
PLOTTED = ("data", "objective")
TUNING = ["curve", "lr", "schedule", "extension", "seed", "status", "train_cost", "momentum"]
MATCHING = ["curve", "plotted", "distance", "train_cost", "seeds", "lr", "schedule", "l2", "momentum"]


def tuning(rows):
    """(curve, lr, momentum, costs over seeds) for each trial."""
    return pd.DataFrame(
        [
            [curve, lr, "constant", 0, 100 + seed, "diverged" if math.isnan(cost) else "finished", cost, momentum]
            for curve, lr, momentum, costs in rows
            for seed, cost in enumerate(costs)
        ],
        columns=TUNING,
    )


def matching(rows):
    """(curve, plotted, distance, lr, schedule, l2) for each setting."""
    return pd.DataFrame(
        [
            [curve, plotted, distance, 0.3, 1, lr, schedule, l2, math.nan]
            for curve, plotted, distance, lr, schedule, l2 in rows
        ],
        columns=MATCHING,
    )


def committed(kind, figure, curve):
    """The text of a committed settings' file, and its settings."""
    optimizer, plus, variant = curve.partition("+")
    (name,) = (name for name, label in trials.LABELS.items() if label == optimizer)
    text = (PROJECT_ROOT / "configs" / kind / figure / f"{name}{plus}{variant}.yaml").read_text()
    node = yaml.safe_load(text)
    (schedule,) = (group["override /schedule"] for group in node["defaults"] if "override /schedule" in group)
    return text, {**node, **node["optimizer"], "schedule": schedule}


def test_the_choice_is_the_least_mean_over_seeds_and_the_next_best_stands_beside_it():
    lrs = [("adam", 0.01, math.nan, [0.3, 0.3]), ("adam", 0.1, math.nan, [0.1, 0.4]), ("adam", 1, math.nan, [0.2, 0.2])]
    (choice,) = trials.choices(tuning(lrs))
    assert choice.curve == "Adam" and choice.settings == {"lr": 1, "schedule": "constant"}
    assert choice.cost == pytest.approx(0.2) and choice.next_cost == pytest.approx(0.25)
    assert choice.next_settings["lr"] == 0.1 and choice.trials == 3 and choice.on_edge


def test_a_trial_that_diverged_on_one_seed_is_not_chosen():
    lrs = [("adam", 0.01, 0.9, [0.3, 0.3]), ("adam", 0.1, 0.9, [0.1, math.nan]), ("adam", 1, 0.9, [0.5, 0.5])]
    (choice,) = trials.choices(tuning(lrs))
    assert choice.settings["lr"] == 0.01 and choice.diverged == 1 and choice.on_edge


def test_sensitivity_is_the_least_cost_a_third_and_a_tenth_away_over_that_of_the_chosen_rate():
    rows = [
        ("sgd_nesterov", 0.003, 0.9, [0.9, 0.7]),
        ("sgd_nesterov", 0.01, 0.9, [0.5, 0.5]),
        ("sgd_nesterov", 0.01, 0.99, [0.2, 0.6]),
        ("sgd_nesterov", 0.03, 0.9, [0.2, 0.2]),
        ("sgd_nesterov", 0.1, 0.9, [0.1, math.nan]),
    ]
    (choice,) = trials.choices(tuning(rows))
    assert choice.settings["lr"] == 0.03
    assert choice.sensitivity == [pytest.approx(4), pytest.approx(2), math.inf, None]


def test_optimizers_with_momentum_and_without_share_a_table():
    lrs = (0.1, 0.2, 0.3)
    rows = [("adam", lr, math.nan, [lr]) for lr in lrs]
    rows += [("sgd_nesterov", lr, mu, [abs(lr - 0.2) + mu]) for lr in lrs for mu in (0.9, 0.99)]
    adam, sgd = trials.choices(tuning(rows))
    assert "momentum" not in adam.settings and adam.trials == 3
    assert sgd.settings == {"lr": 0.2, "schedule": "constant", "momentum": 0.9} and not sgd.on_edge


@pytest.mark.parametrize("figure", [path.parent.name for path in sorted(REFERENCE.glob("*/tuning.csv"))])
def test_the_choices_are_those_that_were_committed(figure):
    for choice in trials.choices(pd.read_csv(REFERENCE / figure / "tuning.csv")):
        text, settings = committed("tuned", figure, choice.curve)
        assert choice.settings == {name: settings[name] for name in choice.settings}
        assert choice.on_edge == settings["on_grid_edge"]
        assert f"lowest training cost, {choice.cost:.4f} " in text


def test_runners_up_differ_in_schedule_l2_or_plotted_cost():
    (found,) = trials.recovered(
        matching(
            [
                ("adam", "data", 0.30, 1.0, "constant", 1e-4),
                ("adam", "data", 0.01, 0.1, "constant", 1e-4),
                ("adam", "data", 0.02, 0.3, "constant", 1e-4),
                ("adam", "objective", 0.03, 0.1, "constant", 1e-4),
                ("adam", "data", 0.04, 0.1, "inverse_sqrt_step", 1e-4),
                ("adam", "data", 0.05, 0.1, "constant", 1e-3),
                ("adam", "data", 0.06, 0.1, "inverse_sqrt_step", 1e-3),
            ]
        )
    )
    assert found.nearest == trials.Match({"lr": 0.1, "schedule": "constant", "l2": 1e-4}, "data", 0.01)
    assert [match.distance for match in found.runners_up] == [0.03, 0.04, 0.05]


def test_without_a_penalty_both_readings_of_the_cost_are_one():
    rows = [("adam", what, 0.01, 0.1, "constant", 0.0) for what in PLOTTED]
    rows += [("adam", what, 0.02, 0.1, "constant", 1e-4) for what in PLOTTED]
    (found,) = trials.recovered(matching(rows))
    assert (found.nearest.plotted, found.runners_up[0].settings["l2"]) == (trials.EITHER, 1e-4)
    assert "plotted" not in found.factors


def test_dropout_rates_are_ranked_by_what_suits_all_curves_together():
    rows = [("sgd_nesterov", 0.0, 0.5, 0.3), ("adam", 0.0, 0.5, 0.4), ("sgd_nesterov", 0.2, 0.5, 0.5)]
    rows += [("adam", 0.2, 0.5, 0.0), ("sgd_nesterov", 0.5, 0.5, math.inf), ("adam", 0.5, 0.5, 0.1)]
    found = trials.dropout_rates(pd.DataFrame(rows, columns=["curve", "input_dropout", "hidden_dropout", "distance"]))
    assert [(rates.input, rates.hidden) for rates in found] == [(0, 0.5), (0.2, 0.5), (0.5, 0.5)]
    assert list(found[0].distances.items()) == [("SGDNesterov", 0.3), ("Adam", 0.4)]
    assert found[0].together == pytest.approx(math.sqrt((0.3**2 + 0.4**2) / 2))
    assert trials.distance_in_words(found[-1].together) == "diverged"


def test_how_sharply_a_choice_is_told_is_how_far_off_all_others_are():
    (found,) = trials.recovered(
        matching(
            [
                ("adam", "data", 0.010, 0.1, "constant", 1e-4),
                ("adam", "data", 0.015, 0.3, "constant", 1e-4),
                ("adam", "objective", 0.0105, 0.1, "constant", 1e-4),
                ("adam", "data", 0.030, 0.3, "inverse_sqrt_step", 1e-4),
                ("adam", "data", math.inf, 0.3, "inverse_sqrt_epoch", 1e-4),
            ]
        )
    )
    assert {name: factor.decided for name, factor in found.factors.items()} == {
        "lr": "weakly",
        "schedule": "sharply",
        "plotted": "open",
    }
    assert found.factors["schedule"].rival == "inverse_sqrt_step"
    assert found.factors["schedule"].ratio == pytest.approx(3)


def test_a_rival_that_reaches_no_level_is_told():
    tried = pd.read_csv(REFERENCE / "fig2_dropout" / "matching.csv")
    tried = tried[tried["schedule"] != "inverse_sqrt_epoch"]  # with which AdaGrad reaches some levels
    found = trials.recovered(tried, "2a")
    (adagrad,) = (each for each in found if each.curve == "AdaGrad")
    assert adagrad.factors["schedule"].missed and not adagrad.factors["lr"].missed
    without = trials.recovered(tried)
    assert not any(factor.missed for each in without for factor in each.factors.values())


def test_one_objective_for_all_curves_is_the_best_of_those_that_all_have():
    rows = [
        ("adam", "data", 0.01, 0.1, "constant", 1e-4),
        ("adam", "data", 0.02, 0.1, "constant", 1e-3),
        ("adagrad", "data", 0.20, 0.1, "constant", 1e-4),
        ("adagrad", "data", 0.05, 0.1, "constant", 1e-3),
        ("adagrad", "data", 0.01, 0.1, "constant", 3e-3),
    ]
    adam, adagrad = trials.recovered(matching(rows))
    assert (adam.nearest.settings["l2"], adagrad.nearest.settings["l2"]) == (1e-4, 3e-3)
    assert (adam.shared.settings["l2"], adagrad.shared.settings["l2"]) == (1e-3, 1e-3)


@pytest.mark.parametrize("figure", [path.parent.name for path in sorted(REFERENCE.glob("*/matching.csv"))])
def test_the_recovered_settings_are_those_that_were_committed(figure):
    for found in trials.recovered(pd.read_csv(REFERENCE / figure / "matching.csv")):
        text, settings = committed("matched", figure, found.curve)
        assert found.nearest.settings == {name: settings[name] for name in found.nearest.settings}
        assert re.search(rf"of the ratio (of passes .* )?{found.nearest.distance:.4f},", text)
        assert f"#   {found.shared.distance:.4f}" in text.split("one plotted cost:\n")[1]


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"lr": 0.1, "schedule": "inverse_sqrt_step"}, "lr 0.1/√t"),
        (
            {"lr": 0.01, "schedule": "constant", "l2": 1e-4, "momentum": 0.9},
            "lr 0.01 constant, momentum 0.9, L2 0.0001",
        ),
        ({"lr": 3.0, "beta1": 0.0, "schedule": "inverse_sqrt_epoch"}, "lr 3/√epoch, beta1 0"),
    ],
)
def test_settings_in_words(settings, words):
    assert trials.in_words(settings) == words


def test_a_curves_name_keeps_its_variant():
    assert [trials.label(name) for name in ("adam", "adam+dropout", "mine+x")] == ["Adam", "Adam+dropout", "mine+x"]


def test_the_passes_that_were_compared_stand_in_the_file_where_costs_were_not():
    rows = pd.DataFrame([("adam", "data", 0.1, 0.2, 1, 0.001, "constant", 0.0, math.nan)], columns=MATCHING)
    assert trials.compared_passes(rows) is None
    assert trials.compared_passes(rows.assign(passes=math.nan)) is None
    assert trials.compared_passes(rows.assign(passes=10)) == 10
