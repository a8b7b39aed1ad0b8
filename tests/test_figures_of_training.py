"""Figures 1 (right) to 4: which lines and marks they draw, what their captions say, what incomplete ones show."""

import math

import matplotlib
import numpy as np
import pandas as pd
import pytest
from made_up import ALPHAS, write_diagnostics, write_figure, write_vae_grid
from matplotlib.backends.backend_agg import FigureCanvasAgg

from adam_repro.analysis import figures
from adam_repro.analysis.curves import FigureData
from adam_repro.analysis.figures.section6_4 import LOOKS

FOUR = ("Adam", "SGDNesterov", "AdaGrad", "RMSProp")
CURVES = {
    "fig1_imdb": FOUR,
    "fig1_imdb_no_dropout": FOUR,
    "fig2_dropout": (*FOUR, "AdaDelta"),
    "fig2_deterministic": FOUR,
    "fig3_first_epochs": tuple(name + more for name in FOUR for more in ("", "+dropout")),
    "fig3_full": tuple(name + more for name in FOUR for more in ("", "+dropout")),
}
PRINTED = {
    "fig1_imdb": 4,
    "fig1_imdb_no_dropout": 0,
    "fig2_dropout": 5,
    "fig2_deterministic": 2,
    "fig3_first_epochs": 6,
    "fig3_full": 6,
}
STAND_INS = {"digits": "scikit-learn's digits", "zipf": "bag of words", "shapes": "coloured shapes"}


def draw(folder, name, *, arms=("tuned", "default"), ablation=False, epochs=12, **more):
    costs = {(arm, curve): 0.1 + 0.02 * place for arm in arms for place, curve in enumerate(CURVES[name])}
    if ablation:
        costs |= {("ablation_of_m", "Adam, beta1 = 0"): 0.6, ("ablation_of_v", "Adam, v frozen"): 0.2}
    write_figure(folder, costs, figure=name, epochs=epochs, **more)
    return redraw(folder)


def redraw(folder):
    data = FigureData.load(folder)
    with matplotlib.rc_context(figures.RC):
        return figures.FIGURES[data.provenance["figure"]](data)


def panel(drawn, title):
    (axes,) = (axes for axes in drawn.axes if title in axes.get_title(loc="left"))
    return axes


def lines(axes):
    return {line.get_label(): line for line in axes.get_lines() if not line.get_label().startswith("_")}


def own(axes, curve):
    (line,) = (line for label, line in lines(axes).items() if label.split(", lr")[0] == curve)
    return line


def faint(axes):
    return [line for line in axes.get_lines() if line.get_linewidth() == 5]


def words(axes):
    return " | ".join(text.get_text() for text in axes.texts)


def caption(drawn):
    return " ".join(drawn.texts[0].get_text().split())


@pytest.mark.parametrize("name", CURVES)
def test_every_curve_lies_at_the_papers_x_over_the_printed_ones(tmp_path, name):
    axes = panel(draw(tmp_path, name), "Tuned")
    for curve in CURVES[name]:
        assert own(axes, curve).get_xdata().tolist() == list(range(12))
    assert len(faint(axes)) == PRINTED[name]


@pytest.mark.parametrize("name", CURVES)
@pytest.mark.parametrize("stand_in", STAND_INS)
def test_stand_in_data_are_stamped_named_and_never_lie_over_the_paper(tmp_path, name, stand_in):
    drawn = draw(
        tmp_path, name, provenance="stand-in", dataset={"name": stand_in, "train_examples": 1000}, ablation=True
    )
    assert all("stand-in data" in words(axes) and not faint(axes) for axes in drawn.axes)
    assert STAND_INS[stand_in] in caption(drawn) and "printed" not in caption(drawn)


