"""Check every record, index, data set and cache: `make verify`. Exit status 1 where anything is not whole."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from adam_repro import verifying
from adam_repro.app import shown_kindly
from adam_repro.data import default_root
from adam_repro.errors import UserError
from adam_repro.surroundings import PROJECT_ROOT


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--results", type=Path, default=PROJECT_ROOT / "results", help="the folder that has runs/")
    results = parser.parse_args().results
    with shown_kindly():
        if not results.is_dir():
            raise UserError(f"--results={results} is no folder. Give one that has runs/, or leave it out.")
        kept, found = verifying.check_records(results)
        parts = [kept, verifying.check_indexes(results, found), *verifying.check_data(default_root())]
        print(verifying.table(parts))
    sys.exit(any(part.problems for part in parts))


if __name__ == "__main__":
    main()
