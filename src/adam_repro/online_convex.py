"""Section 4 and appendix 10.1: regret on streams of convex functions, the theorem's bound, and streams that break it.

The regret R(T) is the sum over t <= T of f_t(theta_t), less the least that one fixed theta could have had. As in
Theorem 4.1 the step size falls like alpha / sqrt(t) and beta1 like beta1 lambda^(t - 1); iterates are projected onto a
box, because the theorem supposes them bounded and Algorithm 1 does not see to that.

The streams of Reddi, Kale and Kumar ("On the Convergence of Adam and Beyond", ICLR 2018) have one coordinate and many
steps, which depend on no parameter: filters find them, and plain Python floats take them. The construction of Wilson et
al. ("The Marginal Value of Adaptive Gradient Methods in Machine Learning", NeurIPS 2017) is here for its test error.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from scipy.signal import lfilter
from torch import Tensor
from torch.nn.functional import softplus

from adam_repro.data.order import generator
from adam_repro.measuring import Measure, Measurement
from adam_repro.optimizers import AdaGrad, Adam, DecayingAdam

SEEDS, DIMENSIONS, BOX, ALPHA = 10, 10, 1.0, 0.1
TIMES = (100, 300, 1000, 3000, 10_000, 30_000)
LAMBDA = 1 - 1e-8  # what the paper suggests
DECAYS = (1.0, LAMBDA, 1 - 1e-4, 1 - 1e-3)
# beta1 and lambda of what is played on each stream
STREAMS = {"linear": ((0.9, LAMBDA), (0.0, 1.0)), "squares": ((0.0, 1.0), *((0.9, decay) for decay in DECAYS))}
LEMMA_STEPS = 10_000
MILLION = 1_000_000
REPORTED = (1000, 10_000, 100_000, MILLION, 10 * MILLION)  # the steps after which a stream of Reddi et al. is looked at
SPARSE_DIMENSIONS = (10, 100, 1000)
SPARSE_SEEDS, SPARSE_STEP_SIZES = 5, [10.0 ** (half / 2) for half in range(-4, 8)]


@dataclass(frozen=True)
class Regret:
    """At each of TIMES: the regret of Adam and of standing still at zero [times, seeds], and what the bound is made of:
    v_hat and the norm of all gradients, [times, seeds, dimensions]; ``largest`` gradient so far, [times, seeds]."""

    regret: Tensor
    standing: Tensor
    v_hat: Tensor
    norm: Tensor
    largest: Tensor


@functools.cache
def play(stream: str, seed: int) -> dict[tuple[float, float], Regret]:
    """Adam with beta2 = 0.999 on a random stream, for ten seeds and all of its STREAMS' (beta1, lambda) at once.

    ``linear``: <g_t, theta> with independent normal g_t of mean w, clipped at 3. ``squares``:
    (<x_t, theta> - y_t)^2 / 2 with normal x_t and y_t = <x_t, w> + noise. w is drawn once for a seed, inside the box.
    """
    sources = [generator(seed + place, 0, stream) for place in range(SEEDS)]
    w = torch.stack([torch.rand(DIMENSIONS, generator=source, dtype=torch.float64) - 0.5 for source in sources])
    arms = STREAMS[stream]
    beta1, decay = torch.tensor(arms, dtype=torch.float64).t()[..., None, None]
    theta, m, v, squares, total = torch.zeros(5, len(arms), SEEDS, DIMENSIONS, dtype=torch.float64)
    loss, standing, largest = torch.zeros(3, len(arms), SEEDS, dtype=torch.float64)
    moments = torch.zeros(SEEDS, DIMENSIONS + 1, DIMENSIONS + 1, dtype=torch.float64)
    found: list[tuple[Tensor, ...]] = []
    for t in range(1, max(TIMES) + 1):
        if t % 1000 == 1:  # a thousand functions of each stream at a time
            drawn = torch.stack(
                [torch.randn(1000, DIMENSIONS + 1, generator=source, dtype=torch.float64) for source in sources], 1
            )
        x, noise = drawn[(t - 1) % 1000, :, :-1], drawn[(t - 1) % 1000, :, -1]
        if stream == "linear":
            g = (x + w).clamp(-3, 3)
            loss, total = loss + (g * theta).sum(-1), total + g
        else:
            y = (x * w).sum(1) + noise
            residual = (x * theta).sum(-1) - y
            g = residual[..., None] * x
            loss, standing = loss + residual**2 / 2, standing + y**2 / 2
            both = torch.cat([x, y[:, None]], 1)
            moments += both[:, :, None] * both[:, None, :]
        squares, largest = squares + g**2, torch.maximum(largest, g.abs().amax(-1))
        theta, m, v = DecayingAdam.rule(
            theta, g, m, v, t, lr=ALPHA / math.sqrt(t), beta1=beta1, beta2=0.999, eps=1e-8, beta1_decay=decay
        )
        theta = theta.clamp(-BOX, BOX)
        if t in TIMES:
            least = -BOX * total.abs().sum(-1) if stream == "linear" else least_squares(moments)
            found.append((loss - least, standing - least, v / (1 - 0.999**t), squares.sqrt(), largest))
    kept = [torch.stack(values) for values in zip(*found, strict=True)]
    return {arm: Regret(*(values[:, place] for values in kept)) for place, arm in enumerate(arms)}


def least_squares(moments: Tensor) -> Tensor:
    """The least sum of (<x, theta> - y)^2 / 2 over all theta, from the sums of products of (x, y): [seeds].

    Over all theta and not over the box alone: that can only be less, and make the regret larger.
    """
    a, b, c = moments[:, :-1, :-1], moments[:, :-1, -1:], moments[:, -1, -1]
    return (c - (b * torch.linalg.lstsq(a, b).solution).sum((1, 2))) / 2


def growth(seed: int) -> Iterator[Measurement]:
    """C15: the slope of log R(T) over log T on random streams, and R(T) / T on the streams of Reddi et al."""
    t = torch.tensor(TIMES, dtype=torch.float64)
    for stream in ("linear", "squares"):
        played = play(stream, seed)[0.9, LAMBDA]
        regret = played.regret
        for place, time in enumerate(TIMES):
            yield f"mean regret over seeds, {stream}", f"T = {time}", regret[place].mean().item()
            yield f"mean regret of standing still, {stream}", f"T = {time}", played.standing[place].mean().item()
        x = (t.log() - t.log().mean())[:, None]
        slopes = (x * regret.log()).sum(0) / (x * x).sum()
        for place, slope in enumerate(slopes.tolist()):
            yield f"slope of log R over log T, {stream}", f"seed {seed + place}", slope
    for arm in ARMS:
        for time, position, average in reddi(arm, seed):
            yield f"R(T) / T, {arm.name}", f"T = {time}", average
            yield f"position, {arm.name}", f"T = {time}", position


@dataclass(frozen=True)
class Arm:
    """One method on one of the three streams, which are linear: f_t(x) = g_t x on [-1, 1], best at -1."""

    name: str
    stream: str  # "a", "b" or "c"
    alpha: float
    beta1: float
    beta2: float
    falls: bool = True  # alpha / sqrt(t), else constant
    amsgrad: bool = False
    horizon: int = 1_000_000
    c: float = 0.0  # stream a's constant


ARMS = (
    Arm("stream a, C = 2.5, Adam beta2 = 1/(1 + C^2)", "a", 0.1, 0.0, 1 / (1 + 2.5**2), c=2.5),
    Arm("stream a, C = 5, Adam beta2 = 1/(1 + C^2)", "a", 0.1, 0.0, 1 / 26, c=5.0),
    Arm("stream a, C = 2.5, AMSGrad", "a", 0.1, 0.0, 1 / (1 + 2.5**2), amsgrad=True, c=2.5),
    Arm("stream a, C = 5, AMSGrad", "a", 0.1, 0.0, 1 / 26, amsgrad=True, c=5.0),
    Arm("stream a, C = 2.5, Adam default betas", "a", 0.1, 0.9, 0.999, c=2.5),
    Arm("stream b, Adam beta2 = 0.99", "b", 0.1, 0.9, 0.99),
    Arm("stream b, AMSGrad beta2 = 0.99", "b", 0.1, 0.9, 0.99, amsgrad=True, horizon=10_000_000),
    Arm("stream b, AMSGrad beta2 = 0.99, alpha = 1/sqrt(t)", "b", 1.0, 0.9, 0.99, amsgrad=True),
    Arm("stream b, Adam beta2 = 0.99, alpha = 0.001", "b", 1e-3, 0.9, 0.99, falls=False),
    Arm("stream b, AMSGrad beta2 = 0.99, alpha = 0.001", "b", 1e-3, 0.9, 0.99, falls=False, amsgrad=True),
    Arm("stream b, Adam default betas, alpha = 0.01", "b", 1e-2, 0.9, 0.999, falls=False),
    Arm("stream b, Adam default betas", "b", 0.1, 0.9, 0.999, horizon=10_000_000),
    Arm("stream b, Adam beta2 = 0.9999, alpha = 0.01", "b", 1e-2, 0.9, 0.9999, falls=False),
    Arm("stream c, Adam beta2 = 0.99, alpha = 0.01/sqrt(t)", "c", 1e-2, 0.9, 0.99),
    Arm("stream c, AMSGrad beta2 = 0.99, alpha = 0.01/sqrt(t)", "c", 1e-2, 0.9, 0.99, amsgrad=True),
)


@functools.cache  # two claims ask for the first arms
def reddi(arm: Arm, seed: int) -> list[tuple[int, float, float]]:
    """(T, position, R(T) / T) at powers of ten, from x = 0. Algorithm 1 in one coordinate, or AMSGrad as Reddi
    et al. write it, without bias correction; no epsilon.

    No slope depends on x: Algorithm 1's steps are found ahead, a million at a time, and taken one by one.
    """
    x = loss = total = highest = 0.0
    beta1, beta2 = arm.beta1, arm.beta2
    first, second = np.zeros(1), np.zeros(1)  # the two averages so far, as the filter keeps them
    found, slopes = [], gradients_of(arm, seed)
    ends = [end for end in sorted({*REPORTED, *range(MILLION, arm.horizon, MILLION)}) if end <= arm.horizon]
    for before, after in itertools.pairwise([0, *ends]):
        g, t = slopes[before:after], np.arange(before + 1, after + 1)
        m, first = lfilter([1 - beta1], [1, -beta1], g, zi=first)  # m_t = beta1 m_{t-1} + (1 - beta1) g_t
        v, second = lfilter([1 - beta2], [1, -beta2], g * g, zi=second)
        if arm.amsgrad:
            v = np.maximum(np.maximum.accumulate(v), highest)
            highest = v[-1]
        else:
            m, v = m / (1 - beta1**t), v / (1 - beta2**t)
        lr = arm.alpha / np.sqrt(t) if arm.falls else arm.alpha
        for step, slope in zip((lr * m / np.sqrt(v)).tolist(), g.tolist(), strict=True):
            loss += slope * x
            x -= step
            if x > 1:
                x = 1.0
            elif x < -1:
                x = -1.0
        total += g.sum()
        if after in REPORTED:
            found.append((after, x, (loss + abs(total)) / after))  # the best fixed x is -1 or 1
    return found


def gradients_of(arm: Arm, seed: int) -> np.ndarray:
    """The slopes of f_1 to f_horizon. (a): C at the first and every third t, else -1. (b): 1010 at the first and every
    101st, else -10. (c): 1010 with probability 0.01, else -10."""
    if arm.stream == "c":
        drawn = torch.rand(arm.horizon, generator=generator(seed, 0, "stream c"), dtype=torch.float64) < 0.01
        return np.where(drawn.numpy(), 1010.0, -10.0)
    period = (arm.c, -1.0, -1.0) if arm.stream == "a" else (1010.0, *100 * (-10.0,))
    return np.resize(period, arm.horizon)


def bounds(seed: int) -> Iterator[Measurement]:
    """C16: the bound of Theorem 4.1 against the regret; its third term; Lemma 10.3."""
    for stream, (beta1, decay) in itertools.product(("linear", "squares"), ((0.9, LAMBDA), (0.0, 1.0))):
        found, kind = play(stream, seed)[beta1, decay], f"{stream}, beta1 = {beta1:g}"
        for place, time in enumerate(TIMES):
            parts = (found.v_hat[place], found.norm[place], found.largest[place])
            # without beta1 the third term does not depend on lambda, and is taken at its least
            terms = torch.stack(theorem(*parts, time, beta1=beta1, beta2=0.999, decay=decay if beta1 else 0.0))
            trivial = 2 * BOX * found.largest[place] * DIMENSIONS * time
            yield f"bound / regret, {kind}", f"T = {time}", (terms.sum(0) / found.regret[place]).min().item()
            yield f"bound / (2 G d T), {kind}", f"T = {time}", (terms.sum(0) / trivial).max().item()
            yield f"third term's share of the bound, {kind}", f"T = {time}", (terms[2] / terms.sum(0)).min().item()
    for arm in ARMS[:2]:
        time, _, average = reddi(arm, seed)[-1]
        squares = gradients_of(arm, seed)[:time] ** 2
        v_hat = torch.from_numpy(lfilter([1 - arm.beta2], [1, -arm.beta2], squares)[-1:])
        norm = torch.tensor([math.sqrt(squares.sum())])
        largest = torch.tensor(arm.c, dtype=torch.float64)
        least = theorem(v_hat, norm, largest, time, beta1=0.0, beta2=arm.beta2, decay=0.0)
        yield (
            "bound / regret, stream a",
            f"C = {arm.c:g}, T = {time}",
            torch.stack(least).sum().item() / (average * time),
        )
    t = torch.arange(1, LEMMA_STEPS + 1, dtype=torch.float64)
    for c in (1.0, 0.5, 0.1, 0.01):
        left = (c**2 / t).sqrt().sum().item()
        right = 2 * c * math.sqrt(LEMMA_STEPS * c**2)
        yield "left side / right side of Lemma 10.3", f"gradients of {c:g}, T = {LEMMA_STEPS}", left / right


def theorem(
    v_hat: Tensor, norm: Tensor, largest: Tensor, time: int, *, beta1: float, beta2: float, decay: float = LAMBDA
) -> list[Tensor]:
    """The three terms of Theorem 4.1's bound, each summed over coordinates: [seeds].

    v_hat, norm [seeds, dimensions], largest [seeds]. D in the first term is taken as D_inf, the width of the box.
    """
    width, gamma = 2 * BOX, beta1**2 / math.sqrt(beta2)
    first = width**2 / (2 * ALPHA * (1 - beta1)) * (time * v_hat).sqrt().sum(-1)
    second = ALPHA * (1 + beta1) * largest / ((1 - beta1) * math.sqrt(1 - beta2) * (1 - gamma) ** 2) * norm.sum(-1)
    third = width**2 * largest * math.sqrt(1 - beta2) / (2 * ALPHA * (1 - beta1) * (1 - decay) ** 2)
    return [first, second, v_hat.shape[-1] * third]


def sparse_features(seed: int) -> Iterator[Measurement]:
    """C17: regret of Adam over that of SGD, each at its best step size, as sparse features become many; and AdaGrad's,
    which was made for them.

    Logistic losses on binary features: feature i is present with probability 1 / i, the labels come from a teacher with
    weights at a corner of the box, and each method makes 20 d steps of alpha / sqrt(t) (AdaGrad, whose steps fall by
    themselves, of alpha), so that the rarest feature comes twenty times. Regret is taken against the teacher.
    """
    lrs = torch.tensor(SPARSE_STEP_SIZES)[:, None]
    for dimensions in SPARSE_DIMENSIONS:
        count = 20 * dimensions
        sources = [generator(seed + place, dimensions, "C17") for place in range(SPARSE_SEEDS)]
        teacher = torch.stack([torch.randint(2, (dimensions,), generator=source) * 2 - 1 for source in sources]).float()
        probabilities = 1 / torch.arange(1, dimensions + 1, dtype=torch.float32)
        adam, m, v, sgd, adagrad, squares = torch.zeros(6, SPARSE_SEEDS, len(lrs), dimensions)
        losses = torch.zeros(4, SPARSE_SEEDS, len(lrs))
        for t in range(1, count + 1):
            if t % 1000 == 1:  # a thousand functions of each seed at a time
                drawn = torch.stack([torch.rand(1000, dimensions + 1, generator=source) for source in sources], 1)
            uniform = drawn[(t - 1) % 1000]
            present = (uniform[:, :-1] < probabilities).float()
            margin = (teacher * present).sum(1)
            y = torch.where(uniform[:, -1] < margin.sigmoid(), 1.0, -1.0)[:, None]
            scores = torch.stack([(theta * present[:, None]).sum(-1) for theta in (adam, sgd, adagrad)])
            losses += softplus(-y * torch.cat([scores, margin[:, None].expand_as(scores[:1])]))
            slopes = -y * torch.sigmoid(-y * scores)
            g = slopes[..., None] * present[:, None]
            lr = lrs / t**0.5
            adam, m, v = Adam.rule(adam, g[0], m, v, t, lr=lr, beta1=0.9, beta2=0.999, eps=1e-8)
            sgd = sgd - lr * g[1]
            adagrad, squares = AdaGrad.rule(adagrad, g[2], squares, t, lr=lrs, eps=1e-10)
            for theta in (adam, sgd, adagrad):
                theta.clamp_(-BOX, BOX)
        regret, best = (losses[:3] - losses[3]).min(2)
        for place in range(SPARSE_SEEDS):
            setting = f"d = {dimensions}, seed {seed + place}"
            for row, name in enumerate(("Adam", "SGD", "AdaGrad")):
                yield f"best alpha, {name}", setting, lrs[best[row, place]].item()
            yield "regret of Adam / regret of SGD", setting, (regret[0, place] / regret[1, place]).item()
            yield "regret of AdaGrad / regret of SGD", setting, (regret[2, place] / regret[1, place]).item()


def decaying_beta1(seed: int) -> Iterator[Measurement]:
    """C18: regret with a decaying beta1 over regret with a constant one, at the end of the stream of squares."""
    played = play("squares", seed)
    for decay in DECAYS[1:]:
        ratios = (played[0.9, decay].regret[-1] / played[0.9, 1.0].regret[-1]).tolist()
        for place, ratio in enumerate(ratios):
            yield f"regret / regret with constant beta1, 1 - lambda = {1 - decay:.0e}", f"seed {seed + place}", ratio


def wilson(seed: int) -> Iterator[Measurement]:
    """Test error and training loss of full-batch methods on the construction of Wilson et al., with 200 examples.

    The label is +1 with probability p. Of the features the first is the label, two are always 1, and the others belong
    to one example alone: one of them for a positive example, five for a negative one. Least squares, from zero.
    """
    count, fresh = 200, 10_000
    for p in (0.55, 0.6, 0.75):
        source = generator(seed, 0, f"Wilson {p}")
        y = torch.where(torch.rand(count, generator=source, dtype=torch.float64) < p, 1.0, -1.0).double()
        x = torch.zeros(count, 3 + 6 * count, dtype=torch.float64)
        x[:, 0], x[:, 1:3] = y, 1
        for row in range(count):
            own = 3 + 6 * row
            x[row, own : own + (1 if y[row] > 0 else 5)] = 1
        labels = torch.where(torch.rand(fresh, generator=source, dtype=torch.float64) < p, 1.0, -1.0)
        for name in ("gradient descent", "Adam", "AdaGrad"):
            theta, m, v = torch.zeros(3, x.shape[1], dtype=torch.float64)
            for t in range(1, 3001):
                g = x.t() @ (x @ theta - y) / count
                if name == "gradient descent":
                    theta = theta - 0.4 * g
                elif name == "Adam":
                    theta, m, v = Adam.rule(theta, g, m, v, t, lr=1e-3, beta1=0.9, beta2=0.999, eps=1e-8)
                else:
                    theta, v = AdaGrad.rule(theta, g, v, t, lr=1e-2, eps=1e-10)
            wrong = (labels * theta[0] + theta[1] + theta[2]) * labels <= 0  # no feature of its own was ever trained
            yield f"test error, {name}", f"p = {p}", wrong.double().mean().item()
            yield f"training loss, {name}", f"p = {p}", (((x @ theta - y) ** 2).mean() / 2).item()


MEASURED: dict[str, Measure] = {
    "C15": growth,
    "C16": bounds,
    "C17": sparse_features,
    "C18": decaying_beta1,
    "Wilson": wilson,
}
