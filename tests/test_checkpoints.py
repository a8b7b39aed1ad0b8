"""A run that was stopped goes on from its checkpoint and ends with the same curve, byte for byte."""

import math
import sys

import pytest
import torch
from tiny_data import CLASSES, FEATURES, WORDS

from adam_repro import compilation, records
from adam_repro.app import compose
from adam_repro.checkpoints import Keeper
from adam_repro.errors import UserError
from adam_repro.run import checkpoint_of, execute, prepare

DIGITS = ["dataset._target_=tiny_data.load", f"model.in_features={FEATURES}", f"model.classes={CLASSES}"]
REVIEWS = ["model=logistic_regression", "dataset._target_=tiny_data.load_words", f"model.in_features={WORDS}"]
EXPERIMENTS = {
    "softmax regression": ("logistic_regression", DIGITS),
    "logistic regression": ("logistic_regression", [*REVIEWS, "model.input_dropout=0.5"]),
    "MLP": ("mlp", [*DIGITS, "model.hidden=[5,4]"]),
    "CNN": ("cnn", ["dataset._target_=tiny_data.load_images"]),
    "VAE": ("vae", ["dataset._target_=tiny_data.load_pixels", f"model.pixels={FEATURES}", "model.hidden=4"]),
}


class Stopped(Exception):
    pass


def job(experiment, *overrides, results):
    name, settings = EXPERIMENTS[experiment]
    common = ["scale=paper", "epochs=4", "batch_size=8", "checkpoint_every=0", f"results={results}"]
    return prepare(compose(name, [*settings, *common, *overrides]))


def stopped_behind(epoch, jobs):
    """Train ``jobs`` until the end of ``epoch``."""

    def stop(_, row):
        if row.epoch == epoch:
            raise Stopped

    with pytest.raises(Stopped):
        execute(jobs, on_row=stop)


def seen_epochs(jobs):
    seen = []
    execute(jobs, on_row=lambda _, row: seen.append(row.epoch))
    return seen


def curves(jobs):
    return [(job.folder / "curve.csv").read_bytes() for job in jobs]


OPTIMIZERS = ["adam", "sgd_nesterov", "adagrad", "rmsprop", "adadelta", "adamax", "amsgrad", "adamw"]
CASES = [
    *((experiment, ["optimizer=adam"]) for experiment in EXPERIMENTS),
    *(("softmax regression", [f"optimizer={name}", "schedule=inverse_sqrt_step"]) for name in OPTIMIZERS),
    ("MLP", ["optimizer=external", "optimizer._target_=torch.optim.NAdam"]),
    ("MLP", ["optimizer=external", "optimizer._target_=torch.optim.LBFGS", "+optimizer.history_size=3"]),
]


@pytest.mark.parametrize(("experiment", "overrides"), CASES, ids=lambda value: str(value))
def test_a_run_that_was_stopped_ends_as_one_that_was_not(tmp_path, experiment, overrides):
    whole = job(experiment, *overrides, results=tmp_path / "whole")
    execute([whole])
    for number, stops in enumerate(([2], [1, 3], [0])):
        cut = job(experiment, *overrides, results=tmp_path / f"cut{number}")
        for stop in stops:
            stopped_behind(stop, [cut])
        assert checkpoint_of([cut]).is_file()
        assert seen_epochs([cut]) == list(range(stops[-1] + 1, 5)), stops
        assert curves([cut]) == curves([whole]), stops
        assert not checkpoint_of([cut]).exists(), "a finished run needs none"


@pytest.mark.usefixtures("compiler")
def test_a_large_parameter_goes_on_in_the_memory_layout_and_by_the_loop_that_it_had(tmp_path):
    whole, cut = (job("CNN", results=tmp_path / name) for name in ("whole", "cut"))
    execute([whole])
    stopped_behind(2, [cut])
    execute([cut])
    assert curves([cut]) == curves([whole])


def test_a_run_that_goes_on_is_compiled_or_not_by_the_length_of_all_of_it(tmp_path):
    cut, lengths = job("softmax regression", results=tmp_path), []
    stopped_behind(2, [cut])
    execute([cut], on_row=lambda *_: lengths.append(compilation._steps))
    assert lengths == 2 * [4 * math.ceil(cut.config["dataset"]["train_examples"] / 8)]
    assert compilation._steps == math.inf, "and what comes behind it by its own"


