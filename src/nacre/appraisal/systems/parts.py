# SPDX-License-Identifier: Apache-2.0
"""Parts of layouts, held to their form before anything is computed from them.

A part of another form would give another digest, so that evidence is refused all the same; but for a
reason that nobody understands.
"""

import hashlib
from collections.abc import Mapping
from typing import Final

from nacre.errors import ConfigurationError, MalformedEvidence
from nacre.trust import der

__all__ = ["FIELD", "key_bits", "key_digest", "sized", "spki", "wrong"]

#: Bytes of report data.
FIELD: Final = 64

_KEY_FORM = "a DER SubjectPublicKeyInfo"


def wrong(what: str, part: str, *, expected: str, actual: str | int) -> ConfigurationError:
    """Make the error for a part that has another form."""
    return ConfigurationError("binding-part", what=what, part=part, expected=expected, actual=actual)


def sized(parts: Mapping[str, bytes], what: str, part: str, *sizes: int) -> bytes:
    """Return a part that has one of these sizes.

    Raises:
        ConfigurationError: ``binding-part``.
    """
    value = parts[part]
    if len(value) not in sizes:
        expected = f"{' or '.join(map(str, sizes))} bytes"
        raise wrong(what, part, expected=expected, actual=f"{len(value)} bytes")
    return value


def spki(parts: Mapping[str, bytes], what: str, part: str = "key") -> bytes:
    """Return a part that is a DER SubjectPublicKeyInfo.

    Raises:
        ConfigurationError: ``binding-part``.
    """
    key_bits(parts, what, part)
    return parts[part]


def key_bits(parts: Mapping[str, bytes], what: str, part: str = "key") -> bytes:
    """Return what a SubjectPublicKeyInfo holds beside the algorithm: a point, say, uncompressed.

    Raises:
        ConfigurationError: ``binding-part``.
    """
    value = parts[part]
    try:
        start, end = der.whole(value, der.SEQUENCE)
        _, at = der.element(value, start, end, der.SEQUENCE)
        start, stop = der.element(value, at, end, der.BIT_STRING)
        der.finish(stop, end)
        return der.bits(value, start, stop)
    except MalformedEvidence:
        raise wrong(what, part, expected=_KEY_FORM, actual=f"{len(value)} bytes of another form") from None


def key_digest(parts: Mapping[str, bytes], what: str, part: str = "key") -> bytes:
    """Return the SHA-256 of a part that is a DER SubjectPublicKeyInfo, 32 bytes.

    Raises:
        ConfigurationError: ``binding-part``.
    """
    return hashlib.sha256(spki(parts, what, part)).digest()
