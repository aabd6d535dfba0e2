# SPDX-License-Identifier: Apache-2.0
"""Invariants that are Hypothesis properties: their arguments are drawn by Hypothesis, and they run once.

Hypothesis itself would run a property many times and shrink what it finds, as if each run began anew. Under a
hostile host none does: what an app answers depends on all that was asked before. So it only draws, and the
host's plan is what is shortened.
"""

from collections.abc import Callable, Mapping
from typing import Protocol, cast

__all__ = ["drawn", "inner"]

#: Hypothesis tries the simplest arguments first; what comes later is more varied.
_EXAMPLES = 8
_PROFILE = "nacre"


class _Handle(Protocol):
    """What Hypothesis leaves at a function for whoever runs it otherwise."""

    inner_test: Callable[..., object]


def inner(function: Callable[..., object]) -> Callable[..., object] | None:
    """Return the function that ``@given`` decorates; None if it was not."""
    handle = getattr(function, "hypothesis", None)
    return None if handle is None else cast("_Handle", handle).inner_test


def drawn(function: Callable[..., object], owner: object, number: int) -> Mapping[str, object]:
    """Draw the arguments of a property.

    Args:
        function: As ``@given`` made it.
        owner: The object whose method it is.
        number: With the same, the same version of Hypothesis draws the same.
    """
    from hypothesis import HealthCheck, Phase, seed, settings  # noqa: PLC0415 (the invariants' own choice)

    found: list[Mapping[str, object]] = []

    def noted(*_: object, **given: object) -> None:
        found.append({name: value for name, value in given.items() if value is not owner})

    handle = cast("_Handle", vars(function)["hypothesis"])
    original, handle.inner_test = handle.inner_test, noted
    settings.register_profile(
        _PROFILE,
        max_examples=_EXAMPLES,
        phases=[Phase.generate],
        database=None,
        deadline=None,
        derandomize=False,
        suppress_health_check=list(HealthCheck),
    )
    settings.load_profile(_PROFILE)
    try:
        seed(number)(function)(owner)
    finally:
        handle.inner_test = original
    return found[number % len(found)]
