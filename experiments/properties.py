"""What the paper says of its algorithms themselves (sections 1, 2, 3, 5 and 7): 24 groups of measurements, no data set.

Claims C1 to C14 and C19 to C28: invariances, bounds on steps, bias and its correction, limits, relatives, averaging,
defaults. About a minute.

    python experiments/properties.py
"""

from pathlib import Path

from adam_repro.app import app
from adam_repro.measuring import write
from adam_repro.properties import MEASURED


@app("properties")
def run(cfg):
    """Measure, and write results/<scale>/properties/measurements.csv."""
    folder = Path(cfg.results) / cfg.scale.name / "properties"
    write(folder, MEASURED, scale=cfg.scale.name, seed=cfg.seed, command="python experiments/properties.py")
    print(f"Measurements: {folder / 'measurements.csv'}")


if __name__ == "__main__":
    run()
