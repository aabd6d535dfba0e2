# SPDX-License-Identifier: Apache-2.0
"""A strict reader of DER (ITU-T X.690).

It walks a byte string by offsets and copies nothing. Lengths are definite and minimal, tags are one
byte, what is read ends exactly where its parent ends. Nothing here recurses: a caller descends by
naming each element of its grammar, so depth is bounded by the grammar, not by the input.

Errors call the input ``DER``; readers of a known object put its own name there with :func:`naming`.
"""

from struct import Struct
from struct import error as StructError  # noqa: N812 (an exception that is spelled like a function)
from typing import Final

from nacre.errors import MalformedEvidence
from nacre.trust.times import from_civil

__all__ = [
    "BIT_STRING",
    "BOOLEAN",
    "CONTEXT_0",
    "CONTEXT_3",
    "ENUMERATED",
    "INTEGER",
    "OCTET_STRING",
    "OID",
    "SEQUENCE",
    "SET",
    "bits",
    "boolean",
    "element",
    "finish",
    "integer",
    "naming",
    "seconds",
    "tagged",
    "unsigned",
    "whole",
]

BOOLEAN: Final = 0x01
INTEGER: Final = 0x02
BIT_STRING: Final = 0x03
OCTET_STRING: Final = 0x04
OID: Final = 0x06
ENUMERATED: Final = 0x0A
SEQUENCE: Final = 0x30
SET: Final = 0x31
CONTEXT_0: Final = 0xA0  # [0], constructed
CONTEXT_3: Final = 0xA3  # [3], constructed

_LONG_FORM = 0x80  # lengths up to three bytes, 16 MiB: every reader has a smaller limit of its own
_HIGH_TAG = 0x1F
_SIGN = 0x80

_DAY = 86_400
_PIVOT = 50  # RFC 5280, 4.1.2.5.1: two-digit years from 50 on are of the twentieth century
_TWO = {b"%02d" % number: number for number in range(100)}
_SIXTY = {b"%02d" % number: number for number in range(60)}
_HOURS = {b"%02d" % number: number * 3600 for number in range(24)}
_COMMON_DAYS = (31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
_LEAP_DAYS = (31, 29, *_COMMON_DAYS[2:])


def _months(days: tuple[int, ...]) -> dict[bytes, tuple[int, int]]:
    """Month to the days of the year before its first, less one, and its own days."""
    return {b"%02d" % (month + 1): (sum(days[:month]) - 1, days[month]) for month in range(12)}


_COMMON_MONTHS = _months(_COMMON_DAYS)
_LEAP_MONTHS = _months(_LEAP_DAYS)


def _year(year: int) -> tuple[int | None, dict[bytes, tuple[int, int]]]:
    """Unix seconds at which a year begins (None for the year 0), and its months."""
    leap = from_civil(year, 2, 29, 0, 0, 0) is not None
    return from_civil(year, 1, 1, 0, 0, 0), _LEAP_MONTHS if leap else _COMMON_MONTHS


_YEARS = {text: _year(two + (1900 if two >= _PIVOT else 2000)) for text, two in _TWO.items()}
# Tag to layout: length, year, month, day, hour, minute, second, zone.
_TIMES = {0x17: Struct("xB2s2s2s2s2s2sc"), 0x18: Struct("xB4s2s2s2s2s2sc")}


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
            raise _other_tag(data, at, end, tag)
        size = data[at + 1]
        start = at + 2
        if size >= _LONG_FORM:
            # Minimal: no long form for what fits a shorter one; 80 alone is the indefinite form.
            if size == _LONG_FORM + 2 and data[start]:
                size = data[start] << 8 | data[start + 1]
                start += 2
            elif size == _LONG_FORM + 1 and data[start] >= _LONG_FORM:
                size = data[start]
                start += 1
            elif size == _LONG_FORM + 3 and data[start]:
                size = data[start] << 16 | data[start + 1] << 8 | data[start + 2]
                start += 3
            else:
                raise MalformedEvidence("der-length", what="DER", actual=data[at + 1 : at + 6], offset=at + 1)
    except IndexError:
        raise _short(2, at, end) from None
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
        raise MalformedEvidence("der-tag", what="DER", expected="one byte", actual=f"{tag:02x}", offset=at)
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
    size = stop - start
    # Minimal: the first nine bits are not all the same.
    if size < 1 or (size > 1 and data[start] == (0xFF if data[start + 1] >= _SIGN else 0)):
        raise _value("an integer", start, data[start:stop])
    return int.from_bytes(data[start:stop], "big", signed=True)


def unsigned(data: bytes, start: int, stop: int) -> int:
    """Decode the content of an INTEGER that is not negative.

    Raises:
        MalformedEvidence: ``der-value``.
    """
    value = integer(data, start, stop)
    if value < 0:
        raise _value("an integer that is not negative", start, data[start:stop])
    return value


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
        MalformedEvidence: ``der-tag``, ``truncated`` or ``der-value``.
    """
    try:
        layout = _TIMES[data[at]]
        size, year, month, day, hour, minute, second, zone = layout.unpack_from(data, at)
    except (IndexError, KeyError, StructError):
        raise MalformedEvidence(
            "der-tag", what="DER", expected="17 or 18", actual=data[at : at + 2], offset=at
        ) from None
    stop = at + layout.size
    if stop > end:
        raise _short(layout.size, at, end)
    try:
        january, months = _YEARS.get(year) or _year(_TWO[year[:2]] * 100 + _TWO[year[2:]])
        first, days = months[month]
        date = _TWO[day]
        if size == layout.size - 2 and zone == b"Z" and january is not None and 0 < date <= days:
            into_year = (first + date) * _DAY + _HOURS[hour] + _SIXTY[minute] * 60 + _SIXTY[second]
            return january + into_year, stop
    except KeyError:
        pass  # no digits, or no such month, hour, minute or second
    raise _value("a time", at, data[at:stop])


def _other_tag(data: bytes, at: int, end: int, tag: int) -> MalformedEvidence:
    if at >= end:
        return _short(2, at, end)
    return MalformedEvidence(
        "der-tag", what="DER", expected=f"{tag:02x}", actual=f"{data[at]:02x}", offset=at
    )


def _short(size: int, at: int, end: int) -> MalformedEvidence:
    return MalformedEvidence("truncated", what="DER", expected=size, actual=max(end - at, 0), offset=at)


def _value(expected: str, offset: int, actual: bytes) -> MalformedEvidence:
    return MalformedEvidence("der-value", what="DER", expected=expected, actual=actual[:32], offset=offset)
