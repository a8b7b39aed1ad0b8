"""What the paper says about its algorithms themselves, by the measurements of experiments/properties.py."""

from __future__ import annotations

import functools
import math

import numpy as np
import pandas as pd

from adam_repro.analysis.claims import Better, Finding, claim
from adam_repro.analysis.measurements import Measurements
from adam_repro.analysis.statistics import paired_differences, t_interval

ROUNDING = 1e-12  # relative; a path of some thousand steps in float64 gathers less

stated = functools.partial(claim, figure="properties")


@stated(
    "C1",
    section="2.1",
    statement="The path of Adam does not change when all gradients are multiplied by a positive number.",
    margin=ROUNDING,
)
def invariant_to_scale(data: Measurements) -> Finding:
    differences = data.of("C1", "relative difference of the path, eps = 0")
    breaking = data.of("C1", "largest |c| at which the path with eps = 1e-8 differs by 1 %").iloc[0]
    single = data.of("C1", "relative difference of the path, eps = 0, in float32").iloc[0]
    note = f"with eps = 0 in float64 ({single:.0e} in float32); with eps = 1e-8 the path differs by 1 % once gradients "
    return _at_most(ROUNDING, differences, f"{note}near 1 are scaled by {breaking:.0e}")


@stated(
    "C2",
    section="abstract",
    statement="The path of Adam does not change when each coordinate of the gradient has a positive factor of its own.",
    margin=ROUNDING,
)
def invariant_to_diagonal_scale(data: Measurements) -> Finding:
    differences = data.of("C2", "relative difference of the path, eps = 0")
    rotated = data.of("C2", "relative difference of the path under a rotation, eps = 0").min()
    with_eps = data.of("C2", "relative difference of the path, eps = 1e-8").max()
    note = f"with eps = 0; {with_eps:.1e} with eps = 1e-8; under a rotation, for contrast, at least {rotated:.2g}"
    return _at_most(ROUNDING, differences, note)


@stated(
    "C3",
    section="2.1",
    statement="The first step has the size of the learning rate in every coordinate, against the gradient's sign.",
    margin=ROUNDING,
)
def first_step_is_the_learning_rate(data: Measurements) -> Finding:
    errors = data.of("C3", "relative error of the first step, eps = 0")
    formula = data.of("C3", "relative error of lr / (1 + eps / |g|), eps = 1e-8").max()
    hat = data.of("C3", "relative error of lr / (1 + eps_hat / (|g| sqrt(1 - beta2))), eps_hat = 1e-8").max()
    note = f"with eps = 0; else it is lr / (1 + eps / |g|), to {formula:.0e}, and in the eps-hat order to {hat:.0e}"
    return _at_most(ROUNDING, errors, note, also=max(formula, hat) < ROUNDING)


@stated(
    "C4",
    section="2.1",
    statement="A gradient that follows only zeros moves Adam by at most alpha (1 - beta1) / sqrt(1 - beta2), where "
    "that is more than alpha.",
    margin=1e-6,
)
def spike_is_bounded(data: Measurements) -> Finding:
    sizes = data.of("C4", "size of the step in units of the bound")
    alpha = data.of("C4", "size of the step in units of alpha")
    default = alpha[alpha.index.str.startswith("beta1 = 0.9, beta2 = 0.999,")]
    note = (
        f"in units of the bound, which the step nears as zeros go on; with the defaults {default.iloc[-1]:.3f} alpha "
        f"after {_time(default.index[-1]) - 1} zeros, {default.min():.2f} alpha at the least"
    )
    return _at_most(1 + 1e-6, sizes, note)


@stated(
    "C5",
    section="2.1",
    statement="No sequence of gradients moves Adam by more than alpha (1 - beta1) / sqrt(1 - beta2), where that is "
    "more than alpha.",
    margin=1e-6,
)
def bound_holds_for_every_sequence(data: Measurements) -> Finding:
    sizes = data.of("C5", "size of the worst step in units of the bound")
    alpha = data.of("C5", "size of the worst step in units of alpha").iloc[0]
    limit = data.of("C5", "its limit for long sequences, in units of alpha").iloc[0]
    note = (
        f"in units of the bound, over settings; with the defaults gradients that grow by beta2 / beta1 a step give "
        f"{alpha:.3f} alpha (limit {limit:.3f}), where the bound is 3.162; it is exact for beta1 = 0"
    )
    return _at_most(1 + 1e-6, sizes, note)


