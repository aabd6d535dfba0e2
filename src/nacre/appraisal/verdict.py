# SPDX-License-Identifier: Apache-2.0
"""The verdict algebra: from checks to one word."""

from collections.abc import Iterable
from enum import StrEnum

from nacre.checks import Check, Status

__all__ = ["Verdict", "conclude"]


class Verdict(StrEnum):
    """What all checks of an appraisal come to."""

    VERIFIED = "VERIFIED"
    WARNING = "WARNING"
    INCOMPLETE = "INCOMPLETE"
    REJECTED = "REJECTED"


_REJECTING = frozenset({Status.FAIL, Status.ERROR})
_WARNING = frozenset({Status.WARN, Status.WAIVED})


def conclude(checks: Iterable[Check], required: Iterable[str]) -> Verdict:
    """Weigh checks.

    Any failure or error rejects. Else a required check that was skipped, or is not there at all, leaves
    the verdict incomplete. Else anything warned about or waived makes it a warning.
    """
    missing = set(required)
    warned = False
    for check in checks:
        status = check.status
        if status is Status.PASS:
            missing.discard(check.id)
        elif status in _REJECTING:
            return Verdict.REJECTED
        elif status is not Status.SKIPPED:
            missing.discard(check.id)
            warned = warned or status in _WARNING
    if missing or any(check.status is Status.SKIPPED and check.id in required for check in checks):
        return Verdict.INCOMPLETE
    return Verdict.WARNING if warned else Verdict.VERIFIED
