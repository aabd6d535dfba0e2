# SPDX-License-Identifier: Apache-2.0
"""PEM (RFC 7468), certificates and nothing else."""

import binascii
import functools
from typing import Final

from nacre.errors import MalformedEvidence

__all__ = ["MAX_CERTIFICATES", "MAX_PEM_SIZE", "armour", "blocks", "certificates"]

#: Longer chains are not read. The longest real one (Android) has 5.
MAX_CERTIFICATES: Final = 10
#: Larger inputs are not read.
MAX_PEM_SIZE: Final = 256 * 1024

_BREAKS = b"\r\n"


def certificates(data: bytes) -> tuple[bytes, ...]:
    """Read a chain of PEM certificates into DER, in their order.

    Lines may end in LF or CRLF; blank lines between certificates and zero bytes after the last one
    (Intel's quotes end so) are passed over, anything else outside of a certificate is refused.

    Raises:
        MalformedEvidence: There is no certificate, there are too many, or something else is there.
    """
    return blocks(data, "CERTIFICATE", what="PEM chain", limit=MAX_CERTIFICATES)


@functools.lru_cache(maxsize=32)
def armour(der: bytes) -> bytes:
    """Write a certificate as nearly everybody does: lines of 64 characters that end in LF, but the last."""
    text = binascii.b2a_base64(der, newline=False)
    lines = [text[at : at + 64] for at in range(0, len(text), 64)]
    return b"\n".join([b"-----BEGIN CERTIFICATE-----", *lines, b"-----END CERTIFICATE-----"])


def blocks(data: bytes, label: str, *, what: str, limit: int, size: int = MAX_PEM_SIZE) -> tuple[bytes, ...]:
    """Read PEM blocks of one label; ``what`` is what errors call the input.

    Raises:
        MalformedEvidence: There is no block, there are more than ``limit``, or something else is there.
    """
    if len(data) > size:
        raise MalformedEvidence("too-large", what=what, expected=size, actual=len(data))
    head, tail = f"-----BEGIN {label}-----".encode(), f"-----END {label}-----".encode()
    before, *rest = (data.rstrip(b"\0\r\n") + b"\n").split(head)
    if before.strip(_BREAKS) or not rest:
        raise MalformedEvidence(
            "pem-text", what=what, expected=head.decode(), actual=before.strip(_BREAKS)[:32]
        )
    if len(rest) > limit:
        raise MalformedEvidence("too-many", what=what, expected=limit, actual=len(rest))
    return tuple([_block(part, tail, what) for part in rest])


def _block(part: bytes, tail: bytes, what: str) -> bytes:
    body, found, after = part.partition(tail)
    if not found or after.strip(_BREAKS):
        raise MalformedEvidence(
            "pem-text", what=what, expected=tail.decode(), actual=after.strip(_BREAKS)[:32]
        )
    # The marks stand on lines of their own; between them a line may end after any character.
    if not (
        body.startswith((b"\n", b"\r\n")) and body.endswith(b"\n") and after.startswith((b"\n", b"\r\n"))
    ):
        raise MalformedEvidence("pem-text", what=what, expected="a line of its own", actual=body[:32])
    text = body.replace(b"\r\n", b"\n").replace(b"\n", b"")
    try:
        der = binascii.a2b_base64(text, strict_mode=True)
    except binascii.Error:
        der = b""
    # Strict decoding leaves open the spare bits of the last four characters, and what padding is missing.
    last = binascii.b2a_base64(der[-(len(der) % 3 or 3) :], newline=False)
    if not der or not text.endswith(last) or len(text) != (len(der) + 2) // 3 * 4:
        raise MalformedEvidence("pem-base64", what=what, actual=text[:32])
    return der
