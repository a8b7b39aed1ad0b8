"""The shell around the rules: what torch promises of an optimizer, and what is refused."""

from __future__ import annotations

import copy
import io
import math
import pickle
import re
from itertools import pairwise

import numpy as np
import pytest
import torch

from adam_repro.optimizers import (
    OPTIMIZERS,
    SGD,
    AdaDelta,
    AdaGrad,
    Adam,
    AdaMax,
    AdamEpsHat,
    AveragedAdam,
    FrozenAdam,
    RMSProp,
    SGDNesterov,
)

every_optimizer = pytest.mark.parametrize("optimizer_class", OPTIMIZERS)


def parameter(*shape, dtype=torch.float64):
    return torch.zeros(shape, dtype=dtype, requires_grad=True)


def quadratic(theta):
    """15 at theta = 0, and 0 where all five coordinates are 1."""
    return (torch.arange(1, 6, dtype=theta.dtype) * (theta - 1) ** 2).sum()


def descend(theta, optimizer, steps):
    points = []
    for _ in range(steps):
        optimizer.zero_grad()
        quadratic(theta).backward()
        optimizer.step()
        points.append(theta.tolist())
    return points


SCHEDULERS = {
    "LambdaLR": (torch.optim.lr_scheduler.LambdaLR, {"lr_lambda": lambda t: (t + 1) ** -0.5}),
    "CosineAnnealingLR": (torch.optim.lr_scheduler.CosineAnnealingLR, {"T_max": 20}),
    "OneCycleLR": (
        torch.optim.lr_scheduler.OneCycleLR,
        {"max_lr": 0.1, "total_steps": 40, "cycle_momentum": False},
    ),
}


@pytest.mark.parametrize(("scheduler_class", "settings"), SCHEDULERS.values(), ids=SCHEDULERS)
def test_a_torch_scheduler_drives_it_as_it_drives_torchs_own(scheduler_class, settings):
    paths = []
    for optimizer_class in (Adam, torch.optim.Adam):
        theta = parameter(5)
        optimizer = optimizer_class([theta], lr=0.05)
        scheduler = scheduler_class(optimizer, **settings)
        rates = set()
        points = []
        for _ in range(30):
            points += descend(theta, optimizer, 1)
            rates.add(optimizer.param_groups[0]["lr"])
            scheduler.step()
        assert len(rates) > 10
        paths.append(torch.tensor(points))
    torch.testing.assert_close(*paths, rtol=1e-12, atol=1e-14)


def through_state_dict(theta, optimizer):
    saved = io.BytesIO()
    torch.save(optimizer.state_dict(), saved)
    saved.seek(0)
    theta = theta.detach().clone().requires_grad_()
    fresh = type(optimizer)([theta])
    fresh.load_state_dict(torch.load(saved, weights_only=True))
    return theta, fresh


COPIES = {
    "a saved state_dict": through_state_dict,
    "deepcopy": lambda *both: copy.deepcopy(both),
    "pickle": lambda *both: pickle.loads(pickle.dumps(both)),
}


@every_optimizer
@pytest.mark.parametrize("copied", COPIES.values(), ids=COPIES)
def test_a_copy_made_in_mid_run_goes_on_like_the_original(optimizer_class, copied):
    theta = parameter(5)
    optimizer = optimizer_class([theta], lr=0.03, **dict.fromkeys(optimizer_class.flags, False))
    descend(theta, optimizer, 5)
    twin_theta, twin = copied(theta, optimizer)
    assert descend(twin_theta, twin, 5) == descend(theta, optimizer, 5)
    state = twin.state[twin_theta]
    assert type(state["t"]) is int and state["t"] == 10
    assert all(state[name].dtype is torch.float64 for name in optimizer_class.state_names)


@pytest.mark.parametrize("copied", COPIES.values(), ids=COPIES)
def test_a_copy_goes_between_eval_and_train_like_the_original(copied):
    theta = parameter(5)
    optimizer = AveragedAdam([theta], lr=0.03)
    trained = descend(theta, optimizer, 5)[-1]
    twin_theta, twin = copied(theta, optimizer)
    optimizer.eval()
    twin.eval()
    averaged = theta.tolist()
    assert twin_theta.tolist() == averaged != trained
    late_theta, late = copied(theta, optimizer)
    for each in (optimizer, twin, late):
        each.eval()  # twice is once
        each.train()
    assert theta.tolist() == twin_theta.tolist() == late_theta.tolist() == trained
    assert descend(late_theta, late, 5) == descend(twin_theta, twin, 5) == descend(theta, optimizer, 5)
    late.eval()
    optimizer.eval()
    assert late_theta.tolist() == theta.tolist() != averaged


