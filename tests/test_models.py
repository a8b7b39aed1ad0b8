"""The paper's models: shapes, sizes, initial parameters, and noise that depends on seed and epoch alone."""

from __future__ import annotations

import pytest
import torch
from tiny_data import CLASSES, FEATURES, tiny

from adam_repro.models import MLP
from adam_repro.optimizers import SGD, Adam
from adam_repro.schedules import constant
from adam_repro.training import Solo, train


def small(**rates):
    torch.manual_seed(0)
    return MLP(FEATURES, [8, 8], CLASSES, **{"input_dropout": 0.2, "hidden_dropout": 0.5, **rates})


def learner(optimizer=Adam, model=None, lr=0.01):
    model = model or small()
    return Solo(model, optimizer(model.parameters(), lr=lr), schedule=constant, l2=0.0)


def costs(solo, *, seed=0, epochs=3):
    rows = train(solo, tiny(), seed=seed, epochs=epochs, batch_size=8, evaluate_at=None)
    return [(row.train_cost.item(), row.test_loss.item()) for row in rows][1:]


def test_the_papers_network_has_its_size():
    model = MLP(784, [1000, 1000], 10, input_dropout=0.2, hidden_dropout=0.5)
    assert sum(p.numel() for p in model.parameters()) == 784 * 1000 + 1000 + 1000 * 1000 + 1000 + 1000 * 10 + 10
    assert model(torch.zeros(3, 784)).shape == (3, 10)


def test_weights_start_with_the_variance_that_rectified_units_keep_and_biases_at_zero():
    model = MLP(784, [1000, 1000], 10, input_dropout=0.0, hidden_dropout=0.0)
    for name, p in model.named_parameters():
        if name.endswith("bias"):
            assert p.eq(0).all()
        else:
            assert p.var().item() == pytest.approx(2 / p.shape[1], rel=0.1)


def test_dropout_leaves_out_and_scales_up_in_training_and_does_nothing_in_evaluation():
    model = small(input_dropout=0.5, hidden_dropout=0.0)
    seen = []
    model.layers[1].register_forward_hook(lambda layer, inputs, output: seen.append(inputs[0]))
    model(torch.ones(4000, FEATURES))
    assert set(seen[0].flatten().tolist()) == {0.0, 2.0}
    assert seen[0].mean().item() == pytest.approx(1, abs=0.05)
    model.eval()
    model(torch.ones(4, FEATURES))
    assert seen[1].eq(1).all()


def test_equal_seeds_see_equal_noise_whatever_was_drawn_before_and_whatever_their_optimizer():
    masks = []
    for optimizer, drawn in ((Adam, 0), (SGD, 7)):
        model = small(hidden_dropout=0.0)
        model.layers[1].register_forward_hook(
            lambda layer, inputs, output: masks[-1].append(inputs[0].eq(0)) if layer.training else None
        )
        torch.rand(drawn)
        masks.append([])
        costs(learner(optimizer, model))
    assert len(masks[0]) == len(masks[1]) == 3 * 4
    assert all(torch.equal(a, b) for a, b in zip(*masks, strict=True))
    assert not torch.equal(masks[0][0], masks[0][4]), "another epoch has other noise"


def test_a_run_with_dropout_repeats_itself_and_another_seed_is_another_run():
    assert costs(learner()) == costs(learner()) != costs(learner(), seed=1)


def test_without_dropout_the_network_learns():
    found = costs(learner(model=small(input_dropout=0.0, hidden_dropout=0.0), lr=0.05), epochs=30)
    assert found[-1][0] < 0.5 * found[0][0]
