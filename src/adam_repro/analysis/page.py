"""The report: one page for all results of a scale, self-contained, with every figure, verdict and table.

Everything on it is read from the files of ``results/<scale>/``, and the time of a step from the reference's
bench.json, that of SFO from its measurements. Equal files give equal bytes.
"""

from __future__ import annotations

import base64
import io
import json
import math
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pandas as pd
from PIL import Image

from adam_repro import records
from adam_repro.analysis import trials
from adam_repro.analysis.captions import CAPTIONS
from adam_repro.analysis.claims import LEDGER, VERDICTS, of_figure
from adam_repro.analysis.claims.comparisons import reduced
from adam_repro.analysis.claims.everywhere import OVERVIEW
from adam_repro.analysis.claims.section6_2 import sfo_over_adam
from adam_repro.analysis.curves import FigureData
from adam_repro.analysis.figures.panels import FRAMES
from adam_repro.analysis.headlines import HEADLINES, rows_of
from adam_repro.analysis.measurements import Measurements, load
from adam_repro.analysis.report import TEMPLATES, built, effect, gather_verdicts, shortfall
from adam_repro.analysis.statistics import over_seeds
from adam_repro.analysis.targets import Arrival, solo_steps, times_to_target
from adam_repro.errors import UserError

NAME = "report.html"
PICTURE = "figure.png"
COLOURS = 256  # of the embedded pictures: a quarter of the bytes, and no difference to the eye
WIDTH = 900  # of a picture on the page, in CSS pixels


def write(results: Path, reference: Path) -> Path | None:
    """Write report.html of one scale (or of the reference), which must be built; its path. It shows the paper's
    figures: None where ``results`` has others alone.

    UserError where ``results`` has no figure at all, or one lacks a file.
    """
    there = {name: all((results / name / file).is_file() for file in ("provenance.json", PICTURE)) for name in CAPTIONS}
    if not any(there.values()):
        if built(results):
            return None
        raise UserError(f"{results} holds no results. Run `make reproduce SCALE={results.name}` first.")
    verdicts = gather_verdicts(results)
    path = reference / "bench" / "bench.json"
    bench = json.loads(path.read_text()) if path.is_file() else None
    timing = _timing(bench, reference / "sfo_cost")
    sheet = results / OVERVIEW / PICTURE
    figures = [_shown(results / name, verdicts, timing) for name in CAPTIONS if there[name]]
    waiting = [_named(results / name, verdicts) for name in CAPTIONS if not there[name]]
    page = (
        TEMPLATES.overlay(autoescape=True)
        .get_template("report.html.j2")
        .render(
            scale=results.name,
            overview=picture(sheet) if sheet.is_file() else None,
            everywhere=rows_of([claim.id for claim in of_figure(OVERVIEW)], verdicts),
            figures=figures,
            waiting=waiting,
            headlines=rows_of(HEADLINES, verdicts),
            not_run=len(set(LEDGER) - set(verdicts["claim"])),
            counts=_counts(verdicts),
            bench=bench,
            sharp=f"{trials.SHARP:g}",
            open=f"{trials.OPEN:g}",
            **_WORDS,
        )
    )
    records.write_atomically(results / NAME, page)
    return results / NAME


def _counts(verdicts: pd.DataFrame) -> list[tuple[str, int]]:
    found = Counter(verdicts["verdict"])
    return [(verdict, found[verdict]) for verdict in VERDICTS if found[verdict]]


def _named(folder: Path, verdicts: pd.DataFrame) -> dict[str, Any]:
    """What the page says of any figure: its settings may be known before its results are."""
    tuning, matching, rates = (folder / f"{name}.csv" for name in ("tuning", "matching", "dropout_rates"))
    matches = pd.read_csv(matching) if matching.is_file() else None
    return {
        "name": folder.name,
        "caption": CAPTIONS[folder.name],
        "verdicts": rows_of([claim.id for claim in of_figure(folder.name)], verdicts),
        "choices": trials.choices(pd.read_csv(tuning)) if tuning.is_file() else [],
        "recovered": [] if matches is None else trials.recovered(matches, FRAMES[folder.name].panel),
        "dropout_rates": trials.dropout_rates(pd.read_csv(rates)) if rates.is_file() else [],
        "compared_passes": None if matches is None else trials.compared_passes(matches),
    }


