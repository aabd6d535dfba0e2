# SPDX-License-Identifier: Apache-2.0
"""Certificate revocation lists (RFC 5280, section 5): complete lists of one issuer's own certificates.

Delta lists, indirect lists and lists of a part (any issuingDistributionPoint) are refused, as is every
critical extension of a list or of an entry.
"""

import binascii
from typing import Final

import msgspec

from nacre.errors import MalformedEvidence, VerificationError
from nacre.trust import oids, pem
from nacre.trust.der import CONTEXT_0, INTEGER, SEQUENCE, element, finish, naming, seconds, unsigned, whole
from nacre.trust.names import common_name_of
from nacre.trust.path import check_crl_issuer
from nacre.trust.signatures import Key, Signatures
from nacre.trust.x509 import (
    MAX_SERIAL_SIZE,
    Certificate,
    Extensions,
    algorithm,
    extensions,
    outer_signature,
    serial_number,
)

__all__ = ["MAX_CRL_SIZE", "MAX_ENTRIES", "Crl", "check_crl", "check_crl_current", "parse_crl"]

#: Larger lists are not read. The largest seen (Intel's, 2025) has 4 KiB.
MAX_CRL_SIZE: Final = 1024 * 1024
#: Lists with more entries are not read.
MAX_ENTRIES: Final = 10_000

_SMALLEST_HEAD = 6  # headers of an entry and its serial number, two bytes of that
_SMALLEST_REST = 15  # a UTCTime
_LARGEST_REST = 96  # with that, every length fits into one byte
_SIGN = 0x80

_VERSION_2 = b"\x02\x01\x01"
_REMOVE_FROM_CRL = b"\x0a\x01\x08"  # a reason that only delta lists may give
_NOT_COMPLETE = (oids.DELTA_CRL_INDICATOR, oids.ISSUING_DISTRIBUTION_POINT)


class Crl(msgspec.Struct, frozen=True, gc=False):
    """A revocation list. Says nothing about trust.

    Attributes:
        der: The whole, DER.
        tbs: The signed part, DER.
        issuer: The issuer's name, DER.
        this_update: When it was made, Unix seconds.
        next_update: When the next one is due, Unix seconds.
        number: Its number, if it has one.
        revoked: Serial numbers of revoked certificates.
        signature_algorithm: Content bytes of the OID; inside and outside of ``tbs`` are the same.
        signature_parameters: DER of the algorithm's parameters, empty if there are none.
        signature: The signature, in the encoding of its algorithm.
    """

    der: bytes
    tbs: bytes
    issuer: bytes
    this_update: int
    next_update: int
    number: int | None
    revoked: frozenset[int]
    signature_algorithm: bytes
    signature_parameters: bytes
    signature: bytes

    def __str__(self) -> str:  # typing.override is of Python 3.12
        return f'revocation list of "{common_name_of(self.issuer)}"'


def parse_crl(data: bytes) -> Crl:
    """Read a list from DER, from PEM, or from DER as hex text (Intel's PCS serves the root's so).

    Raises:
        MalformedEvidence: It is none, or of a kind that is refused; says what and where.
    """
    if len(data) > 2 * MAX_CRL_SIZE:
        raise MalformedEvidence("too-large", what="CRL", expected=MAX_CRL_SIZE, actual=len(data))
    der = _unwrapped(data)
    if len(der) > MAX_CRL_SIZE:
        raise MalformedEvidence("too-large", what="CRL", expected=MAX_CRL_SIZE, actual=len(der))
    try:
        return _crl(der)
    except MalformedEvidence as error:
        raise naming(error, "CRL") from None


def check_crl(crl: Crl, *, issuer: Certificate, key: Key, signatures: Signatures, check: str) -> None:
    """Check that a list is its issuer's; its signature is left to ``signatures``. Time is not looked at.

    Args:
        crl: The list.
        issuer: The authority whose certificates the list is about.
        key: The issuer's key.
        signatures: Collects the signature that has to hold.
        check: The check whose failure this would be.

    Raises:
        VerificationError: ``crl-issuer-mismatch``, ``not-a-ca``, ``key-usage`` or ``algorithm-unexpected``.
        MalformedEvidence: An extension of the issuer is malformed.
    """
    if crl.issuer != issuer.subject:
        raise VerificationError("crl-issuer-mismatch", check=check, expected=str(issuer), actual=str(crl))
    check_crl_issuer(issuer, check=check)
    if crl.signature_algorithm != key.algorithm:
        raise VerificationError(
            "algorithm-unexpected",
            check=check,
            what=str(crl),
            expected=oids.dotted(key.algorithm),
            actual=oids.dotted(crl.signature_algorithm),
        )
    signatures.expect(key, crl.signature, crl.tbs, check=check, what=crl)


def check_crl_current(crl: Crl, *, at: int, check: str) -> None:
    """Check that a list is inside its dates, both ends included.

    Raises:
        VerificationError: ``crl-not-yet-valid`` or ``crl-expired``.
    """
    if crl.this_update <= at <= crl.next_update:
        return
    code = "crl-expired" if at > crl.next_update else "crl-not-yet-valid"
    raise VerificationError(
        code, check=check, what=str(crl), actual=at, this_update=crl.this_update, next_update=crl.next_update
    )


