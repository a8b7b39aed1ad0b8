"""A large model's parameters are updated by one compiled program: the rule as written, in whatever order in memory."""

from __future__ import annotations

import copy
import io
import itertools

import pytest
import torch

from adam_repro.compilation import LONG_RUN_OF_A_NETWORK, in_a_run_of
from adam_repro.models import VAE
from adam_repro.optimizers import OPTIMIZERS, AdaDelta, AdaGrad, Adam, AMSGrad, SGDNesterov, rule

STEPS = 20
LARGE = 16  # elements, where the tests have COMPILED_FROM

COMPILED = {
    "Adam": (Adam, {}),
    "Adam without correction": (Adam, {"bias_correction": False}),
    "AMSGrad": (AMSGrad, {}),
    "AdaGrad": (AdaGrad, {}),
    "AdaDelta": (AdaDelta, {}),
    "SGDNesterov": (SGDNesterov, {}),
}
FORMS = [
    pytest.param(one, dict(zip(one.flags, values, strict=True)), id=" ".join([one.__name__, *map(str, values)]))
    for one in OPTIMIZERS
    for values in itertools.product((True, False), repeat=len(one.flags))
]


@pytest.fixture
def loops(monkeypatch):
    """The steps, as (t, dtype), whose updates go by a compiled loop; parameters of LARGE elements are large."""
    seen = []
    original = rule._compiled_update

    def watched(cls, t, dtype, *more):
        seen.append((t, dtype))
        return original(cls, t, dtype, *more)

    monkeypatch.setattr(rule, "COMPILED_FROM", LARGE)
    monkeypatch.setattr(rule, "_compiled_update", watched)
    return seen


def gradients(shape, *, steps=STEPS, dtype=torch.float32):
    """Over four decades of size, some of them zero."""
    randomness = torch.Generator().manual_seed(0)
    normal = torch.randn(steps, *shape, generator=randomness)
    decade, kept = (torch.rand(steps, *shape, generator=randomness) for _ in range(2))
    return (normal * 10 ** (4 * decade - 2) * (kept > 0.2)).to(dtype)


def descend(theta, optimizer, given, *, layout=None, first=1):
    for t, gradient in enumerate(given, start=first):
        optimizer.param_groups[0]["lr"] = 0.1 / t**0.5
        theta.grad = gradient.contiguous(memory_format=layout) if layout else gradient.clone()
        optimizer.step()


def start(shape, *, dtype=torch.float32, layout=torch.contiguous_format):
    theta = torch.linspace(-1, 1, int(torch.Size(shape).numel()), dtype=dtype).view(shape)
    return torch.nn.Parameter(theta.contiguous(memory_format=layout))


def as_written(monkeypatch, optimizer_class, settings, given, **start_settings):
    with monkeypatch.context() as patch:
        patch.setattr(rule, "COMPILED_FROM", float("inf"))
        theta = start(given.shape[1:], **start_settings)
        optimizer = optimizer_class([theta], **settings)
        descend(theta, optimizer, given)
    return theta, optimizer.state[theta]


def assert_equal(theta, state, expected, tolerance):
    expected_theta, expected_state = expected
    torch.testing.assert_close(theta, expected_theta, rtol=tolerance, atol=tolerance)
    assert list(state) == list(expected_state)
    torch.testing.assert_close(dict(state), dict(expected_state), rtol=10 * tolerance, atol=1e-12)


def compiled_equals_written(loops, monkeypatch, shape, optimizer_class, settings):
    loops.clear()
    given, theta = gradients(shape), start(shape)
    optimizer = optimizer_class([theta], **settings)
    descend(theta, optimizer, given)
    assert len(loops) == STEPS
    expected = as_written(monkeypatch, optimizer_class, settings, given)
    assert_equal(theta, optimizer.state[theta], expected, tolerance=1e-6)


@pytest.mark.parametrize(("optimizer_class", "settings"), COMPILED.values(), ids=COMPILED)
def test_a_compiled_update_is_the_rule_as_written_for_every_size_by_one_program(
    compiler, loops, monkeypatch, optimizer_class, settings
):
    programs = set()
    for shape in ((33, 5), (64, 130), (20, 20)):
        compiled_equals_written(loops, monkeypatch, shape, optimizer_class, settings)
        programs.add(torch._dynamo.utils.counters["stats"]["unique_graphs"])
    assert len(programs) == 1, "a second size is no second program"


def test_a_compiled_update_is_the_rule_as_written_for_any_number_of_dimensions(compiler, loops, monkeypatch):
    for shape in ((4099,), (7, 4, 3, 3), (LARGE, 1)):
        compiled_equals_written(loops, monkeypatch, shape, SGDNesterov, {})


@pytest.mark.parametrize(("optimizer_class", "settings"), FORMS)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-6)])
def test_every_rule_in_every_form_is_itself_when_it_is_cut_in_two(
    loops, monkeypatch, optimizer_class, settings, dtype, tolerance
):
    given = gradients((6, 5), dtype=dtype)
    theta = start((6, 5), dtype=dtype)
    optimizer = optimizer_class([theta], **settings)
    descend(theta, optimizer, given)
    assert loops == [(t, dtype) for t in range(1, STEPS + 1)]
    expected = as_written(monkeypatch, optimizer_class, settings, given, dtype=dtype)
    assert_equal(theta, optimizer.state[theta], expected, tolerance)


