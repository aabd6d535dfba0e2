# SPDX-License-Identifier: Apache-2.0
"""Certificates (RFC 5280), read strictly and fast.

The reader takes what the certificates of TEE vendors are and nothing beside it: version 3, no unique
identifiers, extensions present and each one at most once, both algorithm identifiers equal byte for
byte. Extension values and names are kept as bytes and decoded when somebody asks.

Where real certificates leave RFC 5280, a named rule says so; there is no other leniency:

``serial-zero``
    AMD's VCEK certificates have serial number 0. A serial is a number that revocation lists mention;
    zero is read, a negative one is refused.
``ecdsa-null-parameters``
    Google's Titan M writes NULL into the parameters of an ECDSA algorithm, where RFC 5758 has nothing.
    A NULL is read, any other parameter is refused.
``key-usage-padding``
    Older Google roots pad the named bits of keyUsage with zero bits, which DER would drop. The set of
    bits is the same; set padding bits are refused.

(``generalized-time-any-year`` is in :mod:`nacre.trust.der`.) Names longer than RFC 5280's upper bounds
and extension values that are no DER (AMD's and Intel's are raw) need no rule, since both are bytes here.
"""

import functools
import hashlib
from typing import Final

import msgspec

from nacre.errors import MalformedEvidence
from nacre.trust import der as asn1
from nacre.trust import oids
from nacre.trust.anchors import Anchor

__all__ = [
    "CRL_SIGN",
    "DIGITAL_SIGNATURE",
    "KEY_CERT_SIGN",
    "MAX_CERTIFICATE_SIZE",
    "MAX_EXTENSIONS",
    "MAX_SERIAL_SIZE",
    "Certificate",
    "Extensions",
    "algorithm",
    "anchor_certificate",
    "extensions",
    "parse_certificate",
]

#: Larger certificates are not read. The largest real one (RA-TLS with a whole quote inside) has 10 KiB.
MAX_CERTIFICATE_SIZE: Final = 16 * 1024
#: More extensions are not read. AMD's have 11.
MAX_EXTENSIONS: Final = 32
#: Longer serial numbers are not read: 20 octets (RFC 5280, 4.1.2.2) and the sign octet some writers add.
MAX_SERIAL_SIZE: Final = 21

#: Bits of ``Certificate.key_usage``: bit n of RFC 5280's KeyUsage is 1 << n.
DIGITAL_SIGNATURE: Final = 1 << 0
KEY_CERT_SIGN: Final = 1 << 5
CRL_SIGN: Final = 1 << 6

_VERSION_3 = b"\xa0\x03\x02\x01\x02"
_NULL = b"\x05\x00"
_ECDSA = frozenset({oids.ECDSA_SHA256, oids.ECDSA_SHA384})
_TEXT_ENCODINGS = {0x0C: "utf-8", 0x13: "ascii", 0x14: "latin-1", 0x16: "ascii"}

Extensions = dict[bytes, tuple[bool, bytes]]


class Certificate(msgspec.Struct, frozen=True, gc=False):
    """A certificate. Says nothing about trust.

    Attributes:
        der: The whole, as it came.
        tbs: The signed part, DER.
        serial: The serial number; zero on AMD's VCEK certificates.
        issuer: The issuer's name, DER. Names are compared as bytes.
        subject: The subject's name, DER.
        not_before: First second of validity, Unix seconds.
        not_after: Last second of validity, Unix seconds.
        spki: SubjectPublicKeyInfo, DER.
        signature_algorithm: Content bytes of the OID; inside and outside of ``tbs`` are the same.
        signature_parameters: DER of the algorithm's parameters, empty if there are none.
        signature: The signature, in the encoding of its algorithm.
        extensions: OID content bytes to (critical, value).
    """

    der: bytes
    tbs: bytes
    serial: int
    issuer: bytes
    subject: bytes
    not_before: int
    not_after: int
    spki: bytes
    signature_algorithm: bytes
    signature_parameters: bytes
    signature: bytes
    extensions: Extensions

    @property
    def digest(self) -> bytes:
        """SHA-256 of the certificate, 32 bytes. Computed at each call."""
        return hashlib.sha256(self.der).digest()

    @property
    def common_name(self) -> str:
        """The subject's common name; empty unless the name is well-formed and has exactly one."""
        return _common_name(self.subject)

    @property
    def is_ca(self) -> bool:
        """Whether basicConstraints says that the subject is a certification authority.

        Raises:
            MalformedEvidence: The extension is malformed.
        """
        return self._basic_constraints()[0]

    @property
    def path_length(self) -> int | None:
        """How many more authorities may follow below, if the certificate limits that.

        Raises:
            MalformedEvidence: The extension is malformed.
        """
        return self._basic_constraints()[1]

    @property
    def key_usage(self) -> int | None:
        """The bits of keyUsage, bit n of RFC 5280 as 1 << n; None if there is no such extension.

        Raises:
            MalformedEvidence: The extension is malformed.
        """
        entry = self.extensions.get(oids.KEY_USAGE)
        if entry is None:
            return None
        try:
            return _named_bits(entry[1])
        except MalformedEvidence as error:
            raise asn1.naming(error, "keyUsage") from None

    def _basic_constraints(self) -> tuple[bool, int | None]:
        entry = self.extensions.get(oids.BASIC_CONSTRAINTS)
        if entry is None:
            return False, None
        try:
            return _basic_constraints(entry[1])
        except MalformedEvidence as error:
            raise asn1.naming(error, "basicConstraints") from None


