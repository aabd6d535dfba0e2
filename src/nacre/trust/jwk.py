# SPDX-License-Identifier: Apache-2.0
"""The keys that a caller pins for tokens: JWK sets and PEM files, public parts only.

A token never brings its own key. What signs a token is among the keys read here, or hangs on a
certification authority read here, or the token is refused.

Source: RFC 7517 (JWK), RFC 7518, 6 (key parameters), RFC 8037 (Ed25519), RFC 8725, 3 (what to insist on).
"""

import binascii
import hashlib
from base64 import b64decode
from collections.abc import Mapping, Sequence
from typing import Final

import msgspec
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_der_public_key

from nacre.errors import ConfigurationError, MalformedEvidence
from nacre.trust import json, pem
from nacre.trust.base64url import decode
from nacre.trust.jwa import ALGORITHMS, Verifies, fitting
from nacre.trust.x509 import Certificate, parse_certificate

__all__ = ["MAX_KEYS", "Key", "KeySet", "certificate_key", "read_keys"]

#: Keys of one set.
MAX_KEYS: Final = 64
_MAX_SIZE = 256 * 1024
_RSA_BITS = range(2048, 8193)
_RSA_EXPONENT_BITS = 33
_PRIVATE = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k"})
_CURVES: Mapping[str, tuple[ec.EllipticCurve, int]] = {
    "P-256": (ec.SECP256R1(), 32),
    "P-384": (ec.SECP384R1(), 48),
    "P-521": (ec.SECP521R1(), 66),
}
_ED25519_SIZE = 32
_WHAT = "JWK set"


class Key(msgspec.Struct, frozen=True):
    """A public key that the caller trusts for signatures.

    Attributes:
        id: What headers call it (``kid``); empty if it has no name.
        algorithms: The JOSE algorithms that it may be used with.
        digest: SHA-256 of its SubjectPublicKeyInfo, 32 bytes.
        public: The key itself.
    """

    id: str
    algorithms: frozenset[str]
    digest: bytes
    public: Verifies

    def holds(self, signature: bytes, message: bytes, *, algorithm: str) -> bool:
        """Tell whether a JOSE signature over ``message`` holds; the caller has settled the algorithm."""
        try:
            ALGORITHMS[algorithm].verify(self.public, signature, message)
        except InvalidSignature:
            return False
        return True


class KeySet(msgspec.Struct, frozen=True):
    """What the caller pins.

    Attributes:
        keys: Keys that sign tokens.
        anchors: Certification authorities; a token's own chain (``x5c``) counts under one of these only.
        ignored: What the file has besides, and why it does not serve.
    """

    keys: tuple[Key, ...]
    anchors: tuple[Certificate, ...] = ()
    ignored: tuple[str, ...] = ()


def read_keys(data: bytes) -> KeySet:
    """Read a JWK set, a single JWK, PEM public keys or certificates, or one certificate in DER.

    Certificates of authorities become anchors, other certificates stand for their key.

    Raises:
        ConfigurationError: ``keys-private`` (a private or secret key is in the file: it has no business with
            whoever verifies), ``keys-duplicate`` (two keys of one name), ``keys-none`` (nothing is usable).
        MalformedEvidence: The file, or a key in it, is malformed.
    """
    if b"PRIVATE KEY-----" in data:
        raise ConfigurationError("keys-private")
    if data[:1] == b"\x30":
        found = _certificates([data])
    else:
        found = _pem(data.strip()) if data.lstrip().startswith(b"-----BEGIN ") else _jwks(data)
    if not found.keys and not found.anchors:
        raise ConfigurationError("keys-none", actual=found.ignored)
    names = [key.id for key in found.keys if key.id]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise ConfigurationError("keys-duplicate", actual=twice)
    return found


def certificate_key(certificate: Certificate) -> Key:
    """Return the key of a certificate, named by its common name.

    Raises:
        MalformedEvidence: ``keys-unusable`` or ``keys-rsa-size``.
    """
    return _key(certificate.spki, certificate.common_name, None)


def _pem(data: bytes) -> KeySet:
    if data.startswith(b"-----BEGIN PUBLIC KEY-----"):
        spkis = pem.blocks(data, "PUBLIC KEY", what="PEM keys", limit=MAX_KEYS)
        return KeySet(tuple([_key(spki, "", None) for spki in spkis]))
    return _certificates(pem.certificates(data))


def _certificates(ders: Sequence[bytes]) -> KeySet:
    certificates = [parse_certificate(der) for der in ders]
    return KeySet(
        tuple([_key(one.spki, "", None) for one in certificates if not one.is_ca]),
        tuple([one for one in certificates if one.is_ca]),
    )


