"""L25, L27 and L28: suggested settings, and the order of optimizers under a wider search."""

import math

import matplotlib
import pandas as pd
import pytest
from made_up import write_figure, write_vae_grid

from adam_repro.analysis import claims, figures
from adam_repro.analysis.claims.everywhere import Everything
from adam_repro.analysis.curves import FigureData

FOUR = ("Adam", "SGDNesterov", "AdaGrad", "RMSProp")
SAME = {"narrow": (0.20, 0.22, 0.24, 0.28), "tuned": (0.19, 0.20, 0.22, 0.25)}


def wide(folder, *, adamax=(0.21, 0.20), seeds=5, **arms):
    costs = {(arm, curve): cost for arm, row in (SAME | arms).items() for curve, cost in zip(FOUR, row, strict=True)}
    costs |= {("default", "AdaMax"): adamax[0], ("tuned", "AdaMax"): adamax[1]}
    return write_figure(folder, costs, figure="fig1_mnist_wide", seeds=seeds)


def verdict(folder, id):
    return claims.decide(folder).set_index("claim").loc[id]


@pytest.mark.parametrize(("default", "expected"), [(0.235, "supported"), (0.245, "contradicted")])
def test_adamax_defaults_are_good_up_to_a_fifth(tmp_path, default, expected):
    row = verdict(wide(tmp_path, adamax=(default, 0.20)), "L25")
    assert row["verdict"] == expected and row["effect"] == pytest.approx(default / 0.20, rel=0.01)
    assert "tuned 1.05" in row["note"]


def test_without_adamax_nothing_is_said_of_it(tmp_path):
    folder = write_figure(tmp_path, {("tuned", "Adam"): 0.2}, figure="fig1_mnist_wide")
    row = verdict(folder, "L25")
    assert row["verdict"] == "inconclusive" and "not run: AdaMax (tuned)" in row["note"]


@pytest.mark.parametrize(("loss", "expected"), [(0.1975, "supported"), (0.1985, "contradicted")])
def test_averages_are_better_by_more_than_a_hundredth(tmp_path, loss, expected):
    seeds = [1 + 1e-4 * seed for seed in range(5)]
    costs = {("narrow", "Adam"): [0.2 * each for each in seeds], ("default", "Adam"): [0.3 * each for each in seeds]}
    costs |= {("averaged", "AveragedAdam"): [loss * each for each in seeds]}
    costs |= {("default", "AveragedAdam"): [0.27 * each for each in seeds]}
    row = verdict(write_figure(tmp_path, costs, figure="fig1_mnist_wide"), "L26")
    assert row["verdict"] == expected and row["effect"] == pytest.approx(loss / 0.2)
    assert "alpha constant: 0.9000" in row["note"]


def test_an_order_that_stays_is_supported(tmp_path):
    row = verdict(wide(tmp_path), "L28")
    assert (row["verdict"], row["effect"], row["low"], row["n"]) == ("supported", 1, 1, 5)
    assert "narrow: Adam < SGDNesterov < AdaGrad < RMSProp" in row["note"] and "no pair changes" in row["note"]


def test_a_pair_that_changes_places_contradicts(tmp_path):
    row = verdict(wide(tmp_path, tuned=(0.20, 0.19, 0.22, 0.25)), "L28")
    assert row["verdict"] == "contradicted" and row["effect"] == pytest.approx(2 / 3)
    assert "Adam < SGDNesterov becomes >" in row["note"]


def test_a_pair_that_becomes_level_contradicts_too(tmp_path):
    row = verdict(wide(tmp_path, seeds=20, tuned=(0.2000, 0.2002, 0.22, 0.25)), "L28")
    assert row["verdict"] == "contradicted" and "Adam < SGDNesterov becomes =" in row["note"]


def test_a_pair_that_cannot_be_told_leaves_it_open(tmp_path):
    noisy = [0.18, 0.25, 0.19, 0.24, 0.21]
    row = verdict(wide(tmp_path, tuned=(0.15, noisy, 0.21, 0.5)), "L28")
    assert row["verdict"] == "inconclusive" and "SGDNesterov and AdaGrad" in row["note"].partition("undecided")[2]


