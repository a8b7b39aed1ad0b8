"""The entry point as a user calls it: a process of its own, uncompiled so that nobody waits for a compiler."""

import errno
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from commands import UNCOMPILED, run
from hydra.core.override_parser.overrides_parser import OverridesParser

from adam_repro import records
from adam_repro.app import compose, override, shown_kindly
from adam_repro.matching import DROPOUT_RATES
from adam_repro.surroundings import PROJECT_ROOT

ENTRY_POINT = PROJECT_ROOT / "experiments" / "logistic_regression.py"
STAND_IN = ["dataset.stand_in=only", "scale=smoke", "tracking.mode=disabled"]


def call(*arguments, cwd, script=ENTRY_POINT):
    return run(script, *map(str, arguments), cwd=cwd)


def found(results):
    return sorted((results / "runs" / "logistic_regression").iterdir())


def test_a_run_is_trained_once_and_its_record_is_where_it_says(tmp_path):
    arguments = [*STAND_IN, f"results={tmp_path}", "optimizer=adagrad", "optimizer.lr=0.03"]
    command = [sys.executable, ENTRY_POINT, *arguments]  # by an interpreter of its own
    first = subprocess.run(command, cwd=tmp_path, env=os.environ | UNCOMPILED, capture_output=True, text=True)
    assert first.returncode == 0, first.stderr
    (folder,) = found(tmp_path)
    assert folder.name.startswith("digits_adagrad_lr0.03_seed0-")
    assert f"Record: {folder}" in first.stdout
    assert len(re.findall(r"^epoch +\d/2", first.stdout, re.M)) == 3
    written = (folder / "meta.json").read_bytes()
    assert f"Already done: {folder}" in call(*arguments, cwd=tmp_path).stdout
    assert (folder / "meta.json").read_bytes() == written
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoints", "runs"]
    assert list((tmp_path / "checkpoints").iterdir()) == [], "a finished run needs none"


def test_another_experiment_trains_its_network_with_optimizers_of_ours_and_of_others(tmp_path):
    script = PROJECT_ROOT / "experiments" / "mlp.py"
    small = [*STAND_IN, "model.hidden=[20,20]", f"results={tmp_path}"]
    first = call(*small, "-m", "optimizer=adadelta,rmsprop", cwd=tmp_path, script=script)
    assert first.returncode == 0 and "2 of 2 runs are done" in first.stdout, first.stderr
    foreign = ["optimizer=external", "optimizer._target_=torch.optim.NAdam"]
    assert call(*small, *foreign, cwd=tmp_path, script=script).returncode == 0
    kept = [records.read(folder) for folder in (tmp_path / "runs" / "mlp").iterdir()]
    assert {record.config["optimizer"]["_target_"].rpartition(".")[2] for record in kept} == {
        "AdaDelta",
        "RMSProp",
        "NAdam",
    }
    assert all(record.curve["train_cost"].notna().sum() == 1 for record in kept)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["optimiser=adam"], "There is no key optimiser. Did you mean optimizer? Allowed"),
        (["lr=0.1"], "There is no key lr. Did you mean optimizer.lr? Allowed there: arm, "),
        (["optimizer.beta=0.9"], "There is no key optimizer.beta. Did you mean optimizer.beta2? Allowed"),
        (["optimizer.momentum=0.9"], "There is no key optimizer.momentum. Allowed there: optimizer._target_, "),
        (["optimizer.lr=-3"], "optimizer: Adam: lr=-3 is not allowed"),
        (["optimizer.beta2=1"], "optimizer: Adam: beta2=1 is not allowed; set beta2 to a number with 0 <= beta2 < 1."),
        (["optimizer=adamm"], "adamm"),
        (["figure=fig9"], "fig9"),
        (["figure=fig2_dropout"], "Give it there: `python experiments/mlp.py figure=fig2_dropout`."),
        (
            ["dataset=imdb"],
            "SoftmaxRegression with the settings {'in_features': 784, 'classes': 10} cannot be trained on",
        ),
        (["+dropout=with"], "unexpected keyword argument 'input_dropout'. Give a model and a dataset that belong"),
        (["-m", "optimizer.lr=1e-3,abc"], "optimizer: Adam: lr='abc' is not allowed"),
        (["dataset.stand_in=maybe"], "dataset.stand_in=maybe"),
        (["optimizer=external"], "optimizer._target_ has no default"),
        (["optimizer=external", "optimizer._target_=no.such.Optimizer"], "optimizer._target_=no.such.Optimizer cannot"),
    ],
)
def test_a_users_mistake_is_one_paragraph_and_leaves_nothing(tmp_path, arguments, named):
    outcome = call(*STAND_IN, f"results={tmp_path / 'results'}", *arguments, cwd=tmp_path)
    assert outcome.returncode == 1
    assert outcome.stderr.startswith("Error: ")
    assert named in outcome.stderr and "interpolation" not in outcome.stderr
    assert len(outcome.stderr.strip().splitlines()) == 1
    assert not (tmp_path / "results").exists()