def parse_certificate(der: bytes) -> Certificate:
    """Read one certificate, DER, nothing after it.

    Raises:
        MalformedEvidence: It is not one; says what and where.
    """
    if len(der) > MAX_CERTIFICATE_SIZE:
        raise MalformedEvidence(
            "too-large", what="certificate", expected=MAX_CERTIFICATE_SIZE, actual=len(der)
        )
    try:
        return _certificate(der)
    except MalformedEvidence as error:
        raise asn1.naming(error, "certificate") from None


@functools.lru_cache(maxsize=32)
def anchor_certificate(anchor: Anchor) -> Certificate:
    """Read the certificate of an anchor, once.

    Raises:
        MalformedEvidence: The anchor is no certificate.
    """
    return parse_certificate(anchor.der)


def algorithm(der: bytes, at: int, end: int) -> tuple[bytes, bytes, int]:
    """Read an AlgorithmIdentifier.

    Returns:
        Content bytes of the OID, DER of the parameters (empty if absent), and where it stops.

    Raises:
        MalformedEvidence: It is malformed, or an ECDSA algorithm has parameters other than NULL.
    """
    start, stop = asn1.element(der, at, end, asn1.SEQUENCE)
    start, at = asn1.element(der, start, stop, asn1.OID)
    oid = der[start:at]
    if at == stop:
        return oid, b"", stop
    asn1.finish(asn1.tagged(der, at, stop)[2], stop)
    parameters = der[at:stop]
    if oid in _ECDSA and parameters != _NULL:  # rule ecdsa-null-parameters
        raise MalformedEvidence("algorithm-parameters", what="certificate", actual=parameters, offset=at)
    return oid, parameters, stop


def extensions(der: bytes, at: int, end: int) -> Extensions:
    """Read an Extensions sequence that reaches exactly to ``end``.

    Returns:
        OID content bytes to (critical, value).

    Raises:
        MalformedEvidence: It is malformed, empty, too long, or has an extension twice.
    """
    at, stop = asn1.element(der, at, end, asn1.SEQUENCE)
    asn1.finish(stop, end)
    found: Extensions = {}
    while True:
        at, next_at = asn1.element(der, at, end, asn1.SEQUENCE)
        start, at = asn1.element(der, at, next_at, asn1.OID)
        oid = der[start:at]
        critical = False
        if der[at : at + 1] == b"\x01":
            start, at = asn1.element(der, at, next_at, asn1.BOOLEAN)
            critical = asn1.boolean(der, start, at)
            if not critical:  # DER leaves out what is the default
                raise MalformedEvidence(
                    "der-value", what="DER", expected="no default value", actual=b"\0", offset=start
                )
        start, at = asn1.element(der, at, next_at, asn1.OCTET_STRING)
        if at != next_at:
            asn1.finish(at, next_at)
        if oid in found:
            raise MalformedEvidence("duplicate-extension", what="DER", actual=oids.dotted(oid), offset=at)
        found[oid] = critical, der[start:at]
        if at == end:
            return found
        if len(found) == MAX_EXTENSIONS:
            raise MalformedEvidence("too-many", what="DER", name="extensions", expected=MAX_EXTENSIONS)


