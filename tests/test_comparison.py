"""A newcomer among the curves of a figure: ranks and words on made-up data, its search space, the whole command."""

from __future__ import annotations

import itertools
import json
import math
import shutil
import sys

import pandas as pd
import pytest
from commands import run
from made_up import write_figure
from tiny_data import OVERRIDES

from adam_repro import comparing, records
from adam_repro.analysis import figures
from adam_repro.analysis.comparison import HIGHER, LOWER, OPEN, compare
from adam_repro.analysis.curves import FigureData
from adam_repro.analysis.figures.compared import compared
from adam_repro.app import override
from adam_repro.comparing import _extensions, overrides_of
from adam_repro.errors import UserError
from adam_repro.protocol import TUNING_SEEDS, half_decade
from adam_repro.run import execute
from adam_repro.search import TUNING, Trials, search_space
from adam_repro.surroundings import PROJECT_ROOT
from adam_repro.tuning import tune

BASELINE = {("tuned", "Adam"): 0.25, ("tuned", "AdaGrad"): 0.30, ("tuned", "SGDNesterov"): 0.20, ("grid", "Adam"): 0.1}


def found(folder, newcomer, *, name="Mine", baseline=BASELINE, **terms):
    theirs = write_figure(folder / "baseline", baseline)
    mine = write_figure(folder / "mine", {("tuned", name): newcomer}, **terms)
    return compare(FigureData.load(theirs), FigureData.load(mine))


def test_a_newcomer_is_ranked_and_told_apart_by_seed(tmp_path):
    near_adam = [0.2502, 0.2497, 0.2508, 0.2489, 0.2503]
    result = found(tmp_path, near_adam)
    table = result.table.set_index("curve")
    assert list(table.index[table["rank"].argsort()])[0] == "SGDNesterov" and set(table["rank"]) == {1, 2, 3, 4}
    assert table["newcomer_is"].drop("Mine").to_dict() == {"Adam": OPEN, "AdaGrad": LOWER, "SGDNesterov": HIGHER}
    assert table.loc["AdaGrad", "ratio"] == pytest.approx(0.25 / 0.30, rel=0.01)
    sentence = result.sentence()
    for words in (
        "of 4",
        "n = 5",
        "ends lower than AdaGrad",
        "not told apart from Adam",
        "ends higher than SGDNesterov",
    ):
        assert words in sentence


def test_ranks_are_by_the_means_that_ratios_are_of(tmp_path):
    scattered = [0.1, 0.1, 0.1, 0.1, 5.0]  # arithmetic mean 1.08, geometric 0.22
    result = found(tmp_path, [0.3] * 5, baseline={("tuned", "Adam"): scattered})
    assert result.table["curve"].tolist() == ["Adam", "Mine"]
    assert result.table["train_cost"].tolist() == pytest.approx([50**0.2 / 10, 0.3])
    assert result.table.set_index("curve").loc["Adam", "ratio"] == pytest.approx(0.3 / (50**0.2 / 10))


def test_a_newcomer_that_diverged_ranks_last(tmp_path):
    result = found(tmp_path, [math.nan] * 7, baseline={("tuned", "Adam"): [0.25] * 7})
    assert result.table["curve"].tolist() == ["Adam", "Mine"]
    assert result.table.set_index("curve").loc["Adam", "newcomer_is"] == HIGHER and "diverged" in result.sentence()


def test_a_newcomer_of_a_name_that_is_there_is_another_curve(tmp_path):
    result = found(tmp_path, 0.22, name="Adam")
    assert {"Adam", "Adam (new)"} < set(result.table["curve"])
    assert set(result.data.finals["arm"]) == {"tuned"}


def test_runs_on_other_terms_are_refused_by_name(tmp_path):
    with pytest.raises(UserError, match="have epochs 12, and those of .* have 46"):
        found(tmp_path, 0.22, epochs=12)


def test_it_is_drawn_over_the_others(tmp_path):
    result = found(tmp_path, 0.22)
    figures.write(lambda: compared(result, title="a figure", panel="1L", source="made-up runs"), tmp_path)
    assert (tmp_path / "figure.png").stat().st_size > 20_000
    drawn = (tmp_path / "figure.svg").read_text()
    for words in ("Mine among the tuned curves of a figure", "against SGDNesterov", "Mine, lr 0.1"):
        assert f"<!-- {words}" in drawn


