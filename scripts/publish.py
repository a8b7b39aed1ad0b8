"""Save figures on W&B: `make publish SCALE=quick FIGURE=fig1_mnist`, after `wandb login`.

A workspace for each figure and a report of all of them, which show what `make wandb-sync` uploads. The printed curves
are made runs first, beside the others of the figure, so that they are uploaded too.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import pandas as pd

from adam_repro import publishing
from adam_repro.analysis import report
from adam_repro.analysis.claims.section6_4 import FIGURE as FIGURE_4
from adam_repro.analysis.curves import FigureData
from adam_repro.analysis.grid import printed_points
from adam_repro.app import compose, shown_kindly
from adam_repro.errors import UserError
from adam_repro.publishing import Published
from adam_repro.search import chosen_figures, experiment_of, node_of
from adam_repro.surroundings import PROJECT_ROOT
from adam_repro.tracking import mirror_printed, mirror_printed_grid
from adam_repro.uploading import account, is_uploaded, offline_runs


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scale", default="quick", help="smoke, quick, paper or reference")
    parser.add_argument("--figure", default="all", help="all that have results, or names separated by commas")
    parser.add_argument("--results", type=Path, default=PROJECT_ROOT / "results")
    parser.add_argument("--entity", help="whose they are to be: a user or a team; without, the one that is logged in")
    given = parser.parse_args()
    with shown_kindly():
        figures = load(given.results / given.scale, given.figure)
        for figure in figures:
            tracking = tracking_of(figure) | ({"entity": given.entity} if given.entity else {})
            if figure.panel is not None:
                mirror_printed(figure.name, figure.panel, tracking, figure.data.folder / "wandb")
            if len(figure.printed_points):
                epochs = figure.data.provenance["epochs"]
                mirror_printed_grid(figure.name, figure.printed_points, epochs, tracking, figure.data.folder / "wandb")
        entity = tracking["entity"] or account()
        publish(figures, entity=entity, project=tracking["project"])
        if waiting := sum(not is_uploaded(run) for run in offline_runs(given.results)):
            print(f"{waiting} runs are not uploaded yet; `make wandb-sync` says which.")


def load(folder: Path, names: str) -> list[Published]:
    """The figures of a scale that ``names`` asks for; UserError where one that is asked for by name has no results."""
    chosen = chosen_figures(names)
    built = {path.name for path in report.built(folder)}
    if names == "all":
        chosen = [name for name in chosen if name in built]
    missing = [name for name in chosen if name not in built]
    if missing or not chosen:
        raise UserError(
            f"{folder} holds no results of {', '.join(missing) or 'any figure'}. Run `make reproduce "
            f"SCALE={folder.name} FIGURE={','.join(missing) or 'all'}` first."
        )
    found = [published(folder / name) for name in chosen]
    if empty := [figure.name for figure in found if not figure.arms]:
        raise UserError(f"{folder} has no runs of {', '.join(empty)} that W&B would show: only those of its control.")
    return found


def published(folder: Path) -> Published:
    node = node_of(folder.name)
    data, verdicts = FigureData.load(folder), report.read_verdicts(folder / "verdicts.csv")
    points = printed_points(data) if folder.name == FIGURE_4 else pd.DataFrame()
    return Published(data, node["title"], node["panel"], points, verdicts)


def tracking_of(figure: Published) -> dict:
    """Where configs/tracking has runs mirrored to, but offline: a printed curve is uploaded with the others."""
    return dict(compose(experiment_of(figure.name), []).tracking) | {"mode": "offline"}


def publish(figures: list[Published], *, entity: str, project: str) -> None:
    """Save the report and the workspaces; UserError where W&B does not take them."""
    report_of_all = publishing.report(figures, entity=entity, project=project)
    workspaces = [publishing.workspace(figure, entity=entity, project=project) for figure in figures]
    try:
        print(f"Report: {report_of_all.save().url}")
        for figure, workspace in zip(figures, workspaces, strict=True):
            print(f"{figure.title}: {workspace.save().url}")
    except Exception as error:  # W&B's client has no class for all that a server may refuse
        raise UserError(
            f"W&B did not take what was built ({' '.join(str(error).split())}). A project is there once runs have been "
            f"uploaded to it: is {entity}/{project}, by `make wandb-sync ARGS=--yes`? The same command tries again."
        ) from error


if __name__ == "__main__":
    main()
