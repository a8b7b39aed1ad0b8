"""What a figure draws, asked of its axes: which lines, where, under which names."""

import itertools
import math

import numpy as np
import pandas as pd
import pytest
from made_up import write_figure
from matplotlib.figure import Figure

from adam_repro.analysis import figures
from adam_repro.analysis.curves import FigureData, paper_curves
from adam_repro.analysis.figures.section6_1 import fig1_mnist
from adam_repro.analysis.measurements import Measurements
from adam_repro.surroundings import PROJECT_ROOT

CURVES = ("Adam", "SGDNesterov", "AdaGrad", "RMSProp")
FINALS = {("tuned", curve): 0.24 + 0.01 * place for place, curve in enumerate(CURVES)}
FINALS |= {("default", curve): 0.3 for curve in CURVES} | {("matched", curve): 0.3 for curve in CURVES[:3]}
GRID = {(curve, lr): 0.3 + lr for curve in CURVES for lr in (0.01, 0.1, 1.0)}


def drawn(folder, **more):
    data = FigureData.load(write_figure(folder, FINALS, grid=GRID, **more))
    return dict(zip(("tuned", "matched", "default", "grid"), fig1_mnist(data).axes, strict=True))


def lines(axes):
    """The lines that a legend names, by the name's first word."""
    return {line.get_label().split(",")[0]: line for line in axes.get_lines() if not line.get_label().startswith("_")}


def printed(axes):
    return [line for line in axes.get_lines() if line.get_linewidth() == 5]


def words(axes):
    return " | ".join(text.get_text() for text in axes.texts)


def test_row_e_is_drawn_at_the_papers_x_with_its_interval(tmp_path):
    axes = drawn(tmp_path)["tuned"]
    line = lines(axes)["Adam"]
    assert line.get_xdata().tolist() == list(range(46))
    assert line.get_ydata()[-1] == pytest.approx(0.24, rel=1e-3)
    assert len(axes.collections) == len(CURVES), "a band each"


def test_a_legend_names_setting_and_n_and_marks_what_the_paper_lacks(tmp_path):
    axes = drawn(tmp_path)["tuned"]
    labels = [line.get_label() for line in lines(axes).values()]
    assert labels[0] == "Adam, lr 0.1, n = 5: 0.2400"
    assert labels[1].startswith("SGDNesterov, lr 0.1, momentum 0.9, n = 5")
    assert [label.endswith(" *") for label in labels] == [False, False, False, True]
    assert lines(axes)["RMSProp"].get_linewidth() < lines(axes)["Adam"].get_linewidth()


def test_a_legend_names_what_was_chosen_beside_the_learning_rate(tmp_path):
    folder = write_figure(tmp_path, FINALS | {("default", "Adam"): 0.25}, grid=GRID)
    finals = pd.read_csv(folder / "finals.csv")
    adam = finals["curve"] == "Adam"
    finals.loc[adam, "hyper"] = '{"beta1":0.9,"beta2":0.999}'
    finals.loc[adam & (finals["arm"] == "tuned"), "hyper"] = '{"beta1":0.99,"beta2":0.999}'
    finals.to_csv(folder / "finals.csv", index=False)
    axes = fig1_mnist(FigureData.load(folder)).axes
    assert lines(axes[0])["Adam"].get_label() == "Adam, lr 0.1, beta1 0.99, n = 5: 0.2400"
    assert lines(axes[2])["Adam"].get_label() == "Adam, lr 0.1, n = 5"


def test_the_panel_of_learning_rates_names_the_momentum_that_they_share(tmp_path):
    folder = write_figure(tmp_path, FINALS, grid={("SGDNesterov", 0.1): 0.3, ("Adam", 0.1): 0.25})
    labels = [line.get_label() for line in lines(fig1_mnist(FigureData.load(folder)).axes[3]).values()]
    assert sorted(labels) == ["Adam, n = 5", "SGDNesterov, μ 0.9, n = 5"]


def test_real_data_lie_over_the_printed_curves_faintly(tmp_path):
    panels = drawn(tmp_path)
    assert [len(printed(panels[name])) for name in panels] == [3, 3, 0, 0]
    assert all(line.get_alpha() < 0.3 for line in printed(panels["tuned"]))
    assert "printed: AdaGrad" in words(panels["tuned"])
    assert "stand-in" not in words(panels["tuned"])


