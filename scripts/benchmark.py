"""How fast training is, as ratios taken in one run on one machine: `make bench`.

Every variant trains softmax regression on the same minibatches of 128 on one core, and variants take turns, so that a
machine whose speed drifts drifts for all. Writes results/paper/bench/bench.json. With --grid, also the wall time of
240 runs (3 optimizers, 8 learning rates, 10 seeds) at the paper's length on all cores.
"""

from __future__ import annotations

import argparse
import datetime
import functools
import importlib.util
import itertools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset
from torchvision import transforms

from adam_repro import records
from adam_repro.app import shown_kindly
from adam_repro.data import Dataset, default_root, mnist
from adam_repro.data.order import epoch_order
from adam_repro.members import Member
from adam_repro.models import SoftmaxRegression
from adam_repro.optimizers import AdaGrad, Adam, RuleOptimizer, SGDNesterov
from adam_repro.population import Population
from adam_repro.process import settle_process
from adam_repro.products import product
from adam_repro.schedules import inverse_sqrt_step
from adam_repro.surroundings import PROJECT_ROOT, surroundings
from adam_repro.sweep import cores
from adam_repro.training import Solo

BATCH, L2 = 128, 1e-4
OPTIMIZERS: tuple[type[RuleOptimizer], ...] = (Adam, SGDNesterov, AdaGrad)
LEARNING_RATES = (1e-3, 3e-3, 1e-2, 3e-2, 1e-1, 3e-1, 1.0, 3.0)
SIZES = (1, 24, 35, 105)
FIGURES_SIZE = 24  # members that share a seed in Figure 1, left: three optimizers, eight learning rates
GRID_SEEDS, GRID_EPOCHS = 10, 46

