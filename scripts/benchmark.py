"""How fast training is, as ratios taken in one run on one machine: `make bench`.

Five workloads (see workloads.py), each in a few variants. A variant has a process of its own, so that it has its own
settings and its own peak of memory; all of them are held to one core and one thread, and take turns, so that a machine
whose speed drifts drifts for all. Writes results/paper/bench/bench.json. With --grid, also the wall time of 240 runs
(3 optimizers, 8 learning rates, 10 seeds) of the logistic regression at the paper's length on all cores. With
--checkpoints, only what checkpoints cost (see checkpointing.py), into checkpoints.json beside it. With --device=cuda,
models in step on a GPU, into gpu.json.
"""

from __future__ import annotations

import argparse
import datetime
import json
import multiprocessing
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import checkpointing
import torch
import workloads
from workloads import CPU, FOREIGN, LEARNING_RATES, PEAK, PEAK_SIDE, WORKLOADS

from adam_repro import memory, records
from adam_repro.app import override, shown_kindly
from adam_repro.errors import UserError
from adam_repro.process import settle_process
from adam_repro.search import Composed
from adam_repro.settings import check_device
from adam_repro.surroundings import PROJECT_ROOT, surroundings
from adam_repro.sweep import cores
from adam_repro.training import CLEAN_EXAMPLES
from adam_repro.workers import one_thread_each, ready_to_train

FIGURES_SIZE = 24  # members that share a seed in Figure 1, left: three optimizers, eight learning rates
GRID_SEEDS, GRID_EPOCHS = 10, 46

OUTPUT = "default: results/paper/bench/bench.json, on a GPU gpu.json; of a second processor bench_<name>.json there"

Key = tuple[str, int]
"""A variant and its number of members."""


def main() -> None:
    given = arguments()
    with shown_kindly(), tempfile.TemporaryDirectory() as folder:
        check_device(given.device)
        device = torch.device(given.device)
        if given.checkpoints:
            settle_process()
            torch.set_num_threads(1)
            costs = checkpointing.measure(given.workload, Path(folder), given.rounds)
            checkpointing.show(costs)
            write(given.output.with_name("checkpoints.json"), {"checkpoints": costs})
            return
        grid = time_grid() if given.grid else None
        rows: list[dict] = []
        facts: dict[str, dict] = {}
        peaks: dict[str, float] = {}
        for name in given.workload:
            data = WORKLOADS[name].data
            if data not in facts:
                facts[data] = workloads.prepare(data, Path(folder))
            turns, peak_mb = measure(name, Path(folder), facts[data]["train"], given.rounds, given.seconds, device)
            of_rounds = [2 * PEAK_SIDE[device.type] ** 3 / turn["seconds"] for turn in turns.pop((PEAK, 1))]
            peaks[name] = statistics.median(of_rounds)
            rows += rows_of(name, turns, peak_mb, facts[data], of_rounds)
            show(name, rows, peaks[name], device)
        if grid is not None:
            rate_grid(grid, rows)
        result = {
            "measured": rows,
            "gemm_peak_gflops": {name: peak / 1e9 for name, peak in peaks.items()},
            "data": facts,
            "grid": grid,
        }
        write(given.output, result, device)


def write(path: Path, result: dict[str, Any], device: torch.device = CPU) -> None:
    """Write what was measured on ``device``, with where, when and by what command."""
    asked = re.sub(r"\s*--output[= ]\S+", "", " ".join(sys.argv[1:])).strip()  # where it is written changes nothing
    result |= surroundings(str(device)) | {
        "command": "make bench" + (f' ARGS="{asked}"' if asked else ""),
        "written": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }
    records.write_atomically(path, json.dumps(result, indent=2) + "\n")
    print(f"Written: {path}")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workload", help="some of them, with commas (default: all)")
    parser.add_argument("--grid", action="store_true", help="time the 240 runs too")
    parser.add_argument("--checkpoints", action="store_true", help="measure what checkpoints cost, and nothing else")
    parser.add_argument("--rounds", type=int, help="turns that each variant takes (default: by workload)")
    parser.add_argument("--seconds", type=float, help="length of a turn (default: by workload)")
    parser.add_argument("--device", default="cpu", help="cuda: a GPU and one core (default: one core)")
    parser.add_argument("--output", type=Path, help=OUTPUT)
    given = parser.parse_args()
    on_gpu = given.device != "cpu"
    if given.output is None:
        given.output = PROJECT_ROOT / "results" / "paper" / "bench" / ("gpu.json" if on_gpu else "bench.json")
    if given.workload is None:
        given.workload = ",".join(WORKLOADS)
    given.workload = given.workload.split(",")
    if unknown := set(given.workload) - set(WORKLOADS):
        parser.error(f"there is no workload {', '.join(sorted(unknown))}; choose from {', '.join(WORKLOADS)}")
    if on_gpu and (given.grid or given.checkpoints):
        parser.error("--grid and --checkpoints are measured on cores: leave --device out")
    if given.grid and "logistic_mnist" not in given.workload:
        parser.error("--grid is compared with the workload logistic_mnist: leave --workload out, or name it too")
    return given