def test_a_search_space_is_yaml_a_file_or_adams(tmp_path):
    assert search_space("fig1_mnist", None)["lr"][:2] == [1e-5, 3e-5]
    assert search_space("fig4", None)["lr"] == [1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2], "narrowed as the figure's are"
    assert search_space("fig1_mnist", None, optimizer="sgd_nesterov")["momentum"] == [0.9, 0.99], "its config's own"
    assert search_space("fig4", None, optimizer="adamax") == search_space("fig4", None), "which the figure narrows"
    assert search_space("fig1_mnist", None, optimizer="mine.py:Mine") == search_space("fig1_mnist", None)
    given = search_space("fig1_mnist", "{lr: [1e-3, 3e-3], beta: [0.9]}")
    assert given == {"lr": [1e-3, 3e-3], "beta": [0.9], "schedule": ["constant", "inverse_sqrt_step"]}
    (tmp_path / "space.yaml").write_text("lr: [1e-3]\nschedule: [constant]\n")
    assert search_space("fig1_mnist", str(tmp_path / "space.yaml")) == {"lr": [1e-3], "schedule": ["constant"]}


@pytest.mark.parametrize("given", ["{lr: 1e-3}", "[1e-3]", "{lr: [}", "lr", "{lr: []}", "lr" * 200])
def test_what_is_no_search_space_is_refused(given):
    with pytest.raises(UserError, match=r"SEARCH=.* is no (search space|YAML)"):
        search_space("fig1_mnist", given)


def test_a_file_of_a_search_space_that_is_not_there_is_named(tmp_path):
    with pytest.raises(UserError, match=r"there is no file .*none\.yaml"):
        search_space("fig1_mnist", str(tmp_path / "none.yaml"))


def test_an_optimizer_is_a_name_a_path_or_a_class_in_a_file(tmp_path, monkeypatch):
    monkeypatch.setattr("sys.path", [*sys.path])
    assert overrides_of("adamax") == ("adamax", ["optimizer=adamax"])
    assert overrides_of("torch.optim.NAdam") == (
        "NAdam",
        ["optimizer=external", "optimizer._target_='torch.optim.NAdam'"],
    )
    (tmp_path / "mine_alone.py").write_text("import torch\n\n\nclass Mine(torch.optim.SGD):\n    pass\n")
    name, chosen = overrides_of(f"{tmp_path / 'mine_alone.py'}:Mine")
    assert (name, chosen[1]) == ("Mine", "optimizer._target_='mine_alone.Mine'")
    for wrong in (f"{tmp_path / 'none.py'}:Mine", "no.Such", ""):
        with pytest.raises(UserError, match="no file|^OPTIMIZER=no.Such cannot be imported|OPTIMIZER is missing"):
            overrides_of(wrong)
    with pytest.raises(UserError, match=r"is a file: give a class in it, too, as in my_opt\.py:MyOpt"):
        overrides_of("my_opt.py")


def test_a_newcomer_begins_with_the_extensions_that_the_others_had():
    first = [
        {"curve": curve, "seed": seed, "lr": lr, "extension": 0}
        for curve, seed, lr in itertools.product(("adam", "sgd"), (100, 101), (0.01, 0.03, 0.1))
    ]
    above = [{"curve": curve, "seed": 100, "lr": lr, "extension": 1} for curve in ("adam", "sgd") for lr in (0.3, 1.0)]
    below = [{"curve": "adam", "seed": 100, "lr": 0.003, "extension": 2}]
    assert _extensions(pd.DataFrame([*first, *above, *below])) == [(1, 2), (-1, 1)]
    assert _extensions(pd.DataFrame(first)) == _extensions(pd.DataFrame(columns=list(first[0]))) == []
    committed = {path.parent.name: _extensions(pd.read_csv(path)) for path in comparing.REFERENCE.glob("*/tuning.csv")}
    assert committed["fig1_mnist"] == [] and committed["fig1_mnist_wide"] == [(1, 32)]


class TrialsHere(Trials):
    """Trained in this process, one by one."""

    def run(self, trials, seeds):
        return [[execute([self.runs.job(*trial, seed)])[0] for seed in seeds] for trial in trials]


