"""The loop: what is seen, averaged, evaluated and noted; and the learner of one ordinary model."""

from __future__ import annotations

import math

import pytest
import torch
from tiny_data import CLASSES, FEATURES, tiny

from adam_repro.data import Dataset
from adam_repro.models import MLP, SoftmaxRegression
from adam_repro.optimizers import SGD, AdaGrad, Adam
from adam_repro.schedules import constant, inverse_sqrt_epoch, inverse_sqrt_step
from adam_repro.training import Solo, train


def numbered(train_examples, test_examples=4):
    """Example i is the number i; test examples are numbered from a million."""
    x, test_x = torch.arange(train_examples)[:, None], torch.arange(test_examples)[:, None] + 1_000_000
    return Dataset("numbered", "synthetic", "of no file", x.float(), x[:, 0], test_x.float(), test_x[:, 0])


class Notebook:
    """A learner that writes down what it is shown, and whose costs are given beforehand, [steps][K]."""

    def __init__(self, costs=None, size=1):
        self.costs, self.size = iter(costs or ()), size
        self.epochs, self.batches, self.evaluated = [], [], []

    def begin_epoch(self, epoch, steps):
        self.epochs.append((epoch, steps))

    def step(self, x, y):
        assert x[:, 0].tolist() == y.tolist(), "examples keep their labels"
        self.batches.append(y.tolist())
        return torch.tensor(next(self.costs, [0.0] * self.size))

    def evaluate(self, x, y):
        self.evaluated.append(y.tolist())
        return torch.full((self.size,), 7.0).double(), torch.full((self.size,), 0.5).double()

    def penalty(self):
        return torch.full((self.size,), 0.25).double()


def rows_of(learner, data, *, seed=0, epochs=1, batch_size=2, evaluate_at=None):
    return list(train(learner, data, seed=seed, epochs=epochs, batch_size=batch_size, evaluate_at=evaluate_at))


def test_the_mean_of_an_epoch_counts_every_example_once_though_the_last_minibatch_is_short():
    rows = rows_of(Notebook([[1.0, 4.0], [2.0, 8.0], [6.0, 0.0]], size=2), numbered(5))
    assert rows[1].train_cost.tolist() == [(2 * 1 + 2 * 2 + 1 * 6) / 5, (2 * 4 + 2 * 8 + 0) / 5]


def test_the_mean_of_an_epoch_is_taken_in_float64():
    rows = rows_of(Notebook([[1.0], [1e-9]]), numbered(4))
    assert rows[1].train_cost.item() == pytest.approx((1 + torch.tensor(1e-9).item()) / 2, rel=1e-15)


def test_every_epoch_sees_every_example_once_in_an_order_of_its_own():
    learner = Notebook()
    rows_of(learner, numbered(23), epochs=3, batch_size=5)
    assert [len(batch) for batch in learner.batches] == 3 * [5, 5, 5, 5, 3]
    orders = [sum(learner.batches[first : first + 5], []) for first in (0, 5, 10)]
    assert all(sorted(order) == list(range(23)) for order in orders)
    assert len({tuple(order) for order in [*orders, range(23)]}) == 4


def test_every_test_example_is_evaluated_and_the_same_10_000_training_examples_in_all_runs():
    seen = []
    for seed in (0, 1):
        learner = Notebook()
        rows_of(learner, numbered(10_500, 1003), seed=seed, epochs=2, batch_size=5000)
        assert [len(part) for part in learner.evaluated] == [10_000, 1003] * 3
        assert all(part == list(range(1_000_000, 1_001_003)) for part in learner.evaluated[1::2])
        seen += learner.evaluated[::2]
    assert all(part == seen[0] for part in seen)
    assert len(set(seen[0])) == 10_000 and max(seen[0]) > 10_400, "drawn from all of them"


def test_equal_seeds_see_equal_minibatches_whatever_their_optimizer_and_other_seeds_others():
    def order(seed, optimizer):
        seen = []

        class Model(SoftmaxRegression):
            def forward(self, x):
                if self.training:
                    seen.append(x[:, 0].tolist())
                return super().forward(x)

        model = Model(FEATURES, CLASSES)
        learner = Solo(model, optimizer(model.parameters(), lr=0.1), schedule=constant, l2=0.0)
        rows_of(learner, tiny(), seed=seed, epochs=2, batch_size=8, evaluate_at=[])
        return seen

    assert order(5, Adam) == order(5, SGD)
    assert order(5, Adam) != order(6, Adam)


