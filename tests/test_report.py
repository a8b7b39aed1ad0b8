"""Verdicts on the screen, figures beside their data, the README's tables: from files alone."""

import io
import json
import re
import shutil

import pandas as pd
import pytest
from made_up import write_figure
from rich.console import Console

from adam_repro.analysis import page, report
from adam_repro.analysis.curves import FigureData
from adam_repro.analysis.figures.overview import overview, with_panels
from adam_repro.errors import UserError
from adam_repro.surroundings import PROJECT_ROOT

REFERENCE = PROJECT_ROOT / "results" / "reference"
LIKE_THE_PAPER = {("tuned", "Adam"): 0.25, ("tuned", "SGDNesterov"): 0.25, ("tuned", "AdaGrad"): 0.45}
NO_DIFFERENCE = {("tuned", "Adam"): 0.25, ("tuned", "SGDNesterov"): 0.25, ("tuned", "AdaGrad"): 0.25}


def decided(folder, finals=LIKE_THE_PAPER, **more):
    report.decide(write_figure(folder, finals, **more))
    return folder


def shown(results, reference, width=200):
    console = Console(file=io.StringIO(), width=width, force_terminal=True, color_system=None)
    report.show_verdicts(results, reference, console=console)
    return console.file.getvalue()


def test_building_draws_and_decides(tmp_path):
    folder = write_figure(tmp_path / "fig1_mnist", LIKE_THE_PAPER)
    report.build(folder)
    assert {path.name for path in folder.iterdir()} >= {"figure.png", "figure.svg", "verdicts.csv"}
    assert pd.read_csv(folder / "verdicts.csv")["verdict"].tolist() == ["supported"] * 4


def test_the_overview_has_a_panel_for_each_figure_with_results(tmp_path):
    assert report.build_overview(tmp_path) is None
    decided(tmp_path / "fig1_mnist")
    decided(tmp_path / "fig1_imdb_no_dropout", figure="fig1_imdb_no_dropout")
    curves = {("tuned", "Adam"): 1.0, ("tuned", "Adam+dropout"): 1.2}
    decided(tmp_path / "fig3_first_epochs", curves, figure="fig3_first_epochs", epochs=4)
    report.build_overview(tmp_path)
    drawn = overview(with_panels({folder.name: FigureData.load(folder) for folder in report.built(tmp_path)}))
    titles = [axes.get_title(loc="center") or axes.get_title(loc="left") for axes in drawn.axes if axes.axison]
    assert titles == ["Figure 1, left: regression, MNIST", "Figure 3, left: convolutions"]
    (legend,) = drawn.legends
    assert [text.get_text() for text in legend.get_texts()] == ["Adam", "SGDNesterov", "AdaGrad"]
    assert (tmp_path / "overview" / "figure.png").is_file()


@pytest.mark.parametrize(("figure", "arm"), [("fig2_dropout", "default"), ("fig1_mnist", "matched")])
def test_a_figure_whose_drawn_arm_was_not_run_has_no_panel(tmp_path, figure, arm):
    decided(tmp_path / figure, {(arm, "Adam"): 1.0}, figure=figure)
    folder = report.build_overview(tmp_path)
    assert folder is not None and not (folder / "figure.png").exists()
    decided(tmp_path / "fig1_imdb")
    report.build_overview(tmp_path)
    shown = {folder.name: FigureData.load(folder) for folder in report.built(tmp_path)}
    assert [*with_panels(shown)] == ["fig1_imdb"] and (folder / "figure.png").exists()
    shutil.rmtree(tmp_path / "fig1_imdb")
    report.build_overview(tmp_path)
    assert not (folder / "figure.png").exists(), "what was drawn before is no longer true"


def test_a_reduced_figure_is_named_in_the_overview(tmp_path):
    folder = decided(tmp_path / "fig1_mnist", epochs=20)
    words = " ".join(overview({"fig1_mnist": FigureData.load(folder)}).texts[0].get_text().split())
    assert "Reduced: Figure 1, left: 20 of 46 passes. Settings chosen after: Figure 1, left: 46 passes." in words


def test_verdicts_are_in_the_order_of_their_numbers_and_sections_are_no_numbers(tmp_path):
    shutil.copytree(REFERENCE, tmp_path, dirs_exist_ok=True)
    verdicts = report.gather_verdicts(tmp_path)
    ids = verdicts["claim"].tolist()
    assert [ids.index(id) for id in ("C2", "C9a", "C9b", "C10", "C28", "L7", "P1")] == sorted(
        ids.index(id) for id in ("C2", "C9a", "C9b", "C10", "C28", "L7", "P1")
    )
    assert verdicts.set_index("claim").loc["C18", "section"] == "4"


