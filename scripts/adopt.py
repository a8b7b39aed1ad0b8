"""Make results at the paper's scale the committed reference: `make adopt FIGURE=fig1_mnist`.

Copies what a reader can check from results/paper/<figure>/ to results/reference/<figure>/, and the chosen settings to
configs/tuned and configs/matched. Runs join those that the reference has of the figure, so that it grows by seeds and
arms; with ARGS=--replace they take their place. Of two arms that ask for the same run each has it once one of them has.
`make report SCALE=reference` then draws and decides from all of them.
"""

from __future__ import annotations

import argparse
import itertools
import json
import shutil
from collections.abc import Collection
from pathlib import Path

import pandas as pd
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf

from adam_repro.analysis.curves import load_provenance
from adam_repro.analysis.gather import UNDRAWN_ARMS, settings_of
from adam_repro.analysis.merging import SETTING, lend, merge
from adam_repro.app import CONFIGS, compose, shown_kindly
from adam_repro.errors import UserError
from adam_repro.optimizers import OPTIMIZERS
from adam_repro.search import chosen_figures, experiment_of
from adam_repro.settings import checked_settings, optimizer_class
from adam_repro.surroundings import PROJECT_ROOT
from hydra_plugins.adam_repro_population import values_of

RUNS = ["curves.csv", "finals.csv", "diagnostics.csv", "provenance.json"]
OTHER_RESULTS = ["measurements.csv", "tuning.csv", "matching.csv", "dropout_rates.csv"]
OTHER_RESULTS += ["bench*.json", "gpu.json", "checkpoints.json"]  # bench_*.json: by other processors
SETTINGS = ("tuned", "matched")
TERMS = ["dataset", "model", "batch_size", "epochs", "train_examples", "evaluate_at", "frozen_noise"]
BENCH = "bench"
OTHERS = ("properties", "online_convex", "sfo_cost", BENCH)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--figure", default="all", help="all that have results, or names separated by commas")
    parser.add_argument("--replace", action="store_true", help="drop the runs that the reference has of the figure")
    given = parser.parse_args()
    with shown_kindly():
        adopted = []
        for figure in chosen(given.figure):
            written = adopt(PROJECT_ROOT / "results" / "paper" / figure, figure, replace=given.replace)
            for path in written:
                print(path.relative_to(PROJECT_ROOT))
            adopted += [figure] if written else []
            reference = PROJECT_ROOT / "results" / "reference" / figure
            if figure not in OTHERS and (reference / "finals.csv").exists():
                arms = set(pd.read_csv(reference / "finals.csv")["arm"])
                arms |= {kind for kind in SETTINGS if (CONFIGS / kind / figure).is_dir()}  # others have no settings yet
                examples = load_provenance(reference)["dataset"]["train_examples"]
                if told := lend(reference, asked(figure, arms, examples)):
                    print(told)
        print(f"Adopted: {', '.join(adopted) or 'nothing'}.")


def chosen(names: str) -> list[str]:
    """What FIGURE names: of "all", what has a folder of results; UserError where nothing has."""
    known = chosen_figures(names, others=OTHERS)
    if names != "all":
        return known
    folder = PROJECT_ROOT / "results" / "paper"
    if not (there := [name for name in known if (folder / name).is_dir()]):
        raise UserError(f"{folder} holds no results of any figure. Run `make reproduce SCALE=paper` first.")
    return there


def adopt(folder: Path, figure: str, *, replace: bool = False) -> list[Path]:
    """Join or copy what ``folder`` has; the paths written. UserError for results that are no reference, and for runs
    that cannot join those that are there."""
    if not folder.is_dir():
        command = "make bench" if figure == BENCH else f"make reproduce SCALE=paper FIGURE={figure}"
        raise UserError(f"{folder} does not exist. Run `{command}` first.")
    provenance = folder / "provenance.json"
    if provenance.exists() and json.loads(provenance.read_text())["provenance"] == "stand-in":
        raise UserError(
            f"{folder} was made from stand-in data, which are no reference. Get the real data by `make data`."
        )
    reference = PROJECT_ROOT / "results" / "reference" / figure
    joined = not replace and (reference / "finals.csv").exists() and (folder / "finals.csv").exists()
    if joined:
        print(merge(reference, folder))
    elif (folder / "finals.csv").exists():
        (reference / "diagnostics.csv").unlink(missing_ok=True)  # of the runs that go; the new ones may have none
    patterns = [*([] if joined else RUNS), *OTHER_RESULTS]
    copies = {path: reference / path.name for pattern in patterns for path in sorted(folder.glob(pattern))}
    for kind in SETTINGS:
        copies |= {path: CONFIGS / kind / figure / path.name for path in sorted((folder / kind).glob("*.yaml"))}
    for source, target in copies.items():
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)
    return [*([path for name in RUNS if (path := reference / name).exists()] if joined else []), *copies.values()]


def asked(figure: str, arms: Collection[str], examples: int) -> pd.DataFrame:
    """What the figure's config gives the curves of each of ``arms``, as ``lend`` takes it; of grids, nothing.

    ``examples``: how many the reference's runs were trained on, which the config leaves to the data.
    """
    node = OmegaConf.load(CONFIGS / "figure" / f"{figure}.yaml")
    parser, found = OverridesParser.create(), []
    for arm, varied in node.hydra.sweeper.arms.items():
        if arm not in arms or arm in UNDRAWN_ARMS:
            continue
        swept = parser.parse_overrides([f"{key}={values}" for key, values in varied.items() if key != "seed"])
        for choice in itertools.product(*([(each.key_or_group, value) for value in values_of(each)] for each in swept)):
            overrides = [f"figure={figure}", "scale=paper", *(f"{key}={value}" for key, value in choice)]
            config = compose(experiment_of(figure), overrides)
            OmegaConf.resolve(config)
            optimizer = {name: value for name, value in config.optimizer.items() if name != "search"}
            kind = optimizer_class(optimizer["_target_"])
            if kind in OPTIMIZERS:  # as in a record
                optimizer = checked_settings(kind, optimizer, examples=examples, batch_size=config.batch_size)
            settings = settings_of({"optimizer": optimizer, "schedule": config.schedule, "l2": float(config.l2)})
            curve = config.curve or kind.__name__ + (config.variant or "")
            terms = json.dumps(OmegaConf.to_container(OmegaConf.masked_copy(config, TERMS)))
            found.append({"arm": arm, "curve": curve, **settings, "terms": terms})
    return pd.DataFrame(found, columns=[*SETTING, "terms"])


if __name__ == "__main__":
    main()
