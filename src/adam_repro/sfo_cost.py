"""What SFO costs beside Adam: seconds of a pass and bytes of memory, against its number of minibatches (section 6.2).

On the network of Figure 2 and as many examples as MNIST has, random ones: what they are moves neither number. Every
number of minibatches has a process of its own, of one thread, whose seconds are the processor's, so that other work on
the machine lengthens them little. Its peak of memory is read when SFO's subspace has been full, on a few examples, so
that it is the optimizer's and not that of large minibatches or of compiling Adam.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import torch
from torch import Tensor

from adam_repro import memory
from adam_repro.measuring import Measure, Measurement
from adam_repro.models import MLP
from adam_repro.optimizers import SFO, Adam

EXAMPLES, INPUTS, HIDDEN, CLASSES = 60_000, 784, (1000, 1000), 10
MINIBATCH = 128  # Adam's (section 6.1)
NUMBERS = (6, 12, 24, 48)  # of SFO's minibatches; 24 is about sqrt(number of training examples) / 10
REPEATS = 3
ADAM_STEPS = 40  # that stand for the 469 of a pass
FEW = 64  # more than NUMBERS; examples of a minibatch while the subspace fills, which is no part of what is timed


def cost(seed: int) -> Iterator[Measurement]:
    for N in NUMBERS:
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
            passes, peak = process.submit(measured, N, seed).result()
        for repeat, (sfo, adam) in enumerate(passes):
            yield "seconds of a pass, SFO", f"N = {N}, repeat {repeat}", sfo
            yield "seconds of a pass, Adam", f"N = {N}, repeat {repeat}", adam
        yield "peak of the process, MB", f"{N}", peak / 1e6


MEASURED: dict[str, Measure] = {"L14": cost}


def measured(
    N: int, seed: int, *, examples: int = EXAMPLES, hidden: tuple[int, ...] = HIDDEN, repeats: int = REPEATS
) -> tuple[list[tuple[float, float]], float]:
    """Seconds of a pass of SFO with ``N`` minibatches and of Adam, in turn, ``repeats`` times; the process's peak in
    bytes. SFO's subspace is full before the first: it becomes narrow and fills again about once a pass."""
    torch.set_num_threads(1)
    torch.manual_seed(seed)
    ours, theirs = (MLP(INPUTS, hidden, CLASSES, input_dropout=0.0, hidden_dropout=0.0) for _ in range(2))
    sfo, adam = SFO(ours.parameters(), subfunctions=N), Adam(theirs.parameters())
    few = torch.rand(FEW, INPUTS), torch.randint(CLASSES, (FEW,))
    for _ in range(SFO.directions(N) + 1):
        _sfo_step(ours, sfo, *few)
    peak = memory.peak()
    size = math.ceil(examples / N)
    x, y = torch.rand(size, INPUTS), torch.randint(CLASSES, (size,))
    _adam_step(theirs, adam, x[:MINIBATCH], y[:MINIBATCH])  # the first one compiles
    passes = []
    for _ in range(repeats):
        began = time.process_time()
        for _ in range(N):
            _sfo_step(ours, sfo, x, y)
        between = time.process_time()
        for _ in range(ADAM_STEPS):
            _adam_step(theirs, adam, x[:MINIBATCH], y[:MINIBATCH])
        share = ADAM_STEPS / math.ceil(examples / MINIBATCH)
        passes.append((between - began, (time.process_time() - between) / share))
    return passes, peak


def _sfo_step(model: MLP, optimizer: SFO, x: Tensor, y: Tensor) -> None:
    """A step on the minibatch, rolled by the number that is chosen, so that no two are the same."""

    def closure() -> Tensor:
        optimizer.zero_grad()
        value = model.cost(x, y.roll(optimizer.chosen))
        value.backward()
        return value

    optimizer.step(closure)


def _adam_step(model: MLP, optimizer: Adam, x: Tensor, y: Tensor) -> None:
    optimizer.zero_grad()
    model.cost(x, y).backward()
    optimizer.step()
