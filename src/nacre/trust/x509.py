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
``pss-explicit-trailer``
    AMD's older certificates write out the trailerField of RSASSA-PSS, 1, which DER leaves out because it
    is the default. It is read; any other trailer is refused. RSASSA-PSS itself is read with the one set of
    parameters that vendors use: SHA-384, MGF1 with SHA-384, a salt of 48 bytes.

(``generalized-time-any-year`` is in :mod:`nacre.trust.der`.) Names longer than RFC 5280's upper bounds
and extension values that are no DER (AMD's and Intel's are raw) need no rule, since both are bytes here.
"""

import functools
import hashlib
from typing import Final

import msgspec

from nacre.errors import MalformedEvidence
from nacre.trust import oids
from nacre.trust.anchors import Anchor
from nacre.trust.der import (
    BIT_STRING,
    BOOLEAN,
    CONTEXT_3,
    INTEGER,
    OCTET_STRING,
    OID,
    SEQUENCE,
    bits,
    boolean,
    element,
    finish,
    naming,
    seconds,
    tagged,
    unsigned,
    whole,
)
from nacre.trust.names import common_name_of

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
    "outer_signature",
    "parse_certificate",
    "serial_number",
]

#: Larger certificates are not read. The largest real one (RA-TLS with two quotes inside) has 10 KiB; one that
#: brings its endorsements along would have 20.
MAX_CERTIFICATE_SIZE: Final = 32 * 1024
#: More extensions are not read. AMD's certificates have 11.
MAX_EXTENSIONS: Final = 32
#: Longer serial numbers are not read: 20 octets (RFC 5280, 4.1.2.2) and the one that keeps them positive.
MAX_SERIAL_SIZE: Final = 21

#: Bits of ``Certificate.key_usage``: bit n of RFC 5280's KeyUsage is 1 << n.
DIGITAL_SIGNATURE: Final = 1 << 0
KEY_CERT_SIGN: Final = 1 << 5
CRL_SIGN: Final = 1 << 6

_VERSION_3 = b"\xa0\x03\x02\x01\x02"
_NULL = b"\x05\x00"
_CRITICAL = b"\x01\x01\xff\x04"  # a BOOLEAN that is true, then an OCTET STRING
_SHORT = 0x80  # lengths below are one byte
_SIGN = 0x80
_REPEATED = 128  # names and small extensions come again and again: how many decoded ones are kept
_KEY_USAGE_BYTES = 2  # nine bits are defined

_ECDSA = (oids.ECDSA_SHA256, oids.ECDSA_SHA384)
# RSASSA-PSS-params as DER has them, and with the default trailerField: rule pss-explicit-trailer.
_PSS_PARAMETERS = bytes.fromhex(
    "a00f300d06096086480165030402020500"  # SHA-384
    "a11c301a06092a864886f70d010108300d06096086480165030402020500"  # MGF1 with SHA-384
    "a203020130"  # 48 bytes of salt
)
_PSS_SHA384 = (b"\x30\x34" + _PSS_PARAMETERS, b"\x30\x39" + _PSS_PARAMETERS + bytes.fromhex("a303020101"))
# The usual AlgorithmIdentifiers, whole.
_PLAIN_ALGORITHMS = tuple((bytes((SEQUENCE, len(oid) + 2, OID, len(oid))) + oid, oid) for oid in _ECDSA)

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
        return common_name_of(self.subject)

    @property
    def is_ca(self) -> bool:
        """Whether basicConstraints says that the subject is a certification authority.

        Raises:
            MalformedEvidence: The extension is malformed.
        """
        return self._constraints[0]

    @property
    def path_length(self) -> int | None:
        """How many more authorities may follow below, if the certificate limits that.

        Raises:
            MalformedEvidence: The extension is malformed.
        """
        return self._constraints[1]

    @property
    def key_usage(self) -> int | None:
        """The bits of keyUsage, bit n of RFC 5280 as 1 << n; None if there is no such extension.

        Raises:
            MalformedEvidence: The extension is malformed.
        """
        entry = self.extensions.get(oids.KEY_USAGE)
        return None if entry is None else _key_usage(entry[1])

    @property
    def _constraints(self) -> tuple[bool, int | None]:
        entry = self.extensions.get(oids.BASIC_CONSTRAINTS)
        return (False, None) if entry is None else _constraints(entry[1])

    def __str__(self) -> str:  # typing.override is of Python 3.12
        name = self.common_name
        return f'certificate "{name}"' if name else f"certificate {self.serial:x}"


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
        raise naming(error, "certificate") from None


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
        MalformedEvidence: It is malformed, an ECDSA algorithm has parameters other than NULL, or RSASSA-PSS
            has others than the ones that are read.
    """
    for known, oid in _PLAIN_ALGORITHMS:
        if der.startswith(known, at, end):
            return oid, b"", at + len(known)
    start, stop = element(der, at, end, SEQUENCE)
    start, at = element(der, start, stop, OID)
    oid = der[start:at]
    parameters = der[at:stop]
    if parameters:
        finish(tagged(der, at, stop)[2], stop)
    if oid in _ECDSA:
        readable = parameters in (b"", _NULL)  # rule ecdsa-null-parameters
    else:
        readable = oid != oids.RSASSA_PSS or parameters in _PSS_SHA384
    if not readable:
        raise MalformedEvidence("algorithm-parameters", what="DER", actual=parameters, offset=at)
    return oid, parameters, stop


