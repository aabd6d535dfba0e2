# SPDX-License-Identifier: Apache-2.0
"""Signed CoRIM: a COSE_Sign1 message around a manifest, or around the hash of one.

The header of a message never brings a key that is believed: who signed is among the keys that the caller
pinned, or has a chain (``x5chain``) to an authority that the caller pinned. A ``kid`` chooses nothing.

1. The message is tagged 18 and has the form of COSE_Sign1.
2. The algorithm stands in the protected header and is one that a public key verifies.
3. ``crit`` names nothing but what is read here, and what has to be protected is not elsewhere.
4. The content type is CoRIM's, and the signer is named by ``corim-meta`` or CWT claims.
5. A pinned key that fits the algorithm verifies the bytes as received.
6. The validity of the signature and of the manifest includes the time of judgement.

Revocation of signing certificates is not looked at: pin keys, or let chains be short-lived.

Source: draft-ietf-rats-corim-11, section 4.2; RFC 9052, sections 3.1 and 4; RFC 9360, section 2; RFC 9597;
draft-ietf-cose-hash-envelope.
"""

import hashlib
from collections.abc import Callable, Mapping
from typing import Final

import msgspec

from nacre.appraisal.reference import shapes
from nacre.appraisal.reference.comid import URI
from nacre.appraisal.reference.corim import (
    MAX_CORIM,
    SIGNED,
    VALIDITY,
    Corim,
    Validity,
    check_validity,
    validity_of,
)
from nacre.appraisal.reference.corim import loads as load_corim
from nacre.appraisal.reference.shapes import anything, data, either, fields, integer, many, one_of, row, text
from nacre.errors import MalformedEvidence, VerificationError
from nacre.trust import cbor
from nacre.trust.cbor import Tag
from nacre.trust.jwa import COSE
from nacre.trust.jwk import Key, KeySet
from nacre.trust.x5c import leaf_key

__all__ = ["CHECK", "Signed", "dumps", "loads", "verify"]

#: What failures of a signed manifest are filed under.
CHECK: Final = "reference.signature"

_WHAT = "signed CoRIM"
_TYPE = "application/rim+cbor"
_ALG, _CRIT, _CONTENT_TYPE, _KID, _META, _CWT, _CHAIN = 1, 2, 3, 4, 8, 15, 33
_HASH, _PREIMAGE_TYPE, _LOCATION = 258, 259, 260
_HASHES = {-16: "sha256", -43: "sha384", -44: "sha512"}
#: What counts only if the signature covers it.
_PROTECTED = frozenset(
    {_ALG, _CRIT, _CONTENT_TYPE, _META, _CWT, _HASH, _PREIMAGE_TYPE, _LOCATION},
)
_UNDERSTOOD = _PROTECTED | {_KID, _CHAIN}

_SIGN1 = row(data(), anything, either(bytes=data(), nothing=one_of(None)), data())
_CHAIN_SHAPE = either(a_certificate=data(), certificates=many(data(), least=2, most=10))
_HEADER = fields(
    {
        _ALG: ("alg", integer(-(1 << 31), 1 << 31)),
        _CRIT: ("crit", many(either(a_number=integer(-(1 << 31)), text=text))),
        _CONTENT_TYPE: ("content-type", one_of(_TYPE)),
        _KID: ("kid", data()),
        _META: ("corim-meta", data()),
        _CWT: (
            "CWT claims",
            fields(
                {1: ("iss", text), 2: ("sub", text), 4: ("exp", integer()), 5: ("nbf", integer())},
                required={1},
                others=True,
            ),
        ),
        _CHAIN: ("x5chain", _CHAIN_SHAPE),
        _HASH: ("payload-hash-alg", one_of(*_HASHES)),
        _PREIMAGE_TYPE: ("preimage-content-type", one_of(_TYPE)),
        _LOCATION: ("payload-location", text),
    },
    required={_ALG},
    others=True,
)
_META_MAP = fields(
    {
        0: ("signer", fields({0: ("name", text), 1: ("uri", URI)}, required={0}, others=True)),
        1: ("signature-validity", VALIDITY),
    },
    required={0},
)


