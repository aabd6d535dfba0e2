# SPDX-License-Identifier: Apache-2.0
"""The certificate chain that a token carries, up to an authority that the caller pinned.

Source: RFC 7515, 4.1.6; RFC 5280, 6.
"""

from collections.abc import Sequence
from typing import Final

import msgspec
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import load_der_public_key

from nacre.errors import MalformedEvidence, VerificationError
from nacre.trust.jwa import ALGORITHMS
from nacre.trust.jwk import Key, certificate_key
from nacre.trust.keys import P256_SHA256, P384_SHA384
from nacre.trust.path import check_path, check_validity
from nacre.trust.signatures import Scheme, Signatures
from nacre.trust.x509 import Certificate, parse_certificate

__all__ = ["RSA_SHA256", "RSA_SHA384", "RSA_SHA512", "Leaf", "RsaScheme", "leaf_key"]


class RsaScheme:
    """RSASSA-PKCS1-v1_5 with one hash, as certificates are signed.

    Attributes:
        name: What messages call it.
        algorithm: The signature algorithm of certificates that it signs: content bytes of the OID.
    """

    __slots__ = ("_jose", "algorithm", "name")

    def __init__(self, name: str, algorithm: str, jose: str) -> None:
        """Bind an object identifier (content bytes, hex) to the algorithm that JOSE calls ``jose``."""
        self.name = name
        self.algorithm = bytes.fromhex(algorithm)
        self._jose = ALGORITHMS[jose]

    def spki(self, spki: bytes) -> "_RsaKey":
        """Load a SubjectPublicKeyInfo, DER.

        Raises:
            MalformedEvidence: ``key-unusable``, for any other key.
        """
        try:
            key = load_der_public_key(spki)
        except (ValueError, UnsupportedAlgorithm):
            key = None
        if not isinstance(key, rsa.RSAPublicKey) or key.key_size not in _RSA_BITS:
            raise MalformedEvidence("key-unusable", expected=self.name, actual=spki[:32])
        return _RsaKey(self, key)

    def holds(self, key: rsa.RSAPublicKey, signature: bytes, message: bytes) -> bool:
        """Tell whether a signature over ``message`` holds."""
        try:
            self._jose.verify(key, signature, message)
        except InvalidSignature:
            return False
        return True


class _RsaKey:
    __slots__ = ("_key", "_scheme")

    def __init__(self, scheme: RsaScheme, key: rsa.RSAPublicKey) -> None:
        self._scheme = scheme
        self._key = key

    @property
    def algorithm(self) -> bytes:
        return self._scheme.algorithm

    def holds(self, signature: bytes, message: bytes) -> bool:
        return self._scheme.holds(self._key, signature, message)


class Leaf(msgspec.Struct, frozen=True):
    """The end of a chain that holds.

    Attributes:
        key: Its key, named by the certificate's common name.
        anchor: The common name of the pinned authority.
        not_after: When the first certificate of the chain ends, Unix seconds.
    """

    key: Key
    anchor: str
    not_after: int


_RSA_BITS = range(2048, 8193)
RSA_SHA256: Final = RsaScheme("RSA with SHA-256", "2a864886f70d01010b", "RS256")
RSA_SHA384: Final = RsaScheme("RSA with SHA-384", "2a864886f70d01010c", "RS384")
RSA_SHA512: Final = RsaScheme("RSA with SHA-512", "2a864886f70d01010d", "RS512")
_SCHEMES: dict[bytes, Scheme] = {
    scheme.algorithm: scheme for scheme in (RSA_SHA256, RSA_SHA384, RSA_SHA512, P256_SHA256, P384_SHA384)
}


def leaf_key(chain: Sequence[bytes], anchors: Sequence[Certificate], *, at: int, check: str) -> Leaf:
    """Follow a chain from its leaf to a pinned authority, and return the leaf's key.

    Args:
        chain: DER, leaf first. The authority itself may stand at its end: it is compared, not trusted.
        anchors: The authorities that the caller pinned.
        at: When all of them have to be valid, Unix seconds.
        check: The check whose failure this would be.

    Raises:
        VerificationError: ``chain-anchor``, or as the path fails.
        MalformedEvidence: A certificate is malformed.
    """
    certificates = [parse_certificate(der) for der in chain]
    if len(certificates) > 1 and any(certificates[-1].der == anchor.der for anchor in anchors):
        anchor = certificates.pop()
    else:
        issuer = certificates[-1].issuer
        found = [one for one in anchors if one.subject == issuer]
        if len(found) != 1:
            raise VerificationError("chain-anchor", check=check, what=str(certificates[-1]))
        (anchor,) = found
    leaf = certificates[0]
    scheme = _SCHEMES.get(leaf.signature_algorithm)
    if scheme is None:
        raise VerificationError("chain-anchor", check=check, what=str(leaf))
    signatures = Signatures()
    check_path(
        certificates,
        anchor=anchor,
        roles=[None] * len(certificates),
        scheme=scheme,
        signatures=signatures,
        check=check,
    )
    signatures.settle()
    whole = [*certificates, anchor]
    check_validity(whole, at=at, check=check)
    return Leaf(certificate_key(leaf), anchor.common_name, min(one.not_after for one in whole))
