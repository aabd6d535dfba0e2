# SPDX-License-Identifier: Apache-2.0
"""The order of Debian's version numbers.

Source: Debian Policy, 5.6.12, "Version".
"""

import re
from functools import cmp_to_key

__all__ = ["satisfies", "version_key"]

_PARTS = re.compile(r"(\d*)(\D*)")
_LAST = 256


def _weight(character: str) -> int:
    """Order characters: a tilde before everything, even the end; letters before other signs."""
    if character == "~":
        return -1
    return ord(character) if character.isalpha() else ord(character) + _LAST


def _compare_text(one: str, other: str) -> int:
    for index in range(max(len(one), len(other))):
        mine = _weight(one[index]) if index < len(one) else 0
        theirs = _weight(other[index]) if index < len(other) else 0
        if mine != theirs:
            return mine - theirs
    return 0


def _split(version: str) -> list[tuple[str, int]]:
    """Split into pairs of text and the number behind it."""
    first, rest = re.match(r"\D*", version), version
    text = first[0] if first else ""
    rest = version[len(text) :]
    pairs = []
    for number, following in _PARTS.findall(rest):
        if number:
            pairs.append((text, int(number)))
            text = following
    return [*pairs, (text, 0)]


def _compare_part(one: str, other: str) -> int:
    mine, theirs = _split(one), _split(other)
    for index in range(max(len(mine), len(theirs))):
        here = mine[index] if index < len(mine) else ("", 0)
        there = theirs[index] if index < len(theirs) else ("", 0)
        order = _compare_text(here[0], there[0]) or here[1] - there[1]
        if order:
            return order
    return 0


def _compare(one: str, other: str) -> int:
    for mine, theirs in zip(_fields(one), _fields(other), strict=True):
        order = _compare_part(mine, theirs)
        if order:
            return order
    return 0


def _fields(version: str) -> tuple[str, str, str]:
    epoch, colon, rest = version.partition(":")
    if not colon:
        epoch, rest = "0", version
    upstream, _, revision = rest.rpartition("-") if "-" in rest else (rest, "", "0")
    return epoch, upstream, revision


#: Makes of a version number what sorts as Debian sorts it.
version_key = cmp_to_key(_compare)


def satisfies(version: str, relation: str, wanted: str) -> bool:
    """Tell whether a version stands in a relation (``<<``, ``<=``, ``=``, ``>=``, ``>>``) to another."""
    order = _compare(version, wanted)
    return {
        "<<": order < 0,
        "<=": order <= 0,
        "=": order == 0,
        ">=": order >= 0,
        ">>": order > 0,
    }.get(relation, False)
