import math

import numpy as np
import pandas as pd
import pytest

from adam_repro.matching import (
    DROPOUT_RATES,
    L2,
    SCHEDULES,
    distance,
    distance_in_passes,
    distance_of_a_miss,
    family,
    levels,
    plotted,
    refined,
    with_dropout_rates,
)
from adam_repro.protocol import Grid


def curve(costs, penalty=0.0):
    return pd.DataFrame({"epoch": range(len(costs)), "train_cost": costs, "l2_penalty": penalty})


def test_the_family_is_every_lr_momentum_schedule_and_l2():
    settings = family(Grid((0.1, 0.3), {"schedule": ("constant",), "momentum": (0.9, 0.99)}))
    assert len(settings) == 2 * 2 * len(SCHEDULES) * len(L2)
    assert {"lr": 0.3, "momentum": 0.99, "schedule": "inverse_sqrt_epoch", "l2": 1e-3} in settings


def test_the_second_round_stays_within_half_a_decade_of_the_nearest():
    settings = refined({"lr": 0.1, "schedule": "constant", "l2": 1e-4})
    assert {round(setting["l2"], 8) for setting in settings} == {3.33e-5, 1e-4, 3e-4}
    assert 0.1 / math.sqrt(10) < min(setting["lr"] for setting in settings)
    assert max(setting["lr"] for setting in settings) < 0.1 * math.sqrt(10)


def test_without_l2_the_second_round_stays_without():
    assert {setting["l2"] for setting in refined({"lr": 0.1, "schedule": "constant", "l2": 0.0})} == {0.0}


def test_dropout_rates_are_tried_with_what_is_nearest_otherwise():
    settings = with_dropout_rates({"lr": 0.1, "schedule": "constant", "l2": 0.0})
    assert {(each["input_dropout"], each["hidden_dropout"]) for each in settings} == set(DROPOUT_RATES)
    assert all(each["lr"] == 0.1 and each["schedule"] == "constant" for each in settings)


def test_the_first_pass_is_drawn_at_x_0_and_runs_are_averaged_in_the_logarithm():
    ours = plotted([curve([math.nan, 1.0, 0.5]), curve([math.nan, 4.0, 0.5])], "data")
    assert ours.to_dict() == {0: pytest.approx(2.0), 1: pytest.approx(0.5)}


def test_the_objective_includes_the_penalty():
    assert plotted([curve([math.nan, 1.0], penalty=0.25)], "objective").tolist() == [pytest.approx(1.25)]


def test_the_distance_is_the_root_mean_square_log_ratio_over_shared_points():
    printed = pd.Series({6: 1.0, 7: 1.0, 46: 9.0})
    ours = pd.Series({5: 7.0, 6: math.e, 7: math.e**-3})
    assert distance(ours, printed) == pytest.approx(np.sqrt((1 + 9) / 2))


HALVES = pd.Series([1.0, 0.5, 0.25, 0.125], index=[0, 1, 2, 3])


def test_a_curve_that_takes_twice_the_passes_is_ln_2_away():
    slow = pd.Series(HALVES.to_numpy(), index=[1, 3, 5, 7])  # the same levels after 2, 4, 6 and 8 passes
    assert distance_in_passes(slow, HALVES) == pytest.approx(math.log(2))
    assert distance_in_passes(HALVES, HALVES) == 0


def test_a_level_between_two_passes_is_reached_between_them():
    printed = pd.Series([0.75, 0.25], index=[0, 2])
    first = 1 + math.log(1 / 0.75) / math.log(2)  # passes of ours until 0.75; 0.25 takes three, as in print
    assert distance_in_passes(HALVES, printed) == pytest.approx(np.sqrt(math.log(first) ** 2 / 2))


def test_a_level_that_is_missed_counts_a_pass_beyond_the_last_and_one_that_is_begun_below_the_first_pass():
    stays = pd.Series([0.75, 2.0, 2.0, 2.0], index=[0, 1, 2, 3])
    missed = [math.log(5 / passes) for passes in (2, 3, 4)]
    assert distance_in_passes(stays, HALVES) == pytest.approx(np.sqrt(np.square(missed).sum() / 4))


def test_all_runs_that_reach_no_level_are_equally_far():
    stays = pd.Series([9.0, 8.0, 7.0, 6.0], index=[0, 1, 2, 3])
    assert distance_in_passes(stays, HALVES) == pytest.approx(distance_of_a_miss(HALVES, passes=4))
    assert distance_of_a_miss(HALVES, passes=4) == pytest.approx(
        np.sqrt(np.mean([math.log(5 / passes) ** 2 for passes in (1, 2, 3, 4)]))
    )


def test_levels_are_printed_costs_below_all_before_them_within_the_passes_of_ours():
    printed = pd.Series([1.0, 0.5, 3.0, 0.4, 0.1], index=[0, 1, 2, 3, 9])
    assert levels(printed, passes=4).to_dict() == {0: 1.0, 1: 0.5, 3: 0.4}
    assert levels(printed, passes=10).iloc[-1] == 0.1


def test_without_a_level_the_distance_is_infinite():
    late = pd.Series([0.1], index=[9])
    assert distance_in_passes(HALVES, late) == distance_of_a_miss(late, passes=4) == math.inf
