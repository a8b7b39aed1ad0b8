"""Convergence (section 4, appendix 10.1): regret on random streams and on those of Reddi et al., the bound, the lemmas.

Claims C15 to C18, and the construction of Wilson et al. About a minute.

    python experiments/online_convex.py
"""

from pathlib import Path

from adam_repro.app import app
from adam_repro.measuring import write
from adam_repro.online_convex import MEASURED


@app("online_convex")
def run(cfg):
    """Measure, and write results/<scale>/online_convex/measurements.csv."""
    folder = Path(cfg.results) / cfg.scale.name / "online_convex"
    write(folder, MEASURED, scale=cfg.scale.name, seed=cfg.seed, command="python experiments/online_convex.py")
    print(f"Measurements: {folder / 'measurements.csv'}")


if __name__ == "__main__":
    run()
