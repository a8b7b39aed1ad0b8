"""Section 6.3: convolutional networks on CIFAR-10 (Figure 3)."""

from __future__ import annotations

import math

import numpy as np

from adam_repro.analysis.claims import Better, Finding, NotRun, Within, claim
from adam_repro.analysis.claims.comparisons import context, differences, in_print, mean_of, missing
from adam_repro.analysis.curves import FigureData

PASSES = 46  # x = 45, where the paper's axis ends
EARLY = 4  # the passes of the left panel
VANISHED_BY, VANISHED = 10, 0.5
ABLATION = "Adam, beta1 = 0"


@claim(
    "L16",
    section="6.3",
    figure="fig3_first_epochs",
    statement="In the first passes both Adam and AdaGrad lower the cost faster than SGD with Nesterov momentum.",
    margin=0.0,
)
def adam_and_adagrad_are_fastest_early(data: FigureData) -> Better | NotRun:
    names = ("Adam", "AdaGrad", "SGDNesterov")
    if lack := missing(data, *names, epochs=EARLY):
        return lack
    runs = data.curves[(data.curves["arm"] == "tuned") & data.curves["epoch"].between(1, EARLY)]
    logs = {
        name: np.log(runs[runs["curve"] == name].pivot(index="seed", columns="epoch", values="train_cost"))
        for name in names
    }
    slower = np.maximum(logs["Adam"], logs["AdaGrad"])
    d = (slower - logs["SGDNesterov"]).mean(axis=1, skipna=False).to_numpy()
    ranks = [
        ", ".join(sorted(names, key=lambda name: logs[name][epoch].mean())) for epoch in sorted(logs["Adam"].columns)
    ]
    note = f"the slower of the two over SGDNesterov, mean over passes; order by pass: {'; '.join(ranks)}"
    return Better(d, "printed order at x = 0: AdaGrad, Adam, SGDNesterov; at x = 2 AdaGrad is last",
                  "; ".join(filter(None, (note, context(data)))))  # fmt: skip


@claim(
    "L17a",
    section="6.3",
    figure="fig3_full",
    statement="In the end Adam's training cost is more than ten times below AdaGrad's.",
    margin=9.0,
)
def adam_far_below_adagrad(data: FigureData) -> Better | NotRun:
    return _far_below(data, "Adam")


@claim(
    "L17b",
    section="6.3",
    figure="fig3_full",
    statement="In the end the training cost of SGD with Nesterov momentum is more than ten times below AdaGrad's.",
    margin=9.0,
)
def nesterov_far_below_adagrad(data: FigureData) -> Better | NotRun:
    return _far_below(data, "SGDNesterov")


def _far_below(data: FigureData, name: str) -> Better | NotRun:
    if lack := missing(data, name, "AdaGrad", epochs=PASSES):
        return lack
    d = differences(data, name, "AdaGrad")
    return Better(d, in_print(data, "3", name, "AdaGrad", until=PASSES - 1), _note(data, name, "AdaGrad"))


@claim(
    "L18",
    section="6.3",
    figure="fig3_full",
    statement="In the end Adam is better than SGD with Nesterov momentum, and by less than a factor of two.",
    margin=1.0,
)
def adam_marginally_better(data: FigureData) -> Within | NotRun:
    if lack := missing(data, "Adam", "SGDNesterov", epochs=PASSES):
        return lack
    printed = in_print(data, "3", "Adam", "SGDNesterov", until=PASSES - 1)
    d = differences(data, "Adam", "SGDNesterov")
    return Within(d, -math.log(2), 0.0, note=_note(data, "Adam", "SGDNesterov"), matched=printed)


@claim(
    "L19",
    section="6.3",
    figure="fig3_full",
    statement="After a few passes v_hat vanishes in convolutional layers and eps takes its place.",
    margin=VANISHED,
)
def v_hat_vanishes(data: FigureData) -> Finding | NotRun:
    if lack := missing(data, "Adam"):
        return lack
    if data.diagnostics is None:
        return NotRun("no diagnostics were recorded: diagnostics=true")
    inside = data.diagnostics.query("arm == 'tuned' and curve == 'Adam' and epoch <= @VANISHED_BY")
    shares = inside[inside["layer"].str.startswith("conv")].groupby(["layer", "epoch"])["below_eps"].mean()
    if shares.empty:
        return NotRun("no diagnostics of convolutional layers were recorded")
    reached = int(inside["epoch"].max())
    if shares.max() < VANISHED and reached < VANISHED_BY:
        return NotRun(f"not reached: {reached} of {VANISHED_BY} passes; largest share so far {shares.max():.2g}")
    layer, epoch = shares.idxmax()
    last = inside[(inside["epoch"] == reached) & (inside["layer"] == layer)]
    note = (
        f"share of coordinates with sqrt(v_hat) < eps, largest in {layer} after {epoch} passes; there the median of "
        f"sqrt(v_hat) is {last['sqrt_v_hat_p50'].mean():.1e} after {reached}"
    )
    return Finding(bool(shares.max() >= VANISHED), shares.max(), shares.min(), shares.max(), len(shares), note)


@claim(
    "L20",
    section="6.3",
    figure="fig3_full",
    statement="In convolutional networks the first moment matters: without it Adam's cost is twice as high or more.",
    margin=1.0,
)
def the_first_moment_matters(data: FigureData) -> Better | NotRun:
    if lack := missing(data, "Adam", epochs=PASSES) or missing(data, ABLATION, arm="ablation"):
        return lack
    whole = data.finals[data.finals["arm"].isin(("tuned", "ablation"))].assign(arm="tuned")
    both = FigureData(data.curves, whole, data.provenance, data.folder)
    d = differences(both, "Adam", ABLATION)
    return Better(d, note="; ".join(filter(None, ("with v frozen: not run", context(data)))))


def _note(data: FigureData, a: str, b: str) -> str:
    accuracy = " and ".join(f"{name} {mean_of(data, 'test_accuracy', name):.3f}" for name in (a, b))
    return "; ".join(filter(None, (f"test accuracy: {accuracy}", context(data, a, b))))
