"""Records: what a run's key covers, what is written, and what is refused when read."""

from __future__ import annotations

import copy
import json
import math
import os
import resource
import shutil
from contextlib import contextmanager

import pandas as pd
import pytest
from made_records import CONFIG, meta_of
from tiny_data import OVERRIDES

from adam_repro import records
from adam_repro.app import compose
from adam_repro.errors import UserError
from adam_repro.locks import Lock
from adam_repro.run import execute, prepare

CONFIG = {**CONFIG, "evaluate_at": [0]}
KEY = records.key_of({"config": CONFIG})


def curve():
    nan = math.nan
    rows = [[0, nan, 2.302585092994046, 0.0, 2.302585, 0.1], [1, 1 / 3, nan, nan, nan, nan], [2, 1e-30, 0.2, 9, 8, 7]]
    return pd.DataFrame(rows, columns=records.COLUMNS)


def written(folder, **changes):
    return records.write(folder, CONFIG, curve(), meta_of(CONFIG, **changes))


def job(*overrides, results="unused"):
    return prepare(compose("logistic_regression", [*OVERRIDES, "epochs=3", f"results={results}", *overrides]))


def files(folder):
    return sorted(path.name for path in folder.rglob("*"))


def test_a_record_reads_as_it_was_written(tmp_path):
    written(tmp_path / "run")
    read = records.read(tmp_path / "run")
    assert read.config == CONFIG
    pd.testing.assert_frame_equal(read.curve, curve().astype(float).astype({"epoch": int}), rtol=1e-8)
    assert read.meta.items() >= {"key": KEY, "status": "finished", "curve_version": records.CURVE_VERSION}.items()
    assert files(tmp_path) == ["config.yaml", "curve.csv", "meta.json", "run"]


def test_a_curve_has_nine_digits_and_empty_fields_for_what_was_not_taken(tmp_path):
    written(tmp_path)
    assert (tmp_path / "curve.csv").read_text().splitlines()[1:3] == [
        "0,,2.30258509,0,2.302585,0.1",
        "1,0.333333333,,nan,,",
    ]


def test_equal_runs_write_equal_bytes(tmp_path):
    for results in ("first", "second"):
        planned = job("optimizer.lr=0.1", "l2=1e-3", results=tmp_path / results)
        execute([planned])
    texts = [
        [(tmp_path / results / planned.folder.relative_to(tmp_path / "second") / name).read_bytes() for name in names]
        for names in [("config.yaml", "curve.csv")]
        for results in ("first", "second")
    ]
    assert texts[0] == texts[1]
    assert len(texts[0][1].splitlines()) == 5


def test_only_a_folder_with_its_meta_data_is_a_finished_run(tmp_path):
    assert not records.is_complete(tmp_path / "run", KEY)
    written(tmp_path / "run")
    assert records.is_complete(tmp_path / "run", KEY)
    (tmp_path / "run" / "meta.json").unlink()
    assert not records.is_complete(tmp_path / "run", KEY)
    with pytest.raises(UserError, match=r"meta\.json is missing: .*run is no finished run"):
        records.read(tmp_path / "run")


def test_a_write_that_fails_half_way_leaves_no_finished_run_and_no_part_of_a_file(tmp_path):
    (tmp_path / "curve.csv").mkdir()
    with pytest.raises(OSError):
        written(tmp_path)
    assert files(tmp_path) == ["config.yaml", "curve.csv"]
    assert not records.is_complete(tmp_path, KEY)


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "index.csv"
    records.write_atomically(path, "old\n")
    with pytest.raises(UnicodeEncodeError):
        records.write_atomically(path, "new \ud800\n")
    assert path.read_text() == "old\n"
    assert files(tmp_path) == ["index.csv"]


def test_a_write_that_fails_is_an_error_by_the_name_that_the_user_knows(tmp_path, full_at):
    path = tmp_path / "index.csv"
    with pytest.raises(OSError) as of_bytes, full_at(5):
        records.write_atomically(path, "much more than five bytes\n")
    with pytest.raises(OSError) as of_the_folder:
        records.write_atomically(tmp_path / "missing" / ("x" * 255), "no place for a longer name beside it\n")
    path.mkdir()
    with pytest.raises(OSError) as of_the_name:
        records.write_atomically(path, "a folder has the name\n")
    assert of_bytes.value.filename == of_the_name.value.filename == str(path)
    assert of_the_folder.value.filename == str(tmp_path / "missing" / ("x" * 255))
    assert files(tmp_path) == ["index.csv", "missing"]


