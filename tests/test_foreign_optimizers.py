"""Optimizers from outside the package: any that can train the model does; any other is refused by its name."""

from __future__ import annotations

import hashlib
import sys
import textwrap
from dataclasses import replace

import pandas as pd
import pytest
import torch
from tiny_data import FEATURES, OVERRIDES, WORDS, tiny

from adam_repro import records
from adam_repro.app import compose
from adam_repro.building import build_model
from adam_repro.data.order import epoch_order, seed_noise
from adam_repro.errors import UserError
from adam_repro.models import SoftmaxRegression
from adam_repro.run import checkpoint_of, execute, load_data, prepare


def job(path, *overrides, results="unused"):
    external = ["optimizer=external", f"optimizer._target_={path}"]
    return prepare(
        compose("logistic_regression", [*OVERRIDES, *external, "epochs=4", f"results={results}", *overrides])
    )


EXPERIMENTS = {
    "softmax regression": ("logistic_regression", OVERRIDES),
    "logistic regression on words": (
        "logistic_regression",
        ["model=logistic_regression", f"model.in_features={WORDS}", "dataset._target_=tiny_data.load_words"],
    ),
    "mlp": ("mlp", [*OVERRIDES, "model.hidden=[8,8]"]),
    "cnn": ("cnn", ["dropout=with", "dataset._target_=tiny_data.load_images"]),
    "vae": (
        "vae",
        [f"model.pixels={FEATURES}", "model.hidden=4", "model.latent=2", "dataset._target_=tiny_data.load_pixels"],
    ),
}
every_experiment = pytest.mark.parametrize(("experiment", "tiny_settings"), EXPERIMENTS.values(), ids=EXPERIMENTS)


