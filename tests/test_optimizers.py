"""The rules: torch's own optimizers as twins, closed forms, section 2.1 of the paper, three ways to call."""

from __future__ import annotations

import copy
import doctest
import inspect
import math
import re
import sys
from itertools import product

import pytest
import torch
from torch import fx

from adam_repro.optimizers import (
    OPTIMIZERS,
    SGD,
    AdaDelta,
    AdaGrad,
    Adam,
    AdaMax,
    AdamEpsHat,
    AdamW,
    AMSGrad,
    RMSProp,
    SGDNesterov,
)

# Every rule in every form that its flags can choose.
FORMS = [
    pytest.param(c, dict(zip(c.flags, values, strict=True)), id=" ".join([c.__name__, *map(str, values)]))
    for c in OPTIMIZERS
    for values in product((True, False), repeat=len(c.flags))
]
every_form = pytest.mark.parametrize(("optimizer_class", "flags"), FORMS)
scale_free = pytest.mark.parametrize("optimizer_class", [Adam, AdamEpsHat, AdaMax])

# Three values of each hyper-parameter, none of them a default.
VALUES = {
    "lr": [0.003, 0.1, 1.0],
    "eps": [1e-6, 1e-3, 0.1],
    "beta1": [0.0, 0.5, 0.95],
    "beta1_decay": [0.0, 0.9, 1 - 1e-8],
    "beta2": [0.9, 0.99, 0.9999],
    "rho": [0.5, 0.95, 0.999],
    "momentum": [0.0, 0.5, 0.99],
    "weight_decay": [0.0, 0.1, 1.0],
    "frozen_after": [2, 7, 400],
}


def random_gradients(*shape, seed=0):
    """Over six decades of size, a quarter of them exactly zero, the first coordinate always so."""
    generator = torch.Generator().manual_seed(seed)
    normal, decade, kept = (torch.rand(shape, generator=generator, dtype=torch.float64) for _ in range(3))
    gradients = (2 * normal - 1) * 10 ** (6 * decade - 3) * (kept > 0.25)
    gradients[..., 0] = 0
    return gradients


