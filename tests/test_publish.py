"""What is saved on W&B: built without a server, saved to one on this machine."""

import json
import shutil

import pandas as pd
import pytest
from loopback import loopback
from made_up import write_figure, write_vae_grid
from test_scripts import script
from test_uploading import log_in, nobody  # noqa: F401 - the second is a fixture for all tests here

from adam_repro import publishing
from adam_repro.analysis.curves import FigureData, paper_figure_4
from adam_repro.errors import UserError
from adam_repro.publishing import Published
from adam_repro.surroundings import PROJECT_ROOT
from adam_repro.tracking import METRICS, OF_THE_GROUP
from adam_repro.uploading import offline_runs

REFERENCE = PROJECT_ROOT / "results" / "reference"
FIGURE = "fig1_mnist"


def figure_of(folder, panel):
    verdicts = folder / "verdicts.csv"
    table = pd.read_csv(verdicts, dtype={"section": str}) if verdicts.exists() else pd.DataFrame()
    return Published(FigureData.load(folder), "Figure 1", panel, pd.DataFrame(), table)


def built(figure):
    """The workspace as it is sent: its sections by name, and its set of runs."""
    workspace = publishing.workspace(figure, entity="me", project="adam-repro")
    section = json.loads(workspace._to_model().spec.model_dump_json(by_alias=True, exclude_none=True))["section"]
    sections = {each["name"]: each["panels"] for each in section["panelBankConfig"]["sections"]}
    return sections, section["runSets"][0]


def conditions(runs):
    """Each condition that a set of runs puts, as "key op value"."""
    waiting, found = list(runs["filters"]["filters"]), []
    while waiting:
        each = waiting.pop()
        waiting += each.get("filters", [])
        if "key" in each:
            found.append(f"{each['key']['name']} {each['op']} {each['value']}")
    return sorted(found)


def test_a_figures_workspace_has_curves_with_their_range_printed_ones_and_the_grid_by_learning_rate():
    sections, runs = built(figure_of(REFERENCE / FIGURE, "1L"))
    costs, evaluations, (grid,), seconds = sections.values()
    assert [panel["config"]["metrics"] for panel in costs] == [["train/cost"], ["test/loss"]]
    for panel in (*costs, *evaluations, *seconds):
        config = panel["config"]
        assert (config["groupBy"], config["groupAgg"], config["groupArea"]) == ("curve.value", "mean", "minmax")
    assert all(panel["config"]["xAxis"] == "epoch" for panel in costs)
    assert grid["config"]["xAxis"] == "sensitivity/lr" and grid["config"]["xLogScale"] is True
    series = {f"sensitivity/{name}" for name in ("Adam", "SGDNesterov", "AdaGrad", "RMSProp")}
    assert set(grid["config"]["metrics"]) == series
    logged = {metric for panel in (*evaluations, *seconds) for metric in panel["config"]["metrics"]}
    assert logged <= {*METRICS.values(), *OF_THE_GROUP}
    assert conditions(runs) == [
        "arm = printed",
        "arm = printed",
        "arm IN ['tuned', 'grid', 'printed']",
        "data = real",
        "epochs = 46",
        "figure = fig1_mnist",
    ]


def test_a_figure_without_printed_curves_or_grid_has_neither(tmp_path):
    folder = write_figure(tmp_path / "fig", {("tuned", "Adam"): 0.2, ("default", "Adam"): 0.3}, epochs=3)
    sections, runs = built(figure_of(folder, None))
    assert publishing.ARMS["grid"] not in sections
    assert conditions(runs) == ["arm IN ['tuned']", "data = real", "epochs = 3", "figure = fig1_mnist"]


def test_every_arm_that_decides_a_claim_is_shown_and_those_of_a_users_own_figure_too(tmp_path, monkeypatch):
    assert set(figure_of(REFERENCE / "fig1_mnist_wide", None).arms) == {"tuned", "narrow", "averaged", "default"}
    figure = figure_of(write_figure(tmp_path / "fig", {("beta2", "Adam"): 0.2}, epochs=3), None)
    sections, runs = built(figure)
    assert "beta2" in sections and "arm IN ['beta2']" in conditions(runs)
    with loopback() as server:
        log_in(monkeypatch, server.url)
        spec = publishing.report([figure], entity="me", project="adam-repro")._to_model().spec.model_dump_json()
        assert '"text":"beta2"' in spec


def test_runs_that_no_figure_draws_are_refused_by_name(tmp_path):
    write_vae_grid(tmp_path / "fig4", lambda *_: 100.0, seeds=1, milestones=(10,), forms=("control",), figure="fig4")
    shutil.copyfile(REFERENCE / "fig4" / "verdicts.csv", tmp_path / "fig4" / "verdicts.csv")
    with pytest.raises(UserError, match="has no runs of fig4 that W&B would show"):
        script("publish").load(tmp_path, "fig4")


