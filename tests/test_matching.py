import math

import numpy as np
import pandas as pd
import pytest

from adam_repro.matching import L2, SCHEDULES, distance, distance_in_passes, family, plotted, refined
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


def test_the_first_pass_is_drawn_at_x_0_and_runs_are_averaged_in_the_logarithm():
    ours = plotted([curve([math.nan, 1.0, 0.5]), curve([math.nan, 4.0, 0.5])], "data")
    assert ours.to_dict() == {0: pytest.approx(2.0), 1: pytest.approx(0.5)}


def test_the_objective_includes_the_penalty():
    assert plotted([curve([math.nan, 1.0], penalty=0.25)], "objective").tolist() == [pytest.approx(1.25)]


def test_the_distance_is_the_root_mean_square_log_ratio_over_shared_points():
    printed = pd.Series({6: 1.0, 7: 1.0, 46: 9.0})
    ours = pd.Series({5: 7.0, 6: math.e, 7: math.e**-3})
    assert distance(ours, printed) == pytest.approx(np.sqrt((1 + 9) / 2))


def falling(passes, by=0.5, start=1.0):
    """A cost that is multiplied by ``by`` in every pass."""
    return pd.Series(start * by ** np.arange(passes), index=np.arange(passes))


def test_a_curve_that_takes_twice_the_passes_is_ln_2_away_whichever_is_ours():
    fast = pd.Series([1.0, 0.5, 0.25, 0.125], index=[0, 1, 2, 3])
    slow = pd.Series([1.0, 0.5, 0.25, 0.125], index=[1, 3, 5, 7])  # the same levels after 2, 4, 6 and 8 passes
    assert distance_in_passes(slow, fast) == pytest.approx(math.log(2))
    assert distance_in_passes(fast, slow) == pytest.approx(math.log(2))


def test_a_level_between_two_passes_is_reached_between_them():
    ours, printed = falling(3), pd.Series([0.75, 0.25], index=[0, 2])
    first = math.log(1 / 0.75) / math.log(2) + 1  # ours at the printed curve's first level; at 0.5 printed is later
    second = math.log(0.75 / 0.5) / math.log(3) * 2 + 1
    expected = np.sqrt(np.mean(np.log([first, 2 / second, 1]) ** 2))  # both are at 0.25 after 3 passes, twice
    assert distance_in_passes(ours, printed) == pytest.approx(expected * np.sqrt(3 / 4))


def test_only_levels_that_both_come_down_to_count_and_a_rise_is_no_level():
    printed = falling(10)
    ours = pd.Series([1.0, 0.5, 3.0, 0.25], index=[0, 1, 2, 3])  # 0.25 a pass late, nothing below
    assert distance_in_passes(ours, printed) == pytest.approx(np.sqrt(2 * math.log(4 / 3) ** 2 / 6))


def test_curves_without_a_common_level_are_infinitely_far_apart():
    assert distance_in_passes(falling(3, start=100.0), falling(3)) == math.inf