def extensions(der: bytes, at: int, end: int) -> Extensions:
    """Read an Extensions sequence that reaches exactly to ``end``.

    Returns:
        OID content bytes to (critical, value).

    Raises:
        MalformedEvidence: It is malformed, empty, too long, or has an extension twice.
    """
    at, stop = element(der, at, end, SEQUENCE)
    finish(stop, end)
    if at == end:
        raise MalformedEvidence("der-value", what="DER", expected="an extension", actual=b"", offset=at)
    found: Extensions = {}
    try:
        while at != end:
            # Nearly all extensions are shorter than 128 bytes. Those are read in one pass that makes sure of
            # the same things: the tags, lengths of one byte, and that the value ends the extension.
            mark = at + 4 + der[at + 3]
            critical = der[mark] != OCTET_STRING
            start = mark + 5 if critical else mark + 2
            stop = start + der[start - 1]
            if (
                der[at + 1] == stop - at - 2 < _SHORT
                and stop <= end
                and der[at] == SEQUENCE
                and der[at + 2] == OID
                and (not critical or der.startswith(_CRITICAL, mark))
            ):
                oid = der[at + 4 : mark]
            else:
                oid, critical, start, stop = _extension(der, at, end)
            if oid in found:
                raise MalformedEvidence("duplicate-extension", what="DER", actual=oids.dotted(oid), offset=at)
            found[oid] = critical, der[start:stop]
            at = stop
    except IndexError:
        raise MalformedEvidence(
            "der-value", what="DER", expected="an extension", actual=der[at : min(end, at + 32)], offset=at
        ) from None
    if len(found) > MAX_EXTENSIONS:
        raise MalformedEvidence("too-many-extensions", what="DER", expected=MAX_EXTENSIONS, actual=len(found))
    return found


def outer_signature(der: bytes, at: int, end: int, inner: bytes) -> bytes:
    """Read what follows the signed part: the algorithm, same as the ``inner`` one, and the signature.

    Raises:
        MalformedEvidence: ``algorithm-mismatch``, or it is malformed.
    """
    after = at + len(inner)
    if not der.startswith(inner, at):
        raise MalformedEvidence(
            "algorithm-mismatch", what="DER", expected=inner, actual=der[at:after], offset=at
        )
    start, stop = element(der, after, end, BIT_STRING)
    finish(stop, end)
    return bits(der, start, stop)