@pytest.mark.parametrize("name", CURVES)
@pytest.mark.parametrize("arms", [(), ("tuned",), ("default",)])
def test_a_figure_without_an_arm_is_drawn_and_says_what_is_missing(tmp_path, name, arms):
    drawn = draw(tmp_path, name, arms=arms, ablation=not arms, epochs=2, seeds=1)
    large = "default" if name.startswith("fig3") and "tuned" not in arms else "tuned"
    title = {"tuned": "Tuned by", "default": "Default settings, which decide no claim"}[large]
    assert ("make reproduce" in words(panel(drawn, title))) == (large not in arms)
    if not name.startswith("fig1"):
        small = [axes for axes in drawn.axes if axes.get_title(loc="left") == "Default settings"]
        assert len(small) == ("default" in arms and large == "tuned"), "there is no panel of what was not run"
    figures.write(lambda: drawn, tmp_path)


@pytest.mark.parametrize("name", ["fig2_dropout", "fig3_first_epochs"])
def test_settings_nearest_to_the_printed_curves_lie_over_them_in_a_panel_of_their_own(tmp_path, name):
    drawn = draw(tmp_path, name, arms=("tuned", "matched"))
    axes = panel(drawn, "Matched to the printed curves")
    assert len(faint(axes)) == PRINTED[name]
    assert {label.split(", lr")[0].removesuffix(" *") for label in lines(axes)} == set(CURVES[name])
    assert all("L2" in label for label in lines(axes)), "each has an L2 strength of its own"


def test_a_caption_says_on_what_the_figure_rests(tmp_path):
    more = {"scale": "quick", "tuned_at": 2, "tuned_on": 2560, "edges": ["AdaGrad"], "l2": 1e-7, "seeds": 3}
    said = caption(draw(tmp_path, "fig2_deterministic", **more))
    for part in (
        "12 passes",
        "60,000 training examples",
        "geometric mean over 3 seeds, bands their range;",
        "scale quick",
        "Tuned at 2 passes of 2,560 examples",
        "On the edge of its grid: AdaGrad",
        "L2 1e-07",
        "in the legend, of the last 5 passes",
    ):
        assert part in said


@pytest.mark.parametrize(
    ("adagrad", "said"),
    [
        (10, "geometric mean over 10 seeds, bands 95 % bootstrap intervals;"),
        (9, "geometric mean over 9 to 10 seeds, bands 95 % bootstrap intervals, of fewer than 10 their range;"),
    ],
)
def test_a_caption_says_what_bands_are_of_curves_with_few_seeds_and_with_many(tmp_path, adagrad, said):
    finals = {("tuned", "Adam"): [0.2] * 10, ("tuned", "AdaGrad"): [0.3] * adagrad}
    data = FigureData.load(write_figure(tmp_path, finals, figure="fig2_dropout"))
    with matplotlib.rc_context(figures.RC):
        assert said in caption(figures.FIGURES["fig2_dropout"](data))


@pytest.mark.parametrize(("tuned_on", "words"), [(2560, "Tuned at 12 passes of 2,560 examples."), (None, "")])
def test_a_caption_says_that_settings_were_chosen_on_fewer_examples(tmp_path, tuned_on, words):
    said = caption(draw(tmp_path, "fig2_deterministic", tuned_at=12, tuned_on=tuned_on))
    assert words in said and ("Tuned at" in said) == bool(words)


def test_what_the_papers_panel_lacks_is_thin_and_marked(tmp_path):
    axes = panel(draw(tmp_path, "fig2_deterministic"), "Tuned")
    marked = {label.split(",")[0] for label in lines(axes) if label.endswith(" *")}
    assert marked == {"SGDNesterov", "AdaGrad", "RMSProp"}
    assert own(axes, "RMSProp").get_linewidth() < own(axes, "Adam").get_linewidth()


def test_where_nothing_is_printed_nothing_is_marked_or_called_faint(tmp_path):
    drawn = draw(tmp_path, "fig1_imdb_no_dropout")
    assert not any(label.endswith(" *") for label in lines(panel(drawn, "Tuned")))
    assert "Faint" not in caption(drawn) and "*" not in caption(drawn)


def test_sfo_is_drawn_as_printed_and_said_not_to_have_run(tmp_path):
    drawn = draw(tmp_path, "fig2_deterministic")
    axes = panel(drawn, "Tuned")
    assert not any("SFO" in label for label in lines(axes))
    assert "printed: SFO" in words(axes)
    assert "SFO was not run" in caption(drawn)