def _timing(bench: dict[str, Any] | None, sfo_cost: Path) -> dict[str, Any]:
    """How long steps and SFO's passes take, as ``times_to_target`` asks, as far as it was measured."""
    measured = Measurements.load(sfo_cost) if sfo_cost.is_dir() else None
    return {
        "step_ms": solo_steps(bench) if bench else {},
        "sfo_pass": {N: math.exp(d.mean()) for N, d in sfo_over_adam(measured).items()} if measured else {},
    }


def _shown(folder: Path, verdicts: pd.DataFrame, timing: dict[str, Any]) -> dict[str, Any]:
    """What it says besides of a figure that has results."""
    data = load(folder)
    return {
        **_named(folder, verdicts),
        "facts": data.provenance,
        "picture": picture(folder / PICTURE),
        **(_of_training(data, timing) if isinstance(data, FigureData) else {"ends": [], "short": "", "arrivals": []}),
    }


def _of_training(data: FigureData, timing: dict[str, Any]) -> dict[str, Any]:
    return {"ends": _ends(data), "short": reduced(data), "arrivals": times_to_target(data, **timing)}


def picture(path: Path) -> dict[str, Any]:
    """A picture to be embedded: ``source``, a data URI, and its ``width`` and ``height`` on the page."""
    with Image.open(path) as image:
        packed = io.BytesIO()
        few = image.convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE)
        few.convert("RGB").save(packed, "WEBP", lossless=True)  # a sixth smaller than PNG, and packed twice as fast
        height = round(WIDTH * image.height / image.width)
    text = base64.b64encode(packed.getvalue()).decode()
    return {"source": f"data:image/webp;base64,{text}", "width": WIDTH, "height": height}


def _ends(data: FigureData) -> list[tuple[str, float]]:
    """The tuned curves and SFO's, and their final training costs, geometric mean over seeds; NaN where one diverged."""
    tuned = data.with_arm("tuned", {"sfo": "SFO"}).arm("tuned")  # which has nothing to tune
    costs = tuned[tuned["epochs"] == tuned["epochs"].max()].groupby("curve", sort=False)["train_cost"]
    return [(str(curve), float(over_seeds(each.to_numpy(), ratios=True)[0])) for curve, each in costs]


def _unbroken(text: str) -> str:
    """Intervals, numbers of seeds and what is in brackets stay on one line each."""
    return re.sub(r"\[[^]]*\]|\([^)]*\)|n = \d+", lambda part: part[0].replace(" ", "\N{NO-BREAK SPACE}"), text)


def _count(number: float) -> str:
    """Passes and steps: thousands apart, halves kept, and a miss in words."""
    return "not reached" if math.isinf(number) else f"{number:,.1f}".removesuffix(".0")


def _seconds(number: float | None) -> str:
    if number is None:
        return ""
    return f"{number:.2g}" if number < 10 else f"{number:,.0f}"


def _printed(arrivals: list[Arrival]) -> str:
    """Of curves that all miss a level: when those that were printed come down to it."""
    return ", ".join(f"{each.curve} {_count(each.printed)}" for each in arrivals if each.printed is not None)


def _times(ratio: float | None) -> str:
    if ratio is None or math.isinf(ratio):
        return "not tried" if ratio is None else "diverged"
    return f"{ratio:.2f}" if ratio < 100 else f"{ratio:,.0f}"


_WORDS = {
    "effect": effect,
    "shortfall": shortfall,
    "unbroken": _unbroken,
    "count": _count,
    "seconds": _seconds,
    "printed": _printed,
    "times": _times,
    "neighbours": list(trials.NEIGHBOURS.values()),
    "in_words": trials.in_words,
    "distance_in_words": trials.distance_in_words,
    "value_in_words": trials.value_in_words,
}