def test_this_runs_verdicts_stand_beside_the_references(tmp_path):
    report.build(decided(tmp_path / "quick" / "fig1_mnist", NO_DIFFERENCE, scale="quick"))
    decided(tmp_path / "reference" / "fig1_mnist")
    text = shown(tmp_path / "quick", tmp_path / "reference")
    (row,) = (line for line in text.splitlines() if "L8a" in line)
    assert row.index("contradicted") < row.index("1.000 [") < row.index("supported, 0.556 [")
    assert str(tmp_path / "quick" / "fig1_mnist" / "figure.png") in text
    assert "scale quick; data real" in text
    joined = pd.read_csv(tmp_path / "quick" / "verdicts.csv")
    assert joined["claim"].tolist() == ["L7", "L8a", "L8b", "P1"]


def test_without_a_reference_the_verdicts_are_shown_alone(tmp_path):
    decided(tmp_path / "quick" / "fig1_mnist")
    assert "none yet" in shown(tmp_path / "quick", tmp_path / "nowhere")


def test_piped_output_keeps_statements_on_few_lines(tmp_path):
    decided(tmp_path / "quick" / "fig1_mnist")
    console = Console(file=io.StringIO(), width=40)
    report.show_verdicts(tmp_path / "quick", tmp_path, console=console)
    lines = console.file.getvalue().splitlines()
    assert max(map(len, lines)) > 100


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({"effect": 0.9342, "low": 0.9311, "high": 0.9369, "n": 10}, "0.934 [0.931, 0.937], n = 10"),
        ({"effect": 2.2e-16, "low": 0.0, "high": 2.2e-16, "n": 9}, "2.2e-16 [0, 2.2e-16], n = 9"),
        ({"effect": 0.5, "low": float("nan"), "high": float("nan"), "n": 2}, "0.500, n = 2"),
        ({"effect": 0.75, "low": 0.75, "high": 0.75, "unit": "decades", "n": 3}, "0.750 decades, n = 3"),
        ({"effect": 0.3, "low": 0.1, "high": 0.5, "unit": "nats", "n": 3}, "0.300 [0.100, 0.500] nats, n = 3"),
        ({"effect": float("nan"), "low": float("nan"), "high": float("nan"), "n": 0}, "n = 0"),
    ],
)
def test_an_effect_in_words(row, words):
    assert report.effect({"unit": ""} | row) == words


def test_verdicts_of_an_earlier_version_are_read_too(tmp_path):
    path = decided(tmp_path / "fig1_mnist") / "verdicts.csv"
    pd.read_csv(path, dtype=str).drop(columns="unit").to_csv(path, index=False)
    first = report.gather_verdicts(tmp_path).to_dict("records")[0]
    assert first["unit"] == "" and report.effect(first).startswith("1.000 [0.996, 1.004], n = 5")


README = "# Title\n<!-- verdicts -->\nold\n<!-- /verdicts -->\nbetween\n<!-- speed -->\n<!-- /speed -->\nend\n"


NOT_TAKEN = ("gemm_fraction", "ratio_to_bare", "evaluation_share", "evaluation_share_of_run")
SHORT = {"ratio_to_bare": 1.034, "evaluation_share": 0.06, "evaluation_share_of_run": 0.03}
LONG = {"ratio_to_bare": 0.998, "evaluation_share": 0.12, "evaluation_share_of_run": 0.01}


def bench_row(workload, variant, k, ms, ratio, **more):
    row = {"workload": workload, "variant": variant, "k": k, "ms_per_member_step": ms, "ratio_to_typical": ratio}
    return dict.fromkeys(NOT_TAKEN) | row | more


BENCH = {
    "measured": [
        bench_row("logistic_mnist", "typical", 1, 9.0, 1.0),
        bench_row("logistic_mnist", "solo", 1, 0.3, 30.0, gemm_fraction=0.2),
        bench_row("logistic_mnist", "run", 1, 0.31, 29.0, **SHORT),
        bench_row("logistic_mnist", "population", 24, 0.0552, 163.4, gemm_fraction=0.51),
        bench_row("logistic_mnist", "population", 1, 0.15, 60.0),
        bench_row("logistic_mnist", "JAX vmap + optax", 35, 0.04, 225.0),
        bench_row("logistic_mnist", "products", 24, 0.04, 222.0),
        bench_row("cnn", "typical", 1, 1425.2, 1.0),
        bench_row("cnn", "solo", 1, 233.3, 1.823, gemm_fraction=0.82),
        bench_row("cnn", "run", 1, 233.3, 1.82, **LONG),
    ],
    "gemm_peak_gflops": {"logistic_mnist": 180.9, "cnn": 179.1},
    "grid": {"runs": 240, "seconds": 180.0, "cores": 2, "times_best_step": 1.2},
    "hardware": {"processor": "A Processor"},
    "commit": "abc123",
}


