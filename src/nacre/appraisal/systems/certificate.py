# SPDX-License-Identifier: Apache-2.0
"""Certificates that carry evidence in an extension.

The certificate itself proves nothing but that whoever made it had its key, and only if that key signed it.
Its names and dates are its maker's choice; what counts is that the evidence commits to the key.

Where real certificates leave RFC 5280, our reader says by which named rule it takes them
(:mod:`nacre.trust.x509`); Gramine's needs ``ecdsa-null-parameters``.
"""

import functools
import hashlib
from collections.abc import Mapping
from typing import Final

import msgspec
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from nacre.appraisal.purposes import Layout
from nacre.appraisal.systems.base import Found, Opened
from nacre.checks import Check, Status, failed, passed, skipped, warned
from nacre.errors import MalformedEvidence
from nacre.platforms.base import Claims
from nacre.trust import der, oids, pem, x509
from nacre.trust.keys import P256_SHA256, P384_SHA384, EcdsaScheme
from nacre.trust.names import common_name_of

__all__ = [
    "DSTACK",
    "DSTACK_LOG",
    "DSTACK_QUOTE",
    "ENDORSEMENTS",
    "EVIDENCE",
    "GRAMINE",
    "REQUIRED",
    "SGX_SDK",
    "Carrier",
    "carries",
    "looks_like",
    "read",
]

#: 2.23.133.5.4.9, tcg-dice-conceptual-message-wrapper: Interoperable RA-TLS.
EVIDENCE: Final = bytes.fromhex("678105050409")
#: 2.23.133.5.4.2, tcg-dice-endorsement-manifest.
ENDORSEMENTS: Final = bytes.fromhex("678105050402")
#: Gramine meant 1.2.840.113741.1337.6 and wrote the tag and the length of an OID into it as well.
GRAMINE: Final = bytes.fromhex("06092a864886f84d8a3906")
#: 1.2.840.113741.1.13.1: Intel's SGX SDK and Open Enclave before Interoperable RA-TLS. In a PCK certificate
#: the same identifier means something else.
SGX_SDK: Final = bytes.fromhex("2a864886f84d010d01")
#: 1.3.6.1.4.1.62397.1.8, .1.1 and .1.2.
DSTACK: Final = bytes.fromhex("2b0601040183e73d0108")
DSTACK_QUOTE: Final = bytes.fromhex("2b0601040183e73d0101")
DSTACK_LOG: Final = bytes.fromhex("2b0601040183e73d0102")

#: The checks of a certificate without which no verdict is complete.
REQUIRED: Final = ("certificate.possession",)

_PEM = b"-----BEGIN CERTIFICATE-----"
_DER = b"\x30\x82"
_P384_PREFIX = "3076301006072a8648ce3d020106052b81040022036200"
_SCHEMES = (
    P256_SHA256,
    P384_SHA384,
    EcdsaScheme("ECDSA P-384 with SHA-256", oids.ECDSA_SHA256, ec.SECP384R1(), hashes.SHA256(), _P384_PREFIX),
)


class Carrier(msgspec.Struct, frozen=True):
    """A certificate with evidence in it.

    Attributes:
        certificate: The certificate.
    """

    certificate: x509.Certificate

    @property
    def described(self) -> Mapping[str, bytes | str]:
        """What its reader has to see: by the key's digest he finds out whether his connection uses it."""
        names = {"certificate": str(self.certificate)} if self.certificate.common_name else {}
        return names | {"key_sha256": self.key_digest}

    @property
    def key_digest(self) -> bytes:
        """SHA-256 of the SubjectPublicKeyInfo, 32 bytes."""
        return hashlib.sha256(self.certificate.spki).digest()

    def value(self, oid: bytes) -> bytes | None:
        """Return the value of an extension, if there is one."""
        entry = self.certificate.extensions.get(oid)
        return None if entry is None else entry[1]

    def octets(self, oid: bytes) -> bytes | None:
        """Return what an extension holds whose value is an OCTET STRING once more.

        Raises:
            MalformedEvidence: It is none.
        """
        value = self.value(oid)
        if value is None:
            return None
        try:
            start, stop = der.whole(value, der.OCTET_STRING)
        except MalformedEvidence as error:
            raise der.naming(error, "extension") from None
        return value[start:stop]

    def around(self, opened: Opened, layout: Layout | None, parts: Mapping[str, bytes]) -> Opened:
        """Put what was in the certificate together with what is to be said of the certificate itself."""
        inner = opened.examine

        def examine(claims: Claims, at: int) -> Found:
            found = Found() if inner is None else inner(claims, at)
            return Found((*self.checks(at), *found.checks), found.facts)

        return msgspec.structs.replace(
            opened,
            layout=layout,
            parts=parts,
            examine=examine,
            required=(*REQUIRED, *opened.required),
            described={**self.described, **opened.described},
        )

    def checks(self, at: int) -> tuple[Check, ...]:
        """Check that its own key signed it, and that it is inside its dates."""
        return (_possession(self.certificate), _dates(self.certificate, at))


def looks_like(data: bytes) -> bool:
    """Tell whether bytes begin like a certificate, PEM or DER."""
    return data.startswith((_PEM, _DER))


def read(data: bytes) -> Carrier:
    """Read a certificate; of a PEM chain the first.

    Raises:
        MalformedEvidence: It is none.
    """
    return _read(data)


def carries(data: bytes, *extensions: bytes) -> bool:
    """Tell whether bytes are a certificate with one of these extensions."""
    if not looks_like(data):
        return False
    try:
        carrier = _read(data)
    except MalformedEvidence:
        return False
    return any(oid in carrier.certificate.extensions for oid in extensions)


@functools.lru_cache(maxsize=1)
def _read(data: bytes) -> Carrier:
    return Carrier(x509.parse_certificate(pem.certificates(data)[0] if data.startswith(_PEM) else data))


def _possession(certificate: x509.Certificate) -> Check:
    if certificate.issuer != certificate.subject:
        return Check(
            "certificate.possession",
            Status.NOT_APPLICABLE,
            "certificate-issued",
            {"actual": common_name_of(certificate.issuer) or "somebody else"},
        )
    for scheme in _SCHEMES:
        if scheme.algorithm != certificate.signature_algorithm:
            continue
        try:
            key = scheme.spki(certificate.spki)
        except MalformedEvidence:
            continue
        if key.holds(certificate.signature, certificate.tbs):
            return passed("certificate.possession")
        return failed("certificate.possession", "certificate-foreign-signature")
    algorithm = oids.dotted(certificate.signature_algorithm)
    return skipped("certificate.possession", "certificate-algorithm", actual=algorithm)


def _dates(certificate: x509.Certificate, at: int) -> Check:
    if certificate.not_before <= at <= certificate.not_after:
        return passed("certificate.dates")
    return warned(
        "certificate.dates",
        "certificate-dates",
        expected=certificate.not_before,
        actual=certificate.not_after,
        at=at,
    )
