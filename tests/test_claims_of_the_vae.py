"""Section 6.4: Figure 4's claims on made-up grids that decide them, and on grids that cannot."""

import json
import math

import pandas as pd
import pytest
from made_up import write_vae_grid

from adam_repro.analysis.claims import decide
from adam_repro.analysis.claims.section6_4 import _worth_using
from adam_repro.analysis.curves import FigureData

IDS = {"L21a", "L21b", "L22", "L23a", "L23b", "L24", "P3"}


def jitter(seed, lr):
    """Noise of a seed, up to 0.02 nats."""
    return 0.01 * ((seed * 7 + round(math.log10(lr) * 2)) % 5 - 2)


def bowl(lr, *, optimum=1e-3):
    return 100 + 8 * (math.log10(lr) - math.log10(optimum)) ** 2


def like_the_text(form, beta1, beta2, lr, seed):
    """Correction never hurts; without it, large steps are lost, the more the closer beta2 is to 1."""
    lost = form != "corrected" and lr >= {0.99: 1.0, 0.999: 3e-3, 0.9999: 3e-4}[beta2]
    better = 0.5 if form == "corrected" and beta2 > 0.99 else 0.0
    return math.nan if lost else bowl(lr) - better + jitter(seed, lr)


def unlike_the_text(form, beta1, beta2, lr, seed):
    """The other way round."""
    swapped = {"corrected": "uncorrected", "uncorrected": "corrected", "control": "corrected"}[form]
    return like_the_text(swapped, beta1, beta2, lr, seed)


def verdicts(folder, cost=like_the_text, **more):
    frame = decide(write_vae_grid(folder, cost, **more)).set_index("claim")
    assert set(frame.index) == IDS
    return frame


def test_a_grid_like_the_papers_text_supports_it(tmp_path):
    frame = verdicts(tmp_path, gains=(-0.2, 0.0))
    assert set(frame.loc[sorted(IDS - {"P3"}), "verdict"]) == {"supported"}
    assert set(frame.loc[["L21a", "L21b", "L23a", "L23b", "L24"], "n"]) == {5}


def test_a_grid_unlike_it_contradicts_it(tmp_path):
    frame = verdicts(tmp_path, unlike_the_text, gains=(0.2, 0.0))
    assert set(frame.loc[["L21a", "L21b", "L22", "L23a", "L23b"], "verdict"]) == {"contradicted"}


def test_the_gain_is_counted_in_decades_of_usable_step_sizes(tmp_path):
    """Three alphas, of half a decade each, lie within 5 nats of 99.5; without correction all are lost at the largest
    beta2."""
    frame = verdicts(tmp_path)
    usable = [lr for lr in (3e-5, 1e-4, 3e-4, 1e-3, 3e-3, 1e-2) if bowl(lr) - 0.5 <= 99.5 + 5]
    assert usable == [3e-4, 1e-3, 3e-3]
    assert frame.loc["L21a", "effect"] == pytest.approx(3 * 0.5, rel=0.02)


def test_a_thinner_grid_counts_each_step_size_for_more(tmp_path):
    frame = verdicts(tmp_path, alphas=(3e-5, 3e-4, 3e-3))
    assert frame.loc["L21a", "effect"] == pytest.approx(2.0, rel=0.02), "two alphas, a decade each"


def test_the_gain_must_grow_with_beta2(tmp_path):
    def as_much_everywhere(form, beta1, beta2, lr, seed):
        lost = form == "uncorrected" and lr >= 3e-3 - 1e-3 * (seed % 2)
        return math.nan if lost else bowl(lr)

    frame = verdicts(tmp_path, as_much_everywhere)
    assert frame.loc["L21a", "verdict"] == "supported"
    assert frame.loc["L21b", "verdict"] == "inconclusive"


def worse_in(setting, nats):
    def cost(form, beta1, beta2, lr, seed):
        worse = nats if (beta1, beta2, lr) == setting and form == "corrected" else 0.0
        return bowl(lr) + worse + jitter(seed, lr) * (1 if form == "corrected" else -1)

    return cost


def test_one_setting_that_is_worse_contradicts_every_setting(tmp_path):
    frame = verdicts(tmp_path, worse_in((0.9, 0.9999, 3e-5), 2.0))
    assert frame.loc["L22", "verdict"] == "contradicted"
    assert frame.loc["L22", "effect"] == pytest.approx(2.0, abs=0.05)
    assert "beta1, beta2, alpha = 0.9, 0.9999, 3e-05; significantly so in 1 of 36 settings" in frame.loc["L22", "note"]


def test_that_nothing_is_significant_supports_nothing_by_itself(tmp_path):
    def noisy(form, beta1, beta2, lr, seed):
        return bowl(lr) + (seed - 2) * (0.5 if form == "corrected" else -0.5)

    assert verdicts(tmp_path, noisy).loc["L22", "verdict"] == "inconclusive"


