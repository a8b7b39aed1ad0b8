"""`make bench`: what it trains, how it counts, what it writes."""

import importlib
import json
import os
import subprocess
import sys

import pytest
import torch

from adam_repro.analysis.targets import SOLO, TIMED
from adam_repro.data import Dataset
from adam_repro.dropout import Dropout
from adam_repro.optimizers import Adam
from adam_repro.sparse import SparseRows
from adam_repro.surroundings import PROJECT_ROOT

SCRIPTS = PROJECT_ROOT / "scripts"
NAMES = ("logistic_mnist", "logistic_imdb", "mlp", "vae", "cnn")


@pytest.fixture
def workloads(monkeypatch):
    monkeypatch.syspath_prepend(str(SCRIPTS))
    return importlib.import_module("workloads")


@pytest.fixture
def benchmark(workloads):
    return importlib.import_module("benchmark")


@pytest.fixture
def few(workloads, monkeypatch):
    """Loaders that give a few examples of the right shapes."""
    y = torch.arange(260)
    pixels = (y[:, None] + torch.arange(784)) % 256 / 255
    monkeypatch.setattr(
        workloads.mnist, "load", lambda root: Dataset("few", "real", "", pixels, y % 10, pixels[:20], y[:20] % 10)
    )
    rows = SparseRows(torch.arange(260 * 5) * 7 % 10_000, torch.arange(261) * 5, 10_000)
    monkeypatch.setattr(
        workloads.imdb, "load", lambda root: Dataset("few", "real", "", rows, y % 2, rows[:20], y[:20] % 2)
    )


@pytest.mark.parametrize("name", NAMES)
def test_every_variant_of_a_workload_makes_steps(name, workloads, few, tmp_path):
    workload = workloads.WORKLOADS[name]
    facts = workloads.prepare(workload.data, tmp_path)
    assert facts["train"] > 0 and facts["provenance"] in ("real", "synthetic")
    for variant, k in [*workloads.variants(workload), ("in step", 1), ("in step", 2)]:
        answer = workloads.build(workload, variant, k, tmp_path)(1)
        assert answer["seconds"] > 0, variant
        assert ("evaluation" in answer) == (variant == "run")


def test_a_rivals_steps_are_its_own(workloads):
    for workload in workloads.WORKLOADS.values():
        named = [variant for variant, _ in workloads.variants(workload) if variant.startswith(workloads.SOLO_WITH)]
        plain = [f"solo {rule.__name__} without dropout" for rule in (Adam, *workload.rivals) if workload.rates]
        assert named == [*(f"solo {rule.__name__}" for rule in workload.rivals), *plain]
        for rule in workload.rivals:
            learner = workloads.solo(workload, rule)
            rules = {type(learner.optimizer)} if workload.population is None else {m.rule[0] for m in learner.members}
            assert rules == {rule}


def test_every_step_that_the_report_takes_is_timed(workloads):
    timed = {(name, variant) for name, each in workloads.WORKLOADS.items() for variant, _ in workloads.variants(each)}
    for workload, dropout in TIMED.values():
        assert (workload, f"solo Adam{dropout}" if dropout else SOLO) in timed


def test_what_is_timed_without_dropout_has_none(workloads):
    for name in ("mlp", "cnn"):
        workload = workloads.WORKLOADS[name]
        models = workload.ours(), workload.without_dropout().ours()
        rates = [{layer.p for layer in model.modules() if isinstance(layer, Dropout)} for model in models]
        assert rates == [{0.2, 0.5}, {0.0}]