Steps = Iterator[None]
"""A variant under way: each ``next`` makes one update of all its members."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--grid", action="store_true", help="time the 240 runs too")
    parser.add_argument("--rounds", type=int, default=9, help="turns that each variant takes")
    parser.add_argument("--seconds", type=float, default=0.3, help="length of a turn")
    parser.add_argument("--output", type=Path, default=PROJECT_ROOT / "results" / "paper" / "bench" / "bench.json")
    given = parser.parse_args()
    grid = time_grid() if given.grid else None  # before this process takes to one core
    one_core()
    with shown_kindly():
        data = mnist.load(default_root())
        measured = measure(variants(data), rounds=given.rounds, seconds=given.seconds)
        if grid is not None:
            best = next(row["us"] for row in measured if row["variant"] == "population" and row["k"] == FIGURES_SIZE)
            steps = grid["runs"] * GRID_EPOCHS * -(-grid["train_examples"] // BATCH)
            grid["times_best_step"] = grid["seconds"] * grid["cores"] / (steps * best / 1e6)
        result = {
            "measured": measured,
            "grid": grid,
            **surroundings(),
            "command": " ".join(["make bench", *(["ARGS=--grid"] if given.grid else [])]),
            "written": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        }
        records.write_atomically(given.output, json.dumps(result, indent=2) + "\n")
        show(result)
        print(f"Written: {given.output}")


def one_core() -> None:
    """Hold this process to its last core and one thread, and every library in it."""
    torch.set_num_threads(1)
    settle_process()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})


def variants(data: Dataset) -> dict[tuple[str, int], Callable[[], Steps]]:
    """Each variant by its name and number of members; "products" is a floor, the two matrix products of a step."""
    every: list[tuple[str, int, Callable[..., Steps]]] = [("typical loop", 1, typical), ("solo", 1, solo)]
    every += [("population", k, population) for k in SIZES] + [("products", k, products) for k in SIZES]
    if importlib.util.find_spec("jax") and importlib.util.find_spec("optax"):
        every += [("JAX vmap + optax", k, jax_vmap) for k in SIZES[1:]]
    return {(name, k): functools.partial(start, data, k) for name, k, start in every}


class Images(TorchDataset):
    """An image at a time, through PIL and transforms, as torchvision's data sets give them.

    The transforms are those of PyTorch's own MNIST example.
    """

    def __init__(self, data: Dataset):
        self.images = (data.train_x * 255).byte().view(-1, 28, 28)
        self.labels = data.train_y
        self.transform = transforms.Compose([transforms.ToTensor(), transforms.Normalize((0.1307,), (0.3081,))])

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple:
        return self.transform(Image.fromarray(self.images[index].numpy())), int(self.labels[index])


def typical(data: Dataset, k: int = 1) -> Steps:
    """What most people write: DataLoader, torch.optim.Adam, the loss read at every step."""
    model = nn.Linear(784, 10)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    loader = DataLoader(Images(data), batch_size=BATCH, shuffle=True)
    while True:
        running = 0.0
        for x, y in loader:
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(x.flatten(1)), y)
            loss.backward()
            optimizer.step()
            running += loss.item()
            yield


def solo(data: Dataset, k: int = 1) -> Steps:
    """One run as this project trains it."""
    model = SoftmaxRegression(784, 10)
    return training(Solo(model, Adam(model.parameters()), schedule=inverse_sqrt_step, l2=L2), data)


def population(data: Dataset, k: int) -> Steps:
    """K members over three rules; one member is Adam."""
    settings = itertools.cycle(itertools.product(LEARNING_RATES, OPTIMIZERS))
    members = [
        Member(optimizer, optimizer.settings(lr=lr), inverse_sqrt_step, L2)
        for lr, optimizer in itertools.islice(settings, k)
    ]
    return training(Population(members, in_features=784, classes=10), data)


def training(learner, data: Dataset) -> Steps:
    """Training as ``training.train`` does it, without its evaluations."""
    for epoch in itertools.count(1):
        batches = epoch_order(len(data.train_y), 0, epoch).split(BATCH)[:-1]
        learner.begin_epoch(epoch, range(1, 1 + len(batches)))
        for batch in batches:
            learner.step(data.train_x.index_select(0, batch), data.train_y.index_select(0, batch))
            yield


def products(data: Dataset, k: int) -> Steps:
    x, theta = data.train_x[:BATCH], torch.randn(10 * k, 784)
    while True:
        logits = product(theta, x)
        product(logits, x.t())
        yield


def jax_vmap(data: Dataset, k: int) -> Steps:
    """K members of one rule, Adam, by vmap over parameters, state and learning rate, in one jitted step."""
    import jax
    import jax.numpy as jnp
    import optax

    x, y = jnp.asarray(data.train_x.numpy()), jnp.asarray(data.train_y.numpy())
    rule = optax.scale_by_adam()
    lrs = jnp.asarray(list(itertools.islice(itertools.cycle(LEARNING_RATES), k)))

    def cost(parameters, x, y):
        logits = x @ parameters["weight"] + parameters["bias"]
        data_term = optax.softmax_cross_entropy_with_integer_labels(logits, y).mean()
        return data_term + L2 / 2 * (parameters["weight"] ** 2).sum(), data_term

    def member(parameters, state, lr, x, y):
        (_, data_term), gradient = jax.value_and_grad(cost, has_aux=True)(parameters, x, y)
        direction, state = rule.update(gradient, state)
        return jax.tree.map(lambda p, d: p - lr * d, parameters, direction), state, data_term

    @jax.jit
    def step(parameters, state, t, x, y, batch):
        update = jax.vmap(member, in_axes=(0, 0, 0, None, None))
        return update(parameters, state, lrs / jnp.sqrt(t), x[batch], y[batch])

    parameters = {"weight": jnp.zeros((k, 784, 10)), "bias": jnp.zeros((k, 10))}
    state = jax.vmap(rule.init)(parameters)
    t = 0.0
    for epoch in itertools.count(1):
        for batch in epoch_order(len(data.train_y), 0, epoch).split(BATCH)[:-1]:
            t += 1
            parameters, state, costs = step(parameters, state, t, x, y, batch.numpy())
            costs.block_until_ready()
            yield


def measure(every: dict[tuple[str, int], Callable[[], Steps]], *, rounds: int, seconds: float) -> list[dict]:
    """Microseconds of a member-step for each variant: median, fastest and slowest turn, and ratios to the typical loop.

    A turn makes as many steps as fill ``seconds``. A ratio is the median over rounds of the ratios within a round.
    """
    under_way = {key: start() for key, start in every.items()}
    counts = {}
    for key, steps in under_way.items():
        advance(steps, 3)  # compiles, fills caches
        counts[key] = max(3, round(seconds / advance(steps, 5)))
    turns: dict[tuple[str, int], list[float]] = {key: [] for key in every}
    for _ in range(rounds):
        for key, steps in under_way.items():
            turns[key].append(advance(steps, counts[key]) / key[1] * 1e6)
    reference = turns["typical loop", 1]
    return [
        {
            "variant": variant,
            "k": k,
            "us": statistics.median(turn),
            "fastest": min(turn),
            "slowest": max(turn),
            "times_faster": statistics.median(a / b for a, b in zip(reference, turn, strict=True)),
        }
        for (variant, k), turn in turns.items()
    ]


def advance(steps: Steps, n: int) -> float:
    """Seconds a step, over ``n`` steps."""
    began = time.perf_counter()
    for _ in range(n):
        next(steps)
    return (time.perf_counter() - began) / n


def time_grid() -> dict:
    """The 240 runs of the grid by the command that a user would type, everything included."""
    with tempfile.TemporaryDirectory() as results:
        command = [
            str(PROJECT_ROOT / "experiments" / "logistic_regression.py"),
            "-m",
            "optimizer=adam,sgd_nesterov,adagrad",
            f"optimizer.lr={','.join(f'{lr:g}' for lr in LEARNING_RATES)}",
            f"seed=range({GRID_SEEDS})",
            "schedule=inverse_sqrt_step",
            f"l2={L2:g}",
            f"epochs={GRID_EPOCHS}",
            "tracking.mode=disabled",
            f"results={results}",
        ]
        began = time.perf_counter()
        subprocess.run([sys.executable, *command], check=True)
        seconds = time.perf_counter() - began
        written = [records.read(path) for path in Path(results).glob("runs/*/*")]
        examples = written[0].config["dataset"]["train_examples"]
    return {"runs": len(written), "seconds": seconds, "cores": cores(), "train_examples": examples}


def show(result: dict) -> None:
    print(f"{'variant':>18} {'K':>4} {'µs a member-step':>17} {'fastest':>8} {'slowest':>8}   times the typical loop")
    for row in result["measured"]:
        print(
            f"{row['variant']:>18} {row['k']:>4} {row['us']:>17.1f} {row['fastest']:>8.1f} {row['slowest']:>8.1f}"
            f"   {row['times_faster']:.1f}"
        )
    if grid := result["grid"]:
        print(
            f"{grid['runs']} runs of {GRID_EPOCHS} epochs: {grid['seconds']:.0f} s on {grid['cores']} cores, "
            f"{grid['times_best_step']:.2f} times their steps at the speed above"
        )


if __name__ == "__main__":
    main()
