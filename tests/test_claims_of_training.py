"""Sections 6.1 (IMDB) to 6.3: each verdict in both directions, and figures of which something is missing."""

import math

import pandas as pd
import pytest
from made_up import write_diagnostics, write_figure, write_passes

from adam_repro.analysis.claims import LEDGER, decide

FOUR = ("Adam", "SGDNesterov", "AdaGrad", "RMSProp")
FIGURES = ("fig1_imdb", "fig1_imdb_no_dropout", "fig2_dropout", "fig2_deterministic", "fig3_first_epochs", "fig3_full")
CIFAR = {"name": "cifar10", "train_examples": 50_000}
IMDB = {"name": "imdb", "train_examples": 25_000}


def tuned(**costs):
    return {("tuned", curve): cost for curve, cost in costs.items()}


def verdicts(folder):
    return decide(folder).set_index("claim")


def imdb(folder, *, figure="fig1_imdb", **costs):
    return verdicts(write_figure(folder, tuned(**costs), figure=figure, epochs=176, dataset=IMDB))


@pytest.mark.parametrize(("id", "figure"), [("L9", "fig1_imdb"), ("L10", "fig1_imdb_no_dropout")])
def test_adagrad_is_better_than_nesterov_only_by_more_than_the_margin(tmp_path, id, figure):
    margin = LEDGER[id].margin
    far, near = (0.25 * (1 + margin) * factor for factor in (1.02, 0.98))
    assert imdb(tmp_path / "far", figure=figure, AdaGrad=0.25, SGDNesterov=far).loc[id, "verdict"] == "supported"
    assert imdb(tmp_path / "near", figure=figure, AdaGrad=0.25, SGDNesterov=near).loc[id, "verdict"] == "contradicted"


def test_the_last_ten_passes_decide_on_imdb(tmp_path):
    """The last five alone would say that AdaGrad is worse."""
    path = [0.3] * 20 + [0.2] * 5
    folder = write_passes(
        tmp_path, {"AdaGrad": path, "SGDNesterov": [0.5] * 20 + [0.19] * 5}, figure="fig1_imdb", dataset=IMDB
    )
    for name in ("finals.csv", "curves.csv"):
        rows = pd.read_csv(folder / name)
        pd.concat([rows, rows.assign(arm="default")]).to_csv(folder / name, index=False)
    frame = verdicts(folder)
    assert frame.loc["L9", "effect"] == pytest.approx(0.25 / 0.345, rel=0.01)
    assert f"default settings: {frame.loc['L9', 'effect']:.3f} (n = 5)" in frame.loc["L9", "note"]
    assert "reduced: 25 of 176 passes" in frame.loc["L9", "note"]


def test_a_curve_in_print_stands_beside_ours(tmp_path):
    frame = imdb(tmp_path, AdaGrad=0.25, SGDNesterov=0.35)
    assert frame.loc["L9", "matched"] == "printed 0.703"


SOON, LATE, NEVER = [0.3, 0.24, 0.24, 0.24], [0.3, 0.3, 0.24, 0.24], [0.3, 0.3, 0.3, 0.3]


@pytest.mark.parametrize(
    ("adam", "adagrad", "verdict"),
    [
        (SOON, LATE, "supported"),
        (SOON, SOON, "supported"),
        (LATE, SOON, "contradicted"),
        (NEVER, NEVER, "inconclusive"),
        (SOON, NEVER, "inconclusive"),  # five signs do not reach 5 %
    ],
)
def test_adam_is_as_fast_as_adagrad_by_the_ratio_of_passes(tmp_path, adam, adagrad, verdict):
    frame = verdicts(write_passes(tmp_path, {"Adam": adam, "AdaGrad": adagrad}, figure="fig1_imdb"))
    assert frame.loc[["L11a", "L11b"], "verdict"].tolist() == [verdict] * 2


def test_a_miss_counts_as_infinitely_many_passes(tmp_path):
    frame = verdicts(write_passes(tmp_path, {"Adam": SOON, "AdaGrad": NEVER}, figure="fig1_imdb"))
    assert frame.loc["L11a", "effect"] == 0
    assert "a run that misses the target counts as lost" in frame.loc["L11a", "note"]
    assert "Adam 1 and AdaGrad never" in frame.loc["L11a", "note"]


