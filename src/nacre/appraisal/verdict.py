# SPDX-License-Identifier: Apache-2.0
"""The verdict algebra: from checks to one word."""

from collections.abc import Sequence
from enum import StrEnum
from operator import attrgetter

from nacre.checks import Check, Status

__all__ = ["Verdict", "conclude"]


class Verdict(StrEnum):
    """What all checks of an appraisal come to."""

    VERIFIED = "VERIFIED"
    WARNING = "WARNING"
    INCOMPLETE = "INCOMPLETE"
    REJECTED = "REJECTED"


# Looking a member up in its enumeration costs more than all the rest here.
_SKIPPED = Status.SKIPPED
_STATUS, _ID = attrgetter("status"), attrgetter("id")
_VERIFIED, _WARNED = Verdict.VERIFIED, Verdict.WARNING
_REJECTING = frozenset({Status.FAIL, Status.ERROR})
_WARNING = frozenset({Status.WARN, Status.WAIVED})


def conclude(checks: Sequence[Check], required: frozenset[str]) -> Verdict:
    """Weigh checks.

    Any failure or error rejects. Else a required check that was skipped, or is not there at all, leaves
    the verdict incomplete, and so does no check at all: nothing asked is not verified. Else anything
    warned about or waived makes it a warning.
    """
    statuses = set(map(_STATUS, checks))
    if not statuses.isdisjoint(_REJECTING):
        return Verdict.REJECTED
    made = set(map(_ID, checks))
    if _SKIPPED in statuses:
        made = {check.id for check in checks if check.status is not _SKIPPED}
    if not made or not required <= made:
        return Verdict.INCOMPLETE
    if _SKIPPED in statuses and any(check.status is _SKIPPED and check.id in required for check in checks):
        return Verdict.INCOMPLETE
    return _VERIFIED if statuses.isdisjoint(_WARNING) else _WARNED