def test_the_readmes_tables_are_written_between_their_markers(tmp_path):
    decided(tmp_path / "reference" / "fig1_mnist")
    readme = tmp_path / "README.md"
    readme.write_text(README)
    report.update_readme(readme, tmp_path / "reference")
    once = readme.read_text()
    assert once.startswith("# Title\n<!-- verdicts -->\n") and once.endswith("<!-- speed -->\n<!-- /speed -->\nend\n")
    assert "old" not in once and "| **supported** | 0.556 [0.5" in once
    (tmp_path / "reference" / "bench").mkdir()
    (tmp_path / "reference" / "bench" / "bench.json").write_text(json.dumps(BENCH))
    report.update_readme(readme, tmp_path / "reference")
    twice = readme.read_text()
    assert "| 9 | 0.3 | 30 | 24 | 0.0552 | 163 | 51 % |" in twice and "| 1425 | 233 | 1.82 | | | | 82 % |" in twice
    assert "IMDB's" not in twice and "takes 1.00 to 1.03 times" in twice and "evaluations are 6 % to 12 %" in twice
    assert "and 1.0 % to 3.0 %\nof a run of Figures 1, 2 (a), 3 (right) and 4," in twice
    assert "179 to 181 GFLOP/s" in twice and "0.04 ms a run with 35 runs" in twice
    assert "180 seconds on 2 cores" in twice
    report.update_readme(readme, tmp_path / "reference")
    assert readme.read_text() == twice


@pytest.mark.parametrize(("epochs", "said"), [(10, "; reduced: 10 of 46 passes |"), (46, " |")])
def test_the_readme_says_where_a_verdict_is_of_shorter_runs(tmp_path, epochs, said):
    decided(tmp_path / "reference" / "fig1_mnist", epochs=epochs)
    readme = tmp_path / "README.md"
    readme.write_text(README)
    report.update_readme(readme, tmp_path / "reference")
    headline = next(line for line in readme.read_text().splitlines() if "**supported**" in line)
    assert headline.endswith(f"n = 5{said}")


TORTURE = {"faults": {"SIGINT": 2}, "outcomes": {"full disk: completed": 3}, "sweeps completed": 5, "runs lost": 0} | {
    "records that differ": 0,
    "groups trained twice by commands at once": 0,
    "other faults found": ["a lock is left"],
    "seconds": 600,
}


def test_the_readme_says_what_crash_tests_have_found_and_what_checkpoints_cost(tmp_path):
    decided(tmp_path / "fig1_mnist")
    readme = tmp_path / "README.md"
    readme.write_text(README + "<!-- reliability -->\nold\n<!-- /reliability -->\n")
    (tmp_path / "reliability").mkdir()
    (tmp_path / "reliability" / "torture.json").write_text(json.dumps(TORTURE))
    report.update_readme(readme, tmp_path)
    without = readme.read_text()
    for part in (
        "10 minutes, 5 sweeps",
        "| SIGINT | 2 |",
        "| — full disk: completed | 3 |",
        "promised** | 1 |\n<!-- /rel",
    ):
        assert part in without
    rows = [{"workload": "cnn", "k": 1, "megabytes": 29.1, "seconds": 0.12, "share": 0.001}]
    rows += [{"workload": "logistic_mnist", "k": 105, "megabytes": 8.4, "seconds": 0.0444, "share": 0.0042}]
    (tmp_path / "bench").mkdir()
    (tmp_path / "bench" / "checkpoints.json").write_text(json.dumps({"checkpoints": rows}))
    report.update_readme(readme, tmp_path)
    assert "Checkpoints take 0.10 % to 0.42 % of the time of a run" in readme.read_text()
    assert "0.04 s for the 8 MB of logistic regression, MNIST (105 runs as one).\n<!-- /rel" in readme.read_text()


