"""The learner whose optimizer chooses among the minibatches of a fixed partition: SFO's."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from torch import Tensor

from adam_repro.data import Dataset
from adam_repro.data.order import epoch_order, seed_noise
from adam_repro.optimizers import SFO
from adam_repro.training import Model, Solo


class Partitioned(Solo):
    """An ordinary model with SFO. A pass is as many evaluations as there are minibatches, of whichever it chooses.

    ``frozen_noise``: what the model draws for a minibatch, such as dropout masks, is a function of that minibatch; the
    subfunctions then are functions. Otherwise the noise is fresh in every step, as for any optimizer.
    """

    def __init__(
        self, model: Model, optimizer: SFO, *, schedule: Callable, l2: float, seed: int, frozen_noise: bool
    ) -> None:
        super().__init__(model, optimizer, schedule=schedule, l2=l2)
        self.sfo, self.seed, self.frozen_noise = optimizer, seed, frozen_noise

    def minibatches(self, data: Dataset, batch_size: int, *, seed: int, epoch: int) -> Iterator[tuple[Any, Tensor]]:
        """The minibatch that the optimizer has chosen by the time of each step, x and y."""
        parts = epoch_order(len(data.train_y), seed, 1).to(data.train_y.device).tensor_split(self.sfo.subfunctions)
        for _ in parts:
            chosen = parts[self.sfo.chosen]
            yield data.train_x.index_select(0, chosen), data.train_y[chosen]

    def step(self, x: Any, y: Tensor) -> Tensor:
        if self.frozen_noise:
            seed_noise(self.seed, self.sfo.chosen, "frozen noise")
        return super().step(x, y)
