# SPDX-License-Identifier: Apache-2.0
"""The private key of an SGX enclave's author."""

from collections.abc import Callable
from typing import Final, NamedTuple

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from nacre.cli import inputs
from nacre.errors import ConfigurationError

__all__ = ["Author", "author"]

_BITS: Final = 3072
_EXPONENT: Final = 3


class Author(NamedTuple):
    """Who signs enclaves.

    Attributes:
        modulus: The public key.
        sign: Signs bytes, as ``sigstruct.make`` wants it.
    """

    modulus: int
    sign: Callable[[bytes], bytes]


def author(name: str) -> Author:
    """Load an unencrypted PEM private key: RSA of 3072 bits with exponent 3.

    Raises:
        ConfigurationError: ``author-key``, or the file cannot be read.
    """
    try:
        key = load_pem_private_key(inputs.document(name), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise ConfigurationError("author-key", path=name, actual=str(error).partition("\n")[0]) from None
    if not isinstance(key, RSAPrivateKey):
        raise ConfigurationError("author-key", path=name, actual=type(key).__name__)
    public = key.public_key().public_numbers()
    if (key.key_size, public.e) != (_BITS, _EXPONENT):
        raise ConfigurationError("author-key", path=name, actual=f"{key.key_size} bits, exponent {public.e}")
    return Author(public.n, lambda message: key.sign(message, PKCS1v15(), SHA256()))