def test_seeds_with_which_neither_reaches_the_target_are_left_out_and_counted(tmp_path):
    folder = write_passes(tmp_path, {"Adam": SOON, "AdaGrad": LATE}, figure="fig1_imdb")
    curves = pd.read_csv(folder / "curves.csv")
    curves.loc[curves["seed"] == 0, "train_cost"] = 0.4
    curves.to_csv(folder / "curves.csv", index=False)
    frame = verdicts(folder)
    assert frame.loc["L11a", "n"] == 4
    assert frame.loc["L11a", "verdict"] == "supported"
    assert "seeds with which neither reaches it, left out: 1" in frame.loc["L11a", "note"]


def test_adam_is_held_against_each_of_four_rivals_with_dropout(tmp_path):
    costs = tuned(Adam=0.1, SGDNesterov=0.12, AdaDelta=0.105, RMSProp=0.2, AdaGrad=0.09)
    frame = verdicts(write_figure(tmp_path, costs, figure="fig2_dropout", epochs=201))
    assert frame["verdict"].to_dict() == {
        "L12a": "supported",
        "L12b": "contradicted",
        "L12c": "supported",
        "L12d": "contradicted",
    }
    assert "clean training loss and test error: Adam 0.1" in frame.loc["L12a", "note"]
    assert "reduced" not in frame.loc["L12a", "note"]


def falling(passes_a_decade, *, by=26, floor=1e-9):
    """From 1, a factor of ten in so many passes."""
    return [max(10 ** (-epoch / passes_a_decade), floor) for epoch in range(by)]


def against_sfo(folder, adam, sfo):
    costs = {"Adam": adam, "SFO": sfo}
    return verdicts(write_passes(folder, costs, arms={"SFO": "sfo"}, figure="fig2_deterministic")).loc["L13"]


@pytest.mark.parametrize(
    ("adam", "sfo", "verdict"),
    [
        (falling(2.2), falling(4.4), "supported"),
        (falling(4.4), falling(2.2), "contradicted"),
        (falling(2.2, floor=5e-4), falling(4.4), "inconclusive"),  # five signs do not reach 5 %
    ],
)
def test_adam_must_come_down_to_every_level_before_sfo(tmp_path, adam, sfo, verdict):
    assert against_sfo(tmp_path, adam, sfo)["verdict"] == verdict


def test_the_level_at_which_adam_does_worst_decides_against_sfo(tmp_path):
    late = [1.0] * 2 + falling(2.2, by=24, floor=2e-5)
    row = against_sfo(tmp_path, late, [1.0, 0.5, 0.3, 0.2, 0.15, 0.12, 0.09] + [2e-5] * 19)
    assert row["verdict"] == "contradicted", "it is first at 0.1 alone"
    assert "ratio of passes until 0.0001;" in row["note"]
    assert "0.1: 5 and 7" in row["note"], "SFO's printed curve begins before its first step"
    assert row["matched"] == "printed x: 11 and 23"


def test_levels_that_neither_comes_down_to_are_named_and_none_is_no_answer(tmp_path):
    row = against_sfo(tmp_path / "some", falling(2.2, floor=5e-4), falling(4.4, floor=5e-4))
    assert row["verdict"] == "supported"
    assert "neither comes down to 0.0001, 1e-05" in row["note"]
    row = against_sfo(tmp_path / "none", [1.0] * 26, [1.0] * 26)
    assert (row["verdict"], row["n"]) == ("inconclusive", 0)
    assert "neither comes down to 0.1" in row["note"]


def with_masks(folder, fresh, frozen, *, epochs=26, seeds=5):
    costs = {("sfo_fresh_masks", "SFO"): fresh, ("sfo_frozen_masks", "SFO"): frozen}
    return verdicts(write_figure(folder, costs, figure="fig2_deterministic", epochs=epochs, seeds=seeds)).loc["L15"]