@stated(
    "C6",
    section="2.1",
    statement="Where 1 - beta1 <= sqrt(1 - beta2), no sequence of gradients moves Adam by more than alpha.",
    margin=1e-6,
)
def bound_holds_otherwise(data: Measurements) -> Finding:
    sizes = data.of("C6", "size of the worst step in units of alpha")
    limits = data.of("C6", "its limit for long sequences, in units of alpha")
    unbounded = ", ".join(limits.index[np.isinf(limits)].str.rsplit(",", n=1).str[0])
    note = f"in units of alpha, over settings; largest at {sizes.idxmax()}; without limit at {unbounded}"
    return _at_most(1 + 1e-6, sizes, note)


@stated(
    "C7a",
    section="2.1",
    statement="In training small problems of our own, one step in a hundred is longer than alpha, at most.",
    margin=0.01,
)
def steps_in_training(data: Measurements) -> Finding:
    """By the 99th percentile on each problem."""
    quantiles = data.of("C7", "quantile 0.99 of |step| / alpha")
    above = data.of("C7", "share of steps above alpha").max()
    longest = data.of("C7", "quantile 1 of |step| / alpha").max()
    note = (
        f"99th percentile of |step| / alpha, by problem; up to {above:.2%} are longer, the longest {longest:.2f} alpha"
    )
    return _at_most(1.0, quantiles, note)


@stated(
    "C8",
    section="2.1",
    statement="Near an optimum m_hat / sqrt(v_hat) shrinks, and steps with it, as an annealing of its own.",
    margin=0.10,
)
def annealing(data: Measurements) -> Finding:
    """On noisy quadratics: it falls all the way with the distance, and ends within 10 % of what pure noise gives."""
    sizes = data.of("C8", "mean |m_hat| / sqrt(v_hat), beta1 = 0.9")
    without = data.of("C8", "mean |m_hat| / sqrt(v_hat), beta1 = 0").iloc[-1]
    floor = math.sqrt((1 - 0.9) / (1 + 0.9)) * math.sqrt(2 / math.pi)
    falls = bool((np.diff(sizes) < 0).all())
    note = (
        f"mean |m_hat| / sqrt(v_hat) at the optimum, and its range over distances; independent normal noise "
        f"alone gives {floor:.3f} at beta1 = 0.9; with beta1 = 0 it falls to {without:.2f} only"
    )
    reached = abs(sizes.iloc[-1] / floor - 1) < 0.10
    return Finding(falls and reached, sizes.iloc[-1], sizes.min(), sizes.max(), len(sizes), note)


@stated(
    "C9a",
    section="2.1",
    statement="The best step size grows in proportion to the distance from the start to the optimum.",
    margin=0.10,
)
def step_size_grows_with_distance(data: Measurements) -> Finding:
    """In proportion, for an equal number of steps: slope 1 of log over log, within 0.1."""
    best = data.of("C9", "best alpha")
    distance = best.index.str.extract(r"distance (\S+),", expand=False).astype(float)
    count = best.index.str.extract(r"(\d+) steps", expand=False)
    slopes = np.array(
        [np.polyfit(np.log(distance[count == one]), np.log(best[count == one]), 1)[0] for one in count.unique()]
    )
    note = "slope of log(best alpha) over log(distance), on noisy quadratics, for 100, 1000 and 10,000 steps"
    holds = bool((abs(slopes - 1) <= 0.10).all())
    return Finding(holds, slopes.mean(), slopes.min(), slopes.max(), len(slopes), note)


