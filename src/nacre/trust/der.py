# SPDX-License-Identifier: Apache-2.0
"""A strict reader of DER (ITU-T X.690).

It walks a byte string by offsets and copies nothing. Lengths are definite and minimal, tags are one
byte, what is read ends exactly where its parent ends. Nothing here recurses: a caller descends by
naming each element of its grammar, so depth is bounded by the grammar, not by the input.

Errors call the input ``DER``; readers of a known object put its own name there with :func:`naming`.
"""

from typing import Final

from nacre.errors import MalformedEvidence

__all__ = [
    "BIT_STRING",
    "BOOLEAN",
    "CONTEXT_0",
    "CONTEXT_3",
    "ENUMERATED",
    "GENERALIZED_TIME",
    "INTEGER",
    "NULL",
    "OCTET_STRING",
    "OID",
    "SEQUENCE",
    "SET",
    "UTC_TIME",
    "bits",
    "boolean",
    "element",
    "finish",
    "integer",
    "naming",
    "seconds",
    "tagged",
    "whole",
]

BOOLEAN: Final = 0x01
INTEGER: Final = 0x02
BIT_STRING: Final = 0x03
OCTET_STRING: Final = 0x04
NULL: Final = 0x05
OID: Final = 0x06
ENUMERATED: Final = 0x0A
UTC_TIME: Final = 0x17
GENERALIZED_TIME: Final = 0x18
SEQUENCE: Final = 0x30
SET: Final = 0x31
CONTEXT_0: Final = 0xA0  # [0], constructed
CONTEXT_3: Final = 0xA3  # [3], constructed

_LONG_FORM = 0x80
_LENGTH_BYTES = 3  # lengths up to 16 MiB; every reader has a smaller limit of its own
_HIGH_TAG = 0x1F