@pytest.mark.parametrize(
    ("fresh", "frozen", "verdict"),
    [
        ([0.4] * 10, [1e-4] * 10, "supported"),
        ([0.4] * 9 + [0.01], [1e-4] * 9 + [0.4], "supported"),
        ([0.4] * 8 + [0.01] * 2, [1e-4] * 10, "inconclusive"),
        ([0.01] * 8 + [0.4] * 2, [1e-4] * 10, "inconclusive"),
        ([0.01] * 9 + [0.4], [1e-4] * 10, "contradicted"),
        ([0.01] * 10, [1e-4] * 10, "contradicted"),
        ([0.4] * 10, [0.4] * 10, "inconclusive"),
        ([math.nan] * 10, [1e-4] * 10, "supported"),
    ],
)
def test_sfo_fails_with_fresh_masks_if_nine_of_ten_seeds_do_and_frozen_ones_do_not(tmp_path, fresh, frozen, verdict):
    row = with_masks(tmp_path, fresh, frozen)
    assert row["verdict"] == verdict
    assert row["n"] == 10 and "with frozen masks" in row["note"]


def test_it_is_said_whether_the_cost_of_sfo_still_falls_at_the_end(tmp_path):
    with_masks(tmp_path, 0.4, 1e-4)
    curves = pd.read_csv(tmp_path / "curves.csv")
    curves.loc[(curves["arm"] == "sfo_fresh_masks") & (curves["epoch"] > 21), "train_cost"] = 0.4 * 0.85
    curves.to_csv(tmp_path / "curves.csv", index=False)
    assert "over that of the 5 before: 0.85" in verdicts(tmp_path).loc["L15", "note"]


def test_whether_sfo_fails_with_dropout_stays_open_after_few_passes_or_with_few_seeds(tmp_path):
    assert "not reached: 25 of 26 passes" in with_masks(tmp_path / "short", 0.4, 1e-4, epochs=25)["note"]
    row = with_masks(tmp_path / "few", 0.4, 1e-4, seeds=2)
    assert row["verdict"] == "inconclusive" and "n too small: 2 seeds" in row["note"]


AHEAD = {"Adam": [2.0, 1.2, 0.8, 0.6], "AdaGrad": [1.9, 1.5, 1.1, 0.9], "SGDNesterov": [2.3, 2.0, 1.4, 1.1]}


def early(folder, **changed):
    return verdicts(write_passes(folder, AHEAD | changed, figure="fig3_first_epochs", dataset=CIFAR))


def test_adam_and_adagrad_are_each_ahead_early_only_if_they_are_in_each_pass(tmp_path):
    assert early(tmp_path / "all").loc[["L16a", "L16b"], "verdict"].tolist() == ["supported"] * 2
    for id, other, name in (("L16a", "L16b", "Adam"), ("L16b", "L16a", "AdaGrad")):
        frame = early(tmp_path / id, **{name: [*AHEAD[name][:3], 1.3]})
        behind = frame.loc[id]
        assert behind["verdict"] == "contradicted", "far ahead in three passes, behind in the fourth"
        assert "in pass 4" in behind["note"]
        assert behind["effect"] == pytest.approx(1.3 / 1.1, rel=0.01)
        assert frame.loc[other, "verdict"] == "supported"


def test_curves_like_the_printed_ones_contradict_that_adagrad_is_fast_early(tmp_path):
    printed = {
        "Adam": [2.20, 1.16, 0.80, 0.63],
        "AdaGrad": [2.03, 1.58, 1.36, 1.22],
        "SGDNesterov": [2.30, 2.07, 1.16, 0.76],
    }
    frame = early(tmp_path, **printed)
    row = frame.loc["L16b"]
    assert frame.loc["L16a", "verdict"] == "supported" and row["verdict"] == "contradicted"
    assert "AdaGrad < Adam < SGDNesterov, Adam < AdaGrad < SGDNesterov, Adam < SGDNesterov < AdaGrad" in row["note"]
    assert row["matched"] == "printed, by pass 0.886, 0.763, 1.176, 1.597"


def test_a_run_that_diverged_early_is_slower_than_any(tmp_path):
    folder = write_passes(tmp_path, AHEAD, figure="fig3_first_epochs")
    curves = pd.read_csv(folder / "curves.csv")
    curves[(curves["curve"] != "Adam") | (curves["epoch"] < 2)].to_csv(folder / "curves.csv", index=False)
    assert verdicts(folder).loc["L16a", "effect"] == math.inf