def test_sfo_that_has_run_stands_with_the_tuned_and_its_masks_have_a_panel(tmp_path):
    arms = {"sfo": 0.01, "sfo_fresh_masks": 0.4, "sfo_frozen_masks": 0.02}
    costs = {("tuned", "Adam"): 0.001} | {(arm, "SFO"): cost for arm, cost in arms.items()}
    write_figure(tmp_path, costs, figure="fig2_deterministic", epochs=26)
    drawn = redraw(tmp_path)
    tuned = panel(drawn, "Tuned")
    assert own(tuned, "SFO").get_ydata()[-1] == pytest.approx(0.01, rel=0.01) and len(faint(tuned)) == 2
    starts = {name: own(tuned, name).get_xdata()[0] for name in ("Adam", "SFO")}
    assert starts == {"Adam": 0, "SFO": 1}, "in print SFO begins with the cost before its first step"
    masks = panel(drawn, "SFO and dropout masks")
    ends = {label.split(", lr")[0]: line.get_ydata()[-1] for label, line in lines(masks).items()}
    assert ends == pytest.approx({"SFO": 0.01, "SFO+dropout": 0.4, "SFO, frozen masks": 0.02}, rel=0.01)
    assert "SFO has nothing to tune" in caption(drawn) and "was not run" not in caption(drawn)


def test_small_costs_are_named_with_digits_that_count(tmp_path):
    write_figure(tmp_path, {("tuned", "Adam"): 6.25e-6}, figure="fig2_deterministic", epochs=26, seeds=5)
    axes = panel(redraw(tmp_path), "Tuned")
    assert axes.get_yscale() == "log" and axes.get_ylim()[0] == pytest.approx(1e-6)
    assert [label.split(": ")[1] for label in lines(axes)] == ["6.25e-06"]


def test_a_single_pass_is_a_marker_that_can_be_seen(tmp_path):
    drawn = draw(tmp_path, "fig2_deterministic", epochs=1, provenance="stand-in")
    canvas = FigureCanvasAgg(drawn)
    for axes in drawn.axes[:2]:
        axes.get_legend().remove()
        canvas.draw()
        for line in (line for line in axes.get_lines() if len(line.get_xdata()) == 1):
            before = np.asarray(canvas.buffer_rgba()).copy()
            line.set_visible(False)
            canvas.draw()
            assert (np.asarray(canvas.buffer_rgba()) != before).any(), line.get_label()


def test_a_short_run_does_not_leave_the_lower_decades_empty(tmp_path):
    axes = panel(draw(tmp_path, "fig2_deterministic", epochs=5), "Tuned")
    assert 0.1 < axes.get_ylim()[0] < 0.4, "they end at 0.46"
    assert axes.get_xlim()[1] < 5


@pytest.mark.parametrize(("name", "scale"), [("fig3_first_epochs", "linear"), ("fig3_full", "log")])
def test_with_dropout_an_optimizer_keeps_its_colour_and_is_hollow(tmp_path, name, scale):
    axes = panel(draw(tmp_path, name), "Tuned")
    assert axes.get_yscale() == scale
    for name in FOUR:
        without, with_dropout = own(axes, name), own(axes, f"{name}+dropout")
        assert without.get_color() == with_dropout.get_color()
        assert (without.get_marker(), without.get_linestyle()) == (
            with_dropout.get_marker(),
            with_dropout.get_linestyle(),
        )
        assert without.get_markerfacecolor() != with_dropout.get_markerfacecolor() == "white"


def test_the_ablations_stand_beside_tuned_adam_in_a_panel_of_their_own(tmp_path):
    drawn = draw(tmp_path, "fig3_full", ablation=True)
    axes = panel(drawn, "either moment")
    names = ["Adam", "Adam, beta1 = 0", "Adam, v frozen"]
    assert [label.split(", lr")[0] for label in lines(axes)] == names
    looks = {(own(axes, name).get_color(), str(own(axes, name).get_linestyle())) for name in names}
    assert len(looks) == len(names)
    assert len(lines(panel(drawn, "Tuned"))) == len(CURVES["fig3_full"])