def _unwrapped(data: bytes) -> bytes:
    if data[:1] == b"\x30" and data[1:2] >= b"\x80":  # DER of more than 127 bytes; hex digits are below
        return data
    if data.startswith(b"-----BEGIN"):
        (der,) = pem.blocks(data, "X509 CRL", what="CRL", limit=1, size=2 * MAX_CRL_SIZE)
        return der
    try:
        return binascii.unhexlify(data.strip(b"\r\n"))
    except binascii.Error:
        raise MalformedEvidence("crl-encoding", what="CRL", actual=data[:16]) from None


def _crl(der: bytes) -> Crl:
    outer, end = whole(der, SEQUENCE)
    at, tbs_end = element(der, outer, end, SEQUENCE)
    if der[at : at + 3] != _VERSION_2:
        raise MalformedEvidence("crl-version", what="DER", actual=der[at : at + 3], offset=at)
    inner = at + 3
    oid, parameters, at = algorithm(der, inner, tbs_end)
    issuer = at
    _, stop = element(der, issuer, tbs_end, SEQUENCE)
    this_update, at = seconds(der, stop, tbs_end)
    next_update, at = seconds(der, at, tbs_end)
    revoked: frozenset[int] = frozenset()
    if der.startswith(b"\x30", at):
        start, at = element(der, at, tbs_end, SEQUENCE)
        revoked = _revoked(der, start, at)
    start, after = element(der, at, tbs_end, CONTEXT_0)
    finish(after, tbs_end)
    number = _number(extensions(der, start, after))
    return Crl(
        der,
        der[outer:tbs_end],
        der[issuer:stop],
        this_update,
        next_update,
        number,
        revoked,
        oid,
        parameters,
        outer_signature(der, tbs_end, end, der[inner:issuer]),
    )


def _revoked(der: bytes, at: int, end: int) -> frozenset[int]:
    """Read the entries between ``at`` and ``end``: the serial numbers of what was revoked."""
    if at == end:
        raise MalformedEvidence("der-value", what="DER", expected="an entry", actual=b"", offset=at)
    alike = _revoked_alike(der, at, end)
    if alike is not None:
        return alike
    serials: list[int] = []
    rests: set[bytes] = set()  # dates and reasons repeat, so each distinct pair is checked once
    while at != end:
        start, stop = element(der, at, end, SEQUENCE)
        start, mark = element(der, start, stop, INTEGER)
        serials.append(serial_number(der, start, mark))
        rest = der[mark:stop]
        if rest not in rests:
            _check_entry(der, mark, stop)
            rests.add(rest)
        at = stop
        if len(serials) > MAX_ENTRIES:
            raise MalformedEvidence("too-many", what="DER", expected=MAX_ENTRIES, actual=len(serials))
    return frozenset(serials)


def _revoked_alike(der: bytes, at: int, end: int) -> frozenset[int] | None:
    """Read entries that all have the date and reason of the first, as in every list seen so far.

    Returns:
        The serial numbers, or None if the entries have to be read one by one.
    """
    start, stop = element(der, at, end, SEQUENCE)
    _, mark = element(der, start, stop, INTEGER)
    rest = der[mark:stop]
    if not _SMALLEST_REST <= len(rest) <= _LARGEST_REST:
        return None
    *entries, after = der[at:end].split(rest)
    if after or len(entries) > MAX_ENTRIES or min(map(len, entries)) < _SMALLEST_HEAD:
        return None
    # What is before the serial number follows from how long that is, so few different ones occur.
    for head, size in {(entry[:4], len(entry)) for entry in entries}:
        serial = size - 4
        if serial > MAX_SERIAL_SIZE or head != bytes((SEQUENCE, size - 2 + len(rest), INTEGER, serial)):
            return None
    # A first byte of zero is only right before a byte that would look negative; zero itself is read slowly.
    if any(entry[4] >= _SIGN or (entry[4] == 0 and entry[5] < _SIGN) for entry in entries):
        return None
    _check_entry(der, mark, stop)
    return frozenset([int.from_bytes(entry[4:], "big") for entry in entries])


def _check_entry(der: bytes, at: int, end: int) -> None:
    if end - at < _SMALLEST_REST:
        raise MalformedEvidence("truncated", what="DER", expected=_SMALLEST_REST, actual=end - at, offset=at)
    _, at = seconds(der, at, end)
    if at == end:
        return
    found = extensions(der, at, end)
    _refuse_critical(found)
    if oids.CERTIFICATE_ISSUER in found:
        raise MalformedEvidence("crl-kind", what="DER", actual="an indirect list", offset=at)
    if found.get(oids.CRL_REASON, (False, b""))[1] == _REMOVE_FROM_CRL:
        raise MalformedEvidence("crl-kind", what="DER", actual="a delta list", offset=at)


def _number(found: Extensions) -> int | None:
    for oid in _NOT_COMPLETE:
        if oid in found:
            raise MalformedEvidence("crl-kind", what="DER", actual=f"a partial list ({oids.dotted(oid)})")
    _refuse_critical(found)
    entry = found.get(oids.CRL_NUMBER)
    if entry is None:
        return None
    return unsigned(entry[1], *whole(entry[1], INTEGER))


def _refuse_critical(found: Extensions) -> None:
    for oid, (critical, _) in found.items():
        if critical:
            raise MalformedEvidence("critical-extension", what="DER", actual=oids.dotted(oid))