def test_how_early_the_others_arms_are_stands_in_the_note(tmp_path):
    folder = write_passes(tmp_path, AHEAD, figure="fig3_first_epochs", dataset=CIFAR)
    for name in ("curves.csv", "finals.csv"):
        table = pd.read_csv(folder / name)
        pd.concat([table, table.assign(arm="default"), table.assign(arm="matched")]).to_csv(folder / name, index=False)
    note = verdicts(folder).loc["L16a", "note"]
    assert "default settings: 0.870 (n = 5); settings nearest to print: 0.870 (n = 5)" in note, "in pass 1, of 2.3"


def late(folder, *, epochs=49, without_m=None, frozen_v=None, dataset=CIFAR, **costs):
    ablated = {("ablation_of_m", "Adam, beta1 = 0"): without_m, ("ablation_of_v", "Adam, v frozen"): frozen_v}
    runs = tuned(**costs) | {run: cost for run, cost in ablated.items() if cost}
    return write_figure(folder, runs, figure="fig3_full", epochs=epochs, dataset=dataset)


@pytest.mark.parametrize(("adagrad", "verdict"), [(0.11, "supported"), (0.09, "contradicted")])
def test_a_factor_of_ten_below_adagrad_is_asked_at_the_end(tmp_path, adagrad, verdict):
    frame = verdicts(late(tmp_path, Adam=0.01, SGDNesterov=0.01, AdaGrad=adagrad))
    assert frame.loc[["L17a", "L17b"], "verdict"].tolist() == [verdict] * 2


@pytest.mark.parametrize(
    ("adam", "verdict"), [(0.008, "supported"), (0.0045, "contradicted"), (0.011, "contradicted"), (0.01, None)]
)
def test_marginally_better_is_better_by_less_than_a_factor_of_two(tmp_path, adam, verdict):
    nesterov = [0.01 * (1 + x) for x in (-0.04, 0.04, 0.0, -0.02, 0.02)]
    found = verdicts(late(tmp_path, Adam=adam, SGDNesterov=nesterov)).loc["L18", "verdict"]
    assert found == (verdict or "inconclusive")


def test_the_pass_where_the_papers_axis_ends_decides_and_not_the_last(tmp_path):
    folder = write_passes(
        tmp_path,
        {"Adam": [1e-2] * 46 + [9.0] * 3, "SGDNesterov": [1e-2] * 49, "AdaGrad": [1.0] * 49},
        figure="fig3_full",
        dataset=CIFAR,
    )
    assert verdicts(folder).loc["L17a", "effect"] == pytest.approx(0.01, rel=0.01)


def test_late_claims_of_a_short_run_are_open_and_say_how_far_it_came(tmp_path):
    frame = verdicts(late(tmp_path, epochs=20, Adam=0.01, SGDNesterov=0.01, AdaGrad=0.5, without_m=1.0, frozen_v=1.0))
    for id in ("L17a", "L17b", "L18", "L20a", "L20b"):
        assert frame.loc[id, "verdict"] == "inconclusive"
        assert "not reached: 20 of 46 passes; make reproduce SCALE=paper FIGURE=fig3_full" in frame.loc[id, "note"]
        assert math.isnan(frame.loc[id, "effect"])


def test_a_run_on_some_of_the_examples_says_so(tmp_path):
    few = {"name": "cifar10", "train_examples": 2560}
    frame = verdicts(late(tmp_path, Adam=0.01, AdaGrad=0.5, dataset=few))
    assert "reduced: 2,560 of 50,000 examples" in frame.loc["L17a", "note"]


@pytest.mark.parametrize(("share", "verdict"), [(0.5, "supported"), (0.49, "contradicted")])
def test_v_hat_vanishes_if_it_does_for_half_of_a_convolution(tmp_path, share, verdict):
    write_diagnostics(late(tmp_path, Adam=0.01), {"conv1": [0.0] * 12, "conv2": [0.1] * 9 + [share] + [0.2] * 2})
    row = verdicts(tmp_path).loc["L19"]
    assert row["verdict"] == verdict
    assert (row["effect"], row["n"]) == (pytest.approx(share), 5)
    assert "conv2 after 10 passes" in row["note"]