@pytest.mark.parametrize("experiment", ["softmax regression", "logistic regression"])
def test_a_population_goes_on_with_the_members_it_started_with(tmp_path, experiment):
    def members(folder):
        settings = ["adam", "sgd_nesterov", "adagrad", "adamax", "adam lr=0.3", "adam lr=0.0001"]  # some of one rule
        overrides = (
            [f"optimizer.{part}" if "=" in part else f"optimizer={part}" for part in each.split()] for each in settings
        )
        return [job(experiment, *more, results=tmp_path / folder) for more in overrides]

    whole, cut = members("whole"), members("cut")
    execute(whole)
    stopped_behind(2, cut)
    assert seen_epochs(list(reversed(cut))) == [3, 4], "the order in which they are asked for does not matter"
    assert curves(cut) == curves(whole)


def test_other_members_have_a_checkpoint_of_their_own(tmp_path):
    pair = [job("MLP", f"seed={seed}", results=tmp_path) for seed in range(2)]
    stopped_behind(2, pair[:1])
    assert seen_epochs(pair[1:]) == [0, 1, 2, 3, 4]
    assert checkpoint_of(pair[:1]).is_file()


def test_a_run_that_diverged_before_it_was_stopped_stays_diverged(tmp_path):
    hopeless = ["optimizer=sgd", "optimizer.lr=1e30", "l2=1"]
    whole, cut = (job("softmax regression", *hopeless, results=tmp_path / name) for name in ("whole", "cut"))
    (record,) = execute([whole])
    assert record.meta["status"] == "diverged"
    stopped_behind(1, [cut])
    (resumed,) = execute([cut])
    assert curves([cut]) == curves([whole])
    assert resumed.meta["diverged_step"] == record.meta["diverged_step"]


def test_diagnostics_go_on_too(tmp_path):
    whole, cut = (job("MLP", "diagnostics=true", results=tmp_path / name) for name in ("whole", "cut"))
    execute([whole])
    stopped_behind(2, [cut])
    execute([cut])
    assert (cut.folder / "diagnostics.csv").read_bytes() == (whole.folder / "diagnostics.csv").read_bytes()


def test_a_checkpoint_waits_until_it_is_time(tmp_path):
    patient = job("MLP", "checkpoint_every=1000", results=tmp_path)
    stopped_behind(3, [patient])
    assert not checkpoint_of([patient]).exists()
    with pytest.raises(UserError, match=r"checkpoint_every=-1 is not allowed: give a number of at least 0"):
        job("MLP", "checkpoint_every=-1", results=tmp_path)


def test_how_often_a_run_is_kept_is_no_part_of_what_it_is(tmp_path):
    assert job("MLP", results=tmp_path).key == job("MLP", "checkpoint_every=7", results=tmp_path).key


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda content: content[: len(content) // 2], "its checksum"),
        (lambda content: content[:-1] + bytes([content[-1] ^ 1]), "its checksum"),
        (lambda content: content.replace(b"checkpoint 3", b"checkpoint 2", 1), "another version of this project"),
        (lambda content: b"", "its checksum"),
    ],
    ids=["truncated", "a bit flipped", "another format", "empty"],
)
def test_a_damaged_checkpoint_is_named_and_its_run_begins_anew(tmp_path, capsys, damage, reason):
    whole, cut = (job("MLP", results=tmp_path / name) for name in ("whole", "cut"))
    execute([whole])
    stopped_behind(2, [cut])
    path = checkpoint_of([cut])
    path.write_bytes(damage(path.read_bytes()))
    assert seen_epochs([cut]) == [0, 1, 2, 3, 4]
    assert curves([cut]) == curves([whole])
    assert f"The checkpoint {path} is of no use: {reason}" in capsys.readouterr().err