def test_a_sweep_trains_what_is_missing_as_populations_and_diverged_members_are_results(tmp_path):
    sweep = [*STAND_IN, f"results={tmp_path}", "-m", "optimizer=adam,sgd", "l2=1"]
    sweep += ["optimizer.lr=1e-2,1e30", "seed=range(2)"]
    first = call(*sweep, cwd=tmp_path)
    assert first.returncode == 0, first.stderr
    assert "8 runs; 2 groups" in first.stdout
    kept = {folder: records.read(folder) for folder in found(tmp_path)}
    assert len(kept) == 8
    assert {record.meta["members"] for record in kept.values()} == {4}
    assert {record.meta["status"] for folder, record in kept.items() if "sgd_lr1e+30" in folder.name} == {"diverged"}
    again = call(*sweep[:-1], "seed=range(3)", cwd=tmp_path)
    assert "12 runs, 8 already done" in again.stdout
    assert len(found(tmp_path)) == 12


OWN_OPTIMIZER = """
import torch

class Own(torch.optim.SGD):
    def step(self, closure=None):
        self.steps = getattr(self, "steps", 0) + 1
        if self.steps > LIMIT and self.param_groups[0]["lr"] > 0.5:
            raise RuntimeError("out of patience")
        return super().step(closure)
"""


def test_a_member_that_fails_is_named_at_the_end_and_costs_the_others_nothing(tmp_path):
    (tmp_path / "own.py").write_text(OWN_OPTIMIZER.replace("LIMIT", "3"))
    own = ["optimizer=external", "optimizer._target_=own.Own", "optimizer.lr=0.1,0.9"]
    outcome = call(*STAND_IN, f"results={tmp_path / 'results'}", "-m", *own, cwd=tmp_path)
    assert outcome.returncode == 1
    assert re.search(r"failed: digits_own_lr0\.9_seed0-\w+: RuntimeError: out of patience", outcome.stderr)
    assert "1 of 2 runs are done" in outcome.stdout
    (done,) = (folder for folder in found(tmp_path / "results") if (folder / "meta.json").exists())
    assert "lr0.1" in done.name


def test_a_dry_run_names_the_member_that_would_fail_as_training_does(tmp_path):
    (tmp_path / "own.py").write_text(OWN_OPTIMIZER.replace("LIMIT", "3"))
    own = ["optimizer=external", "optimizer._target_=own.Own", "optimizer.lr=0.9", "--dry-run"]
    outcome = call(*STAND_IN, f"results={tmp_path / 'results'}", *own, cwd=tmp_path)
    assert outcome.returncode == 1
    assert re.search(r"failed: digits_own_lr0\.9_seed0-\w+: RuntimeError: out of patience", outcome.stderr)
    assert outcome.stderr.splitlines()[-1].startswith("Error: The runs above, tried for 20 steps, fail")
    assert found(tmp_path / "results") == []


