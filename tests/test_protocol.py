import math

import pytest

from adam_repro.errors import UserError
from adam_repro.protocol import TUNING_SEEDS, Grid, check_budgets, check_seeds, choose, extension, half_decade

SCHEDULES = ("constant", "inverse_sqrt_step")


def grid(lr, **others):
    return Grid.of({"lr": lr, "schedule": SCHEDULES, **others}, name="test")


def test_half_decades_are_1_and_3_in_each_decade():
    assert [half_decade(number) for number in range(-4, 5)] == [0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0]


def test_a_grid_has_every_combination_once():
    trials = grid([0.1, 0.3], momentum=[0.9, 0.99]).trials()
    assert len(trials) == len({tuple(trial.items()) for trial in trials}) == 8
    assert {"lr": 0.1, "schedule": "constant", "momentum": 0.99} in trials


@pytest.mark.parametrize("lr", [[0.1, 0.2], [0.1, 1.0], [0.3, 0.1], [0, 0.1], [-0.1], ["abc"], [None]])
def test_a_grid_that_is_no_run_of_half_decades_is_refused_by_name(lr):
    with pytest.raises(UserError, match=r"search space of optimizer test has lr=.*half decades"):
        grid(lr)


def test_unequal_budgets_are_refused_with_their_numbers():
    with pytest.raises(UserError, match="adam: 4, sgd: 8"):
        check_budgets({"adam": grid([0.1, 0.3]), "sgd": grid([0.1, 0.3], momentum=[0.9, 0.99])})


def test_a_reporting_seed_cannot_tune():
    check_seeds(TUNING_SEEDS)
    with pytest.raises(UserError, match=r"seeds=\[100, 9\] cannot be used for tuning"):
        check_seeds([100, 9])


def test_the_lowest_mean_over_seeds_is_chosen_and_a_trial_that_diverged_once_ranks_last():
    assert choose({0: [0.3, 0.5], 1: [0.38, 0.4], 2: [0.1, math.inf]}) == 1


def test_nothing_is_chosen_where_every_trial_diverged():
    with pytest.raises(UserError, match="Every trial diverged"):
        choose({0: [math.inf], 1: [math.inf]})


def test_an_optimum_inside_every_grid_ends_the_search():
    grids = {"adam": grid([0.01, 0.03, 0.1])}
    assert extension(grids, {"adam": 0.03}, {-1: 0, 1: 0}) == {}


def test_an_optimum_on_an_edge_extends_every_grid_on_that_side_by_equally_many_trials():
    grids = {
        "adam": grid([0.03, 0.1, 0.3]),
        "sgd": Grid.of({"lr": [0.1, 0.3], "schedule": SCHEDULES, "momentum": (0.9, 0.99)}, name="sgd"),
    }
    further = extension(grids, {"adam": 0.1, "sgd": 0.3}, {-1: 0, 1: 0})
    assert further["adam"].lr == (1.0, 3.0)
    assert further["sgd"].lr == (1.0,)
    assert {len(part.trials()) for part in further.values()} == {4}


def test_a_lower_edge_extends_downwards():
    assert extension({"adam": grid([0.01, 0.03])}, {"adam": 0.01}, {-1: 0, 1: 0})["adam"].lr == (0.001, 0.003)


def test_an_optimum_that_stays_on_the_edge_is_left_there_after_two_extensions():
    grids = {"adam": grid([0.01, 0.03])}
    assert extension(grids, {"adam": 0.03}, {-1: 0, 1: 1})
    assert extension(grids, {"adam": 0.03}, {-1: 0, 1: 2}) == {}
    assert grids["adam"].side(0.03) == 1


def test_an_extended_grid_knows_its_new_edges():
    start = grid([0.01, 0.03])
    joined = start.joined(start.beyond(1, 4))
    assert joined.lr == (0.01, 0.03, 0.1, 0.3)
    assert [joined.side(lr) for lr in joined.lr] == [-1, 0, 0, 1]
