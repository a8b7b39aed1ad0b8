"""Comparisons whose unit is the seed.

Two curves are compared by the paired differences d_s = ln(A_s / B_s) of their final costs, one for each seed s that
both have. Effects and intervals are given as ratios, exp of the mean d and of its bounds: 0.9 means ten per cent lower.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats

FEWEST_SEEDS = 3
FAMILY_ERROR = 0.05
ENOUGH_TO_RESAMPLE = 10  # seeds: of 3 the bootstrap's 95 % interval covers the mean in 76 of 100 cases, of 10 in 90
BOOTSTRAP_SEED, BOOTSTRAP_DRAWS = 20141222, 10_000  # the day of the paper's first version
ROUNDING = 1e-12  # relative; differences that differ by less are one number
EXACT_FLIPS = 16  # up to so many pairs every pattern of signs is counted


@dataclass(frozen=True)
class Comparison:
    """What a test says of ln(A / B): a ratio with its interval, and for tests a verdict.

    ``p`` is the exact sign-flip p-value of "no difference", reported beside the interval and never deciding alone: it
    cannot fall below 2 / 2^n. ``verdict`` is supported, contradicted or inconclusive; ``note`` is empty, or says what
    kept the interval from being had.
    """

    effect: float
    low: float
    high: float
    n: int
    p: float
    verdict: str
    note: str = ""


def paired_differences(a: pd.Series, b: pd.Series) -> np.ndarray:
    """ln(a / b) for each seed in both indices, [n]. A missing cost is a diverged run: worse than any cost, so the
    difference is infinite, and 0 where both diverged."""
    shared = a.index.intersection(b.index)
    a_cost, b_cost = (series[shared].to_numpy(float) for series in (a, b))
    a_lost, b_lost = np.isnan(a_cost), np.isnan(b_cost)
    with np.errstate(invalid="ignore"):
        d = np.log(a_cost) - np.log(b_cost)
    d[a_lost] = np.inf
    d[b_lost] = -np.inf
    d[a_lost & b_lost] = 0.0
    return d


def t_interval(d: np.ndarray, level: float) -> tuple[float, float]:
    """Student's interval of the mean of ``d`` [n], n >= 2, at confidence ``level``."""
    half = stats.t.ppf((1 + level) / 2, len(d) - 1) * d.std(ddof=1) / math.sqrt(len(d))
    return float(d.mean() - half), float(d.mean() + half)


def sign_flip_p(d: np.ndarray) -> float:
    """Two-sided p of the hypothesis that each difference is as likely with the other sign.

    Exact up to 16 pairs, by enumeration; beyond, from as many random patterns as a bootstrap draws. Infinite
    differences enter by sign and rank above all finite ones (they count as twice the largest).
    """
    finite = d[np.isfinite(d)]
    largest = np.abs(finite).max(initial=0.0) or 1.0
    d = np.where(np.isinf(d), np.sign(d) * 2 * largest, d)
    n = len(d)
    if n <= EXACT_FLIPS:
        signs = np.array(list(itertools.product((1, -1), repeat=n)))
    else:
        signs = np.random.default_rng(BOOTSTRAP_SEED).choice((1, -1), (BOOTSTRAP_DRAWS, n))
    sums = np.abs(signs @ d)
    return float(np.mean(sums >= abs(d.sum()) * (1 - 1e-12)))