def test_a_setting_in_which_correction_alone_diverged_is_not_safe(tmp_path):
    def lost(form, beta1, beta2, lr, seed):
        return math.nan if form == "corrected" and lr == 1e-2 else bowl(lr) + jitter(seed, lr)

    row = verdicts(tmp_path, lost).loc["L22"]
    assert row["verdict"] == "inconclusive"
    assert "diverged with correction alone in 6, without it alone in 0" in row["note"]


def test_a_form_that_diverged_on_some_seeds_is_of_no_use_by_those_that_are_left(tmp_path):
    def survives(form, beta1, beta2, lr, seed):
        lost = (beta1, beta2, lr) == (0, 0.9999, 1e-3) and (form != "corrected" or seed > 0)
        return math.nan if lost else bowl(lr)

    data = FigureData.load(write_vae_grid(tmp_path, survives))
    assert _worth_using(data, [(0, 0.9999, 1e-3), (0, 0.999, 1e-3)]) == 1


def test_the_best_result_is_named_with_its_test_bound(tmp_path):
    note = verdicts(tmp_path).loc["L23a", "note"]
    assert "corrected at beta1, beta2, alpha = 0, 0.999, 0.001: 99.50, on test data 100.50" in note


@pytest.mark.parametrize(("shift", "verdict"), [(0.09, "supported"), (-0.09, "supported"), (0.11, "contradicted")])
def test_the_control_is_the_same_within_a_tenth_of_a_nat(tmp_path, shift, verdict):
    def shifted(form, beta1, beta2, lr, seed):
        return bowl(lr) + (shift if form == "control" else 0.0) + jitter(seed, lr) * (form == "control") / 4

    row = verdicts(tmp_path, shifted).loc["L24"]
    assert row["verdict"] == verdict
    assert row["effect"] == pytest.approx(abs(shift), abs=0.01) and row["unit"] == "nats", "a difference, no ratio"


def test_what_the_control_gains_in_one_setting_does_not_make_up_for_what_it_loses_in_another(tmp_path):
    def opposed(form, beta1, beta2, lr, seed):
        return bowl(lr) + (0.5 if beta1 else -0.5) * (form == "control") + jitter(seed, lr)

    assert verdicts(tmp_path, opposed).loc["L24", "verdict"] == "contradicted"


def test_a_control_that_diverges_alone_is_not_the_same(tmp_path):
    def lost(form, beta1, beta2, lr, seed):
        return math.nan if form == "control" and lr == 1e-2 else bowl(lr)

    row = verdicts(tmp_path, lost).loc["L24"]
    assert row["verdict"] == "inconclusive", "five signs do not decide"
    assert "one of the two alone diverged in 30 of 180 pairs" in row["note"]


def test_the_printed_points_contradict_the_papers_summary_of_them(tmp_path):
    row = verdicts(tmp_path).loc["P3"]
    assert row["verdict"] == "contradicted"
    assert (row["effect"], row["n"]) == (23, 41)
    assert "in 13 by more than half a nat, by up to 33.7" in row["note"]


def test_the_most_passes_of_the_whole_grid_decide(tmp_path):
    frame = verdicts(tmp_path, milestones=(10,))
    assert "after 10 passes; reduced: 10 of 100 passes" in frame.loc["L22", "note"]


def only_a_few_run_longer(folder):
    """Of a whole grid after 10 passes and after 100: after 100 two settings alone."""
    path = folder / "finals.csv"
    table = pd.read_csv(path)
    few = (table["lr"] == 1e-3) & table["hyper"].str.contains('"beta1": 0.9, "beta2": 0.999')
    table[(table["epochs"] == 10) | few].to_csv(path, index=False)
    facts = json.loads((folder / "provenance.json").read_text())
    (folder / "provenance.json").write_text(json.dumps(facts | {"epochs": 10}))
    return folder


def test_the_whole_grid_decides_where_a_few_of_its_settings_ran_longer_and_these_tell_what_comes_later(tmp_path):
    whole = verdicts(tmp_path / "whole", milestones=(10,))
    folder = only_a_few_run_longer(write_vae_grid(tmp_path / "more", like_the_text, gains=(0.0, 0.25)))
    frame = decide(folder).set_index("claim")
    same = ["L21a", "L21b", "L22", "L23a", "L24", "P3"]
    pd.testing.assert_frame_equal(frame.loc[same].drop(columns="note"), whole.loc[same].drop(columns="note"))
    beyond = "; after 100 passes, of beta1 = 0.9 alone: largest -0.75, significantly worse in 0 of 2"
    assert frame.loc["L22", "note"] == whole.loc["L22", "note"] + beyond
    assert frame.loc["L23a", "note"].endswith("after 100 passes, of beta1 = 0.9 alone: -0.75 [-0.75, -0.75]")
    assert "after 100" not in frame.loc["L21a", "note"], "one alpha has no width"
    later = frame.loc["L23b"]
    assert later["verdict"] == "supported" and later["effect"] == pytest.approx(-0.25)
    where = "mean over 1 setting: -0.50 and -0.75 at beta1, beta2, alpha = 0.9, 0.999, 0.001"
    assert f"after 100 passes, less the same after 10; {where}; one or both" in later["note"]
    assert "reduced" not in later["note"]
    assert "not run: the same settings" in whole.loc["L23b", "note"]