def test_an_edited_optimizer_of_ones_own_is_run_again(tmp_path):
    arguments = [*STAND_IN, f"results={tmp_path / 'results'}", "optimizer=external", "optimizer._target_=own.Own"]
    for limit in ("3", "4"):
        (tmp_path / "own.py").write_text(OWN_OPTIMIZER.replace("LIMIT", limit))
        assert call(*arguments, cwd=tmp_path).returncode == 0
    assert len(found(tmp_path / "results")) == 2


def test_a_dry_run_says_what_a_sweep_costs_and_writes_nothing(tmp_path):
    outcome = call(
        *STAND_IN, f"results={tmp_path / 'results'}", "figure=fig1_mnist", "arm=default", "--dry-run", cwd=tmp_path
    )
    assert outcome.returncode == 0, outcome.stderr
    assert re.search(r"^8 runs, 0 of them already done\.$", outcome.stdout, re.M)
    assert re.search(r"about \d+\.\d+ core-hours", outcome.stdout)
    assert "MB of disk" in outcome.stdout
    assert not (tmp_path / "results").exists()


def test_a_figure_comes_out_of_one_command_with_its_verdicts(tmp_path):
    script = PROJECT_ROOT / "scripts" / "reproduce.py"
    options = ["--scale", "smoke", "--figure", "fig1_mnist", "--results", tmp_path / "results"]
    outcome = call(*options, "dataset.stand_in=only", "tracking.mode=disabled", script=script, cwd=tmp_path)
    assert outcome.returncode == 0, outcome.stderr
    folder = tmp_path / "results" / "smoke" / "fig1_mnist"
    made = {path.name for path in folder.iterdir()}
    assert made >= {"curves.csv", "finals.csv", "provenance.json", "verdicts.csv", "figure.png", "figure.svg"}
    verdicts = pd.read_csv(folder / "verdicts.csv")
    assert set(verdicts["verdict"]) == {"not testable"}
    assert set(verdicts["provenance"]) == {"stand-in"}
    finals = pd.read_csv(folder / "finals.csv")
    assert set(finals["arm"]) == {"tuned", "default", "matched", "grid"}
    assert "L8a" in outcome.stdout and "L27" in outcome.stdout, "what bears on all figures together too"
    assert str(tmp_path / "results" / "smoke" / "overview" / "figure.png") in outcome.stdout
    assert "[the interval that decided" in outcome.stdout


@pytest.mark.parametrize(
    ("script", "options"),
    [
        ("experiments/properties.py", ["results={}"]),
        ("experiments/online_convex.py", ["results={}"]),
        ("experiments/sfo_cost.py", ["results={}"]),
        ("scripts/reproduce.py", ["--scale=smoke", "--figure=properties", "--results={}"]),
    ],
)
def test_what_cannot_write_its_measurements_names_the_path(tmp_path, script, options):
    (tmp_path / "file").touch()
    options = [option.format(tmp_path / "file" / "below") for option in options]
    outcome = call(*options, script=PROJECT_ROOT / script, cwd=tmp_path)
    assert outcome.returncode == 1
    assert outcome.stderr.startswith("Error: ") and len(outcome.stderr.splitlines()) == 1, outcome.stderr
    assert str(tmp_path / "file" / "below") in outcome.stderr and "is a file" in outcome.stderr


@pytest.mark.parametrize("number", [errno.EACCES, errno.EPERM, errno.ENOTDIR, errno.EEXIST, errno.EROFS])
def test_a_path_that_cannot_be_used_is_named_and_what_is_no_matter_of_a_path_is_a_fault(number, capsys):
    with pytest.raises(SystemExit), shown_kindly():
        raise OSError(number, os.strerror(number), "/there/file")
    assert capsys.readouterr().err.startswith(f"Error: {os.strerror(number)} (/there/file): ")
    if number != errno.EROFS:
        with pytest.raises(OSError, match=os.strerror(number)), shown_kindly():
            raise OSError(number, os.strerror(number))


