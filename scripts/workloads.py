"""What `make bench` trains: five workloads, each as most people write it and as this project does.

A variant is built in a process of its own (see benchmark.py) from files in a folder, and is then a ``Turn``.
"""

from __future__ import annotations

import functools
import itertools
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import peers
import torch
from peers import HAS_JAX, JAX, LR, bag_of_words, images, jax_vmap, typical_loop
from torch import Tensor, nn
from torch.utils.data import DataLoader
from torch.utils.flop_counter import FlopCounterMode

from adam_repro import models
from adam_repro.data import Dataset, default_root, imdb, mnist
from adam_repro.data.order import epoch_order, generator
from adam_repro.gradients import backward
from adam_repro.in_step import ModelsInStep
from adam_repro.members import Member
from adam_repro.optimizers import AdaDelta, AdaGrad, Adam, RMSProp, RuleOptimizer, SGDNesterov
from adam_repro.population import Population
from adam_repro.products import product
from adam_repro.schedules import constant, inverse_sqrt_step
from adam_repro.sparse_population import SparsePopulation
from adam_repro.training import CLEAN_EXAMPLES, Learner, Solo, train

OPTIMIZERS: tuple[type[RuleOptimizer], ...] = (Adam, SGDNesterov, AdaGrad)
LEARNING_RATES = (1e-3, 3e-3, 1e-2, 3e-2, 1e-1, 3e-1, 1.0, 3.0)
PEAK, PEAK_PRODUCTS = "peak", 8
PEAK_SIDE = {"cpu": 1024, "cuda": 8192}
IN_STEP_SIZES = (1, 6, 24)
CPU = torch.device("cpu")
SOLO_WITH = "solo "  # and the name of a rule: a single run of another than Adam
WITHOUT = " without dropout"  # behind that of any rule
FOREIGN = ("typical", JAX)  # variants that run in a process as PyTorch, or JAX, sets it up
TESTED = 1000  # test examples that a run is evaluated on here; its share of the time is scaled to all of them

Steps = Iterator[None]
"""A variant under way: each ``next`` makes one update of all its members."""

Turn = Callable[[int], dict[str, float]]
"""Makes so many steps; gives ``seconds`` a step and, for a run, ``evaluation``, seconds an example."""


@dataclass(frozen=True)
class Workload:
    """``typical`` and ``loss`` are what most people write, in PyTorch's modules; ``model`` is ours, with dropout of
    ``rates``. ``figure`` is the one whose runs it is made of.
    """

    data: str
    figure: str
    typical: Callable[[], nn.Module]
    loss: Callable[[nn.Module, Tensor, Tensor], Tensor]
    loader: Callable[..., DataLoader]
    model: Callable[..., Any]
    rates: dict[str, float] = field(default_factory=dict)
    batch: int = 128
    l2: float = 0.0
    schedule: Callable = constant
    population: Callable[..., Learner] | None = None
    sizes: tuple[int, ...] = ()
    rounds: int = 15  # beside neighbours, medians of nine are off by a twentieth
    seconds: float = 0.3
    dense: bool = True  # whether most of its work is in matrix products
    rivals: tuple[type[RuleOptimizer], ...] = (SGDNesterov, AdaGrad, RMSProp)  # whose steps are timed beside Adam's

    def ours(self) -> Any:
        return self.model(**self.rates)

    def learner(self, members: list[Member]) -> Learner:
        assert self.population is not None
        return self.population(members, **self.rates)

    def without_dropout(self) -> Workload:
        return replace(self, rates=dict.fromkeys(self.rates, 0.0))


digits = functools.partial(images, mean=(0.1307,), std=(0.3081,))  # as in PyTorch's own example
WORKLOADS = {
    "logistic_mnist": Workload(
        data="mnist",
        figure="fig1_mnist",
        typical=peers.softmax_regression,
        loss=peers.loss_of_class,
        loader=digits,
        model=functools.partial(models.SoftmaxRegression, 784, 10),
        l2=1e-4,
        schedule=inverse_sqrt_step,
        population=functools.partial(Population, in_features=784, classes=10),
        sizes=(1, 24, 35, 105),
    ),
    "logistic_imdb": Workload(
        data="imdb",
        figure="fig1_imdb",
        typical=peers.logistic_regression,
        loss=peers.loss_of_review,
        loader=bag_of_words,
        model=functools.partial(models.LogisticRegression, 10_000),
        rates={"input_dropout": 0.5},
        l2=1e-4,
        schedule=inverse_sqrt_step,
        population=functools.partial(SparsePopulation, in_features=10_000),
        sizes=(35, 105),
        dense=False,
    ),
    "mlp": Workload(
        data="mnist",
        figure="fig2_dropout",
        typical=peers.mlp,
        loss=peers.loss_of_class,
        loader=digits,
        model=functools.partial(models.MLP, 784, [1000, 1000], 10),
        rates={"input_dropout": 0.2, "hidden_dropout": 0.5},
        seconds=0.5,
        rivals=(SGDNesterov, AdaGrad, RMSProp, AdaDelta),
    ),
    "vae": Workload(
        data="mnist",
        figure="fig4",
        typical=peers.VAE,
        loss=peers.loss_of_vae,
        loader=images,
        model=functools.partial(models.VAE, 784, 500, 50),
        batch=100,
        rivals=(),  # its figure asks for no time to a target
    ),
    "cnn": Workload(
        data="random images",
        figure="fig3_full",
        typical=peers.cnn,
        loss=peers.loss_of_class,
        loader=functools.partial(images, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5)),
        model=functools.partial(models.CNN, 3, 10),
        rates={"input_dropout": 0.2, "hidden_dropout": 0.5},
    ),
}


