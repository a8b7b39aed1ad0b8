"""The claims that a reader wants first, in the paper's order; and how a claim is entered that was not run."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import pandas as pd

from adam_repro.analysis.claims import LEDGER
from adam_repro.analysis.claims.everywhere import OVERVIEW

HEADLINES = ("L7", "L8a", "L9", "L11a", "L12a", "L16a", "L17a", "L18", "L21a", "L22")
NOT_RUN = "not run"


def rows_of(ids: Iterable[str], verdicts: pd.DataFrame) -> list[dict[str, Any]]:
    """The verdicts on these claims, in this order, each as the columns of ``verdicts``.

    A claim without one has the verdict ``NOT_RUN``, no numbers, and in its note the command that decides it. KeyError
    for an id that the ledger lacks.
    """
    decided = {row["claim"]: row for row in verdicts.to_dict("records")}
    return [decided.get(id) or _not_run(id) for id in ids]


def _not_run(id: str) -> dict[str, Any]:
    claim = LEDGER[id]
    return {
        "claim": id,
        "section": claim.section,
        "statement": claim.statement,
        "verdict": NOT_RUN,
        **dict.fromkeys(("effect", "low", "high"), math.nan),
        "n": 0,
        **dict.fromkeys(("unit", "scale", "provenance", "matched"), ""),
        "note": f"make reproduce SCALE=paper FIGURE={'all' if claim.figure == OVERVIEW else claim.figure}",
    }
