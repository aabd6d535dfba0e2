# SPDX-License-Identifier: Apache-2.0
"""Signed CBOR tokens (CWT in COSE_Sign1), under the same rules as :mod:`nacre.trust.jose`.

Source: RFC 8392, 6 and 7 (tags, form); RFC 9052, 3.1 (headers); RFC 9596 (typ).
"""

from collections.abc import Set as AbstractSet
from typing import Final

import msgspec

from nacre.errors import MalformedEvidence, UnsupportedEvidence, VerificationError
from nacre.trust import cbor, cose
from nacre.trust.jose import Signer, choose
from nacre.trust.jwa import COSE
from nacre.trust.jwk import KeySet

__all__ = ["MAX_TOKEN", "TAG", "Cwt", "loads", "verify"]

#: Bytes of one token.
MAX_TOKEN: Final = 512 * 1024
#: The CWT tag, 61, encoded. Tag 18 has to follow it.
TAG: Final = b"\xd8\x3d"

_ALGORITHM, _CRITICAL, _KEY_ID = 1, 2, 4


class Cwt(msgspec.Struct, frozen=True):
    """A token, taken apart and not verified.

    Attributes:
        algorithm: What it says it is signed with, by its JOSE name; the number, if it has none here.
        key_id: What it calls the key: the text, if it is one, else hex; empty if it does not say.
        payload: The claims, CBOR.
        signature: The signature.
        signed: The bytes that the signature covers.
    """

    algorithm: str
    key_id: str
    payload: bytes
    signature: bytes
    signed: bytes


def loads(data: bytes, *, what: str) -> Cwt:
    """Take a token apart: COSE_Sign1 with tag 18 or without, tag 61 before it or not.

    Everything is in the protected header; what nobody signed could only mislead.

    Raises:
        MalformedEvidence: ``cwt-tag``, ``cose-header``, or as ``cose.loads``.
        UnsupportedEvidence: ``jws-critical``: the header demands something that is not done here.
    """
    bare = data.removeprefix(TAG)
    message = cose.loads(bare, what=what, limit=MAX_TOKEN)
    if len(bare) != len(data) and not message.tagged:
        raise MalformedEvidence("cwt-tag", what=what)
    if message.unprotected:
        raise MalformedEvidence("cose-header", what=what, expected="an empty unprotected header")
    header = cbor.loads(message.protected, what=f"{what}: protected header", limit=len(message.protected))
    if not isinstance(header, dict) or type(header.get(_ALGORITHM)) is not int:
        raise MalformedEvidence("cose-header", what=what, expected="an algorithm")
    if _CRITICAL in header:
        raise UnsupportedEvidence("jws-critical", what=what, member="crit")
    key_id = header.get(_KEY_ID, b"")
    if not isinstance(key_id, bytes):
        raise MalformedEvidence("cose-header", what=what, expected="a byte string as key id")
    number = header[_ALGORITHM]
    return Cwt(
        COSE.get(number, str(number)), _name(key_id), message.payload, message.signature, message.signed()
    )


def verify(cwt: Cwt, keys: KeySet, *, algorithms: AbstractSet[str], check: str, what: str) -> Signer:
    """Verify a token under the keys that the caller pinned.

    Raises:
        VerificationError: ``jws-algorithm``, ``jws-key-unknown``, ``jws-key-unnamed``, ``signature-invalid``.
    """
    key = choose(keys, cwt.key_id, check=check, what=what) if cwt.algorithm in algorithms else None
    allowed = algorithms if key is None else key.algorithms
    if key is None or cwt.algorithm not in allowed:
        raise VerificationError(
            "jws-algorithm", check=check, what=what, expected=tuple(sorted(allowed)), actual=cwt.algorithm
        )
    if not key.holds(cwt.signature, cwt.signed, algorithm=cwt.algorithm):
        raise VerificationError("signature-invalid", check=check, what=what)
    return Signer(key.id, key.digest, cwt.algorithm)


def _name(key_id: bytes) -> str:
    try:
        text = key_id.decode()
    except UnicodeDecodeError:
        return key_id.hex()
    return text if text.isprintable() else key_id.hex()