def variants(workload: Workload, device: torch.device = CPU) -> list[tuple[str, int]]:
    """Each variant with its number of members; "products" is a floor, the two matrix products of a step."""
    if device.type != "cpu":
        return [("typical", 1), *(("in step", k) for k in IN_STEP_SIZES), (PEAK, 1)]
    named = [(name, 1) for name in ("typical", "solo", "bare loop", "run")]
    named += [(f"{SOLO_WITH}{rule.__name__}", 1) for rule in workload.rivals]
    if workload.rates:
        rules: list[type[RuleOptimizer]] = [Adam, *workload.rivals]
        named += [(f"{SOLO_WITH}{rule.__name__}{WITHOUT}", 1) for rule in rules]
    named += [("population", k) for k in workload.sizes]
    if workload is WORKLOADS["logistic_mnist"]:
        named += [("products", k) for k in workload.sizes]
        named += [(JAX, k) for k in workload.sizes[1:] if HAS_JAX]
    return [*named, (PEAK, 1)]


def build(workload: Workload, variant: str, k: int, folder: Path, device: torch.device = CPU) -> Turn:
    """The variant, ready for its first step; ``folder`` has the files that ``prepare`` wrote."""
    if variant == PEAK:
        return functools.partial(peak, device=device)
    if variant == "products":
        return timed(products(workload.batch, k))
    if variant == "typical":
        loader = workload.loader(folder / workload.data, workload.batch)
        return timed(typical_loop(workload.typical(), workload.loss, loader, device))
    data = torch.load(folder / workload.data / "ours.pt", weights_only=False).to(device)
    if variant == JAX:
        lrs = list(itertools.islice(itertools.cycle(LEARNING_RATES), k))
        return timed(jax_vmap(data, lrs, batch_size=workload.batch, l2=workload.l2))
    if variant == "bare loop":
        return timed(bare_loop(workload, data))
    if variant == "in step":
        return timed(training(ModelsInStep(workload.ours, members(workload, k), device=device), data, workload))
    if variant.endswith(WITHOUT):
        workload, variant = workload.without_dropout(), variant.removesuffix(WITHOUT)
    rule = next((rule for rule in workload.rivals if variant == f"{SOLO_WITH}{rule.__name__}"), Adam)
    learner = population(workload, k) if variant == "population" else solo(workload, rule)
    return whole_run(learner, data, workload.batch) if variant == "run" else timed(training(learner, data, workload))


def timed(steps: Steps) -> Turn:
    def make(n: int) -> None:
        for _ in range(n):
            next(steps)
        wait_for_gpu()

    return lambda n: {"seconds": seconds_of(lambda: make(n)) / n}


def wait_for_gpu() -> None:
    if torch.cuda.is_initialized():
        torch.cuda.synchronize()


