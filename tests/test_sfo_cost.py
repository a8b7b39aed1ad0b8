"""What SFO costs: that it is measured, what is made of it, how it is drawn."""

from __future__ import annotations

import json
import math
from concurrent.futures import ThreadPoolExecutor

import pytest

from adam_repro import sfo_cost
from adam_repro.analysis import figures
from adam_repro.analysis.claims import decide
from adam_repro.analysis.claims.section6_2 import RECOMMENDED
from adam_repro.analysis.figures.section6_2 import sfo_cost as drawn
from adam_repro.analysis.measurements import Measurements
from adam_repro.measuring import write
from adam_repro.optimizers import SFO

NUMBERS = (6, 12, 24, 48)


def test_the_recommended_number_of_minibatches_is_of_training_examples():
    assert int(math.sqrt(sfo_cost.EXAMPLES) / 10) == RECOMMENDED
    assert "sqrt(number of training examples) / 10" in (SFO.__doc__ or "")


def made_up(folder, ratio, peak, *, repeats=3, spread=0.02):
    """Seconds of SFO ``ratio`` (of N) times those of Adam, up to some spread, and a ``peak`` (of N) in MB."""
    rows = ["claim,quantity,setting,value"]
    for N in NUMBERS:
        for repeat in range(repeats):
            rows.append(f'L14,"seconds of a pass, SFO","N = {N}, repeat {repeat}",{8 * ratio(N)}')
            adam = 8 * math.exp(spread * (repeat - 1))
            rows.append(f'L14,"seconds of a pass, Adam","N = {N}, repeat {repeat}",{adam}')
        rows.append(f'L14,"peak of the process, MB",{N},{peak(N)}')
    folder.mkdir(parents=True)
    (folder / "measurements.csv").write_text("\n".join([*rows, ""]))
    facts = {"figure": "sfo_cost", "scale": "paper", "provenance": "synthetic", "seeds": [0]}
    (folder / "provenance.json").write_text(json.dumps(facts))
    return folder


def linear(N):
    return 700 + 21.5 * N


@pytest.mark.parametrize(
    ("times", "spread", "repeats", "verdict"),
    [
        (7, 0.02, 3, "supported"),
        (12, 0.01, 3, "supported"),  # a little more than the paper says
        (1.5, 0.02, 3, "contradicted"),
        (14, 0.02, 3, "contradicted"),
        (11.5, 0.06, 3, "inconclusive"),  # 9.9 to 13.3
        (7, 1.0, 3, "inconclusive"),
        (7, 0.02, 2, "inconclusive"),
    ],
)
def test_five_to_ten_times_is_asked_at_the_recommended_number(tmp_path, times, spread, repeats, verdict):
    folder = made_up(tmp_path / "a", lambda N: times if N == 24 else 99, linear, spread=spread, repeats=repeats)
    row = decide(folder).set_index("claim").loc["L14a"]
    assert row["verdict"] == verdict
    assert (row["n"], row["effect"]) == (repeats, pytest.approx(times, rel=abs(spread)))
    assert "N = 6: " in row["note"] and "N = 48: " in row["note"]


@pytest.mark.parametrize(
    ("peak", "verdict"),
    [(linear, "supported"), (lambda N: 700 + N**2, "contradicted"), (lambda N: 700 - N, "contradicted")],
)
def test_memory_is_linear_if_a_rising_line_goes_through_it(tmp_path, peak, verdict):
    row = decide(made_up(tmp_path / "a", lambda N: 7, peak)).set_index("claim").loc["L14b"]
    assert row["verdict"] == verdict
    assert "MB for each minibatch" in row["note"]


def test_what_is_measured_is_what_the_claims_ask_for(tmp_path, monkeypatch):
    passes, peak = sfo_cost.measured(3, 0, examples=300, hidden=(10,), repeats=2)
    assert len(passes) == 2 and all(0 < value < 60 for each in passes for value in each)
    assert 50e6 < peak < 50e9

    monkeypatch.setattr(sfo_cost, "ProcessPoolExecutor", lambda count, mp_context: ThreadPoolExecutor(count))
    monkeypatch.setattr(sfo_cost, "measured", lambda N, seed: (passes, peak + N))
    write(tmp_path / "sfo_cost", sfo_cost.MEASURED, scale="paper", seed=0, command="none")
    frame = decide(tmp_path / "sfo_cost").set_index("claim")
    assert frame.loc["L14a", "n"] == 2 and frame.loc["L14b", "n"] == len(sfo_cost.NUMBERS) == len(NUMBERS)
    figures.save(Measurements.load(tmp_path / "sfo_cost"), tmp_path)


def test_seconds_and_memory_are_drawn_against_the_number(tmp_path):
    left, right = drawn(Measurements.load(made_up(tmp_path / "a", lambda N: 1 + N / 24, linear))).axes
    labels = [text.get_text() for text in left.get_legend().get_texts()]
    assert labels == ["SFO", "Adam"]
    assert left.lines[0].get_xdata().tolist() == list(NUMBERS) == right.lines[0].get_xdata().tolist()
    assert left.lines[0].get_ydata().tolist() == pytest.approx([8 * (1 + N / 24) for N in NUMBERS])
    assert right.lines[0].get_ydata().tolist() == pytest.approx([linear(N) for N in NUMBERS])