def test_an_averages_state_dict_is_as_ever_in_train():
    theta = parameter(5)
    optimizer = AveragedAdam([theta])
    optimizer.eval()
    optimizer.train()
    assert optimizer.state_dict()["param_groups"] == [{**AveragedAdam.settings(), "params": [0]}]


def test_a_state_loaded_while_in_eval_brings_its_mode():
    theta, other = parameter(5), parameter(5)
    optimizer, loaded = AveragedAdam([theta]), AveragedAdam([other])
    descend(other, loaded, 2)
    loaded.eval()
    trained = descend(theta, optimizer, 5)[-1]
    other.data.copy_(theta.data)
    loaded.load_state_dict(optimizer.state_dict())
    optimizer.eval()
    loaded.train()
    assert other.tolist() == trained
    loaded.eval()
    assert other.tolist() == theta.tolist() != trained


@every_optimizer
def test_a_loaded_state_does_not_change_when_its_source_goes_on(optimizer_class):
    theta, other = parameter(5), parameter(5)
    optimizer, loaded = optimizer_class([theta]), optimizer_class([other])
    descend(theta, optimizer, 5)
    loaded.load_state_dict(optimizer.state_dict())
    before = copy.deepcopy(loaded.state_dict())
    descend(theta, optimizer, 5)
    torch.testing.assert_close(loaded.state_dict(), before, rtol=0, atol=0)


@every_optimizer
def test_a_quadratic_is_brought_to_its_minimum(optimizer_class):
    theta = parameter(5)
    optimizer = optimizer_class([theta], lr=10.0 if optimizer_class is AdaDelta else 0.05)  # its lr has no units
    scheduler = torch.optim.lr_scheduler.LinearLR(optimizer, 1, 0.01, total_iters=500)
    for _ in range(500):
        descend(theta, optimizer, 1)
        scheduler.step()
    assert quadratic(theta).item() < 15 / 100


def test_a_closure_is_called_with_gradients_on_and_its_loss_returned():
    theta = parameter(5)
    optimizer = Adam([theta], lr=0.1)

    def closure():
        optimizer.zero_grad()
        loss = quadratic(theta)
        loss.backward()
        return loss

    losses = [optimizer.step(closure).item() for _ in range(3)]
    assert losses[0] == 15 and all(later < earlier for earlier, later in pairwise(losses))
    assert optimizer.step() is None


def test_groups_keep_hyperparameters_of_their_own():
    thetas = first, second, third = parameter(1), parameter(1), parameter(1)
    optimizer = Adam([{"params": [first], "lr": 0.5}, {"params": [second]}], lr=0.25, eps=0)
    optimizer.add_param_group({"params": third, "lr": 1, "bias_correction": False})
    for theta in thetas:
        theta.grad = torch.ones_like(theta)
    optimizer.step()
    uncorrected = (1 - 0.9) / math.sqrt(1 - 0.999)
    assert [theta.item() for theta in thetas] == pytest.approx([-0.5, -0.25, -uncorrected], rel=1e-13)


def test_a_group_can_be_added_to_a_copy():
    optimizer = copy.deepcopy(Adam([parameter(1)], lr=0.5))
    optimizer.add_param_group({"params": [parameter(1)], "beta1": 0.5})
    assert [(group["lr"], group["beta1"]) for group in optimizer.param_groups] == [(0.5, 0.9), (0.5, 0.5)]


def test_a_refused_group_is_not_added():
    optimizer = Adam([parameter(1)])
    with pytest.raises(ValueError, match="beta2=1 is not allowed"):
        optimizer.add_param_group({"params": [parameter(1)], "beta2": 1})
    assert len(optimizer.param_groups) == 1


def test_named_parameters_and_a_resumed_schedule_are_accepted_in_a_group():
    model = torch.nn.Linear(2, 1)
    optimizer = Adam([{"params": model.named_parameters(), "lr": 0.2, "initial_lr": 0.4}])
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, step_size=10, last_epoch=9)
    assert optimizer.param_groups[0]["param_names"] == ["weight", "bias"]
    assert scheduler.base_lrs == [0.4]


@every_optimizer
def test_a_parameter_without_gradient_is_left_alone(optimizer_class):
    moved, idle = parameter(2), parameter(2)
    optimizer = optimizer_class([moved, idle])
    moved.grad = torch.ones_like(moved)
    optimizer.step()
    assert idle.tolist() == [0, 0] and idle not in optimizer.state
    optimizer.zero_grad()
    before = moved.tolist()
    optimizer.step()
    assert moved.tolist() == before and optimizer.state[moved]["t"] == 1


def test_a_parameter_is_updated_in_place():
    model = torch.nn.Linear(2, 1)
    weight, address, before = model.weight, model.weight.data_ptr(), model.weight.tolist()
    model(torch.ones(1, 2)).sum().backward()
    SGD(model.parameters(), lr=1).step()
    assert model.weight is weight and weight.data_ptr() == address and weight.tolist() != before


