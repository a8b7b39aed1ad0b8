import shlex
import sys

import numpy as np
import pytest

from adam_repro import records
from adam_repro.app import compose
from adam_repro.errors import UserError
from adam_repro.run import execute, prepare

BASE = ["dataset.stand_in=only", "scale=smoke"]


def job(*overrides, results="unused"):
    return prepare(compose("logistic_regression", [*BASE, f"results={results}", *overrides]))


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["optimizer.lr=-3"], r"lr=-3"),
        (["optimizer.lr=abc"], r"lr='abc'"),
        (["scale.max_evaluations=0"], r"scale.max_evaluations=0 is not allowed: give a whole number of at least 1"),
        (["scale.max_epochs=few"], r"scale.max_epochs='few' is not allowed"),
        (["optimizer.beta2=1"], r"beta2=1"),
        (["optimizer.beta1=null"], r"beta1=None"),
        (["+optimizer.betas=[.9,.99]"], r"betas"),
        (["optimizer._target_=adam_repro.optimizers.Adamm"], r"Adamm cannot be imported.*Did you mean .*\.Adam\?"),
        (["optimizer=external", "optimizer._target_=torch.nn.Linear"], r"torch.nn.Linear is no torch.optim.Optimizer"),
        (
            ["optimizer=external", "optimizer._target_=/some/my_opt.py:MyOpt"],
            r"Give optimizer\._target_=my_opt\.MyOpt, and start the command in /some\.$",
        ),
        (["epochs=0"], r"epochs=0 is not allowed: give a whole number of at least 1"),
        (["seed=-1"], r"seed=-1"),
        (["seed=1.5"], r"seed=1.5"),
        (["batch_size=true"], r"batch_size=True"),
        (["l2=-1e-4"], r"l2=-0.0001"),
        (["l2=much"], r"l2='much'"),
        (["evaluate_at=7"], r"evaluate_at=7"),
        (["frozen_noise=no"], r"frozen_noise='no' is not allowed: give true or false"),
        (["diagnostics=off"], r"diagnostics='off'"),
        (["plan=1"], r"plan=1"),
        (["curve=5"], r"curve=5 is not allowed: give a name"),
        (["tracking.mode=ofline"], r"tracking\.mode='ofline' is not allowed: give one of online, offline, disabled"),
        (["tracking.members=alll"], r"tracking\.members='alll' is not allowed: give one of reported, all"),
        (["tracking.project=5"], r"tracking\.project=5 is not allowed: give a name"),
        (["arm=3"], r"arm=3"),
        (["variant=1"], r"variant=1"),
        (["device=0"], r"device=0 cannot be used here: it is no name"),
        (["device=null"], r"device=None"),
        (["model=logistic_regression"], r"in_features is .* not there .*'dataset.words'.* that belong together"),
    ],
)
def test_what_a_run_cannot_use_is_refused_by_key_value_and_remedy(tmp_path, overrides, message):
    with pytest.raises(UserError, match=message):
        job(*overrides, results=tmp_path / "results")
    assert not (tmp_path / "results").exists()


def test_the_command_of_a_run_can_be_given_to_a_shell_again(monkeypatch):
    before = job().key
    words = ["experiments/mlp.py", "-m", "model.hidden=[5, 4]", "optimizer.lr=1e-3,1e-2", "curve='it is mine'"]
    monkeypatch.setattr(sys, "argv", words)
    assert shlex.split(job().command) == words
    assert job().key == before


def test_a_results_folder_that_cannot_be_written_is_refused_before_anything_is_trained(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"results=\S+/file/below is not allowed: \S+/file is a file"):
        job(results=tmp_path / "file" / "below")
    monkeypatch.setattr("adam_repro.settings.os.access", lambda path, mode: path != tmp_path)
    with pytest.raises(UserError, match=r"results=\S+/results is not allowed: \S+ cannot be written. Give a folder"):
        job(results=tmp_path / "results")


def test_a_foreign_optimizer_that_cannot_train_the_model_is_refused_with_its_own_words():
    with pytest.raises(UserError, match=r"torch.optim.SparseAdam cannot train SoftmaxRegression.*[sS]parse"):
        job("optimizer=external", "optimizer._target_=torch.optim.SparseAdam")


@pytest.mark.parametrize(
    "override",
    [
        "seed=1",
        "optimizer.lr=2e-3",
        "optimizer.eps=1e-7",
        "schedule=inverse_sqrt_step",
        "l2=1e-4",
        "batch_size=64",
        "epochs=1",
    ],
)
def test_whatever_moves_a_curve_moves_the_key(override):
    assert job(override).key != job().key