@stated(
    "C9b",
    section="2.1",
    statement="The distance over the number of steps tells the order of magnitude of the best step size.",
    margin=10.0,
)
def distance_over_steps_is_the_step_size(data: Measurements) -> Finding:
    """Within a factor of ten, in every case."""
    ratios = data.of("C9", "best alpha / (distance / steps)")
    note = (
        "best alpha / (distance / steps), geometric mean and range; it grows with the steps and falls with the distance"
    )
    holds = bool(((ratios <= 10 * (1 + 1e-6)) & (ratios >= 0.1)).all())
    return Finding(holds, _geometric_mean(ratios), ratios.min(), ratios.max(), len(ratios), note)


@stated(
    "C10",
    section="1",
    statement="Adam needs little memory: two vectors of the parameters' size.",
    margin=0.0,
)
def memory_is_two_vectors(data: Measurements) -> Finding:
    ratios = data.of("C10", "bytes of state for each byte of parameters")
    amsgrad = data.of("C10", "the same for AMSGrad").max()
    note = "bytes of optimizer state for each byte of parameters, m and v; the count of steps is one number beside them"
    return Finding(
        bool((ratios == 2).all()),
        ratios.mean(),
        ratios.min(),
        ratios.max(),
        len(ratios),
        f"{note}; AMSGrad {amsgrad:g}",
    )


@stated(
    "C11",
    section="2",
    statement="The reordered computation gives the path of Algorithm 1, for an eps_hat that matches eps.",
    margin=ROUNDING,
)
def reordered_computation(data: Measurements) -> Finding:
    differences = data.of("C11", "relative difference of the path, eps_hat = eps sqrt(1 - beta2^t)")
    equal = data.of("C11", "relative difference of the path, eps_hat = eps")
    note = (
        f"over sizes of the gradients, with eps_hat = eps sqrt(1 - beta2^t); with eps_hat = eps paths differ by "
        f"{equal.min():.0e} to {equal.max():.0e}, the more the smaller the gradients"
    )
    return _at_most(ROUNDING, differences, note)


@stated(
    "C12",
    section="3",
    statement="Divided by 1 - beta^t, both running means are unbiased when gradients are stationary.",
    margin=4.0,
)
def corrected_means_are_unbiased(data: Measurements) -> Finding:
    """|z| < 4 at every t, for both means, over 100,000 paths."""
    z = pd.concat([data.of("C12", f"{mean}: standard errors from {of}") for mean, of in (("m_hat", "E g"), V_HAT)])
    growing = data.of("C12", "v_hat / g^2 when gradients double in size over 1000 steps").iloc[0]
    note = (
        f"largest |z|; not stationary: gradients that double in size over 1000 steps leave v_hat at {growing:.2f} g^2"
    )
    return _at_most(4.0, z.abs(), note)


V_HAT = ("v_hat", "E g^2")


@stated(
    "C13a",
    section="3",
    statement="Without bias correction, early steps are much larger when beta2 is near 1.",
    margin=2.0,
)
def early_steps_are_larger(data: Measurements) -> Finding:
    """Twice as large at the least for beta2 = 0.999, and the more the nearer beta2 is to 1."""
    ratios = data.of("C13", "largest step without correction / with it")
    at = data.of("C13", "the step at which it is largest")
    grows = all(
        (np.diff(ratios[ratios.index.str.startswith(start)]) > 0).all() for start in ("beta1 = 0,", "beta1 = 0.9")
    )
    default = "beta1 = 0.9, beta2 = 0.999"
    training = data.of("C13", "largest |step| / alpha of the first 50 in training")
    without = training[training.index.str.endswith("without")].max()
    note = (
        f"largest ratio of a step without correction to one with it, at the default betas (step {at[default]:.0f}), "
        f"and its range over betas; in training the longest of the first 50 steps has {without:.1f} alpha"
    )
    holds = bool(grows and ratios[default] >= 2)
    return Finding(holds, ratios[default], ratios.min(), ratios.max(), len(ratios), note)