@every_optimizer
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_state_has_the_dtype_and_shape_of_its_parameter_and_counts_in_int(optimizer_class, dtype):
    theta = parameter(3, 2, dtype=dtype)
    theta.grad = torch.ones_like(theta)
    optimizer = optimizer_class([theta])
    optimizer.step()
    state = dict(optimizer.state[theta])
    assert state.pop("t") == 1
    assert list(state) == list(optimizer_class.state_names)
    assert all(tensor.dtype is dtype and tensor.shape == (3, 2) for tensor in state.values())
    assert theta.dtype is dtype


def test_settings_fill_in_defaults_and_turn_numbers_into_floats():
    settings = SGDNesterov.settings(lr=1)
    assert settings == {"lr": 1.0, "momentum": 0.9} and type(settings["lr"]) is float
    assert type(Adam.settings(beta2=np.float32(0.5))["beta2"]) is float
    assert Adam.settings(bias_correction=False)["bias_correction"] is False


@every_optimizer
def test_every_range_begins_at_zero_but_for_a_number_of_steps_and_includes_its_beginning(optimizer_class):
    numbers = [name for name in optimizer_class.hyperparameters if name not in optimizer_class.flags]
    least = {name: 1.0 if name == "frozen_after" else 0.0 for name in numbers}
    assert optimizer_class.settings(**least).items() >= least.items()


REFUSED = [
    (Adam, "lr", -0.1, "a number with 0 <= lr < inf"),
    (SGD, "lr", math.inf, "a number with 0 <= lr < inf"),
    (AdaMax, "lr", "1e-3", "a number with 0 <= lr < inf"),
    (AdaGrad, "lr", True, "a number with 0 <= lr < inf"),
    (RMSProp, "lr", None, "a number with 0 <= lr < inf"),
    (SGD, "lr", torch.tensor(0.1), "a number with 0 <= lr < inf"),
    (FrozenAdam, "frozen_after", 0.5, "a number with 1 <= frozen_after < inf"),
    (AdamEpsHat, "beta1", 1.0, "a number with 0 <= beta1 < 1"),
    (Adam, "beta2", 1, "a number with 0 <= beta2 < 1"),
    (Adam, "eps", math.nan, "a number with 0 <= eps < inf"),
    (AdaGrad, "eps", -1e-8, "a number with 0 <= eps < inf"),
    (RMSProp, "rho", 1, "a number with 0 <= rho < 1"),
    (SGDNesterov, "momentum", 1.5, "a number with 0 <= momentum < 1"),
    (Adam, "bias_correction", "false", "True or False"),
    (Adam, "bias_correction", 0, "True or False"),
]


@pytest.mark.parametrize(("optimizer_class", "name", "value", "allowed"), REFUSED)
def test_a_value_that_is_not_allowed_is_refused_wherever_it_is_given(optimizer_class, name, value, allowed):
    message = f"{optimizer_class.__name__}: {name}={value!r} is not allowed; set {name} to {allowed}."
    theta = parameter(1)
    with pytest.raises(ValueError, match=re.escape(message)):
        optimizer_class([theta], **{name: value})
    with pytest.raises(ValueError, match=re.escape(message)):
        optimizer_class([{"params": [theta], name: value}])
    with pytest.raises(ValueError, match=re.escape(message)):
        optimizer_class.settings(**{name: value})


def test_an_unknown_name_is_refused_with_those_that_exist():
    message = "Adam has no hyper-parameter 'beta' (given: 0.9); choose from lr, beta1, beta2, eps, bias_corr"
    with pytest.raises(ValueError, match=re.escape(message)):
        Adam.settings(beta=0.9)
    with pytest.raises(ValueError, match=re.escape(message)):
        Adam([{"params": [parameter(1)], "beta": 0.9}])
    with pytest.raises(TypeError, match="maximize"):
        Adam([parameter(1)], maximize=True)


@every_optimizer
def test_a_sparse_gradient_is_refused_by_the_optimizers_name(optimizer_class):
    embedding = torch.nn.Embedding(4, 2, sparse=True)
    embedding(torch.tensor([1])).sum().backward()
    message = f"{optimizer_class.__name__} takes dense gradients, and one here is torch.sparse_coo; build"
    with pytest.raises(ValueError, match=re.escape(message)):
        optimizer_class(embedding.parameters()).step()


@every_optimizer
def test_a_complex_parameter_is_refused_by_the_optimizers_name(optimizer_class):
    message = f"{optimizer_class.__name__} takes real parameters, and one here is complex"
    with pytest.raises(ValueError, match=message):
        optimizer_class([parameter(2, dtype=torch.complex64)])