def test_the_readme_has_a_table_of_ratios_for_each_other_processor(tmp_path):
    decided(tmp_path / "fig1_mnist")
    readme = tmp_path / "README.md"
    readme.write_text(README)
    (tmp_path / "bench").mkdir()
    other = BENCH | {"hardware": {"processor": "Another"}, "gemm_peak_gflops": {"cnn": 160.0}, "commit": "def456"}
    for name, content in (("bench.json", BENCH), ("bench_other.json", other)):
        (tmp_path / "bench" / name).write_text(json.dumps(content))
    report.update_readme(readme, tmp_path)
    lines = readme.read_text().splitlines()
    place = next(i for i, line in enumerate(lines) if line.startswith("| the same on another processor, Another, 160 "))
    heading, _, regression, network, end = lines[place : place + 5]
    assert lines[place - 1] == "" and not end.startswith("|")
    assert "([bench_other.json](results/reference/bench/bench_other.json), commit def456)" in heading
    assert "(processor: A Processor; commit abc123)" in readme.read_text()
    assert regression == "| logistic regression, MNIST | 30 | 24 | 163 | 51 % |"
    assert network == "| c64-c64-c128-1000, dropout | 1.82 | |  | 82 % |"


def test_a_benchmark_of_one_workload_and_one_variant_has_its_row():
    values = report.speed(BENCH | {"measured": [bench_row("mlp", "typical", 1, 29.0, 1.0)], "gemm_peak_gflops": {}})
    assert [row["title"] for row in values["rows"]] == ["784-1000-1000-10, dropout"] and values["overheads"] == ""


def test_the_readme_says_what_a_gpu_gives_where_it_was_measured(tmp_path):
    decided(tmp_path / "fig1_mnist")
    readme = tmp_path / "README.md"
    readme.write_text(README)
    rows = [bench_row("cnn", "typical", 1, 15.0, 1.0), bench_row("cnn", "in step", 1, 1.14, 13.1)]
    rows += [bench_row("cnn", "in step", 24, 0.826, 18.16, gemm_fraction=0.81)]
    on_gpu = {"measured": rows, "gemm_peak_gflops": {"cnn": 51162.0}, "hardware": {"gpu": "A GPU"}}
    (tmp_path / "bench").mkdir()
    for name, content in (("bench.json", BENCH), ("gpu.json", on_gpu)):
        (tmp_path / "bench" / name).write_text(json.dumps(content))
    report.update_readme(readme, tmp_path)
    assert "\n\n| a step of Adam, on A GPU | what most people write, ms" in readme.read_text()
    assert "| c64-c64-c128-1000, dropout | 15 | 1.14 | 13.1 | 24 | 0.826 | 18.2 | 81 % |\n" in readme.read_text()
    assert "51,162 GFLOP/s" in readme.read_text()


def test_a_readme_without_markers_is_refused(tmp_path):
    decided(tmp_path / "reference" / "fig1_mnist")
    readme = tmp_path / "README.md"
    readme.write_text("# Title\n")
    with pytest.raises(UserError, match="<!-- verdicts --> and <!-- /verdicts --> once each"):
        report.update_readme(readme, tmp_path / "reference")
    assert readme.read_text() == "# Title\n"


def test_every_test_that_the_readme_names_exists():
    named = re.findall(r"`(test_\w+\.py)::(\w+)`", (PROJECT_ROOT / "README.md").read_text())
    assert named
    for file, test in named:
        assert f"\ndef {test}(" in (PROJECT_ROOT / "tests" / file).read_text(), (file, test)


def test_committed_verdicts_and_the_readme_are_what_the_committed_data_give(tmp_path):
    """Figures and the page take a minute to draw: `make report SCALE=reference` does it, and CI compares every byte."""
    reference, pictures = tmp_path / "reference", shutil.ignore_patterns("*.png", "*.svg", "verdicts.csv")
    shutil.copytree(REFERENCE, reference, ignore=pictures)
    for folder in report.built(reference):
        report.decide(folder)
    report.build_overview(reference)
    report.gather_verdicts(reference)
    verdicts = sorted(REFERENCE.rglob("verdicts.csv"))
    assert len(verdicts) == len(report.built(reference)) + 2, "of each figure, of all together, and all in one"
    for path in verdicts:
        assert (reference / path.relative_to(REFERENCE)).read_text() == path.read_text(), path
    readme = tmp_path / "README.md"
    shutil.copyfile(PROJECT_ROOT / "README.md", readme)
    report.update_readme(readme, reference)
    assert readme.read_text() == (PROJECT_ROOT / "README.md").read_text()
    assert (REFERENCE / page.NAME).stat().st_size < 2e6


def test_a_number_of_the_readme_has_three_digits_and_all_before_the_point():
    assert [report._digits(number) for number in (0.0552, 38.1, 999.4, 999.6, 1425.2)] == [
        "0.0552",
        "38.1",
        "999",
        "1000",
        "1425",
    ]
