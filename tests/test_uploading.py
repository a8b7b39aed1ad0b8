"""Uploads, by W&B's own command, to a server on this machine."""

import re
import shutil

import pytest
from loopback import loopback
from test_scripts import script

from adam_repro.errors import UserError
from adam_repro.tracking import mirror_printed
from adam_repro.uploading import account, is_uploaded, offline_runs

TRACKING = {"mode": "offline", "project": "adam-repro", "entity": None, "members": "reported"}


@pytest.fixture(scope="module")
def mirrored(tmp_path_factory):
    folder = tmp_path_factory.mktemp("mirrored")
    mirror_printed("fig1_mnist", "1L", TRACKING, folder / "quick" / "fig1_mnist" / "wandb")
    return folder


@pytest.fixture
def results(mirrored, tmp_path):
    """Three runs that no server has."""
    return shutil.copytree(mirrored, tmp_path / "results")


@pytest.fixture(autouse=True)
def nobody(tmp_path, monkeypatch):
    """Nobody is logged in, and no server is known."""
    for name, value in {"HOME": str(tmp_path), "NETRC": str(tmp_path / ".netrc")}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")  # nobody listens there
    monkeypatch.delenv("WANDB_API_KEY", raising=False)


def log_in(monkeypatch, url):
    monkeypatch.setenv("WANDB_BASE_URL", url)
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)


def sync(monkeypatch, results, *arguments):
    monkeypatch.setattr("sys.argv", ["wandb_sync.py", "--results", str(results), *arguments])
    script("wandb_sync").main()


def test_without_yes_it_says_what_would_be_sent_and_sends_nothing(results, monkeypatch, capsys):
    sync(monkeypatch, results)
    printed = capsys.readouterr().out
    assert re.search(r"^ +3 runs +0\.0 MB  .*/quick/fig1_mnist/wandb$", printed, re.M)
    assert "3 runs to upload" in printed and "Nothing was sent. `make wandb-sync ARGS=--yes`" in printed
    assert not any(map(is_uploaded, offline_runs(results)))


def test_who_is_not_logged_in_is_told_so(results, monkeypatch, capsys):
    with pytest.raises(SystemExit):
        sync(monkeypatch, results, "--yes")
    error = capsys.readouterr().err
    assert error.startswith("Error: You are not logged in") and "`wandb login`" in error and "Traceback" not in error


def test_a_server_that_does_not_answer_is_told_at_once(monkeypatch):
    monkeypatch.setattr("adam_repro.uploading.ANSWER_SECONDS", 1)
    log_in(monkeypatch, "http://127.0.0.1:9")
    with pytest.raises(UserError, match="W&B does not answer"):
        account()


def test_what_is_uploaded_is_not_uploaded_again(results, monkeypatch, capsys):
    with loopback() as server:
        log_in(monkeypatch, server.url)
        sync(monkeypatch, results, "--yes")
        sent = dict(server.rows)
        server.asked.clear()
        sync(monkeypatch, results, "--yes")
    assert sorted(sent) == [f"printed_{name}_fig1_mnist" for name in ("adagrad", "adam", "sgdnesterov")]
    assert all(row["epoch"] >= 1 and row["train/cost"] > 0 for rows in sent.values() for row in rows)
    assert server.asked == []
    assert "0 runs to upload, 0.0 MB; 3 are uploaded already." in capsys.readouterr().out


def test_a_server_that_hangs_costs_patience_and_the_runs_are_left(results, monkeypatch, capsys):
    with loopback(silent=True) as server:
        log_in(monkeypatch, server.url)
        with pytest.raises(SystemExit):
            sync(monkeypatch, results, "--yes", "--patience", "2")
    assert "W&B has taken 0 of 3 runs, and then none for 2 seconds" in capsys.readouterr().err


def test_a_damaged_run_is_named_and_costs_no_other(results, monkeypatch, capsys):
    damaged, *others = offline_runs(results)
    damaged.write_bytes(damaged.read_bytes()[:300])
    with loopback() as server:
        log_in(monkeypatch, server.url)
        with pytest.raises(SystemExit):
            sync(monkeypatch, results, "--yes")
    assert all(map(is_uploaded, others)) and not is_uploaded(damaged)
    error = capsys.readouterr().err
    assert error.startswith("Error: 1 of 3 runs could not be uploaded.") and f"{damaged.parent}: ERROR" in error
