"""Damage to a record is named by whoever reads it, whatever it is, and nothing that a record says is executed."""

from __future__ import annotations

import json
import math
import shutil
import sys

import numpy as np
import pandas as pd
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from made_records import CONFIG, META, curve_of, folder_of, meta_of
from sampling import few
from tiny_data import OVERRIDES

from adam_repro import diagnostics, integrity, records
from adam_repro.analysis.gather import gather
from adam_repro.app import compose
from adam_repro.errors import UserError
from adam_repro.run import execute, prepare

INSIDE = pd.DataFrame(
    [[epoch, layer, 0.5, 1e-9, 0.1, 0.9, 1.5, math.nan] for epoch in (1, 2) for layer in ("conv1", "output")],
    columns=["epoch", *diagnostics.COLUMNS],
)


def written(folder, config=CONFIG, curve=None, **meta):
    shutil.rmtree(folder, ignore_errors=True)
    curve = curve_of(config, config["epochs"]) if curve is None else curve
    records.write(folder, config, curve, meta_of(config, **meta), diagnostics=INSIDE)
    return folder


numbers = st.floats(0, width=32) | st.just(math.nan)


@st.composite
def runs(draw):
    """A configuration and a curve that its run can have, to single precision."""
    epochs, accuracy = draw(st.integers(1, 5)), draw(st.booleans())
    evaluate_at = draw(st.none() | st.lists(st.integers(0, 5), max_size=3))
    config = {**CONFIG, "epochs": epochs, "evaluate_at": evaluate_at, "l2": draw(st.floats(0, 1))}
    config["model"] = {"name": draw(st.text(st.characters(exclude_categories=["Cs"])))}
    rows = []
    for epoch in range(epochs + 1):
        evaluated = integrity.is_evaluated(epoch, config)
        train_cost = draw(st.floats(0, width=32, allow_infinity=False)) if epoch else math.nan
        loss, penalty, test = draw(numbers), draw(numbers), draw(numbers)
        share = draw(st.floats(0, 1, width=32)) if accuracy and evaluated else math.nan
        rows.append(
            [epoch, train_cost, loss if evaluated else math.nan, penalty, test if evaluated else math.nan, share]
        )
    return config, pd.DataFrame(rows, columns=records.COLUMNS)


@few(60)
@given(runs())
def test_any_curve_is_read_as_it_was_written_to_single_precision(tmp_path, run):
    config, curve = run
    shutil.rmtree(tmp_path / "run", ignore_errors=True)
    records.write(tmp_path / "run", config, curve, meta_of(config))
    read = records.read(tmp_path / "run")
    assert read.config == config
    assert read.curve["epoch"].tolist() == curve["epoch"].tolist()
    np.testing.assert_array_equal(read.curve.to_numpy(np.float32), curve.to_numpy(np.float32))


@few(200)
@given(st.sampled_from(integrity.FILES), st.floats(0, 1, exclude_max=True), st.integers(1, 255))
def test_any_flipped_byte_of_any_file_is_refused(tmp_path, name, where, flip):
    path = written(tmp_path / "run") / name
    content = bytearray(path.read_bytes())
    content[int(where * len(content))] ^= flip
    path.write_bytes(content)
    with pytest.raises(UserError) as told:
        records.read(path.parent)
    assert str(path) in str(told.value)


@few(100)
@given(st.sampled_from(integrity.FILES), st.floats(0, 1, exclude_max=True))
def test_any_truncation_of_any_file_is_refused(tmp_path, name, share):
    path = written(tmp_path / "run") / name
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(UserError) as told:
        records.read(path.parent)
    assert str(path) in str(told.value)


@few(100)
@given(st.sampled_from(integrity.FILES), st.binary(max_size=200))
def test_any_other_content_of_any_file_is_refused_with_checksums_and_without(tmp_path, name, content):
    for folder in (written(tmp_path / "run"), as_before_checksums(written(tmp_path / "older"))):
        (folder / name).write_bytes(content)
        with pytest.raises(UserError):
            records.read(folder)


def as_before_checksums(folder):
    """The record as it would have been written before its files had checksums; its curve always had one."""
    path = folder / "meta.json"
    meta = json.loads(path.read_text())
    for name in ("config_sha256", "diagnostics_sha256", "meta_sha256"):
        meta.pop(name, None)
    path.write_text(json.dumps(meta, indent=2) + "\n")
    return folder


