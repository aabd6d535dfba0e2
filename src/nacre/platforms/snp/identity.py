# SPDX-License-Identifier: Apache-2.0
"""The identity of a virtual machine under SEV-SNP: whose it is, and which launch digest it must have.

AMD's firmware starts a machine that comes with an ID block only if its launch digest is the one in the block
and the signature over the block holds. Reports then state family, image, security version and the digests of
the keys. An author's key may vouch for the key that signed, which can so change without a change of policies.

Source: AMD, SEV Secure Nested Paging Firmware ABI Specification (56860), SNP_LAUNCH_FINISH, "Structure of the
ID Block", "Structure of the ID Authentication Information" and chapter 10 (formats of keys and signatures).
"""

import hashlib
import struct
from collections.abc import Callable

import msgspec
from cryptography.hazmat.primitives.asymmetric.ec import SECP384R1, EllipticCurvePublicKey

from nacre.errors import ConfigurationError

__all__ = ["IdentityKey", "authentication", "block", "key_digest"]

_BLOCK = struct.Struct("<48s16s16sIIQ")
_AUTHENTICATION = struct.Struct("<II56x512s1028s60x512s1028s892x")
_VERSION = 1
_ECDSA_P384_SHA384 = 1
_P384 = 2
_DIGEST, _ID = 48, 16
_COORDINATE, _FIELD = 48, 72
_SIGNATURE, _KEY = 512, 1028


class IdentityKey(msgspec.Struct, frozen=True):
    """A key that vouches for machines, on P-384.

    Attributes:
        public: Its public part.
        sign: Signs bytes with ECDSA and SHA-384 and returns r ‖ s, 96 bytes: ``signing_key(key).sign``, or
            what asks a key service or a hardware module.
    """

    public: EllipticCurvePublicKey
    sign: Callable[[bytes], bytes]


def block(
    launch_digest: bytes,
    *,
    policy: int,
    guest_svn: int = 0,
    family_id: bytes = bytes(_ID),
    image_id: bytes = bytes(_ID),
) -> bytes:
    """Return an ID block, 96 bytes.

    Args:
        launch_digest: What ``measure`` computed, 48 bytes.
        policy: The guest's policy, the one that the machine is started with; 64 bits.
        guest_svn: The security version of the machine's software, 32 bits.
        family_id: 16 bytes of the owner's choice.
        image_id: Likewise.

    Raises:
        ConfigurationError: ``snp-identity``: a value is of another size.
    """
    for what, value, size in (
        ("launch digest", launch_digest, _DIGEST),
        ("family", family_id, _ID),
        ("image", image_id, _ID),
    ):
        if len(value) != size:
            raise ConfigurationError("snp-identity", what=what, expected=size, actual=len(value))
    for what, number, size in (("security version", guest_svn, 4), ("policy", policy, 8)):
        if number >> (8 * size):
            needed = (number.bit_length() + 7) // 8
            raise ConfigurationError("snp-identity", what=what, expected=size, actual=needed)
    return _BLOCK.pack(launch_digest, family_id, image_id, _VERSION, guest_svn, policy)


def authentication(identity: bytes, *, key: IdentityKey, author: IdentityKey | None = None) -> bytes:
    """Return the authentication information of an ID block, 4096 bytes.

    Args:
        identity: What ``block`` returned.
        key: Who signs it.
        author: Who vouches for that key, if anybody does.

    Raises:
        ConfigurationError: ``snp-identity``: a key is on another curve, a signature of another size.
    """
    public = _public(key)
    vouched, above = (
        (bytes(_SIGNATURE), bytes(_KEY))
        if author is None
        else (
            _signature(author, public),
            _public(author),
        )
    )
    return _AUTHENTICATION.pack(
        _ECDSA_P384_SHA384,
        0 if author is None else _ECDSA_P384_SHA384,
        _signature(key, identity),
        public,
        vouched,
        above,
    )


def key_digest(key: IdentityKey) -> bytes:
    """Return what reports state as ``id_key_digest`` or ``author_key_digest``, 48 bytes.

    Raises:
        ConfigurationError: ``snp-identity``: the key is on another curve.
    """
    return hashlib.sha384(_public(key)).digest()


def _public(key: IdentityKey) -> bytes:
    """Write a public key as firmware reads it: curve, x and y, little-endian."""
    if not isinstance(key.public.curve, SECP384R1):
        raise ConfigurationError(
            "snp-identity", what="key", expected=_COORDINATE, actual=key.public.key_size // 8
        )
    numbers = key.public.public_numbers()
    point = numbers.x.to_bytes(_FIELD, "little") + numbers.y.to_bytes(_FIELD, "little")
    return (_P384.to_bytes(4, "little") + point).ljust(_KEY, b"\0")


def _signature(key: IdentityKey, message: bytes) -> bytes:
    raw = key.sign(message)
    if len(raw) != 2 * _COORDINATE:
        raise ConfigurationError("snp-identity", what="signature", expected=2 * _COORDINATE, actual=len(raw))
    halves = (raw[:_COORDINATE], raw[_COORDINATE:])
    return b"".join([half[::-1].ljust(_FIELD, b"\0") for half in halves]).ljust(_SIGNATURE, b"\0")
