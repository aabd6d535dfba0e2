# SPDX-License-Identifier: Apache-2.0
"""Bytes as other systems write them: hex and base64, one spelling for each value, and gzip, bounded."""

import binascii
import re
import zlib

from nacre.errors import MalformedEvidence

__all__ = ["gunzip", "unbase64", "unhex"]

_GZIP = 31  # what zlib calls gzip with the largest window
_HEX = re.compile(r"(?:[0-9A-Fa-f]{2})*\Z", re.ASCII)


def unhex(text: str, *, what: str) -> bytes:
    """Decode hexadecimal digits; upper and lower case are read, nothing between them.

    Raises:
        MalformedEvidence: ``hex-invalid``.
    """
    if not _HEX.match(text):
        raise MalformedEvidence("hex-invalid", what=what, actual=text[:32])
    return binascii.unhexlify(text)


def unbase64(text: str, *, what: str) -> bytes:
    """Decode base64 (RFC 4648, 4) with its padding, and nothing beside it.

    Raises:
        MalformedEvidence: ``base64-invalid``: another letter, padding missing, or spare bits that are set.
    """
    try:
        data = binascii.a2b_base64(text, strict_mode=True)
    except ValueError:
        data = b""
    if binascii.b2a_base64(data, newline=False) != text.encode(errors="replace"):
        raise MalformedEvidence("base64-invalid", what=what, actual=text[:32])
    return data


def gunzip(data: bytes, *, what: str, limit: int) -> bytes:
    """Unpack one gzip member that fills ``data`` and holds at most ``limit`` bytes; no more is ever made.

    Raises:
        MalformedEvidence: ``gzip-invalid``.
    """
    engine = zlib.decompressobj(_GZIP)
    try:
        text = engine.decompress(data, limit)
    except zlib.error:
        raise MalformedEvidence("gzip-invalid", what=what, expected=limit) from None
    if not engine.eof or engine.unused_data:
        raise MalformedEvidence("gzip-invalid", what=what, expected=limit)
    return text
