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


def conclude(checks: Iterable[Check], required: frozenset[str]) -> Verdict:
    """Weigh checks.

    Any failure or error rejects. Else a required check that was skipped, or is not there at all, leaves
    the verdict incomplete, and so does no check at all: nothing asked is not verified. Else anything
    warned about or waived makes it a warning.
    """
    made = set()
    skipped = set()
    warned = False
    for check in checks:
        status = check.status
        if status is Status.PASS or status is Status.NOT_APPLICABLE:
            made.add(check.id)
        elif status in _REJECTING:
            return Verdict.REJECTED
        elif status is Status.SKIPPED:
            skipped.add(check.id)
        else:
            made.add(check.id)
            warned = True
    if not made or not required <= made or not required.isdisjoint(skipped):
        return Verdict.INCOMPLETE
    return Verdict.WARNING if warned else Verdict.VERIFIED
