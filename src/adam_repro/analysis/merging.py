"""A reference grows by seeds and arms: runs that were made later, or elsewhere, join those that are there."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pandas as pd

from adam_repro import records
from adam_repro.analysis.curves import CURVE_COLUMNS, DIAGNOSTIC_COLUMNS, FINAL_COLUMNS, load_provenance
from adam_repro.analysis.gather import FLOAT_FORMAT, UNDRAWN_ARMS
from adam_repro.errors import UserError

SETTING = ["arm", "curve", "lr", "schedule", "hyper", "l2"]
RUN = [*SETTING, "seed"]
DRAWN = ["arm", "curve", "seed"]  # a run in curves.csv and diagnostics.csv: a drawn curve has one setting
SHARED = ("experiment", "provenance", "dataset", "epochs", "batch_size", "l2", "tuned_at", "tuned_on", "curve_version")
OF_TUNING = {"tuned_at", "tuned_on"}
COLUMNS = {"finals.csv": FINAL_COLUMNS, "curves.csv": CURVE_COLUMNS, "diagnostics.csv": DIAGNOSTIC_COLUMNS}
ORIGIN = ("commit", "versions", "hardware", "command")


def merge(reference: Path, fresh: Path) -> str:
    """Join the runs of ``fresh`` to those of ``reference``, both folders of one figure; a sentence on what came of it.

    A run that both have is taken from ``fresh``, at those of its milestones that are there. Where a drawn curve has
    another setting there, its old runs go: seeds of two settings are never averaged. ``provenance.json`` gets
    ``parts``, where the runs that stayed come from.

    UserError, before anything is written, for runs that cannot stand in one figure: other data, length or batches. Of a
    grid whose costs are those after so many passes, some runs may be longer than the figure: they bring what it lacks.
    Up to its own length it stays as it is, for its settings are compared in pairs that drew the same noise, and another
    device would have drawn other.
    """
    old, new = (_text(folder / "finals.csv") for folder in (reference, fresh))
    facts, fresh_facts = load_provenance(reference), load_provenance(fresh)
    in_milestones = new["arm"].isin(UNDRAWN_ARMS).all() and new.duplicated(RUN).any()  # a line for each of several
    if in_milestones and fresh_facts["epochs"] > facts["epochs"]:
        new = new[(new["epochs"].astype(int) > facts["epochs"]) | ~_among(new, old, [*RUN, "epochs"])]
    moved = _setting_moved(old, new)
    stays = ~(moved | _among(old, new, [*RUN, "epochs"]))
    kept = old[stays]
    states = _stated(facts, old)
    if not (kept["arm"] == "tuned").any():  # no run stays that the old tuning chose
        states = {name: fact for name, fact in states.items() if name not in OF_TUNING}
    fresh_states = _stated(fresh_facts, new)
    if in_milestones:
        fresh_states.pop("epochs")
    shared = _agreed(reference, states, fresh_states)
    tables = {"finals.csv": _in_order(old, stays, new, SETTING)}
    for name in ("curves.csv", "diagnostics.csv"):
        rows, more = (_text(folder / name) for folder in (reference, fresh))
        if len(rows) or len(more):
            stays = _among(rows, kept, DRAWN) & ~_among(rows, new, DRAWN)
            tables[name] = _in_order(rows, stays, more, ["arm", "curve"])
    joined = {**_joined(facts, fresh_facts, kept, new), **shared} if len(kept) else fresh_facts
    for name, table in tables.items():
        records.write_atomically(reference / name, table.to_csv(index=False, lineterminator="\n"))
    records.write_atomically(reference / "provenance.json", json.dumps(joined, indent=2) + "\n")
    left = f"; {_runs(old[moved])} of settings that are no longer chosen left it" if moved.any() else ""
    return f"{_runs(new)} joined {_runs(kept)} of the reference{left}"


def lend(reference: Path, asked: pd.DataFrame) -> str:
    """Let runs of a reference stand in each of its arms that asks for them; a sentence on what came of it.

    A run is what its settings and seed make it, so that what was trained for one arm need not be trained for another.
    ``asked``: the settings (``SETTING``) that the figure's config gives each arm's curves, and in ``terms`` what else
    it says of their runs: arms may differ in dropout. An arm without runs of its own is lent all of its curves, or
    none: it was not run.
    """
    finals = _text(reference / "finals.csv")
    drawn = finals[~finals["arm"].isin(UNDRAWN_ARMS)]
    lent = [drawn[:0].assign(to="")]
    asked = _written(asked)
    for arm, rows in asked.groupby("arm", sort=False):
        of_curves = []
        for _, row in rows.iterrows():
            alike = asked.loc[(asked[[*SETTING[1:], "terms"]] == row[[*SETTING[1:], "terms"]]).all(axis=1), "arm"]
            same = drawn[(drawn[SETTING[1:]] == row[SETTING[1:]]).all(axis=1) & drawn["arm"].isin(alike)]
            own = same["arm"] == arm
            more = same[~own & ~same["seed"].isin(same[own]["seed"])]
            of_curves.append(more.drop_duplicates(["seed", "epochs"]).assign(to=arm))  # several arms may have it
        if (drawn["arm"] == arm).any() or all(map(len, of_curves)):
            lent += of_curves
    loans = pd.concat(lent)
    for name, setting in (("finals.csv", SETTING), ("curves.csv", DRAWN[:2]), ("diagnostics.csv", DRAWN[:2])):
        rows = _text(reference / name)
        copies = rows.merge(loans[[*DRAWN, "to"]].drop_duplicates(), on=DRAWN).assign(arm=lambda each: each["to"])
        if len(copies):
            table = _in_order(rows, pd.Series(True, index=rows.index), copies[rows.columns], setting)
            records.write_atomically(reference / name, table.to_csv(index=False, lineterminator="\n"))
    told = [f"{_runs(each)} to the arm {arm}" for arm, each in loans.groupby("to", sort=False)]
    return f"lent: {', '.join(told)}" if told else ""


def _written(rows: pd.DataFrame) -> pd.DataFrame:
    """As a figure's files have them."""
    text = rows.to_csv(index=False, float_format=FLOAT_FORMAT)
    return pd.read_csv(io.StringIO(text), dtype=str, keep_default_na=False)


