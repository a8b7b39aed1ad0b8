"""Whether everything on disk is as it was written: records, the indexes of figures, data sets and their caches.

Each check gives a ``Part``: how much is whole, and what is not, each problem with its remedy. Nothing is written.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from adam_repro import records
from adam_repro.data import caching, cifar10, fetching, imdb, mnist
from adam_repro.errors import UserError

LEFTOVER = re.compile(r"\..+-[a-z0-9_]{8}")
"""The name of a file that ``records.write_atomically`` writes into before it takes its own name."""

GO_ON = "Start the command that began it again: it goes on from there, and what is done is not run again."
DEPTH = 5  # of compare/<scale>/<figure>/<optimizer>/<arm>/index.csv, the deepest one
NOT_OF_FIGURES = ("runs", "wandb")
SOURCES = {  # where a data set lies below the root, and what checks it
    "MNIST": (("MNIST/raw", mnist.check),),
    "IMDB": (("aclImdb", imdb.check),),
    "CIFAR-10": ((cifar10.BATCHES, cifar10.check), ("cifar10", cifar10.check)),
}


@dataclass
class Part:
    """What was looked at under one name: the number of whole ones, problems, and notes, which are none."""

    name: str
    whole: int = 0
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


Found = dict[Path, tuple[int, int]]
"""Seed and curve version of each whole record, by its folder."""


def check_records(results: Path) -> tuple[Part, Found]:
    """Every folder below ``results/runs``."""
    part, found = Part(f"records in {results / 'runs'}"), Found()
    counts: Counter[str] = Counter()
    for folder in _record_folders(results / "runs", part):
        names = {path.name for path in folder.iterdir()}
        part.problems += [_leftover(folder / name) for name in sorted(names) if records.is_leftover(name)]
        if "meta.json" not in names:
            part.problems.append(f"{folder} is an unfinished run. {GO_ON} Or delete it.")
            continue
        try:
            record = records.read_in_place(folder)
        except UserError as error:
            part.problems.append(str(error))
            continue
        version = record.meta["curve_version"]
        found[folder] = record.config["seed"], version
        part.whole += 1
        counts["old"] += version != records.CURVE_VERSION
        counts["unsealed"] += "config_sha256" not in record.meta
    if counts["old"]:
        part.notes.append(f"{counts['old']:,} records are of an older curve version, and no new figure takes them.")
    if counts["unsealed"]:
        part.notes.append(
            f"{counts['unsealed']:,} records are from before all files had checksums: their curve is checked by its "
            "own, their configuration by the key, their times and versions by their form only."
        )
    return part, found


def _record_folders(runs: Path, part: Part) -> Iterator[Path]:
    for experiment in sorted(runs.iterdir()) if runs.is_dir() else []:
        for path in sorted(experiment.iterdir()) if experiment.is_dir() else [experiment]:
            if path.is_dir():
                yield path
            else:
                part.problems.append(f"{path} is no record. Move it elsewhere.")


def check_indexes(results: Path, found: Found) -> Part:
    """Every index outside ``results/runs``, of figures, comparisons and trials: that its runs are whole, and of one
    curve version."""
    part = Part(f"indexes of figures in {results}")
    files = sorted(_files_beside_records(results))
    for path in files:
        if path.name == "index.csv":
            try:
                _check_index(path, results, found)
                part.whole += 1
            except UserError as error:
                part.problems.append(str(error))
    part.problems += [_leftover(path) for path in files if LEFTOVER.fullmatch(path.name)]
    return part


def _files_beside_records(folder: Path, depth: int = DEPTH) -> Iterator[Path]:
    """All files down to so many folders below ``folder``, which may be links; without those of runs and of W&B."""
    for path in folder.iterdir() if folder.is_dir() else []:
        if path.is_file():
            yield path
        elif depth and path.name not in NOT_OF_FIGURES:
            yield from _files_beside_records(path, depth - 1)


def _check_index(path: Path, results: Path, found: Found) -> None:
    remedy = "Run again the command that wrote it."
    entries = records.read_index(path)
    missing = [entry["record"] for entry in entries if results / entry["record"] not in found]
    if missing:
        raise UserError(f"{path} points to {len(missing):,} records that are no whole ones, as {missing[0]}. {remedy}")
    if wrong := [entry["record"] for entry in entries if found[results / entry["record"]][0] != entry["seed"]]:
        raise UserError(f"{path} has another seed than the record {wrong[0]}. {remedy}")
    versions = {found[results / entry["record"]][1] for entry in entries}
    if len(versions) > 1:
        raise UserError(f"{path} points to records of the curve versions {sorted(versions)}. {remedy}")


def check_data(root: Path) -> Iterator[Part]:
    """The data sets below ``root``, and the caches beside them and in the user's folder."""
    data, caches = Part(f"data sets in {root}"), Part("caches of decoded data")
    current: set[str] = set()
    folders: list[Path] = []
    for name, places in SOURCES.items():
        present = [(root / below, check) for below, check in places if (root / below).exists()]
        if not present:
            data.notes.append(f"{name} is not there; `make data` gets it, and until then a stand-in serves.")
        for folder, check in present:
            folders.append(folder)
            try:
                said, names = check(folder)
                current |= names
                data.whole += 1
                data.notes.append(f"{name}: {said}.")
            except UserError as error:
                data.problems.append(str(error))
    all_current = not data.problems
    data.problems += [
        f"{path} was left by a download that was cut off. Delete it, unless data are being downloaded right now."
        for path in _cut_off_downloads(root)
    ]
    yield data
    for place in sorted({place for folder in folders for place in caching.kept(folder)}):
        try:
            caching.checked(place)
        except UserError as error:
            caches.problems.append(str(error))
            continue
        caches.whole += 1
        if all_current and place.name not in current:
            caches.notes.append(
                f"{place} is not of the files as they are now, or of settings that are not the default ones. Nothing "
                "takes it while that is so; it can be deleted."
            )
    yield caches


def _cut_off_downloads(root: Path) -> list[Path]:
    """What a killed download leaves, in the root or, of MNIST, in the data set's folder."""
    return sorted([*root.glob(f"{fetching.WORKPLACE}*"), *root.glob(f"*/{fetching.WORKPLACE}*")])


def _leftover(path: Path) -> str:
    return f"{path} was left by a write that was cut off. Delete it, unless a run is being written right now."


def table(parts: list[Part]) -> str:
    """A line for each part, then problems and notes, each as a paragraph."""
    width = max(len(part.name) for part in parts)
    lines = [f"{'':{width}}  {'whole':>8}  {'problems':>8}"]
    lines += [f"{part.name:{width}}  {part.whole:>8,}  {len(part.problems):>8,}" for part in parts]
    for title, paragraphs in (
        ("Problems", [problem for part in parts for problem in part.problems]),
        ("Notes", [note for part in parts for note in part.notes]),
    ):
        if paragraphs:
            lines += ["", f"{title}:", *(f"- {paragraph}" for paragraph in paragraphs)]
    if not any(part.problems for part in parts):
        lines += ["", "Everything is as it was written."]
    return "\n".join(lines)