def test_parameters_of_a_group_are_updated_together_those_of_one_dtype_by_one_program(loops, monkeypatch):
    def after_three_steps():
        thetas = [start((6, 5)), start((3, 3)), start((1,)), start((5, 6), dtype=torch.float64), start((2, 2))]
        optimizer = Adam(thetas)
        for step in range(3):
            for theta, factor in zip(thetas, (1, 2, 3, 4, 5), strict=True):
                theta.grad = torch.full_like(theta, factor * (step - 1.5))
            thetas[-1].grad = None if step == 0 else thetas[-1].grad  # from here on a step behind the others
            optimizer.step()
        return thetas

    found = after_three_steps()
    large = [torch.float32, torch.float64]
    assert loops == [(t, dtype) for t in (1, 2, 3) for dtype in large], "the last one, alone at its step, is small"
    monkeypatch.setattr(rule, "COMPILED_FROM", float("inf"))
    torch.testing.assert_close(found, after_three_steps(), rtol=1e-6, atol=1e-7)


LAYOUTS = {"contiguous": torch.contiguous_format, "channels last": torch.channels_last}


@pytest.mark.parametrize("of_gradients", LAYOUTS)
@pytest.mark.parametrize("of_theta", LAYOUTS)
@pytest.mark.parametrize("optimizer_class", [Adam, AMSGrad])
def test_elements_belong_together_by_place_and_not_by_address(
    loops, monkeypatch, optimizer_class, of_theta, of_gradients
):
    given = gradients((4, 3, 5, 5))
    theta = start((4, 3, 5, 5), layout=LAYOUTS[of_theta])
    optimizer = optimizer_class([theta])
    descend(theta, optimizer, given, layout=LAYOUTS[of_gradients])
    assert len(loops) == STEPS
    expected_theta, expected_state = as_written(monkeypatch, optimizer_class, {}, given)
    assert_equal(theta, optimizer.state[theta], (expected_theta, expected_state), tolerance=1e-6)
    assert theta.is_contiguous(memory_format=LAYOUTS[of_theta])


def test_a_parameter_with_gaps_or_turned_round_is_updated_where_it_lies(compiler, loops, monkeypatch):
    images = torch.zeros(4, 3, 5, 5).contiguous(memory_format=torch.channels_last)
    for turned in (torch.zeros(5, 6).t(), torch.zeros(6, 10)[:, ::2], images):
        given = gradients(turned.shape)
        with torch.no_grad():
            theta = turned.copy_(start(turned.shape))
        theta.requires_grad_()
        optimizer = Adam([theta])
        descend(theta, optimizer, given)
        assert len(loops) == STEPS and not theta.is_contiguous()
        assert_equal(theta, optimizer.state[theta], as_written(monkeypatch, Adam, {}, given), tolerance=1e-6)
        loops.clear()


def test_a_slice_of_a_larger_tensor_is_updated_within_its_bounds(loops, monkeypatch):
    whole = torch.full((3, 6, 5), 7.0)
    with torch.no_grad():
        theta = whole[1].copy_(start((6, 5)))
    theta = theta.requires_grad_()
    optimizer, given = SGDNesterov([theta]), gradients((6, 5))
    descend(theta, optimizer, given)
    assert len(loops) == STEPS
    assert whole[0].eq(7).all() and whole[2].eq(7).all()
    assert_equal(theta, optimizer.state[theta], as_written(monkeypatch, SGDNesterov, {}, given), tolerance=1e-6)


def through_state_dict(theta, optimizer):
    saved = io.BytesIO()
    torch.save(optimizer.state_dict(), saved)
    saved.seek(0)
    theta = theta.detach().clone().requires_grad_()
    fresh = type(optimizer)([theta])
    fresh.load_state_dict(torch.load(saved, weights_only=True))
    return theta, fresh


@pytest.mark.parametrize(("steps", "compiles"), [(LONG_RUN_OF_A_NETWORK - 1, False), (LONG_RUN_OF_A_NETWORK, True)])
def test_a_short_run_of_a_network_compiles_nothing(compiler, steps, compiles):
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    network = VAE(784, 500, 50)
    optimizer = Adam(network.parameters())
    with in_a_run_of(steps):
        for _ in range(2):
            network.cost(torch.rand(4, 784), torch.zeros(4)).backward()
            optimizer.step()
    assert (torch._dynamo.utils.counters["stats"]["unique_graphs"] > 0) is compiles


@pytest.mark.parametrize(
    "copied", [through_state_dict, lambda *both: copy.deepcopy(both)], ids=["a saved state_dict", "deepcopy"]
)
def test_a_copy_made_in_mid_run_goes_on_like_the_original(compiler, loops, copied):
    given = gradients((33, 5))
    theta = start((33, 5))
    optimizer = Adam([theta])
    descend(theta, optimizer, given[:5])
    twin_theta, twin = copied(theta, optimizer)
    for each, its in ((theta, optimizer), (twin_theta, twin)):
        descend(each, its, given[5:], first=6)
    assert len(loops) == 5 + 2 * (STEPS - 5)
    assert torch.equal(theta, twin_theta)
    torch.testing.assert_close(dict(twin.state[twin_theta]), dict(optimizer.state[theta]), rtol=0, atol=0)


def test_an_update_is_seen_by_autograd_as_one_in_place(loops):
    theta = start((6, 5))
    product = (theta * theta).sum()
    theta.grad = torch.ones_like(theta)
    Adam([theta]).step()
    assert len(loops) == 1
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        product.backward()
