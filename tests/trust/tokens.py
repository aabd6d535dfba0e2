# SPDX-License-Identifier: Apache-2.0
"""Tokens signed for tests: whatever a header can say, over keys of every kind."""

import json
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa, utils
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import NameOID

Private = ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey

Digest = hashes.SHA256 | hashes.SHA384 | hashes.SHA512

_HASHES: Mapping[str, Digest] = {
    "256": hashes.SHA256(),
    "384": hashes.SHA384(),
    "512": hashes.SHA512(),
}
AT = 1_795_000_000

P256 = ec.generate_private_key(ec.SECP256R1())
P384 = ec.generate_private_key(ec.SECP384R1())
P521 = ec.generate_private_key(ec.SECP521R1())
ED = ed25519.Ed25519PrivateKey.generate()
RSA = rsa.generate_private_key(65537, 2048)
KEYS: Mapping[str, Private] = {
    "ES256": P256,
    "ES384": P384,
    "ES512": P521,
    "EdDSA": ED,
    **dict.fromkeys(("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"), RSA),
}


def b64url(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode()


def sign(key: Private, algorithm: str, message: bytes) -> bytes:
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return key.sign(message)
    digest = _HASHES[algorithm[2:]]
    if isinstance(key, ec.EllipticCurvePrivateKey):
        size = (key.key_size + 7) // 8
        r, s = utils.decode_dss_signature(key.sign(message, ec.ECDSA(digest)))
        return r.to_bytes(size, "big") + s.to_bytes(size, "big")
    if algorithm.startswith("PS"):
        return key.sign(message, padding.PSS(padding.MGF1(digest), digest.digest_size), digest)
    return key.sign(message, padding.PKCS1v15(), digest)


def jws(
    claims: Mapping[str, object] | bytes,
    key: Private = P256,
    algorithm: str = "ES256",
    **header: object,
) -> bytes:
    payload = claims if isinstance(claims, bytes) else json.dumps(claims).encode()
    return raw_jws(json.dumps({"alg": algorithm} | header).encode(), payload, key, algorithm)


def raw_jws(header: bytes, payload: bytes, key: Private = P256, algorithm: str = "ES256") -> bytes:
    message = f"{b64url(header)}.{b64url(payload)}".encode()
    return message + b"." + b64url(sign(key, algorithm, message)).encode()


def spki(key: Private) -> bytes:
    return key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def pem(*keys: Private) -> bytes:
    return b"".join(
        key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo) for key in keys
    )


def jwk(key: Private, **members: object) -> dict[str, object]:
    public = key.public_key()
    if isinstance(public, ed25519.Ed25519PublicKey):
        raw = public.public_bytes(Encoding.Raw, PublicFormat.Raw)
        return {"kty": "OKP", "crv": "Ed25519", "x": b64url(raw)} | members
    if isinstance(public, rsa.RSAPublicKey):
        numbers = public.public_numbers()
        return {
            "kty": "RSA",
            "n": b64url(numbers.n.to_bytes((public.key_size + 7) // 8, "big")),
            "e": b64url(numbers.e.to_bytes(3, "big")),
        } | members
    point, size = public.public_numbers(), (public.key_size + 7) // 8
    return {
        "kty": "EC",
        "crv": {256: "P-256", 384: "P-384", 521: "P-521"}[public.key_size],
        "x": b64url(point.x.to_bytes(size, "big")),
        "y": b64url(point.y.to_bytes(size, "big")),
    } | members


def jwks(*keys: Mapping[str, object]) -> bytes:
    return json.dumps({"keys": list(keys)}).encode()


class Pki(NamedTuple):
    """A root, an intermediate and a leaf, with the leaf's key."""

    root: bytes
    chain: tuple[bytes, ...]
    leaf_key: Private

    @property
    def x5c(self) -> list[str]:
        return [b64encode(der).decode() for der in self.chain]

    @property
    def root_pem(self) -> bytes:
        return x509.load_der_x509_certificate(self.root).public_bytes(Encoding.PEM)


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def certificate(
    subject: str, key: Private, issuer: str, issuer_key: Private, *, ca: bool, digest: Digest
) -> bytes:
    at = datetime.fromtimestamp(AT, UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(_name(subject))
        .issuer_name(_name(issuer))
        .public_key(key.public_key())
        .serial_number(7)
        .not_valid_before(at - timedelta(days=1))
        .not_valid_after(at + timedelta(days=30))
        .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
    )
    made = builder.sign(issuer_key, None if isinstance(issuer_key, ed25519.Ed25519PrivateKey) else digest)
    return made.public_bytes(Encoding.DER)


def pki(root_key: Private = RSA, leaf_key: Private = P256, digest: Digest | None = None) -> Pki:
    digest = digest or hashes.SHA256()
    root = certificate("Token Root", root_key, "Token Root", root_key, ca=True, digest=digest)
    middle = certificate("Token CA", root_key, "Token Root", root_key, ca=True, digest=digest)
    leaf = certificate("Token Leaf", leaf_key, "Token CA", root_key, ca=False, digest=digest)
    return Pki(root, (leaf, middle, root), leaf_key)