def test_whose_runs_are_in_the_configs_is_whose_the_printed_curves_are(results, monkeypatch):
    module = script("publish")
    theirs = {"mode": "offline", "project": "adam-repro", "entity": "our-lab", "members": "reported"}
    monkeypatch.setattr(module, "tracking_of", lambda figure: theirs)
    saved = {}
    monkeypatch.setattr(module, "publish", lambda figures, **where: saved.update(where))
    monkeypatch.setattr("sys.argv", ["publish.py", "--scale", "reference", "--results", str(results)])
    module.main()
    assert saved == {"entity": "our-lab", "project": "adam-repro"}
    assert all("fig1_mnist_our-lab" in run.name for run in offline_runs(results))


def test_printed_curves_are_made_anew_for_whom_they_are_to_be(results, monkeypatch):
    for owner in ((), ("--entity", "my-team"), ("--entity", "my-team")):
        with pytest.raises(SystemExit):
            publish(monkeypatch, results, "--figure", FIGURE, *owner)
    made = [run.name for run in offline_runs(results)]
    assert len(made) == 6 and sum("fig1_mnist_my-team" in name for name in made) == 3


def test_a_grid_that_was_printed_has_its_points_beside_it():
    figure = script("publish").published(REFERENCE / "fig4")
    sections, runs = built(figure)
    metrics = sections[publishing.ARMS["grid"]][0]["config"]["metrics"]
    assert {f"sensitivity/{series}" for series in figure.printed_points} < set(metrics)
    adam = figure.printed_points["Adam_beta1_0_9_beta2_0_9999_bias_correction_False"]
    assert adam.dropna().to_dict() == {3e-5: 167.0, 1e-4: 122.84, 3e-4: 110.39, 1e-3: 189.46}
    after_10 = paper_figure_4().query("epochs == 10")[["bias_corrected_loss", "uncorrected_loss"]]
    assert figure.printed_points.notna().to_numpy().sum() == after_10.notna().to_numpy().sum()
    shown = ["arm IN ['tuned', 'grid', 'printed']", "data = real", "epochs = 10", "figure = fig4"]
    assert conditions(runs) == shown, "none of the points after 100 passes, and none beside a stand-in"


@pytest.fixture
def results(tmp_path):
    published = shutil.ignore_patterns("wandb")  # the reference may have been, by hand
    shutil.copytree(REFERENCE / FIGURE, tmp_path / "results" / "reference" / FIGURE, ignore=published)
    return tmp_path / "results"


def publish(monkeypatch, results, *arguments):
    monkeypatch.setattr("sys.argv", ["publish.py", "--scale", "reference", "--results", str(results), *arguments])
    script("publish").main()


def test_publishing_saves_a_workspace_for_each_figure_and_a_report_with_the_verdicts(results, monkeypatch, capsys):
    with loopback() as server:
        log_in(monkeypatch, server.url)
        publish(monkeypatch, results)
    saved = [asked for name, asked in server.asked if name == "upsertView"]
    assert [asked["type"] for asked in saved] == ["runs", "project-view"]
    assert [asked["displayName"] for asked in saved] == [
        "Adam, reproduced (paper)",
        "Figure 1, left: logistic regression on MNIST",
    ]
    spec = saved[0]["spec"]
    for row in pd.read_csv(REFERENCE / FIGURE / "verdicts.csv").to_dict("records"):
        assert row["statement"] in spec and f"**{row['verdict']}**" in spec
    for arm in ("tuned", "matched", "default", "grid"):
        assert f'"{arm}"' in spec and publishing.ARMS[arm] in spec
    printed = capsys.readouterr().out
    assert f"Report: {server.url}/me/adam-repro/reports/" in printed and "3 runs are not uploaded yet" in printed


def test_without_an_account_printed_curves_are_made_and_the_remedy_is_said(results, monkeypatch, capsys):
    with pytest.raises(SystemExit):
        publish(monkeypatch, results, "--figure", FIGURE)
    error = capsys.readouterr().err
    assert error.startswith("Error: You are not logged in") and "`wandb login`" in error
    assert len(offline_runs(results)) == 3


def test_a_project_that_is_not_there_is_an_error_that_says_how_to_make_it(results, monkeypatch, capsys):
    with loopback(has_project=False) as server:
        log_in(monkeypatch, server.url)
        with pytest.raises(SystemExit):
            publish(monkeypatch, results)
    assert "is me/adam-repro, by `make wandb-sync ARGS=--yes`?" in capsys.readouterr().err


@pytest.mark.parametrize("names", ["all", "fig4"])
def test_figures_without_results_are_named(names, tmp_path, monkeypatch, capsys):
    with pytest.raises(SystemExit):
        publish(monkeypatch, tmp_path, "--figure", names)
    assert "Run `make reproduce SCALE=reference" in capsys.readouterr().err
