"""Section 6.2: fully connected networks on MNIST (Figure 2). L13 to L15 are about SFO, which is still to come."""

from __future__ import annotations

from adam_repro.analysis.claims import Better, NotRun, claim
from adam_repro.analysis.claims.comparisons import context, differences, in_print, joined, mean_of, missing
from adam_repro.analysis.curves import FigureData

LAST, UNTIL = 10, 200  # passes that are averaged, and the x at which the runs end
RIVALS = {"a": "SGDNesterov", "b": "AdaDelta", "c": "RMSProp", "d": "AdaGrad"}


def _enter(letter: str, rival: str) -> None:
    @claim(
        f"L12{letter}",
        section="6.2",
        figure="fig2_dropout",
        statement=f"With dropout, Adam trains a fully connected network to a lower cost than {rival}.",
        margin=0.10,
    )
    def adam_is_better(data: FigureData) -> Better | NotRun:
        if lack := missing(data, "Adam", rival):
            return lack
        shown = [
            f"{name} {mean_of(data, 'train_loss', name):.4f} and {1 - mean_of(data, 'test_accuracy', name):.4f}"
            for name in ("Adam", rival)
        ]
        note = f"clean training loss and test error: {', '.join(shown)}"
        d = differences(data, "Adam", rival, last=LAST)
        printed = in_print(data, "2a", "Adam", rival, last=LAST, until=UNTIL)
        return Better(d, printed, joined(note, context(data, "Adam", rival)))


for letter, rival in RIVALS.items():
    _enter(letter, rival)
