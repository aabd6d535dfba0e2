# SPDX-License-Identifier: Apache-2.0
"""Public keys bound to one algorithm, over audited primitives.

OpenSSL through ``cryptography``, or AWS-LC through ``awscrt`` where that is installed (``nacre[fast]``).
AWS-LC is faster on one core, more than twice on P-384, which is nearly the whole cost of Nitro evidence.
But ``awscrt`` keeps the interpreter lock while it verifies, so with it run processes, not threads.
"""

import functools
import hashlib
from typing import TYPE_CHECKING, Protocol

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from nacre.errors import MalformedEvidence
from nacre.trust import oids

if TYPE_CHECKING:
    from nacre.trust.signatures import Key

__all__ = ["P256_SHA256", "P384_SHA384", "EcdsaScheme", "engine", "raw_signature", "stay_with_openssl"]


class EcdsaScheme:
    """One curve with its hash: ECDSA P-256 with SHA-256, or P-384 with SHA-384.

    Attributes:
        name: What messages call it.
        algorithm: The signature algorithm of certificates that it signs: content bytes of the OID.
        size: Bytes of a coordinate, and of r and s in a raw signature.
        digest: The hash, as ``hashlib`` has it.
    """

    __slots__ = ("_curve", "_ecdsa", "_spki_prefix", "algorithm", "digest", "name", "size")

    def __init__(
        self, name: str, algorithm: bytes, curve: ec.EllipticCurve, digest: hashes.HashAlgorithm, prefix: str
    ) -> None:
        """Bind a curve to a hash; ``prefix`` is the SubjectPublicKeyInfo up to the point, hex."""
        self.name = name
        self.algorithm = algorithm
        self.size = curve.key_size // 8
        self.digest = getattr(hashlib, digest.name)
        self._curve = curve
        self._ecdsa = _Ecdsa(digest)
        self._spki_prefix = bytes.fromhex(prefix)

    def point(self, point: bytes) -> "Key":
        """Load an uncompressed point without its leading 04: x ‖ y, big-endian.

        Raises:
            MalformedEvidence: ``key-unusable``, if it is not on the curve.
        """
        if len(point) != 2 * self.size:
            raise MalformedEvidence("key-unusable", expected=self.name, actual=point)
        if engine() == "AWS-LC":
            return _load_awslc(self._spki_prefix + b"\x04" + point, self)
        try:
            key = ec.EllipticCurvePublicKey.from_encoded_point(self._curve, b"\x04" + point)
        except ValueError:
            raise MalformedEvidence("key-unusable", expected=self.name, actual=point) from None
        return _OpensslKey(key, self._ecdsa, self.algorithm)

    def spki(self, spki: bytes) -> "Key":
        """Load a SubjectPublicKeyInfo, DER, named curve and uncompressed point only.

        Raises:
            MalformedEvidence: ``key-unusable``, for any other key.
        """
        prefix = self._spki_prefix + b"\x04"
        if not spki.startswith(prefix):
            raise MalformedEvidence("key-unusable", expected=self.name, actual=spki[: len(prefix)])
        return self.point(spki[len(prefix) :])


class _Ecdsa(ec.ECDSA):
    """ECDSA for verification alone.

    The base class loads the backend with every cipher to find out whether OpenSSL can sign
    deterministically: a tenth of the time from shell to verdict.
    """

    def __init__(self, algorithm: hashes.HashAlgorithm) -> None:
        self._hash = algorithm

    @property
    def algorithm(self) -> hashes.HashAlgorithm:
        return self._hash

    @property
    def deterministic_signing(self) -> bool:
        return False


class _OpensslKey:
    __slots__ = ("_ecdsa", "_key", "algorithm")

    def __init__(self, key: ec.EllipticCurvePublicKey, ecdsa: ec.ECDSA, algorithm: bytes) -> None:
        self._key = key
        self._ecdsa = ecdsa
        self.algorithm = algorithm

    def holds(self, signature: bytes, message: bytes) -> bool:
        """Tell whether a DER ECDSA signature over ``message`` holds."""
        try:
            self._key.verify(signature, message, self._ecdsa)
        except InvalidSignature:
            return False
        return True


class _AwslcEc(Protocol):
    def verify(self, digest: bytes, signature: bytes) -> bool: ...


class _AwslcKey:
    __slots__ = ("_digest", "_key", "algorithm")

    def __init__(self, key: "_AwslcEc", scheme: EcdsaScheme) -> None:
        self._key = key
        self._digest = scheme.digest
        self.algorithm = scheme.algorithm

    def holds(self, signature: bytes, message: bytes) -> bool:
        """Tell whether a DER ECDSA signature over ``message`` holds."""
        return bool(self._key.verify(self._digest(message).digest(), signature))


def raw_signature(raw: bytes, scheme: EcdsaScheme) -> bytes:
    """Encode r ‖ s, big-endian and of fixed size, as the DER that keys verify.

    Raises:
        MalformedEvidence: ``signature-size``, if it is not exactly two coordinates long.
    """
    size = scheme.size
    if len(raw) != 2 * size:
        raise MalformedEvidence("signature-size", expected=2 * size, actual=len(raw))
    r, s = raw[:size].lstrip(b"\0"), raw[size:].lstrip(b"\0")
    # A DER INTEGER is signed and not empty.
    if not r or r[0] > 0x7F:  # noqa: PLR2004
        r = b"\0" + r
    if not s or s[0] > 0x7F:  # noqa: PLR2004
        s = b"\0" + s
    return b"\x30%c\x02%c%b\x02%c%b" % (len(r) + len(s) + 4, len(r), r, len(s), s)


@functools.cache
def engine() -> str:
    """Name the library that verifies: ``AWS-LC`` if ``nacre[fast]`` is installed, else ``OpenSSL``."""
    if _openssl_only:
        return "OpenSSL"
    try:
        import awscrt.crypto  # noqa: F401, PLC0415
    except ImportError:
        return "OpenSSL"
    return "AWS-LC"


_openssl_only: list[bool] = []


def stay_with_openssl() -> None:
    """Do not load AWS-LC in this process: what verifies once loses more by loading it than it gains."""
    _openssl_only.append(True)
    engine.cache_clear()


def _load_awslc(spki: bytes, scheme: EcdsaScheme) -> "Key":
    from awscrt.crypto import EC  # noqa: PLC0415

    try:
        return _AwslcKey(EC.new_key_from_der_data(spki), scheme)
    except (ValueError, RuntimeError):
        raise MalformedEvidence("key-unusable", expected=scheme.name, actual=spki) from None


P256_SHA256 = EcdsaScheme(
    "ECDSA P-256",
    oids.ECDSA_SHA256,
    ec.SECP256R1(),
    hashes.SHA256(),
    "3059301306072a8648ce3d020106082a8648ce3d030107034200",
)
P384_SHA384 = EcdsaScheme(
    "ECDSA P-384",
    oids.ECDSA_SHA384,
    ec.SECP384R1(),
    hashes.SHA384(),
    "3076301006072a8648ce3d020106052b81040022036200",
)
