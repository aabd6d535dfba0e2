# SPDX-License-Identifier: Apache-2.0
"""RSA keys bound to one signature scheme, over OpenSSL through ``cryptography``.

AWS-LC is not asked: its Python binding verifies no RSASSA-PSS with SHA-384.
"""

from typing import TYPE_CHECKING, Final

from nacre.errors import MalformedEvidence
from nacre.trust import oids
from nacre.trust.der import BIT_STRING, INTEGER, SEQUENCE, bits, element, finish, naming, unsigned, whole

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric import padding, rsa
    from cryptography.hazmat.primitives.hashes import HashAlgorithm

    from nacre.trust.signatures import Key

__all__ = ["PSS_4096_SHA384", "PssScheme"]

_RSA_ENCRYPTION = bytes.fromhex("300d06092a864886f70d0101010500")  # rsaEncryption with its NULL
_EXPONENT: Final = 65537


class PssScheme:
    """RSASSA-PSS (RFC 8017) with SHA-384, MGF1 with SHA-384 and a salt of 48 bytes; exponent 65537.

    Attributes:
        name: What messages call it.
        algorithm: The signature algorithm of certificates that it signs: content bytes of the OID. The
            reader of certificates takes it with these parameters alone.
        size: Bits of the modulus.
    """

    __slots__ = ("algorithm", "name", "size")

    def __init__(self, size: int) -> None:
        """Take keys with a modulus of exactly ``size`` bits."""
        self.name = f"RSASSA-PSS with SHA-384 and {size} bits"
        self.algorithm = oids.RSASSA_PSS
        self.size = size

    def spki(self, spki: bytes) -> "Key":
        """Load a SubjectPublicKeyInfo, DER, of algorithm rsaEncryption.

        Raises:
            MalformedEvidence: ``key-unusable``, for any other key, or it is malformed.
        """
        try:
            modulus, exponent = _numbers(spki)
        except MalformedEvidence as error:
            raise naming(error, "RSA key") from None
        if modulus.bit_length() != self.size or exponent != _EXPONENT or not modulus & 1:
            raise _unusable(self.name, spki)
        # Loaded where it is needed: evidence of most platforms knows no RSA.
        from cryptography.hazmat.primitives import hashes  # noqa: PLC0415
        from cryptography.hazmat.primitives.asymmetric import padding, rsa  # noqa: PLC0415

        digest = hashes.SHA384()
        pss = padding.PSS(padding.MGF1(digest), digest.digest_size)
        return _OpensslKey(rsa.RSAPublicNumbers(exponent, modulus).public_key(), pss, digest, self.algorithm)


class _OpensslKey:
    __slots__ = ("_digest", "_key", "_pss", "algorithm")

    def __init__(
        self, key: "rsa.RSAPublicKey", pss: "padding.PSS", digest: "HashAlgorithm", algorithm: bytes
    ) -> None:
        self._key = key
        self._pss = pss
        self._digest = digest
        self.algorithm = algorithm

    def holds(self, signature: bytes, message: bytes) -> bool:
        """Tell whether a signature over ``message`` holds."""
        from cryptography.exceptions import InvalidSignature  # noqa: PLC0415

        try:
            self._key.verify(signature, message, self._pss, self._digest)
        except InvalidSignature:
            return False
        return True


def _numbers(spki: bytes) -> tuple[int, int]:
    """Read modulus and exponent."""
    start, end = whole(spki, SEQUENCE)
    if not spki.startswith(_RSA_ENCRYPTION, start):
        raise _unusable("rsaEncryption", spki)
    start, stop = element(spki, start + len(_RSA_ENCRYPTION), end, BIT_STRING)
    finish(stop, end)
    inner = bits(spki, start, stop)
    start, end = whole(inner, SEQUENCE)
    start, at = element(inner, start, end, INTEGER)
    modulus = unsigned(inner, start, at)
    start, stop = element(inner, at, end, INTEGER)
    finish(stop, end)
    return modulus, unsigned(inner, start, stop)


def _unusable(expected: str, spki: bytes) -> MalformedEvidence:
    return MalformedEvidence("key-unusable", expected=expected, actual=spki[:32])


#: All of AMD's authorities sign so.
PSS_4096_SHA384 = PssScheme(4096)
