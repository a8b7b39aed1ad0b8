"""Rebuild figures, verdicts and report.html from the files that `make reproduce` wrote: `make report SCALE=quick`.

`make report SCALE=reference` rebuilds them from the committed files, and the tables of the README and of docs/. It is
the only scale whose figures, verdicts, page and tables are tracked.
"""

from __future__ import annotations

import argparse

from adam_repro.analysis import findings, page, report
from adam_repro.app import check_scale, shown_kindly
from adam_repro.errors import UserError
from adam_repro.surroundings import PROJECT_ROOT


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scale", default="quick", help="smoke, quick, paper or reference")
    scale = parser.parse_args().scale
    reference = PROJECT_ROOT / "results" / "reference"
    folder = PROJECT_ROOT / "results" / scale
    with shown_kindly():
        check_scale(scale, "reference")
        folders = report.built(folder)
        if not folders:
            raise UserError(f"{folder} holds no results. Run `make reproduce SCALE={scale}` first.")
        for figure in folders:
            report.build(figure)
        report.build_overview(folder)
        if scale == "reference":
            report.update_readme(PROJECT_ROOT / "README.md", reference)
            findings.write(PROJECT_ROOT / "docs", reference)
        report.show_verdicts(folder, reference)
        if shown := page.write(folder, reference):
            print(f"Report: {shown}")


if __name__ == "__main__":
    main()
