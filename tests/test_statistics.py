"""Comparisons on cases whose answers are known: by hand, by scipy, or by counting."""

import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from adam_repro.analysis.statistics import (
    better,
    bootstrap_interval,
    equal,
    holm_levels,
    over_seeds,
    p_better,
    paired_differences,
    sign_flip_p,
    t_interval,
)

SPREAD = np.array([-0.02, -0.01, 0.0, 0.01, 0.02])


def costs(**of_seed):
    return pd.Series({int(seed[1:]): cost for seed, cost in of_seed.items()})


def test_differences_pair_equal_seeds_and_leave_the_others_out():
    d = paired_differences(costs(s0=2.0, s1=1.0, s7=5.0), costs(s1=math.e, s0=1.0, s3=9.0))
    assert d == pytest.approx([math.log(2), -1])


def test_a_diverged_run_is_worse_than_any_cost_and_two_are_a_tie():
    lost = math.nan
    d = paired_differences(costs(s0=lost, s1=1.0, s2=lost), costs(s0=1.0, s1=lost, s2=lost))
    assert d.tolist() == [math.inf, -math.inf, 0.0]


def test_the_interval_is_students():
    low, high = t_interval(SPREAD, 0.95)
    expected = stats.ttest_1samp(SPREAD, 0).confidence_interval(0.95)
    assert (low, high) == pytest.approx((expected.low, expected.high))


def test_the_sign_flip_p_counts_the_patterns_that_are_as_extreme():
    assert sign_flip_p(np.array([1.0, 2.0, 3.0])) == 2 / 8
    assert sign_flip_p(np.array([1.0, 2.0, -3.0])) == 1.0
    assert sign_flip_p(np.array([3.0, 2.0, -1.0])) == 4 / 8


def test_the_sign_flip_p_of_many_pairs_is_near_the_exact_one():
    d = np.linspace(-1, 1.6, 17)
    exact = np.mean([abs(np.dot(signs, d)) >= abs(d.sum()) - 1e-12 for signs in all_signs(17)])
    assert sign_flip_p(d) == pytest.approx(exact, abs=0.015)


def all_signs(n):
    return (np.where([number >> bit & 1 for bit in range(n)], 1, -1) for number in range(2**n))


def test_an_infinite_difference_ranks_above_all_finite_ones():
    assert sign_flip_p(np.array([math.inf, 1.0, 1.0])) == 2 / 8
    assert sign_flip_p(np.array([math.inf, -1.0, -1.0])) == 1.0


def test_the_bootstrap_is_the_same_each_time_and_covers_the_mean():
    values = np.stack([SPREAD, 3 + 10 * SPREAD])
    low, high = bootstrap_interval(values)
    again_low, again_high = bootstrap_interval(values)
    assert low.tolist() == again_low.tolist() and high.tolist() == again_high.tolist()
    assert (low < values.mean(1)).all() and (values.mean(1) < high).all()
    assert (high - 3)[1] == pytest.approx(10 * high[0]), "the same resamples for every row"
    everything = 5**5
    exact = np.quantile([np.mean(pick) for pick in np.ndindex(*[5] * 5)], 0.975) * 0.01 - 0.02
    assert everything == 3125 and high[0] == pytest.approx(exact, abs=5e-4)


def test_what_is_drawn_of_few_seeds_is_their_range_and_of_ten_the_bootstraps_interval():
    values = np.stack([SPREAD, 3 + 10 * SPREAD])
    mean, low, high = over_seeds(values)
    assert mean.tolist() == values.mean(1).tolist()
    assert (low.tolist(), high.tolist()) == (values.min(1).tolist(), values.max(1).tolist())
    ten = np.concatenate([values, values + 0.5], axis=1)
    _, low, high = over_seeds(ten)
    assert (low.tolist(), high.tolist()) == tuple(each.tolist() for each in bootstrap_interval(ten))


