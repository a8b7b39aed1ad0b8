"""What a figure is drawn from and its claims are decided by: loaded, checked and aggregated."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from adam_repro.errors import UserError
from adam_repro.integrity import COLUMNS, DIAGNOSTICS
from adam_repro.wording import counted

CURVE_COLUMNS = ["arm", "curve", "seed", *COLUMNS]
FINAL_COLUMNS = ["arm", "curve", "lr", "schedule", "hyper", "l2", "seed", "status", "diverged_step", "epochs"]
FINAL_COLUMNS += ["train_cost", "train_loss", "test_loss", "test_accuracy", "record"]
DIAGNOSTIC_COLUMNS = ["arm", "curve", "seed", *DIAGNOSTICS]
ABLATIONS = {"ablation_of_m": "Adam, beta1 = 0", "ablation_of_v": "Adam, v frozen"}
"""The arms of section 6.3's ablations, each with its one curve."""

PRINTED_FIGURE_4 = Path(__file__).with_name("paper_figure_4.csv")
PRINTED = Path(__file__).with_name("paper_figures_1_to_3.csv")


@dataclass(frozen=True)
class FigureData:
    """The files of one figure's folder; their columns are explained in results/README.md."""

    curves: pd.DataFrame
    finals: pd.DataFrame
    provenance: dict[str, Any]
    folder: Path
    diagnostics: pd.DataFrame | None = None

    @classmethod
    def load(cls, folder: Path) -> FigureData:
        """Read a figure's folder; UserError names a file that is missing or has other columns."""
        inside = folder / "diagnostics.csv"
        return cls(
            curves=_table(folder / "curves.csv", CURVE_COLUMNS),
            diagnostics=_table(inside, DIAGNOSTIC_COLUMNS) if inside.is_file() else None,
            finals=_table(folder / "finals.csv", FINAL_COLUMNS),
            provenance=load_provenance(folder),
            folder=folder,
        )

    def arm(self, name: str) -> pd.DataFrame:
        """The final results of one arm, a line a run."""
        return self.finals[self.finals["arm"] == name]

    def beside_lr(self, arm: str, curve: str) -> dict[str, Any]:
        """What a curve's runs have set beside their learning rate: momentum, and what is not as in the default arm."""
        own, usual = (
            {} if (runs := table[table["curve"] == curve]).empty else json.loads(runs["hyper"].iloc[0])
            for table in (self.arm(arm), self.arm("default"))
        )
        return {name: value for name, value in own.items() if value != (usual | {"momentum": 0.0}).get(name, value)}

    def with_arm(self, name: str, sources: Mapping[str, str]) -> FigureData:
        """The same, with the runs of whole other arms in arm ``name`` as well: of each, the name of its curve there."""

        def joined(frame: pd.DataFrame) -> pd.DataFrame:
            more = [frame[frame["arm"] == arm].assign(arm=name, curve=curve) for arm, curve in sources.items()]
            return pd.concat([frame, *(part for part in more if len(part))], ignore_index=True)

        return dataclasses.replace(self, curves=joined(self.curves), finals=joined(self.finals))


def load_provenance(folder: Path) -> dict[str, Any]:
    path = folder / "provenance.json"
    if not path.is_file():
        raise UserError(f"{path} is missing. Run {commands_for(folder)} to make it.")
    return json.loads(path.read_text())


def _table(path: Path, columns: list[str]) -> pd.DataFrame:
    if not path.is_file():
        raise UserError(f"{path} is missing. Run {commands_for(path.parent)} to make it.")
    frame = pd.read_csv(path)
    if list(frame.columns) != columns:
        raise UserError(
            f"{path} has the columns {list(frame.columns)}, not {columns}. Run {commands_for(path.parent)} to make it "
            "anew."
        )
    return frame


def commands_for(folder: Path) -> str:
    """What makes the files of ``folder``, told by where it lies: see the table in results/README.md."""
    above, name = folder.parent, folder.name
    if above.name == "reference":
        return f"`make reproduce SCALE=paper FIGURE={name}` and `make adopt FIGURE={name}`"
    if above.parent.parent.name == "compare":
        return f"`make compare SCALE={above.parent.name} FIGURE={above.name}` with the OPTIMIZER= of {name}"
    return f"`make reproduce SCALE={above.name} FIGURE={name}`"


def paper_curves(panel: str) -> pd.DataFrame:
    """The printed curves of a panel ("1L", "1R", "2a", "2b", "3"), digitised: columns curve, epoch, training_cost.

    ``epoch`` is the paper's x. It draws the cost of the first pass at x = ``first_x``, so our row e lies at
    x = e - 1 + first_x.
    """
    printed = pd.read_csv(PRINTED, dtype={"figure": str})
    return printed[printed["figure"] == panel].drop(columns="figure").reset_index(drop=True)


def first_x(curve: str) -> int:
    """The paper's x of a curve's first pass: 0, but for SFO, whose first printed point is the cost before any step."""
    return 1 if curve.startswith("SFO") else 0


def paper_figure_4() -> pd.DataFrame:
    """Figure 4's points, digitised: epochs, beta1, beta2, alpha, and the loss with and without bias correction (NaN
    where it lies above the axis)."""
    return pd.read_csv(PRINTED_FIGURE_4)


def chosen_after(facts: Mapping[str, Any]) -> str:
    """On what the settings of a figure with this provenance were chosen, such as "2 passes of 2,560 examples"; empty
    where that is what its runs train on."""
    if facts["tuned_at"] in (facts["epochs"], None) and not facts.get("tuned_on"):
        return ""
    fewer = f" of {facts['tuned_on']:,} examples" if facts.get("tuned_on") else ""
    return counted(facts["tuned_at"], "pass") + fewer


def summary(curves: pd.DataFrame, column: str, *, arm: str) -> pd.DataFrame:
    """Mean over seeds with the band about it, as ``statistics.over_seeds`` has them, of training costs the geometric
    one: columns curve, epoch, mean, low, high, n.

    Epochs that some seed did not reach, because it diverged, are left out: a mean over the survivors would flatter.
    """
    from adam_repro.analysis.statistics import over_seeds  # takes a second, which nobody who reads should wait

    parts = []
    for curve, group in curves[curves["arm"] == arm].groupby("curve", sort=False):
        table = group.pivot(index="epoch", columns="seed", values=column).dropna()
        if len(table):
            mean, low, high = over_seeds(table.to_numpy(), ratios=column == "train_cost")
            values = {"mean": mean, "low": low, "high": high, "n": table.shape[1]}
            parts.append(pd.DataFrame({"curve": curve, "epoch": table.index, **values}))
    empty = pd.DataFrame({name: np.empty(0) for name in ("curve", "epoch", "mean", "low", "high", "n")})
    return pd.concat(parts, ignore_index=True) if parts else empty