@pytest.fixture
def own(tmp_path, monkeypatch):
    """Writes ``own.py`` where a user's own optimizer lies, and gives its path; beside it may lie ``theirs.py``."""
    monkeypatch.syspath_prepend(tmp_path / "home")
    for name in ("own", "theirs"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    (tmp_path / "home").mkdir()

    def write(text):
        path = tmp_path / "home" / "own.py"
        path.write_text(textwrap.dedent(text))
        return path

    yield write
    for name in ("own", "theirs"):
        sys.modules.pop(name, None)


def test_a_run_of_torchs_own_optimizer_is_what_a_loop_written_by_hand_gives(tmp_path):
    settings = ["optimizer.lr=0.05", "+optimizer.betas=[.8,.99]"]
    (record,) = execute([job("torch.optim.NAdam", *settings, "batch_size=28", "l2=0.1", results=tmp_path)])
    data, model = tiny(), SoftmaxRegression(6, 3)
    optimizer = torch.optim.NAdam(model.parameters(), lr=0.05, betas=(0.8, 0.99))
    costs = []
    for _ in range(4):
        optimizer.zero_grad()
        cost = torch.nn.functional.cross_entropy(model(data.train_x), data.train_y)
        (cost + 0.1 / 2 * model.linear.weight.pow(2).sum()).backward()
        optimizer.step()
        costs.append(cost.item())
    assert records.read(record.folder).curve["train_cost"][1:].tolist() == pytest.approx(costs, rel=1e-6)
    assert record.config["optimizer"] == {"_target_": "torch.optim.NAdam", "lr": 0.05, "betas": [0.8, 0.99]}
    assert record.folder.name.startswith("tiny_nadam_lr0.05_seed0-")


def test_every_setting_of_a_foreign_optimizer_moves_the_key():
    keys = {job("torch.optim.NAdam", *more).key for more in ([], ["optimizer.lr=0.1"], ["+optimizer.betas=[.9,.99]"])}
    assert len({*keys, job("torch.optim.RAdam").key}) == 4


def test_torchs_version_is_part_of_a_foreign_runs_key_and_of_no_other(monkeypatch):
    foreign, ours = job("torch.optim.NAdam").key, job("adam_repro.optimizers.Adam").key
    monkeypatch.setattr(torch, "__version__", "0.0.1")
    assert job("torch.optim.NAdam").key != foreign
    assert job("adam_repro.optimizers.Adam").key == ours


def test_foreign_optimizers_follow_a_schedule(tmp_path):
    falling = execute([job("torch.optim.NAdam", "schedule=inverse_sqrt_step", results=tmp_path)])[0]
    constant = execute([job("torch.optim.NAdam", results=tmp_path)])[0]
    last = [run.curve["train_loss"].iloc[-1] for run in (falling, constant)]
    assert last[0] > last[1] + 1e-4, "falling steps descend less far"


GUESTS = {
    "SGD, two schedules, L2": (
        "torch.optim.SGD",
        [["+optimizer.momentum=0.9"], ["schedule=inverse_sqrt_step", "l2=0.1"]],
    ),
    "NAdam": ("torch.optim.NAdam", [["optimizer.lr=0.1"], ["l2=0.01"], ["schedule=inverse_sqrt_epoch"]]),
    "one of one's own": ("own.Own", [["optimizer.lr=0.1"], ["+optimizer.power=0.5"]]),
}


@pytest.mark.parametrize(("path", "settings"), GUESTS.values(), ids=GUESTS)
def test_in_step_foreign_optimizers_do_what_each_does_with_the_model_alone(own, tmp_path, path, settings):
    own(OWN)
    together = [job(path, *more, results=tmp_path / "together") for more in settings]
    assert len({planned.group for planned in together} - {None}) == 1
    of_folder = {planned.folder: planned for planned in together}
    for record in execute(together):
        planned = of_folder[record.folder]
        assert record.meta["members"] == len(settings)
        (alone,) = execute([replace(planned, group=None, folder=tmp_path / "alone" / planned.folder.name)])
        pd.testing.assert_frame_equal(record.curve, alone.curve, rtol=1e-5)


def test_foreign_optimizers_in_step_go_on_from_a_checkpoint_bit_for_bit(tmp_path):
    settings = [["optimizer.lr=0.1"], ["schedule=inverse_sqrt_step"]]
    whole = execute([job("torch.optim.NAdam", *more, results=tmp_path / "whole") for more in settings])
    cut = [job("torch.optim.NAdam", *more, "checkpoint_every=0", results=tmp_path / "cut") for more in settings]

    def stop(jobs, row):
        if row.epoch == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        execute(cut, on_row=stop)
    assert checkpoint_of(cut).exists()
    for record, undisturbed in zip(execute(cut), whole, strict=True):
        assert record.curve.equals(undisturbed.curve)


TORCHS = ("ASGD", "Adadelta", "Adafactor", "Adagrad", "Adam", "AdamW", "Adamax", "LBFGS", "NAdam", "RAdam", "RMSprop")
TORCHS += ("Rprop", "SGD")


@pytest.mark.parametrize("name", TORCHS)
def test_torchs_optimizers_go_on_from_checkpoints(name):
    assert job(f"torch.optim.{name}").resumable


KEPT = {
    "nothing": ("", "", "", True),
    "a number of steps": ("self.k = 0", "self.k += 1", "", False),
    "whose turn it is": ("self.odd = False", "self.odd = not self.odd", "", False),
    "a number in an object": ("self.its = types.SimpleNamespace(k=[0], own=self)", "self.its.k[0] += 1", "", False),
    "tensors": ("self.sums = {'w': torch.zeros(1)}", "self.sums['w'] += 1", "", False),
    "tensors since a first step": (
        "self.sums = None",
        "self.sums = 1 if self.sums is None else self.sums + 1",
        "",
        False,
    ),
    "an iterator": ("self.turns = itertools.cycle('abc')", "next(self.turns)", "", False),
    "moments of another optimizer": (
        "self.inner = torch.optim.Adam(self.param_groups)",
        "self.inner.step()",
        "",
        False,
    ),
    "a function in what it saves": ("self.param_groups[0]['f'] = lambda x: 2 * x", "", "", False),
    "an object in what it saves": ("self.param_groups[0]['its'] = types.SimpleNamespace(k=0)", "", "", False),
    "constants": ("self.powers, self.own, self.f = [1, {'a': 0.5}], self, lambda x: 2 * x", "", "", True),
    "what the first step finds out": ("self.size = None", "self.size = self.size or 6", "", True),
    "what each step finds out": ("", "self.norm = self.param_groups[0]['params'][0].norm()", "", True),
    "what it saves": (
        "self.k = 0",
        "self.k += 1",
        """
        def state_dict(self):
            return {**super().state_dict(), "k": self.k}

        def load_state_dict(self, saved):
            super().load_state_dict(saved)
            self.k = saved["k"]
        """,
        True,
    ),
}


@pytest.mark.parametrize(("first", "each", "more", "resumable"), KEPT.values(), ids=KEPT)
def test_what_an_optimizer_keeps_outside_its_state_and_changes_must_be_in_what_it_saves(
    own, first, each, more, resumable
):
    own(f"""
import itertools, types
import torch

class Own(torch.optim.SGD):
    def __init__(self, params, lr=1e-3):
        super().__init__(params, lr=lr)
        {first}

    def step(self, closure=None):
        super().step()
        {each}
{textwrap.indent(textwrap.dedent(more), "    ")}""")
    assert job("own.Own").resumable == resumable


def test_an_optimizer_that_draws_random_numbers_trains_alone(own):
    own(OWN.replace("p -=", "p += 1e-3 * torch.randn_like(p); p -="))
    assert job("own.Own").group is None, "its noise would depend on who is beside it"


def test_foreign_optimizers_and_rules_of_ours_are_no_population():
    assert job("torch.optim.NAdam").group not in (None, job("adam_repro.optimizers.Adam").group)


def test_an_optimizer_that_needs_a_closure_trains(tmp_path):
    alone = job("torch.optim.LBFGS", "optimizer.lr=1", "batch_size=28", "l2=1e-2", results=tmp_path)
    assert alone.group is None
    (record,) = execute([alone])
    assert record.meta["status"] == "finished"
    cost = record.curve["train_cost"]
    assert cost[1] == pytest.approx(torch.tensor(3.0).log().item(), rel=1e-6), "the cost before the first step"
    assert cost[2] < 0.8 * cost[1]


OWN = """
    import torch

    class Own(torch.optim.Optimizer):
        def __init__(self, params, lr=1e-3, *, power=1.0):
            super().__init__(params, dict(lr=lr, power=power))

        @torch.no_grad()
        def step(self):
            for group in self.param_groups:
                for p in group["params"]:
                    p -= group["lr"] * p.grad.sign() * p.grad.abs() ** group["power"]
"""


def test_an_optimizer_of_ones_own_trains_as_its_file_says(own, tmp_path):
    own(OWN)
    (record,) = execute([job("own.Own", "optimizer.lr=0.1", results=tmp_path / "results")])
    (sgd,) = execute([job("torch.optim.SGD", "optimizer.lr=0.1", results=tmp_path / "results")])
    assert record.curve["train_cost"][1:].tolist() == pytest.approx(sgd.curve["train_cost"][1:].tolist(), rel=1e-6)
    assert record.folder.name.startswith("tiny_own_lr0.1_seed0-")


@every_experiment
def test_every_experiment_trains_with_torchs_optimizers_and_with_ones_own(own, tmp_path, experiment, tiny_settings):
    own(OWN)
    more = ["optimizer=external", "optimizer.lr=0.01", "epochs=2", "evaluate_at=[]", f"results={tmp_path}"]
    found = {}
    for path in ("torch.optim.NAdam", "torch.optim.SGD", "own.Own"):
        planned = prepare(compose(experiment, [*tiny_settings, *more, f"optimizer._target_={path}"]))
        (record,) = execute([planned])
        assert record.meta["status"] == "finished" and record.config["optimizer"] == {"_target_": path, "lr": 0.01}
        found[path] = record.curve["train_cost"][1:].tolist()
    assert found["own.Own"] == pytest.approx(found["torch.optim.SGD"], rel=1e-5)
    data, model = load_data(planned), build_model(planned.config)
    optimizer = torch.optim.NAdam(model.parameters(), lr=0.01)
    costs = []
    for epoch in (1, 2):
        seed_noise(0, epoch, "noise")
        order = epoch_order(len(data.train_y), 0, epoch)
        optimizer.zero_grad()
        cost = model.cost(data.train_x.index_select(0, order), data.train_y[order])
        cost.backward()
        optimizer.step()
        costs.append(cost.item())
    assert found["torch.optim.NAdam"] == pytest.approx(costs, rel=1e-5)
    assert abs(costs[1] - found["torch.optim.SGD"][1]) > 1e-4 * costs[1], "another optimizer is another path"


@pytest.mark.parametrize("base", ["torch.optim.SGD", "adam_repro.optimizers.SGD"])
def test_an_edit_of_ones_own_optimizer_makes_it_another_run_even_of_a_rule_of_ours(own, base):
    text = f"import adam_repro.optimizers, torch\n\nclass Own({base}):\n    pass\n"
    path = own(text)
    before = job("own.Own").key
    assert job("own.Own").key == before
    assert job("own.Own").group != job("adam_repro.optimizers.SGD").group, "it may override the rule"
    path.write_text(text + "\nMOMENTUM = 0.9\n")
    assert job("own.Own").key != before


INHERITED = {
    "imported": "import theirs",
    "loaded by hand": """
        import importlib.util
        spec = importlib.util.spec_from_file_location("theirs", __file__.replace("own.py", "theirs.py"))
        theirs = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(theirs)
    """,
}


@pytest.mark.parametrize("loading", INHERITED.values(), ids=INHERITED)
def test_an_edit_of_a_file_that_ones_own_optimizer_inherits_from_makes_it_another_run(own, loading):
    loading = textwrap.dedent(loading)
    path = own(f"{loading}\nclass Between(theirs.Base):\n    pass\n\nclass Own(Between):\n    pass\n")
    theirs = path.with_name("theirs.py")
    theirs.write_text("import torch\n\nclass Base(torch.optim.SGD):\n    def extra(self):\n        pass\n")
    before = job("own.Own").key
    assert job("own.Own").key == before
    theirs.write_text(theirs.read_text() + "\nMOMENTUM = 0.9\n")
    edited = job("own.Own").key
    path.write_text(path.read_text() + "\nMOMENTUM = 0.9\n")
    assert len({before, edited, job("own.Own").key}) == 3


@pytest.mark.parametrize("bases", ["torch.optim.SGD", "adam_repro.optimizers.SGD", "torch.optim.SGD, abc.ABC, Mixed"])
def test_an_optimizer_in_one_file_keeps_the_name_of_its_records(own, bases):
    path = own(f"import abc, adam_repro.optimizers, torch\n\nclass Mixed:\n    pass\n\nclass Own({bases}):\n    pass\n")
    assert job("own.Own").optimizer_source == hashlib.sha256(path.read_bytes()).hexdigest()


REFUSED = {
    "one for sparse gradients": ("torch.optim.SparseAdam", [], "SparseAdam does not support dense gradients"),
    "one for matrices": ("torch.optim.Muon", [], "2D parameters"),
    "an unknown setting": ("torch.optim.NAdam", ["+optimizer.beta1=0.9"], "beta1"),
    "a value out of range": ("torch.optim.NAdam", ["optimizer.lr=-1"], "Invalid learning rate: -1"),
    "a value of another kind": ("torch.optim.NAdam", ["optimizer.lr=fast"], "fast"),
    "a base class": ("torch.optim.Optimizer", [], "cannot train SoftmaxRegression"),
}


@pytest.mark.parametrize(("path", "overrides", "words"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_train_the_model_is_refused_by_name_in_one_paragraph(path, overrides, words, tmp_path):
    with pytest.raises(UserError) as refusal:
        job(path, *overrides, results=tmp_path / "results")
    message = str(refusal.value)
    assert message.startswith(f"optimizer._target_={path} cannot train SoftmaxRegression with the settings ")
    assert words in message
    assert "\n" not in message
    assert not (tmp_path / "results").exists()


def test_an_optimizer_without_a_learning_rate_is_refused_by_name():
    with pytest.raises(UserError, match=r"optimizer\.lr is missing: NAdam"):
        job("torch.optim.NAdam", "~optimizer.lr")


CONSTRUCTORS = {
    "the model": "self, model, lr=1e-3",
    "another argument": "self, params, radius, lr=1e-3",
    "names": "self, named_parameters, lr=1e-3",
}


@pytest.mark.parametrize("signature", CONSTRUCTORS.values(), ids=CONSTRUCTORS)
def test_an_optimizer_whose_constructor_wants_more_than_parameters_is_refused_by_name(own, signature):
    own(f"""
        import torch

        class Own(torch.optim.SGD):
            def __init__({signature}):
                given = locals().get("model") or locals().get("named_parameters") or locals()["params"]
                params = given.parameters() if "model" in locals() else [p for p in given]
                super().__init__([p for name, p in params] if "named_parameters" in locals() else params, lr=lr)
    """)
    with pytest.raises(UserError, match=r"own\.Own cannot train .*is built as Optimizer\(params, \*\*settings\)"):
        job("own.Own")


def test_a_refusal_is_one_paragraph_whatever_the_optimizer_says(own):
    own(OWN.replace("p -=", "raise RuntimeError('first line\\nsecond line'); p -="))
    with pytest.raises(UserError, match="first line second line") as refusal:
        job("own.Own")
    assert "\n" not in str(refusal.value)


def test_a_schedule_is_refused_to_an_optimizer_that_does_not_read_it(own):
    own("""
        import torch

        class Own(torch.optim.SGD):
            @torch.no_grad()
            def step(self, closure=None):
                for p in self.param_groups[0]["params"]:
                    p -= self.defaults["lr"] * p.grad
    """)
    with pytest.raises(UserError, match=r"own\.Own takes the same step whatever lr .* or give schedule=constant"):
        job("own.Own", "schedule=inverse_sqrt_epoch")
    assert job("own.Own").lr == 0.001


def test_a_step_that_moves_nothing_is_told_once(own, caplog):
    own(OWN.replace("p -=", "p = p -"))
    for seed in range(2):
        job("own.Own", f"seed={seed}")
    (said,) = caplog.messages
    assert said.startswith("The first step of Own left every parameter as it was.") and "p.add_(" in said
    job("torch.optim.NAdam")
    assert len(caplog.messages) == 1


def test_a_refusal_names_the_kind_of_the_error_and_its_line(own):
    own(OWN.replace("p -=", "self.no_such; p -="))
    with pytest.raises(UserError, match=r": AttributeError: .* 'no_such' \(own\.py, line \d+\)\. An optimizer here"):
        job("own.Own")


def test_an_optimizer_file_that_does_not_load_is_refused_with_its_own_words(own):
    own("import no_such_module")
    with pytest.raises(UserError, match=r"own\.Own cannot be imported \(No module named 'no_such_module'\)"):
        job("own.Own")


def test_an_optimizer_file_with_a_mistake_in_it_is_refused_with_its_place(own):
    own("class Own(torch.optim.SGD):\n    pass\n")
    with pytest.raises(UserError, match=r"own\.Own cannot be imported .*name 'torch' is not defined"):
        job("own.Own")


def test_trying_an_optimizer_leaves_no_trace_in_the_run_itself(tmp_path):
    planned = job("torch.optim.NAdam", results=tmp_path)
    first = execute([planned])[0].curve
    again = execute([job("torch.optim.NAdam", results=tmp_path / "again")])[0].curve
    assert first.equals(again)
    assert first["train_loss"][0] == pytest.approx(torch.tensor(3.0).log().item(), rel=1e-6)