def test_a_results_folder_may_have_any_name(tmp_path):
    results = tmp_path / "it's (mine), theirs"
    options = ["--scale", "smoke", "--figure", "fig1_mnist", "--results", results]
    options += [*STAND_IN[::2], "arm=default", "curve=sgd_nesterov", "seed=0"]
    outcome = call(*options, "scale.max_train=256", script=PROJECT_ROOT / "scripts" / "reproduce.py", cwd=tmp_path)
    assert outcome.returncode == 0, outcome.stderr
    (folder,) = found(results)
    assert records.read(folder).config["seed"] == 0
    assert (results / "smoke" / "fig1_mnist" / "figure.png").exists()
    assert list(tmp_path.iterdir()) == [results]


@pytest.mark.parametrize("name", ["a,b", "a (b)", "it's", "[a]{b}", 'a"b', "a\\", "a\\'b", "a=b", " a ", "1"])
def test_a_value_is_set_as_it_is_whatever_its_characters_mean_to_hydra(name):
    assert compose("logistic_regression", [override("results", name)]).results == name
    (parsed,) = OverridesParser.create().parse_overrides([override("results", name)])
    assert not parsed.is_sweep_override()


def test_a_users_mistake_in_a_figure_of_several_is_one_paragraph_too(tmp_path):
    script = PROJECT_ROOT / "scripts" / "reproduce.py"
    options = ["--scale", "smoke", "--figure", "fig1_mnist", "--results", tmp_path / "results"]
    outcome = call(*options, "dataset.stand_in=maybe", script=script, cwd=tmp_path)
    assert outcome.returncode == 1
    assert outcome.stderr.startswith("Error: dataset.stand_in=maybe is not allowed"), outcome.stderr
    assert outcome.stderr.count("\n") == 1


@pytest.mark.parametrize("script", ["reproduce.py", "compare.py"])
def test_runs_are_not_sent_elsewhere_than_what_is_made_of_them(tmp_path, script):
    options = ["--scale=smoke", "--figure=fig1_mnist", "results=here"]
    options += ["--optimizer=adam"] if script == "compare.py" else []
    outcome = call(*options, script=PROJECT_ROOT / "scripts" / script, cwd=tmp_path)
    assert outcome.returncode == 1 and not outcome.stdout
    assert outcome.stderr.startswith("Error: results=here would send ") and "ARGS=--results=here" in outcome.stderr


@pytest.mark.skipif(
    not (Path(os.environ.get("ADAM_REPRO_DATA", "")) / "MNIST" / "raw").is_dir(), reason="ADAM_REPRO_DATA has no MNIST"
)
def test_the_real_data_are_trained_on_where_they_are(tmp_path):
    arguments = ["scale=smoke", "tracking.mode=disabled", f"results={tmp_path}", "dataset.stand_in=forbid"]
    outcome = call(*arguments, cwd=tmp_path)
    assert outcome.returncode == 0, outcome.stderr
    (folder,) = found(tmp_path)
    assert folder.name.startswith("mnist_adam_lr0.001_seed0-")
    assert records.read(folder).config["dataset"]["provenance"] == "real"