def test_two_seeds_are_too_few_for_an_order(tmp_path):
    assert "n too small: 2 seeds" in verdict(wide(tmp_path, seeds=2), "L28")["note"]


def tasks(folder, ratios):
    made = {}
    for name, ratio in ratios.items():
        costs = {("tuned", "Adam"): 0.2, ("default", "Adam"): 0.2 * ratio}
        made[name] = FigureData.load(write_figure(folder / name, costs, figure=name))
    return claims.examined(claims.of_figure("overview"), Everything(made)).set_index("claim").loc["L27"]


def test_the_median_task_decides_how_much_tuning_adam_needs(tmp_path):
    names = ("fig1_mnist", "fig1_imdb", "fig2_dropout")
    little = tasks(tmp_path / "little", dict(zip(names, (1.05, 3.0, 1.1), strict=True)))
    assert little["verdict"] == "supported" and little["effect"] == pytest.approx(1.1)
    assert (little["low"], little["high"], little["n"]) == (pytest.approx(1.05), pytest.approx(3), 3)
    much = tasks(tmp_path / "much", dict(zip(names, (1.05, 3.0, 1.3), strict=True)))
    assert much["verdict"] == "contradicted"
    lost = tasks(tmp_path / "lost", dict(zip(names, (1.05, math.nan, 1.1), strict=True)))
    assert lost["verdict"] == "supported" and lost["high"] == math.inf


def test_a_grid_that_has_the_default_settings_stands_for_a_default_arm(tmp_path):
    def cost(form, beta1, beta2, lr, seed):
        return 110.0 if (form, beta1, beta2, lr) == ("corrected", 0.9, 0.999, 1e-3) else 150.0

    folder = write_vae_grid(tmp_path / "fig4", cost, epochs=10)  # the rows of 100 passes are beyond the figure's
    finals = pd.read_csv(folder / "finals.csv")
    tuned = (
        finals[(finals["arm"] == "grid") & (finals["lr"] == 3e-5) & (finals["epochs"] == 10)].groupby("seed").head(1)
    )
    beyond = finals.assign(train_cost=finals["train_cost"].where(finals["epochs"] == 10, 1.0))
    both = pd.concat([beyond, tuned.assign(arm="tuned", train_cost=100.0)])
    both.to_csv(folder / "finals.csv", index=False)
    made = {"fig4": FigureData.load(folder)}
    for name in ("fig1_mnist", "fig1_imdb"):
        costs = {("tuned", "Adam"): 0.2, ("default", "Adam"): 0.2}
        made[name] = FigureData.load(write_figure(tmp_path / name, costs, figure=name))
    made["fig3_full"] = FigureData.load(write_figure(tmp_path / "fig3", {("tuned", "Adam"): 0.2}, figure="fig3_full"))
    row = claims.examined(claims.of_figure("overview"), Everything(made)).set_index("claim").loc["L27"]
    assert (row["high"], row["n"]) == (pytest.approx(1.1), 3) and "fig4 1.1" in row["note"]


def test_two_tasks_are_too_few_and_one_is_not_counted_twice(tmp_path):
    row = tasks(tmp_path, {"fig1_mnist": 1.05, "fig1_mnist_wide": 1.05, "fig1_imdb": 1.1})
    assert row["verdict"] == "inconclusive" and "2 tasks" in row["note"]


def test_the_figure_has_a_row_for_each_optimizer_and_a_mark_for_each_protocol(tmp_path):
    data = FigureData.load(wide(tmp_path, tuned=(0.19, 0.20, math.nan, 0.25)))
    with matplotlib.rc_context(figures.RC):
        above, below = figures.FIGURES["fig1_mnist_wide"](data).axes
    assert {label.get_text() for label in above.get_yticklabels()} == {*FOUR, "AdaMax"}
    marks = [len(points.get_offsets()) for points in above.collections if hasattr(points, "get_sizes")]
    assert marks == [1, 4, 4]  # AdaGrad diverged in the wide search
    assert any(text.startswith("AdaGrad") and "diverged" in text for text in map(str, _labels(below)))


def _labels(axes):
    return [text.get_text() for text in axes.get_legend().get_texts()]