def test_v_hat_is_asked_of_convolutions_within_ten_passes_alone(tmp_path):
    write_diagnostics(late(tmp_path, Adam=0.01), {"conv1": [0.0] * 10 + [1.0], "hidden": [1.0] * 11})
    assert verdicts(tmp_path).loc["L19", "verdict"] == "contradicted"


@pytest.mark.parametrize(
    ("p99", "verdict"),
    [
        ((0.9,) * 5, "supported"),
        ((1.1, 1.2, 1.3, 1.1, 1.5), "contradicted"),
        ((0.9, 1.1, 1.1, 1.1, 1.1), "inconclusive"),
    ],
)
def test_steps_are_seldom_longer_than_alpha_if_all_seeds_say_so(tmp_path, p99, verdict):
    write_diagnostics(late(tmp_path, Adam=0.01), {"conv1": [0.0] * 3}, p99=p99)
    row = verdicts(tmp_path).loc["C7b"]
    assert (row["verdict"], row["low"], row["high"], row["unit"]) == (verdict, min(p99), max(p99), "alpha")


@pytest.mark.parametrize(
    ("shares", "seeds", "why"),
    [
        (None, 5, "no diagnostics were recorded"),
        ({"hidden": [1.0] * 10}, 5, "no diagnostics of convolutional layers"),
        ({"conv1": [0.2] * 4}, 5, "not reached: 4 of 10 passes"),
        ({"conv1": [0.9] * 10}, 2, "n too small: 2 seeds"),
    ],
)
def test_whether_v_hat_vanishes_stays_open_without_the_diagnostics(tmp_path, shares, seeds, why):
    folder = late(tmp_path, Adam=0.01)
    if shares:
        write_diagnostics(folder, shares, seeds=seeds)
    row = verdicts(folder).loc["L19"]
    assert row["verdict"] == "inconclusive"
    assert why in row["note"] and "make reproduce SCALE=paper FIGURE=fig3_full" in row["note"]


@pytest.mark.parametrize(("without", "verdict"), [(0.021, "supported"), (0.019, "contradicted")])
def test_the_first_moment_matters_if_the_cost_doubles_without_it(tmp_path, without, verdict):
    frame = verdicts(late(tmp_path, Adam=0.01, without_m=without))
    assert frame.loc["L20a", "verdict"] == verdict
    assert frame.loc["L20b", "note"].startswith("not run: Adam, v frozen")


@pytest.mark.parametrize(("frozen", "verdict"), [(0.019, "supported"), (0.021, "contradicted"), (0.005, "supported")])
def test_the_second_moment_matters_little_if_the_cost_does_not_double_with_a_frozen_one(tmp_path, frozen, verdict):
    row = verdicts(late(tmp_path, Adam=0.01, frozen_v=frozen)).loc["L20b"]
    assert row["verdict"] == verdict
    assert row["effect"] == pytest.approx(frozen / 0.01, rel=0.01)


@pytest.mark.parametrize("figure", FIGURES)
@pytest.mark.parametrize("curves", [(), ("Adam",), ("SGDNesterov", "AdaGrad"), FOUR])
@pytest.mark.parametrize(("epochs", "seeds"), [(1, 1), (4, 2), (49, 3)])
def test_an_incomplete_figure_leaves_claims_open_and_names_what_is_missing(tmp_path, figure, curves, epochs, seeds):
    costs = {("tuned", curve): 0.1 for curve in curves} | {("default", "Adam"): 0.2}
    frame = verdicts(write_figure(tmp_path, costs, figure=figure, epochs=epochs, seeds=seeds))
    assert set(frame.index) == {entry.id for entry in LEDGER.values() if entry.figure == figure}
    assert frame["note"].str.len().min() > 0
    if seeds < 3 or not curves:
        assert set(frame["verdict"]) == {"inconclusive"}
    lacking = frame[frame["note"].str.contains("not run: ")]
    assert len(lacking) or len(curves) > 1
    assert lacking["note"].str.contains(f"make reproduce SCALE=paper FIGURE={figure}").all()


def test_divergence_of_every_run_is_no_error(tmp_path):
    costs = {("tuned", curve): [math.nan] * 5 for curve in (*FOUR, "AdaDelta")}
    for figure in FIGURES:
        frame = verdicts(write_figure(tmp_path / figure, costs, figure=figure, epochs=201))
        assert not set(frame["verdict"]) & {"supported"}