def test_runs_that_end_before_a_printed_curve_begins_are_drawn_as_well(tmp_path):
    assert paper_curves("1L").query("curve == 'AdaGrad'")["epoch"].min() > 2
    assert "printed: AdaGrad" in words(drawn(tmp_path, epochs=2)["tuned"])


def test_stand_in_data_are_stamped_and_never_lie_over_the_paper(tmp_path):
    panels = drawn(tmp_path, provenance="stand-in")
    for axes in panels.values():
        assert printed(axes) == []
        assert "stand-in data" in words(axes)
    caption = panels["tuned"].figure.texts[0].get_text()
    assert "STAND-IN DATA" in caption and "printed" not in caption


def test_the_caption_says_scale_n_and_where_settings_come_from(tmp_path):
    caption = drawn(tmp_path, scale="quick", epochs=20, tuned_at=46)["tuned"].figure.texts[0].get_text()
    for part in ("scale quick", "mean over 5 seeds", "20 passes", "Tuned at 46 passes", "L2 0.0001"):
        assert part in " ".join(caption.split())


def test_curves_are_told_apart_without_colour(tmp_path):
    by_shape = [(str(style["linestyle"]), style["marker"]) for style in figures.STYLES.values()]
    assert len({line for line, _ in by_shape}) == len({marker for _, marker in by_shape}) == len(by_shape)
    in_use = lines(drawn(tmp_path)["tuned"]).values()
    for a, b in itertools.combinations(in_use, 2):
        assert a.get_marker() != b.get_marker()


def test_sensitivity_is_the_final_cost_against_lr_and_divergence_a_cross_at_the_top(tmp_path):
    data = FigureData.load(write_figure(tmp_path, FINALS, grid={**GRID, ("Adam", 1.0): [math.nan, 0.5]}))
    axes = fig1_mnist(data).axes[3]
    assert lines(axes)["Adam"].get_xdata().tolist() == [0.01, 0.1]
    assert lines(axes)["AdaGrad"].get_xdata().tolist() == [0.01, 0.1, 1.0]
    crosses = [line for line in axes.get_lines() if line.get_marker() == "x" and len(line.get_xdata())]
    assert [line.get_xdata().tolist() for line in crosses] == [[1.0]]


def test_a_diverged_run_is_counted_in_the_legend(tmp_path):
    finals = {**FINALS, ("tuned", "Adam"): [0.2, 0.2, math.nan]}
    axes = fig1_mnist(FigureData.load(write_figure(tmp_path, finals))).axes[0]
    line = lines(axes)["Adam"]
    assert line.get_label() == "Adam, lr 0.1, n = 3, 1 diverged"
    assert len(line.get_xdata()) == 0, "a mean over the survivors would flatter"


def test_a_panel_without_runs_says_how_to_make_them(tmp_path):
    finals = {key: value for key, value in FINALS.items() if key[0] == "tuned"}
    panels = fig1_mnist(FigureData.load(write_figure(tmp_path, finals))).axes
    for axes in panels[1:]:
        assert "make reproduce" in words(axes)


def test_equal_data_make_equal_files(tmp_path):
    data = FigureData.load(write_figure(tmp_path, FINALS, grid=GRID))
    first = [path.read_bytes() for path in figures.save(data, data.folder)]
    assert [path.read_bytes() for path in figures.save(data, data.folder)] == first
    assert {path.name for path in tmp_path.iterdir()} >= {"figure.png", "figure.svg"}


def test_the_last_bits_of_a_layout_are_in_no_file(tmp_path):
    """They differ from process to process, and identifiers in an SVG are hashes of positions."""
    made = []
    for bits in (0.0, 1e-13):

        def draw(bits=bits):
            drawn = Figure()
            drawn.add_axes((0.1 + bits, 0.2, 0.7 - bits, 0.6)).plot([0, 1], [0, 1])
            return drawn

        made.append([path.read_bytes() for path in figures.write(draw, tmp_path)])
    assert made[0] == made[1]


@pytest.mark.parametrize(("name", "panels"), [("properties", 6), ("online_convex", 4)])
def test_measurements_are_drawn_every_line_of_them_with_numbers(name, panels):
    drawn = figures.FIGURES[name](Measurements.load(PROJECT_ROOT / "results" / "reference" / name))
    assert len(drawn.axes) == panels
    for axes in drawn.axes:
        assert axes.get_title() and axes.get_xlabel() and axes.get_legend() is not None
        assert all(np.isfinite(line.get_ydata()).all() and len(line.get_ydata()) for line in axes.get_lines())
