"""What Figure 4's printed points tell of the loss that they show."""

from __future__ import annotations

import math

import pandas as pd
import pytest
from made_up import write_vae_grid

from adam_repro.analysis.curves import FigureData, paper_figure_4
from adam_repro.analysis.grid import READINGS, readings

POINTS = paper_figure_4()
AFTER_10 = POINTS[POINTS["epochs"] == 10].drop(columns="epochs").set_index(["beta1", "beta2", "alpha"])


def printed(form, *cell):
    """The printed point after 10 passes; diverged where there is none."""
    column = "bias_corrected_loss" if form == "corrected" else "uncorrected_loss"
    return AFTER_10[column].get(cell[:3], math.nan)


def read(tmp_path, cost):
    folder = write_vae_grid(tmp_path / "fig4", cost, milestones=(10,), seeds=2)
    return {reading.plotted: reading for reading in readings(FigureData.load(folder))}


def test_points_that_are_the_printed_ones_are_no_way_off_and_another_reading_by_what_it_adds(tmp_path):
    found = read(tmp_path, printed)
    training, test = found[READINGS["train_cost"]], found[READINGS["test_loss"]]
    assert training.points == test.points == AFTER_10.notna().sum().sum()
    assert training.corrected == training.uncorrected == training.differences == 0
    assert training.agree == training.pairs == len(AFTER_10.dropna())
    assert (training.readable, training.readable - training.not_run) == (41, training.pairs)
    assert test.corrected == test.uncorrected == pytest.approx(1) and test.differences == pytest.approx(0)
    assert list(found)[-1] == READINGS["test_loss"], "nearest first"


def test_a_point_of_which_a_seed_diverged_is_none_and_pairs_that_are_the_other_way_round_are_counted(tmp_path):
    lost = AFTER_10.dropna().index[0]

    def cost(form, *cell):
        if cell == (*lost, 1):
            return math.nan
        return printed("uncorrected" if form == "corrected" else "corrected", *cell)

    training = read(tmp_path, cost)[READINGS["train_cost"]]
    assert training.pairs == len(AFTER_10.dropna()) - 1 and training.agree == 0


def test_pairs_of_fewer_seeds_than_the_others_are_counted(tmp_path):
    folder = write_vae_grid(tmp_path / "fig4", printed, milestones=(10,), seeds=3)
    table = pd.read_csv(folder / "finals.csv")
    one_form = table["hyper"].str.contains('"beta1": 0.0, "beta2": 0.999,') & table["hyper"].str.contains("true")
    table[~one_form | (table["seed"] == 0) | (table["arm"] == "control")].to_csv(folder / "finals.csv", index=False)
    fewer = len(AFTER_10.dropna().loc[0.0, 0.999])
    assert fewer > 0
    assert {(each.seeds, each.fewer_seeds) for each in readings(FigureData.load(folder))} == {(3, fewer)}
