"""What a user sets is checked where it is read: devices."""

from __future__ import annotations

import pytest
import torch
from tiny_data import OVERRIDES

from adam_repro.app import compose
from adam_repro.errors import UserError
from adam_repro.run import prepare
from adam_repro.settings import check_device


@pytest.mark.parametrize("name", ["cpu", "cpu:0"])
def test_a_device_that_is_there_is_allowed(name):
    check_device(name)


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_a_gpu_where_there_is_none_is_refused_with_the_remedy(tmp_path):
    with pytest.raises(UserError, match=r"^device=cuda cannot be used here: .*\w\. Give device=cpu, or device=cuda on"):
        prepare(compose("logistic_regression", [*OVERRIDES, "device=cuda", f"results={tmp_path / 'results'}"]))
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize("name", ["nonsense", "meta", "''"])
def test_what_is_no_device_to_train_on_is_refused_by_name_in_one_line(name):
    with pytest.raises(UserError, match=rf"^device={name.strip(chr(39))} cannot be used here: .*\. Give") as refusal:
        prepare(compose("logistic_regression", [*OVERRIDES, f"device={name}"]))
    assert "\n" not in str(refusal.value)


def test_runs_with_diagnostics_go_alone_on_cores(monkeypatch):
    monkeypatch.setattr("adam_repro.run.check_device", lambda name: None)
    settings = [[], ["device=cuda"], ["diagnostics=true"], ["device=cuda", "diagnostics=true"]]
    groups = [prepare(compose("logistic_regression", [*OVERRIDES, *more])).group for more in settings]
    assert len({*groups}) == 4, "a GPU has populations of its own, those with diagnostics are not the others"
    assert groups[2] is None, "they are of a single model"
