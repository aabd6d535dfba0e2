# SPDX-License-Identifier: Apache-2.0
"""Times in signed documents, to and from Unix seconds, without a calendar library.

Inside Nacre a time is an integer of Unix seconds; text appears only where documents are read.
"""

from nacre.errors import MalformedEvidence

__all__ = ["from_civil", "parse_rfc3339"]

_TEXT_SIZE = len("2025-03-10T11:04:00Z")
_DAYS_BEFORE_MONTH = (0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334)
_DAYS_IN_MONTH = (31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
_EPOCH_YEAR = 1970
_LEAP_DAYS_BEFORE_EPOCH = 1969 // 4 - 1969 // 100 + 1969 // 400


def from_civil(  # noqa: PLR0917 (a calendar has six fields)
    year: int, month: int, day: int, hour: int, minute: int, second: int
) -> int | None:
    """Return Unix seconds (UTC, proleptic Gregorian), or None if there is no such time."""
    if not (1 <= month <= 12 and hour <= 23 and minute <= 59 and second <= 59 and year >= 1):  # noqa: PLR2004
        return None
    leap = year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
    if not 1 <= day <= _DAYS_IN_MONTH[month - 1] + (leap and month == 2):  # noqa: PLR2004
        return None
    before = year - 1
    leap_days = before // 4 - before // 100 + before // 400 - _LEAP_DAYS_BEFORE_EPOCH
    days = (year - _EPOCH_YEAR) * 365 + leap_days + _DAYS_BEFORE_MONTH[month - 1] + day - 1
    if leap and month > 2:  # noqa: PLR2004
        days += 1
    return days * 86400 + hour * 3600 + minute * 60 + second


def parse_rfc3339(text: str, *, what: str) -> int:
    """Read ``YYYY-MM-DDThh:mm:ssZ``, the only form that vendors' documents use.

    Raises:
        MalformedEvidence: ``time-invalid``.
    """
    if len(text) == _TEXT_SIZE and text[4:20:3] == "--T::Z":
        day = text[0:4] + text[5:7] + text[8:10]
        clock = text[11:13] + text[14:16] + text[17:19]
        digits = day + clock
        if digits.isdigit() and digits.isascii():
            date, time = int(day), int(clock)
            seconds = from_civil(
                date // 10000, date // 100 % 100, date % 100, time // 10000, time // 100 % 100, time % 100
            )
            if seconds is not None:
                return seconds
    raise MalformedEvidence("time-invalid", what=what, actual=text[:40])
