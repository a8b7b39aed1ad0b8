"""Adam whose second moment stands still is Adam, and then SGD with momentum behind a fixed preconditioner."""

import pytest
import torch

from adam_repro.app import compose
from adam_repro.optimizers import Adam, FrozenAdam
from adam_repro.run import execute, prepare
from adam_repro.settings import checked_settings

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


def job(*overrides, optimizer="frozen_adam", results="unused"):
    """A run of the figure that has the ablation, on sixteen images."""
    figure = ["figure=fig3_full", "tuned=fig3_first_epochs/adam", "dataset._target_=tiny_data.load_images"]
    return prepare(compose("cnn", [*figure, f"optimizer={optimizer}", f"results={results}", *overrides]))


@pytest.mark.parametrize("shape", [["batch_size=8"], ["batch_size=4", "train_examples=10"]])
def test_a_run_is_tuned_adam_in_its_first_pass_and_then_no_longer_whatever_a_pass_has(tmp_path, shape):
    settings = [*shape, "epochs=3", "scale=quick"]
    (adam,), (frozen,) = (execute([job(*settings, optimizer=of, results=tmp_path)]) for of in ("adam", "frozen_adam"))
    adams, ours = adam.curve["train_cost"].tolist(), frozen.curve["train_cost"].tolist()
    assert ours[1] == pytest.approx(adams[1], rel=1e-6)
    assert ours[2:] != pytest.approx(adams[2:], rel=1e-3), "at tuned Adam's step size it may diverge, which differs"


@pytest.mark.parametrize(("batch_size", "examples", "steps"), [(8, 16, 2), (4, 10, 3), (128, 16, 1)])
def test_a_number_of_steps_can_be_given_and_that_of_a_pass_is_the_same_run(batch_size, examples, steps):
    shape = [f"batch_size={batch_size}", f"train_examples={examples}"]
    by_itself = job(*shape)
    assert by_itself.config["optimizer"]["frozen_after"] == steps
    assert job(*shape, f"optimizer.frozen_after={steps}").key == by_itself.key
    other = job(*shape, f"optimizer.frozen_after={steps + 1}")
    assert other.config["optimizer"]["frozen_after"] == steps + 1 and other.key != by_itself.key


def test_at_the_papers_scale_a_pass_has_the_steps_of_the_committed_runs():
    settings = {"_target_": "adam_repro.optimizers.FrozenAdam", "lr": 3e-4}
    for given in (settings, settings | {"frozen_after": None}):
        written = checked_settings(FrozenAdam, given, examples=50_000, batch_size=128)
        assert repr(written["frozen_after"]) == "391.0", "as in their configurations, of which their names are hashes"
