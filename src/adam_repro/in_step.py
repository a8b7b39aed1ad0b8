"""Models of any kind in step on a GPU, where a training step of all of them is one CUDA graph.

A step of a small network is dozens of kernels that leave most of a GPU idle, and launching each takes longer than
running it. The graph is launched as a whole and has a branch for every member, so that the kernels of one run beside
those of the others.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from adam_repro.compilation import compiled
from adam_repro.gradients import cost_and_gradients
from adam_repro.members import InStep, Member, segments_of, vector
from adam_repro.padded import PaddedRows
from adam_repro.training import Model, judge

ROW = 16  # numbers that a step has of a member, the last its lambda; a row of them begins where a vector may
STREAMS = 16  # branches that run at a time
WARM_UPS = 2  # steps that compile, load libraries and fill their caches, none of which may happen in a graph


class ModelsInStep(InStep):
    """K models, each of its own parameters, whose optimizers are rules of this package; a learner for ``training``.

    ``build`` makes a model with its initial parameters, the same for all and of one dtype. Members share minibatches,
    and each draws the noise that it would draw alone. On a GPU a step is a CUDA graph, made at the first minibatch of
    each size; on a CPU it is the same steps one by one. ``members`` are kept in the order of their rules; a member that
    diverges computes on in NaN.
    """

    def __init__(self, build: Callable[[], Model], members: Sequence[Member], *, device: torch.device):
        self.models = [build() for _ in members]
        dtype = next(self.models[0].parameters()).dtype
        self.segments = segments_of(members, dtype)
        self.members = [member for segment in self.segments for member in segment.members]
        self.size, self.device = len(self.members), device
        for model in self.models:
            model.to(device)  # type: ignore[attr-defined] # a module
        self._parameters = [list(model.parameters()) for model in self.models]
        self._is_weight = [not name.endswith("bias") for name, _ in self.models[0].named_parameters()]
        owners = [segment for segment in self.segments for _ in segment.members]
        self._updates = [_update_of(segment.staged.elementwise, *self._is_weight) for segment in owners]
        self._memory = [
            [segment.state_of(parameter.detach()) for parameter in parameters]
            for segment, parameters in zip(owners, self._parameters, strict=True)
        ]
        self._thetas = [parameter.detach() for parameters in self._parameters for parameter in parameters]
        self._states = [state for states in self._memory for state in states]
        self.l2 = vector([member.l2 for member in self.members])
        self._row = torch.zeros(self.size, ROW, dtype=dtype, device=device)
        self._t = 0
        self._graphs: dict[int, _Graph] = {}
        if device.type == "cuda":
            self._pool = torch.cuda.graph_pool_handle()
            self._trunk = torch.cuda.Stream(device)
            self._streams = [torch.cuda.Stream(device) for _ in range(min(self.size, STREAMS))]
            self._noise = [_default_generator(device).clone_state() for _ in self.members]

    @torch.no_grad()
    def begin_epoch(self, epoch: int, steps: range) -> None:
        """Evaluate every coefficient of the epoch's ``steps`` (t, counted from 1) at once, in float64."""
        every = [torch.stack(segment.coefficients(steps, epoch)).transpose(1, 2) for segment in self.segments]
        rows = [torch.nn.functional.pad(values, (0, ROW - values.shape[2])) for values in every]
        table = torch.cat(rows, dim=1)  # [steps, K, ROW]
        table[..., -1] = self.l2
        self._rows = iter(table.to(self.device).unbind())
        self._t = steps.stop - 1
        if self.device.type == "cuda":
            for generator in self._noise:
                generator.manual_seed(torch.initial_seed())

    def step(self, x: Tensor | PaddedRows, y: Tensor) -> Tensor:
        """One update of all members on the minibatch x [batch, ...], y [batch]; their costs before it, [K]."""
        self._row.copy_(next(self._rows))
        if self.device.type != "cuda":
            return torch.stack([self._descend(k, x, y) for k in self._with_equal_noise(range(self.size))])
        if len(y) not in self._graphs:
            self._graphs[len(y)] = self._captured(x, y)
        return self._graphs[len(y)](x, y)

    def evaluate(self, x: Tensor | PaddedRows, y: Tensor) -> tuple[Tensor, Tensor]:
        """Mean cost and accuracy of each member over all examples, [K] and [K], in float64."""
        judged = [judge(model, x, y) for model in self._with_equal_noise(self.models)]
        losses, accuracies = zip(*judged, strict=True)
        return torch.cat(losses), torch.cat(accuracies)

    @torch.no_grad()
    def penalty(self) -> Tensor:
        """(lambda / 2) times the sum of squared weights, biases left out, [K]."""
        squares = [
            torch.stack([p.square().sum() for p, counts in zip(parameters, self._is_weight, strict=True) if counts])
            for parameters in self._parameters
        ]
        return self.l2 / 2 * torch.stack(squares).sum(1).double().cpu()

    def inside(self, k: int) -> tuple[Any, torch.optim.Optimizer]:
        """The model of member ``k``, and its optimizer as it would be if the member had trained alone."""
        member = self.members[k]
        optimizer = member.optimizer(self._parameters[k], **member.settings)
        for parameter, state in zip(self._parameters[k], self._memory[k], strict=True):
            optimizer.state[parameter] = {**dict(zip(optimizer.state_names, state, strict=True)), "t": self._t}
        return self.models[k], optimizer

    def _descend(self, k: int, x: Tensor | PaddedRows, y: Tensor) -> Tensor:
        """One update of member ``k`` with the numbers in its row; the cost before it."""
        cost, gradients = cost_and_gradients(self.models[k], x, y)
        with torch.no_grad():
            self._updates[k](self._parameters[k], gradients, self._memory[k], self._row[k])
        return cost

    def _with_equal_noise(self, each: Iterable) -> Iterator:
        """Walks through ``each`` and has the noise of every one begin where that of the first did."""
        generator = _default_generator(self.device)
        state = generator.get_state()
        for one in each:
            generator.set_state(state)
            yield one

    def _captured(self, x: Tensor | PaddedRows, y: Tensor) -> _Graph:
        """A step on minibatches of this size as a graph; the members are left as they were."""
        before = [tensor.clone() for tensor in self.state()]
        noise = [generator.get_state() for generator in self._noise]
        x, y = x.clone(), y.clone()
        here = torch.cuda.current_stream(self.device)
        self._trunk.wait_stream(here)
        with torch.cuda.device(self.device):  # where what belongs to generators and graphs is made
            with torch.cuda.stream(self._trunk):
                for _ in range(WARM_UPS):
                    self._branched(x, y)
            here.wait_stream(self._trunk)
            self.restore(before)
            for generator, state in zip(self._noise, noise, strict=True):
                generator.set_state(state)
            graph = torch.cuda.CUDAGraph()
            for generator in self._noise:
                graph.register_generator_state(generator)
            with torch.cuda.graph(graph, pool=self._pool, stream=self._trunk):  # by default one of the first GPU
                costs = self._branched(x, y)
            here.wait_stream(self._trunk)
        return _Graph(graph, x, y, costs)

    def _branched(self, x: Tensor | PaddedRows, y: Tensor) -> Tensor:
        """``_descend`` for each member, on streams of their own that fork from the trunk and join it again."""
        default = _default_generator(self.device)
        ours = default.graphsafe_get_state()
        costs = []
        for stream in self._streams:
            stream.wait_stream(self._trunk)
        try:
            for k in range(self.size):
                with torch.cuda.stream(self._streams[k % len(self._streams)]):
                    default.graphsafe_set_state(self._noise[k])
                    costs.append(self._descend(k, x, y))
        finally:
            default.graphsafe_set_state(ours)
        for stream in self._streams:
            self._trunk.wait_stream(stream)
        return torch.stack(costs)


