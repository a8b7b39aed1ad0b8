"""Builds what is saved on Weights & Biases: a workspace for each figure, and a report of all with their verdicts.

Building is pure: from a figure's files to an object that says what W&B is to show. Saving it is the last step, and the
only one that asks a server (``scripts/publish.py``). A panel shows runs of the mirror (``tracking.py``) by what their
configuration says of them: figure, arm and curve; the figure's length and data keep other scales' runs out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
import wandb_workspaces.expr as expr
import wandb_workspaces.reports.v2 as wr
import wandb_workspaces.workspaces as ws

from adam_repro.analysis.curves import FigureData
from adam_repro.analysis.figures import style_of
from adam_repro.analysis.gather import UNDRAWN_ARMS
from adam_repro.analysis.report import effect
from adam_repro.analysis.sensitivity import series_of
from adam_repro.tracking import PRINTED

GRID = "grid"
ARMS = {
    "tuned": "Tuned by the protocol, beside the printed curves: these decide the claims",
    "sfo": "SFO, which has nothing to tune",
    "sfo_fresh_masks": "SFO with dropout",
    "sfo_frozen_masks": "SFO with dropout masks that are the same in every pass",
    "matched": "Matched to the printed curves",
    "narrow": "Tuned as Figure 1 is",
    "averaged": "Adam, judged by the average of its parameters",
    "ablation_of_m": "Adam without its first moment",
    "ablation_of_v": "Adam with its second moment as it is after the first pass",
    "default": "Default settings",
    GRID: "Final training cost against learning rate",
}
BESIDE_PRINTED = ("tuned", "matched")
LOGARITHMIC = ("2a", "2b", "3")  # panels of the paper whose axis of costs is so
WIDTH, HALF = 24, 12  # of a report, in its units
RUN_SET = "runs"
HALF_CLEAR = "80"  # behind a hexadecimal colour


@dataclass(frozen=True)
class Published:
    """A figure's files with what its config calls it, the panel of the paper that has its printed curves, and the
    printed points of its grid, [learning rate, series]."""

    data: FigureData
    title: str
    panel: str | None
    printed_points: pd.DataFrame
    verdicts: pd.DataFrame

    @property
    def name(self) -> str:
        return self.data.provenance["figure"]

    @property
    def arms(self) -> list[str]:
        """Those that the figure has, as they are to be read, and then those of a figure of one's own."""
        there = [*self.data.finals["arm"].unique()]
        return [arm for arm in ARMS if arm in there] + [a for a in there if a not in (*ARMS, *UNDRAWN_ARMS)]

    def colours(self, arm: str) -> dict[Any, Any]:
        """The colour of each curve of an arm, paler for the printed ones where they are shown beside ours."""
        ours = dict.fromkeys(self.data.curves.loc[self.data.curves["arm"] == arm, "curve"])
        shown = {curve: style_of(curve)["color"] for curve in ours}
        if self.panel and arm in BESIDE_PRINTED:
            shown |= {f"{curve}, {PRINTED}": f"{colour}{HALF_CLEAR}" for curve, colour in shown.items()}
        return shown


def workspace(figure: Published, *, entity: str, project: str) -> ws.Workspace:
    """The saved view of a figure: its deciding arm by optimizer with mean and range, printed curves, the grid."""
    (deciding, *_), has_grid = figure.arms, GRID in figure.arms
    shown = dict.fromkeys([deciding, *({"sfo"} & set(figure.arms))])  # SFO stands with the tuned ones
    sections = [] if deciding == GRID else [
        ws.Section(name=ARMS.get(deciding, deciding), is_open=True, panels=_costs(figure), layout_settings=_columns(2)),
        ws.Section(name="Evaluations at the end of a pass", is_open=True, panels=_evaluations(figure)),
    ]  # fmt: skip
    if has_grid:
        sections.append(ws.Section(name=ARMS[GRID], is_open=True, panels=_grid(figure), layout_settings=_columns(1)))
    sections.append(ws.Section(name="Seconds, of all runs that were trained together", panels=_seconds()))
    return ws.Workspace(
        entity=entity,
        project=project,
        name=figure.title,
        sections=sections,
        settings=ws.WorkspaceSettings(x_axis="epoch", max_runs=100),
        runset_settings=ws.RunsetSettings(
            filters=_filters(figure, [*shown, *([GRID] if has_grid else [])]),
            groupby=[expr.Config("curve")],
            group_colors={curve: colour for arm in shown for curve, colour in figure.colours(arm).items()},
            pinned_columns=["config:curve", "config:seed", "summary:train/cost", "summary:test/accuracy"],
        ),
    )


