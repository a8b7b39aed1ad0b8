"""Make the results of a paper-scale figure the project's own: `make adopt FIGURE=fig1_mnist`.

Copies results/paper/<figure>/ to results/reference/<figure>/, and its tuned/ and matched/ settings to configs/.
Nothing else that a user runs changes tracked files, apart from `make report SCALE=reference`.
"""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path

from adam_repro.app import CONFIGS, shown_kindly
from adam_repro.errors import UserError
from adam_repro.surroundings import PROJECT_ROOT

RECORDS = ("curves.csv", "finals.csv", "measurements.csv", "provenance.json")
SEARCHES = ("tuning.csv", "matching.csv")
SETTINGS = ("tuned", "matched")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--figure", required=True)
    figure = parser.parse_args().figure
    with shown_kindly():
        adopted = adopt(PROJECT_ROOT / "results" / "paper" / figure, figure)
        print("\n".join(str(path.relative_to(PROJECT_ROOT)) for path in adopted))


def adopt(folder: Path, figure: str) -> list[Path]:
    """Copy what ``folder`` has; the paths written. UserError for results that are no reference."""
    if not folder.is_dir():
        raise UserError(f"{folder} does not exist. Run `make reproduce SCALE=paper FIGURE={figure}` first.")
    provenance = folder / "provenance.json"
    if provenance.exists() and json.loads(provenance.read_text())["provenance"] == "stand-in":
        raise UserError(
            f"{folder} was made from stand-in data, which are no reference. Get the real data by `make data`."
        )
    reference = PROJECT_ROOT / "results" / "reference" / figure
    copies = {folder / name: reference / name for name in (*RECORDS, *SEARCHES)}
    for kind in SETTINGS:
        copies |= {path: CONFIGS / kind / figure / path.name for path in sorted((folder / kind).glob("*.yaml"))}
    copies = {source: target for source, target in copies.items() if source.exists()}
    for source, target in copies.items():
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)
    return list(copies.values())


if __name__ == "__main__":
    main()
