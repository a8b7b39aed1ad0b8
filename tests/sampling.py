"""How hypothesis draws cases here: the same ones each time, few, and none kept from one time to the next."""

from hypothesis import HealthCheck, settings


def few(examples: int) -> settings:
    """A test's folder is shared by its examples: each must bring it into the state that it needs."""
    return settings(
        max_examples=examples,
        derandomize=True,
        deadline=None,
        database=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    )
