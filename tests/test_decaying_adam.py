"""Adam whose beta1 decays is Adam where it does not, and forgets its first moment where it does."""

import torch

from adam_repro.optimizers import Adam, DecayingAdam

STEPS = 9


def walked(optimizer_class, gradients, **settings):
    """The points of a walk along fixed gradients, and the optimizer's first moment at its end."""
    theta = torch.zeros(5, dtype=torch.float64, requires_grad=True)
    optimizer = optimizer_class([theta], lr=0.1, **settings)
    points = []
    for theta.grad in gradients:
        optimizer.step()
        points.append(theta.detach().clone())
    return torch.stack(points), optimizer.state[theta]["m"]


def gradients():
    return torch.randn(STEPS, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def test_with_the_suggested_decay_it_is_adam_for_all_that_a_run_can_tell():
    torch.testing.assert_close(walked(DecayingAdam, gradients()), walked(Adam, gradients()), rtol=1e-5, atol=0)


def test_the_first_step_is_adams_and_the_last_has_the_gradient_for_its_mean():
    (ours, m), (adams, _) = walked(DecayingAdam, gradients(), beta1_decay=0.01), walked(Adam, gradients())
    assert torch.equal(ours[0], adams[0])
    assert not torch.isclose(ours[1:], adams[1:]).all(1).any()
    torch.testing.assert_close(m, gradients()[-1], rtol=1e-12, atol=0)


def test_each_mean_is_formed_with_the_beta1_of_its_step():
    _, m = walked(DecayingAdam, gradients(), beta1_decay=0.5)
    expected = torch.zeros(5, dtype=torch.float64)
    for beta1, g in zip((0.9, 0.45, 0.225, 0.1125), gradients(), strict=False):
        expected = beta1 * expected + (1 - beta1) * g
    torch.testing.assert_close(walked(DecayingAdam, gradients()[:4], beta1_decay=0.5)[1], expected)
    assert not torch.equal(m, expected)
