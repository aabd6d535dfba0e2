# SPDX-License-Identifier: Apache-2.0
"""COSE_Sign1, as small as evidence needs it.

What is verified is what was received: the signed bytes are built from the slices of the message, nothing
is decoded and encoded again. The algorithm is the caller's, the message only has to agree.

Source: RFC 9052, sections 4.2 and 4.4; RFC 9053, section 2.1.
"""

import msgspec

from nacre.errors import MalformedEvidence
from nacre.trust import cbor

__all__ = ["ES256", "ES384", "Sign1", "loads"]

#: COSE algorithm identifiers (RFC 9053, table 1).
ES256 = -7
ES384 = -35

_TAG = 0xD2
_ALGORITHM = 1
_PARTS = 4


class Sign1(msgspec.Struct, frozen=True):
    """A COSE_Sign1 message, decoded but not verified.

    Attributes:
        protected: The protected header, encoded, exactly as received.
        unprotected: How many entries the unprotected header has.
        payload: The payload, exactly as received.
        signature: The signature, as the algorithm encodes it (ECDSA: r ‖ s, big-endian).
        tagged: Whether tag 18 stood before it.
    """

    protected: bytes
    unprotected: int
    payload: bytes
    signature: bytes
    tagged: bool

    def signed(self) -> bytes:
        """Build the bytes that the signature covers, with empty external data."""
        return b"\x84\x6aSignature1%b\x40%b" % (cbor.dumps(self.protected), cbor.dumps(self.payload))

    def require(self, algorithm: int, *, what: str) -> None:
        """Insist that the headers state this algorithm, in the protected one, and nothing else.

        Raises:
            MalformedEvidence: ``cose-algorithm`` or ``cose-header``.
        """
        if self.protected == _PROTECTED.get(algorithm) and not self.unprotected:
            return
        if self.unprotected:
            raise MalformedEvidence("cose-header", what=what, expected="an empty unprotected header")
        header = cbor.loads(self.protected, what=f"{what}: protected header", limit=len(self.protected))
        stated = header.get(_ALGORITHM) if isinstance(header, dict) else None
        if stated != algorithm:
            raise MalformedEvidence("cose-algorithm", what=what, expected=algorithm, actual=repr(stated))
        raise MalformedEvidence("cose-header", what=what, expected="no protected header but the algorithm")


_PROTECTED = {algorithm: cbor.dumps({_ALGORITHM: algorithm}) for algorithm in (ES256, ES384)}


def loads(data: bytes, *, what: str, limit: int) -> Sign1:
    """Decode a COSE_Sign1 message that fills ``data``, with or without tag 18.

    Raises:
        MalformedEvidence: ``cose-form`` if it is something else, or as ``cbor.loads``.
    """
    tagged = data[:1] == bytes((_TAG,))
    parts = cbor.loads(data[1:] if tagged else data, what=what, limit=limit)
    if not isinstance(parts, list) or len(parts) != _PARTS:
        raise MalformedEvidence("cose-form", what=what, expected="an array of four")
    protected, unprotected, payload, signature = parts
    if not isinstance(protected, bytes) or not isinstance(payload, bytes) or not isinstance(signature, bytes):
        raise MalformedEvidence("cose-form", what=what, expected="byte strings at 0, 2 and 3")
    if not isinstance(unprotected, dict):
        raise MalformedEvidence("cose-form", what=what, expected="a map at 1")
    return Sign1(protected, len(unprotected), payload, signature, tagged)
