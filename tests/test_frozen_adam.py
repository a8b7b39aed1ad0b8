"""Adam whose second moment stands still is Adam, and then SGD with momentum behind a fixed preconditioner."""

import torch

from adam_repro.optimizers import Adam, FrozenAdam

STEPS, FROZEN_AFTER = 9, 4


def walked(optimizer_class, **settings):
    """Points and second moments of a walk along fixed gradients, and the optimizer."""
    theta = torch.zeros(5, dtype=torch.float64, requires_grad=True)
    optimizer = optimizer_class([theta], lr=0.1, **settings)
    points, moments = [], []
    for g in torch.randn(STEPS, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0)):
        theta.grad = g
        optimizer.step()
        points.append(theta.detach().clone())
        moments.append({name: optimizer.state[theta][name].clone() for name in ("m", "v")})
    return torch.stack(points), moments


def test_until_then_it_is_adam_to_the_last_bit():
    ours, _ = walked(FrozenAdam, frozen_after=FROZEN_AFTER)
    adams, _ = walked(Adam)
    assert torch.equal(ours[:FROZEN_AFTER], adams[:FROZEN_AFTER])
    assert not torch.isclose(ours[FROZEN_AFTER], adams[FROZEN_AFTER]).any()
    assert torch.equal(walked(FrozenAdam, frozen_after=STEPS)[0], adams)


def test_from_then_on_the_first_moment_runs_and_the_corrected_second_stands():
    ours, moments = walked(FrozenAdam, frozen_after=FROZEN_AFTER)
    _, adams = walked(Adam)
    v_hat = moments[FROZEN_AFTER - 1]["v"] / (1 - 0.999**FROZEN_AFTER)
    for step in range(FROZEN_AFTER, STEPS):
        assert torch.equal(moments[step]["v"], moments[FROZEN_AFTER - 1]["v"])
        assert torch.equal(moments[step]["m"], adams[step]["m"])
        m_hat = moments[step]["m"] / (1 - 0.9 ** (step + 1))
        moved = ours[step] - ours[step - 1]
        torch.testing.assert_close(moved, -0.1 * m_hat / (v_hat.sqrt() + 1e-8), rtol=1e-9, atol=0)
