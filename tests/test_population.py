"""A population is its members' solo runs: the same numbers, whatever the others do."""

from __future__ import annotations

import itertools

import pytest
import torch
from tiny_data import CLASSES, FEATURES, tiny

from adam_repro.compilation import LONG_RUN, compiled, compiled_in_long_runs, in_a_run_of
from adam_repro.members import Member
from adam_repro.models import SoftmaxRegression
from adam_repro.optimizers import OPTIMIZERS, SGD, AdaGrad, Adam
from adam_repro.population import Population, cost_and_error
from adam_repro.schedules import constant, inverse_sqrt_epoch, inverse_sqrt_step
from adam_repro.training import Solo, train

RESULTS = ("train_cost", "train_loss", "l2_penalty", "test_loss", "test_accuracy", "diverged_step")


def member(optimizer, schedule=constant, l2=0.0, **settings):
    return Member(optimizer, optimizer.settings(**settings), schedule, l2)


def biases(together):
    """Every member's biases, [K, classes]: the weights of the input that is constantly one."""
    return together.theta[..., together.in_features]


def every_rule(lr):
    """Two members of every rule in every form, in an order that mixes the rules."""
    forms = [
        (optimizer, dict(zip(optimizer.flags, values, strict=True)))
        for optimizer in OPTIMIZERS
        for values in itertools.product((True, False), repeat=len(optimizer.flags))
    ]
    schedules = itertools.cycle((constant, inverse_sqrt_step, inverse_sqrt_epoch))
    strengths = itertools.cycle((0.0, 1e-2, 1e-4, 1e-1))
    others = itertools.cycle(({"momentum": 0.5, "beta1": 0.8, "rho": 0.99, "eps": 1e-4}, {"beta2": 0.9, "eps": 1e-6}))
    return [
        member(
            optimizer,
            next(schedules),
            next(strengths),
            lr=lr / divisor,
            **flags,
            **{name: value for name, value in next(others).items() if name in optimizer.hyperparameters},
        )
        for divisor in (1, 3)
        for optimizer, flags in forms
    ]


def population(members, dtype=torch.float32):
    return Population(members, in_features=FEATURES, classes=CLASSES, dtype=dtype)


def solo(one, dtype=torch.float32):
    model = SoftmaxRegression(FEATURES, CLASSES).to(dtype)
    return Solo(model, one.optimizer(model.parameters(), **one.settings), schedule=one.schedule, l2=one.l2)


def results(learner, data, epochs=15):
    """What training gives in each epoch, [epochs + 1, columns, K]; the last of four minibatches is short."""
    rows = train(learner, data, seed=3, epochs=epochs, batch_size=8, evaluate_at=None)
    return torch.stack([torch.stack([getattr(row, name).double() for name in RESULTS]) for row in rows])


def solo_results(members, data, dtype=torch.float32, epochs=15):
    return torch.cat([results(solo(one, dtype), data, epochs) for one in members], dim=2)


def test_members_equal_their_solo_runs_in_float64():
    data = tiny(dtype=torch.float64)
    together = population(every_rule(lr=0.1), torch.float64)
    alone = solo_results(together.members, data, torch.float64)
    torch.testing.assert_close(results(together, data), alone, rtol=1e-12, atol=1e-15, equal_nan=True)


@pytest.mark.parametrize(("lr", "tolerance"), [(1e-2, 4e-7), (1e-1, 3e-4)])
def test_members_equal_their_solo_runs_in_float32(data, lr, tolerance):
    together = population(every_rule(lr))
    alone = solo_results(together.members, data)
    torch.testing.assert_close(results(together, data), alone, rtol=tolerance, atol=1e-9, equal_nan=True)


def test_members_keep_their_numbers_whatever_their_order(data):
    forth, back = population(members := every_rule(lr=0.03)), population(members[::-1])
    assert [id(one) for one in forth.members] != [id(one) for one in back.members]
    assert {id(one) for one in forth.members} == {id(one) for one in back.members} == {id(one) for one in members}
    place = {id(one): k for k, one in enumerate(back.members)}
    reordered = results(back, data, epochs=3)[..., [place[id(one)] for one in forth.members]]
    torch.testing.assert_close(results(forth, data, epochs=3), reordered, rtol=1e-6, atol=1e-9, equal_nan=True)


def test_members_of_one_rule_are_updated_by_one_loop_and_flags_make_two():
    members = [member(Adam), member(SGD), member(Adam, bias_correction=False), member(Adam, lr=1.0), member(SGD)]
    assert [len(segment.members) for segment in population(members).segments] == [1, 2, 2]


def test_a_member_that_diverges_leaves_the_others_bit_equal_and_says_when(data):
    good, bad = [member(Adam), member(SGD, lr=0.1), member(AdaGrad)], member(SGD, lr=1e30, l2=1.0)
    mixed = population([*good, bad])
    index = mixed.members.index(bad)
    healthy = population([*good, member(SGD, lr=0.2)])
    others = [k for k in range(4) if k != index]
    ours, theirs = results(mixed, data), results(healthy, data)
    assert torch.equal(ours[..., others].nan_to_num(), theirs[..., others].nan_to_num())
    assert ours[..., others].isfinite()[1:].all()
    first_bad_step = int(ours[-1, RESULTS.index("diverged_step"), index])
    assert first_bad_step == results(solo(bad), data)[-1, RESULTS.index("diverged_step"), 0] > 1


