"""Section 6.4: bias correction in a variational autoencoder (Figure 4). Costs are negative bounds, nats an image."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pandas as pd
from scipy import stats

from adam_repro.analysis.claims import Finding, NotRun, Within, claim
from adam_repro.analysis.claims.comparisons import joined, not_run, reduced
from adam_repro.analysis.curves import FigureData, paper_figure_4
from adam_repro.analysis.grid import gaps, gaps_by_milestone, gaps_within, last_milestone, longest
from adam_repro.analysis.statistics import FAMILY_ERROR, FEWEST_SEEDS, ROUNDING, holm_levels, t_interval
from adam_repro.wording import counted

FIGURE = "fig4"
USABLE = 5.0  # nats above the best
SAME = 0.1  # nats
SMALL = 0.01  # 1 - beta2 below this is small
SETTING = ["beta1", "beta2", "lr"]
MOST_NAMED = 4  # settings whose numbers a note gives


@claim(
    "L21a",
    section="6.4",
    figure=FIGURE,
    statement="In the autoencoder, without bias correction, fewer step sizes are usable when beta2 is close to 1.",
    margin=0.0,
)
def correction_widens_the_usable_range(data: FigureData) -> Within | NotRun:
    gain = _gain(data)
    if isinstance(gain, NotRun):
        return gain
    d = gain.loc[gain.index.max()].to_numpy()
    where = f"decided at beta2 = {gain.index.max():g}"
    alike = "; all seeds have one count, so that the interval has no width" if np.ptp(d) == 0 else ""
    note = joined(where + alike, _by_beta2(data, gain), _in_longer_runs(data, _widths_in_words))
    return Within(d, 0.0, math.inf, ratios=False, note=note, unit="decades")


@claim(
    "L21b",
    section="6.4",
    figure=FIGURE,
    statement="In the autoencoder, the closer beta2 is to 1, the more step sizes does bias correction make usable.",
    margin=0.0,
)
def the_more_so_the_closer_beta2_is_to_1(data: FigureData) -> Within | NotRun:
    """Decided where the gain grows least from one beta2 to the next."""
    gain = _gain(data)
    if isinstance(gain, NotRun):
        return gain
    if len(gain) < 2:
        return not_run(data, "not run: more than one beta2")
    growth = gain.sort_index().diff().iloc[1:]
    least = growth.mean(axis=1).idxmin()
    note = f"least growth from one beta2 to the next, up to {least:g}; {_by_beta2(data, gain)}"
    return Within(growth.loc[least].to_numpy(), 0.0, math.inf, ratios=False, note=note, unit="decades")


def _gain(data: FigureData) -> pd.DataFrame | NotRun:
    gain = _widening(last_milestone(data))
    return not_run(data, "not run: two step sizes or more, with correction and without") if gain is None else gain


def _widening(grid: pd.DataFrame) -> pd.DataFrame | None:
    """Decades of alpha that are usable with correction less those without, mean over beta1: [beta2, seed]; None where
    ``grid``, cells after equally many passes, has fewer than two alphas with both.

    Usable is what ends at most ``USABLE`` above the best of its beta1, beta2 and seed, with correction or without.
    """
    grid = grid[grid["form"] != "control"]
    grid = grid[grid.groupby([*SETTING, "seed"])["form"].transform("nunique") == 2]
    size = grid.groupby("seed")["form"].transform("size")
    grid = grid[size == size.max()]  # ranges are counted in whole grids, of which a seed may have a few points alone
    alphas = np.sort(grid["lr"].unique())
    if len(alphas) < 2:
        return None
    spacing = float(np.diff(np.log10(alphas)).mean())  # half a decade, more where a scale thins the grid
    best = grid.groupby(["beta1", "beta2", "seed"])["train_cost"].transform("min")
    usable = grid.assign(usable=(grid["train_cost"] <= best + USABLE) * spacing)
    width = usable.groupby(["form", "beta2", "seed", "beta1"])["usable"].sum().groupby(["form", "beta2", "seed"]).mean()
    return (width["corrected"] - width["uncorrected"]).unstack("seed").dropna(axis=1)


def _by_beta2(data: FigureData, gain: pd.DataFrame) -> str:
    spacing = np.diff(np.log10(np.sort(last_milestone(data)["lr"].unique()))).mean()
    return joined(
        f"decades of alpha within {USABLE:g} nats of the best, with correction less without, mean over beta1 and "
        f"seeds, counted in steps of {spacing:.1f}: {_means(gain)}",
        _how(data),
    )


def _means(gain: pd.DataFrame) -> str:
    return ", ".join(f"{mean:.2f} at beta2 = {beta2:g}" for beta2, mean in gain.mean(axis=1).items())


def _widths_in_words(block: pd.DataFrame) -> str:
    gain = _widening(block)
    return "" if gain is None else _means(gain)


def _in_longer_runs(data: FigureData, tell: Callable[[pd.DataFrame], str]) -> str:
    """What the runs ``tell`` that were trained for more passes than those that decide, which are of fewer settings."""
    block = longest(data)
    if block is None or not (told := tell(block)):
        return ""
    beta1s = " and ".join(f"{beta1:g}" for beta1 in sorted(block["beta1"].unique()))
    return f"after {block['epochs'].iloc[0]} passes, of beta1 = {beta1s} alone: {told}"


@claim(
    "L22",
    section="6.4",
    figure=FIGURE,
    statement="In the autoencoder, Adam is at least as good as without bias correction, for every setting.",
    margin=SAME,
)
def correction_never_hurts(data: FigureData) -> Finding | NotRun:
    """Contradicted by one setting that is significantly worse (Holm over settings); supported if in each the upper end
    of a one-sided interval is at most ``SAME``: that nothing was found shows nothing."""
    every = gaps(data, "corrected", "uncorrected").dropna()
    found = _by_setting(every)
    if not found:
        most = int(every.groupby(level=SETTING).size().max()) if len(every) else 0
        return not_run(data, f"n too small: {most} seeds with correction and without, {FEWEST_SEEDS} are needed")
    hurt = _significantly_worse(found)
    safe = sum(_upper_end(gap) <= SAME for gap in found.values())
    means = {setting: float(gap.mean()) for setting, gap in found.items() if np.isfinite(gap).all()}
    largest = max(means, key=lambda setting: means[setting], default=None)
    holds = False if hurt else True if safe == len(found) else None
    where = f", largest at {_named(largest)}" if largest else ""
    lost = [sum(bool((gap == side).any()) for gap in found.values()) for side in (np.inf, -np.inf)]
    note = joined(
        f"nats by which correction is worse, largest and range over settings{where}",
        f"significantly so in {len(hurt)} of {len(found)} settings (Holm)",
        f"in {_worth_using(data, hurt)} of those the better form ends within {USABLE:g} nats of the best alpha's"
        if hurt
        else "",
        f"surely by no more than {SAME:g} in {safe}",
        f"some seeds diverged with correction alone in {lost[0]}, without it alone in {lost[1]}",
        _how(data),
        _in_longer_runs(data, _worst_in_words),
    )
    ordered = sorted(means.values()) or [math.nan]
    return Finding(holds, ordered[-1], ordered[0], ordered[-1], len(found), note, unit="nats")


def _by_setting(gap: pd.Series) -> dict[tuple, np.ndarray]:
    """The gaps [seeds] of each setting with enough seeds."""
    by_setting = gap.dropna().groupby(level=SETTING)
    return {setting: each.to_numpy() for setting, each in by_setting if len(each) >= FEWEST_SEEDS}


def _significantly_worse(found: dict[tuple, np.ndarray]) -> list[tuple]:
    p = {setting: _p_worse(gap) for setting, gap in found.items()}
    levels = dict(zip(p, holm_levels(list(p.values()), FAMILY_ERROR), strict=True))
    return [setting for setting in p if p[setting] <= levels[setting]]


def _worth_using(data: FigureData, settings: list[tuple]) -> int:
    """In how many of the settings the better form, corrected or not, ends at most ``USABLE`` above the best of their
    beta1 and beta2, by means over seeds; a form that diverged on any has none."""
    grid = last_milestone(data)
    means = (
        grid[grid["form"] != "control"].groupby(["form", *SETTING])["train_cost"].agg(lambda x: x.mean(skipna=False))
    )
    better = means.groupby(SETTING).min()
    best = better.groupby(SETTING[:2]).transform("min")
    return int((better <= best + USABLE).reindex(settings, fill_value=False).sum())


def _worst_in_words(block: pd.DataFrame) -> str:
    found = _by_setting(gaps_within(block, "corrected", "uncorrected"))
    finite = [gap.mean() for gap in found.values() if np.isfinite(gap).all()]
    if not finite:
        return ""
    return f"largest {max(finite):.2f}, significantly worse in {len(_significantly_worse(found))} of {len(found)}"


def _p_worse(gap: np.ndarray) -> float:
    """One-sided p of a gap that is not positive: by the t test, or the sign test where a run diverged."""
    if np.isfinite(gap).all():
        if np.ptp(gap) <= ROUNDING * np.abs(gap).max():
            return 0.0 if gap[0] > 0 else 1.0
        return float(stats.ttest_1samp(gap, 0, alternative="greater").pvalue)
    above, below = int((gap > 0).sum()), int((gap < 0).sum())
    return float(stats.binomtest(above, above + below, alternative="greater").pvalue) if above + below else 1.0


def _upper_end(gap: np.ndarray) -> float:
    """Of the one-sided 95 % interval of the mean; where a run diverged the largest gap."""
    return t_interval(gap, 1 - 2 * FAMILY_ERROR)[1] if np.isfinite(gap).all() else float(gap.max())


@claim(
    "L23a",
    section="6.4",
    figure=FIGURE,
    statement="In the autoencoder, the best results come with bias correction and a small 1 - beta2.",
    margin=0.0,
)
def best_with_correction_and_beta2_near_1(data: FigureData) -> Within | NotRun:
    """The best setting of either kind by its mean over seeds, then paired by seed."""
    best = _best_of_either_kind(last_milestone(data))
    if best is None:
        return not_run(data, "no finished runs to compare: with correction and a small 1 - beta2, and others")
    d, settings = best
    note = joined(
        f"nats, best of those less best of the others, both chosen by these seeds; {settings}",
        _how(data),
        _in_longer_runs(data, _best_in_words),
    )
    return Within(d, -math.inf, 0.0, ratios=False, note=note, unit="nats")


def _best_of_either_kind(grid: pd.DataFrame) -> tuple[np.ndarray, str] | None:
    """By seed, the cost of the best setting with correction and a small 1 - beta2 less that of the best other one, and
    both in words; None where one kind has no finished run."""
    grid = grid[grid["form"] != "control"].assign(
        praised=lambda runs: (runs["form"] == "corrected") & (1 - runs["beta2"] < SMALL - 1e-9)
    )
    means = grid.groupby(["praised", "form", *SETTING])[["train_cost", "test_loss"]].agg(lambda x: x.mean(skipna=False))
    whole = means.dropna(subset=["train_cost"])
    if set(whole.index.get_level_values("praised")) != {True, False}:
        return None
    best = {kind: whole.loc[kind]["train_cost"].idxmin() for kind in (True, False)}
    table = grid.pivot(index="seed", columns=["form", *SETTING], values="train_cost")
    shown = [
        f"{setting[0]} at {_named(setting[1:])}: {whole.loc[(kind, *setting), 'train_cost']:.2f}, on test data "
        f"{whole.loc[(kind, *setting), 'test_loss']:.2f}"
        for kind, setting in best.items()
    ]
    return (table[best[True]] - table[best[False]]).dropna().to_numpy(), "; ".join(shown)


def _best_in_words(block: pd.DataFrame) -> str:
    best = _best_of_either_kind(block)
    if best is None or len(best[0]) < FEWEST_SEEDS or not np.isfinite(best[0]).all():
        return ""
    low, high = t_interval(best[0], 1 - FAMILY_ERROR)
    return f"{best[0].mean():.2f} [{low:.2f}, {high:.2f}]"


@claim(
    "L23b",
    section="6.4",
    figure=FIGURE,
    statement="In the autoencoder, with a small 1 - beta2, what bias correction gains shows more towards the end of "
    "training.",
    margin=0.0,
)
def the_gain_shows_more_in_the_end(data: FigureData) -> Within | NotRun:
    """In the settings that were run for the most passes, beside the same settings and seeds after the fewest."""
    by_milestone = gaps_by_milestone(data, "corrected", "uncorrected")
    if len(by_milestone) < 2:
        return not_run(data, "not run: the same settings after few passes and after many")
    (early, before), *_, (late, after) = by_milestone.items()
    pairs = pd.concat({early: before, late: after}, axis=1, join="inner")
    pairs = pairs[1 - pairs.index.get_level_values("beta2") < SMALL - 1e-9]
    with np.errstate(invalid="ignore"):
        change = (pairs[late] - pairs[early]).dropna()  # infinite where one of two was lost meanwhile, NaN where before
    if change.empty:
        return not_run(data, "not run: settings that got beyond the first passes with correction and without")
    lost = (change == math.inf).groupby(level="seed").any()  # by correction alone: no gain elsewhere makes up for it
    d = change.groupby(level="seed").mean().mask(lost, math.inf).to_numpy()
    means = pairs.loc[change.index].groupby(level=SETTING).mean()
    shown = [f"{row[early]:.2f} and {row[late]:.2f} at {_named(setting)}" for setting, row in means.iterrows()]
    by_setting = change.groupby(level=SETTING).mean()
    one_by_one = f"the gain grew in {(by_setting < 0).sum()} and shrank in {(by_setting > 0).sum()} (means over seeds)"
    note = joined(
        f"nats, cost with correction less that without after {late} passes, less the same after {early}; mean over "
        f"{counted(len(means), 'setting')}: {', '.join(shown) if len(shown) <= MOST_NAMED else one_by_one}",
        f"one or both had diverged before in {len(pairs) - len(change)} pairs" if len(change) < len(pairs) else "",
        f"one diverged meanwhile in {np.isinf(change).sum()}, {_lost(change)}" if np.isinf(change).any() else "",
        reduced(data, passes=late),
    )
    return Within(d, -math.inf, 0.0, ratios=False, note=note, unit="nats")


def _lost(change: pd.Series) -> str:
    """The settings in which a run diverged meanwhile, and what is found without them."""
    settings = change[np.isinf(change)].groupby(level=SETTING).size().index
    others = change.drop(index=list(settings)).groupby(level="seed").mean()
    named = f"all at {' or '.join(_named(setting) for setting in settings)}"
    if len(others) < FEWEST_SEEDS:
        return named
    low, high = t_interval(others.to_numpy(), 1 - FAMILY_ERROR)
    return f"{named}: without that setting the change is {others.mean():.2f} [{low:.2f}, {high:.2f}]"


@claim(
    "L24",
    section="6.4",
    figure=FIGURE,
    statement="In the autoencoder, leaving bias correction out is the same as a schedule of larger first steps.",
    margin=SAME,
)
def a_schedule_does_the_same(data: FigureData) -> Within | NotRun:
    """By how much they differ, in the mean over settings: what one gains does not make up for what another loses."""
    gap = gaps(data, "control", "uncorrected").dropna()
    if gap.empty:
        return not_run(data, "not run: the control, or what it is compared with")
    alone = ~np.isfinite(gap)
    d = gap.abs().groupby(level="seed").mean().to_numpy()  # infinite where one of two diverged alone
    single = gap[~alone].groupby(level=SETTING).mean().abs()
    note = joined(
        f"nats, mean over settings of the difference's size; it is below {SAME:g} in {(single < SAME).sum()} of "
        f"{len(single)}, {single.max():.2g} at {_named(single.idxmax())} (means over seeds); C13b is the arithmetic",
        f"one of the two alone diverged in {alone.sum()} of {len(gap)} pairs of runs" if alone.any() else "",
        _how(data),
    )
    return Within(d, -SAME, SAME, ratios=False, note=note, unit="nats")


@claim(
    "P3",
    section="6.4",
    figure=FIGURE,
    statement="In the points of Figure 4 as printed, bias correction is nowhere worse.",
    margin=0.0,
)
def printed_points_agree_with_the_text(data: FigureData) -> Finding:
    points = paper_figure_4().dropna()
    gap = points["bias_corrected_loss"] - points["uncorrected_loss"]
    lower = int((gap > 0).sum())
    note = (
        f"pairs of {len(gap)} in which the point without correction lies lower, in {int((gap > 0.5).sum())} by more "
        f"than half a nat, by up to {gap.max():.1f}"
    )
    return Finding(lower == 0, lower, math.nan, math.nan, len(gap), note, unit="pairs")


def _named(setting: tuple) -> str:
    return f"beta1, beta2, alpha = {', '.join(f'{value:g}' for value in setting)}"


def _how(data: FigureData) -> str:
    passes = int(last_milestone(data)["epochs"].iloc[0])
    return joined(f"after {passes} passes", reduced(data, passes=passes))
