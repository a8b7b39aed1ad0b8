"""The shell around a rule: it walks the parameters and leaves the mathematics to the rule."""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Callable
from numbers import Real
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.optim.optimizer import ParamsT

from adam_repro.compilation import compiled_for_networks
from adam_repro.staging import Staged, stage

# One name, one meaning, one range in all rules: from 0, but for those that begin elsewhere, to below a bound.
LOWER_BOUND = {"frozen_after": 1}  # without a step there is nothing to freeze
UPPER_BOUND = {"lr": math.inf, "eps": math.inf, "weight_decay": math.inf, "frozen_after": math.inf}
UPPER_BOUND |= {"beta1": 1, "beta1_decay": 1, "beta2": 1, "rho": 1, "momentum": 1}

# What torch itself keeps in a parameter group beside the hyper-parameters.
TORCH_KEYS = {"params", "param_names", "initial_lr", "differentiable"}

COMPILED_FROM = 2**13
"""Elements from which on the parameters of a group are updated by one program, compiled unless the run is short: as
written a rule makes a dozen passes over each."""


class RuleOptimizer(torch.optim.Optimizer):
    """Apply one rule to every parameter that has a gradient.

    A subclass adds three things: the `rule`; the `state_names`, what the rule remembers of a
    parameter, in the order of its arguments; and an `__init__` whose signature lists the
    hyper-parameters with their defaults. From that signature come two tables that can be read
    without building an optimizer: `hyperparameters`, each name with its default, and `flags`, the
    names of the switches among them, which choose a form of the rule.

    A rule that remembers an average of its parameters, by which a model is to be judged, names that
    state in `judged`.

    The state of a parameter is `t`, the number of its updates (an int), and under each of the
    `state_names` a tensor of the parameter's shape and dtype, which starts from zero.

    Raises:
        ValueError: a hyper-parameter is unknown, no number or out of range, in the constructor or
            in a group; a parameter is complex; a gradient is sparse.
    """

    rule: ClassVar[Callable[..., tuple[Tensor, ...]]]
    state_names: ClassVar[tuple[str, ...]]
    judged: ClassVar[str | None] = None
    hyperparameters: ClassVar[dict[str, float | bool]]
    flags: ClassVar[tuple[str, ...]]

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        arguments = inspect.signature(cls).parameters.values()
        cls.hyperparameters = {a.name: a.default for a in arguments if a.default is not a.empty}
        cls.flags = tuple(name for name, default in cls.hyperparameters.items() if isinstance(default, bool))

    def __init__(self, params: ParamsT, **hyperparameters: float | bool) -> None:
        super().__init__(params, self.settings(**hyperparameters))

    @classmethod
    def settings(cls, **given: Any) -> dict[str, Any]:
        """Return all hyper-parameters, checked: those given, and the defaults of the others."""
        for name, value in given.items():
            if name not in cls.hyperparameters:
                raise ValueError(
                    f"{cls.__name__} has no hyper-parameter {name!r} (given: {value!r}); "
                    f"choose from {', '.join(cls.hyperparameters)}."
                )
        return {name: cls._checked(name, value) for name, value in (cls.hyperparameters | given).items()}

    @classmethod
    def _checked(cls, name: str, value: Any) -> float | bool:
        if name in cls.flags:
            if isinstance(value, bool):
                return value
            allowed = "True or False"
        else:
            is_number = isinstance(value, Real) and not isinstance(value, bool)
            least, bound = LOWER_BOUND.get(name, 0), UPPER_BOUND[name]
            if is_number and least <= value < bound:
                return float(value)
            allowed = f"a number with {least} <= {name} < {bound}"
        raise ValueError(f"{cls.__name__}: {name}={value!r} is not allowed; set {name} to {allowed}.")

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group; its own hyper-parameters go before the defaults. One refused is not added."""
        super().add_param_group(param_group)
        group = self.param_groups.pop()
        group.update(self.settings(**{key: value for key, value in group.items() if key not in TORCH_KEYS}))
        if any(p.is_complex() for p in group["params"]):
            raise ValueError(
                f"{type(self).__name__} takes real parameters, and one here is complex; "
                "hold its real and imaginary parts as two parameters."
            )
        self.param_groups.append(group)

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Update every parameter that has a gradient; return what the closure, if any, returned."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            settings = {name: group[name] for name in self.hyperparameters}
            together: dict[tuple[int, torch.dtype, torch.device], list[list[Tensor]]] = {}
            for p in group["params"]:
                if p.grad is not None:
                    t, tensors = self._due(p, p.grad)
                    together.setdefault((t, p.dtype, p.device), []).append(tensors)
            for shared, parameters in together.items():
                self._update(*shared, parameters, settings)
        return loss

    def _due(self, p: Tensor, g: Tensor) -> tuple[int, list[Tensor]]:
        """The number of the update that ``p`` is due, and what takes part in it: p, g and the state behind them."""
        if g.layout is not torch.strided:
            raise ValueError(
                f"{type(self).__name__} takes dense gradients, and one here is {g.layout}; "
                "build its layer with sparse=False, or use torch.optim.SparseAdam."
            )
        state = self.state[p]
        if not state:
            state.update({name: torch.zeros_like(p) for name in self.state_names}, t=0)
        state["t"] += 1
        return state["t"], [p, g, *(state[name] for name in self.state_names)]

    def _update(
        self, t: int, dtype: torch.dtype, device: torch.device, parameters: list[list[Tensor]], settings: dict[str, Any]
    ) -> None:
        """Update number ``t`` of parameters of one ``dtype`` and ``device``, each given with its gradient and state."""
        if dtype.is_floating_point and sum(p.numel() for p, *_ in parameters) >= COMPILED_FROM:
            update, coefficients = _compiled_update(type(self), t, dtype, device, settings)
            # detached: of a parameter the compiler takes the shape for a constant, and makes a program for each
            update([[p.detach(), *others] for p, *others in parameters], coefficients)
            return
        for p, g, *memory in parameters:
            theta, *memory = self.rule(p, g, *memory, t, **settings)
            p.copy_(theta)
            self.state[p].update(zip(self.state_names, memory, strict=True))


def _compiled_update(
    cls: type[RuleOptimizer], t: int, dtype: torch.dtype, device: torch.device, settings: dict[str, Any]
) -> tuple[Callable, Tensor]:
    """The rule as one program, and its coefficients at step ``t``: formed in float64 and cast once."""
    staged, update = _program(cls.rule, cls.state_names, tuple((name, settings[name]) for name in cls.flags))
    numbers = {name: value for name, value in settings.items() if name not in cls.flags}
    coefficients = torch.tensor(staged.coefficients(t, **numbers), dtype=dtype)
    return update, coefficients.to(device, non_blocking=True)  # or every step would wait for a GPU


@functools.cache
def _program(
    rule: Callable, state_names: tuple[str, ...], flags: tuple[tuple[str, bool], ...]
) -> tuple[Staged, Callable]:
    """The rule cut in two (see staging), and its elementwise part as a function that writes into the tensors."""
    staged = stage(rule, state_names, flags, reciprocals=True)

    @compiled_for_networks
    def update(parameters: list[list[Tensor]], coefficients: Tensor) -> None:
        for theta, g, *memory in parameters:
            results = staged.elementwise(theta, g, *memory, *coefficients.unbind())
            for old, new in zip((theta, *memory), results, strict=True):
                old.copy_(new)

    return staged, update
