"""A figure's folder with invented results, so that each verdict can be asked for."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path

import pandas as pd

from adam_repro.analysis.curves import CURVE_COLUMNS, DIAGNOSTIC_COLUMNS, FINAL_COLUMNS

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


def write_passes(
    folder: Path, costs: dict[str, list[float]], *, arms: dict[str, str] | None = None, **provenance
) -> Path:
    """Runs of five seeds with the given training cost in each pass, of as many passes as there are costs; tuned, but
    for curves whose arm is in ``arms``."""
    ends = {((arms or {}).get(curve, "tuned"), curve): path[-1] for curve, path in costs.items()}
    write_figure(folder, ends, epochs=len(next(iter(costs.values()))), **provenance)
    curves = pd.read_csv(folder / "curves.csv")
    for place in curves.index[curves["epoch"] > 0]:
        curve, seed, epoch = curves.loc[place, ["curve", "seed", "epoch"]]
        curves.loc[place, "train_cost"] = costs[curve][epoch - 1] * (1 + NOISE[(seed + epoch + len(curve)) % 5])
    curves.to_csv(folder / "curves.csv", index=False)
    return folder


def write_diagnostics(
    folder: Path, shares: dict[str, list[float]], *, seeds: int = 5, p99: tuple[float, ...] = (0.9,) * 5
) -> Path:
    """For tuned Adam, the share of each layer's coordinates with sqrt(v_hat) < eps, by pass; ``p99`` of its steps over
    alpha, by seed."""
    rows = [
        ["tuned", "Adam", seed, epoch, layer, share, 1e-6, 0.1, p99[seed], 2.0, 0.2]
        for layer, path in shares.items()
        for epoch, share in enumerate(path, start=1)
        for seed in range(seeds)
    ]
    pd.DataFrame(rows, columns=DIAGNOSTIC_COLUMNS).to_csv(folder / "diagnostics.csv", index=False)
    return folder


ALPHAS = (3e-5, 1e-4, 3e-4, 1e-3, 3e-3, 1e-2)
FORMS = {"corrected": ("grid", True), "uncorrected": ("grid", False), "control": ("control", True)}


def write_vae_grid(
    folder: Path,
    cost: Callable[[str, float, float, float, int], float],
    *,
    milestones: tuple[int, ...] = (10, 100),
    seeds: int = 5,
    alphas: tuple[float, ...] = ALPHAS,
    forms: tuple[str, ...] = tuple(FORMS),
    beta2s: tuple[float, ...] = (0.99, 0.999, 0.9999),
    gains: tuple[float, ...] = (0.0, 0.0),
    **provenance,
) -> Path:
    """Figure 4's runs: ``cost`` of (form, beta1, beta2, alpha, seed), NaN for a run that diverged; and what correction
    ``gains`` at each of the milestones besides, where beta2 is near 1."""
    folder.mkdir(parents=True, exist_ok=True)
    ends = []
    for form in forms:
        arm, corrected = FORMS[form]
        schedule = "missing_correction" if form == "control" else "constant"
        cells = [(b1, b2, lr, s) for b1 in (0.0, 0.9) for b2 in beta2s for lr in alphas for s in range(seeds)]
        for beta1, beta2, lr, seed in cells:
            value = cost(form, beta1, beta2, lr, seed)
            hyper = json.dumps({"beta1": beta1, "beta2": beta2, "eps": 1e-8, "bias_correction": corrected})
            status = ["diverged", 7] if math.isnan(value) else ["finished", 0]
            for milestone, gain in zip(milestones, gains[-len(milestones) :], strict=True):
                less = gain if form == "corrected" and beta2 > 0.99 else 0.0
                costs = [value - less, value - less, value - less + 1, math.nan]
                ends.append([arm, "Adam", lr, schedule, hyper, 0.0, seed, *status, milestone, *costs, "record"])
    pd.DataFrame(ends, columns=FINAL_COLUMNS).to_csv(folder / "finals.csv", index=False)
    pd.DataFrame(columns=CURVE_COLUMNS).to_csv(folder / "curves.csv", index=False)
    facts = {**PROVENANCE, "figure": "fig4", "epochs": max(milestones), "l2": 0.0, "tuned_at": None, **provenance}
    (folder / "provenance.json").write_text(json.dumps(facts))
    return folder