def _text(path: Path) -> pd.DataFrame:
    """A table as written, every field a string: what is only carried along must not change in its last digit.
    Without lines where there is no such file."""
    if not path.is_file():
        return pd.DataFrame(columns=COLUMNS[path.name], dtype=str)
    return pd.read_csv(path, dtype=str, keep_default_na=False)


def _stated(facts: dict[str, Any], runs: pd.DataFrame) -> dict[str, Any]:
    """What the runs of a part share, as far as they are of a kind that tells: see ``gather``."""
    silent: set[str] = set()
    if not (runs["arm"] == "tuned").any():
        silent |= OF_TUNING
    if (runs["arm"] == "matched").all():  # each with an L2 of its own
        silent.add("l2")
    if runs["hyper"].str.contains("subfunctions").all():  # SFO's minibatches are its own
        silent.add("batch_size")
    return {name: facts.get(name) for name in SHARED if name not in silent}


def _agreed(reference: Path, old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    """What both parts or one of them state; UserError where they differ."""
    if differ := [name for name in SHARED if name in old and name in new and old[name] != new[name]]:
        what = "; ".join(f"{name}: {old[name]} and {new[name]}" for name in differ)
        raise UserError(
            f"The runs of {reference} and the new ones cannot stand in one figure ({what}). "
            f"`make adopt FIGURE={reference.name} ARGS=--replace` puts the new ones in their place."
        )
    return old | new


def _setting_moved(old: pd.DataFrame, new: pd.DataFrame) -> pd.Series:
    """The old runs of drawn curves that the new ones draw with another setting."""
    drawn = ~old["arm"].isin(UNDRAWN_ARMS)
    return drawn & _among(old, new, ["arm", "curve"]) & ~_among(old, new, SETTING)


def _among(rows: pd.DataFrame, others: pd.DataFrame, columns: list[str]) -> pd.Series:
    known = set(map(tuple, others[columns].to_numpy()))
    return pd.Series([key in known for key in map(tuple, rows[columns].to_numpy())], index=rows.index, dtype=bool)


def _in_order(old: pd.DataFrame, stays: pd.Series, new: pd.DataFrame, setting: list[str]) -> pd.DataFrame:
    """The old rows that stay and the new ones, as one run of the figure would have written them: arm by arm, curve by
    curve, then by seed and epoch. What is replaced keeps its place."""
    rows = pd.concat([old, new], ignore_index=True)
    levels = (["arm"], ["arm", "curve"], setting)
    by = {str(level): pd.factorize(pd.MultiIndex.from_frame(rows[level]))[0] for level in levels}
    by |= {name: rows[name].astype(int) for name in ("seed", "epochs" if "epochs" in rows else "epoch")}
    order = pd.DataFrame(by).sort_values(list(by), kind="stable").index
    return rows.loc[[row for row in order if row >= len(old) or stays.iloc[row]]]


def _joined(old: dict[str, Any], new: dict[str, Any], kept: pd.DataFrame, fresh: pd.DataFrame) -> dict[str, Any]:
    tuned_anew = set(fresh[fresh["arm"] == "tuned"]["curve"])
    return {
        **new,
        "seeds": sorted({int(seed) for seed in [*kept["seed"], *fresh["seed"]]}),
        "edges": sorted({*new["edges"], *(set(old["edges"]) - tuned_anew)}),
        "parts": _parts([*old.get("parts", [_part(old)]), _part(new)]),
    }


def _part(facts: dict[str, Any]) -> dict[str, Any]:
    return {name: facts[name] for name in ("seeds", *ORIGIN, "written")}


def _parts(parts: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """One for each origin, with all its seeds and its last date."""
    found: dict[str, dict[str, Any]] = {}
    for part in parts:
        origin = json.dumps([part[name] for name in ORIGIN], sort_keys=True)
        before = found.get(origin, part)
        found[origin] = {**part, "seeds": sorted({*before["seeds"], *part["seeds"]})}
    return list(found.values())


def _runs(rows: pd.DataFrame) -> str:
    number = len(rows.drop_duplicates(RUN))
    return f"{number} run{'' if number == 1 else 's'}"