def _certificate(der: bytes) -> Certificate:
    element = asn1.element
    end = len(der)
    outer, stop = element(der, 0, end, asn1.SEQUENCE)
    if stop != end:
        asn1.finish(stop, end)
    at, tbs_end = element(der, outer, end, asn1.SEQUENCE)
    if der[at : at + 5] != _VERSION_3:
        raise MalformedEvidence("certificate-version", what="certificate", actual=der[at : at + 5], offset=at)
    start, at = element(der, at + 5, tbs_end, asn1.INTEGER)
    serial = _serial(der, start, at)
    inner = at
    oid, parameters, at = algorithm(der, at, tbs_end)
    inner_algorithm = der[inner:at]
    issuer = at
    _, at = element(der, at, tbs_end, asn1.SEQUENCE)
    issuer_name = der[issuer:at]
    start, validity_end = element(der, at, tbs_end, asn1.SEQUENCE)
    not_before, start = asn1.seconds(der, start, validity_end)
    not_after, start = asn1.seconds(der, start, validity_end)
    if start != validity_end:
        asn1.finish(start, validity_end)
    _, at = element(der, validity_end, tbs_end, asn1.SEQUENCE)
    subject = der[validity_end:at]
    spki = at
    _, at = element(der, at, tbs_end, asn1.SEQUENCE)
    spki_der = der[spki:at]
    start, stop = element(der, at, tbs_end, asn1.CONTEXT_3)
    if stop != tbs_end:
        asn1.finish(stop, tbs_end)
    found = extensions(der, start, stop)
    at = tbs_end + len(inner_algorithm)
    if der[tbs_end:at] != inner_algorithm:
        raise MalformedEvidence(
            "algorithm-mismatch",
            what="certificate",
            expected=inner_algorithm,
            actual=der[tbs_end:at],
            offset=tbs_end,
        )
    start, stop = element(der, at, end, asn1.BIT_STRING)
    if stop != end:
        asn1.finish(stop, end)
    return Certificate(
        der,
        der[outer:tbs_end],
        serial,
        issuer_name,
        subject,
        not_before,
        not_after,
        spki_der,
        oid,
        parameters,
        asn1.bits(der, start, stop),
        found,
    )


def _serial(der: bytes, start: int, stop: int) -> int:
    serial = asn1.integer(der, start, stop)
    if serial < 0 or stop - start > MAX_SERIAL_SIZE:  # rule serial-zero
        raise MalformedEvidence("serial-number", what="certificate", actual=der[start:stop], offset=start)
    return serial


def _basic_constraints(value: bytes) -> tuple[bool, int | None]:
    at, end = asn1.whole(value, asn1.SEQUENCE)
    if at == end:
        return False, None
    start, at = asn1.element(value, at, end, asn1.BOOLEAN)
    if not asn1.boolean(value, start, at):
        raise MalformedEvidence(
            "der-value", what="DER", expected="no default value", actual=b"\0", offset=start
        )
    if at == end:
        return True, None
    start, at = asn1.element(value, at, end, asn1.INTEGER)
    asn1.finish(at, end)
    length = asn1.integer(value, start, at)
    if length < 0:
        raise MalformedEvidence(
            "der-value", what="DER", expected="a path length", actual=value[start:at], offset=start
        )
    return True, length


def _named_bits(value: bytes) -> int:
    start, stop = asn1.whole(value, asn1.BIT_STRING)
    content = value[start + 1 : stop]
    unused = value[start] if start < stop else 8
    number = int.from_bytes(content, "big")
    if unused > 7 or len(content) > 2 or (unused and (not content or number & (1 << unused) - 1)):
        raise MalformedEvidence(
            "der-value", what="DER", expected="named bits", actual=value[start:stop], offset=start
        )
    size = 8 * len(content)
    return sum(1 << bit for bit in range(size) if number >> (size - 1 - bit) & 1)  # rule key-usage-padding


def _common_name(name: bytes) -> str:
    try:
        names = list(_attributes(name, oids.COMMON_NAME))
    except (MalformedEvidence, UnicodeDecodeError):
        return ""
    return names[0] if len(names) == 1 else ""


def _attributes(name: bytes, oid: bytes) -> list[str]:
    found = []
    at, end = asn1.whole(name, asn1.SEQUENCE)
    while at < end:
        at, set_end = asn1.element(name, at, end, asn1.SET)
        while at < set_end:
            at, stop = asn1.element(name, at, set_end, asn1.SEQUENCE)
            start, at = asn1.element(name, at, stop, asn1.OID)
            kind = name[start:at]
            tag, start, at = asn1.tagged(name, at, stop)
            asn1.finish(at, stop)
            if kind == oid:
                found.append(name[start:at].decode(_TEXT_ENCODINGS.get(tag, "utf-16-be")))
        at = set_end
    return found