def test_no_code_in_a_checkpoint_is_run(tmp_path, capsys):
    class Code:
        def __reduce__(self):
            return (open, (str(tmp_path / "run"), "w"))

    class Learner:
        def state(self):
            return {"weights": Code()}

    stopped = job("MLP", results=tmp_path)
    rows = []
    with pytest.raises(Stopped):
        execute([stopped], on_row=lambda _, row: rows.append(row) if row.epoch < 2 else stop())
    path = tmp_path / "checkpoint.pt"
    Keeper(path, every=0).offer(Learner(), rows, [])
    assert Keeper(path, every=0).load() is None
    assert not (tmp_path / "run").exists()
    assert "holds more than numbers" in capsys.readouterr().err


def stop():
    raise Stopped


def test_a_disk_without_room_for_a_checkpoint_costs_the_run_nothing(tmp_path, capsys):
    whole, cut = (job("MLP", results=tmp_path / name) for name in ("whole", "cut"))
    execute([whole])
    (tmp_path / "cut").mkdir()
    (tmp_path / "cut" / "checkpoints").touch()  # a file where the folder should be
    execute([cut])
    assert curves([cut]) == curves([whole])
    assert capsys.readouterr().err.count("No checkpoint can be kept") == 1


def test_a_state_that_no_checkpoint_can_hold_is_told_once_and_costs_the_run_nothing(tmp_path, capsys):
    class Learner:
        def state(self):
            return {"function": lambda: None}

    rows = []
    execute([job("MLP", results=tmp_path)], on_row=lambda _, row: rows.append(row))
    keeper = Keeper(tmp_path / "checkpoint.pt", every=0)
    for _ in range(2):
        keeper.offer(Learner(), rows, [])
    assert not keeper.path.exists()
    assert capsys.readouterr().err.count("No checkpoint can be kept") == 1


FORGETFUL = """
import torch

class Forgetful(torch.optim.SGD):
    steps = 0

    def step(self, closure=None):
        self.steps += 1  # which its state_dict knows nothing of
        for group in self.param_groups:
            for p in group["params"]:
                p.data.sub_(group["lr"] / self.steps * p.grad)
"""


LOOKAHEAD = """
import torch

class Forgetful(torch.optim.SGD):
    def __init__(self, params, lr=1e-3):
        super().__init__(params, lr=lr)
        self.k = 0
        self.slow = [p.detach().clone() for group in self.param_groups for p in group["params"]]

    @torch.no_grad()
    def step(self, closure=None):
        super().step()
        self.k += 1
        if self.k % 3 == 0:  # not in the steps that were tried
            for slow, p in zip(self.slow, (p for group in self.param_groups for p in group["params"])):
                slow.lerp_(p, 0.5)
                p.copy_(slow)
"""


UNWRITABLE = """
import torch

class Forgetful(torch.optim.SGD):
    def __init__(self, params, lr=1e-3):
        super().__init__(params, lr=lr)
        self.param_groups[0]["warmup"] = lambda step: 1.0
"""


@pytest.mark.parametrize(
    "text", [FORGETFUL, LOOKAHEAD, UNWRITABLE], ids=["at every step", "at some steps", "where no file can hold it"]
)
def test_an_optimizer_whose_state_dict_does_not_hold_its_state_begins_anew(tmp_path, monkeypatch, text):
    (tmp_path / "forgetful.py").write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "forgetful", raising=False)
    overrides = ["optimizer=external", "optimizer._target_=forgetful.Forgetful", "optimizer.lr=0.1"]
    whole, cut = (job("MLP", *overrides, results=tmp_path / name) for name in ("whole", "cut"))
    assert not cut.resumable
    execute([whole])
    stopped_behind(2, [cut])
    assert not checkpoint_of([cut]).exists()
    execute([cut])
    assert curves([cut]) == curves([whole])


def test_a_record_says_with_whom_it_was_trained(tmp_path):
    pair = [job("softmax regression", f"optimizer={name}", results=tmp_path) for name in ("adam", "adagrad")]
    execute(pair)
    assert len({records.read(each.folder).meta["group"] for each in pair}) == 1
    (alone,) = execute([job("softmax regression", results=tmp_path / "alone")])
    assert alone.meta["group"] != records.read(pair[0].folder).meta["group"]
    assert torch.device(alone.meta["device"]).type == "cpu"
