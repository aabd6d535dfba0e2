# SPDX-License-Identifier: Apache-2.0
"""Reads plain ``nacre verify`` command lines without loading click."""

from collections.abc import Sequence

from nacre.cli.options import VERIFY, Kind
from nacre.cli.verifying import Request

__all__ = ["parse"]

_BY_FLAG = {flag: option for option in VERIFY for flag in option.flags}


def parse(arguments: Sequence[str]) -> Request | None:
    """Read the arguments after ``verify``; None if click has to look at them.

    Only what both readers understand alike is read here: options written out in full, their values in
    the next argument, and one piece of evidence.
    """
    values: dict[str, object] = {}
    several: dict[str, tuple[str, ...]] = {}
    counts: dict[str, int] = {}
    rest = list(reversed(arguments))
    while rest:
        word = rest.pop()
        if word == "-" or not word.startswith("-"):
            if "evidence" in values:
                return None
            values["evidence"] = word
            continue
        option = _BY_FLAG.get(word)
        if option is None or option.kind is Kind.OPTIONAL:
            return None
        if option.kind in (Kind.VALUE, Kind.SEVERAL):
            if not rest or rest[-1].startswith("-") or option.name in values:
                return None
            if option.kind is Kind.VALUE:
                values[option.name] = rest.pop()
            else:
                several[option.name] = (*several.get(option.name, ()), rest.pop())
        elif option.kind is Kind.COUNT:
            counts[option.name] = counts.get(option.name, 0) + 1
        else:
            values[option.name] = True
    return Request.of(values | several | counts) if "evidence" in values else None
