"""Time to target: when curves come down to levels that were fixed beforehand."""

import math

import pandas as pd
import pytest
from made_up import write_figure, write_passes

from adam_repro.analysis.curves import FigureData
from adam_repro.analysis.targets import TARGETS, solo_steps, times_to_target

PATHS = {
    "Adam": [0.7, 0.31, 0.29, 0.275, 0.26],
    "SGDNesterov": [0.7, 0.4, 0.31, 0.29, 0.275],
    "AdaGrad": [0.7, 0.6, 0.5, 0.45, 0.42],
}
STEPS = math.ceil(60_000 / 128)


def arrivals(folder, paths=PATHS, step_ms=None, **more):
    write_passes(folder, paths, **more)
    found = times_to_target(FigureData.load(folder), step_ms or {})
    return {(arrival.target, arrival.curve): arrival for arrival in found}


def test_the_median_over_seeds_counts_passes_from_one_and_steps_with_the_last_minibatch(tmp_path):
    found = arrivals(tmp_path / "fig1_mnist")
    assert found[0.30, "Adam"].passes == 3 and found[0.30, "Adam"].steps == 3 * STEPS
    assert found[0.30, "SGDNesterov"].passes == 4
    assert (found[0.30, "Adam"].missed, found[0.30, "Adam"].seeds) == (0, 5)


def test_a_curve_that_misses_has_no_time_and_ranks_last(tmp_path):
    found = arrivals(tmp_path / "fig1_mnist")
    missed = found[0.30, "AdaGrad"]
    assert math.isinf(missed.passes) and missed.missed == 5
    assert [curve for target, curve in found if target == 0.30] == ["Adam", "SGDNesterov", "AdaGrad"]


def test_the_median_is_of_all_seeds_those_that_missed_included(tmp_path):
    folder = write_passes(tmp_path / "fig1_mnist", PATHS)
    curves = pd.read_csv(folder / "curves.csv")
    slow = (curves["curve"] == "Adam") & curves["seed"].isin((0, 1)) & (curves["epoch"] > 0)
    curves.loc[slow, "train_cost"] = 0.6
    curves.to_csv(folder / "curves.csv", index=False)
    first, *_ = (found for found in times_to_target(FigureData.load(folder), {}) if found.curve == "Adam")
    assert (first.missed, first.passes) == (2, 3)
    curves.loc[(curves["curve"] == "Adam") & (curves["seed"] == 2) & (curves["epoch"] > 0), "train_cost"] = 0.6
    curves.to_csv(folder / "curves.csv", index=False)
    late = [found for found in times_to_target(FigureData.load(folder), {}) if found.curve == "Adam"]
    assert late[0].missed == 3 and math.isinf(late[0].passes)


def test_seconds_are_steps_times_the_time_of_a_step_where_it_was_measured(tmp_path):
    found = arrivals(tmp_path / "fig1_mnist", step_ms={("logistic_mnist", "Adam"): 2.0})
    assert found[0.30, "Adam"].seconds == pytest.approx(3 * STEPS * 0.002)
    assert arrivals(tmp_path / "again", step_ms={("mlp", "Adam"): 2.0})[0.30, "Adam"].seconds is None


def test_steps_of_sfo_are_its_own_minibatches(tmp_path):
    paths, arms = {"Adam": [0.7, 0.09], "SFO": [0.7, 0.09]}, {"SFO": "sfo"}
    folder = write_passes(tmp_path / "fig2_deterministic", paths, arms=arms, figure="fig2_deterministic")
    finals = pd.read_csv(folder / "finals.csv")
    finals.loc[finals["curve"] == "SFO", "hyper"] = '{"subfunctions":24}'
    finals.to_csv(folder / "finals.csv", index=False)
    at_first = times_to_target(FigureData.load(folder), {})[:2]
    found = {arrival.curve: arrival for arrival in at_first}
    assert (found["Adam"].passes, found["SFO"].passes) == (2, 2)
    assert (found["Adam"].steps, found["SFO"].steps) == (2 * STEPS, 2 * 24)
    step_ms = {("mlp", "Adam without dropout"): 2.0}
    timed = {N: times_to_target(FigureData.load(folder), step_ms, {N: 1.5})[:2] for N in (24, 12)}
    seconds = {N: {arrival.curve: arrival.seconds for arrival in found} for N, found in timed.items()}
    assert seconds[24]["Adam"] == seconds[12]["Adam"] == pytest.approx(2 * STEPS * 0.002)
    assert seconds[24]["SFO"] == pytest.approx(1.5 * 2 * STEPS * 0.002), "a pass of its own, in passes of Adam"
    assert seconds[12]["SFO"] is None, "so many minibatches were not timed"


