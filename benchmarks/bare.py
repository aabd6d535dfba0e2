# SPDX-License-Identifier: Apache-2.0
"""The floor: signatures verified by the library alone, with keys loaded before the clock starts.

The same keys, messages and signatures as in the evidence, through the same library as Nacre's own.
"""

from collections.abc import Callable, Sequence

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.serialization import load_der_public_key

from nacre.trust import keys
from nacre.trust.keys import P256_SHA256, EcdsaScheme

__all__ = ["Signed", "bare", "bare_pss"]

#: SubjectPublicKeyInfo and signature, both DER, and the message.
Signed = tuple[bytes, bytes, bytes]


def bare(scheme: EcdsaScheme, *signatures: Signed) -> Callable[[], None]:
    """Return what verifies these signatures, one after the other."""
    return (_awslc if keys.engine() == "AWS-LC" else _openssl)(scheme, signatures)


def bare_pss(*signatures: Signed) -> Callable[[], None]:
    """Return what verifies these RSASSA-PSS signatures with SHA-384, one after the other; OpenSSL's alone."""
    digest = hashes.SHA384()
    pss = padding.PSS(padding.MGF1(digest), digest.digest_size)
    loaded = []
    for spki, signature, message in signatures:
        key = load_der_public_key(spki)
        assert isinstance(key, rsa.RSAPublicKey)
        loaded.append((key.verify, signature, message))

    def verify() -> None:
        for call, signature, message in loaded:
            call(signature, message, pss, digest)

    return verify


def _openssl(scheme: EcdsaScheme, signatures: Sequence[Signed]) -> Callable[[], None]:
    algorithm = ec.ECDSA(hashes.SHA256() if scheme is P256_SHA256 else hashes.SHA384())
    loaded = []
    for spki, signature, message in signatures:
        key = load_der_public_key(spki)
        assert isinstance(key, ec.EllipticCurvePublicKey)
        loaded.append((key.verify, signature, message))

    def verify() -> None:
        for call, signature, message in loaded:
            call(signature, message, algorithm)

    return verify


def _awslc(scheme: EcdsaScheme, signatures: Sequence[Signed]) -> Callable[[], None]:
    from awscrt.crypto import EC

    digest = scheme.digest
    loaded = [(EC.new_key_from_der_data(spki).verify, sig, message) for spki, sig, message in signatures]

    def verify() -> None:
        for call, signature, message in loaded:
            assert call(digest(message).digest(), signature)

    return verify
