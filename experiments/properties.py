"""Sections 1 and 2: what the paper says of Algorithm 1 itself, measured in float64 with no data set.

Claims C1 and C2 (invariance to rescaled gradients), C3 (the first step), C10 (memory). A second or two.

    python experiments/properties.py
"""

from pathlib import Path

from adam_repro import properties
from adam_repro.app import app


@app("properties")
def run(cfg):
    """Measure, and write results/<scale>/properties/measurements.csv."""
    folder = Path(cfg.results) / cfg.scale.name / "properties"
    properties.write(folder, scale=cfg.scale.name, seed=cfg.seed, command="python experiments/properties.py")
    print(f"Measurements: {folder / 'measurements.csv'}")


if __name__ == "__main__":
    run()