def test_ratios_have_a_geometric_mean_where_they_have_logarithms():
    mean, low, high = over_seeds(np.array([[1.0, 10.0, 100.0], [2.0, 2.0, 16.0]]), ratios=True)
    assert mean == pytest.approx([10, 4]) and low == pytest.approx([1, 2]) and high == pytest.approx([100, 16])
    assert over_seeds(np.array([-1.0, 4.0]), ratios=True)[0] == 1.5, "a bound may be negative"


def test_holm_steps_down_until_the_first_that_fails():
    assert holm_levels([0.001, 0.04, 0.02]) == [0.05 / 3, 0.05, 0.05 / 2]
    assert holm_levels([0.03, 0.01, 0.04]) == [0.05 / 2, 0.05 / 3, 0.05 / 2]
    assert holm_levels([0.2, 0.9]) == [0.025, 0.025]


@pytest.mark.parametrize(
    ("centre", "verdict"),
    [
        (-0.2, "supported"),
        (-math.log(1.1), "inconclusive"),
        (-0.09, "inconclusive"),
        (-0.05, "contradicted"),
        (0.3, "contradicted"),
    ],
)
def test_better_holds_the_interval_against_the_margin(centre, verdict):
    result = better(centre + SPREAD, 0.1)
    low, high = t_interval(centre + SPREAD, 0.95)
    assert result.verdict == verdict
    assert (result.effect, result.low, result.high) == pytest.approx((math.exp(centre), math.exp(low), math.exp(high)))
    assert (result.n, result.note) == (5, "")


def test_a_stricter_level_widens_the_interval_and_may_leave_the_verdict_open():
    d = -math.log(1.1) - 0.025 + SPREAD
    assert better(d, 0.1, level=0.05).verdict == "supported"
    assert better(d, 0.1, level=0.001).verdict == "inconclusive"


@pytest.mark.parametrize(
    ("centre", "verdict"),
    [(0.0, "supported"), (0.03, "supported"), (0.045, "inconclusive"), (0.08, "contradicted"), (-0.08, "contradicted")],
)
def test_equal_holds_the_90_percent_interval_against_both_margins(centre, verdict):
    d = centre + SPREAD
    result = equal(d, 0.05)
    assert result.verdict == verdict
    inside = all(
        stats.ttest_1samp(d, side * math.log(1.05), alternative="less" if side > 0 else "greater").pvalue < 0.05
        for side in (1, -1)
    )
    assert (verdict == "supported") == inside, "two one-sided tests at 5 %"


def test_of_two_seeds_nothing_is_concluded():
    for result in (better(np.array([-1.0, -1.1]), 0.1), equal(np.array([0.0, 0.001]), 0.1)):
        assert result.verdict == "inconclusive"
        assert "n too small: 2 seeds" in result.note


def test_where_runs_diverged_signs_decide():
    all_lost = np.full(10, -math.inf)
    result = better(all_lost, 0.1)
    assert result.verdict == "supported"
    assert math.isnan(result.low)
    assert "10 of the second's runs alone were lost" in result.note
    assert better(-all_lost, 0.1).verdict == "contradicted"
    assert better(np.array([-math.inf] * 5 + [0.1] * 5), 0.1).verdict == "inconclusive"
    assert equal(all_lost, 0.1).verdict == "contradicted"
    assert equal(np.array([math.inf] + [0.0] * 9), 0.1).verdict == "inconclusive"


def test_the_order_within_a_family_is_by_the_test_against_the_margin():
    d = -math.log(1.1) - 0.05 + SPREAD
    assert p_better(d, 0.1) == pytest.approx(stats.ttest_1samp(d, -math.log(1.1)).pvalue)
    assert p_better(np.full(10, -math.inf), 0.1) == pytest.approx(2 / 2**10)
    assert p_better(d[:2], 0.1) == 1.0
    assert p_better(np.full(3, -1.0), 0.1) == 0.0