class Signed(msgspec.Struct, frozen=True):
    """A signed manifest, decoded but not verified: everything in it is what somebody says.

    Attributes:
        algorithm: What JOSE calls the algorithm of the signature.
        key_id: What the message calls its key.
        chain: Certificates that the message brings, DER, leaf first.
        signer: What the signer calls itself.
        validity: When the signature holds, if it says so.
        corim: The manifest.
        message: What the signature covers.
        signature: The signature, as COSE encodes it.
    """

    algorithm: str
    key_id: bytes
    chain: tuple[bytes, ...]
    signer: str
    validity: Validity | None
    corim: Corim
    message: bytes
    signature: bytes


def loads(octets: bytes, *, preimage: bytes | None = None) -> Signed:
    """Decode a signed manifest (steps 1 to 4).

    Args:
        octets: The message.
        preimage: The manifest, where the message only has its hash (hash envelope) or nothing (detached).

    Raises:
        MalformedEvidence: ``corim-kind``, ``cbor-shape``, ``corim-header``, ``corim-payload``, or as
            ``cbor.loads``.
    """
    value = cbor.loads(octets, what=_WHAT, limit=2 * MAX_CORIM, tags=True)
    if type(value) is not Tag or value.number != SIGNED:
        actual = f"tag {value.number}" if type(value) is Tag else "no tag"
        raise MalformedEvidence("corim-kind", what=_WHAT, expected=SIGNED, actual=actual)
    shapes.check(_SIGN1, value.value, what=_WHAT)
    protected, unprotected, *_ = value.value  # type: ignore[misc]  # the shape says four
    place = f"{_WHAT}: protected header"
    header = cbor.loads(protected, what=place, limit=MAX_CORIM, tags=True)  # type: ignore[has-type]
    shapes.check(_HEADER, header, what=place)
    loose = _checked_headers(header, unprotected)  # type: ignore[arg-type, has-type]
    return _message(header, loose, value.value, preimage)  # type: ignore[arg-type]


def _message(
    header: dict[object, object], loose: Mapping[object, object], parts: list[bytes], preimage: bytes | None
) -> Signed:
    protected, _, payload, signature = parts
    algorithm = COSE.get(header[_ALG])  # type: ignore[call-overload]  # the shape says integer
    if algorithm is None:
        raise _header("a signature algorithm of public keys", f"alg {header[_ALG]}")
    signer, validity = _signer(header)
    chain = header.get(_CHAIN, loose.get(_CHAIN, []))
    covered, corim = _payload(header, payload, preimage)
    return Signed(
        algorithm=algorithm,
        key_id=header.get(_KID, loose.get(_KID, b"")),  # type: ignore[arg-type]
        chain=(chain,) if isinstance(chain, bytes) else tuple(chain),  # type: ignore[arg-type]
        signer=signer,
        validity=validity,
        corim=load_corim(corim),
        message=_signed_bytes(protected, covered),
        signature=signature,
    )


def _checked_headers(header: Mapping[object, object], unprotected: object) -> Mapping[object, object]:
    """Check step 3 and return the unprotected header."""
    critical: list[object] = header.get(_CRIT, [])  # type: ignore[assignment]
    unknown = [label for label in critical if label not in _UNDERSTOOD or label not in header]
    if unknown:
        raise _header("critical headers that are read here and are there", f"crit {unknown[0]!r}")
    if type(unprotected) is not dict:
        raise _header("a map of unprotected headers", type(unprotected).__name__)
    misplaced = [label for label in unprotected if label in _PROTECTED or label in header]
    if misplaced:
        raise _header("a header in the protected part, once", repr(misplaced[0]))
    if _CHAIN in unprotected:
        shapes.check(_CHAIN_SHAPE, unprotected[_CHAIN], what=f"{_WHAT}: x5chain")
    if _KID in unprotected:
        shapes.check(data(), unprotected[_KID], what=f"{_WHAT}: kid")
    return unprotected


def _signer(header: Mapping[object, object]) -> tuple[str, Validity | None]:
    claims: Mapping[object, object] = header.get(_CWT, {})  # type: ignore[assignment]
    name, validity = str(claims.get(1, "")), None
    if 4 in claims:  # noqa: PLR2004 (exp)
        validity = Validity(claims.get(5), claims[4])  # type: ignore[arg-type]
    elif 5 in claims:  # noqa: PLR2004 (nbf)
        raise _header("exp where there is nbf", "nbf alone")
    if _META not in header:
        if _CWT not in header:
            raise _header("corim-meta or CWT claims", "neither")
        return name, validity
    place = f"{_WHAT}: corim-meta"
    meta = cbor.loads(header[_META], what=place, limit=MAX_CORIM, tags=True)  # type: ignore[arg-type]
    shapes.check(_META_MAP, meta, what=place)
    own = str(meta[0][0])  # type: ignore[index]
    stated = validity_of(meta.get(1))  # type: ignore[attr-defined]
    if (name and name != own) or (validity and stated and validity != stated):
        raise _header("one signer with one validity", f"corim-meta {own}, CWT claims {name}")
    return own, stated or validity


