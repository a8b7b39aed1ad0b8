"""What figures and claims are made from: loaded whole or refused by name, averaged over seeds."""

import math

import pandas as pd
import pytest
from made_up import write_figure

from adam_repro.analysis.curves import FigureData, paper_curves, summary
from adam_repro.errors import UserError


def test_a_figure_is_loaded_with_its_arms(tmp_path):
    data = FigureData.load(write_figure(tmp_path, {("tuned", "Adam"): 0.2, ("default", "Adam"): 0.3}))
    assert len(data.arm("tuned")) == 5
    assert data.arm("default")["train_cost"].mean() == pytest.approx(0.3)
    assert data.provenance["figure"] == "fig1_mnist"


PLACES = {  # the commands that make a figure's files, by where they lie
    "paper/fig1_mnist": "Run `make reproduce SCALE=paper FIGURE=fig1_mnist` to make",
    "reference/fig1_mnist": "Run `make reproduce SCALE=paper FIGURE=fig1_mnist` and `make adopt FIGURE=fig1_mnist` to",
    "compare/quick/fig1_mnist/NAdam": "Run `make compare SCALE=quick FIGURE=fig1_mnist` with the OPTIMIZER= of NAdam",
}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("name", ["curves.csv", "finals.csv", "provenance.json"])
def test_a_missing_file_is_named_with_the_command_that_makes_it(tmp_path, name, place):
    folder = write_figure(tmp_path / place, {("tuned", "Adam"): 0.2})
    (folder / name).unlink()
    with pytest.raises(UserError, match=f"{name} is missing. {PLACES[place]}"):
        FigureData.load(folder)


@pytest.mark.parametrize("place", PLACES)
def test_a_file_of_other_columns_is_refused(tmp_path, place):
    folder = write_figure(tmp_path / place, {("tuned", "Adam"): 0.2})
    pd.read_csv(folder / "finals.csv").drop(columns="seed").to_csv(folder / "finals.csv", index=False)
    with pytest.raises(UserError, match=f"finals.csv has the columns.*{PLACES[place]}"):
        FigureData.load(folder)


def test_the_printed_curves_are_those_of_the_panel():
    printed = paper_curves("1L")
    assert set(printed["curve"]) == {"Adam", "SGDNesterov", "AdaGrad"}
    ends = printed.groupby("curve")["training_cost"].last()
    assert ends["AdaGrad"] > 1.5 * ends["Adam"], "as a reader of the paper sees at once"
    assert set(printed.columns) == {"curve", "epoch", "training_cost"}


def test_a_summary_is_the_geometric_mean_over_seeds_and_of_a_few_their_range(tmp_path):
    data = FigureData.load(write_figure(tmp_path, {("tuned", "Adam"): [0.2, 0.4, 0.8]}, epochs=12))
    rows = summary(data.curves, "train_cost", arm="tuned").set_index("epoch")
    assert rows.index.tolist() == list(range(1, 13)), "row 0 has no training cost"
    assert rows.loc[12, ["low", "mean", "high"]].tolist() == pytest.approx([0.2, 0.4, 0.8])
    assert rows.loc[1, ["low", "mean", "high"]].tolist() == pytest.approx([0.7] * 3)
    assert set(rows["n"]) == {3}


def test_where_a_seed_diverged_no_mean_over_the_survivors_is_shown(tmp_path):
    data = FigureData.load(
        write_figure(tmp_path, {("tuned", "Adam"): [0.2, math.nan], ("tuned", "AdaGrad"): [0.3, 0.3]})
    )
    assert set(summary(data.curves, "train_cost", arm="tuned")["curve"]) == {"AdaGrad"}
    assert summary(data.curves, "train_cost", arm="no such arm").empty