def nonzero_gradients(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def path(optimizer_class, gradients, *, schedule=lambda t: 1, **settings):
    """The parameter after each step [T, ...], from 0, with these gradients [T, ...] wherever it is."""
    theta = torch.zeros_like(gradients[0], requires_grad=True)
    optimizer = optimizer_class([theta], **settings)
    lr = optimizer.param_groups[0]["lr"]
    points = []
    for t, theta.grad in enumerate(gradients, start=1):
        optimizer.param_groups[0]["lr"] = lr * schedule(t)
        optimizer.step()
        points.append(theta.detach().clone())
    return torch.stack(points)


def relative_difference(a, b):
    return ((a - b).abs().max() / b.abs().max()).item()


TWINS = {
    "Adam by default": (Adam, {}, torch.optim.Adam, {}),
    "Adam": (
        Adam,
        {"lr": 0.02, "beta1": 0.7, "beta2": 0.95, "eps": 1e-4},
        torch.optim.Adam,
        {"lr": 0.02, "betas": (0.7, 0.95), "eps": 1e-4},
    ),
    "AdaMax by default": (AdaMax, {}, torch.optim.Adamax, {}),
    "AdaMax": (
        AdaMax,
        {"lr": 0.02, "beta1": 0.7, "beta2": 0.95, "eps": 1e-4},
        torch.optim.Adamax,
        {"lr": 0.02, "betas": (0.7, 0.95), "eps": 1e-4},
    ),
    "AMSGrad by default": (AMSGrad, {}, torch.optim.Adam, {"amsgrad": True}),
    "AMSGrad": (
        AMSGrad,
        {"lr": 0.02, "beta1": 0.7, "beta2": 0.95, "eps": 1e-4},
        torch.optim.Adam,
        {"lr": 0.02, "betas": (0.7, 0.95), "eps": 1e-4, "amsgrad": True},
    ),
    "AdamW by default": (AdamW, {}, torch.optim.AdamW, {}),
    "AdamW": (
        AdamW,
        {"lr": 0.02, "beta1": 0.7, "beta2": 0.95, "eps": 1e-4, "weight_decay": 0.3},
        torch.optim.AdamW,
        {"lr": 0.02, "betas": (0.7, 0.95), "eps": 1e-4, "weight_decay": 0.3},
    ),
    "AdaDelta by default": (AdaDelta, {}, torch.optim.Adadelta, {}),
    "AdaDelta": (
        AdaDelta,
        {"lr": 0.3, "rho": 0.95, "eps": 1e-4},
        torch.optim.Adadelta,
        {"lr": 0.3, "rho": 0.95, "eps": 1e-4},
    ),
    "AdaGrad by default": (AdaGrad, {}, torch.optim.Adagrad, {}),
    "AdaGrad": (AdaGrad, {"lr": 0.3, "eps": 1e-4}, torch.optim.Adagrad, {"lr": 0.3, "eps": 1e-4}),
    "RMSProp by default": (RMSProp, {}, torch.optim.RMSprop, {"lr": 1e-3, "alpha": 0.9}),
    "RMSProp with momentum": (
        RMSProp,
        {"lr": 0.02, "rho": 0.95, "eps": 1e-4, "momentum": 0.8},
        torch.optim.RMSprop,
        {"lr": 0.02, "alpha": 0.95, "eps": 1e-4, "momentum": 0.8},
    ),
    "SGD by default": (SGD, {}, torch.optim.SGD, {"lr": 0.01}),
    "SGD with momentum": (SGD, {"lr": 0.1, "momentum": 0.8}, torch.optim.SGD, {"lr": 0.1, "momentum": 0.8}),
    "SGDNesterov by default": (
        SGDNesterov,
        {},
        torch.optim.SGD,
        {"lr": 0.01, "momentum": 0.9, "nesterov": True},
    ),
    "SGDNesterov": (
        SGDNesterov,
        {"lr": 0.1, "momentum": 0.5},
        torch.optim.SGD,
        {"lr": 0.1, "momentum": 0.5, "nesterov": True},
    ),
}


@pytest.mark.parametrize(("ours", "settings", "theirs", "their_settings"), TWINS.values(), ids=TWINS)
def test_agrees_with_torch_after_each_of_100_steps(ours, settings, theirs, their_settings):
    shapes = [(5,), (3, 4), (2, 3, 2)]
    our_params = [nonzero_gradients(*shape).requires_grad_() for shape in shapes]
    their_params = copy.deepcopy(our_params)
    optimizer, twin = ours(our_params, **settings), theirs(their_params, **their_settings)
    streams = [random_gradients(100, *shape, seed=i) for i, shape in enumerate(shapes)]
    for t in range(100):
        for i, stream in enumerate(streams):
            absent = i == 2 and t % 3 == 0  # the last parameter's t falls behind that of the others
            our_params[i].grad = None if absent else stream[t].clone()
            their_params[i].grad = None if absent else stream[t].clone()
        optimizer.step()
        twin.step()
        for our_param, their_param in zip(our_params, their_params, strict=True):
            torch.testing.assert_close(our_param, their_param, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize(("eps", "expected"), [(0, [-1 / 10, -1 / 15]), (1, [-1 / 15, -2 / 45])])
def test_the_first_two_steps_of_adam_are_those_computed_by_hand(eps, expected):
    # g = 2: m = 1, v = 1, m_hat = 2, v_hat = 4.   g = -2: m = -1/2, v = 7/4, m_hat = -2/3, v_hat = 4.
    gradients = torch.tensor([2.0, -2.0], dtype=torch.float64)
    points = path(Adam, gradients, lr=0.1, beta1=0.5, beta2=0.75, eps=eps)
    assert points.tolist() == pytest.approx(expected, rel=1e-14)


def test_the_first_two_steps_of_adam_eps_hat_are_those_computed_by_hand():
    gradients = torch.tensor([2.0, -2.0], dtype=torch.float64)
    points = path(AdamEpsHat, gradients, lr=0.1, beta1=0.5, beta2=0.75, eps=1)
    # alpha_1 = 0.1 * (1/2) / (1/2), m = 1, v = 1;   alpha_2 = 0.1 * sqrt(7/16) / (3/4), m = -1/2, v = 7/4.
    first = -0.1 * 1 / (1 + 1)
    second = first + 0.1 * math.sqrt(7 / 16) / (3 / 4) * (1 / 2) / (math.sqrt(7 / 4) + 1)
    assert points.tolist() == pytest.approx([first, second], rel=1e-14)


@scale_free
def test_the_first_step_is_lr_against_the_sign_of_the_gradient(optimizer_class):
    g = nonzero_gradients(1, 20) * 10 ** torch.linspace(-8, 8, 20, dtype=torch.float64)
    step = path(optimizer_class, g, lr=0.01, eps=0)
    torch.testing.assert_close(step, -0.01 * g.sign(), rtol=1e-14, atol=0)


@pytest.mark.parametrize(("optimizer_class", "effective_eps"), [(Adam, 0.1), (AdamEpsHat, 0.1 / math.sqrt(1 - 0.999))])
def test_epsilon_shortens_the_first_step_by_its_effective_value(optimizer_class, effective_eps):
    g = torch.tensor([[0.01, 1.0, 100.0]], dtype=torch.float64)
    step = path(optimizer_class, g, lr=0.01, eps=0.1)
    torch.testing.assert_close(step, -0.01 / (1 + effective_eps / g), rtol=1e-13, atol=0)


@every_form
def test_the_equations_in_the_docstring_are_what_the_optimizer_computes(optimizer_class, flags):
    settings = {name: VALUES[name][1] for name in optimizer_class.hyperparameters if name not in flags}
    gradients = nonzero_gradients(20)
    points = path(optimizer_class, gradients, **settings, **flags)

    lines = re.findall(r"^    (\w+) <- (.+)$", inspect.getdoc(optimizer_class), re.MULTILINE)
    assert lines[-1][0] == (optimizer_class.judged or "theta")
    if not flags.get("bias_correction", True):
        lines = [(left, left[0] if left.endswith("_hat") else right) for left, right in lines]
    symbols = {"lr": "alpha", "eps": "epsilon", "momentum": "mu"}
    known = {symbols.get(name, name): value for name, value in settings.items()}
    known |= {"sqrt": math.sqrt, "epsilon_hat": settings.get("eps"), "theta": 0.0, "t": 0}
    known |= dict.fromkeys(optimizer_class.state_names, 0.0)
    for g, point in zip(gradients.tolist(), points.tolist(), strict=True):
        known["g"] = g
        for left, right in lines:
            known[left] = eval(re.sub(r"\|(\w+)\|", r"abs(\1)", right).replace("^", "**"), {}, known)
        assert point == pytest.approx(known["theta"], rel=1e-12)


@pytest.mark.parametrize("module", sorted({c.__module__ for c in OPTIMIZERS}))
def test_the_examples_in_the_docstrings_print_what_they_say(module):
    assert doctest.testmod(sys.modules[module]).failed == 0


def test_adam_eps_hat_is_adam_where_eps_hat_is_eps_sqrt_1_minus_beta2_to_the_t():
    eps, beta2 = 1e-3, 0.999
    adam = eps_hat = (0.0, 0.0, 0.0)
    for t, g in enumerate(nonzero_gradients(200), start=1):
        common = {"lr": 0.01, "beta1": 0.9, "beta2": beta2}
        adam = Adam.rule(adam[0], g, *adam[1:], t, eps=eps, **common)
        eps_hat = AdamEpsHat.rule(eps_hat[0], g, *eps_hat[1:], t, eps=eps * math.sqrt(1 - beta2**t), **common)
        torch.testing.assert_close(adam, eps_hat, rtol=1e-12, atol=0)


def test_adam_eps_hat_is_not_adam_at_the_same_epsilon():
    gradients = nonzero_gradients(200)
    assert relative_difference(path(AdamEpsHat, gradients, eps=0.01), path(Adam, gradients, eps=0.01)) > 0.01


def test_going_without_bias_correction_is_a_schedule_of_the_step_size():
    gradients = nonzero_gradients(100, 5)
    plain = path(Adam, gradients, eps=0, bias_correction=False)
    scheduled = path(Adam, gradients, eps=0, schedule=lambda t: (1 - 0.9**t) / math.sqrt(1 - 0.999**t))
    assert relative_difference(plain, scheduled) < 1e-12


def test_without_bias_correction_steps_are_longest_at_step_12():
    points = path(Adam, torch.ones(100, dtype=torch.float64), lr=1, eps=0, bias_correction=False)
    steps = -torch.diff(points, prepend=torch.zeros(1, dtype=torch.float64))
    assert steps[0].item() == pytest.approx(3.16, abs=0.005)
    assert steps.argmax() == 11 and steps.max().item() == pytest.approx(6.57, abs=0.005)


def test_adamax_without_epsilon_loses_a_coordinate_that_has_seen_no_gradient_and_with_it_leaves_it_alone():
    g = torch.tensor([[0.0, 3.0]], dtype=torch.float64)
    assert path(AdaMax, g, eps=0).isnan().tolist() == [[True, False]]
    assert path(AdaMax, g)[0, 0] == 0


def test_the_first_step_of_rmsprop_is_lr_over_the_root_of_1_minus_rho():
    step = path(RMSProp, nonzero_gradients(1, 5), lr=0.01, rho=0.96, eps=0).abs()
    torch.testing.assert_close(step, torch.full_like(step, 0.05), rtol=1e-13, atol=0)


def test_amsgrad_does_not_lengthen_its_steps_when_gradients_shrink_and_adam_does():
    gradients = torch.cat([torch.ones(1, 1), torch.full((2000, 1), 1e-3)]).double()
    last = {c: path(c, gradients, lr=1, beta2=0.99, eps=0).diff(dim=0)[-1].abs().item() for c in (Adam, AMSGrad)}
    assert last[Adam] == pytest.approx(1, rel=0.01)
    assert last[AMSGrad] == pytest.approx(1e-3 / 0.1, rel=0.01), "v_max is still (1 - beta2) * 1^2"


def test_adamw_without_a_gradient_shrinks_parameters_and_adam_leaves_them():
    for optimizer_class, left in ((Adam, 1.0), (AdamW, (1 - 0.5 * 0.1) ** 3)):
        theta = torch.ones(4, dtype=torch.float64, requires_grad=True)
        optimizer = optimizer_class([theta], lr=0.5, **({"weight_decay": 0.1} if optimizer_class is AdamW else {}))
        for _ in range(3):
            theta.grad = torch.zeros_like(theta)
            optimizer.step()
        assert theta.tolist() == pytest.approx([left] * 4, rel=1e-15)


def test_the_first_step_of_adadelta_is_of_the_size_of_the_root_of_epsilon():
    (step,) = path(AdaDelta, torch.tensor([[1.0, -100.0]], dtype=torch.float64), eps=1e-6)
    assert step.tolist() == pytest.approx([-1e-3 / math.sqrt(0.1), 1e-3 / math.sqrt(0.1)], rel=1e-4)


def test_adagrad_under_a_constant_gradient_steps_by_lr_over_the_root_of_t():
    points = path(AdaGrad, torch.full((50,), 7.0, dtype=torch.float64), lr=0.1, eps=0)
    expected = [-sum(0.1 / math.sqrt(i) for i in range(1, t + 1)) for t in range(1, 51)]
    assert points.tolist() == pytest.approx(expected, rel=1e-12)


def test_adagrad_is_the_limit_of_adam_to_first_order_in_1_minus_beta2():
    gradients = nonzero_gradients(100, 5)
    adagrad = path(AdaGrad, gradients, lr=0.01, eps=0)

    def gap(one_minus_beta2):
        settings = {"lr": 0.01, "beta1": 0, "beta2": 1 - one_minus_beta2, "eps": 0}
        return relative_difference(path(Adam, gradients, schedule=lambda t: t**-0.5, **settings), adagrad)

    assert gap(1e-4) / gap(1e-6) == pytest.approx(100, rel=0.05)


def test_momentum_lengthens_a_steady_step_of_sgd_by_one_over_1_minus_mu():
    points = path(SGD, torch.ones(300, dtype=torch.float64), lr=0.1, momentum=0.8)
    assert (points[-2] - points[-1]).item() == pytest.approx(0.1 / (1 - 0.8), rel=1e-12)


def sutskever(gradients, *, lr, momentum, schedule=lambda t: 1):
    theta = velocity = torch.zeros_like(gradients[0])
    points = []
    for t, g in enumerate(gradients, start=1):
        velocity = momentum * velocity - lr * schedule(t) * g
        theta = theta + momentum * velocity - lr * schedule(t) * g
        points.append(theta)
    return torch.stack(points)


def test_nesterov_is_sutskevers_form_while_lr_is_constant_and_only_then():
    gradients = nonzero_gradients(100, 5)

    def gap(**settings):
        return relative_difference(path(SGDNesterov, gradients, **settings), sutskever(gradients, **settings))

    assert gap(lr=0.1, momentum=0.9) < 1e-12
    assert gap(lr=0.1, momentum=0.9, schedule=lambda t: t**-0.5) > 0.01


@scale_free
@pytest.mark.parametrize("c", [1e-8, 3e-3, 1e8])
def test_rescaling_all_gradients_leaves_the_path(optimizer_class, c):
    gradients = nonzero_gradients(100, 5)
    scaled = path(optimizer_class, c * gradients, eps=0)
    assert relative_difference(scaled, path(optimizer_class, gradients, eps=0)) < 1e-12


@scale_free
def test_rescaling_each_coordinate_of_the_gradients_leaves_the_path(optimizer_class):
    gradients = nonzero_gradients(100, 20)
    scales = 10 ** torch.linspace(-3, 3, 20, dtype=torch.float64)
    scaled = path(optimizer_class, scales * gradients, eps=0)
    assert relative_difference(scaled, path(optimizer_class, gradients, eps=0)) < 1e-12


def test_rotating_the_gradients_does_not_rotate_the_path_of_adam():
    gradients = nonzero_gradients(100, 2)
    rotation = torch.tensor([[0.6, -0.8], [0.8, 0.6]], dtype=torch.float64)
    assert relative_difference(path(Adam, gradients @ rotation), path(Adam, gradients) @ rotation) > 0.01


@pytest.mark.parametrize(
    ("beta1", "beta2", "at_3000"),
    [(0.9, 0.999, 3.083), (0.9, 0.99, 1.0), (0.9, 0.9999, 5.09), (0, 0.999, 30.83)],
)
def test_a_gradient_after_2999_zeros_moves_adam_by_no_more_than_the_papers_bound(beta1, beta2, at_3000):
    zero, one = torch.tensor([0.0, 1.0], dtype=torch.float64)
    theta, _, _ = Adam.rule(zero, one, zero, zero, 3000, lr=1, beta1=beta1, beta2=beta2, eps=0)
    assert -theta.item() == pytest.approx(at_3000, rel=1e-3)
    assert -theta.item() <= (1 - beta1) / math.sqrt(1 - beta2)


def test_gradients_that_grow_as_fast_as_beta2_over_beta1_break_the_papers_bound():
    gradients = (0.999 / 0.9) ** torch.arange(-2999, 1, dtype=torch.float64)
    points = path(Adam, gradients, lr=1, eps=0)
    assert (points[-2] - points[-1]).item() == pytest.approx(7.087, abs=0.001)


@every_form
def test_a_vector_of_hyperparameters_is_as_many_separate_runs(optimizer_class, flags):
    rows = {name: VALUES[name] for name in optimizer_class.hyperparameters if name not in flags}
    columns = {name: torch.tensor(row, dtype=torch.float64)[:, None, None] for name, row in rows.items()}
    gradients = random_gradients(30, 4, 2)
    theta, *state = torch.zeros(1 + len(optimizer_class.state_names), 3, 4, 2, dtype=torch.float64)
    for t, g in enumerate(gradients, start=1):
        theta, *state = optimizer_class.rule(theta, g, *state, t, **columns, **flags)
    for k in range(3):
        alone = path(optimizer_class, gradients, **{name: row[k] for name, row in rows.items()}, **flags)
        torch.testing.assert_close(theta[k], alone[-1], rtol=1e-13, atol=1e-15)


@every_form
def test_a_rule_can_be_traced_with_symbols_for_all_arguments_but_its_flags(optimizer_class, flags):
    rule, graph = optimizer_class.rule, fx.Graph()
    tracer = fx.proxy.GraphAppendingTracer(graph)
    names = [name for name in inspect.signature(rule).parameters if name not in flags]
    outputs = rule(**{name: fx.Proxy(graph.placeholder(name), tracer) for name in names}, **flags)
    graph.output(tuple(output.node for output in outputs))

    tensors = ["theta", "g", *optimizer_class.state_names]
    given = dict(zip(tensors, nonzero_gradients(len(tensors), 5).abs(), strict=True)) | {"t": 3}
    given |= {name: VALUES[name][1] for name in names if name in VALUES}
    torch.testing.assert_close(fx.GraphModule({}, graph)(**given), rule(**given, **flags), rtol=0, atol=0)


@pytest.mark.parametrize("optimizer_class", OPTIMIZERS)
def test_rule_state_and_constructor_name_the_same_things(optimizer_class):
    arguments = inspect.signature(optimizer_class.rule).parameters.values()
    positional = [a.name for a in arguments if a.kind is a.POSITIONAL_OR_KEYWORD]
    assert positional == ["theta", "g", *optimizer_class.state_names, "t"]
    assert [a.name for a in arguments if a.kind is a.KEYWORD_ONLY] == list(optimizer_class.hyperparameters)


def test_the_only_flag_is_adams_bias_correction():
    assert {c: c.flags for c in OPTIMIZERS if c.flags} == {Adam: ("bias_correction",)}


def test_in_float32_one_minus_beta2_is_formed_in_float64():
    theta, g, m, v = torch.tensor([0.0, 3.0, 0.0, 0.0], dtype=torch.float32)
    _, _, v = Adam.rule(theta, g, m, v, 1, lr=1e-3, beta1=0.9, beta2=0.9999, eps=0)
    assert v.item() == pytest.approx(1e-4 * 9, rel=2e-7)  # 1 - 0.9999 in float32 is wrong by 2e-4