def seconds_of(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def solo(workload: Workload, rule: type[RuleOptimizer] = Adam) -> Learner:
    """One run as this project trains it: see ``run.build_learner``."""
    if workload.population is not None:
        return workload.learner([Member(rule, rule.settings(lr=LR), workload.schedule, workload.l2)])
    model = workload.ours()
    return Solo(model, rule(model.parameters(), lr=LR), schedule=workload.schedule, l2=workload.l2)


def population(workload: Workload, k: int) -> Learner:
    """K members over three rules; one member is Adam."""
    return workload.learner(members(workload, k))


def members(workload: Workload, k: int) -> list[Member]:
    settings = itertools.islice(itertools.cycle(itertools.product(LEARNING_RATES, OPTIMIZERS)), k)
    return [Member(rule, rule.settings(lr=lr), workload.schedule, workload.l2) for lr, rule in settings]


def training(learner: Learner, data: Dataset, workload: Workload) -> Steps:
    """Training as ``training.train`` does it, without its evaluations and without a last, shorter minibatch."""
    steps = len(data.train_y) // workload.batch
    for epoch in itertools.count(1):
        order = epoch_order(len(data.train_y), 0, epoch)[: steps * workload.batch]
        learner.begin_epoch(epoch, range((epoch - 1) * steps + 1, epoch * steps + 1))
        for x, y in data.minibatches(order, workload.batch):
            learner.step(x, y)
            yield


def bare_loop(workload: Workload, data: Dataset) -> Steps:
    """The work of ``solo`` by the same parts, written out for this one model and optimizer."""
    if workload.population is not None:
        yield from bare_population(workload, data)
    model = workload.ours()
    optimizer = Adam(model.parameters(), lr=LR)
    (group,) = optimizer.param_groups
    weights = [p for name, p in model.named_parameters() if "bias" not in name] if workload.l2 else []
    t = 0
    while True:
        costs = []
        order = torch.randperm(len(data.train_y))[: len(data.train_y) // workload.batch * workload.batch]
        for x, y in data.minibatches(order, workload.batch):
            t += 1
            group["lr"] = LR * workload.schedule(t, 0)
            cost = backward(model, x, y)
            for weight in weights:
                weight.grad.add_(weight.detach(), alpha=workload.l2)
            optimizer.step()
            costs.append(cost)
            yield


def bare_population(workload: Workload, data: Dataset) -> Steps:
    learner, batch = solo(workload), workload.batch
    steps = len(data.train_y) // batch
    for epoch in itertools.count(1):
        learner.begin_epoch(epoch, range((epoch - 1) * steps + 1, epoch * steps + 1))
        costs = []
        for x, y in data.minibatches(torch.randperm(len(data.train_y))[: steps * batch], batch):
            costs.append(learner.step(x, y))
            yield


def whole_run(learner: Learner, data: Dataset, batch: int) -> Turn:
    """``training.train`` itself: a turn is one pass over as many minibatches, its evaluations timed apart."""

    def turn(n: int) -> dict[str, float]:
        steps = min(n, len(data.train_y) // batch)
        part = data.head(steps * batch, TESTED)
        *_, row = train(learner, part, seed=0, epochs=1, batch_size=batch, evaluate_at=())
        examples = min(len(part.train_y), CLEAN_EXAMPLES) + len(part.test_y)
        return {"seconds": row.train_seconds / steps, "evaluation": row.evaluation_seconds / examples}

    return turn


def products(batch: int, k: int) -> Steps:
    x, theta = torch.rand(batch, 784), torch.randn(10 * k, 784)
    while True:
        logits = product(theta, x)
        product(logits, x.t())
        yield


def peak(n: int, *, device: torch.device) -> dict[str, float]:
    """Seconds of a product of two large square matrices, by the faster of two libraries, for whatever ``n``."""
    side = PEAK_SIDE[device.type]
    a, b = torch.rand(2, side, side, device=device)
    seconds = []
    wait_for_gpu()
    for multiply in (product, lambda a, b: torch.mm(a, b.t())):
        for _ in range(PEAK_PRODUCTS):
            began = time.perf_counter()
            multiply(a, b)
            wait_for_gpu()
            seconds.append(time.perf_counter() - began)
    return {"seconds": min(seconds)}


def flops(workload: Workload) -> int | None:
    """Floating-point operations of one member's step in matrix products and convolutions, as PyTorch counts them.

    Forward and backward, without the gradient of the first layer's input, which nobody needs.
    """
    if not workload.dense:
        return None
    x = torch.rand(workload.batch, *((3, 32, 32) if workload.data == "random images" else (784,)))
    with FlopCounterMode(display=False) as counter:
        workload.loss(workload.typical(), x, torch.zeros(workload.batch, dtype=torch.int64)).backward()
    return counter.get_total_flops()


def prepare(name: str, folder: Path) -> dict[str, Any]:
    """Write the data set ``name`` below ``folder``, as ours and as its typical user has it; what a report says of it.

    ``train`` and ``test`` are the numbers of examples that an experiment has, though a bench may need fewer.
    """
    if name == "random images":
        x = torch.randint(256, (2048 + TESTED, 3, 32, 32), dtype=torch.uint8, generator=generator(0, 0, "bench"))
        pixels, y = x.float() / 255, torch.arange(len(x)) % 10
        data = Dataset(name, "synthetic", "of no file", pixels[:2048], y[:2048], pixels[2048:], y[2048:])
        theirs, facts = x[:2048].permute(0, 2, 3, 1).contiguous(), {"train": 50_000, "test": 10_000}
    else:
        data = {"mnist": mnist, "imdb": imdb}[name].load(default_root())
        theirs = (data.train_x * 255).round().byte().view(-1, 28, 28) if name == "mnist" else data.train_x
        facts = {"train": len(data.train_y), "test": len(data.test_y)}
    (folder / name).mkdir()
    torch.save(data, folder / name / "ours.pt")
    torch.save((theirs, data.train_y), folder / name / "theirs.pt")
    return {**facts, "provenance": data.provenance}