@pytest.mark.parametrize("name", ["chmod", "replace"])
def test_a_file_that_is_cleared_while_it_is_written_is_written_again(tmp_path, monkeypatch, name):
    """As of a run that two sweeps share, each in another group, whose lock is another."""
    path, moments = tmp_path / "run" / "curve.csv", [getattr(os, name)]

    def cleared_before(*args):
        moments.append("this one")
        if len(moments) == 2:
            with Lock(tmp_path / "other.lock", guards=[path]):
                assert files(tmp_path / "run") == []
        moments[0](*args)

    monkeypatch.setattr(os, name, cleared_before)
    records.write_atomically(path, "whole\n")
    assert path.read_text() == "whole\n"
    assert files(tmp_path) == ["curve.csv", "run"] and len(moments) == 3


def test_a_file_that_is_cleared_again_and_again_is_an_error_by_its_own_name(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "chmod", lambda temporary, mode: os.unlink(temporary))
    with pytest.raises(FileNotFoundError) as gone:
        records.write_atomically(tmp_path / "index.csv", "never\n")
    assert gone.value.filename == str(tmp_path / "index.csv") and files(tmp_path) == []


@pytest.fixture
def full_at():
    """Writes end at so many bytes, as on a disk that is full."""

    @contextmanager
    def limited(size):
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)

    return limited


def test_a_folder_that_holds_another_run_is_neither_done_nor_overwritten(tmp_path):
    written(tmp_path, key=KEY[:8] + "b" * 56)
    with pytest.raises(UserError, match=f"holds another run: its key is {KEY[:8]}bbb.*, this run's is {KEY}"):
        records.is_complete(tmp_path, KEY)


def test_a_curve_that_was_changed_is_refused_by_its_checksum(tmp_path):
    written(tmp_path)
    path = tmp_path / "curve.csv"
    path.write_text(path.read_text().replace("0.333333333", "0.333333334"))
    with pytest.raises(UserError, match=r"curve\.csv was changed after it was written.*Delete the folder"):
        records.read(tmp_path)


def test_a_truncated_file_of_meta_data_is_named_whoever_reads_it(tmp_path):
    written(tmp_path)
    path = tmp_path / "meta.json"
    path.write_text(path.read_text()[:40])
    for reader in (lambda: records.read(tmp_path), lambda: records.is_complete(tmp_path, KEY)):
        with pytest.raises(UserError, match=r"meta\.json is damaged .* Delete the folder and run it again"):
            reader()


def test_a_curve_that_is_missing_is_named_with_its_remedy(tmp_path):
    written(tmp_path)
    (tmp_path / "curve.csv").unlink()
    with pytest.raises(UserError, match=r"curve\.csv is missing: .*Delete it and run it again"):
        records.read(tmp_path)


def leaves(node, path=()):
    if isinstance(node, dict):
        return [leaf for name, below in node.items() for leaf in leaves(below, (*path, name))]
    return [path]


def test_every_value_of_a_configuration_moves_the_key():
    config = job("schedule=inverse_sqrt_step").config
    assert len(leaves(config)) > 15
    for *path, name in leaves(config):
        changed = copy.deepcopy(config)
        node = changed
        for part in path:
            node = node[part]
        node[name] = [node[name], "something else"]
        assert records.key_of({"config": changed}) != records.key_of({"config": config}), (*path, name)


def test_a_new_version_of_the_curves_moves_every_key(monkeypatch):
    before = job().key
    monkeypatch.setattr(records, "CURVE_VERSION", records.CURVE_VERSION + 1)
    assert job().key != before


@pytest.mark.parametrize(
    "overrides",
    [
        ["figure=fig1_mnist", "l2=0", "epochs=3", "evaluate_at=null"],
        ["arm=tuned"],
        ["curve=mine"],
        ["device=cpu:0"],
        ["dataset.root=elsewhere"],
        ["tracking.mode=disabled"],
        ["tracking.project=mine"],
        ["workers=7"],
        ["on_grid_edge=true"],
    ],
)
def test_what_a_figure_calls_a_run_and_where_it_runs_move_no_key(overrides):
    assert job(*overrides).key == job().key


def test_a_record_lies_where_its_job_says_and_can_be_moved_with_its_folder(tmp_path):
    planned = job("optimizer=adagrad", "optimizer.lr=3e-2", "seed=7", results=tmp_path)
    execute([planned])
    assert planned.folder.relative_to(tmp_path / "runs" / "logistic_regression").name == planned.folder.name
    assert planned.folder.name == f"tiny_adagrad_lr0.03_seed7-{planned.key[:8]}"
    shutil.move(planned.folder, tmp_path / "elsewhere")
    assert records.read(tmp_path / "elsewhere").config == planned.config
    assert json.loads((tmp_path / "elsewhere" / "meta.json").read_text())["key"] == planned.key
