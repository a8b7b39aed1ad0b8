"""A sparse population is its members' solo runs with equal noise: the same numbers, whatever the others do."""

from __future__ import annotations

import math

import pytest
import torch
from test_population import RESULTS, every_rule, member, results
from tiny_data import WORDS, tiny_words

from adam_repro.models import LogisticRegression
from adam_repro.optimizers import SGD, AdaGrad, Adam
from adam_repro.schedules import inverse_sqrt_step
from adam_repro.sparse_population import SparsePopulation, cost_and_error
from adam_repro.training import Solo, train

EPOCHS = 4


def population(members, *, dropout=0.5, dtype=torch.float32):
    return SparsePopulation(members, in_features=WORDS, input_dropout=dropout, dtype=dtype)


def solo(one, *, dropout=0.5, dtype=torch.float32):
    model = LogisticRegression(WORDS, input_dropout=dropout).to(dtype)
    return Solo(model, one.optimizer(model.parameters(), **one.settings), schedule=one.schedule, l2=one.l2)


def together_and_alone(members, **settings):
    together = population(members, **settings)
    alone = [results(solo(one, **settings), tiny_words(), EPOCHS) for one in together.members]
    return results(together, tiny_words(), EPOCHS), torch.cat(alone, dim=2)


@pytest.mark.parametrize("dropout", [0.5, 0.0])
def test_members_equal_their_solo_runs_in_float64(dropout):
    together, alone = together_and_alone(every_rule(lr=0.1), dropout=dropout, dtype=torch.float64)
    torch.testing.assert_close(together, alone, rtol=1e-12, atol=1e-15, equal_nan=True)
    assert together[1:].isfinite().all()


@pytest.mark.parametrize("dropout", [0.5, 0.0])
def test_members_equal_their_solo_runs_in_float32(dropout):
    together, alone = together_and_alone(every_rule(lr=1e-2), dropout=dropout)
    torch.testing.assert_close(together, alone, rtol=2e-6, atol=1e-9, equal_nan=True)


def test_members_share_the_noise_that_a_seed_gives_and_dropout_is_noise():
    first, second = results(population([member(SGD, lr=0.1), member(SGD, lr=0.1)]), tiny_words(), 2).unbind(2)
    assert torch.equal(first.nan_to_num(), second.nan_to_num())
    quiet = results(population([member(SGD, lr=0.1)], dropout=0.0), tiny_words(), 2)[..., 0]
    assert first[1, 0] != quiet[1, 0]
    assert torch.equal(first[0, 1:], quiet[0, 1:]), "before the first step, evaluations know no noise"


def test_a_member_that_diverges_leaves_the_others_bit_equal_and_says_when():
    good, bad = [member(Adam), member(SGD, lr=0.1), member(AdaGrad)], member(SGD, lr=1e30, l2=1.0)
    mixed, healthy = population([*good, bad]), population([*good, member(SGD, lr=0.2)])
    index = mixed.members.index(bad)
    others = [k for k in range(4) if k != index]
    ours, theirs = results(mixed, tiny_words()), results(healthy, tiny_words())
    assert torch.equal(ours[..., others].nan_to_num(), theirs[..., others].nan_to_num())
    assert ours[..., others].isfinite()[1:].all()
    step = RESULTS.index("diverged_step")
    assert int(ours[-1, step, index]) == results(solo(bad), tiny_words())[-1, step, 0] > 1


@pytest.mark.parametrize("large", [0.0, 200.0, 1e30, math.inf])
def test_a_cost_is_infinite_only_where_the_label_itself_has_no_probability(large):
    logits = torch.tensor([large, -large, large, -large], dtype=torch.float64)[:, None]
    y = torch.tensor([1, 0, 0, 1])
    for part in (slice(0, 2), slice(2, 4)):
        costs, error = cost_and_error(logits[part], y[part])
        wrong = part.start > 0
        assert costs.item() == pytest.approx(math.log(2) if large == 0 else large if wrong else 0, abs=1e-80)
        assert error.isfinite().all()


def test_the_gradient_of_the_cost_is_that_of_autograd():
    logits = torch.randn(5, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64, requires_grad=True)
    y = torch.tensor([0, 1, 1, 0, 1])
    targets = y.double()[:, None].expand(5, 3)
    expected = torch.nn.functional.binary_cross_entropy_with_logits(logits, targets, reduction="none").mean(0)
    expected.sum().backward()
    costs, error = cost_and_error(logits.detach(), y)
    torch.testing.assert_close(costs, expected.detach(), rtol=1e-14, atol=0)
    torch.testing.assert_close(error, logits.grad, rtol=1e-13, atol=1e-16)


def test_evaluation_is_the_mean_over_every_example_however_many():
    together = population([member(Adam, lr=0.1), member(SGD, lr=3.0)], dtype=torch.float64)
    results(together, tiny_words(), epochs=2)
    data = tiny_words(2501)
    loss, accuracy = together.evaluate(data.train_x, data.train_y)
    weight, bias = torch.cat(together.weights, 1), torch.cat(together.biases)
    logits = data.train_x.to_dense().double() @ weight + bias
    y = data.train_y[:, None].expand(-1, 2)
    for k in range(2):
        expected = torch.nn.functional.binary_cross_entropy_with_logits(logits[:, k], y[:, k].double())
        torch.testing.assert_close(loss[k], expected, rtol=1e-13, atol=0)
        assert accuracy[k] == ((logits[:, k] > 0) == y[:, k]).double().mean()


def test_the_penalty_counts_weights_and_no_biases():
    together = population([member(Adam, l2=0.5), member(SGD, l2=2.0)])
    for weight, bias in zip(together.weights, together.biases, strict=True):
        weight[:], bias[:] = 3, 100
    assert together.penalty().tolist() == [0.5 / 2 * 9 * WORDS, 2 / 2 * 9 * WORDS]


def test_l2_pulls_on_weights_and_not_on_biases():
    data, moved = tiny_words(), []
    for l2 in (0.0, 0.25):
        together = population([member(SGD, lr=1.0, l2=l2)], dropout=0.0)
        together.weights[0][:], together.biases[0][:] = 2, 2
        together.begin_epoch(1, range(1, 2))
        together.step(data.train_x, data.train_y)
        moved.append((together.weights[0], together.biases[0]))
    torch.testing.assert_close(moved[0][0] - moved[1][0], torch.full((WORDS, 1), 0.25 * 2))
    assert torch.equal(moved[0][1], moved[1][1])


def test_a_compiled_population_equals_an_uncompiled_one(compiler):
    members = [member(SGD, inverse_sqrt_step, 1e-2), member(SGD, lr=0.1, momentum=0.9)]
    with torch.compiler.set_stance("force_eager"):
        expected = results(population(members), tiny_words(), epochs=3)
    found = results(population(members), tiny_words(), epochs=3)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-7, equal_nan=True)


@pytest.mark.parametrize("p", [1.0, -0.5])
def test_what_is_no_dropout_rate_is_refused_before_anything_is_trained(p):
    for build in (lambda: population([member(Adam)], dropout=p), lambda: solo(member(Adam), dropout=p)):
        with pytest.raises(ValueError, match=f"a dropout rate of {p} is not allowed: give a number with 0 <= p < 1"):
            build()


def test_a_run_repeats_itself_and_another_seed_is_another_run():
    def costs(seed):
        rows = train(population([member(Adam)]), tiny_words(), seed=seed, epochs=2, batch_size=8, evaluate_at=[])
        return [row.train_cost.item() for row in rows][1:]

    assert costs(0) == costs(0) != costs(1)
