"""The guard of CURVE_VERSION: fixed runs give the numbers that were written down when it was last raised.

Write them down anew by ``python tests/test_golden_curves.py``.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import torch
from tiny_data import CLASSES, FEATURES, tiny

from adam_repro.models import SoftmaxRegression
from adam_repro.optimizers import OPTIMIZERS
from adam_repro.records import COLUMNS, CURVE_VERSION
from adam_repro.schedules import inverse_sqrt_step
from adam_repro.training import Solo, train

GOLDEN = Path(__file__).with_name("golden_curves.csv")
REMEDY = "then write the new numbers down by `python tests/test_golden_curves.py`, and make the committed results anew."


def curves() -> pd.DataFrame:
    """Every rule with its defaults and a large learning rate, 4 epochs in float32."""
    rows = []
    for optimizer in OPTIMIZERS:
        model = SoftmaxRegression(FEATURES, CLASSES)
        learner = Solo(model, optimizer(model.parameters(), lr=0.3), schedule=inverse_sqrt_step, l2=1e-2)
        for row in train(learner, tiny(), seed=0, epochs=4, batch_size=8, evaluate_at=None):
            numbers = [float(getattr(row, column)) for column in COLUMNS[1:]]
            rows.append([CURVE_VERSION, optimizer.__name__, row.epoch, *numbers])
    return pd.DataFrame(rows, columns=["curve_version", "optimizer", *COLUMNS])


def test_no_curve_has_moved_since_the_version_of_curves_was_raised():
    golden, ours = pd.read_csv(GOLDEN), curves()
    (version,) = set(golden["curve_version"])
    assert version == CURVE_VERSION, f"{GOLDEN.name} is of version {version}, the records are not: {REMEDY}"
    assert ours["optimizer"].tolist() == golden["optimizer"].tolist(), f"the rules have changed: {REMEDY}"
    for column in COLUMNS:
        close = torch.isclose(torch.tensor(ours[column]), torch.tensor(golden[column]), rtol=2e-6, equal_nan=True)
        assert close.all(), f"numbers of {column} have moved. If they should, raise records.CURVE_VERSION, {REMEDY}"


if __name__ == "__main__":
    curves().to_csv(GOLDEN, index=False, float_format="%.8g", lineterminator="\n")
