# SPDX-License-Identifier: Apache-2.0
"""Keys and signatures in the forms that dstack's clients read, and what they wish of a certificate.

secp256k1: scalars of 32 bytes, compressed points, signatures r ‖ s with the smaller s. Ed25519: RFC 8032's.
Nobody vouches for these keys as dstack's key server does: chains are empty.

Source: Dstack-TEE/dstack, ``dstack/guest-agent/src/rpc_service.rs`` (get_key, sign).
"""

from typing import Literal

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.asymmetric.utils import (
    Prehashed,
    decode_dss_signature,
    encode_dss_signature,
)
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from nacre.errors import EnclaveError

__all__ = ["Algorithm", "Wish", "base", "scalar", "signature", "usable", "valid"]

Algorithm = Literal["", "secp256k1", "k256", "secp256k1_prehashed", "ed25519"]

_ORDER = 0xFFFFFFFF_FFFFFFFF_FFFFFFFF_FFFFFFFE_BAAEDCE6_AF48A03B_BFD25E8C_D0364141
_SCALAR, _SIGNATURE, _DIGEST = 32, 64, 32


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


def base(algorithm: Algorithm) -> Literal["secp256k1", "ed25519"]:
    """Return the kind of key that an algorithm uses."""
    return "ed25519" if algorithm == "ed25519" else "secp256k1"


def usable(derived: bytes, algorithm: Algorithm) -> bytes:
    """Make a private key of 32 derived bytes."""
    if base(algorithm) == "ed25519":
        return derived
    return scalar(derived, _ORDER).to_bytes(_SCALAR, "big")


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


def _hash(data: bytes, algorithm: Algorithm) -> hashes.SHA256 | Prehashed:
    if algorithm != "secp256k1_prehashed":
        return hashes.SHA256()
    if len(data) != _DIGEST:
        raise EnclaveError("dstack-size", what="digest", expected=_DIGEST, actual=len(data))
    return Prehashed(hashes.SHA256())


def scalar(derived: bytes, order: int) -> int:
    """Make a private number of derived bytes, for a group of that order."""
    return int.from_bytes(derived, "big") % (order - 1) + 1
