# SPDX-License-Identifier: Apache-2.0
"""The private key that signs reference values.

Deterministic (RFC 6979) where ECDSA leaves a choice, so that the same release under the same key is the
same file.
"""

from collections.abc import Callable
from typing import NamedTuple

from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from nacre.errors import ConfigurationError
from nacre.trust.jwa import ALGORITHMS

__all__ = ["SigningKey", "signing_key"]

_CURVES = {"secp256r1": "ES256", "secp384r1": "ES384"}


class SigningKey(NamedTuple):
    """A key that signs.

    Attributes:
        algorithm: What COSE calls its algorithm.
        sign: Signs bytes; ECDSA as r ‖ s, big-endian.
    """

    algorithm: int
    sign: Callable[[bytes], bytes]


def signing_key(key: EllipticCurvePrivateKey | Ed25519PrivateKey) -> SigningKey:
    """Bind a private key to its one algorithm: ES256, ES384 or EdDSA.

    Raises:
        ConfigurationError: ``release-key``, for a curve of another kind.
    """
    if isinstance(key, Ed25519PrivateKey):
        return SigningKey(ALGORITHMS["EdDSA"].cose, key.sign)
    name = _CURVES.get(key.curve.name)
    if name is None:
        raise ConfigurationError("release-key", actual=key.curve.name)
    algorithm = ALGORITHMS[name]
    assert algorithm.digest is not None  # noqa: S101 (for mypy: ECDSA has one)
    scheme = ECDSA(algorithm.digest, deterministic_signing=True)
    size = key.key_size // 8

    def sign(message: bytes) -> bytes:
        r, s = decode_dss_signature(key.sign(message, scheme))
        return r.to_bytes(size, "big") + s.to_bytes(size, "big")

    return SigningKey(algorithm.cose, sign)