@pytest.mark.parametrize(
    "override", ["arm=tuned", "curve=mine", "tuned_at=7", "tracking.mode=disabled", "workers=2", "results=/elsewhere"]
)
def test_what_moves_no_curve_moves_no_key(override):
    assert prepare(compose("logistic_regression", [*BASE, override])).key == job().key


def test_a_default_that_is_written_out_is_the_same_run():
    assert job("optimizer=adamax", "~optimizer.eps").key == job("optimizer=adamax").key
    assert job("optimizer.lr=0.001", "optimizer.beta2=0.9990").key == job().key


def test_evaluations_beyond_the_end_make_no_other_run():
    assert job("epochs=2", "evaluate_at=[0,2,4]").key == job("epochs=2", "evaluate_at=[0,2]").key
    assert job("epochs=2", "evaluate_at=[0,2]").key != job("epochs=2", "evaluate_at=null").key


@pytest.mark.parametrize(
    ("asked", "most", "taken"),
    [("null", 2, [1, 2]), ("[0,1,2]", 1, [2]), ("[]", 2, [2]), ("[0]", 5, [0, 2]), ("[2,0]", "null", [2, 0])],
)
def test_a_scale_takes_the_last_evaluations(asked, most, taken):
    run = job("epochs=2", f"evaluate_at={asked}", f"scale.max_evaluations={most}")
    assert run.config["evaluate_at"] == taken


def test_quick_runs_serve_both_panels_of_figure_3():
    settings = ["scale=quick", "dataset.stand_in=only", "tuned=fig3_first_epochs/adam", "dropout=with"]
    left, right = (
        prepare(compose("cnn", [f"figure={name}", *settings])) for name in ("fig3_first_epochs", "fig3_full")
    )
    assert left.key == right.key


def test_only_runs_that_share_minibatches_can_be_one_population():
    assert job().group == job("optimizer=adagrad", "optimizer.lr=1", "l2=1e-3", "schedule=inverse_sqrt_step").group
    assert job().group != job("seed=1").group
    assert job().group != job("batch_size=64").group
    assert job().group != job("optimizer=external", "optimizer._target_=torch.optim.NAdam").group


def test_on_a_gpu_runs_of_any_model_can_be_in_step_but_not_those_of_optimizers_that_no_graph_has():
    def group(experiment, *overrides):
        return prepare(compose(experiment, [*BASE, *overrides])).on_gpu("cuda").group

    assert group("vae") == group("vae", "optimizer=adagrad", "optimizer.lr=1") != group("vae", "seed=1")
    assert group("logistic_regression") != job().group, "another program"
    assert group("vae", "diagnostics=true") not in (None, group("vae")), "beside others that have them"
    assert group("vae", "optimizer=averaged_adam") is group("vae", "optimizer=sfo", "optimizer.subfunctions=3") is None
    assert group("vae", "optimizer=external", "optimizer._target_=torch.optim.NAdam") is None
    assert group("logistic_regression", "dataset=imdb", "model=logistic_regression") is not None


def test_a_run_writes_the_record_that_its_job_names(tmp_path):
    planned = job("seed=3", results=tmp_path)
    (record,) = execute([planned])
    assert record.folder == planned.folder
    assert planned.folder.name.startswith("digits_adam_lr0.001_seed3-")
    read = records.read(planned.folder)
    assert read.config == planned.config
    assert read.curve["epoch"].tolist() == [0, 1, 2]
    assert read.curve["train_cost"].isna().tolist() == [True, False, False]
    assert read.meta["status"] == "finished"
    assert read.config["dataset"]["provenance"] == "stand-in"
    assert records.is_complete(planned.folder, planned.key)


def test_a_diverged_run_is_a_result_with_its_first_bad_step(tmp_path):
    (record,) = execute([job("optimizer=sgd", "optimizer.lr=1e30", "l2=1", results=tmp_path)])
    assert record.meta["status"] == "diverged"
    assert record.meta["diverged_step"] >= 1
    assert record.curve["train_cost"].iloc[1:].notna().all()


def test_a_population_writes_each_member_the_record_of_its_solo_run(tmp_path):
    overrides = [
        ["optimizer.lr=1e-2"],
        ["optimizer=adagrad", "optimizer.lr=1e-1", "schedule=inverse_sqrt_step"],
        ["optimizer=sgd_nesterov", "l2=1e-3"],
        ["optimizer=adam", "optimizer.lr=1e-1", "optimizer.bias_correction=false"],
    ]
    together = execute([job(*each, results=tmp_path / "together") for each in overrides])
    by_name = {record.folder.name: record for record in together}
    for each in overrides:
        (alone,) = execute([job(*each, results=tmp_path / "alone")])
        member = by_name[alone.folder.name]
        assert member.config == alone.config
        np.testing.assert_allclose(member.curve, alone.curve, rtol=1e-4)