def over_seeds(values: np.ndarray, *, ratios: bool = False) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What is drawn of n seeds for each row of ``values`` [..., n]: their mean, and the lower and the upper end of the
    band about it, [...].

    The mean is the geometric one of what is compared as ``ratios``, if all of it is positive. The band is the mean's
    95 % bootstrap interval, and of fewer seeds than ``ENOUGH_TO_RESAMPLE`` their range.
    """
    if ratios and (values > 0).all():
        mean, low, high = (np.exp(each) for each in over_seeds(np.log(values)))
        return mean, low, high
    few = values.shape[-1] < ENOUGH_TO_RESAMPLE
    low, high = (values.min(-1), values.max(-1)) if few else bootstrap_interval(values)
    return values.mean(-1), low, high


def bootstrap_interval(values: np.ndarray, level: float = 0.95) -> tuple[np.ndarray, np.ndarray]:
    """Percentile interval of the mean over the last axis of ``values`` [..., n], resampling the n seeds with a stated
    seed; the same resamples for every row."""
    means = values @ resampling(values.shape[-1])
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2], axis=-1)
    return low, high


def resampling(n: int) -> np.ndarray:
    """The weight of each of n seeds in the mean over a resample, [n, draws]; always the same."""
    drawn = np.random.default_rng(BOOTSTRAP_SEED).integers(n, size=(BOOTSTRAP_DRAWS, n))
    return np.stack([(drawn == seed).mean(1) for seed in range(n)])


def holm_levels(p: Sequence[float], error: float = FAMILY_ERROR) -> list[float]:
    """The level at which each of a family's tests is decided, by Holm's step-down.

    The smallest of m p-values is held against error / m, the next against error / (m - 1), and so on up to the first
    that fails; that test and all after it are decided at its level, which they fail.
    """
    levels = [0.0] * len(p)
    failed: float | None = None
    for rank, index in enumerate(sorted(range(len(p)), key=lambda index: p[index])):
        level = error / (len(p) - rank) if failed is None else failed
        levels[index] = level
        if p[index] > level:
            failed = level
    return levels


def p_better(d: np.ndarray, margin: float) -> float:
    """Two-sided p of the hypothesis that mean d is -ln(1 + margin), by which Holm orders a family.

    By the t test, or the sign test where a run diverged; 1 where there are too few seeds.
    """
    shifted = d + math.log1p(margin)
    if len(d) < FEWEST_SEEDS:
        return 1.0
    if not np.isfinite(d).all():
        return _sign_test_p(shifted)
    if np.ptp(shifted) <= ROUNDING * np.abs(shifted).max():
        return 0.0 if shifted.any() else 1.0
    return float(stats.ttest_1samp(shifted, 0).pvalue)


def better(d: np.ndarray, margin: float, *, level: float = FAMILY_ERROR) -> Comparison:
    """Is A lower than B by more than ``margin`` (0.1: A is below B / 1.1)?

    Supported if the upper end of the interval of mean d at ``level`` is at most -ln(1 + margin), contradicted if its
    lower end is above. Where a run diverged there is no mean: seeds are counted on either side of the margin (a sign
    test at ``level``).
    """
    if note := _too_few(d):
        return _undecided(d, note)
    p = sign_flip_p(d)
    if not np.isfinite(d).all():
        side = _significant_side(d + math.log1p(margin), level)
        return _by_signs(d, p, {-1: "supported", 0: "inconclusive", 1: "contradicted"}[side], level)
    low, high = t_interval(d, 1 - level)
    threshold = -math.log1p(margin)
    verdict = "supported" if high <= threshold else "contradicted" if low > threshold else "inconclusive"
    return Comparison(math.exp(d.mean()), math.exp(low), math.exp(high), len(d), p, verdict)


def equal(d: np.ndarray, margin: float) -> Comparison:
    """Are A and B equal within ``margin``? By two one-sided tests at 5 %, that is by the 90 % interval of mean d.

    Supported if it lies inside +-ln(1 + margin), contradicted if it lies outside. Where a run diverged there is no
    mean: a sign test can contradict, and nothing can support.
    """
    if note := _too_few(d):
        return _undecided(d, note)
    p = sign_flip_p(d)
    bound = math.log1p(margin)
    if not np.isfinite(d).all():
        apart = _significant_side(d - bound, 0.10) > 0 or _significant_side(d + bound, 0.10) < 0
        return _by_signs(d, p, "contradicted" if apart else "inconclusive", 0.10)
    low, high = t_interval(d, 0.90)
    inside, outside = -bound <= low and high <= bound, low > bound or high < -bound
    verdict = "supported" if inside else "contradicted" if outside else "inconclusive"
    return Comparison(math.exp(d.mean()), math.exp(low), math.exp(high), len(d), p, verdict)


def within(d: np.ndarray, low: float, high: float, *, ratios: bool) -> Comparison:
    """Does the mean of ``d`` [n] lie between ``low`` and ``high``? By its 95 % interval.

    Supported if that lies inside, contradicted if it lies outside, else inconclusive. ``ratios``: d, low and high are
    logarithms of ratios, and effect and interval are given as ratios. Where a run diverged there is no mean, and the
    share of seeds inside is held against the share outside by a sign test.
    """
    scaled = _ratio if ratios else float
    if note := _too_few(d):
        return Comparison(scaled(np.median(d)) if len(d) else math.nan, math.nan, math.nan, len(d), math.nan,
                          "inconclusive", note)  # fmt: skip
    p = sign_flip_p(d)
    if not np.isfinite(d).all():
        inside = np.where((d > low) & (d < high), 1.0, -1.0)
        side = _significant_side(inside, FAMILY_ERROR)
        verdict = {1: "supported", 0: "inconclusive", -1: "contradicted"}[side]
        note = (
            f"{int(np.isinf(d).sum())} of {len(d)} pairs have a run that diverged: {_by_signs_of(len(d), FAMILY_ERROR)}"
        )
        return Comparison(scaled(np.median(d)), math.nan, math.nan, len(d), p, verdict, note)
    ends = t_interval(d, 1 - FAMILY_ERROR)
    inside_all, outside = low < ends[0] and ends[1] < high, ends[0] > high or ends[1] < low
    verdict = "supported" if inside_all else "contradicted" if outside else "inconclusive"
    return Comparison(scaled(d.mean()), scaled(ends[0]), scaled(ends[1]), len(d), p, verdict)


def _significant_side(d: np.ndarray, level: float) -> int:
    """The side of 0 on which the signs of ``d`` lie by a sign test, -1 or 1; 0 where it does not tell."""
    return int(np.sign(np.sign(d).sum())) if _sign_test_p(d) <= level else 0


def _sign_test_p(d: np.ndarray) -> float:
    positive, negative = int((d > 0).sum()), int((d < 0).sum())
    return float(stats.binomtest(positive, positive + negative).pvalue) if positive + negative else 1.0


def _by_signs(d: np.ndarray, p: float, verdict: str, level: float) -> Comparison:
    first, second = int(np.isposinf(d).sum()), int(np.isneginf(d).sum())
    lost = f"{first} of the first's and {second} of the second's runs alone were lost"
    note = f"{lost}: {_by_signs_of(len(d), level)}"
    return Comparison(_ratio(np.median(d)), math.nan, math.nan, len(d), p, verdict, note)


def _by_signs_of(n: int, level: float) -> str:
    """How it was decided, and whether ``n`` equal signs could decide anything at ``level``."""
    return "decided by signs" + ("" if 2 * 0.5**n <= level else f", which {n} seeds are too few for")


def _too_few(d: np.ndarray) -> str:
    seeds = f"{len(d)} seed{'' if len(d) == 1 else 's'}"
    return "" if len(d) >= FEWEST_SEEDS else f"n too small: {seeds}, at least {FEWEST_SEEDS} are needed"


def _undecided(d: np.ndarray, note: str) -> Comparison:
    effect = _ratio(np.median(d)) if len(d) else math.nan
    return Comparison(effect, math.nan, math.nan, len(d), math.nan, "inconclusive", note)


def _ratio(log_ratio: float) -> float:
    return math.exp(log_ratio) if log_ratio < 700 else math.inf
