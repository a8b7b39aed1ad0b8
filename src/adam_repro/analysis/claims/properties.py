"""What arithmetic decides about Algorithm 1: measured by experiments/properties.py, in float64."""

from __future__ import annotations

from adam_repro.analysis.claims import Finding, claim
from adam_repro.analysis.measurements import Measurements

FIGURE = "properties"
ROUNDING = 1e-12  # relative; a path of 200 steps in float64 gathers less


@claim(
    "C1",
    section="2.1",
    figure=FIGURE,
    statement="The path of Adam does not change when all gradients are multiplied by a positive number.",
    margin=ROUNDING,
)
def invariant_to_scale(data: Measurements) -> Finding:
    differences = data.of("C1", "relative difference of the path, eps = 0")
    breaking = data.of("C1", "largest |c| at which the path with eps = 1e-8 differs by 1 %").iloc[0]
    note = f"with eps = 0; with eps = 1e-8 the path differs by 1 % once gradients near 1 are scaled by {breaking:.0e}"
    return _largest(differences, ROUNDING, note)


@claim(
    "C2",
    section="abstract",
    figure=FIGURE,
    statement="The path of Adam does not change when each coordinate of the gradient has a positive factor of its own.",
    margin=ROUNDING,
)
def invariant_to_diagonal_scale(data: Measurements) -> Finding:
    differences = data.of("C2", "relative difference of the path, eps = 0")
    rotated = data.of("C2", "relative difference of the path under a rotation, eps = 0").min()
    with_eps = data.of("C2", "relative difference of the path, eps = 1e-8").max()
    note = f"with eps = 0; {with_eps:.1e} with eps = 1e-8; under a rotation, for contrast, at least {rotated:.2g}"
    return _largest(differences, ROUNDING, note)


@claim(
    "C3",
    section="2.1",
    figure=FIGURE,
    statement="The first step has the size of the learning rate in every coordinate, against the gradient's sign.",
    margin=ROUNDING,
)
def first_step_is_the_learning_rate(data: Measurements) -> Finding:
    errors = data.of("C3", "relative error of the first step, eps = 0")
    formula = data.of("C3", "relative error of lr / (1 + eps / |g|), eps = 1e-8").max()
    hat = data.of("C3", "relative error of lr / (1 + eps_hat / (|g| sqrt(1 - beta2))), eps_hat = 1e-8").max()
    note = f"with eps = 0; else it is lr / (1 + eps / |g|), to {formula:.0e}, and in the eps-hat order to {hat:.0e}"
    return _largest(errors, ROUNDING, note)


@claim(
    "C10",
    section="1",
    figure=FIGURE,
    statement="Adam needs little memory: two vectors of the parameters' size.",
    margin=0.0,
)
def memory_is_two_vectors(data: Measurements) -> Finding:
    ratios = data.of("C10", "bytes of state for each byte of parameters")
    note = "bytes of optimizer state for each byte of parameters, m and v; the count of steps is one number beside them"
    return Finding(bool((ratios == 2).all()), ratios.mean(), ratios.min(), ratios.max(), len(ratios), note)


def _largest(errors, allowed: float, note: str) -> Finding:
    return Finding(bool((errors < allowed).all()), errors.max(), errors.min(), errors.max(), len(errors), note)
