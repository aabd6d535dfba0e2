# SPDX-License-Identifier: Apache-2.0
"""Bytes as other systems write them into JSON: hex and base64, one spelling for each value."""

import binascii
import re

from nacre.errors import MalformedEvidence

__all__ = ["unbase64", "unhex"]

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