@pytest.mark.parametrize("name", ["fig3_first_epochs", "fig3_full"])
def test_without_tuned_settings_default_ones_lie_over_the_printed_curves_and_say_that_they_decide_nothing(
    tmp_path, name
):
    drawn = draw(tmp_path, name, arms=("default",))
    axes = panel(drawn, "Default settings, which decide no claim")
    assert len(faint(axes)) == PRINTED[name]
    assert {label.split(", lr")[0] for label in lines(axes)} == set(CURVES[name])
    assert not any("Tuned" in axes.get_title(loc="left") for axes in drawn.axes)
    assert len(lines(panel(drawn, "Test accuracy, default"))) == len(CURVES[name])


@pytest.mark.parametrize("name", ["fig3_first_epochs", "fig3_full"])
def test_where_there_are_diagnostics_each_layer_has_its_share(tmp_path, name):
    assert not any("vanish" in axes.get_title(loc="left") for axes in draw(tmp_path, name).axes)
    shares = {"conv1": [0.0, 0.1], "conv2": [0.2, 0.4], "hidden": [0.9, 1.0], "another": [0.5, 0.5]}
    write_diagnostics(tmp_path, shares)
    shown = lines(panel(redraw(tmp_path), "vanish"))
    assert {layer: pytest.approx(line.get_ydata()) for layer, line in shown.items()} == shares
    named = [line for layer, line in shown.items() if layer != "another"]
    assert len({(line.get_marker(), line.get_linestyle()) for line in named}) == len(named)


def test_diagnostics_of_another_arm_are_missed_in_words(tmp_path):
    draw(tmp_path, "fig3_full", arms=("default",))
    write_diagnostics(tmp_path, {"conv1": [0.5, 0.5]})  # of the tuned arm
    assert "no diagnostics of Adam (default)" in words(panel(redraw(tmp_path), "vanish"))


@pytest.mark.parametrize("name", ["fig2_dropout", "fig3_full"])
def test_test_accuracy_is_shown_from_the_first_pass_on(tmp_path, name):
    shown = lines(panel(draw(tmp_path, name), "Test accuracy"))
    assert set(shown) == set(CURVES[name])
    assert all(line.get_xdata().tolist() == list(range(1, 13)) for line in shown.values())


