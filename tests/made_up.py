"""A figure's folder with invented results, so that each verdict can be asked for."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pandas as pd

from adam_repro.analysis.curves import CURVE_COLUMNS, FINAL_COLUMNS

PROVENANCE = {
    "figure": "fig1_mnist",
    "scale": "paper",
    "experiment": "logistic_regression",
    "provenance": "real",
    "dataset": {"name": "mnist", "provenance": "real", "checksum": "0", "train_examples": 60_000},
    "epochs": 46,
    "batch_size": 128,
    "l2": 1e-4,
    "seeds": [0],
    "tuned_at": 46,
    "edges": [],
    "curve_version": 1,
    "versions": {},
    "hardware": {},
    "commit": "0",
    "command": "none",
    "written": "never",
}
NOISE = (-0.004, 0.003, 0.001, -0.002, 0.002)


def write_figure(
    folder: Path,
    finals: dict[tuple[str, str], float | list[float]],
    *,
    seeds: int = 5,
    epochs: int = 46,
    grid: dict | None = None,
    **provenance,
) -> Path:
    """Runs of (arm, curve) that fall from 0.7 to their final cost; a list gives each seed's, NaN is a diverged run.

    ``grid`` maps (curve, lr) to a final cost in the same way.
    """
    folder.mkdir(parents=True, exist_ok=True)
    ends, curves = [], []
    runs = {(arm, curve, 0.1): cost for (arm, curve), cost in finals.items()}
    runs |= {("grid", curve, lr): cost for (curve, lr), cost in (grid or {}).items()}
    for (arm, curve, lr), cost in runs.items():
        costs = (
            cost if isinstance(cost, list) else [cost * (1 + NOISE[(seed + len(curve)) % 5]) for seed in range(seeds)]
        )
        for seed, final in enumerate(costs):
            lost = math.isnan(final)
            setting = [arm, curve, lr, "constant", '{"momentum":0.9}' if curve == "SGDNesterov" else "{}", 1e-4, seed]
            status = ["diverged", 7] if lost else ["finished", 0]
            ends.append([*setting, *status, epochs, final, final, final, 0.9, f"{arm}_{curve}_{lr}_{seed}"])
            for epoch in range(1 if lost else epochs + 1):
                level = math.nan if epoch == 0 else final + (0.7 - final) * max(0.0, 1 - (epoch - 1) / 10)
                if arm != "grid":
                    curves.append([arm, curve, seed, epoch, level, level, 0.01, level, 0.9])
    pd.DataFrame(ends, columns=FINAL_COLUMNS).to_csv(folder / "finals.csv", index=False)
    pd.DataFrame(curves, columns=CURVE_COLUMNS).to_csv(folder / "curves.csv", index=False)
    (folder / "provenance.json").write_text(json.dumps({**PROVENANCE, "epochs": epochs, **provenance}))
    return folder