def test_steps_with_dropout_are_not_taken_for_steps_without(tmp_path):
    paths = {name: [1.0, 0.005] for name in ("Adam", "Adam+dropout")}
    found = arrivals(tmp_path / "fig3_full", paths, {("cnn", "Adam"): 500.0}, figure="fig3_full")
    assert found[0.01, "Adam"].seconds is None
    assert found[0.01, "Adam+dropout"].seconds == pytest.approx(found[0.01, "Adam+dropout"].steps / 2)
    found = arrivals(tmp_path / "again", paths, {("cnn", "Adam without dropout"): 250.0}, figure="fig3_full")
    assert found[0.01, "Adam"].seconds == pytest.approx(found[0.01, "Adam"].steps / 4)
    assert found[0.01, "Adam+dropout"].seconds is None


def test_the_printed_curve_stands_beside_ours_counted_alike(tmp_path):
    found = arrivals(tmp_path / "fig1_mnist", PATHS | {"RMSProp": PATHS["Adam"]})
    assert found[0.27, "Adam"].printed == 15  # x = 14
    assert found[0.27, "SGDNesterov"].printed == 31
    assert math.isinf(found[0.30, "AdaGrad"].printed)
    assert found[0.30, "RMSProp"].printed is None


def test_stand_in_data_are_held_against_neither_print_nor_the_bench(tmp_path):
    found = arrivals(tmp_path / "fig1_mnist", step_ms={("logistic_mnist", "Adam"): 2.0}, provenance="stand-in")
    assert {(arrival.printed, arrival.seconds) for arrival in found.values()} == {(None, None)}


def test_a_figure_without_levels_or_without_tuned_runs_has_no_times(tmp_path):
    assert arrivals(tmp_path / "fig4", figure="fig4") == {}
    write_figure(tmp_path / "fig1_mnist", {("default", "Adam"): 0.25})
    assert times_to_target(FigureData.load(tmp_path / "fig1_mnist"), {}) == []


def test_the_printed_curves_reach_each_of_their_figures_levels(tmp_path):
    for figure in set(TARGETS) - {"fig1_imdb_no_dropout"}:  # which the paper does not show
        folder = write_passes(tmp_path / figure, {"Adam": [1.0, 1.0]}, figure=figure)
        found = times_to_target(FigureData.load(folder), {})
        assert [arrival.target for arrival in found] == list(TARGETS[figure]), figure
        reached = [math.isfinite(arrival.printed) for arrival in found]
        assert all(reached), (figure, reached)


def test_a_solo_step_is_read_from_the_bench_whatever_else_it_has():
    rows = [("mlp", "typical", 29.0), ("mlp", "solo", 20.0), ("mlp", "run", 21.0), ("cnn", "typical", 900.0)]
    rows += [("mlp", "solo AdaGrad", 19.0), ("mlp", "bare loop", 20.0), ("mlp", "solo Adam without dropout", 18.0)]
    measured = [{"workload": workload, "variant": variant, "ms_per_member_step": ms} for workload, variant, ms in rows]
    steps = {("mlp", "Adam"): 20.0, ("mlp", "AdaGrad"): 19.0, ("mlp", "Adam without dropout"): 18.0}
    assert solo_steps({"measured": measured}) == steps
