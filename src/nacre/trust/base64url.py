# SPDX-License-Identifier: Apache-2.0
"""Base64url without padding, one spelling for each value.

Source: RFC 7515, 2 and appendix C; RFC 4648, 3.5 (spare bits are zero).
"""

import binascii
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode

from nacre.errors import MalformedEvidence

__all__ = ["decode", "encode"]

_LETTERS = re.compile(r"[A-Za-z0-9_-]*\Z")


def encode(data: bytes) -> str:
    """Encode, without padding."""
    return urlsafe_b64encode(data).rstrip(b"=").decode()


def decode(text: str, *, what: str) -> bytes:
    """Decode text that is exactly what :func:`encode` writes.

    Raises:
        MalformedEvidence: ``base64url``: padding, another letter, or spare bits that are not zero.
    """
    if _LETTERS.match(text):
        try:
            data = urlsafe_b64decode(text + "=" * (-len(text) % 4))
        except binascii.Error:
            data = b""
        if encode(data) == text:
            return data
    raise MalformedEvidence("base64url", what=what, actual=text[:32])
