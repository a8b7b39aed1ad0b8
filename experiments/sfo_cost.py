"""Section 6.2, what SFO costs: seconds of a pass beside Adam's, and memory, against its number of minibatches.

Claims L14a and L14b. About five minutes, of one core and 2.5 GB of memory.

    python experiments/sfo_cost.py
"""

from pathlib import Path

from adam_repro.app import app
from adam_repro.measuring import write
from adam_repro.sfo_cost import MEASURED


@app("sfo_cost")
def run(cfg):
    """Measure, and write results/<scale>/sfo_cost/measurements.csv."""
    folder = Path(cfg.results) / cfg.scale.name / "sfo_cost"
    write(folder, MEASURED, scale=cfg.scale.name, seed=cfg.seed, command="python experiments/sfo_cost.py")
    print(f"Measurements: {folder / 'measurements.csv'}")


if __name__ == "__main__":
    run()