def test_a_record_from_before_all_files_had_checksums_is_read_and_checked_by_its_key(tmp_path):
    folder = as_before_checksums(written(tmp_path / "run"))
    pd.testing.assert_frame_equal(records.read(folder).diagnostics, INSIDE)
    path = folder / "config.yaml"
    path.write_text(path.read_text().replace("lr: 0.1", "lr: 0.2"))
    with pytest.raises(UserError, match=r"config\.yaml is another run's: its key is"):
        records.read(folder)


@pytest.mark.parametrize("name", ["config_sha256", "meta_sha256"])
def test_a_damaged_name_of_a_checksum_does_not_make_a_record_one_without(tmp_path, name):
    path = written(tmp_path) / "meta.json"
    path.write_text(path.read_text().replace(name, name.replace("s", "t", 1)))
    with pytest.raises(UserError, match=r"meta\.json was changed after it was written"):
        records.read(tmp_path)


@pytest.mark.parametrize("name", META | {"key": "", "curve_sha256": ""})
def test_meta_data_lack_nothing(tmp_path, name):
    path = as_before_checksums(written(tmp_path)) / "meta.json"
    meta = json.loads(path.read_text())
    for changed in ({**meta, name: [1]}, {key: meta[key] for key in meta if key != name}, [meta]):
        path.write_text(json.dumps(changed))
        with pytest.raises(UserError, match=r"meta\.json is not as meta data are: (it lacks|it is|\w+ is \[1\])"):
            records.read(tmp_path)


def test_status_and_first_step_that_was_not_finite_belong_together(tmp_path):
    written(tmp_path, diverged_step=7)
    with pytest.raises(UserError, match="its status is finished and its first step that was not finite 7"):
        records.read(tmp_path)


@pytest.mark.parametrize(
    "change, said",
    [
        (lambda c: c.drop(columns="l2_penalty"), r"has the columns .* Delete the folder"),
        (lambda c: c.drop(index=1), "its epochs are not 0, 1, 2 and so on: after 0 comes 2"),
        (lambda c: pd.concat([c, c.tail(1)]), "its epochs are not 0, 1, 2 and so on: after 2 comes 2"),
        (lambda c: c.iloc[::-1], "its epochs are not 0, 1, 2 and so on: after none comes 2"),
        (lambda c: c.head(2), r"its last epoch is 1, and this run's \(finished\) is 2"),
        (lambda c: c.head(0), "it has no row"),
        (lambda c: c.assign(train_cost=[math.nan, 1, math.nan]), "train_cost of epoch 2 is nan, which is not finite"),
        (lambda c: c.assign(train_cost=[math.nan, math.inf, 1]), "train_cost of epoch 1 is inf, which is not finite"),
        (lambda c: c.assign(train_cost=[3, 1, 1]), "train_cost of epoch 0 is 3, where no number belongs"),
        (lambda c: c.assign(test_loss=[3, 1, 1]), "test_loss of epoch 1 is 1, where no number belongs"),
        (lambda c: c.assign(test_accuracy=[0.5, math.nan, math.nan]), "test_accuracy of epoch 2 is nan"),
    ],
)
def test_a_curve_that_its_run_cannot_have_is_refused_whoever_wrote_it(tmp_path, monkeypatch, change, said):
    """Checksums are right here: what is wrong came from the program, or from somebody who knows how they are made."""
    config = {**CONFIG, "evaluate_at": [0]}
    curve = change(curve_of(config, 2))
    text = curve.to_csv(index=False, float_format="%.9g", na_rep="", lineterminator="\n")
    if "is nan" in said:
        text = text.replace("2,,", "2,nan,")
    monkeypatch.setattr(records, "_curve_text", lambda *_: text)
    records.write(tmp_path, config, curve, meta_of(config))
    said = "test_accuracy of epoch 2 is empty, where a number belongs" if "accuracy" in said else said
    with pytest.raises(UserError, match=said):
        records.read(tmp_path)


def test_a_run_that_diverged_ends_before_the_pass_in_which_it_did(tmp_path):
    for step, last in ((1, 0), (600, 0), (601, 1), (1200, 1)):
        written(tmp_path / "run", curve=curve_of(CONFIG, last), status="diverged", diverged_step=step)
        (tmp_path / "run" / "diagnostics.csv").unlink()
        wrong = written(tmp_path / "wrong", curve=curve_of(CONFIG, 1 - last), status="diverged", diverged_step=step)
        with pytest.raises(UserError, match=rf"its last epoch is {1 - last}, and this run's \(diverged\) is {last}"):
            records.read(wrong)