def _payload(
    header: Mapping[object, object], payload: bytes | None, preimage: bytes | None
) -> tuple[bytes, bytes]:
    """Return what was signed, and the manifest."""
    hashed = _HASH in header
    if not hashed and _CONTENT_TYPE not in header:
        raise _header(_TYPE, "no content type")
    if not hashed and payload is not None:
        if preimage is not None:
            raise MalformedEvidence("corim-payload", expected="the manifest inside alone", actual="two")
        return payload, payload
    if preimage is None:
        raise MalformedEvidence("corim-payload", expected="the manifest beside the signature", actual="none")
    if hashed:
        digest = hashlib.new(_HASHES[header[_HASH]], preimage).digest()  # type: ignore[index]
        if _CONTENT_TYPE in header or _PREIMAGE_TYPE not in header or payload is None:
            raise _header("the headers and payload of a hash envelope", "others")
        if payload != digest:
            raise MalformedEvidence("corim-payload", expected=payload.hex(), actual=digest.hex())
        return payload, preimage
    return preimage, preimage


def verify(signed: Signed, *, pinned: KeySet, at: int) -> Corim:
    """Verify a signed manifest and return what it says (steps 5 and 6).

    Args:
        signed: The message.
        pinned: Keys of signers and authorities that the caller trusts.
        at: When it has to hold, Unix seconds.

    Raises:
        VerificationError: ``reference-signer``, ``signature-invalid``, ``reference-expired``,
            ``reference-not-yet-valid``, or as the certificate path fails.
        MalformedEvidence: A certificate is malformed.
    """
    keys = pinned.keys
    if not any(_holds(signed, key) for key in keys):
        if signed.chain and pinned.anchors:
            keys = (leaf_key(signed.chain, pinned.anchors, at=at, check=CHECK).key,)
        if not any(signed.algorithm in key.algorithms for key in keys):
            raise VerificationError(
                "reference-signer", check=CHECK, what=_WHAT, expected=signed.algorithm, actual=len(keys)
            )
        if not _holds(signed, keys[0]):
            raise VerificationError("signature-invalid", check=CHECK, what=_WHAT)
    check_validity(signed.validity, at=at, what=f"signature of {signed.signer}", check=CHECK)
    check_validity(signed.corim.validity, at=at, what="manifest", check=CHECK)
    return signed.corim


def _holds(signed: Signed, key: Key) -> bool:
    return signed.algorithm in key.algorithms and key.holds(
        signed.signature, signed.message, algorithm=signed.algorithm
    )


def dumps(
    corim: bytes,
    *,
    algorithm: int,
    sign: Callable[[bytes], bytes],
    signer: str,
    key_id: bytes = b"",
    validity: Validity | None = None,
) -> bytes:
    """Write a signed manifest, deterministically if ``sign`` is.

    Args:
        corim: The unsigned manifest.
        algorithm: The COSE number of the signature algorithm.
        sign: Signs bytes, as COSE encodes signatures.
        signer: What the signer is called.
        key_id: What the key is called.
        validity: When the signature holds.
    """
    meta: dict[int, object] = {0: {0: signer}}
    if validity is not None:
        times = {0: validity.not_before, 1: validity.not_after}
        meta[1] = {key: Tag(1, time) for key, time in times.items() if time is not None}
    header: dict[int, object] = {_ALG: algorithm, _CONTENT_TYPE: _TYPE, _META: cbor.dumps(meta)}
    if key_id:
        header[_KID] = key_id
    protected = cbor.dumps(header)
    return cbor.dumps(Tag(SIGNED, [protected, {}, corim, sign(_signed_bytes(protected, corim))]))


def _signed_bytes(protected: bytes, payload: bytes) -> bytes:
    return cbor.dumps(["Signature1", protected, b"", payload])


def _header(expected: str, actual: str) -> MalformedEvidence:
    return MalformedEvidence("corim-header", what=_WHAT, expected=expected, actual=actual)