def test_a_figures_curves_are_tuned_by_one_command(tmp_path):
    script = PROJECT_ROOT / "scripts" / "tune.py"
    small = [
        "figure.curves=[adagrad,sgd_nesterov]",
        "scale.max_train=256",
        "scale.max_epochs=1",
        "dataset.stand_in=only",
    ]
    options = ["--figure", "fig1_mnist", "--scale", "smoke", *small, *STAND_IN[::2], f"results={tmp_path}"]
    outcome = call(*options, script=script, cwd=tmp_path)
    assert outcome.returncode == 0, outcome.stderr
    tuning = pd.read_csv(tmp_path / "smoke" / "fig1_mnist" / "tuning.csv")
    assert tuning.groupby("curve").size().nunique() == 1, "equal budgets"
    assert set(tuning["seed"]) == {100, 101, 102}
    for curve in ("adagrad", "sgd_nesterov"):
        text = (tmp_path / "smoke" / "fig1_mnist" / "tuned" / f"{curve}.yaml").read_text()
        assert text.startswith("# @package _global_\n")
        mine = tuning[tuning["curve"] == curve]
        best = mine.groupby(["lr", "schedule", "momentum"], dropna=False)["train_cost"].mean().idxmin()
        assert f"lr: {best[0]}\n" in text
        assert f"override /schedule: {best[1]}\n" in text


def matched(folder, figure, curve, *options):
    """What `make match` has tried, the nearest of it, and the first line that it wrote of that."""
    options = ["--figure", figure, "--scale", "smoke", f"figure.curves=[{curve}]", *options, *STAND_IN[::2]]
    outcome = call(*options, f"results={folder}", script=PROJECT_ROOT / "scripts" / "match.py", cwd=folder)
    assert outcome.returncode == 0, outcome.stderr
    matching = pd.read_csv(folder / "smoke" / figure / "matching.csv")
    text = (folder / "smoke" / figure / "matched" / f"{curve}.yaml").read_text()
    nearest = matching.loc[matching["distance"].idxmin()]
    assert f"lr: {nearest['lr']:g}\n" in text
    return matching, nearest, text.splitlines()[1]


def test_the_settings_nearest_to_a_printed_curve_are_found_by_one_command(tmp_path):
    _, nearest, told = matched(tmp_path, "fig1_mnist", "adagrad", "scale.max_train=256", "scale.max_epochs=8")
    assert f"of the ratio {nearest['distance']:.4f}" in told


def test_where_a_run_takes_days_the_settings_of_a_plan_are_matched_by_the_passes_until_each_level(tmp_path):
    small = ["figure.matching.search={adam: {lr: [3e-4, 1e-3, 3e-3]}}"]
    small += ["scale.max_epochs=6", "scale.max_train=256", "batch_size=16", "l2=0", "model.hidden=[100,100]"]
    matching, nearest, told = matched(tmp_path, "fig2_deterministic", "adam", *small)
    assert set(matching["passes"]) == {6} and np.isfinite(nearest["distance"])
    assert f"in 6 passes, {nearest['distance']:.4f}" in told
    assert not (tmp_path / "smoke" / "fig2_deterministic" / "dropout_rates.csv").exists()


def test_dropout_rates_are_held_against_the_printed_curves_with_the_nearest_settings(tmp_path):
    small = ["figure.matching.epochs=6", "figure.matching.search={adam: {lr: [1e-3, 3e-3, 1e-2]}}"]
    small += ["scale.max_epochs=6", "scale.max_train=256", "batch_size=16", "model.hidden=[100,100]"]
    matching, nearest, _ = matched(tmp_path, "fig2_dropout", "adam", *small)
    rates = pd.read_csv(tmp_path / "smoke" / "fig2_dropout" / "dropout_rates.csv")
    assert len(rates) == len(DROPOUT_RATES) == rates["train_cost"].nunique()
    assert set(rates["lr"]) == {nearest["lr"]} and set(rates["passes"]) == {6}
    usual = rates[(rates["input_dropout"] == 0.2) & (rates["hidden_dropout"] == 0.5)]
    assert usual["distance"].item() == nearest["distance"], "the same run"
    trained = {
        (config["model"]["input_dropout"], config["model"]["hidden_dropout"])
        for config in (records.read(path).config for path in (tmp_path / "runs" / "mlp").iterdir())
    }
    assert trained == set(DROPOUT_RATES)
