"""What a reader sees at the end: verdicts in the terminal, figures beside their data, the tables of the README."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd
from rich.console import Console
from rich.table import Table
from rich.text import Text

from adam_repro import records
from adam_repro.analysis import claims, figures
from adam_repro.analysis.captions import CAPTIONS
from adam_repro.analysis.claims.everywhere import OVERVIEW, Everything
from adam_repro.analysis.curves import FigureData, load_provenance
from adam_repro.analysis.figures.overview import overview, with_panels
from adam_repro.analysis.headlines import HEADLINES, rows_of
from adam_repro.analysis.measurements import load
from adam_repro.errors import UserError

TEMPLATES = jinja2.Environment(
    loader=jinja2.FileSystemLoader(Path(__file__).parent),
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=True,
)
COLOURS = {"supported": "green", "contradicted": "red"}
WIDTH_WHERE_PIPED = 150
WORKLOADS = {
    "logistic_mnist": "logistic regression, MNIST",
    "logistic_imdb": "logistic regression, IMDB's 10,000 words",
    "mlp": "784-1000-1000-10, dropout",
    "vae": "variational autoencoder, 784-500-50-500-784",
    "cnn": "c64-c64-c128-1000, dropout",
}


def build(folder: Path) -> None:
    """Draw the figure whose data lie in ``folder`` (where it has one) and decide its claims into ``verdicts.csv``."""
    if load_provenance(folder)["figure"] in figures.FIGURES:
        figures.save(load(folder), folder)
    decide(folder)


def decide(folder: Path) -> None:
    """Decide the claims of the figure whose data lie in ``folder`` into ``verdicts.csv``."""
    _write_csv(folder / "verdicts.csv", claims.decide(folder))


def built(results: Path) -> list[Path]:
    """The folders of one scale (or of the reference) that hold the data of a figure, by name."""
    return sorted(path.parent for path in results.glob("*/provenance.json"))


def build_overview(results: Path) -> Path | None:
    """Draw Figures 1 to 4 on one sheet and decide the claims that all figures bear on together, in a folder of its
    own; that folder, None where no figure has results."""
    there = {folder.name: load(folder) for folder in built(results)}
    trained = {name: data for name, data in there.items() if isinstance(data, FigureData)}
    if not trained:
        return None
    folder = results / OVERVIEW
    folder.mkdir(exist_ok=True)
    if shown := with_panels(trained):
        figures.write(lambda: overview(shown), folder)
    else:
        figures.remove(folder)
    _write_csv(folder / "verdicts.csv", claims.examined(claims.of_figure(OVERVIEW), Everything(trained)))
    return folder


def gather_verdicts(results: Path) -> pd.DataFrame:
    """The verdicts of all folders below ``results``, C2 before C10 and L after C; written to its verdicts.csv too."""
    folders = [*built(results), results / OVERVIEW]
    found = [read_verdicts(path) for folder in folders if (path := folder / "verdicts.csv").is_file()]
    if not found:
        return pd.DataFrame(columns=claims.COLUMNS)
    joined = pd.concat(found, ignore_index=True).sort_values("claim", key=lambda ids: ids.map(_natural), kind="stable")
    _write_csv(results / "verdicts.csv", joined)
    return joined


def show_verdicts(results: Path, reference: Path, *, console: Console | None = None) -> None:
    """Print the verdicts of ``results`` (one scale) beside those of ``reference``, and where figures and tables are."""
    console = console or Console()
    if not console.is_terminal:
        console = Console(file=console.file, width=WIDTH_WHERE_PIPED)
    ours = gather_verdicts(results)
    if ours.empty:
        console.print("No claims were decided.")
        return
    recorded = pd.concat([read_verdicts(path) for path in sorted(reference.glob("*/verdicts.csv"))] or [ours.head(0)])
    theirs = {row["claim"]: row for row in recorded.to_dict("records")}
    table = Table(title="Verdicts", title_justify="left", show_lines=True)
    for heading in ("claim", "what was tested of the paper", "this run", "effect and interval", "reference"):
        table.add_column(heading, no_wrap=heading == "claim")
    for row in ours.to_dict("records"):
        verdict = Text(row["verdict"], style=COLOURS.get(row["verdict"], ""))
        recorded_row = theirs.get(row["claim"])
        beside = f"{recorded_row['verdict']}, {effect(recorded_row)}" if recorded_row else "none yet"
        table.add_row(row["claim"], f"{row['statement']} (§{row['section']})", verdict, effect(row), beside)
    console.print(table)
    scales, data = (", ".join(sorted(set(ours[column]))) for column in ("scale", "provenance"))
    console.print(
        f"scale {scales}; data {data}. A ratio below 1 is in favour of the first; [the interval that decided: 95 % or "
        "Holm's, 90 % where equality is asked]; n counts seeds, unless the note says what it and the effect are.",
        highlight=False,
        markup=False,
    )
    console.print(f"Verdicts with their notes: {results / 'verdicts.csv'}", highlight=False, soft_wrap=True)
    for path in sorted(results.glob("*/figure.png")):
        console.print(f"Figure: {path}", highlight=False, soft_wrap=True)


def effect(row: dict[str, Any]) -> str:
    """An effect with its unit, interval and n in words that fit a table: ``0.934 [0.931, 0.937], n = 10``. Where all
    cases are one number, an interval of no width would say too much."""
    if math.isnan(row["effect"]):
        return f"n = {row['n']}"
    if math.isinf(row["effect"]):
        return f"infinite, for a run was lost, n = {row['n']}"
    none = math.isnan(row["low"]) or row["low"] == row["high"]
    interval = "" if none else f" [{_short(row['low'])}, {_short(row['high'])}]"
    return f"{_short(row['effect'])}{interval}{' ' + row['unit'] if row['unit'] else ''}, n = {row['n']}"


def shortfall(row: dict[str, Any]) -> str:
    """How the runs fall short of the paper's, or their tuning of them, for a table without the notes; empty where
    neither does."""
    parts = row["note"].split("; ")
    return next((part for kind in ("reduced: ", "tuned at ") for part in parts if part.startswith(kind)), "")


def effect_in_full(row: dict[str, Any]) -> str:
    """Effect and shortfall, as far as there is one."""
    return "; ".join(filter(None, [effect(row), shortfall(row)]))


def _short(number: float) -> str:
    return f"{number:.3f}" if 1e-3 <= abs(number) < 1e4 else f"{number:.1e}" if number else "0"


def update_readme(readme: Path, reference: Path) -> None:
    """Write the tables of the README, between their markers, from the committed reference."""
    verdicts = gather_verdicts(reference)
    values = {"headlines": rows_of(HEADLINES, verdicts), "verdicts": verdicts.to_dict("records")}
    table = _rendered("readme_verdicts.md.j2", **values, captions=CAPTIONS, effect=effect_in_full)
    records.write_atomically(readme, _between_markers(readme, "verdicts", table))
    measured = reference / "bench" / "bench.json"
    if measured.is_file():
        on_gpu = measured.with_name("gpu.json")
        gpu = speed_on_gpu(json.loads(on_gpu.read_text())) if on_gpu.is_file() else None
        elsewhere = {
            path.name: speed(json.loads(path.read_text())) for path in sorted(measured.parent.glob("bench_*.json"))
        }
        values = {**speed(json.loads(measured.read_text())), "elsewhere": elsewhere, "gpu": gpu}
        values |= {"percent": _percent, "digits": _digits}
        table = _rendered("readme_speed.md.j2", **values)
        records.write_atomically(readme, _between_markers(readme, "speed", table))
    tortured = reference / "reliability" / "torture.json"
    if tortured.is_file():
        kept = measured.with_name("checkpoints.json")
        costs = json.loads(kept.read_text())["checkpoints"] if kept.is_file() else []
        table = _rendered("readme_reliability.md.j2", table=json.loads(tortured.read_text()), **checkpointing(costs))
        records.write_atomically(readme, _between_markers(readme, "reliability", table))


def checkpointing(costs: list[dict[str, Any]]) -> dict[str, Any]:
    """What the README says of the rows of a checkpoints.json."""
    rows = [{**row, "title": WORKLOADS[row["workload"]]} for row in costs]
    return {"checkpoints": rows, "shares": _span((100 * row["share"] for row in costs), "{:.2f} %")}


def speed(bench: dict[str, Any]) -> dict[str, Any]:
    """What the README says of a bench.json, which may lack workloads and variants: a row for each workload it has."""
    rows = []
    for name, title in WORKLOADS.items():
        measured = [row for row in bench["measured"] if row["workload"] == name]
        best: dict[str, Any] = dict.fromkeys(("typical", "solo", "population", "JAX vmap + optax"))
        for row in sorted(measured, key=lambda row: row["ms_per_member_step"], reverse=True):
            best[row["variant"]] = row
        if measured:
            rows.append({"title": title, **best, "jax": best["JAX vmap + optax"]})
    runs = [row for row in bench["measured"] if row["variant"] == "run"]
    return {
        "bench": bench,
        "rows": rows,
        "peaks": _span(bench["gemm_peak_gflops"].values(), "{:.0f}"),
        "overheads": _span((row["ratio_to_bare"] for row in runs), "{:.2f}"),
        "evaluations": _span((100 * row["evaluation_share"] for row in runs), "{:.0f} %"),
        "in_figures": _span((100 * row["evaluation_share_of_run"] for row in runs), "{:.1f} %"),
    }


def speed_on_gpu(bench: dict[str, Any]) -> dict[str, Any]:
    """What the README says of a gpu.json: for each workload the typical loop, and the fewest and the most in step."""
    rows = []
    for name, title in WORKLOADS.items():
        measured = {(row["variant"], row["k"]): row for row in bench["measured"] if row["workload"] == name}
        if measured:
            sizes = sorted(k for variant, k in measured if variant == "in step")
            few, many = (measured["in step", k] for k in (sizes[0], sizes[-1]))
            rows.append({"title": title, "typical": measured["typical", 1], "few": few, "many": many})
    return {"rows": rows, "peaks": _span(bench["gemm_peak_gflops"].values(), "{:,.0f}"), "hardware": bench["hardware"]}


def _span(numbers: Iterable[float], form: str) -> str:
    """The least and the largest of ``numbers``, as ``form`` writes them; nothing where there are none."""
    ordered = sorted(numbers)
    return " to ".join(dict.fromkeys(form.format(number) for number in (*ordered[:1], *ordered[-1:])))


def _percent(share: float | None) -> str:
    return "" if share is None else f"{100 * share:.0f} %"


def _digits(number: float) -> str:
    """Three significant digits, and all of those before the point."""
    return f"{number:.3g}" if number < 999.5 else f"{number:.0f}"


def _between_markers(readme: Path, name: str, table: str) -> str:
    text = readme.read_text()
    begin, end = f"<!-- {name} -->\n", f"<!-- /{name} -->"
    if text.count(begin) != 1 or text.count(end) != 1:
        raise UserError(f"{readme} must have the lines {begin.strip()} and {end} once each: its table goes there.")
    before, rest = text.split(begin)
    return before + begin + table + end + rest.split(end)[1]


def _rendered(template: str, **values: Any) -> str:
    return TEMPLATES.get_template(template).render(**values)


def read_verdicts(path: Path) -> pd.DataFrame:
    """A verdicts.csv; what is empty there, or was not written yet when it was made, is the empty word."""
    words = dict.fromkeys(("unit", "matched", "note"), "")
    found = pd.read_csv(path, dtype=dict.fromkeys(("section", *words), str))  # section 4 is no number
    return found.assign(**{name: "" for name in words if name not in found}).fillna(words)


def _natural(id: str) -> str:
    """A key that sorts C2 before C10."""
    return re.sub(r"\d+", lambda number: number[0].zfill(3), id)


def _write_csv(path: Path, frame: pd.DataFrame) -> None:
    records.write_atomically(path, frame.to_csv(index=False, float_format="%.6g", lineterminator="\n"))