@stated(
    "C13b",
    section="3",
    statement="Leaving bias correction out is the same as a schedule of step sizes.",
    margin=ROUNDING,
)
def no_correction_is_a_schedule(data: Measurements) -> Finding:
    """The arithmetic under sections 3, 5 and 6.4, with eps = 0."""
    quantity = "relative difference of the path from that of the schedule"
    return _at_most(
        ROUNDING, data.of("C13", quantity), "alpha_t = alpha (1 - beta1^t) / sqrt(1 - beta2^t), with eps = 0"
    )


@stated(
    "C14a",
    section="3",
    statement="With sparse gradients a reliable v_hat needs an average over many of them: beta2 near 1.",
    margin=0.10,
)
def sparse_gradients_need_long_memory(data: Measurements) -> Finding:
    """The spread of v_hat falls with beta2 at every sparsity, and is what theory says, within 10 %, at the longest."""
    spread = _by_sparsity(data, "relative standard deviation of v_hat")
    theory = _by_sparsity(data, "the same by theory")
    falls = bool((spread.diff().dropna() < 0).all(axis=None))
    agrees = bool((abs(spread.iloc[-1] / theory.iloc[-1] - 1) < 0.10).all())
    sparsest = spread[spread.columns.min()]
    note = (
        f"relative standard deviation of v_hat at beta2 = {sparsest.index[-1]:g} where one gradient in 100 is not 0; "
        f"high: at beta2 = {sparsest.index[0]:g}"
    )
    return Finding(falls and agrees, sparsest.iloc[-1], sparsest.iloc[-1], sparsest.iloc[0], spread.size, note)


@stated(
    "C14b",
    section="3",
    statement="With sparse gradients a reliable v_hat needs a small beta2 (as printed).",
    margin=0.0,
)
def sparse_gradients_need_small_beta2(data: Measurements) -> Finding:
    spread = _by_sparsity(data, "relative standard deviation of v_hat")
    ratios = spread.iloc[0] / spread.iloc[-1]
    note = (
        f"spread of v_hat at beta2 = {spread.index[0]:g} over that at {spread.index[-1]:g}, by sparsity; sections 5 "
        "and 6.4 say the opposite of section 3, a misprint for a small 1 - beta2"
    )
    return Finding(bool((ratios < 1).all()), _geometric_mean(ratios), ratios.min(), ratios.max(), len(ratios), note)


@stated(
    "C19",
    section="5",
    statement="AdaGrad is the limit of Adam for beta1 = 0, beta2 -> 1 and alpha / sqrt(t), with bias correction.",
    margin=0.10,
)
def adagrad_is_the_limit(data: Measurements) -> Finding:
    """The distance of the paths falls in proportion to 1 - beta2: slope 1 within 0.1."""
    gaps = data.of("C19", "relative distance of the path from AdaGrad's")
    slope = data.of("C19", "slope of log distance over log(1 - beta2)").iloc[0]
    note = f"slope of log(distance of paths) over log(1 - beta2); distance {gaps.iloc[-1]:.1e} at {gaps.index[-1]}"
    return Finding(abs(slope - 1) <= 0.10, slope, slope, slope, len(gaps), note)


@stated(
    "C20",
    section="5",
    statement="Without bias correction that limit has infinitely large steps.",
    margin=0.05,
)
def limit_diverges_without_correction(data: Measurements) -> Finding:
    """Steps grow like (1 - beta2)^(-1/2): slope -0.5 within 0.05."""
    sizes = data.of("C20", "median size of step 100 in units of alpha")
    slope = data.of("C20", "slope of log size over log(1 - beta2)").iloc[0]
    note = f"slope of log(size of a step) over log(1 - beta2); {sizes.iloc[-1]:.2g} alpha at {sizes.index[-1]}"
    return Finding(abs(slope + 0.5) <= 0.05, slope, slope, slope, len(sizes), note)


