# SPDX-License-Identifier: Apache-2.0
"""Signed tokens in compact form (JWS), strictly, and who signed them.

The caller says which keys and which algorithms it trusts; the header only has to agree. Keys that a header
brings or points to (``jwk``, ``jku``, ``x5u``) are never looked at. A chain in ``x5c`` counts only if it
ends under a certification authority that the caller pinned.

Source: RFC 7515, 3 to 5 (form), 4.1.11 (crit); RFC 7519, 7.2; RFC 8725, 3 (algorithms, keys, duplicates).
"""

import binascii
from base64 import b64decode
from collections.abc import Set as AbstractSet
from typing import Final

import msgspec

from nacre.errors import MalformedEvidence, UnsupportedEvidence, VerificationError
from nacre.trust import base64url, json
from nacre.trust.jwk import Key, KeySet
from nacre.trust.x5c import leaf_key

__all__ = ["MAX_CHAIN", "MAX_TOKEN", "Jws", "Signer", "choose", "loads", "verify"]

#: Bytes of one token. Real ones with a chain of three certificates have 11 KiB.
MAX_TOKEN: Final = 512 * 1024
#: Certificates of a header.
MAX_CHAIN: Final = 5

_PARTS = 3
_HEADER_SIZE = 64 * 1024
_TEXTS = ("kid", "typ", "cty")
_UNSUPPORTED = ("b64", "zip", "enc")
_UNTRUSTED = ("jwk", "jku", "x5u", "x5t", "x5t#S256")


class Jws(msgspec.Struct, frozen=True):
    """A token, taken apart and not verified.

    Attributes:
        algorithm: What the header says it is signed with.
        key_id: What the header calls the key; empty if it does not say.
        type: The header's ``typ``, empty if absent.
        chain: The certificates of ``x5c``, DER, leaf first.
        untrusted: Members of the header that name keys, and that nobody looks at.
        payload: What was signed, decoded.
        signature: The signature.
        signed: The bytes that the signature covers.
    """

    algorithm: str
    key_id: str
    type: str
    chain: tuple[bytes, ...]
    untrusted: tuple[str, ...]
    payload: bytes
    signature: bytes
    signed: bytes


class Signer(msgspec.Struct, frozen=True):
    """Whose key signed a token.

    Attributes:
        key_id: The name of the pinned key, or the subject of the certificate; empty if it has none.
        digest: SHA-256 of the key's SubjectPublicKeyInfo, 32 bytes.
        algorithm: What it was signed with.
        anchor: The pinned authority, if a chain led there; else empty.
        not_after: When that chain ends, Unix seconds; None for a pinned key.
    """

    key_id: str
    digest: bytes
    algorithm: str
    anchor: str = ""
    not_after: int | None = None


def loads(token: bytes, *, what: str) -> Jws:
    """Take a token in compact form apart; nothing stands before or after it.

    Raises:
        MalformedEvidence: ``too-large``, ``jws-form``, ``base64url``, ``jws-header``, or as ``json.loads``.
        UnsupportedEvidence: ``jws-critical``: the header demands something that is not done here.
    """
    if len(token) > MAX_TOKEN:
        raise MalformedEvidence("too-large", what=what, expected=MAX_TOKEN, actual=len(token))
    parts = token.decode("latin-1").split(".")
    if len(parts) != _PARTS:
        raise MalformedEvidence("jws-form", what=what, expected=_PARTS, actual=len(parts))
    raw, payload, signature = [base64url.decode(part, what=what) for part in parts]
    header = json.loads(raw, what=f"{what}: header", limit=_HEADER_SIZE)
    if not isinstance(header, dict) or not isinstance(header.get("alg"), str):
        raise MalformedEvidence("jws-header", what=what, member="alg")
    for name in _TEXTS:
        if not isinstance(header.get(name, ""), str):
            raise MalformedEvidence("jws-header", what=what, member=name)
    for name in ("crit", *_UNSUPPORTED):
        if name in header:
            raise UnsupportedEvidence("jws-critical", what=what, member=name)
    return Jws(
        str(header["alg"]),
        str(header.get("kid", "")),
        str(header.get("typ", "")),
        _chain(header.get("x5c"), what),
        tuple([name for name in _UNTRUSTED if name in header]),
        payload,
        signature,
        token.rpartition(b".")[0],
    )