def _jwks(data: bytes) -> KeySet:
    whole = json.loads(data, what=_WHAT, limit=_MAX_SIZE)
    members = whole.get("keys", [whole]) if isinstance(whole, dict) else None
    if not isinstance(members, list) or not all(isinstance(member, dict) for member in members):
        raise MalformedEvidence("keys-form", what=_WHAT, expected='an object with a list "keys", or one JWK')
    if len(members) > MAX_KEYS:
        raise MalformedEvidence("too-many", what=_WHAT, expected=MAX_KEYS, actual=len(members))
    keys, ignored = [], []
    for place, member in enumerate(members):
        if _PRIVATE & member.keys() or member.get("kty") == "oct":
            raise ConfigurationError("keys-private")
        name = _text(member, "kid") or f"key {place}"
        reason = _unused(member)
        if reason:
            ignored.append(f"{name}: {reason}")
            continue
        key = _jwk(member, name)
        if key.algorithms:
            keys.append(key)
        else:
            ignored.append(f"{name}: alg {member.get('alg')!r}")
    return KeySet(tuple(keys), (), tuple(ignored))


def _unused(member: Mapping[str, object]) -> str:
    """Say why a key does not serve for signatures (RFC 7517, 5: it is passed over); empty if it does."""
    use, operations, kind = member.get("use", "sig"), member.get("key_ops", ["verify"]), member.get("kty")
    if use != "sig":
        return f"use {use!r}"
    if not isinstance(operations, list) or "verify" not in operations:
        return f"key_ops {operations!r}"
    known = kind == "RSA" or (kind == "EC" and member.get("crv") in _CURVES)
    if not known and not (kind == "OKP" and member.get("crv") == "Ed25519"):
        return f"kty {kind!r}, crv {member.get('crv')!r}"
    return ""


def _jwk(member: Mapping[str, object], name: str) -> Key:
    certificate = _certificate(member, name)
    stated = certificate if member["kty"] == "RSA" and "n" not in member and certificate else None
    spki = stated or _spki(member, name)
    if certificate not in (None, spki):
        raise MalformedEvidence("keys-parameter", what=name, parameter="x5c")
    return _key(spki, _text(member, "kid"), _text(member, "alg") or None)


def _spki(member: Mapping[str, object], name: str) -> bytes:
    public: ec.EllipticCurvePublicKey | rsa.RSAPublicKey | ed25519.Ed25519PublicKey
    try:
        if member["kty"] == "EC":
            curve, size = _CURVES[str(member["crv"])]
            point = b"\x04" + _parameter(member, "x", name, size) + _parameter(member, "y", name, size)
            public = ec.EllipticCurvePublicKey.from_encoded_point(curve, point)
        elif member["kty"] == "OKP":
            public = ed25519.Ed25519PublicKey.from_public_bytes(_parameter(member, "x", name, _ED25519_SIZE))
        else:
            modulus, exponent = _number(member, "n", name), _number(member, "e", name)
            public = rsa.RSAPublicNumbers(exponent, modulus).public_key()
    except ValueError:
        raise MalformedEvidence("keys-unusable", what=name) from None
    return public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _key(spki: bytes, name: str, algorithm: str | None) -> Key:
    what = name or "key"
    try:
        public = load_der_public_key(spki)
    except (ValueError, UnsupportedAlgorithm):
        raise MalformedEvidence("keys-unusable", what=what) from None
    if isinstance(public, rsa.RSAPublicKey):
        exponent = public.public_numbers().e
        if public.key_size not in _RSA_BITS or exponent.bit_length() > _RSA_EXPONENT_BITS:
            raise MalformedEvidence("keys-rsa-size", what=what, actual=public.key_size)
    elif not isinstance(public, ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey):
        raise MalformedEvidence("keys-unusable", what=what)
    algorithms = fitting(public)
    if not algorithms:
        raise MalformedEvidence("keys-unusable", what=what)
    chosen = algorithms if algorithm is None else algorithms & {algorithm}
    return Key(name, chosen, hashlib.sha256(spki).digest(), public)


def _certificate(member: Mapping[str, object], name: str) -> bytes | None:
    """Return the key of a JWK's first certificate; Azure's sets have nothing else."""
    chain = member.get("x5c")
    if chain is None:
        return None
    if not isinstance(chain, Sequence) or not chain or not isinstance(chain[0], str):
        raise MalformedEvidence("keys-parameter", what=name, parameter="x5c")
    try:
        return parse_certificate(b64decode(chain[0], validate=True)).spki
    except (binascii.Error, ValueError):
        raise MalformedEvidence("keys-parameter", what=name, parameter="x5c") from None


def _text(member: Mapping[str, object], name: str) -> str:
    value = member.get(name, "")
    if not isinstance(value, str):
        raise MalformedEvidence("keys-parameter", what=_WHAT, parameter=name)
    return value


def _parameter(member: Mapping[str, object], name: str, key: str, size: int) -> bytes:
    value = decode(_text(member, name), what=f"{key}: {name}")
    if len(value) != size:
        raise MalformedEvidence("keys-parameter", what=key, parameter=name)
    return value


def _number(member: Mapping[str, object], name: str, key: str) -> int:
    """Read a Base64urlUInt: big-endian, without leading zero bytes (RFC 7518, 2)."""
    value = decode(_text(member, name), what=f"{key}: {name}")
    if not value or not value[0]:
        raise MalformedEvidence("keys-parameter", what=key, parameter=name)
    return int.from_bytes(value, "big")