def test_a_foreign_file_in_a_records_folder_is_named_and_leftovers_are_not_damage(tmp_path):
    written(tmp_path)
    (tmp_path / ".curve.csv-abcd1234").touch()
    records.read(tmp_path)
    for name in ("notes.txt", "checkpoint.pt"):  # checkpoints have a folder of their own
        (tmp_path / name).touch()
        with pytest.raises(UserError, match=rf"{name} is no part of this record. Move it elsewhere"):
            records.read(tmp_path)
        (tmp_path / name).unlink()


def test_diagnostics_belong_to_the_record_that_has_their_checksum_only(tmp_path):
    records.write(tmp_path, CONFIG, curve_of(CONFIG, 2), meta_of(CONFIG))
    (tmp_path / "diagnostics.csv").write_text(INSIDE.to_csv(index=False))
    with pytest.raises(UserError, match=r"diagnostics\.csv is no part of this record"):
        records.read(tmp_path)
    assert ["epoch", *diagnostics.COLUMNS] == integrity.DIAGNOSTICS


@pytest.mark.parametrize(
    "change, said",
    [
        (lambda d: d.drop(columns="snr"), "it has the columns"),
        (lambda d: d.assign(epoch=[1, 1, 3, 3]), "its epochs are not in order from 1 to 2"),
        (lambda d: d.iloc[::-1], "its epochs are not in order from 1 to 2"),
        (lambda d: d.assign(layer="one"), "a layer has two rows of one epoch"),
        (lambda d: d.assign(snr="high"), "snr is not of numbers"),
    ],
)
def test_diagnostics_that_a_run_cannot_have_are_refused(tmp_path, change, said):
    records.write(tmp_path, CONFIG, curve_of(CONFIG, 2), meta_of(CONFIG), diagnostics=change(INSIDE))
    with pytest.raises(UserError, match=rf"diagnostics\.csv holds no diagnostics of this run: {said}"):
        records.read(tmp_path)


def test_the_key_of_a_foreign_optimizers_record_is_checked_by_what_its_meta_data_have_of_its_source(tmp_path):
    overrides = [*OVERRIDES, "optimizer=external", "optimizer._target_=torch.optim.NAdam", "optimizer.lr=0.1"]
    (record,) = execute([prepare(compose("logistic_regression", [*overrides, "epochs=1", f"results={tmp_path}"]))])
    read = records.read_in_place(record.folder)
    assert read.meta["optimizer_source"].startswith("torch ")
    records.write(record.folder, read.config, read.curve, {**read.meta, "optimizer_source": "torch 0.0.1"})
    with pytest.raises(UserError, match=r"config\.yaml is another run's"):
        records.read(record.folder)


BOMB = "import os; open(os.environ['BOMB'], 'w').close()\nclass Boom: pass\n"


def test_nothing_that_a_record_names_is_imported_by_reading_gathering_or_mirroring_it(tmp_path, monkeypatch):
    (tmp_path / "bomb.py").write_text(BOMB)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("BOMB", str(tmp_path / "exploded"))
    config = {**CONFIG, "model": {"_target_": "bomb.Boom"}, "schedule": {"_target_": "bomb.Boom"}}
    config["optimizer"] = {"_target_": "bomb.Boom", "lr": 0.1}
    folder = folder_of(tmp_path / "results", config)
    records.write(folder, config, curve_of(config, 2), meta_of(config))
    entry = {"arm": "tuned", "curve": "Boom", "seed": 0, "tuned_at": None, "tuned_on": None, "on_grid_edge": False}
    place = tmp_path / "results" / "paper" / "fig4"
    records.write_index(place / "index.csv", [{**entry, "record": str(folder.relative_to(tmp_path / "results"))}])
    gather(place, tmp_path / "results", figure="fig4", scale="paper", command="this")
    assert "bomb" not in sys.modules and not (tmp_path / "exploded").exists()


def test_a_tag_that_asks_for_code_is_refused_even_with_the_right_checksums(tmp_path, monkeypatch):
    mark = tmp_path / "exploded"
    monkeypatch.setattr(yaml, "safe_dump", lambda *_, **__: f"!!python/object/apply:builtins.open ['{mark}', w]\n")
    records.write(tmp_path / "run", CONFIG, curve_of(CONFIG, 2), meta_of(CONFIG))
    with pytest.raises(UserError, match=r"config\.yaml is damaged \(could not determine a constructor for the tag"):
        records.read(tmp_path / "run")
    assert not mark.exists()