def report(figures: Sequence[Published], *, entity: str, project: str) -> wr.Report:
    """The figures, each with its verdicts and its arms, one below the other."""
    scale = figures[0].data.provenance["scale"]
    blocks: list[Any] = [
        wr.MarkdownBlock(
            text="What was tested of the paper, the verdict, and the runs that decided it. An effect is the ratio of "
            "two training costs with an interval over seeds, unless it has another unit. Lines are means over seeds, "
            "areas their range."
        ),
        wr.TableOfContents(),
    ]
    for figure in figures:
        facts = figure.data.provenance
        blocks += [
            wr.H1(text=figure.title),
            wr.P(text=f"{facts['dataset']['name']}, {facts['epochs']} passes, minibatches of {facts['batch_size']}, "
                      f"seeds {', '.join(map(str, facts['seeds']))}. Made by: {facts['command']}"),
        ]  # fmt: skip
        if len(figure.verdicts):
            blocks.append(wr.MarkdownBlock(text=verdict_table(figure.verdicts)))
        for arm in figure.arms:
            blocks += [wr.H2(text=ARMS.get(arm, arm)), _panel_grid(figure, arm, entity=entity, project=project)]
    return wr.Report(
        entity=entity,
        project=project,
        title=f"Adam, reproduced ({scale})",
        description="A replication of Kingma & Ba, 2015: figures and verdicts.",
        blocks=blocks,
        width="fluid",
    )


def verdict_table(verdicts: pd.DataFrame) -> str:
    """A claim a line, in Markdown: what the paper says, the verdict, effect and interval."""
    rows = [["", "what was tested of the paper", "verdict", "effect [interval]"], ["---"] * 4]
    for row in verdicts.to_dict("records"):
        rows.append([row["claim"], f"{row['statement']} (§{row['section']})", f"**{row['verdict']}**", effect(row)])
    return "\n".join(f"| {' | '.join(cells)} |" for cells in rows)


def _panel_grid(figure: Published, arm: str, *, entity: str, project: str) -> wr.PanelGrid:
    runs = wr.Runset(
        entity=entity, project=project, name=RUN_SET, filters=_filters(figure, [arm]), groupby=["config.curve"]
    )
    panels = _grid(figure) if arm == GRID else [*_costs(figure), *_evaluations(figure)[:1]]
    for place, panel in enumerate(panels):
        wide = len(panels) == 1
        panel.layout = wr.Layout(x=0 if wide else HALF * (place % 2), y=0, w=WIDTH if wide else HALF, h=10)
    colours: Any = {
        wr.RunsetGroup(runset_name=RUN_SET, keys=(wr.RunsetGroupKey(wr.Config("curve"), curve),)): colour
        for curve, colour in figure.colours(arm).items()
    }
    return wr.PanelGrid(runsets=[runs], panels=panels, custom_run_colors=colours)


def _filters(figure: Published, arms: list[str]) -> str:
    """The runs of some arms of a figure, of its length and data; with what was printed where an arm has that."""
    facts = figure.data.provenance
    terms = [f"Config('figure') == '{figure.name}'"]
    of_ours = [f"Config('epochs') == {facts['epochs']}", f"Config('data') == '{facts['provenance']}'"]
    if GRID in arms and len(figure.printed_points):  # which have a length, and data, of their own
        arms = [*arms, PRINTED]
    elif figure.panel and set(arms) & set(BESIDE_PRINTED):
        arms = [*arms, PRINTED]
        of_ours = [f"({term} or Config('arm') == '{PRINTED}')" for term in of_ours]
    return " and ".join([*terms, f"Config('arm') in {arms}", *of_ours])


def _costs(figure: Published) -> list[Any]:
    log = figure.panel in LOGARITHMIC
    return [
        _lines("Training cost, mean over the pass", "train/cost", log),
        _lines("Test loss", "test/loss", log),
    ]


def _lines(title: str, metric: str, log: bool) -> wr.LinePlot:
    return wr.LinePlot(
        title=title,
        x="epoch",
        y=[metric],
        title_x="pass",
        title_y=f"{metric}, nats",
        log_y=log,
        groupby=wr.Config("curve"),
        groupby_aggfunc="mean",
        groupby_rangefunc="minmax",
        max_runs_to_show=100,
    )


def _evaluations(figure: Published) -> list[Any]:
    known = {"test/accuracy": "test_accuracy", "test/loss": "test_loss"}
    return [
        _bars(metric, f"{metric}, last pass")
        for metric, column in known.items()
        if figure.data.curves[column].notna().any()
    ]


def _bars(metric: str, title: str) -> wr.BarPlot:
    return wr.BarPlot(
        title=title,
        metrics=[metric],
        groupby=wr.Config("curve"),
        groupby_aggfunc="mean",
        groupby_rangefunc="minmax",
    )


def _grid(figure: Published) -> list[Any]:
    grid = figure.data.arm(GRID)
    return [
        wr.LinePlot(
            title="Mean of the final training cost over seeds, where none diverged",
            x="sensitivity/lr",
            y=[f"sensitivity/{series}" for series in dict.fromkeys(series_of(grid))],
            title_x="learning rate",
            title_y="nats",
            log_x=True,
        )
    ]


def _seconds() -> list[Any]:
    return [_bars("train_seconds", "training"), _bars("evaluation_seconds", "evaluating")]


def _columns(count: int) -> ws.SectionLayoutSettings:
    return ws.SectionLayoutSettings(columns=count, rows=1)
