"""Choose the settings of a figure's curves by the tuning protocol: `make tune FIGURE=fig1_mnist`.

Writes, below results/<scale>/<figure>/, `tuned/<curve>.yaml` and `tuning.csv` (one line for each trial and seed).
`make adopt` makes them the project's settings.
"""

from __future__ import annotations

from adam_repro.search import TUNING, Trials, command, write_settings
from adam_repro.tuning import tune


def work(trials: Trials) -> None:
    for curve, choice in tune(trials).items():
        path = trials.folder / "tuned" / f"{curve}.yaml"
        *why, last = choice.why
        why.append(f"{last} The trials: results/reference/{trials.folder.name}/tuning.csv")
        write_settings(path, curve=curve, settings=choice.settings, labels=choice.labels, why=why)
    print(f"Settings: {trials.folder / 'tuned'}{trials.how_to_adopt()}")


if __name__ == "__main__":
    command(__doc__, arm=TUNING, work=work)
