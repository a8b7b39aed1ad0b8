"""Models in step are their solo runs with equal noise, on a CPU and, where there is one, as a CUDA graph on a GPU."""

from __future__ import annotations

import dataclasses

import pandas as pd
import pytest
import torch
from test_population import RESULTS, every_rule, member, results
from tiny_data import CLASSES, FEATURES, OVERRIDES, WORDS, tiny, tiny_images, tiny_pixels, tiny_words

from adam_repro.app import compose
from adam_repro.in_step import ModelsInStep
from adam_repro.models import CNN, MLP, VAE, LogisticRegression
from adam_repro.optimizers import SGD, AdaGrad, Adam
from adam_repro.padded import PaddedRows
from adam_repro.run import execute, prepare
from adam_repro.training import Solo, train

CUDA = pytest.mark.skipif(not torch.cuda.is_available(), reason="this machine has no GPU")
DEVICES = [torch.device("cpu"), pytest.param(torch.device("cuda"), marks=CUDA)]
EPOCHS = 3


def padded_words():
    data = tiny_words()
    return dataclasses.replace(data, train_x=PaddedRows.of(data.train_x), test_x=PaddedRows.of(data.test_x))


MODELS = {
    "words": (lambda: LogisticRegression(WORDS, input_dropout=0.5), padded_words),
    "mlp": (lambda: MLP(FEATURES, [5, 4], CLASSES, input_dropout=0.2, hidden_dropout=0.5), tiny),
    "vae": (lambda: VAE(FEATURES, 5, 2), tiny_pixels),
    "cnn": (lambda: CNN(3, 10, input_dropout=0.2, hidden_dropout=0.5), tiny_images),
}


def build(kind):
    torch.manual_seed(7)
    return MODELS[kind][0]()


def in_step(kind, members, device, dtype=torch.float32):
    return ModelsInStep(lambda: build(kind).to(dtype), members, device=device)


def solo(kind, one, device, dtype=torch.float32):
    model = build(kind).to(device, dtype)
    return Solo(model, one.optimizer(model.parameters(), **one.settings), schedule=one.schedule, l2=one.l2)


def of_dtype(data, dtype):
    if isinstance(data.train_x, PaddedRows):
        return data  # of indices
    return dataclasses.replace(data, train_x=data.train_x.to(dtype), test_x=data.test_x.to(dtype))


def rules():
    """A member of every rule, but for the averages of parameters, which are no matter of models in step."""
    return [one for one in every_rule(lr=1e-3) if one.optimizer.judged is None]


@pytest.mark.parametrize("device", DEVICES, ids=str)
@pytest.mark.parametrize("kind", MODELS)
def test_members_equal_their_solo_runs(kind, device):
    members = rules() if kind == "mlp" else [member(Adam, lr=1e-3, l2=1e-2), member(AdaGrad, lr=1e-3), member(SGD)]
    dtype = torch.float64 if device.type == "cpu" else torch.float32  # of rounding some rules make whole steps
    data = of_dtype(MODELS[kind][1](), dtype).to(device)
    together = in_step(kind, members, device, dtype)
    ours = results(together, data, EPOCHS)
    alone = torch.cat([results(solo(kind, one, device, dtype), data, EPOCHS) for one in together.members], dim=2)
    rtol = 1e-9 if device.type == "cpu" else 1e-2 if kind == "cnn" else 1e-4  # a GPU sums in no fixed order
    atol = 1e-12 if device.type == "cpu" else 1e-8
    torch.testing.assert_close(ours, alone, rtol=rtol, atol=atol, equal_nan=True)
    assert ours[1:, RESULTS.index("train_cost")].isfinite().all()


@pytest.mark.parametrize("device", DEVICES, ids=str)
def test_members_draw_equal_noise_and_new_noise_in_every_step(device):
    data = tiny().to(device)
    still = [member(SGD, lr=0.0), member(SGD, lr=0.0)]
    learner = in_step("mlp", still, device)
    learner.begin_epoch(1, range(1, 4))
    x, y = data.train_x[:8], data.train_y[:8]
    costs = torch.stack([learner.step(x, y) for _ in range(3)]).cpu()
    assert torch.equal(costs[:, 0], costs[:, 1])
    assert len(set(costs[:, 0].tolist())) == 3


