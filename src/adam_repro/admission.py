"""What is tried before a run begins: a model on the data; an optimizer from outside on the model.

Trials are steps on a few examples, on throw-away models and on cores: a GPU is no place to try things.
"""

from __future__ import annotations

import collections
import inspect
import logging
import sys
import traceback
from pathlib import Path
from typing import Any

import torch
from hydra.errors import InstantiationException
from hydra.utils import instantiate

from adam_repro.building import build_model, build_optimizer
from adam_repro.checkpoints import packed, unpacked
from adam_repro.compilation import in_a_run_of
from adam_repro.data import Dataset
from adam_repro.data.order import seed_noise
from adam_repro.errors import UserError
from adam_repro.training import Solo

log = logging.getLogger(__name__)

_FIT: set[str] = set()
"""Pairs of a model and data that fit: a sweep asks for the same one at every run."""
_AT_REST: set[type] = set()
"""Optimizers whose first step was found to change nothing."""


def check_fit(config: dict[str, Any], data: Dataset) -> None:
    """UserError where a model of this package cannot take the data's examples; the error of another is its author's."""
    pair = f"{config['model']} {data.checksum}"
    if pair in _FIT or not config["model"]["_target_"].startswith("adam_repro."):
        return
    try:
        with torch.random.fork_rng(devices=[]), in_a_run_of(1):
            build_model(config).cost(data.train_x[:2], data.train_y[:2])
    except (RuntimeError, TypeError, AttributeError, InstantiationException) as error:
        if isinstance(error.__cause__, UserError):
            raise
        settings = {name: value for name, value in config["model"].items() if name != "_target_"}
        raise UserError(
            f"{config['model']['_target_']} with the settings {settings} cannot be trained on {data.name}: "
            f"{_in_a_line(str(error.__cause__ or error))}. Give a model and a dataset that belong together, such as "
            "dataset=imdb model=logistic_regression, and settings that the model has."
        ) from error
    _FIT.add(pair)


def tried(found: type[torch.optim.Optimizer], config: dict[str, Any], data: Dataset) -> tuple[bool, bool]:
    """Try an optimizer on throw-away models, so that one that cannot train them is refused before the run begins.

    The first answer is whether it is resumable: whether a second one goes on from the first one's state, as a
    checkpoint gives it back, as the first does, and then holds all that the first one holds, a count of steps too, on
    which only later ones may depend. The second is whether it can be in step with others: it asks for no closure,
    draws no random numbers, and has no other parameters for evaluations.
    """
    if "lr" not in config["optimizer"]:
        raise UserError(f"optimizer.lr is missing: {found.__name__}, like any optimizer here, needs its learning rate.")
    given = {name: value for name, value in config["optimizer"].items() if name != "_target_"}
    model = build_model(config)
    start = [parameter.detach().clone() for parameter in model.parameters()]
    try:
        solo, draws = _started(model, config, data)
    except Exception as error:  # a stranger's code may raise anything, and whatever it raises is the answer
        cause = _with_its_place(error.__cause__ or error, found)
        raise UserError(
            f"optimizer._target_={config['optimizer']['_target_']} cannot train {type(model).__name__} with the "
            f"settings {given}: {cause}. An optimizer here is built as "
            "Optimizer(params, **settings), takes dense gradients of parameters of any shape, and keeps lr in its "
            "parameter groups."
        ) from error
    rests = all(map(torch.equal, model.parameters(), start))
    if rests and found not in _AT_REST:
        _AT_REST.add(found)  # not refused: a step size may begin at zero
        log.warning(
            "The first step of %s left every parameter as it was. If it should move them, it must write into them, as "
            "p.add_(update, alpha=-lr) does and p = p - lr * update does not.",
            found.__name__,
        )
    scheduled = config["schedule"]["_target_"] != "adam_repro.schedules.constant"
    if scheduled and not rests and _is_deaf_to_lr(solo, config, data):
        raise UserError(
            f"optimizer._target_={config['optimizer']['_target_']} takes the same step whatever lr is in its parameter "
            'groups, where the schedule is set. Read group["lr"] in step(), or give schedule=constant.'
        )
    in_step = not draws and not solo.needs_closure and not solo.averages
    try:
        state = unpacked(packed(solo.state()))
        other, _ = _started(build_model(config), config, data, state)
        _step_of(solo, data)
        held = [([*one.model.parameters()], _beside_its_state(one.optimizer)) for one in (solo, other)]
        return _alike(*held, seen=set()), in_step
    except Exception:  # no checkpoint can hold what it saves, it does not load that, or what it has cannot be compared
        return False, in_step