class Variant:
    """A variant in its process. It waits, and takes no time, between its turns."""

    def __init__(self, workload: str, key: Key, folder: Path, core: int | None, device: torch.device):
        context = multiprocessing.get_context("spawn")
        self.name = f"{key[0]} (K = {key[1]}) of {workload}"
        self._connection, theirs = context.Pipe()
        self._process = context.Process(target=serve, args=(workload, *key, folder, core, device, theirs), daemon=True)
        with one_thread_each() if key[0] in FOREIGN else ready_to_train():
            self._process.start()
        theirs.close()

    def answer(self) -> Any:
        try:
            return self._connection.recv()
        except EOFError:
            self._process.join()
            raise UserError(
                f"{self.name} ended before its time (exit code {self._process.exitcode}); what is above may say why. "
                "A process that is killed had too little memory: try one --workload at a time."
            ) from None

    def turn(self, steps: int) -> dict[str, float]:
        self._connection.send(steps)
        return self.answer()

    def move(self, core: int) -> None:
        """Hold all its threads to ``core``."""
        for thread in Path(f"/proc/{self._process.pid}/task").iterdir():
            os.sched_setaffinity(int(thread.name), {core})

    def end(self) -> float:
        """End the process; its peak of memory in MB."""
        self._connection.send(None)
        peak = self.answer()
        self._process.join()
        return peak


def serve(
    name: str, variant: str, k: int, folder: Path, core: int | None, device: torch.device, connection: Connection
) -> None:
    """The life of a variant's process. It is held to one core from the start, or libraries start threads for more."""
    if core is not None:
        os.sched_setaffinity(0, {core})
    torch.set_num_threads(1)
    if variant not in FOREIGN:
        settle_process()
    turn = workloads.build(WORKLOADS[name], variant, k, folder, device)
    turn(3)  # compiles, fills caches
    connection.send(None)
    while (steps := connection.recv()) is not None:
        connection.send(turn(steps))
    connection.send(memory.peak() / 1e6)