def serial_number(der: bytes, start: int, stop: int) -> int:
    """Decode the content of a serial number.

    Raises:
        MalformedEvidence: ``serial-number`` if it is negative or too long, or ``der-value``.
    """
    if stop - start > MAX_SERIAL_SIZE or (start < stop and der[start] >= _SIGN):  # rule serial-zero
        raise MalformedEvidence("serial-number", what="DER", actual=der[start:stop][:32], offset=start)
    return unsigned(der, start, stop)


def _certificate(der: bytes) -> Certificate:
    outer, end = whole(der, SEQUENCE)
    at, tbs_end = element(der, outer, end, SEQUENCE)
    if not der.startswith(_VERSION_3, at):
        raise MalformedEvidence("certificate-version", what="DER", actual=der[at : at + 5], offset=at)
    start, inner = element(der, at + 5, tbs_end, INTEGER)
    serial = serial_number(der, start, inner)
    oid, parameters, issuer = algorithm(der, inner, tbs_end)
    _, validity = element(der, issuer, tbs_end, SEQUENCE)
    start, subject = element(der, validity, tbs_end, SEQUENCE)
    not_before, start = seconds(der, start, subject)
    not_after, start = seconds(der, start, subject)
    finish(start, subject)
    _, spki = element(der, subject, tbs_end, SEQUENCE)
    _, rest = element(der, spki, tbs_end, SEQUENCE)
    start, stop = element(der, rest, tbs_end, CONTEXT_3)
    finish(stop, tbs_end)
    return Certificate(
        der,
        der[outer:tbs_end],
        serial,
        der[issuer:validity],
        der[subject:spki],
        not_before,
        not_after,
        der[spki:rest],
        oid,
        parameters,
        outer_signature(der, tbs_end, end, der[inner:issuer]),
        extensions(der, start, stop),
    )


def _extension(der: bytes, at: int, end: int) -> tuple[bytes, bool, int, int]:
    """Read one Extension of any length: OID, whether critical, where the value starts and stops."""
    at, stop = element(der, at, end, SEQUENCE)
    start, at = element(der, at, stop, OID)
    oid = der[start:at]
    critical = der.startswith(b"\x01", at)
    if critical:
        at = _true(der, at, stop)
    start, at = element(der, at, stop, OCTET_STRING)
    finish(at, stop)
    return oid, critical, start, stop


def _true(der: bytes, at: int, end: int) -> int:
    """Read a BOOLEAN DEFAULT FALSE that is there, so true; return where it stops."""
    start, stop = element(der, at, end, BOOLEAN)
    if not boolean(der, start, stop):
        raise MalformedEvidence("der-value", what="DER", expected="true", actual=b"\0", offset=start)
    return stop


@functools.lru_cache(maxsize=_REPEATED)
def _constraints(value: bytes) -> tuple[bool, int | None]:
    try:
        at, end = whole(value, SEQUENCE)
        if at == end:
            return False, None
        at = _true(value, at, end)
        if at == end:
            return True, None
        start, stop = element(value, at, end, INTEGER)
        finish(stop, end)
        return True, unsigned(value, start, stop)
    except MalformedEvidence as error:
        raise naming(error, "basicConstraints") from None


@functools.lru_cache(maxsize=_REPEATED)
def _key_usage(value: bytes) -> int:
    try:
        start, stop = whole(value, BIT_STRING)
    except MalformedEvidence as error:
        raise naming(error, "keyUsage") from None
    size = stop - start - 1
    padding = value[start] if size >= 0 else 8
    number = int.from_bytes(value[start + 1 : stop], "big")
    # Padding bits are zero and fewer than a byte; further zero bits are rule key-usage-padding.
    if not 0 <= size <= _KEY_USAGE_BYTES or padding > 7 * (size > 0) or number & (1 << padding) - 1:
        raise MalformedEvidence(
            "der-value", what="keyUsage", expected="named bits", actual=value[start:stop], offset=start
        )
    return sum(1 << bit for bit in range(8 * size) if number >> (8 * size - 1 - bit) & 1)