def test_a_checkpoints_share_is_what_one_takes_of_the_time_between_two(workloads, few, tmp_path):
    checkpointing = importlib.import_module("checkpointing")
    rows = {row["workload"]: row for row in checkpointing.measure(["mlp", "logistic_mnist"], tmp_path, turns=1)}
    assert {name: row["k"] for name, row in rows.items()} == {"mlp": 1, "logistic_mnist": 105}
    parameters = sum(parameter.numel() for parameter in workloads.WORKLOADS["mlp"].ours().parameters())
    assert rows["mlp"]["megabytes"] == pytest.approx(3 * 4 * parameters / 1e6, rel=0.01), "theta, m and v"
    for row in rows.values():
        passes = -(-row["checkpoint_every"] // row["pass_seconds"])
        assert row["share"] == pytest.approx(row["seconds"] / (passes * row["pass_seconds"]))
        assert row["checkpoint_every"] == 30 and 0 < row["share"] < 1


@pytest.mark.parametrize("name", NAMES)
def test_what_most_people_write_has_the_parameters_of_ours(name, workloads):
    workload = workloads.WORKLOADS[name]
    typical, ours = (sum(p.numel() for p in model.parameters()) for model in (workload.typical(), workload.ours()))
    assert typical == ours


def test_operations_are_those_of_forward_and_backward_without_the_first_inputs_gradient(workloads):
    layers = {
        "logistic_mnist": (128, [7840]),
        "mlp": (128, [784_000, 1_000_000, 10_000]),
        "vae": (100, [784 * 500, 500 * 100, 50 * 500, 500 * 784]),
        "cnn": (128, [32**2 * 64 * 75, 16**2 * 64 * 1600, 8**2 * 128 * 1600, 2048 * 1000, 10_000]),
    }
    for name, (batch, sizes) in layers.items():
        assert workloads.flops(workloads.WORKLOADS[name]) == 2 * batch * (3 * sum(sizes) - sizes[0]), name
    assert workloads.flops(workloads.WORKLOADS["logistic_imdb"]) is None


def test_a_turn_is_whole_passes_where_it_is_most_of_one(benchmark):
    assert benchmark.steps_of_turn(0.1, 0.3, 468) == 3
    assert benchmark.steps_of_turn(1.0, 0.3, 468) == 3
    assert benchmark.steps_of_turn(0.001, 0.3, 195) == 390
    assert benchmark.steps_of_turn(0.001, 0.1, 195) == 195


def test_on_a_gpu_models_in_step_are_measured_against_the_typical_loop(workloads):
    on_gpu = workloads.variants(workloads.WORKLOADS["vae"], torch.device("cuda"))
    assert on_gpu == [("typical", 1), ("in step", 1), ("in step", 6), ("in step", 24), (workloads.PEAK, 1)]


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
@pytest.mark.parametrize("name", ["cuda", "gpu"])
def test_a_device_that_is_not_there_is_named_in_a_paragraph(benchmark, monkeypatch, capsys, name):
    monkeypatch.setattr(sys, "argv", ["benchmark.py", "--device", name])
    with pytest.raises(SystemExit):
        benchmark.main()
    assert f"Error: device={name} cannot be used here" in capsys.readouterr().err


def test_rows_are_medians_and_ratios_within_rounds(benchmark):
    turns = {
        ("typical", 1): [{"seconds": 4.0}, {"seconds": 8.0}, {"seconds": 4.0}],
        ("bare loop", 1): [{"seconds": 1.0}, {"seconds": 2.0}, {"seconds": 1.0}],
        ("run", 1): [{"seconds": s, "evaluation": 1.1 / 128} for s in (1.1, 2.2, 1.0)],
        ("population", 24): [{"seconds": 2.4}, {"seconds": 4.8}, {"seconds": 2.4}],
    }
    facts = {"train": 1280, "test": 0}
    rows = benchmark.rows_of("logistic_mnist", turns, dict.fromkeys(turns, 500.0), facts, peaks=[1e9, 1e9, 4e9])
    typical, bare, run, population = rows
    assert run["ratio_to_typical"] == pytest.approx(4 / 1.1) and run["ratio_to_bare"] == pytest.approx(1.1)
    assert (run["fastest"], run["ms_per_member_step"], run["slowest"]) == pytest.approx((1000, 1100, 2200))
    assert run["evaluation_share"] == pytest.approx(0.5)
    assert run["evaluation_share_of_run"] == pytest.approx(15 / (15 + 46)), "15 evaluations in 46 passes"
    assert population["ms_per_member_step"] == pytest.approx(100) and population["ratio_to_typical"] == 40
    assert population["gemm_fraction"] == pytest.approx(2 * 128 * 2 * 7840 / 0.2 / 1e9)
    assert bare["evaluation_share"] is None and typical["ratio_to_bare"] is None


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--workload", "rnn"], "choose from logistic_mnist, logistic_imdb, mlp, vae, cnn"),
        (["--workload", "mlp", "--grid"], "leave --workload out"),
        (["--device", "cuda", "--workload", "rnn"], "there is no workload rnn"),
        (["--device", "cuda", "--grid"], "leave --device out"),
    ],
)
def test_what_cannot_be_measured_is_refused_with_what_can(arguments, words, benchmark, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["benchmark.py", *arguments])
    with pytest.raises(SystemExit):
        benchmark.main()
    assert words in capsys.readouterr().err


@pytest.mark.timeout(400)  # five processes start, each with libraries of its own
def test_the_benchmark_measures_every_variant_against_the_typical_loop(tmp_path):
    output = tmp_path / "bench.json"
    command = [sys.executable, str(SCRIPTS / "benchmark.py"), "--workload", "vae", "--rounds", "2", "--seconds", "0.01"]
    environment = os.environ | {"TORCHDYNAMO_DISABLE": "1", "ADAM_REPRO_DATA": str(tmp_path)}
    done = subprocess.run([*command, "--output", output], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    result = json.loads(output.read_text())
    rows = {(row["variant"], row["k"]): row for row in result["measured"]}
    assert set(rows) == {(name, 1) for name in ("typical", "solo", "bare loop", "run")}
    assert rows["typical", 1]["ratio_to_typical"] == 1
    assert all(row["fastest"] <= row["ms_per_member_step"] <= row["slowest"] for row in rows.values())
    assert all(0 < row["gemm_fraction"] < 1 and row["peak_mb"] > 50 for row in rows.values())
    assert result["command"] == 'make bench ARGS="--workload vae --rounds 2 --seconds 0.01"'
    assert result["grid"] is None and result["versions"]["torch"] and result["gemm_peak_gflops"]["vae"] > 0
    assert "times typical" in done.stdout