@stated(
    "C21",
    section="5",
    statement="RMSProp with momentum, an average of rescaled gradients, is not Adam, a ratio of averages.",
    margin=0.10,
)
def rmsprop_with_momentum_differs(data: Measurements) -> Finding:
    """Without corrections, steps differ by more than 10 % while v rises from zero and where the size of gradients
    jumps, and by rounding while v stands still."""
    without = data.of("C21", "relative distance of 200 steps: Adam without correction against RMSProp with momentum")
    corrected = data.of("C21", "relative distance of 200 steps: Adam against RMSProp with momentum and corrections")
    start, jump = "v rising from zero", "gradients a hundred times as large from one step to the next"
    moving = without[[start, jump]]
    note = (
        f"relative distance of steps, {moving[start]:.2f} while v rises from zero ({corrected[start]:.0e} if both are "
        f"corrected) and {moving[jump]:.2f} where gradients jump ({corrected[jump]:.2f}); {without['v constant']:.0e} "
        "while v is constant. Section 6.4 calls Adam without correction such an RMSProp"
    )
    holds = bool((moving > 0.10).all() and without["v constant"] < 1e-3)
    return Finding(holds, moving.mean(), moving.min(), moving.max(), len(moving), note)


@stated(
    "C22",
    section="5",
    statement="Adam adapts more cautiously than natural gradient descent: by the root of the same estimate.",
    margin=0.01,
)
def more_cautious_than_natural_gradient(data: Measurements) -> Finding:
    slope = data.of("C22", "slope of log(step / gradient) over log E g^2").iloc[0]
    note = "power of E g^2, the diagonal of the Fisher matrix, in step / gradient; -1 for a natural gradient"
    return Finding(abs(slope + 0.5) <= 0.01, slope, slope, slope, 1, note)


@stated(
    "C23",
    section="7.1",
    statement="Generalised to L_p norms, the rule is numerically unstable for large p, and for p = infinity it is not.",
    margin=0.01,
)
def large_powers_are_unstable(data: Measurements) -> Finding:
    """In float32 more than 1 % of steps are off at p >= 32 for some size of gradients; none at p = 2 and infinity."""
    wrong = data.of("C23", "share of wrong steps in float32")
    power = wrong.index.str.extract(r"p = (\w+),", expand=False)
    worst = wrong.groupby(power).max()
    unstable = sorted(int(p) for p in worst.index[worst > 0.01] if p != "inf")
    note = f"share of float32 steps that are 10 % off at p = 32, worst size of gradients; above 1 % at p = {unstable}"
    holds = bool(worst["32"] > 0.01 and worst["64"] > 0.01 and worst["2"] == 0 and worst["inf"] == 0)
    return Finding(holds, worst["32"], wrong[power == "32"].min(), worst["32"], len(wrong), note)


@stated(
    "C24",
    section="7.1",
    statement="AdaMax's u needs no bias correction; its first step is alpha against the gradient's sign.",
    margin=ROUNDING,
)
def adamax_needs_no_correction(data: Measurements) -> Finding:
    constant = data.of("C24", "relative error of u under gradients of constant size").max()
    note = f"relative error of the first step with eps = 0; of u under gradients of constant size {constant:.0e}"
    errors = data.of("C24", "relative error of the first step")
    return _at_most(ROUNDING, errors, note, also=constant < ROUNDING)


@stated(
    "C25",
    section="7.1",
    statement="AdaMax never moves by more than alpha.",
    margin=1e-6,
)
def adamax_is_bounded(data: Measurements) -> Finding:
    sizes = data.of("C25", "size of the largest step in units of alpha")
    note = (
        f"in units of alpha, over settings; with the defaults {sizes.iloc[0]:.4f}, when gradients shrink like beta2^t"
    )
    return _at_most(1 + 1e-6, sizes, note)


@stated(
    "C26a",
    section="7.2",
    statement="Divided by 1 - beta2^t, the exponential average of parameters is unbiased.",
    margin=ROUNDING,
)
def average_of_constant_parameters(data: Measurements) -> Finding:
    errors = data.of("C26", "relative error of the corrected average of constant parameters")
    return _at_most(ROUNDING, errors, "exact for parameters that stand still")