def verify(jws: Jws, keys: KeySet, *, algorithms: AbstractSet[str], at: int, check: str, what: str) -> Signer:
    """Verify a token under what the caller pinned.

    1. The algorithm is one of the caller's.
    2. A token with a chain is signed by its leaf, which hangs on a pinned authority, if any is pinned. Else
       the header's ``kid`` names a pinned key; without one there is one key and no other.
    3. The key is meant for the algorithm.
    4. The signature holds.

    Args:
        jws: The token.
        keys: What is trusted.
        algorithms: What this kind of token may be signed with.
        at: When certificates have to be valid, Unix seconds.
        check: The check whose failure this would be.
        what: What errors call the token.

    Raises:
        VerificationError: ``jws-algorithm``, ``jws-key-unknown``, ``jws-key-unnamed``, ``signature-invalid``,
            or as a certificate path fails.
        MalformedEvidence: A certificate of the chain is malformed.
    """
    if jws.algorithm not in algorithms:
        raise VerificationError(
            "jws-algorithm",
            check=check,
            what=what,
            expected=tuple(sorted(algorithms)),
            actual=jws.algorithm[:32],
        )
    if jws.chain and keys.anchors:
        leaf = leaf_key(jws.chain, keys.anchors, at=at, check=check)
        key, anchor, not_after = leaf.key, leaf.anchor, leaf.not_after
    else:
        key, anchor, not_after = choose(keys, jws.key_id, check=check, what=what), "", None
    if jws.algorithm not in key.algorithms:
        raise VerificationError(
            "jws-algorithm",
            check=check,
            what=what,
            expected=tuple(sorted(key.algorithms)),
            actual=jws.algorithm,
        )
    if not key.holds(jws.signature, jws.signed, algorithm=jws.algorithm):
        raise VerificationError("signature-invalid", check=check, what=what)
    return Signer(key.id, key.digest, jws.algorithm, anchor, not_after)


def choose(keys: KeySet, key_id: str, *, check: str, what: str) -> Key:
    """Choose among pinned keys by what a header calls the key. None is ever tried in turn.

    Raises:
        VerificationError: ``jws-key-unknown``: no pinned key has this name. ``jws-key-unnamed``: the header
            or the keys have no names, and there is not exactly one key.
    """
    named = [key for key in keys.keys if key.id]
    if key_id and named:
        for key in named:
            if key.id == key_id:
                return key
        raise VerificationError(
            "jws-key-unknown",
            check=check,
            what=what,
            expected=tuple([key.id for key in named]),
            actual=key_id,
        )
    if len(keys.keys) != 1:
        raise VerificationError("jws-key-unnamed", check=check, what=what, actual=len(keys.keys))
    return keys.keys[0]


def _chain(certificates: object, what: str) -> tuple[bytes, ...]:
    """Read ``x5c``: standard base64, unlike everything else (RFC 7515, 4.1.6)."""
    if certificates is None:
        return ()
    if not isinstance(certificates, list) or not all(isinstance(one, str) for one in certificates):
        raise MalformedEvidence("jws-header", what=what, member="x5c")
    if len(certificates) > MAX_CHAIN:
        raise MalformedEvidence("too-many", what=f"{what}: x5c", expected=MAX_CHAIN, actual=len(certificates))
    try:
        return tuple([b64decode(one, validate=True) for one in certificates])
    except (binascii.Error, ValueError):
        raise MalformedEvidence("jws-header", what=what, member="x5c") from None
