"""What stands around the experiments: set-up, make's targets, adopting results."""

import errno
import importlib.util
import os
import re
import signal
import subprocess
import sys
import time
import tomllib
from collections import namedtuple
from types import SimpleNamespace

import pandas as pd
import pytest
import yaml
from made_up import write_figure
from packaging.requirements import Requirement

from adam_repro import records, search
from adam_repro.analysis.curves import load_provenance
from adam_repro.analysis.merging import lend
from adam_repro.app import compose
from adam_repro.errors import UserError
from adam_repro.surroundings import PROJECT_ROOT


def script(name):
    """The script as a module of its own."""
    spec = importlib.util.spec_from_file_location(f"script_{name}", PROJECT_ROOT / "scripts" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_report_of_an_unknown_scale_is_refused_with_those_there_are(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["report.py", "--scale", "smok"])
    with pytest.raises(SystemExit):
        script("report").main()
    assert "SCALE=smok is not known. Give one of paper, quick, reference, smoke." in capsys.readouterr().err


def test_what_cannot_be_measured_costs_the_others_nothing(tmp_path, monkeypatch, capsys):
    reproduce, committed = script("reproduce"), PROJECT_ROOT / "results" / "reference" / "online_convex"
    experiments, folder = tmp_path / "experiments", tmp_path / "results" / "quick"
    experiments.mkdir()
    (experiments / "properties.py").write_text("import os; os.abort()")
    (experiments / "online_convex.py").write_text(
        f"import shutil; shutil.copytree({str(committed)!r}, {str(folder / 'online_convex')!r}, dirs_exist_ok=True)"
    )
    (folder / "properties").mkdir(parents=True)
    (folder / "properties" / "measurements.csv").write_text("of an earlier time")
    monkeypatch.setattr(reproduce, "PROJECT_ROOT", tmp_path)
    assert (
        reproduce.reproduce("quick", ["properties", "online_convex"], results=tmp_path / "results", overrides=[]) == 1
    )
    assert (folder / "properties" / "measurements.csv").read_text() == "of an earlier time"
    verdicts = pd.read_csv(folder / "verdicts.csv")["claim"]
    assert "C15a" in set(verdicts) and "C1" not in set(verdicts)
    assert (folder / "report.html").exists() and "properties, online_convex" in capsys.readouterr().out


EXPERIMENT = """
import os, pathlib, sys, time
name, log = pathlib.Path(__file__).stem, pathlib.Path(__file__).parent / "log"
def note(*words):
    with log.open("a") as file:
        print(*words, file=file)
note("start", name)
while {until!r} not in log.read_text():
    time.sleep(0.01)
note("end", name, os.nice(0), *sys.argv[1:])
sys.exit({status})
"""


@pytest.fixture
def experiments(tmp_path, monkeypatch):
    """Make experiments that wait until a line is in a log that all write; returns the script and the log."""
    reproduce, folder = script("reproduce"), tmp_path / "experiments"
    folder.mkdir()
    monkeypatch.setattr(reproduce, "PROJECT_ROOT", tmp_path)

    def made(**waits):
        for name, (until, status) in waits.items():
            (folder / f"{name}.py").write_text(EXPERIMENT.format(until=until, status=status))
        return reproduce, folder / "log"

    return made


def test_what_trains_comes_in_turn_what_measures_beside_it_and_what_is_timed_alone(tmp_path, experiments):
    reproduce, log = experiments(
        mlp=("start mlp", 1), cnn=("start properties", 0), properties=("end cnn", 0), sfo_cost=("start sfo_cost", 0)
    )
    (tmp_path / "fig2_dropout").mkdir()
    (tmp_path / "fig2_dropout" / "index.csv").write_text("of an earlier time")
    seen = []
    figures, given = ["fig2_dropout", "sfo_cost", "properties", "fig3_full"], {"measuring": ["a=1"]}
    for ended in reproduce.in_turn(figures, tmp_path, **given, training=["b=1"]):
        seen.append(ended[:2])
        assert ended.has_news == (ended.figure in reproduce.MEASURED), "nobody has written an index now"
        with log.open("a") as file:
            print("handed out", ended.figure, file=file)
    assert seen == [("fig2_dropout", 1), ("fig3_full", 0), ("properties", 0), ("sfo_cost", 0)]
    assert (tmp_path / "fig2_dropout" / "index.csv").read_text() == "of an earlier time", "another may be reading it"
    lines = log.read_text().splitlines()
    ours, least = os.nice(0), reproduce.LEAST_PRIORITY
    assert lines.index(f"end mlp {ours} figure=fig2_dropout b=1") < lines.index("start cnn")
    assert lines.index(f"end properties {least} a=1") < lines.index("handed out properties")
    assert lines.index("handed out properties") < lines.index("start sfo_cost")


def test_what_measures_is_given_no_override_of_runs_but_a_seed(tmp_path, monkeypatch):
    reproduce, given = script("reproduce"), ["workers=2", "seed=3", "+optimizer.amsgrad=true", "arm=tuned"]
    seen = {}
    monkeypatch.setattr(reproduce, "in_turn", lambda *args, **overrides: seen.update(overrides) or (_ for _ in ()))
    reproduce.reproduce("smoke", [], results=tmp_path, overrides=given)
    place = ["scale=smoke", f"results='{tmp_path}'"]
    assert seen == {"measuring": [*place, "seed=3"], "training": [*place, *given]}
    for experiment in reproduce.MEASURED:
        assert compose(experiment, seen["measuring"]).seed == 3
    for several in ("seed=0,1", "seed=range(3)"):
        assert reproduce.of_measuring([several]) == []


@pytest.mark.parametrize("status", [0, 1])
def test_a_figure_is_drawn_where_its_training_wrote_an_index_and_of_an_earlier_one_nothing_is(
    tmp_path, monkeypatch, status
):
    reproduce, scale = script("reproduce"), tmp_path / "results" / "smoke"
    drawn = []
    monkeypatch.setattr(
        reproduce,
        "begun_to_draw",
        lambda figure, *more: drawn.append(figure) or SimpleNamespace(join=lambda: None, exitcode=0),
    )
    monkeypatch.setattr(reproduce, "train", lambda figure, overrides: writes[figure]() or status)
    index = {figure: scale / figure / "index.csv" for figure in ("fig1_mnist", "fig2_dropout", "fig4")}
    for figure in ("fig1_mnist", "fig2_dropout"):
        records.write_atomically(index[figure], "the same")
    writes = {
        "fig1_mnist": lambda: records.write_atomically(index["fig1_mnist"], "the same"),
        "fig2_dropout": lambda: None,
        "fig4": lambda: None,
    }
    assert reproduce.reproduce("smoke", list(writes), results=tmp_path / "results", overrides=[]) == status
    assert drawn == ["fig1_mnist"]
    assert index["fig2_dropout"].read_text() == "the same", "another command may be about to read it"


def test_ctrl_c_reaches_experiments_through_whoever_started_them(experiments):
    reproduce, log = experiments(properties=("go on", 0))
    process = reproduce.begun_to_measure("properties", [])
    while not log.exists() or "start properties" not in log.read_text():
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    with log.open("a") as file:
        print("go on", file=file)
    assert process.wait() == 0 and "end properties" in log.read_text()


def test_whoever_stops_listening_ends_what_runs(tmp_path, experiments):
    reproduce, log = experiments(mlp=("start properties", 0), properties=("for ever", 0))
    ended = reproduce.in_turn(["fig2_dropout", "properties"], tmp_path, measuring=[], training=[])
    assert next(ended)[:2] == ("fig2_dropout", 0)
    ended.close()
    assert "start properties" in log.read_text() and "end properties" not in log.read_text()


@pytest.fixture
def setup(tmp_path, monkeypatch):
    """The set-up script in an empty project, with its commands noted instead of run."""
    module = script("setup")
    for name in ("pyproject.toml", "constraints.txt"):
        (tmp_path / name).write_text(name)
    monkeypatch.setattr(module, "ROOT", tmp_path)
    monkeypatch.setattr(module, "VENV", tmp_path / ".venv")
    monkeypatch.setattr(module, "STAMP", tmp_path / ".venv" / ".installed")
    module.commands = []

    def note(command, **options):
        module.commands.append(command)
        (tmp_path / ".venv").mkdir(exist_ok=True)
        return subprocess.CompletedProcess(command, getattr(module, "status", 0))

    monkeypatch.setattr(module.subprocess, "run", note)
    return module


def test_setup_says_what_it_takes_and_happens_once(setup, capsys):
    setup.main()
    assert [command[1:3] for command in setup.commands] == [["-m", "venv"], ["-m", "pip"]]
    assert setup.commands[1][-4:] == ["-e", ".[dev]", "-c", "constraints.txt"]
    assert re.search(r"GB to download, .* GB on disk", capsys.readouterr().out)
    setup.main()
    assert len(setup.commands) == 2
    (setup.ROOT / "constraints.txt").write_text("another version")
    setup.main()
    assert len(setup.commands) == 4


def test_a_setup_that_failed_is_tried_again(setup, capsys):
    setup.status = 1
    with pytest.raises(SystemExit):
        setup.main()
    assert "could not be made" in capsys.readouterr().err
    assert not setup.STAMP.exists()


def test_a_missing_venv_module_is_named_with_its_package_before_anything_else(setup, monkeypatch, capsys):
    monkeypatch.setattr(setup.importlib.util, "find_spec", lambda name: None if name == "ensurepip" else name)
    with pytest.raises(SystemExit):
        setup.main()
    error = capsys.readouterr().err
    assert f"apt install python3.{sys.version_info.minor}-venv" in error
    assert setup.commands == []


@pytest.mark.parametrize("version", [(3, 9, 1), (3, 11, 3), (3, 14, 0)])
def test_another_python_is_refused_with_the_remedy(setup, monkeypatch, capsys, version):
    monkeypatch.setattr(setup.sys, "version_info", namedtuple("V", "major minor micro")(*version))
    with pytest.raises(SystemExit):
        setup.main()
    error = capsys.readouterr().err
    assert "3.11.4 to 3.13" in error and "PYTHON=" in error
    assert setup.commands == []


def test_a_full_disk_is_found_before_anything_is_downloaded(setup, monkeypatch, capsys):
    usage = namedtuple("usage", "total used free")(10, 9, 10**8)
    monkeypatch.setattr(setup.shutil, "disk_usage", lambda path: usage)
    with pytest.raises(SystemExit):
        setup.main()
    assert "0.1 GB of free disk" in capsys.readouterr().err
    assert setup.commands == []


def test_help_lists_every_target():
    makefile = (PROJECT_ROOT / "Makefile").read_text()
    targets = re.findall(r"^([a-z-]+):(?! [A-Z]+ = )", makefile, re.M)
    shown = subprocess.run(["make", "-s", "help"], cwd=PROJECT_ROOT, capture_output=True, text=True, check=True).stdout
    assert [line.split()[0] for line in shown.splitlines()] == targets
    assert set(re.search(r"\.PHONY: (.*)", makefile)[1].split()) == set(targets)


@pytest.mark.parametrize("target", ["tune", "match", "compare"])
@pytest.mark.parametrize(
    ("environment", "words", "scale"),
    [({}, [], "paper"), ({}, ["SCALE=smoke"], "smoke"), ({"SCALE": "quick"}, [], "quick")],
)
def test_settings_are_chosen_and_compared_at_the_papers_scale_or_at_the_one_that_is_given(
    target, environment, words, scale
):
    command = ["make", "-n", target, "FIGURE=fig4", *words]
    clean = {name: value for name, value in os.environ.items() if name not in ("SCALE", "MAKEFLAGS")}
    shown = subprocess.run(
        command, cwd=PROJECT_ROOT, env=clean | environment, capture_output=True, text=True, check=True
    ).stdout
    assert f"scripts/{target}.py" in shown and f" --scale {scale} " in shown and " --figure fig4 " in shown


def test_every_command_of_the_readme_exists():
    readme = (PROJECT_ROOT / "README.md").read_text()
    makefile = (PROJECT_ROOT / "Makefile").read_text()
    for target in re.findall(r"(?:`|^ {4}|^\$ )make ([a-z-]+)", readme, re.M):
        assert f"\n{target}:" in makefile, target
    for path in re.findall(r"python (\S+\.py)", readme):
        assert (PROJECT_ROOT / path).is_file(), path
    for path in re.findall(r"\]\((?!http)([^)#]+)\)", readme):
        assert (PROJECT_ROOT / path).exists(), path


def test_the_citation_and_the_workflow_are_whole():
    citation = yaml.safe_load((PROJECT_ROOT / "CITATION.cff").read_text())
    assert citation["license"] == "MIT" and citation["references"][0]["year"] == 2015
    workflow = yaml.safe_load((PROJECT_ROOT / ".github" / "workflows" / "ci.yml").read_text())
    assert workflow["jobs"]["test"]["strategy"]["matrix"]["python"] == ["3.11", "3.12", "3.13"]


def test_constraints_are_exact_versions_and_nothing_else():
    for line in (PROJECT_ROOT / "constraints.txt").read_text().splitlines():
        assert re.fullmatch(r"[a-z0-9][a-z0-9._-]*==[0-9][\w.]*", line), line


def test_the_pinned_versions_are_among_those_that_are_allowed():
    project = tomllib.loads((PROJECT_ROOT / "pyproject.toml").read_text())["project"]
    pins = dict(line.split("==") for line in (PROJECT_ROOT / "constraints.txt").read_text().splitlines())
    wanted = [Requirement(line) for line in (*project["dependencies"], *project["optional-dependencies"]["dev"])]
    assert all(pins[each.name] in each.specifier for each in wanted)
    (locks,) = (each.specifier for each in wanted if each.name == "filelock")
    assert "3.20.3" not in locks and "3.24.3" in locks, "of older ones two processes may have one lock"


@pytest.fixture
def adopting(tmp_path, monkeypatch):
    """The script, of a project in ``tmp_path``."""
    module = script("adopt")
    monkeypatch.setattr(module, "PROJECT_ROOT", tmp_path)
    monkeypatch.setattr(module, "CONFIGS", tmp_path / "configs")
    return module


@pytest.fixture
def adopt(adopting):
    return adopting.adopt


def test_adopting_copies_what_a_reader_can_check_and_the_settings(tmp_path, adopt):
    folder = write_figure(tmp_path / "results" / "paper" / "fig", {("tuned", "Adam"): 0.2})
    (folder / "index.csv").write_text("not for readers")
    (folder / "tuned").mkdir()
    (folder / "tuned" / "adam.yaml").write_text("lr: 1")
    copied = {str(path.relative_to(tmp_path)) for path in adopt(folder, "fig")}
    kept = {f"results/reference/fig/{name}" for name in ("curves.csv", "finals.csv", "provenance.json")}
    assert copied == {*kept, "configs/tuned/fig/adam.yaml"}
    assert (tmp_path / "configs" / "tuned" / "fig" / "adam.yaml").read_text() == "lr: 1"


def test_runs_join_the_reference_or_take_its_place(tmp_path, adopt, capsys):
    folder = tmp_path / "results" / "paper" / "fig"
    reference = tmp_path / "results" / "reference" / "fig"
    write_figure(reference, {("tuned", "Adam"): [0.2, 0.3]})
    write_figure(folder, {("default", "Adam"): [0.1]})
    (folder / "tuning.csv").write_text("of the new ones")
    assert {path.name for path in adopt(folder, "fig")} == {"curves.csv", "finals.csv", "provenance.json", "tuning.csv"}
    assert capsys.readouterr().out == "1 run joined 2 runs of the reference\n"
    assert pd.read_csv(reference / "finals.csv")["train_cost"].tolist() == [0.2, 0.3, 0.1]
    (reference / "diagnostics.csv").write_text("of the old ones")
    adopt(folder, "fig", replace=True)
    assert not (reference / "diagnostics.csv").exists()
    assert (reference / "finals.csv").read_bytes() == (folder / "finals.csv").read_bytes()


def test_stand_in_results_are_never_adopted(tmp_path, adopt):
    folder = write_figure(tmp_path / "paper" / "fig", {("tuned", "Adam"): 0.2}, provenance="stand-in")
    with pytest.raises(UserError, match="stand-in data, which are no reference"):
        adopt(folder, "fig")
    with pytest.raises(UserError, match="make reproduce SCALE=paper FIGURE=other"):
        adopt(tmp_path / "paper" / "other", "other")
    assert not (tmp_path / "results").exists()


def test_all_that_the_bench_measures_is_adopted_and_its_absence_names_its_command(tmp_path, adopt):
    folder = tmp_path / "results" / "paper" / "bench"
    with pytest.raises(UserError, match="bench does not exist. Run `make bench` first"):
        adopt(folder, "bench")
    folder.mkdir(parents=True)
    names = {"bench.json", "bench_other.json", "gpu.json", "checkpoints.json"}
    for name in names:
        (folder / name).write_text("{}")
    assert set(adopt(folder, "bench")) == {tmp_path / "results" / "reference" / "bench" / name for name in names}


def test_of_all_figures_those_with_results_are_adopted_and_named(tmp_path, adopting, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["adopt.py"])
    with pytest.raises(SystemExit):
        adopting.main()
    assert "holds no results of any figure. Run `make reproduce SCALE=paper` first" in capsys.readouterr().err
    for name, file in (("properties", "measurements.csv"), ("bench", "bench.json"), ("online_convex", "index.csv")):
        (tmp_path / "results" / "paper" / name).mkdir(parents=True)
        (tmp_path / "results" / "paper" / name / file).write_text("{}")
    adopting.main()
    *copied, last = capsys.readouterr().out.splitlines()
    assert copied == ["results/reference/properties/measurements.csv", "results/reference/bench/bench.json"]
    assert last == "Adopted: properties, bench."


@pytest.mark.parametrize("figure", ["fig1_mnist_wide", "fig2_deterministic", "fig3_full"])
def test_the_reference_has_of_each_drawn_curve_the_setting_that_its_arm_asks_for(figure):
    folder, setting = PROJECT_ROOT / "results" / "reference" / figure, ["arm", "curve", "lr", "schedule", "hyper", "l2"]
    finals, examples = pd.read_csv(folder / "finals.csv"), load_provenance(folder)["dataset"]["train_examples"]
    asked = script("adopt").asked(figure, set(finals["arm"]), examples)
    assert not asked.duplicated(["arm", "curve"]).any()
    found = finals[setting].drop_duplicates()
    assert len(found) > 3 and set(map(tuple, found.to_numpy())) <= set(map(tuple, asked[setting].to_numpy()))
    of_sfo = asked[asked["curve"] == "SFO"]
    assert of_sfo["terms"].nunique() == len(of_sfo), "masks are drawn anew, stay, or are none"


def test_an_arm_without_runs_may_have_no_settings_yet_and_a_grid_alone_asks_for_nothing(tmp_path):
    folder = write_figure(tmp_path, {("tuned", "Adam"): 0.2})
    asked = script("adopt").asked
    assert set(asked("fig3_first_epochs", {"default"}, 50_000)["arm"]) == {"default"}
    assert asked("fig4", {"grid", "control"}, 60_000).empty and lend(folder, asked("fig4", {"grid"}, 60_000)) == ""


def test_a_figure_names_the_command_that_makes_it_as_it_is():
    command_of = script("reproduce").command_of
    assert command_of("fig4", "paper", []) == "make reproduce SCALE=paper FIGURE=fig4"
    shown = command_of("fig4", "paper", ["epochs=10", "seed=range(3)"])
    assert shown == """make reproduce SCALE=paper FIGURE=fig4 ARGS="epochs=10 'seed=range(3)'\""""


def test_what_takes_minutes_to_time_is_measured_at_the_papers_scale_or_where_it_is_asked_for():
    wanted = script("reproduce").wanted
    assert "sfo_cost" in wanted("all", "paper") and wanted("sfo_cost", "quick") == ["sfo_cost"]
    assert set(wanted("all", "paper")) - set(wanted("all", "quick")) == {"sfo_cost"}


def test_curves_that_a_command_of_their_own_matched_stay_in_the_file(tmp_path):
    path, other_curves = tmp_path / "matching.csv", script("match").other_curves
    assert other_curves(path, [{"curve": "adam"}], 4) == []
    pd.DataFrame({"curve": ["adam", "adam+dropout", "sgd"], "passes": [4, 4, 10]}).to_csv(path)
    assert [row["curve"] for row in other_curves(path, [{"curve": "adam"}], 4)] == ["adam+dropout"]
    pd.DataFrame({"curve": ["adam", "adagrad"]}).to_csv(path)  # of a version that compared costs alone
    assert [row["curve"] for row in other_curves(path, [{"curve": "adam"}], None)] == ["adagrad"]


@pytest.mark.parametrize("names", ["fig1_imdb_no_dropout,fig3_full", "fig4"])
def test_where_several_figures_are_asked_for_those_with_nothing_to_match_are_passed_over(names, monkeypatch, capsys):
    match = script("match")
    monkeypatch.setattr(sys, "argv", ["match.py", "--figure", names])
    for name in ("settle_process", "stop_by_signals"):  # this process has its own settings and signals
        monkeypatch.setattr(search, name, lambda: None)
    if "," in names:
        search.command("", arm="matching", work=match.match)
        said, error = capsys.readouterr()
        assert "fig1_imdb_no_dropout draws no curve that the paper printed" in said
        assert "fig3_full has the settings of fig3_first_epochs" in said and not error
    else:
        with pytest.raises(SystemExit):
            search.command("", arm="matching", work=match.match)
        assert "fig4 draws no curve that the paper printed" in capsys.readouterr().err


def test_a_data_set_that_cannot_be_had_keeps_none_of_the_others_from_being_had(monkeypatch, capsys):
    data, there = script("data"), SimpleNamespace(name="imdb", train_y=range(4), test_y=range(2))

    def missing(root, stand_in):
        raise UserError("MNIST is not there. Get it.")

    def unreadable(root, stand_in):
        raise PermissionError(errno.EACCES, "Permission denied", f"{root}/cifar10")

    monkeypatch.setenv("ADAM_REPRO_DATA", "/some/where")
    for source, load in (("mnist", missing), ("imdb", lambda root, stand_in: there), ("cifar10", unreadable)):
        monkeypatch.setattr(data, source, SimpleNamespace(load=load))
    with pytest.raises(SystemExit) as ended:
        data.main()
    said = capsys.readouterr()
    assert ended.value.code == 1
    assert said.out == "imdb: 4 training and 2 test examples, checked, in /some/where\n"
    assert re.fullmatch(
        r"Error: MNIST is not there\. Get it\.\n\nPermission denied \(/some/where/cifar10\): .*\n", said.err
    )


def test_where_all_data_sets_are_had_nothing_is_wrong(monkeypatch, capsys):
    data, there = script("data"), SimpleNamespace(name="digits", train_y=range(4), test_y=range(2))
    for source in ("mnist", "imdb", "cifar10"):
        monkeypatch.setattr(data, source, SimpleNamespace(load=lambda root, stand_in: there))
    data.main()
    said = capsys.readouterr()
    assert said.out.count("digits: 4 training and 2 test examples, checked") == 3 and not said.err
