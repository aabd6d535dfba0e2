# SPDX-License-Identifier: Apache-2.0
"""The signature algorithms of JOSE and COSE, each bound to the keys that it fits.

Only asymmetric ones: there is no way to write ``none`` or an HMAC here, so no header can ask for them.

Source: RFC 7518, 3.3 to 3.5; RFC 8037, 3.1; RFC 9053, 2; RFC 8812, 2 (COSE numbers of RSASSA-PKCS1-v1_5).
"""

import functools
from collections.abc import Mapping
from typing import Final, NamedTuple

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

__all__ = ["ALGORITHMS", "COSE", "ECDSA", "RSA", "Algorithm", "Verifies", "fitting"]

Verifies = ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey | rsa.RSAPublicKey


class Algorithm(NamedTuple):
    """One algorithm.

    Attributes:
        name: What JOSE calls it.
        cose: What COSE calls it.
        curve: The curve of its keys; empty for RSA.
        digest: The hash; None for Ed25519, which has its own.
        pss: Whether RSA signatures are padded as RSASSA-PSS, salt as long as the hash.
    """

    name: str
    cose: int
    curve: str
    digest: hashes.HashAlgorithm | None
    pss: bool = False

    def fits(self, key: Verifies) -> bool:
        """Tell whether a key is of the kind that this algorithm takes."""
        if isinstance(key, ec.EllipticCurvePublicKey):
            return self.curve == key.curve.name
        return self.curve == ("" if isinstance(key, rsa.RSAPublicKey) else "ed25519")

    def verify(self, key: Verifies, signature: bytes, message: bytes) -> None:
        """Verify a signature as JOSE and COSE write it: ECDSA as r ‖ s, big-endian, of fixed size.

        Raises:
            InvalidSignature: It does not hold, or has another size.
        """
        if isinstance(key, ec.EllipticCurvePublicKey) and self.digest is not None:
            size = (key.key_size + 7) // 8
            if len(signature) != 2 * size:
                raise InvalidSignature
            r, s = (int.from_bytes(part, "big") for part in (signature[:size], signature[size:]))
            key.verify(encode_dss_signature(r, s), message, _ecdsa(self.digest.name))
        elif isinstance(key, rsa.RSAPublicKey) and self.digest is not None:
            key.verify(signature, message, self._padding(self.digest), self.digest)
        elif isinstance(key, ed25519.Ed25519PublicKey):
            key.verify(signature, message)
        else:
            raise InvalidSignature

    def _padding(self, digest: hashes.HashAlgorithm) -> padding.AsymmetricPadding:
        if self.pss:
            return padding.PSS(padding.MGF1(digest), digest.digest_size)
        return padding.PKCS1v15()


_SHA256, _SHA384, _SHA512 = hashes.SHA256(), hashes.SHA384(), hashes.SHA512()


@functools.cache
def _ecdsa(digest: str) -> ec.ECDSA:
    """Make each scheme once: the constructor asks the backend what it can do."""
    return ec.ECDSA(next(one for one in (_SHA256, _SHA384, _SHA512) if one.name == digest))


_ALL = (
    Algorithm("ES256", -7, "secp256r1", _SHA256),
    Algorithm("ES384", -35, "secp384r1", _SHA384),
    Algorithm("ES512", -36, "secp521r1", _SHA512),
    Algorithm("EdDSA", -8, "ed25519", None),
    Algorithm("RS256", -257, "", _SHA256),
    Algorithm("RS384", -258, "", _SHA384),
    Algorithm("RS512", -259, "", _SHA512),
    Algorithm("PS256", -37, "", _SHA256, pss=True),
    Algorithm("PS384", -38, "", _SHA384, pss=True),
    Algorithm("PS512", -39, "", _SHA512, pss=True),
)

#: By the name that JOSE gives them.
ALGORITHMS: Final[Mapping[str, Algorithm]] = {one.name: one for one in _ALL}
#: JOSE names by the number that COSE gives them.
COSE: Final[Mapping[int, str]] = {one.cose: one.name for one in _ALL}
#: Names of the algorithms over elliptic curves, Ed25519 among them.
ECDSA: Final = frozenset(one.name for one in _ALL if one.curve)
#: Names of the algorithms over RSA.
RSA: Final = frozenset(one.name for one in _ALL if not one.curve)


def fitting(key: Verifies) -> frozenset[str]:
    """Name the algorithms that a key fits."""
    return frozenset(one.name for one in _ALL if one.fits(key))
