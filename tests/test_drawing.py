"""What a figure's own process tells where it cannot draw."""

import errno
import signal

import pytest

from adam_repro.analysis import drawing


@pytest.fixture(autouse=True)
def interrupts():
    """``draw`` is deaf to them for good, as the process of a figure is to be; this one is not."""
    before = signal.getsignal(signal.SIGINT)
    yield
    signal.signal(signal.SIGINT, before)


GATHERED = {"figure": "fig1_mnist", "scale": "smoke", "command": "make reproduce"}


def test_a_figure_without_its_runs_is_named(tmp_path):
    with pytest.raises(SystemExit, match="^Error: .*index.csv is missing"):
        drawing.draw(tmp_path / "smoke" / "fig1_mnist", tmp_path, GATHERED)


@pytest.mark.parametrize("number, shown", [(errno.ENOSPC, SystemExit), (errno.EIO, OSError)])
def test_a_full_disk_is_told_in_a_sentence_and_what_nobody_expects_in_full(tmp_path, monkeypatch, number, shown):
    def full(folder):
        raise OSError(number, "it is said why", str(folder))

    monkeypatch.setattr(drawing.report, "build", full)
    with pytest.raises(shown, match="it is said why"):
        drawing.draw(tmp_path, tmp_path, None)
