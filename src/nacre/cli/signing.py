# SPDX-License-Identifier: Apache-2.0
"""The private key that signs results."""

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from nacre.cli import inputs
from nacre.errors import ConfigurationError

__all__ = ["private_key"]


def private_key(name: str) -> EllipticCurvePrivateKey | Ed25519PrivateKey:
    """Load an unencrypted PEM private key for ES256, ES384 or EdDSA.

    Raises:
        ConfigurationError: ``key-file``, or the file cannot be read.
    """
    try:
        key = load_pem_private_key(inputs.document(name), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise ConfigurationError("key-file", path=name, actual=str(error).partition("\n")[0]) from None
    if not isinstance(key, EllipticCurvePrivateKey | Ed25519PrivateKey):
        raise ConfigurationError("key-file", path=name, actual=type(key).__name__)
    return key
