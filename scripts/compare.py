"""Place an optimizer among those of a figure: `make compare OPTIMIZER=my_pkg.MyOpt FIGURE=fig1_mnist`.

It is tuned by the protocol and budget that the others had, trained on their seeds, and drawn over their curves, which
are not trained again: the committed reference, or at another SCALE what `make reproduce SCALE=...` left here. OPTIMIZER
is an import path, a file and a class in it (my_opt.py:MyOpt), or a name of configs/optimizer. SEARCH is its search
space, as YAML or a YAML file: '{lr: [1e-3, 3e-3, 1e-2], momentum: [0.9, 0.99]}'; without it that of its config, or
Adam's.
"""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from pathlib import Path

from rich.console import Console
from rich.table import Table

from adam_repro.analysis.comparison import Comparison
from adam_repro.app import check_place, shown_kindly
from adam_repro.comparing import compare
from adam_repro.process import settle_process, stop_by_signals
from adam_repro.surroundings import PROJECT_ROOT

WIDTH_WHERE_PIPED = 120


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--optimizer", required=True, help="import path, file.py:Class, or a name of configs/optimizer")
    parser.add_argument("--figure", default="fig1_mnist")
    parser.add_argument("--scale", default="paper", help="paper: over the committed reference; or smoke, quick")
    parser.add_argument("--search", help="its search space; default: its config's, or Adam's")
    parser.add_argument("--results", type=Path, default=PROJECT_ROOT / "results", help="where everything is written")
    parser.add_argument("overrides", nargs="*", help="Hydra overrides for every run, such as workers=4")
    given = parser.parse_args()
    sys.path.append(os.getcwd())  # where an optimizer of one's own lies
    settle_process()
    stop_by_signals()
    with shown_kindly():
        check_place(given.overrides)
        found, choice, folder = compare(
            given.optimizer,
            given.figure,
            scale=given.scale,
            results=given.results.absolute(),
            search=given.search or None,
            overrides=given.overrides,
            command=shlex.join(["python", *sys.argv]),
        )
        show(found)
        edge = ", on the edge of its grid" if choice.labels["on_grid_edge"] else ""
        print(f"\n{found.sentence()}\nSettings: {choice.settings}, of {choice.trials} trials{edge}.")
        print(f"Figure: {folder / 'figure.png'}\nTable:  {folder / 'comparison.csv'}")


def show(found: Comparison) -> None:
    console = Console()
    if not console.is_terminal:
        console = Console(width=WIDTH_WHERE_PIPED)
    table = Table(title=f"{found.name} among the others, by final training cost", title_justify="left")
    for heading in ("rank", "optimizer", "final cost", f"{found.name} / this [interval]", "n", f"{found.name} ends"):
        table.add_column(heading)
    for row in found.table.fillna({"newcomer_is": "", "note": ""}).to_dict("records"):
        new = row["curve"] == found.name
        cost = "diverged" if row["train_cost"] != row["train_cost"] else f"{row['train_cost']:.4g}"
        bare = row["low"] != row["low"]
        ratio = "" if new else f"{row['ratio']:.4f}" + ("" if bare else f" [{row['low']:.4f}, {row['high']:.4f}]")
        said = "; ".join(filter(None, (row["newcomer_is"], row["note"] if bare else "")))
        cells = [str(row["rank"]), row["curve"], cost, ratio, str(row["n"]), said]
        table.add_row(*cells, style="bold" if new else "")
    console.print(table)


if __name__ == "__main__":
    main()