@pytest.mark.parametrize("device", DEVICES, ids=str)
def test_a_member_that_diverges_leaves_the_others_as_they_are_and_says_when(device):
    good, bad = [member(Adam), member(SGD, lr=0.1), member(AdaGrad)], member(SGD, lr=1e30, l2=1.0)
    mixed, healthy = in_step("mlp", [*good, bad], device), in_step("mlp", [*good, member(SGD, lr=0.2)], device)
    index = mixed.members.index(bad)
    others = [k for k in range(4) if k != index]
    data = tiny().to(device)
    ours, theirs = results(mixed, data), results(healthy, data)
    torch.testing.assert_close(ours[..., others], theirs[..., others], equal_nan=True)
    assert ours[1:, :, others].isfinite().all()
    assert int(ours[-1, RESULTS.index("diverged_step"), index]) > 1


@pytest.mark.parametrize("device", DEVICES, ids=str)
def test_a_member_has_the_model_and_the_optimizer_that_it_would_have_alone(device):
    one = member(Adam, lr=1e-3)
    data = tiny().to(device)
    together, alone = in_step("mlp", [member(SGD), one], device), solo("mlp", one, device)
    results(together, data, EPOCHS), results(alone, data, EPOCHS)
    model, optimizer = together.inside(together.members.index(one))
    for ours, theirs in zip(model.parameters(), alone.model.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-7)
        mine, other = optimizer.state[ours], alone.optimizer.state[theirs]
        assert mine["t"] == other["t"]
        torch.testing.assert_close(mine["v"], other["v"], rtol=1e-4, atol=1e-12)


@pytest.mark.parametrize("device", DEVICES, ids=str)
def test_what_was_stopped_goes_on_as_it_would_have(device):
    members, data = [member(Adam), member(SGD, lr=0.1)], tiny().to(device)

    def rows(learner, **more):
        return train(learner, data, seed=3, epochs=EPOCHS, batch_size=8, evaluate_at=None, **more)

    *_, expected = rows(in_step("mlp", members, device))
    stopped = in_step("mlp", members, device)
    first = next(row for row in rows(stopped) if row.epoch == 1)
    gone_on = in_step("mlp", members, device)
    gone_on.restore([tensor.cpu() for tensor in stopped.state()])
    *_, last = rows(gone_on, after=first)
    assert last.epoch == expected.epoch == EPOCHS
    torch.testing.assert_close(last.train_cost, expected.train_cost, rtol=1e-5, atol=0)
    torch.testing.assert_close(last.test_loss, expected.test_loss, rtol=1e-5, atol=0)


def test_jobs_in_step_have_the_diagnostics_that_they_would_have_alone(tmp_path, monkeypatch):
    def jobs(name):
        settings = ["scale=smoke", "dataset.stand_in=only", "diagnostics=true", f"results={tmp_path / name}"]
        rules = ["optimizer=adagrad"], ["optimizer.lr=1e-2"], ["optimizer.lr=1e-3"], ["optimizer.lr=1e30"]
        return [prepare(compose("mlp", [*settings, *rule])) for rule in rules]

    def inside(records):
        return {(r.config["optimizer"]["_target_"], r.config["optimizer"]["lr"]): r.diagnostics for r in records}

    alone = inside(record for job in jobs("alone") for record in execute([job]))
    monkeypatch.setattr("adam_repro.run.is_captured", lambda job: True)
    together = inside(execute(jobs("together")))
    there = {settings for settings, frame in together.items() if frame is not None}
    assert len(there) == 2, "AdaGrad has no such moments, and what diverges at once has none left"
    assert there == {settings for settings, frame in alone.items() if frame is not None}
    for settings in there:
        pd.testing.assert_frame_equal(together[settings], alone[settings], rtol=1e-3)


@CUDA
def test_jobs_on_a_gpu_are_compiled_and_captured_and_leave_the_records_of_a_cpu(tmp_path, compiler):
    def curves(device):
        settings = [*OVERRIDES, "epochs=3", "batch_size=8", f"results={tmp_path / device}", f"device={device}"]
        jobs = [prepare(compose("logistic_regression", [*settings, f"optimizer.lr={lr}"])) for lr in (0.1, 0.01)]
        return {record.config["optimizer"]["lr"]: record.curve for record in execute(jobs)}

    on_gpu, on_cpu = curves("cuda"), curves("cpu")
    for lr, curve in on_cpu.items():
        pd.testing.assert_frame_equal(on_gpu[lr], curve, rtol=1e-4)