def test_a_single_evaluation_stands_behind_the_passes_before_it(tmp_path):
    draw(tmp_path, "fig2_dropout", epochs=4)
    curves = pd.read_csv(tmp_path / "curves.csv")
    curves.loc[curves["epoch"] < 4, "test_accuracy"] = math.nan
    curves.to_csv(tmp_path / "curves.csv", index=False)
    accuracy = panel(redraw(tmp_path), "Test accuracy")
    assert {tuple(line.get_xdata()) for line in lines(accuracy).values()} == {(4,)}
    assert accuracy.get_xlim() == (0, 4.5) and list(accuracy.get_xticks()) == [0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize("name", ["fig2_dropout", "fig3_full"])
def test_legends_of_small_panels_lie_below_their_curves(tmp_path, name):
    drawn = draw(tmp_path, name)
    drawn.draw_without_rendering()
    for title in ("Default", "Test accuracy"):
        axes = panel(drawn, title)
        assert axes.get_legend().get_window_extent().y1 < axes.get_window_extent().y0
        assert axes.get_legend().get_window_extent().y0 > drawn.texts[0].get_window_extent().y1, "above the caption"


def test_no_text_is_cut_off_or_lies_on_the_caption(tmp_path):
    for name in CURVES:
        drawn = draw(tmp_path / name, name, arms=("tuned", "default", "matched"), ablation=True)
        drawn.draw_without_rendering()
        for axes in drawn.axes:
            legends = [legend] if (legend := axes.get_legend()) else []
            for text in (axes._left_title, axes.xaxis.label, *legends):
                box = text.get_window_extent()
                assert box.x1 <= drawn.bbox.x1 + 1 and box.x0 >= -1, (name, text)
                said = text in legends or text.get_text()
                assert not said or box.y0 > drawn.texts[0].get_window_extent().y1, (name, text)


def vae(form, beta1, beta2, lr, seed):
    if form == "uncorrected" and lr == 1e-2:
        return math.nan if seed == 0 else 110.0
    return {1e-2: 150.0}.get(lr, 100 + 10 * abs(math.log10(lr) + 3))


def draw_vae(folder, cost=vae, **more):
    return redraw(write_vae_grid(folder, cost, **more))


def test_a_block_for_each_milestone_has_rows_of_beta1_and_columns_of_beta2(tmp_path):
    drawn = draw_vae(tmp_path)
    row = [f"β1 = {beta1}, β2 = {beta2}" for beta1 in ("0", "0.9") for beta2 in ("0.99", "0.999", "0.9999")]
    assert [axes.get_title(loc="left") for axes in drawn.axes] == row * 2
    assert [block.get_suptitle() for block in drawn.subfigs] == ["after 10 passes", "after 100 passes"]
    assert {axes.get_xlim() for axes in drawn.axes} == {(-5, -1)}
    assert {axes.get_ylim() for axes in drawn.axes} == {(95, 140)}


def test_three_forms_are_drawn_against_log_alpha_told_apart_without_colour(tmp_path):
    drawn = draw_vae(tmp_path)
    shown = lines(drawn.axes[0])
    assert len(shown) == 3
    for line in shown.values():
        assert line.get_xdata() == pytest.approx(np.log10(ALPHAS))
    assert len({line.get_marker() for line in shown.values()}) == 3
    assert len({str(look["linestyle"]) for look in LOOKS.values()}) == 3


def test_the_suites_four_are_thin_lines_at_their_cost_after_the_same_passes(tmp_path):
    write_vae_grid(tmp_path, vae)
    finals, costs = pd.read_csv(tmp_path / "finals.csv"), {"Adam": 101.0, "AdaGrad": 125.0}
    for name, cost in costs.items():
        for passes in (10, 100):
            for seed in range(2):
                settings = ["tuned", name, 3e-3, "constant", "{}", 0.0, seed, "finished", 0, passes]
                finals.loc[len(finals)] = [*settings, cost + seed - passes / 100, cost, cost, math.nan, "record"]
    finals.to_csv(tmp_path / "finals.csv", index=False)
    drawn = redraw(tmp_path)
    for place, axes in enumerate(drawn.axes):
        passes = (10, 100)[place // 6]
        found = {label: line.get_ydata()[0] for label, line in lines(axes).items() if "lr 0.003" in label}
        assert found == {f"{name}, lr 0.003, n = 2": cost + 0.5 - passes / 100 for name, cost in costs.items()}
    (below,) = drawn.legends
    assert [text.get_text() for text in below.get_texts()] == list(found)


def test_divergence_is_a_cross_and_what_lies_above_the_axis_a_triangle(tmp_path):
    axes = draw_vae(tmp_path).axes[0]
    corrected, uncorrected = (line.get_color() for line in list(lines(axes).values())[:2])
    marks = [
        (line.get_marker(), line.get_color(), line.get_xdata().tolist())
        for line in axes.get_lines()
        if line.get_label().startswith("_") and line.get_marker() in ("x", "^") and len(line.get_xdata())
    ]
    assert marks == [("^", corrected, [-2.0]), ("x", uncorrected, [-2.0])]


def test_a_mean_over_surviving_seeds_is_not_drawn(tmp_path):
    line = list(lines(draw_vae(tmp_path).axes[0]).values())[1]
    assert np.isnan(line.get_ydata()[-1]) and np.isfinite(line.get_ydata()[:-1]).all()


@pytest.mark.parametrize(("milestones", "more", "there"), [((10, 100), {}, 2), ((20,), {}, 0)])
def test_printed_points_are_those_of_the_same_passes(tmp_path, milestones, more, there):
    drawn = draw_vae(tmp_path, milestones=milestones, **more)
    assert all(sum(len(line.get_xdata()) > 0 for line in faint(axes)) == there for axes in drawn.axes)
    assert len(drawn.subfigs) == len(milestones)


def test_the_stand_ins_grid_is_stamped_and_without_the_papers_points(tmp_path):
    facts = {"provenance": "stand-in", "dataset": {"name": "digits", "train_examples": 1500}}
    drawn = draw_vae(tmp_path, milestones=(10,), **facts)
    assert all("stand-in data" in words(axes) and not faint(axes) for axes in drawn.axes)
    assert "scikit-learn's digits" in caption(drawn) and "the paper's" not in caption(drawn)


def test_the_axis_is_opened_where_all_lies_above_the_papers(tmp_path):
    axes = draw_vae(tmp_path, lambda form, beta1, beta2, lr, seed: 180 + lr, milestones=(1,)).axes[0]
    assert axes.get_ylim()[1] > 181


@pytest.mark.parametrize(
    "more", [{"forms": ()}, {"forms": ("control",)}, {"alphas": (1e-3,)}, {"beta2s": (0.999,)}, {"seeds": 1}]
)
def test_an_incomplete_grid_is_drawn(tmp_path, more):
    drawn = draw_vae(tmp_path, **more)
    assert drawn.axes
    assert ("make reproduce" in words(drawn.axes[0])) == (more.get("forms") == ())
    figures.write(lambda: drawn, tmp_path)


def test_settings_of_a_grid_that_ran_longer_are_a_block_of_their_own_panels_alone(tmp_path):
    write_vae_grid(tmp_path, vae, epochs=10)
    table = pd.read_csv(tmp_path / "finals.csv")
    few = (table["lr"] == 1e-3) & table["hyper"].str.contains('"beta1": 0.9, "beta2": 0.999,')
    table[(table["epochs"] == 10) | few].to_csv(tmp_path / "finals.csv", index=False)
    drawn = redraw(tmp_path)
    assert [block.get_suptitle() for block in drawn.subfigs] == ["after 10 passes", "after 100 passes"]
    assert [len(block.axes) for block in drawn.subfigs] == [6, 1]
    assert "10 passes, minibatches" in words(drawn) and "Some settings: 100 passes" in words(drawn)


@pytest.mark.parametrize(("alphas", "n"), [([], "1"), ([1e-3, 3e-3], "1 to 5")])
def test_a_panel_of_fewer_seeds_than_the_others_says_so(tmp_path, alphas, n):
    write_vae_grid(tmp_path, vae)
    table = pd.read_csv(tmp_path / "finals.csv")
    fewer = (table["epochs"] == 100) & table["hyper"].str.contains('"beta1": 0.0, "beta2": 0.999,')
    table[~fewer | (table["seed"] == 3) | table["lr"].isin(alphas)].to_csv(tmp_path / "finals.csv", index=False)
    titles = [axes.get_title(loc="left") for axes in redraw(tmp_path).axes]
    assert [title for title in titles if "n =" in title] == [f"β1 = 0, β2 = 0.999, n = {n}"]


@pytest.mark.parametrize("milestones", [(10,), (10, 100)])
def test_tuned_optimizers_stand_in_a_legend_of_their_own_that_has_room(tmp_path, milestones):
    folder = write_vae_grid(tmp_path / "grid", vae, milestones=milestones, forms=("corrected", "uncorrected"))
    four = {("tuned", name): 120.0 for name in ("Adam", "SGDNesterov", "AdaGrad", "RMSProp")}
    tuned = pd.read_csv(write_figure(tmp_path / "tuned", four, figure="fig4") / "finals.csv")
    every = [pd.read_csv(folder / "finals.csv"), *(tuned.assign(epochs=milestone) for milestone in milestones)]
    pd.concat(every).to_csv(folder / "finals.csv", index=False)
    drawn = redraw(folder)
    drawn.draw_without_rendering()
    (legend,) = drawn.legends
    assert {text.get_text().split(",")[0] for text in legend.get_texts()} == {name for _, name in four}
    box = legend.get_window_extent()
    assert box.x0 >= 0 and box.x1 <= drawn.bbox.x1 and box.y0 > drawn.texts[0].get_window_extent().y1
    assert box.y1 < min(axes.xaxis.label.get_window_extent().y0 for axes in drawn.axes if axes.get_xlabel())


def test_a_grid_in_which_all_diverged_is_drawn(tmp_path):
    figures.save(FigureData.load(write_vae_grid(tmp_path, lambda *setting: math.nan)), tmp_path)
