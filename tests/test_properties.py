"""The measurements of Algorithm 1: what they write, and that a wrong rule would be found out."""

import pandas as pd
import torch

from adam_repro import properties
from adam_repro.analysis.claims import decide
from adam_repro.analysis.measurements import COLUMNS
from adam_repro.optimizers import Adam


def written(folder, seed=0):
    properties.write(folder, scale="paper", seed=seed, command="none")
    return folder


def test_the_paths_positions_are_those_of_the_optimizer():
    gradients = properties.random_gradients(0, "test")[:5]
    theta = torch.zeros(properties.SIZE, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.Adam([theta], lr=1e-3, eps=1e-8)
    for g, position in zip(gradients, properties.path(gradients, eps=1e-8), strict=True):
        theta.grad = g.clone()
        optimizer.step()
        torch.testing.assert_close(position, theta.detach(), rtol=0, atol=1e-15)


def test_measurements_are_the_same_each_time_and_support_the_claims(tmp_path):
    first = written(tmp_path / "properties")
    again = written(tmp_path / "again" / "properties")
    other = written(tmp_path / "other" / "properties", seed=1)
    texts = [(folder / "measurements.csv").read_text() for folder in (first, again, other)]
    assert texts[0] == texts[1] != texts[2]
    table = pd.read_csv(first / "measurements.csv")
    assert list(table.columns) == COLUMNS
    assert set(table["claim"]) == set(properties.MEASURED)
    verdicts = decide(first)
    assert set(verdicts["verdict"]) == {"supported"}
    assert set(verdicts["claim"]) == set(properties.MEASURED)


def without_correction(theta, g, m, v, t, *, lr, beta1, beta2, eps, bias_correction=True):
    return RIGHT_RULE(theta, g, m, v, t, lr=lr, beta1=beta1, beta2=beta2, eps=eps, bias_correction=False)


RIGHT_RULE = Adam.rule


def test_a_wrong_rule_is_found_out(tmp_path, monkeypatch):
    monkeypatch.setattr(Adam, "rule", staticmethod(without_correction))
    verdicts = decide(written(tmp_path / "properties")).set_index("claim")["verdict"]
    assert set(verdicts[verdicts == "contradicted"].index) == {"C3"}, "the first step is sqrt(10) times too long"