_PIVOT = 50  # RFC 5280, 4.1.2.5.1: two-digit years from 50 are of the twentieth century
_MONTH_DAYS = (0, 31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
_DAYS_BEFORE_MONTH = (0, 0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334)
_EPOCH_DAYS = 719162  # from 0001-01-01 to 1970-01-01
_FEBRUARY = 2


def naming(error: MalformedEvidence, what: str) -> MalformedEvidence:
    """Return the same error about an object that has a name."""
    return MalformedEvidence(error.code, **{**error.context, "what": what})


def element(data: bytes, at: int, end: int, tag: int) -> tuple[int, int]:
    """Read the header at ``at`` of an element that has to carry ``tag`` and lie before ``end``.

    Returns:
        Where the content starts and where it stops.

    Raises:
        MalformedEvidence: ``der-tag``, ``der-length`` or ``truncated``.
    """
    try:
        if data[at] != tag:
            raise MalformedEvidence("der-tag", what="DER", expected=tag, actual=data[at], offset=at)
        size = data[at + 1]
    except IndexError:
        raise _short(2, at, end) from None
    start = at + 2
    if size >= _LONG_FORM:
        start, size = _long_length(data, start, size)
    stop = start + size
    if stop > end:
        raise _short(size, start, end)
    return start, stop


def tagged(data: bytes, at: int, end: int) -> tuple[int, int, int]:
    """Read the header at ``at`` of any element that lies before ``end``.

    Returns:
        The tag, where the content starts and where it stops.

    Raises:
        MalformedEvidence: ``der-tag`` for a tag of several bytes, ``der-length`` or ``truncated``.
    """
    if at >= end:
        raise _short(2, at, end)
    tag = data[at]
    if tag & _HIGH_TAG == _HIGH_TAG:
        raise MalformedEvidence("der-tag", what="DER", expected="a tag of one byte", actual=tag, offset=at)
    start, stop = element(data, at, end, tag)
    return tag, start, stop


def whole(data: bytes, tag: int) -> tuple[int, int]:
    """Read the header of an element that is all there is.

    Raises:
        MalformedEvidence: As :func:`element`, and ``trailing-bytes``.
    """
    end = len(data)
    start, stop = element(data, 0, end, tag)
    finish(stop, end)
    return start, stop


def finish(at: int, end: int) -> None:
    """Insist that a parent ends where its last child ended.

    Raises:
        MalformedEvidence: ``trailing-bytes``.
    """
    if at != end:
        raise MalformedEvidence("trailing-bytes", what="DER", actual=end - at, offset=at)


def integer(data: bytes, start: int, stop: int) -> int:
    """Decode the content of an INTEGER or ENUMERATED: big-endian, signed, minimal.

    Raises:
        MalformedEvidence: ``der-value``.
    """
    content = data[start:stop]
    if not content or (len(content) > 1 and (content[0], content[1] >> 7) in ((0, 0), (0xFF, 1))):
        raise _value("an integer", start, content)
    return int.from_bytes(content, "big", signed=True)


def boolean(data: bytes, start: int, stop: int) -> bool:
    """Decode the content of a BOOLEAN: 00 or FF.

    Raises:
        MalformedEvidence: ``der-value``.
    """
    content = data[start:stop]
    if content == b"\xff":
        return True
    if content == b"\x00":
        return False
    raise _value("a boolean", start, content)


def bits(data: bytes, start: int, stop: int) -> bytes:
    """Return the bytes of a BIT STRING that consists of whole bytes.

    Raises:
        MalformedEvidence: ``der-value``.
    """
    if start == stop or data[start]:
        raise _value("a bit string of whole bytes", start, data[start : min(stop, start + 1)])
    return data[start + 1 : stop]


def seconds(data: bytes, at: int, end: int) -> tuple[int, int]:
    """Decode a UTCTime or GeneralizedTime as RFC 5280 has them: with seconds, in UTC, no fraction.

    Rule ``generalized-time-any-year``: RFC 5280 wants UTCTime for years before 2050, yet the RA-TLS
    certificates of Intel's SGX SDK have GeneralizedTime there. The instant is the same, so both are read.

    Returns:
        Unix seconds, and where the element stops.

    Raises:
        MalformedEvidence: ``der-tag``, ``der-length``, ``truncated`` or ``der-value``.
    """
    tag = UTC_TIME if data[at : at + 1] == b"\x17" else GENERALIZED_TIME
    start, stop = element(data, at, end, tag)
    digits = data[start : stop - 1]
    if len(digits) != (12 if tag == UTC_TIME else 14) or data[stop - 1] != ord("Z") or not digits.isdigit():
        raise _value("a time", start, data[start:stop])
    rest, second = divmod(int(digits), 100)
    rest, minute = divmod(rest, 100)
    rest, hour = divmod(rest, 100)
    rest, day = divmod(rest, 100)
    year, month = divmod(rest, 100)
    if tag == UTC_TIME:
        year += 1900 if year >= _PIVOT else 2000
    if second > 59 or minute > 59 or hour > 23 or not 1 <= month <= 12 or not year:  # noqa: PLR2004 (a clock)
        raise _value("a time", start, data[start:stop])
    leap = year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
    if not 1 <= day <= _MONTH_DAYS[month] or (month == _FEBRUARY and day == _MONTH_DAYS[2] and not leap):
        raise _value("a time", start, data[start:stop])
    before = year - 1
    days = before * 365 + before // 4 - before // 100 + before // 400 - _EPOCH_DAYS
    days += _DAYS_BEFORE_MONTH[month] + day - 1 + (leap and month > _FEBRUARY)
    return ((days * 24 + hour) * 60 + minute) * 60 + second, stop


def _long_length(data: bytes, start: int, first: int) -> tuple[int, int]:
    count = first - _LONG_FORM
    stop = start + count
    size = int.from_bytes(data[start:stop], "big")
    # Minimal: no long form for what fits the short one, no leading zero; 80 alone is the indefinite form.
    if not 1 <= count <= _LENGTH_BYTES or size < _LONG_FORM or size >> 8 * (count - 1) == 0:
        raise MalformedEvidence("der-length", what="DER", offset=start - 1, actual=data[start - 1 : stop][:8])
    return stop, size


def _short(size: int, at: int, end: int) -> MalformedEvidence:
    return MalformedEvidence("truncated", what="DER", expected=size, actual=max(end - at, 0), offset=at)


def _value(expected: str, offset: int, actual: bytes) -> MalformedEvidence:
    return MalformedEvidence("der-value", what="DER", expected=expected, actual=actual[:32], offset=offset)
