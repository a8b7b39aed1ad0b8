"""Measures what the paper says about its algorithms themselves: on gradients and problems of our own, with no data set.

Each function yields the measurements for one claim; what they mean for it is decided in
``analysis/claims/properties.py``. In float64 unless a setting says otherwise.
"""

from collections.abc import Iterator

from adam_repro.measuring import Measure, Measurement

from . import moments, practice, relatives, steps


def _early_steps(seed: int) -> Iterator[Measurement]:
    yield from moments.early_steps(seed)
    yield from practice.early_steps_in_training(seed)


MEASURED: dict[str, Measure] = {
    "C1": steps.scale_invariance,
    "C2": steps.diagonal_invariance,
    "C3": steps.first_step,
    "C4": steps.spike,
    "C5": steps.worst_sequence,
    "C6": steps.worst_sequence_otherwise,
    "C7": practice.steps_in_training,
    "C8": moments.annealing,
    "C9": practice.step_size_from_distance,
    "C10": steps.memory,
    "C11": steps.order_of_computation,
    "C12": moments.unbiasedness,
    "C13": _early_steps,
    "C14": moments.sparse_gradients,
    "C19": relatives.adagrad_limit,
    "C20": relatives.limit_without_correction,
    "C21": relatives.rmsprop_with_momentum,
    "C22": relatives.natural_gradient,
    "C23": relatives.powers,
    "C24": relatives.adamax_first_step,
    "C25": relatives.adamax_bound,
    "C26": practice.averaging,
    "C27": practice.tracking,
    "C28": practice.defaults,
}