def _is_deaf_to_lr(solo: Solo, config: dict[str, Any], data: Dataset) -> bool:
    """Whether ``solo`` is where it would be behind a first step at half its step size."""
    model = build_model(config)
    optimizer = build_optimizer(config, model)
    other = Solo(model, optimizer, schedule=lambda t, epoch: 0.5 * solo.schedule(t, epoch), l2=config["l2"])
    _step_of(other, data)
    there, elsewhere = ([*one.model.parameters()] for one in (solo, other))
    return all(map(torch.equal, there, elsewhere))


def _with_its_place(error: BaseException, found: type) -> str:
    """The error in a line, and where in the file of ``found`` it came up, if it did there."""
    said = _in_a_line(" ".join(traceback.format_exception_only(error)))
    own = inspect.getsourcefile(found) if found.__module__ in sys.modules else None
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if own and frame.filename == own]
    return f"{said} ({Path(own).name}, line {lines[-1]})" if own and lines else said


def _in_a_line(text: str) -> str:
    return " ".join(text.split()).removesuffix(".")


def _started(model: Any, config: dict[str, Any], data: Dataset, state: Any = None) -> tuple[Solo, bool]:
    """A learner behind its first step, or behind one from ``state``, and what ``_step_of`` says of that step."""
    optimizer = build_optimizer(config, model)
    solo = Solo(model, optimizer, schedule=instantiate(config["schedule"]), l2=config["l2"])
    if state is not None:
        solo.restore(state)
    return solo, _step_of(solo, data)


def _step_of(solo: Solo, data: Dataset) -> bool:
    """Make one step on a few examples; whether that has drawn random numbers."""
    seed_noise(0, 1, "trial")
    before = torch.get_rng_state()
    solo.begin_epoch(1, range(1, 2))
    with in_a_run_of(1):  # nothing is compiled for one step
        solo.step(data.train_x[:8], data.train_y[:8])
    return not torch.equal(before, torch.get_rng_state())


def _beside_its_state(optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """The attributes that its class gave it, and not torch as to every optimizer."""
    torchs = vars(torch.optim.SGD([torch.zeros(1)], lr=0.0))
    return {name: value for name, value in vars(optimizer).items() if name not in torchs}


def _alike(a: Any, b: Any, *, seen: set[tuple[int, int]]) -> bool:
    """Whether two objects hold the same, however deep; what cannot be looked into is like itself alone, such as an
    iterator. ``seen``: pairs that are being compared, since objects may lead back to themselves."""
    if a is b or (id(a), id(b)) in seen:
        return True
    if type(a) is not type(b):
        return False
    if isinstance(a, torch.Tensor):
        return torch.equal(a, b)
    if isinstance(a, dict):
        if a.keys() == b.keys():
            b = {key: b[key] for key in a}  # a state_dict's groups come back in another order
        a, b = [*a.items()], [*b.items()]
    if isinstance(a, list | tuple | collections.deque):
        return len(a) == len(b) and all(_alike(x, y, seen=seen) for x, y in zip(a, b, strict=True))
    if not hasattr(a, "__dict__"):
        return bool(a == b)
    seen.add((id(a), id(b)))
    return _alike(vars(a), vars(b), seen=seen)
