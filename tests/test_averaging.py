"""Parameters are averaged as section 7.2 says, and a run is judged by the average where its optimizer keeps one."""

import pytest
import torch
from tiny_data import CLASSES, FEATURES, tiny

from adam_repro.models import SoftmaxRegression
from adam_repro.optimizers import Adam, AveragedAdam
from adam_repro.schedules import constant
from adam_repro.training import Solo, train


def stepped(optimizer, parameter, steps):
    points = []
    for g in torch.randn(steps, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0)):
        parameter.grad = g
        optimizer.step()
        points.append(parameter.detach().clone())
    return torch.stack(points)


def test_the_average_is_that_of_section_7_2_and_steps_are_adams():
    theirs, ours = (torch.zeros(3, dtype=torch.float64, requires_grad=True) for _ in range(2))
    path = stepped(Adam([theirs], beta2=0.9), theirs, 30)
    optimizer = AveragedAdam([ours], beta2=0.9)
    torch.testing.assert_close(stepped(optimizer, ours, 30), path, rtol=1e-12, atol=0)
    weights = 0.1 * 0.9 ** torch.arange(29, -1, -1, dtype=torch.float64)
    optimizer.eval()
    torch.testing.assert_close(ours.detach(), weights @ path / (1 - 0.9**30), rtol=1e-12, atol=0)
    optimizer.eval()  # twice is once
    optimizer.train()
    torch.testing.assert_close(ours.detach(), path[-1], rtol=1e-12, atol=0)


def test_before_the_first_step_there_is_no_average():
    parameter = torch.ones(3, requires_grad=True)
    optimizer = AveragedAdam([parameter])
    optimizer.eval()
    assert parameter.tolist() == [1, 1, 1]


def rows_of(optimizer_class, **settings):
    model = SoftmaxRegression(FEATURES, CLASSES)
    learner = Solo(model, optimizer_class(model.parameters(), **settings), schedule=constant, l2=0.0)
    return list(train(learner, tiny(), seed=0, epochs=2, batch_size=8, evaluate_at=None)), model


def test_a_run_is_judged_by_the_average_and_trained_as_without():
    averaged, model = rows_of(AveragedAdam, lr=0.3)
    plain, _ = rows_of(Adam, lr=0.3)
    for ours, theirs in zip(averaged[1:], plain[1:], strict=True):
        assert ours.train_cost.item() == pytest.approx(theirs.train_cost.item(), rel=1e-5)
        assert abs(ours.test_loss - theirs.test_loss).item() > 1e-4
    trained = [p.detach().clone() for p in model.parameters()]
    assert model.training and all(p.grad is not None for p in model.parameters())
    _, twin = rows_of(Adam, lr=0.3)
    for ours, theirs in zip(trained, twin.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs.detach(), rtol=1e-5, atol=1e-6)


class ModesOfItsOwn(torch.optim.SGD):
    """As optimizers that need no schedule are: steps only in train, and other parameters in eval."""

    mode = None

    def train(self):
        self.mode = "train"

    def eval(self):
        assert self.mode == "train"
        self.mode = "eval"

    def step(self, closure=None):
        assert self.mode == "train", "step() in eval()"
        return super().step(closure)


def test_an_optimizer_from_outside_is_in_train_for_steps_and_in_eval_for_evaluations(monkeypatch):
    modes = []
    judged = SoftmaxRegression.judged
    monkeypatch.setattr(
        SoftmaxRegression, "judged", lambda self, x, y: modes.append(optimizer.mode) or judged(self, x, y)
    )
    model = SoftmaxRegression(FEATURES, CLASSES)
    optimizer = ModesOfItsOwn(model.parameters(), lr=0.1)
    learner = Solo(model, optimizer, schedule=constant, l2=0.0)
    list(train(learner, tiny(), seed=0, epochs=1, batch_size=8, evaluate_at=None))
    assert set(modes) == {"eval"} and optimizer.mode == "train"
