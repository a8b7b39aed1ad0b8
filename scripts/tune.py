"""Choose the settings of a figure's curves by the tuning protocol: `make tune FIGURE=fig1_mnist`.

Writes, below results/<scale>/<figure>/, `tuned/<curve>.yaml` and `tuning.csv` (one line for each trial and seed).
`make adopt` makes them the project's settings.
"""

from __future__ import annotations

from adam_repro.search import Trials, command
from adam_repro.tuning import tune


def work(trials: Trials) -> None:
    tune(trials)
    print(f"Settings: {trials.folder / 'tuned'}   (`make adopt FIGURE={trials.folder.name}` makes them the project's)")


if __name__ == "__main__":
    command(__doc__, arm="tuning", work=work)
