# SPDX-License-Identifier: Apache-2.0
"""Canonical JSON (RFC 8785) of documents without fractions.

Numbers with a fraction or beyond 2^53 are refused: how they are written is half of that standard, and no
document that is hashed here has any.
"""

import msgspec

from nacre.errors import MalformedEvidence

__all__ = ["canonical"]

_SAFE = 1 << 53


def canonical(value: object, *, what: str) -> bytes:
    """Write what a JSON document was decoded to as RFC 8785 does.

    Raises:
        MalformedEvidence: ``json-number``: it has a number that is not written here.
    """
    return b"".join(_written(value, what))


def _written(value: object, what: str) -> list[bytes]:
    if isinstance(value, dict):
        written = [b"{"]
        # By UTF-16, which puts what is beyond the first plane before its last letters.
        for key in sorted(value, key=lambda name: name.encode("utf-16-be")):
            written += (msgspec.json.encode(key), b":", *_written(value[key], what), b",")
        return [*written[: -1 if value else None], b"}"]
    if isinstance(value, list):
        written = [b"["]
        for item in value:
            written += (*_written(item, what), b",")
        return [*written[: -1 if value else None], b"]"]
    whole = isinstance(value, int) and abs(value) <= _SAFE
    if not whole and value is not None and not isinstance(value, str):
        raise MalformedEvidence("json-number", what=what, detail="a fraction, or an integer beyond 2^53")
    return [msgspec.json.encode(value)]
