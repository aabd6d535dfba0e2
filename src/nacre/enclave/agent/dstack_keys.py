# SPDX-License-Identifier: Apache-2.0
"""Keys, signatures and certificates in the forms that dstack's clients read.

secp256k1: scalars of 32 bytes, compressed points, signatures r ‖ s with the smaller s. Ed25519: RFC 8032's.
Nobody vouches for these keys as dstack's key server does: chains are empty, certificates sign themselves.

Source: Dstack-TEE/dstack, ``dstack/guest-agent/src/rpc_service.rs`` (get_key, sign, get_tls_key).
"""

import datetime as dt
import time
from typing import Literal

import msgspec
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.asymmetric.utils import (
    Prehashed,
    decode_dss_signature,
    encode_dss_signature,
)
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from nacre.errors import EnclaveError

__all__ = ["Algorithm", "TlsKey", "Wish", "base", "certificate", "signature", "usable", "valid"]

Algorithm = Literal["", "secp256k1", "k256", "secp256k1_prehashed", "ed25519"]

_ORDER = 0xFFFFFFFF_FFFFFFFF_FFFFFFFF_FFFFFFFE_BAAEDCE6_AF48A03B_BFD25E8C_D0364141
_P256_ORDER = 0xFFFFFFFF_00000000_FFFFFFFF_FFFFFFFF_BCE6FAAD_A7179E84_F3B9CAC2_FC632551
_SCALAR, _SIGNATURE, _DIGEST = 32, 64, 32
_DAY = 86_400
_EARLY, _LIFE = 3600, 365 * _DAY
_MAX_NAMES = 64
_SHORT = 0x80


class Wish(msgspec.Struct, frozen=True):
    """What a certificate is to say; members as dstack names them. ``path`` makes its key return."""

    subject: str = ""
    alt_names: tuple[str, ...] = ()
    usage_ra_tls: bool = False
    usage_server_auth: bool = True
    usage_client_auth: bool = False
    not_before: int | None = None
    not_after: int | None = None
    path: str = ""


class TlsKey:
    """A P-256 key and the certificate that it gives itself."""

    def __init__(self, seed: bytes | None = None) -> None:
        """Make a new key, or the one of a seed of 32 bytes."""
        self._key = (
            ec.generate_private_key(ec.SECP256R1())
            if seed is None
            else ec.derive_private_key(_scalar(seed, _P256_ORDER), ec.SECP256R1())
        )

    @property
    def spki(self) -> bytes:
        """DER SubjectPublicKeyInfo."""
        return self._key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)

    def pem(self) -> str:
        """Return the key, PKCS#8."""
        return self._key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()

    def signed(self, draft: x509.CertificateBuilder) -> str:
        """Sign a certificate; PEM."""
        made = draft.public_key(self._key.public_key()).sign(self._key, hashes.SHA256())
        return made.public_bytes(Encoding.PEM).decode()


def base(algorithm: Algorithm) -> Literal["secp256k1", "ed25519"]:
    """Return the kind of key that an algorithm uses."""
    return "ed25519" if algorithm == "ed25519" else "secp256k1"


def usable(derived: bytes, algorithm: Algorithm) -> bytes:
    """Make a private key of 32 derived bytes."""
    if base(algorithm) == "ed25519":
        return derived
    return _scalar(derived, _ORDER).to_bytes(_SCALAR, "big")


def signature(private: bytes, data: bytes, algorithm: Algorithm) -> tuple[bytes, bytes]:
    """Sign; returns the signature (64 bytes) and the public key (33 or 32 bytes)."""
    if algorithm == "ed25519":
        key = ed25519.Ed25519PrivateKey.from_private_bytes(private)
        return key.sign(data), key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    signer = ec.derive_private_key(int.from_bytes(private, "big"), ec.SECP256K1())
    r, s = decode_dss_signature(signer.sign(data, ec.ECDSA(_hash(data, algorithm))))
    s = min(s, _ORDER - s)
    public = signer.public_key().public_bytes(Encoding.X962, PublicFormat.CompressedPoint)
    return r.to_bytes(_SCALAR, "big") + s.to_bytes(_SCALAR, "big"), public


def valid(data: bytes, algorithm: Algorithm, *, signed: bytes, public: bytes) -> bool:
    """Tell whether a signature is right; keys and signatures that are none make it wrong."""
    if len(signed) != _SIGNATURE:
        return False
    try:
        if algorithm == "ed25519":
            ed25519.Ed25519PublicKey.from_public_bytes(public).verify(signed, data)
            return True
        r, s = (int.from_bytes(part, "big") for part in (signed[:_SCALAR], signed[_SCALAR:]))
        if s > _ORDER // 2:
            return False
        key = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256K1(), public)
        key.verify(encode_dss_signature(r, s), data, ec.ECDSA(_hash(data, algorithm)))
    except (InvalidSignature, ValueError):
        return False
    return True


def certificate(key: TlsKey, wish: Wish, *, extensions: dict[str, bytes]) -> str:
    """Make the certificate that was wished for; PEM.

    Args:
        key: Whose it is.
        wish: What it says.
        extensions: Object identifier to bytes, each put into an OCTET STRING.

    Raises:
        EnclaveError: ``dstack-certificate``: it cannot say that.
    """
    now = int(time.time())
    start = now - _EARLY if wish.not_before is None else wish.not_before
    end = now + _LIFE if wish.not_after is None else wish.not_after
    if start >= end or len(wish.alt_names) > _MAX_NAMES:
        raise EnclaveError("dstack-certificate", actual="its times or names")
    try:
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, wish.subject or "nacre")])
        draft = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .serial_number(x509.random_serial_number())
            .not_valid_before(dt.datetime.fromtimestamp(start, dt.UTC))
            .not_valid_after(dt.datetime.fromtimestamp(end, dt.UTC))
        )
        if wish.alt_names:
            names = x509.SubjectAlternativeName([x509.DNSName(one) for one in wish.alt_names])
            draft = draft.add_extension(names, critical=False)
        wanted = (wish.usage_server_auth, wish.usage_client_auth)
        both = (ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH)
        usages = [usage for usage, wished in zip(both, wanted, strict=True) if wished]
        if usages:
            draft = draft.add_extension(x509.ExtendedKeyUsage(usages), critical=False)
        for identifier, value in extensions.items():
            extension = x509.UnrecognizedExtension(x509.ObjectIdentifier(identifier), _octets(value))
            draft = draft.add_extension(extension, critical=False)
        return key.signed(draft)
    except (ValueError, OverflowError, OSError) as error:
        raise EnclaveError("dstack-certificate", actual=str(error)[:80]) from None


def _hash(data: bytes, algorithm: Algorithm) -> hashes.SHA256 | Prehashed:
    if algorithm != "secp256k1_prehashed":
        return hashes.SHA256()
    if len(data) != _DIGEST:
        raise EnclaveError("dstack-size", what="digest", expected=_DIGEST, actual=len(data))
    return Prehashed(hashes.SHA256())


def _scalar(derived: bytes, order: int) -> int:
    return int.from_bytes(derived, "big") % (order - 1) + 1


def _octets(value: bytes) -> bytes:
    size = len(value)
    if size < _SHORT:
        return b"\x04" + bytes((size,)) + value
    length = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return b"\x04" + bytes((_SHORT | len(length),)) + length + value