@stated(
    "C26b",
    section="7.2",
    statement="On small problems of our own, averaging the parameters lowers the test loss by more than a hundredth.",
    margin=0.01,
)
def averaging_generalises(data: Measurements) -> Better:
    """Test loss of the exponential average against that of the last parameters, constant tuned alpha, over problems."""

    def ratios(average: str, schedule: str) -> pd.Series:
        found = data.of("C26", f"test loss of the {average} average / of the last parameters")
        found = found[found.index.str.contains(f", {schedule},", regex=False)]
        return np.log(found).groupby(_seed(found)).mean()

    others = (("plain", "constant alpha"), ("exponential", "alpha / sqrt(t)"), ("plain", "alpha / sqrt(t)"))
    rest = ", ".join(f"{average}, {name}: {math.exp(ratios(average, name).mean()):.3f}" for average, name in others)
    note = f"ratio of test losses, geometric mean over three problems, exponential average, constant alpha; {rest}"
    return Better(ratios("exponential", "constant alpha").to_numpy(), note=note)


@stated(
    "C27a",
    section="1",
    statement="Adam suits objectives that do not stand still: over the 5000 steps that both are tuned for, Adam "
    "follows a wandering optimum more than a tenth closer than AdaGrad.",
    margin=0.10,
)
def tracks_better(data: Measurements) -> Better:
    return _closer(data, 5000)


@stated(
    "C27b",
    section="1",
    statement="Over ten times the steps that both are tuned for, for what does not stand still has no end, Adam "
    "follows a wandering optimum more than a tenth closer than AdaGrad.",
    margin=0.10,
)
def tracks_better_in_the_long_run(data: Measurements) -> Better:
    return _closer(data, 50_000)


@stated(
    "C28",
    section="abstract",
    statement="The default settings need little tuning: on small problems of our own they end at most a fifth above "
    "tuned ones.",
    margin=0.20,
)
def defaults_are_good(data: Measurements) -> Finding:
    """Final cost within 20 % of the tuned one: median over problems, by the upper end of its interval over seeds."""
    ratios = data.of("C28", "training cost with the defaults / tuned")
    problem = ratios.index.str.rsplit(",", n=1).str[0]
    medians = np.log(ratios).groupby(_seed(ratios)).median()
    low, high = (math.exp(end) for end in t_interval(medians.to_numpy(), 0.95))
    each = "; ".join(f"{name} {_geometric_mean(ratios[problem == name]):.2f}" for name in problem.unique())
    note = (
        "training cost after 2000 steps with alpha = 0.001 over that with the tuned one: of each seed the median "
        f"problem, geometric mean over seeds; {each}; the paper's own tasks: L27"
    )
    return Finding(high <= 1.20, math.exp(medians.mean()), low, high, len(medians), note)


def _closer(data: Measurements, steps: int) -> Better:
    adam, adagrad = (data.of("C27", f"mean squared distance, {name}, {steps} steps") for name in ("Adam", "AdaGrad"))
    least = data.of("C27", "least possible").iloc[0]
    note = f"mean squared distance, {adam.mean():.3f} and {adagrad.mean():.3f}; no method is below {least:.3f}"
    return Better(paired_differences(adam, adagrad), note=note)


def _at_most(allowed: float, values: pd.Series, note: str, *, also: bool = True) -> Finding:
    holds = bool((values <= allowed).all()) and bool(also)
    return Finding(holds, values.max(), values.min(), values.max(), len(values), note)


def _geometric_mean(values: pd.Series) -> float:
    return math.exp(np.log(values).mean())


def _seed(values: pd.Series) -> pd.Index:
    return values.index.str.extract(r"seed (\d+)", expand=False).astype(int)


def _time(setting: str) -> int:
    return int(setting.rpartition("t = ")[2])


def _by_sparsity(data: Measurements, quantity: str) -> pd.DataFrame:
    """A row for each beta2, a column for each p."""
    found = data.of("C14", quantity)
    named = found.index.str.extract(r"beta2 = (\S+), p = (\S+)").astype(float)
    return pd.DataFrame({"beta2": named[0], "p": named[1], "value": found.to_numpy()}).pivot(
        index="beta2", columns="p", values="value"
    )
