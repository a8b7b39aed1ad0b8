"""What sections 1, 2.1, 3 and 7.2 say of training, on three small problems of our own and on quadratics.

The problems are regressions with 400 training examples and minibatches of 16: linear, logistic, and a network with one
hidden layer, each made by a teacher of its own kind. All runs of a problem go on at once: over seeds, which differ in
data, start and minibatches, and over arms, which differ in step size and schedule and share all else.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.optim.swa_utils import AveragedModel

from adam_repro.data.order import epoch_order, generator
from adam_repro.measuring import Measurement
from adam_repro.optimizers import AdaGrad, Adam, RuleOptimizer
from adam_repro.protocol import TUNING_SEEDS

FEATURES, HIDDEN = 10, 16
TRAIN, TEST, BATCH, STEPS = 400, 4000, 16, 2000
LAST = 5 * TRAIN // BATCH  # the steps of the last five passes, over which final costs are means
DEFAULT_LR = 1e-3
GRID = [10.0 ** (half / 2) for half in range(-8, 3)]
SEEDS = 10
WANDERING = 0.05  # standard deviation of a wandering optimum's step
COMPETITORS: tuple[type[RuleOptimizer], ...] = (Adam, AdaGrad)  # in tracking such an optimum
HORIZON = 5000  # for which the step sizes that track a wandering optimum are tuned


@dataclass(frozen=True)
class Problem:
    """``predict(theta [..., n], x [..., batch, features])`` and the ``cost`` of each example, both [..., batch];
    ``size`` is n."""

    name: str
    size: int
    predict: Callable[[Tensor, Tensor], Tensor]
    cost: Callable[[Tensor, Tensor], Tensor]
    label: Callable[[Tensor, torch.Generator], Tensor]

    def loss(self, theta: Tensor, x: Tensor, y: Tensor) -> Tensor:
        """The mean cost of a batch: [...]."""
        prediction = self.predict(theta, x)
        return self.cost(prediction, y.expand_as(prediction)).mean(-1)

    def sample(self, seed: int) -> dict[str, Tensor]:
        """Start, training and test examples of one seed."""
        randomness = generator(seed, 0, self.name)

        def normal(*shape: int) -> Tensor:
            return torch.randn(*shape, generator=randomness, dtype=torch.float64)

        teacher, scales = normal(self.size), 10 ** (normal(FEATURES) / 2)
        x = normal(TRAIN + TEST, FEATURES) * scales
        y = self.label(self.predict(teacher, x), randomness)
        start = 0.1 * normal(self.size)
        return {"start": start, "x": x[:TRAIN], "y": y[:TRAIN], "test_x": x[TRAIN:], "test_y": y[TRAIN:]}


def _linear(theta: Tensor, x: Tensor) -> Tensor:
    return (x @ theta[..., None])[..., 0]


def _network(theta: Tensor, x: Tensor) -> Tensor:
    first, bias, second = theta.split([FEATURES * HIDDEN, HIDDEN, HIDDEN], dim=-1)
    return _linear(second, torch.tanh(x @ first.unflatten(-1, (FEATURES, HIDDEN)) + bias[..., None, :]))


def _noisy(prediction: Tensor, randomness: torch.Generator) -> Tensor:
    return prediction + torch.randn(prediction.shape, generator=randomness, dtype=torch.float64)


def _half_square(prediction: Tensor, y: Tensor) -> Tensor:
    return (prediction - y) ** 2 / 2


PROBLEMS = (
    Problem("linear regression", FEATURES, _linear, _half_square, _noisy),
    Problem(
        "logistic regression",
        FEATURES,
        _linear,
        functools.partial(functional.binary_cross_entropy_with_logits, reduction="none"),
        lambda logits, randomness: torch.bernoulli(logits.sigmoid(), generator=randomness),
    ),
    Problem("network", FEATURES * HIDDEN + 2 * HIDDEN, _network, _half_square, _noisy),
)


@dataclass(frozen=True)
class Runs:
    """Results [seeds, arms]: the training cost at the end (mean over the last five passes of the cost of the whole
    training set), test losses of the last parameters and of their averages; ``steps`` in units of the step size,
    [kept steps, seeds, arms, n]."""

    train: Tensor
    test: Tensor
    test_of_mean: Tensor
    test_of_ema: Tensor
    steps: Tensor


def train(
    problem: Problem,
    seeds: list[int],
    lrs: list[float],
    *,
    decays: list[bool] | None = None,
    count: int = STEPS,
    keep: int = 10,
    bias_correction: bool = True,
) -> Runs:
    """Train with Adam: an arm for each step size, which falls like 1 / sqrt(t) where ``decays`` says so."""
    drawn = [problem.sample(seed) for seed in seeds]
    data = {name: torch.stack([sample[name] for sample in drawn])[:, None] for name in drawn[0]}  # all arms share it
    lr = torch.tensor(lrs, dtype=torch.float64)[:, None]
    falls = torch.tensor(decays or [False] * len(lrs))[:, None]
    theta = data["start"].repeat(1, len(lrs), 1)
    m, v, total, ema = torch.zeros(4, *theta.shape, dtype=torch.float64)
    costs, kept, seed_rows = [], [], torch.arange(len(seeds))[:, None, None]
    per_pass = TRAIN // BATCH
    for t in range(1, count + 1):
        if (t - 1) % per_pass == 0:
            order = torch.stack([epoch_order(TRAIN, seed, (t - 1) // per_pass + 1) for seed in seeds])[:, None]
        batch = seed_rows, 0, order[..., (t - 1) % per_pass * BATCH :][..., :BATCH]
        theta.requires_grad_()
        (g,) = torch.autograd.grad(problem.loss(theta, data["x"][batch], data["y"][batch]).sum(), theta)
        theta = theta.detach()
        lr_t = torch.where(falls, lr / t**0.5, lr)
        settings = {"beta1": 0.9, "beta2": 0.999, "eps": 1e-8, "bias_correction": bias_correction}
        moved, m, v = Adam.rule(theta, g, m, v, t, lr=lr_t, **settings)
        if t % keep == 0:
            kept.append((moved - theta) / lr_t)
        theta, total, ema = moved, total + moved, 0.999 * ema + 0.001 * moved
        if t > count - LAST and t % per_pass == 0:
            costs.append(problem.loss(theta, data["x"], data["y"]))

    def test(parameters: Tensor) -> Tensor:
        return problem.loss(parameters, data["test_x"], data["test_y"])

    averages = test(total / count), test(ema / (1 - 0.999**count))
    return Runs(torch.stack(costs).mean(0) if costs else torch.empty(0), test(theta), *averages, torch.stack(kept))


@functools.cache
def tuned(problem: Problem) -> tuple[float, float]:
    """The step sizes with the lowest training cost on the tuning seeds: a constant one, and one that falls."""
    falls = [False, True]
    found = train(problem, list(TUNING_SEEDS), GRID * 2, decays=[fall for fall in falls for _ in GRID])
    constant, falling = found.train.mean(0).unflatten(0, (len(falls), len(GRID))).argmin(1).tolist()
    return GRID[constant], GRID[falling]


@functools.cache
def reported(problem: Problem, seed: int) -> Runs:
    """Ten seeds of three arms: the default step size, the tuned constant one, the tuned falling one."""
    arms = [DEFAULT_LR, *tuned(problem)]
    return train(problem, list(range(seed, seed + SEEDS)), arms, decays=[False, False, True])


def steps_in_training(seed: int) -> Iterator[Measurement]:
    """C7: sizes of steps in units of alpha, over all coordinates and every tenth step of ten runs, default settings."""
    for problem in PROBLEMS:
        sizes = reported(problem, seed).steps[:, :, 0].abs().flatten()
        for q in (0.5, 0.9, 0.99, 0.999, 1.0):
            yield f"quantile {q:g} of |step| / alpha", problem.name, sizes.quantile(q).item()
        yield "share of steps above alpha", problem.name, (sizes > 1).double().mean().item()


def early_steps_in_training(seed: int) -> Iterator[Measurement]:
    """C13: the largest of the first 50 steps in training, without bias correction and with it."""
    for problem in PROBLEMS:
        seeds = list(range(seed, seed + SEEDS))
        corrected, without = (
            train(problem, seeds, [DEFAULT_LR], count=50, keep=1, bias_correction=correction).steps.abs().max().item()
            for correction in (True, False)
        )
        yield "largest |step| / alpha of the first 50 in training", f"{problem.name}, with correction", corrected
        yield "largest |step| / alpha of the first 50 in training", f"{problem.name}, without", without


def averaging(seed: int) -> Iterator[Measurement]:
    """C26: the exponential average of constant parameters, corrected; test losses of averaged parameters.

    Section 7.2 takes the plain mean over all steps, or the exponential one with beta2 and its correction.
    """
    theta = torch.randn(100, generator=generator(seed, 0, "C26"), dtype=torch.float64)
    ema = torch.zeros_like(theta)
    off = 0.0
    for t in range(1, 1001):
        ema = 0.999 * ema + 0.001 * theta
        off = max(off, (ema / (1 - 0.999**t) / theta - 1).abs().max().item())
    yield "relative error of the corrected average of constant parameters", "1000 steps", off
    yield "relative error of our plain mean against torch's AveragedModel", "20 steps", _against_torch(seed)
    for problem in PROBLEMS:
        runs = reported(problem, seed)
        for arm, name in ((1, "constant alpha"), (2, "alpha / sqrt(t)")):
            for average, losses in (("plain", runs.test_of_mean), ("exponential", runs.test_of_ema)):
                for place in range(SEEDS):
                    setting = f"{problem.name}, {name}, seed {seed + place}"
                    ratio = (losses[place, arm] / runs.test[place, arm]).item()
                    yield f"test loss of the {average} average / of the last parameters", setting, ratio


def _against_torch(seed: int) -> float:
    model = torch.nn.Linear(5, 1, bias=False).double()
    averaged, total = AveragedModel(model), torch.zeros(1, 5, dtype=torch.float64)
    randomness = generator(seed, 0, "C26 torch")
    for _ in range(20):
        model.weight.data = torch.randn(1, 5, generator=randomness, dtype=torch.float64)
        averaged.update_parameters(model)
        total += model.weight.data
    (mean,) = averaged.module.parameters()
    return (mean.detach() / (total / 20) - 1).abs().max().item()


def defaults(seed: int) -> Iterator[Measurement]:
    """C28: the final training cost with the default step size over that with the tuned one, seed by seed."""
    for problem in PROBLEMS:
        yield "tuned alpha", problem.name, tuned(problem)[0]
        costs = reported(problem, seed).train
        for place in range(SEEDS):
            setting = f"{problem.name}, seed {seed + place}"
            yield "training cost with the defaults / tuned", setting, (costs[place, 0] / costs[place, 1]).item()


def step_size_from_distance(seed: int) -> Iterator[Measurement]:
    """C9: the best step size on noisy quadratics against the distance to the optimum over the number of steps.

    Ten coordinates of curvatures from 0.01 to 1 start one distance away from the optimum; the gradient noise is 1
    throughout. Best is the lowest mean cost over the last tenth of the steps, mean of five runs.
    """
    curvature = torch.logspace(-2, 0, 10, dtype=torch.float64)
    step_sizes = [10.0 ** (tenth / 10) for tenth in range(-40, 26)]
    alpha = torch.tensor(step_sizes, dtype=torch.float64)[:, None, None]
    for count in (100, 1000, 10_000):
        for distance in (1.0, 10.0, 100.0):
            randomness = generator(seed, count, f"C9 {distance:g}")
            theta = torch.full((len(step_sizes), 5, 10), distance, dtype=torch.float64)
            m, v = torch.zeros(2, *theta.shape, dtype=torch.float64)
            costs = torch.zeros(len(step_sizes), dtype=torch.float64)
            for t in range(1, count + 1):
                g = curvature * theta + torch.randn(5, 10, generator=randomness, dtype=torch.float64)
                theta, m, v = Adam.rule(theta, g, m, v, t, lr=alpha, beta1=0.9, beta2=0.999, eps=0.0)
                if t > 0.9 * count:
                    costs += (curvature * theta**2).sum(2).mean(1)
            best = step_sizes[int(costs.argmin())]
            setting = f"distance {distance:g}, {count} steps"
            yield "best alpha", setting, best
            yield "best alpha / (distance / steps)", setting, best / (distance / count)


def tracking(seed: int) -> Iterator[Measurement]:
    """C27: mean squared distance from an optimum that wanders, at each optimizer's best step size.

    Ten coordinates of curvature 1, gradient noise 1; the optimum takes a normal step of 0.05 after each update. The
    step size is chosen on tuning seeds for 5000 steps; errors are means over the last half of these, and over the last
    half of ten times as many. No method can do better than Kalman's filter does.
    """
    q = WANDERING**2
    yield "least possible", "Kalman's filter", (q + (q * q + 4 * q) ** 0.5) / 2
    lrs = [10.0 ** (tenth / 10) for tenth in range(-25, 16)]
    tuning = _tracking_errors(list(TUNING_SEEDS), dict.fromkeys(COMPETITORS, lrs), [HORIZON])
    chosen = {optimizer: lrs[int(errors[0].mean(0).argmin())] for optimizer, errors in tuning.items()}
    seeds, horizons = list(range(seed, seed + SEEDS)), [HORIZON, 10 * HORIZON]
    found = _tracking_errors(seeds, {optimizer: [lr] for optimizer, lr in chosen.items()}, horizons)
    for optimizer, lr in chosen.items():
        yield "tuned alpha", optimizer.__name__, lr
        for horizon, errors in zip(horizons, found[optimizer][..., 0].tolist(), strict=True):
            for place, error in zip(seeds, errors, strict=True):
                yield f"mean squared distance, {optimizer.__name__}, {horizon} steps", f"seed {place}", error


def _tracking_errors(
    seeds: list[int], step_sizes: Mapping[type[RuleOptimizer], list[float]], horizons: list[int]
) -> dict[type[RuleOptimizer], Tensor]:
    """What each optimizer makes of the same gradients with each of its step sizes: [horizons, seeds, step sizes]."""
    generators = [generator(seed, 0, "C27") for seed in seeds]
    settings: dict[type[RuleOptimizer], dict[str, Any]] = {}
    at: dict[type[RuleOptimizer], list[Tensor]] = {}  # the parameters, and the optimizer's state behind them
    errors: dict[type[RuleOptimizer], Tensor] = {}
    for optimizer, lrs in step_sizes.items():
        settings[optimizer] = optimizer.settings() | {"lr": torch.tensor(lrs, dtype=torch.float64)[:, None]}
        start = torch.zeros(len(seeds), len(lrs), 10, dtype=torch.float64)
        at[optimizer] = [start] * (1 + len(optimizer.state_names))
        errors[optimizer] = torch.zeros(len(horizons), len(seeds), len(lrs), dtype=torch.float64)
    optimum = torch.zeros(len(seeds), 1, 10, dtype=torch.float64)
    for t in range(1, max(horizons) + 1):
        drawn = torch.stack([torch.randn(2, 1, 10, generator=source, dtype=torch.float64) for source in generators])
        noise, wander = drawn[:, 0] - optimum, WANDERING * drawn[:, 1]
        optimum = optimum + wander
        counting = [place for place, horizon in enumerate(horizons) if horizon // 2 < t <= horizon]
        for optimizer, (theta, *state) in at.items():
            at[optimizer] = list(optimizer.rule(theta, theta + noise, *state, t, **settings[optimizer]))
            if counting:
                error = ((at[optimizer][0] - optimum) ** 2).mean(2)
                for place in counting:
                    errors[optimizer][place] += error / (horizons[place] / 2)
    return errors