def test_row_0_is_evaluated_before_the_first_step():
    learner = Notebook()
    rows = train(learner, numbered(4), seed=0, epochs=1, batch_size=2, evaluate_at=None)
    first = next(rows)
    assert learner.batches == [] and len(learner.evaluated) == 2
    assert first.epoch == 0 and first.train_cost.isnan().all()
    assert [first.train_loss.item(), first.l2_penalty.item(), first.test_loss.item()] == [7.0, 0.25, 7.0]
    assert first.test_accuracy.item() == 0.5


@pytest.mark.parametrize(
    ("asked", "evaluated"), [(None, [0, 1, 2, 3, 4]), ([1], [1, 4]), ([0, 2], [0, 2, 4]), ([], [4])]
)
def test_evaluations_take_place_where_they_are_asked_for_and_after_the_last_epoch(asked, evaluated):
    learner = Notebook()
    rows = rows_of(learner, numbered(4), epochs=4, evaluate_at=asked)
    for column in ("train_loss", "test_loss", "test_accuracy"):
        assert [row.epoch for row in rows if not getattr(row, column).isnan().any()] == evaluated
    assert len(learner.evaluated) == 2 * len(evaluated)
    assert [row.train_cost.isnan().any().item() for row in rows] == [True, False, False, False, False]
    assert not any(row.l2_penalty.isnan().any() for row in rows)


def test_a_run_that_diverges_is_noted_with_its_first_bad_step_and_the_others_go_on():
    bad, worse = math.inf, math.nan
    costs = [[1.0, 1.0, 1.0], [1.0, bad, 1.0], [1.0, worse, 1.0], [1.0, 1.0, worse], [1.0, 1.0, 1.0], [1.0, 1.0, 1.0]]
    rows = rows_of(Notebook(costs, size=3), numbered(4), epochs=3)
    assert [row.diverged_step.tolist() for row in rows] == [[0, 0, 0], [0, 2, 0], [0, 2, 4], [0, 2, 4]]
    assert rows[3].train_cost[0] == 1.0


def test_training_ends_with_the_epoch_in_which_the_last_run_diverges():
    learner = Notebook([[math.nan, 1.0], [1.0, 1.0], [1.0, math.inf]], size=2)
    rows = rows_of(learner, numbered(4), epochs=9)
    assert [row.epoch for row in rows] == [0, 1, 2]
    assert len(learner.batches) == 4


def test_steps_are_counted_on_from_epoch_to_epoch():
    learner = Notebook()
    rows_of(learner, numbered(5), epochs=3)
    assert learner.epochs == [(1, range(1, 4)), (2, range(4, 7)), (3, range(7, 10))]


def solo(optimizer=SGD, *, lr=0.1, schedule=constant, l2=0.0, start=0.0):
    model = SoftmaxRegression(FEATURES, CLASSES)
    for parameter in model.parameters():
        torch.nn.init.constant_(parameter, start)
    return Solo(model, optimizer(model.parameters(), lr=lr), schedule=schedule, l2=l2)


