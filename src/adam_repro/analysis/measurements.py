"""What arithmetic and theory claims are decided by: measured quantities, one a line, no data set involved."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from adam_repro.analysis.curves import FigureData, commands_for, load_provenance
from adam_repro.errors import UserError

COLUMNS = ["claim", "quantity", "setting", "value"]


@dataclass(frozen=True)
class Measurements:
    """The ``measurements.csv`` of a folder: a ``value`` of a ``quantity`` in a ``setting``, for a ``claim``."""

    table: pd.DataFrame
    provenance: dict[str, Any]
    folder: Path

    @classmethod
    def load(cls, folder: Path) -> Measurements:
        path = folder / "measurements.csv"
        if not path.is_file():
            raise UserError(f"{path} is missing. Run {commands_for(folder)} to make it.")
        table = pd.read_csv(path, dtype={"setting": str})
        if list(table.columns) != COLUMNS:
            raise UserError(
                f"{path} has the columns {list(table.columns)}, not {COLUMNS}. Run {commands_for(folder)} to make it "
                "anew."
            )
        return cls(table, load_provenance(folder), folder)

    def of(self, claim: str, quantity: str) -> pd.Series:
        """The values of one quantity, by setting; UserError where there is none."""
        chosen = self.table[(self.table["claim"] == claim) & (self.table["quantity"] == quantity)]
        if chosen.empty:
            raise UserError(
                f"{self.folder / 'measurements.csv'} has no {quantity!r} for {claim}. Run {commands_for(self.folder)} "
                "to make it anew."
            )
        return chosen.set_index("setting")["value"]


def load(folder: Path) -> Measurements | FigureData:
    """What the figure in ``folder`` is drawn from and its claims are decided by."""
    if load_provenance(folder)["provenance"] == "synthetic":
        return Measurements.load(folder)
    return FigureData.load(folder)
