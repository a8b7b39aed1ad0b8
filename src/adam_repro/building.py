"""The model and the optimizer that a run's configuration names."""

from __future__ import annotations

from typing import Any

import torch
from hydra.utils import instantiate
from torch import nn

from adam_repro.data.order import generator


def build_model(config: dict[str, Any]) -> Any:
    """The model of a run with its initial parameters, a function of the seed."""
    with torch.random.fork_rng(devices=[]):  # of no GPU: to ask one for its state would open it, in a run on cores too
        torch.manual_seed(generator(config["seed"], 0, "init").initial_seed())
        return instantiate(config["model"])


def build_optimizer(config: dict[str, Any], model: nn.Module) -> torch.optim.Optimizer:
    return instantiate(config["optimizer"], _partial_=True, _convert_="all")(model.parameters())
