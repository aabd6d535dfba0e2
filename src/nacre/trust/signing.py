# SPDX-License-Identifier: Apache-2.0
"""Private keys that sign what Nacre writes: results and reference values.

Deterministic (RFC 6979) where ECDSA leaves a choice, so that the same document under the same key is the
same file.
"""

from collections.abc import Callable
from typing import NamedTuple

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from nacre.errors import ConfigurationError
from nacre.trust.jwa import ALGORITHMS

__all__ = ["PrivateKey", "SigningKey", "signing_key"]

PrivateKey = EllipticCurvePrivateKey | Ed25519PrivateKey

_CURVES = {"secp256r1": ("ES256", hashes.SHA256()), "secp384r1": ("ES384", hashes.SHA384())}


class SigningKey(NamedTuple):
    """A key that signs, bound to its one algorithm.

    Attributes:
        name: What JOSE calls the algorithm.
        algorithm: What COSE calls it.
        sign: Signs bytes; ECDSA as r ‖ s, big-endian.
    """

    name: str
    algorithm: int
    sign: Callable[[bytes], bytes]


def signing_key(key: object) -> SigningKey:
    """Bind a private key to its one algorithm: ES256, ES384 or EdDSA.

    Raises:
        ConfigurationError: ``signing-key``, for a key of another kind.
    """
    if isinstance(key, Ed25519PrivateKey):
        return SigningKey("EdDSA", ALGORITHMS["EdDSA"].cose, key.sign)
    if not isinstance(key, EllipticCurvePrivateKey):
        raise ConfigurationError("signing-key", actual=type(key).__name__)
    if key.curve.name not in _CURVES:
        raise ConfigurationError("signing-key", actual=key.curve.name)
    private = key  # for mypy, which forgets inside of functions what a parameter is
    name, digest = _CURVES[key.curve.name]
    scheme = ECDSA(digest, deterministic_signing=True)
    size = key.key_size // 8

    def sign(message: bytes) -> bytes:
        r, s = decode_dss_signature(private.sign(message, scheme))
        return r.to_bytes(size, "big") + s.to_bytes(size, "big")

    return SigningKey(name, ALGORITHMS[name].cose, sign)