@pytest.mark.parametrize(
    ("schedule", "factor"),
    [
        (constant, lambda t, epoch: 1),
        (inverse_sqrt_step, lambda t, epoch: 1 / math.sqrt(t)),
        (inverse_sqrt_epoch, lambda t, epoch: 1 / math.sqrt(epoch)),
    ],
)
def test_the_schedule_rescales_the_lr_that_was_given_at_every_step(schedule, factor):
    used = []

    class Watched(SGD):
        def step(self, closure=None):
            used.append(self.param_groups[0]["lr"])
            return super().step(closure)

    rows_of(solo(Watched, lr=0.5, schedule=schedule), tiny(), epochs=3, batch_size=8)
    assert used == pytest.approx([0.5 * factor(t, (t - 1) // 4 + 1) for t in range(1, 13)], rel=1e-15)


def test_train_cost_is_the_data_term_before_the_step_and_the_penalty_has_its_own_column():
    plain, penalised = (rows_of(solo(lr=0.0, l2=l2, start=2.0), tiny(), batch_size=8)[1] for l2 in (0.0, 10.0))
    assert plain.train_cost.item() == penalised.train_cost.item() == pytest.approx(math.log(CLASSES), rel=1e-6)
    assert plain.train_loss.item() == penalised.train_loss.item() == pytest.approx(math.log(CLASSES), rel=1e-6)
    assert plain.l2_penalty.item() == 0
    assert penalised.l2_penalty.item() == 10 / 2 * 2**2 * FEATURES * CLASSES


def test_l2_pulls_on_weights_through_the_gradient_and_not_on_biases():
    data, moved = tiny(), []
    for l2 in (0.0, 0.25):
        learner = solo(lr=1.0, l2=l2, start=2.0)
        learner.begin_epoch(1, range(1, 2))
        learner.step(data.train_x, data.train_y)
        moved.append(learner.model.linear)
    torch.testing.assert_close(moved[0].weight - moved[1].weight, torch.full((CLASSES, FEATURES), 0.25 * 2))
    assert torch.equal(moved[0].bias, moved[1].bias)


def test_l2_reaches_an_adaptive_optimizer_inside_its_ratio():
    learner = solo(AdaGrad, lr=0.5, l2=1e6, start=2.0)
    learner.begin_epoch(1, range(1, 2))
    learner.step(tiny().train_x, tiny().train_y)
    torch.testing.assert_close(learner.model.linear.weight, torch.full((CLASSES, FEATURES), 2 - 0.5))


def test_evaluation_is_the_mean_over_every_example_and_leaves_the_model_in_training():
    data, learner = tiny(2501), solo(Adam)
    rows_of(learner, tiny(), epochs=2, batch_size=8)
    loss, accuracy = learner.evaluate(data.train_x, data.train_y)
    logits = learner.model(data.train_x).double()
    assert loss.dtype is torch.float64
    torch.testing.assert_close(loss[0], torch.nn.functional.cross_entropy(logits, data.train_y), rtol=1e-6, atol=0)
    assert accuracy.item() == (logits.argmax(1) == data.train_y).sum().item() / 2501
    assert learner.model.training


def test_a_model_is_evaluated_in_evaluation_mode():
    model = MLP(FEATURES, [50], CLASSES, input_dropout=0.5, hidden_dropout=0.5)
    learner = Solo(model, SGD(model.parameters()), schedule=constant, l2=0.0)
    data = tiny()
    first, second = (learner.evaluate(data.test_x, data.test_y)[0] for _ in range(2))
    assert first == second, "no noise"
    assert model.training, "and back to training"


def test_an_optimizer_that_needs_a_closure_gets_one_and_its_cost_is_that_before_the_step():
    model, data = SoftmaxRegression(FEATURES, CLASSES), tiny()
    learner = Solo(model, torch.optim.LBFGS(model.parameters(), lr=1.0), schedule=constant, l2=1e-2)
    learner.begin_epoch(1, range(1, 3))
    first, second = (learner.step(data.train_x, data.train_y) for _ in range(2))
    assert first.shape == (1,) and first.item() == pytest.approx(math.log(CLASSES), rel=1e-6)
    assert second < 0.8 * first
    gradient = torch.autograd.grad(
        model.cost(data.train_x, data.train_y) + 1e-2 / 2 * model.linear.weight.pow(2).sum(),
        list(model.parameters()),
    )
    assert max(part.abs().max() for part in gradient) < 1e-3, "the minimum of the objective, penalty and all"


def test_a_gradient_is_of_its_minibatch_alone_even_of_what_the_optimizer_leaves_alone():
    model, data = SoftmaxRegression(FEATURES, CLASSES), tiny()
    learner = Solo(model, torch.optim.SGD([model.linear.weight], lr=0.0), schedule=constant, l2=0.0)
    learner.begin_epoch(1, range(1, 3))
    gradients = []
    for _ in range(2):
        learner.step(data.train_x, data.train_y)
        gradients.append([p.grad.clone() for p in model.parameters()])
    assert all(map(torch.equal, *gradients))


def test_an_optimizer_with_a_zero_grad_of_its_own_is_asked_for_it_before_every_gradient():
    class Telling(torch.optim.SGD):
        def zero_grad(self, set_to_none=True):
            calls.append("zero_grad")
            super().zero_grad(set_to_none)

        def step(self, closure=None):
            calls.append("step")
            return super().step(closure)

    calls, model, data = [], SoftmaxRegression(FEATURES, CLASSES), tiny()
    learner = Solo(model, Telling(model.parameters(), lr=0.1), schedule=constant, l2=0.0)
    learner.begin_epoch(1, range(1, 3))
    for _ in range(2):
        learner.step(data.train_x, data.train_y)
    assert calls == ["zero_grad", "step"] * 2