class _Graph:
    """A captured step: minibatches are copied to where it reads them, costs from where it writes them."""

    def __init__(self, graph: torch.cuda.CUDAGraph, x: Any, y: Tensor, costs: Tensor):
        self.graph, self.x, self.y, self.costs = graph, x, y, costs

    def __call__(self, x: Any, y: Tensor) -> Tensor:
        self.x.copy_(x)
        self.y.copy_(y)
        self.graph.replay()
        return self.costs.clone()


@functools.cache
def _update_of(rule: Callable, *is_weight: bool) -> Callable:
    """The update of a member's parameters by ``rule`` as one program, compiled once for equal arguments.

    It takes the member's row of numbers: the rule's coefficients at this step, and at the end the strength of the L2
    term, which is for weights alone.
    """
    arguments = len(inspect.signature(rule).parameters)  # theta, g, the state, the coefficients

    @compiled
    def update(parameters: list, gradients: tuple, states: list, row: Tensor) -> None:
        *numbers, l2 = row.unbind()
        for theta, gradient, state, decays in zip(parameters, gradients, states, is_weight, strict=True):
            g = gradient + l2 * theta if decays else gradient
            updated = rule(theta, g, *state, *numbers[: arguments - 2 - len(state)])
            for old, new in zip((theta, *state), updated, strict=True):
                old.copy_(new)

    return update


def _default_generator(device: torch.device) -> torch.Generator:
    """What models draw their noise from."""
    if device.type == "cuda":
        return torch.cuda.default_generators[torch.cuda.current_device() if device.index is None else device.index]
    return torch.default_generator
