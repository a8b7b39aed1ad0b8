import math

import numpy as np
import pandas as pd
import pytest

from adam_repro.matching import L2, SCHEDULES, distance, family, plotted, refined
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
