# SPDX-License-Identifier: Apache-2.0
"""A Check is one named test with an outcome; a Result is a list of them.

Checks are made on the hot path, so they carry only an identifier, a status, a reason code and the
values involved. Titles, explanations, hints and the specification are looked up in
:mod:`nacre.reasons` when somebody reads them.
"""

from collections.abc import Callable, Mapping
from enum import StrEnum

import msgspec

__all__ = ["NOTHING", "Check", "Context", "Later", "Status", "Value", "failed", "passed", "skipped", "warned"]


class Later:
    """A text that is worked out when somebody reads it."""

    __slots__ = ("_arguments", "_make")

    def __init__(self, make: Callable[..., str], /, *arguments: object) -> None:
        """Call ``make(*arguments)`` at each reading."""
        self._make = make
        self._arguments = arguments

    def __str__(self) -> str:
        return self._make(*self._arguments)


Value = str | int | bytes | bool | None | tuple[str, ...] | Later
Context = Mapping[str, Value]

NOTHING: Context = {}


class Status(StrEnum):
    """The outcome of one check."""

    PASS = "pass"  # noqa: S105 (no password)
    WARN = "warn"
    FAIL = "fail"
    SKIPPED = "skipped"
    WAIVED = "waived"
    NOT_APPLICABLE = "not-applicable"
    ERROR = "error"


class Check(msgspec.Struct, frozen=True, gc=False):
    """One named test and its outcome.

    Attributes:
        id: What was tested, a key of the check table in ``reasons.json``.
        status: The outcome.
        reason: Why, a key of the reason table in ``reasons.json``; empty for a plain pass.
        context: The values the explanation names. ``expected`` and ``actual`` where there are such.
    """

    id: str
    status: Status
    reason: str = ""
    context: Context = NOTHING

    @property
    def expected(self) -> Value:
        """What the check wanted to see, if it compares."""
        return self.context.get("expected")

    @property
    def actual(self) -> Value:
        """What the check saw, if it compares."""
        return self.context.get("actual")


def passed(check: str, reason: str = "", **context: Value) -> Check:
    """Make a passing check; module-level constants of these cost nothing on the hot path."""
    return Check(check, Status.PASS, reason, context)


def failed(check: str, reason: str, **context: Value) -> Check:
    """Make a failing check."""
    return Check(check, Status.FAIL, reason, context)


def skipped(check: str, reason: str, **context: Value) -> Check:
    """Make a check that could not be made; if it was required, the verdict is INCOMPLETE."""
    return Check(check, Status.SKIPPED, reason, context)


def warned(check: str, reason: str, **context: Value) -> Check:
    """Make a check that holds with a reservation; the verdict is at best a WARNING."""
    return Check(check, Status.WARN, reason, context)
