"""The members of a population, and the update of all of them as one compiled loop."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from adam_repro.compilation import compiled_in_long_runs
from adam_repro.optimizers import RuleOptimizer
from adam_repro.staging import Staged, stage


@dataclass(frozen=True)
class Member:
    """One run of a population: an optimizer class of this package with its settings, a schedule, an L2 strength."""

    optimizer: type[RuleOptimizer]
    settings: dict[str, float | bool]
    schedule: Callable
    l2: float

    @property
    def rule(self) -> tuple[type[RuleOptimizer], tuple[tuple[str, bool], ...]]:
        """Members with an equal rule differ in numbers only, and are updated by one loop."""
        return self.optimizer, tuple((flag, bool(self.settings[flag])) for flag in self.optimizer.flags)


class Segment:
    """The consecutive members that follow one rule, and their coefficients for each step of an epoch."""

    def __init__(self, members: Sequence[Member], dtype: torch.dtype, *, reciprocals: bool = False):
        optimizer, flags = members[0].rule
        self.members = members
        self.staged: Staged = stage(optimizer.rule, optimizer.state_names, flags, reciprocals=reciprocals)
        self.state_names = optimizer.state_names
        self.dtype = dtype
        names = [name for name in members[0].settings if name not in dict(flags)]
        self.hyper = {name: vector([member.settings[name] for member in members]) for name in names}

    @property
    def size(self) -> int:
        return len(self.members)

    def state_of(self, theta: Tensor) -> list[Tensor]:
        """What the rule remembers of the members' parameters before the first step."""
        return [torch.zeros_like(theta) for _ in self.state_names]

    def judged(self, theta: Tensor, state: Sequence[Tensor]) -> Tensor:
        """What the members are evaluated by: their parameters, or an average that the rule keeps of them.

        That starts from zero, as the parameters of regressions do. ``ModelsInStep``, whose parameters start anywhere,
        is given no rule that keeps one: see ``run.is_captured``.
        """
        name = self.members[0].optimizer.judged
        return theta if name is None else state[self.state_names.index(name)]

    def coefficients(self, steps: range, epoch: int) -> tuple[Tensor, ...]:
        """The rule's coefficients at each of the epoch's ``steps`` (t, from 1): for each a tensor [coefficients, k]."""
        t = torch.arange(steps.start, steps.stop, dtype=torch.float64)
        factors = torch.stack([member.schedule(t, torch.full_like(t, epoch)) for member in self.members], dim=1)
        hyper = {**self.hyper, "lr": self.hyper["lr"] * factors}
        values = self.staged.coefficients(t[:, None], **hyper)
        return torch.stack([value.expand_as(factors) for value in values], 1).to(self.dtype).unbind()


def segments_of(members: Sequence[Member], dtype: torch.dtype, *, reciprocals: bool = False) -> list[Segment]:
    """The members sorted by rule, a segment for each rule; their order in a population is that of the segments.

    ``reciprocals``: as in ``stage``.
    """
    ordered = sorted(members, key=lambda member: (member.optimizer.__name__, member.rule[1]))
    return [
        Segment(list(group), dtype, reciprocals=reciprocals)
        for _, group in itertools.groupby(ordered, key=lambda member: member.rule)
    ]


class InStep:
    """What every population can do: hand out what its members have learnt, and go on from there."""

    segments: Sequence[Segment]
    _thetas: Sequence[Tensor]
    _states: Sequence[Sequence[Tensor]]

    def judged_blocks(self) -> list[Tensor]:
        """What is evaluated, block by block of the parameters, whose blocks follow the segments again and again."""
        blocks = zip(itertools.cycle(self.segments), self._thetas, self._states, strict=False)
        return [segment.judged(theta, state) for segment, theta, state in blocks]

    def state(self) -> list[Tensor]:
        """The parameters, block by block, and what the rules remember of them."""
        return [*self._thetas, *itertools.chain.from_iterable(self._states)]

    @torch.no_grad()
    def restore(self, state: Sequence[Tensor]) -> None:
        """Go on from the ``state`` of a population with equal members."""
        for mine, saved in zip(self.state(), state, strict=True):
            mine.copy_(saved)


@functools.cache
def update_of(rules: tuple[Callable, ...]) -> Callable:
    """One function that updates all members, each block of them by its rule; compiled once for equal ``rules``.

    It takes every block as a tensor of its own: writing to slices of one tensor would be compiled to copies of it.
    """

    @compiled_in_long_runs
    def update(thetas: list, gradients: list, decays: list, states: list, coefficients: tuple) -> None:
        for rule, theta, gradient, decay, state, values in zip(
            rules, thetas, gradients, decays, states, coefficients, strict=True
        ):
            updated = rule(theta, gradient + decay * theta, *state, *values)
            for old, new in zip((theta, *state), updated, strict=True):
                old.copy_(new)

    return update


def vector(values: Sequence[float]) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)