def measure(
    name: str, folder: Path, examples: int, rounds: int | None, seconds: float | None, device: torch.device = CPU
) -> tuple[dict[Key, list[dict]], dict[Key, float]]:
    """What each variant of a workload answers in each of its turns, and its peak of memory in MB.

    Processes start and compile on all cores; then all are held to one.
    """
    workload = WORKLOADS[name]
    available = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    keys = workloads.variants(workload, device)
    running = {
        key: Variant(name, key, folder, available[i % len(available)] if available else None, device)
        for i, key in enumerate(keys)
    }
    for variant in running.values():
        variant.answer()
        if available:
            variant.move(available[-1])
    steps = {}
    for key, variant in running.items():
        estimate = variant.turn(3)["seconds"]
        steps[key] = steps_of_turn(estimate, seconds or workload.seconds, examples // workload.batch)
    turns: dict[Key, list[dict]] = {key: [] for key in keys}
    for _ in range(rounds or workload.rounds):
        for key, variant in running.items():
            turns[key].append(variant.turn(steps[key]))
    return turns, {key: variant.end() for key, variant in running.items()}


def steps_of_turn(step: float, seconds: float, steps_of_pass: int) -> int:
    """So many steps of ``step`` seconds fill ``seconds``; whole passes where that is most of one, for a pass may begin
    with work of its own."""
    steps = max(3, round(seconds / step))
    return round(steps / steps_of_pass) * steps_of_pass or steps


def rows_of(
    name: str, turns: dict[Key, list[dict]], peak_mb: dict[Key, float], facts: dict, peaks: list[float]
) -> list[dict]:
    """A row of bench.json for each variant; ``peaks``: of the rounds, FLOP/s. See results/README.md for its columns."""
    workload, rows = WORKLOADS[name], []
    operations = workloads.flops(workload)
    times = {key: [turn["seconds"] / key[1] for turn in answers] for key, answers in turns.items()}
    for (variant, k), seconds in times.items():
        median = statistics.median(seconds)
        row: dict[str, Any] = {"workload": name, "variant": variant, "k": k, "threads": 1}
        row["ms_per_member_step"] = median * 1e3
        row["fastest"], row["slowest"] = min(seconds) * 1e3, max(seconds) * 1e3
        row["ratio_to_typical"] = ratio(times["typical", 1], seconds)
        row["ratio_to_bare"] = ratio(seconds, times["bare loop", 1]) if variant in ("solo", "run") else None
        row["evaluation_share"] = row["evaluation_share_of_run"] = None
        if variant == "run":
            example = statistics.median(turn["evaluation"] for turn in turns[variant, k])
            evaluation = example * (min(facts["train"], CLEAN_EXAMPLES) + facts["test"])
            training = median * -(-facts["train"] // workload.batch)
            evaluations, passes = length(workload.figure)
            row["evaluation_share"] = evaluation / (evaluation + training)
            row["evaluation_share_of_run"] = evaluations * evaluation / (evaluations * evaluation + passes * training)
        row["gemm_fraction"] = operations and ratio([operations / each for each in seconds], peaks)
        row["peak_mb"] = peak_mb[variant, k]
        rows.append(row)
    return rows


def length(figure: str) -> tuple[int, int]:
    """How many evaluations a run of the figure has, that before its first pass included, and how many passes."""
    config = Composed(figure, []).base
    asked = range(config.epochs + 1) if config.evaluate_at is None else config.evaluate_at
    return len({*asked, config.epochs}), config.epochs


def ratio(above: list[float], below: list[float]) -> float:
    """The median over rounds of the ratio within a round."""
    return statistics.median(a / b for a, b in zip(above, below, strict=True))


def time_grid() -> dict:
    """The 240 runs of the grid by the command that a user would type, everything included.

    The same command twice more, without W&B and with it: the runs are done by then, and the difference is what
    mirroring takes.
    """
    with tempfile.TemporaryDirectory() as results:
        command = [
            str(PROJECT_ROOT / "experiments" / "logistic_regression.py"),
            "-m",
            "optimizer=adam,sgd_nesterov,adagrad",
            f"optimizer.lr={','.join(f'{lr:g}' for lr in LEARNING_RATES)}",
            f"seed=range({GRID_SEEDS})",
            "schedule=inverse_sqrt_step",
            f"l2={WORKLOADS['logistic_mnist'].l2:g}",
            f"epochs={GRID_EPOCHS}",
            override("results", results),
        ]
        seconds = []
        for mode in ("disabled", "disabled", "offline"):
            began = time.perf_counter()
            subprocess.run([sys.executable, *command, f"tracking.mode={mode}"], check=True)
            seconds.append(time.perf_counter() - began)
        trained, again, mirrored = seconds
        written = [records.read(path) for path in Path(results).glob("runs/*/*")]
        examples = written[0].config["dataset"]["train_examples"]
    mirror = {"mirror_seconds": mirrored - again, "mirror_share": (mirrored - again) / trained}
    return {"runs": len(written), "seconds": trained, **mirror, "cores": cores(), "train_examples": examples}


def rate_grid(grid: dict, rows: list[dict]) -> None:
    """Add to ``grid`` how many times what its steps take at the speed of ``rows`` it took."""
    workload = "logistic_mnist"
    (step,) = (
        row["ms_per_member_step"] / 1e3
        for row in rows
        if (row["workload"], row["variant"], row["k"]) == (workload, "population", FIGURES_SIZE)
    )
    steps = grid["runs"] * GRID_EPOCHS * -(-grid["train_examples"] // WORKLOADS[workload].batch)
    grid["times_best_step"] = grid["seconds"] * grid["cores"] / (steps * step)
    print(
        f"{grid['runs']} runs of {GRID_EPOCHS} epochs: {grid['seconds']:.0f} s on {grid['cores']} cores, "
        f"{grid['times_best_step']:.2f} times their steps at the speed above; mirroring them to W&B adds "
        f"{grid['mirror_share']:.1%}"
    )


def show(name: str, rows: list[dict], peak: float, device: torch.device = CPU) -> None:
    """Print the table of a workload; ``peak`` in FLOP/s."""
    where = "one core" if device.type == "cpu" else torch.cuda.get_device_name(device)
    print(f"\n{name}, minibatches of {WORKLOADS[name].batch}, {where} ({peak / 1e9:.0f} GFLOP/s in a large product)")
    print(f"{'':>17} {'K':>4} {'ms a member-step':>17} {'fastest':>8} {'slowest':>8} ", end="")
    print(f"{'times typical':>14} {'of bare loop':>13} {'share of peak':>14} {'peak MB':>8}")
    for row in rows:
        if row["workload"] == name:
            bare, share = (f"{row[key]:.2f}" if row[key] else "" for key in ("ratio_to_bare", "gemm_fraction"))
            print(
                f"{row['variant']:>17} {row['k']:>4} {row['ms_per_member_step']:>17.4f} {row['fastest']:>8.4f} "
                f"{row['slowest']:>8.4f} {row['ratio_to_typical']:>14.2f} {bare:>13} {share:>14} {row['peak_mb']:>8.0f}"
            )
            if share := row["evaluation_share"]:
                whole = row["evaluation_share_of_run"]
                print(f"{'':>17}      evaluations take {share:.1%} of a pass that ends with one, {whole:.1%} of a run")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