@pytest.mark.parametrize("large", [200.0, 1e30, float("inf")])
def test_a_cost_is_infinite_only_where_the_label_itself_has_no_probability(large):
    logits = torch.tensor([0.0, -large, 1.0])[None, :, None].expand(1, 3, 2)
    costs, error = cost_and_error(logits, torch.tensor([0, 2]))
    expected = torch.nn.functional.cross_entropy(logits[0].t(), torch.tensor([0, 2]))
    torch.testing.assert_close(costs, expected[None])
    assert error.isfinite().all()


def test_the_gradient_of_the_cost_is_that_of_autograd():
    logits = torch.randn(2, 3, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64, requires_grad=True)
    y = torch.tensor([0, 2, 1, 1, 0])
    expected = torch.stack([torch.nn.functional.cross_entropy(each.t(), y) for each in logits])
    expected.sum().backward()
    costs, error = cost_and_error(logits.detach(), y)
    torch.testing.assert_close(costs, expected.detach(), rtol=1e-14, atol=0)
    torch.testing.assert_close(error, logits.grad, rtol=1e-13, atol=1e-16)


def test_evaluation_is_the_mean_over_every_example_however_many():
    together = population([member(Adam, lr=0.1), member(SGD, lr=3.0)], torch.float64)
    results(together, tiny(dtype=torch.float64), epochs=2)
    data = tiny(2501, dtype=torch.float64)
    loss, accuracy = together.evaluate(data.train_x, data.train_y)
    for k in range(2):
        logits = data.train_x @ together.weight[k].t() + biases(together)[k]
        torch.testing.assert_close(loss[k], torch.nn.functional.cross_entropy(logits, data.train_y))
        assert accuracy[k] == (logits.argmax(1) == data.train_y).double().mean()


def test_the_penalty_counts_weights_and_no_biases():
    together = population([member(Adam, l2=0.5), member(SGD, l2=2.0)])
    together.weight[:] = 3
    biases(together)[:] = 100
    assert together.penalty().tolist() == [0.5 / 2 * 9 * FEATURES * CLASSES, 2 / 2 * 9 * FEATURES * CLASSES]


def test_l2_pulls_on_weights_and_not_on_biases(data):
    moved = []
    for l2 in (0.0, 0.25):
        together = population([member(SGD, lr=1.0, l2=l2)])
        together.weight[:] += 2
        biases(together)[:] += 2
        together.begin_epoch(1, range(1, 2))
        together.step(data.train_x, data.train_y)
        moved.append((together.weight[0], biases(together)[0]))
    torch.testing.assert_close(moved[0][0] - moved[1][0], torch.full((CLASSES, FEATURES), 0.25 * 2))
    assert moved[0][1].equal(moved[1][1])


def test_the_columns_that_fill_a_row_up_stay_zero(data):
    together = population(every_rule(0.1))
    list(train(together, data, seed=0, epochs=2, batch_size=8, evaluate_at=None))
    assert together.theta.shape[-1] % 16 == 0 and together.theta.shape[-1] > FEATURES + 1
    assert together.theta[..., FEATURES + 1 :].eq(0).all()


def test_a_compiled_population_equals_an_uncompiled_one(compiler, data):
    members = [member(Adam, inverse_sqrt_step, 1e-2), member(SGD, lr=0.1, momentum=0.9), member(Adam, lr=0.01)]
    members += [member(SGD, lr=1e30, l2=1.0)]
    with torch.compiler.set_stance("force_eager"):
        expected = results(population(members), data, epochs=4)
    torch.testing.assert_close(results(population(members), data, epochs=4), expected, equal_nan=True)
    capability = torch.backends.cpu.get_cpu_capability()
    assert torch.compiler.config.cache_key_tag == capability, "its code is never taken for another kind of processor's"


def test_a_short_run_does_not_wait_for_a_population_to_be_compiled(compiler):
    def compiling(_):
        return torch.tensor(torch.compiler.is_compiling())

    always, in_long_runs = compiled(compiling), compiled_in_long_runs(compiling)
    x = torch.zeros(1)
    assert always(x) and in_long_runs(x), "how long the run is has not been said"
    with in_a_run_of(LONG_RUN - 1):
        assert always(x) and not in_long_runs(x)
    with in_a_run_of(LONG_RUN):
        assert always(x) and in_long_runs(x)


def test_without_a_compiler_the_same_function_runs_uncompiled_and_says_so_once(compiler, caplog):
    @compiled
    def doubled(x):
        return x * 2 + 1

    with torch._inductor.config.patch({"cpp.cxx": ("no-such-compiler",)}):
        for size in (3, 4, 5):
            assert torch.equal(doubled(torch.ones(size)), torch.full((size,), 3.0))
    (said,) = (record.getMessage() for record in caplog.records if record.name.startswith("adam_repro"))
    assert "uncompiled" in said and "no-such-compiler" in said


def test_what_a_compiled_function_itself_raises_is_raised(compiler):
    @compiled
    def product(x, y):
        return x @ y

    with pytest.raises(RuntimeError, match="mat1 and mat2 shapes cannot be multiplied"):
        product(torch.ones(2, 3), torch.ones(2, 3))