def test_of_longer_runs_settings_of_few_seeds_tell_nothing(tmp_path):
    """What each seed has other settings of has no mean over seeds."""
    folder = write_vae_grid(tmp_path, like_the_text, gains=(0.0, 0.25))
    path = folder / "finals.csv"
    table = pd.read_csv(path)
    first_beta1 = table["hyper"].str.contains('"beta1": 0.0')
    short, alone = table["epochs"] == 10, table["seed"] < 2
    (folder / "provenance.json").write_text(
        json.dumps(json.loads((folder / "provenance.json").read_text()) | {"epochs": 10})
    )
    table[short | ~first_beta1].to_csv(path, index=False)
    without = decide(folder)
    table[short | ~first_beta1 | alone].to_csv(path, index=False)
    pd.testing.assert_frame_equal(decide(folder), without)
    assert without["note"].str.contains("after 100 passes, of beta1 = 0.9 alone").sum() == 3


def test_settings_in_which_a_run_diverged_early_tell_nothing_of_what_comes_later(tmp_path):
    row = verdicts(tmp_path, gains=(-0.2, 0.0)).loc["L23b"]
    assert "one or both had diverged before in 60 pairs" in row["note"], "12 of 24 settings, five seeds each"
    assert "mean over 12 settings: the gain grew in 12 and shrank in 0 (means over seeds)" in row["note"]


def test_no_gain_makes_up_for_runs_that_diverge_with_correction_alone_in_the_end(tmp_path):
    folder = write_vae_grid(tmp_path, like_the_text, gains=(-0.2, 0.0))
    path = folder / "finals.csv"
    table = pd.read_csv(path)
    lost = (table["epochs"] == 100) & (table["lr"] == 3e-5) & table["hyper"].str.contains('"bias_correction": true')
    table.loc[lost, ["train_cost", "train_loss", "test_loss"]] = math.nan
    table.to_csv(path, index=False)
    row = decide(folder).set_index("claim").loc["L23b"]
    assert row["verdict"] == "inconclusive" and row["effect"] == math.inf, "five signs do not decide"
    assert "one diverged meanwhile in 20" in row["note"]


def test_seeds_that_only_a_few_settings_have_count_in_no_range(tmp_path):
    folder = write_vae_grid(tmp_path, like_the_text, milestones=(10,))
    before = decide(folder).set_index("claim")
    few = write_vae_grid(tmp_path / "few", like_the_text, milestones=(10,), seeds=7, alphas=(1e-3,))
    more = pd.concat([pd.read_csv(folder / "finals.csv"), pd.read_csv(few / "finals.csv").query("seed > 4")])
    more.to_csv(folder / "finals.csv", index=False)
    after = decide(folder).set_index("claim")
    pd.testing.assert_frame_equal(after.loc[["L21a", "L21b"]], before.loc[["L21a", "L21b"]])


def test_a_seed_of_the_grid_that_ran_longer_decides_nothing_alone(tmp_path):
    folder = write_vae_grid(tmp_path, like_the_text)
    table = pd.read_csv(folder / "finals.csv")
    table[(table["epochs"] == 10) | (table["seed"] == 0)].to_csv(folder / "finals.csv", index=False)
    assert set(decide(folder).set_index("claim").loc[["L21a", "L21b", "L22", "L24"], "n"]) == {5, 36}


@pytest.mark.parametrize("forms", [(), ("corrected",), ("uncorrected",), ("control",), ("corrected", "control")])
def test_forms_that_were_not_run_leave_claims_open(tmp_path, forms):
    frame = verdicts(tmp_path, forms=forms)
    for id in ("L21a", "L21b", "L22", "L24"):
        assert frame.loc[id, "verdict"] == "inconclusive"
        assert "make reproduce SCALE=paper FIGURE=fig4" in frame.loc[id, "note"]


def test_a_single_beta2_or_step_size_is_no_range(tmp_path):
    one = verdicts(tmp_path / "beta2", beta2s=(0.999,))
    assert "more than one beta2" in one.loc["L21b", "note"]
    assert one.loc["L21a", "verdict"] == "supported"
    assert "two step sizes or more" in verdicts(tmp_path / "alpha", alphas=(1e-3,)).loc["L21a", "note"]


@pytest.mark.parametrize("seeds", [1, 2])
def test_few_seeds_decide_nothing(tmp_path, seeds):
    frame = verdicts(tmp_path, seeds=seeds, milestones=(2,))
    assert set(frame.loc[sorted(IDS - {"P3"}), "verdict"]) == {"inconclusive"}
    assert frame.loc["L22", "note"].startswith(f"n too small: {seeds} seeds")


def test_divergence_of_every_run_is_no_error(tmp_path):
    frame = verdicts(tmp_path, lambda *setting: math.nan)
    assert not (frame["verdict"] == "supported").any()