def test_a_grid_that_begins_with_extensions_is_tried_with_them_and_extended_no_further_than_any_is(tmp_path):
    trials = TrialsHere(
        "fig1_mnist",
        scale="smoke",
        arm=TUNING,
        overrides=[*OVERRIDES, override("results", tmp_path)],
        optimizers={"Own": ["optimizer=adam"]},
        search={"Own": {"lr": [0.01, 0.03], "schedule": ["constant"]}},
        folder=tmp_path / "trials",
    )
    (choice,) = tune(trials, [(1, 2), (1, 1), (-1, 1), (-1, 1)]).values()
    tried = pd.read_csv(tmp_path / "trials" / "tuning.csv")
    assert sorted(set(tried["lr"])) == [0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0]
    assert choice.trials == 7 and set(tried["extension"]) == {4}


UNEVEN = f"{{lr: {[half_decade(number) for number in range(-8, 8)]}, momentum: [0, 0.5, 0.9]}}"
RESULTS = "its (own), they're here"
TINY = {"name": "tiny", "provenance": "synthetic", "checksum": "of no file", "train_examples": 28}
OWN = """
import torch

class Own(torch.optim.SGD):
    pass
"""


def command(folder, optimizer, *more):
    """`scripts/compare.py` as a user calls it, on a data set of a few examples."""
    words = [f"--optimizer={optimizer}", "--scale=smoke", f"--results={folder / RESULTS}", "tracking.mode=disabled"]
    tests = {"PYTHONPATH": str(PROJECT_ROOT / "tests")}
    return run(PROJECT_ROOT / "scripts" / "compare.py", *words, *OVERRIDES, *more, cwd=folder, environment=tests)


def test_an_optimizer_in_a_file_of_ones_own_is_tuned_trained_and_compared_by_one_command(tmp_path):
    terms = {"dataset": TINY, "provenance": "synthetic", "curve_version": records.CURVE_VERSION}
    baseline = {("tuned", "Adam"): 0.5, ("tuned", "AdaGrad"): 9.0}
    made = write_figure(tmp_path / RESULTS / "smoke" / "fig1_mnist", baseline, seeds=3, epochs=2, **terms)
    facts = json.loads((made / "provenance.json").read_text())
    (made / "provenance.json").write_text(json.dumps({**facts, "seeds": [0, 1, 2]}))
    (tmp_path / "own.py").write_text(OWN)
    outcome = command(tmp_path, "own.py:Own")
    assert outcome.returncode == 0, outcome.stderr
    assert "Own ranks 2 of 3" in outcome.stdout and "ends lower than AdaGrad; ends higher than Adam" in outcome.stdout
    folder = tmp_path / RESULTS / "compare" / "smoke" / "fig1_mnist" / "Own"
    assert {"figure.png", "comparison.csv", "tuning.csv"} < {path.name for path in folder.iterdir()}
    runs = [records.read(path) for path in (tmp_path / RESULTS / "runs" / "logistic_regression").iterdir()]
    seeds = [record.config["seed"] for record in runs]
    assert sorted(set(seeds)) == [0, 1, 2, *TUNING_SEEDS] and sum(seed < 100 for seed in seeds) == 3
    tuned = pd.read_csv(folder / "tuning.csv")
    best = tuned.groupby(["lr", "schedule"])["train_cost"].mean().idxmin()
    for record in runs:
        if record.config["seed"] < 100:
            schedule = record.config["schedule"]["_target_"].rpartition(".")[2]
            assert (record.config["optimizer"]["lr"], schedule) == best

    shutil.copytree(made, made.with_name("fig1_mnist_wide"))
    asked = {"scale": "smoke", "results": tmp_path / RESULTS, "command": "none"}
    for figure, search, overrides, refusal in (
        ("fig1_mnist", None, ["train_examples=20"], "The data here are"),
        ("fig1_mnist", None, ["l2=0.5"], "These runs have l2 0.5, and those of .* have 0.0001"),
        ("fig1_mnist_wide", None, [], "was to be searched in .*beta1.*SEARCH gives it another space"),
        ("fig1_mnist", "{lr: [1e-3, 3e-3]}", [], "SEARCH gives SGD 4 trials .* had 24"),
        ("fig1_mnist_wide", UNEVEN, [], "SEARCH gives SGD 6 settings .* extended by 32 trials"),
        ("fig4", None, [], "fig4 has no curves to compare with .* There are some for fig1_mnist, fig1_mnist_wide"),
    ):
        with pytest.raises(UserError, match=refusal):
            terms = [*OVERRIDES, *overrides]
            comparing.compare("torch.optim.SGD", figure, search=search, overrides=terms, **asked)
    assert len(list((tmp_path / RESULTS / "runs" / "logistic_regression").iterdir())) == len(runs)
