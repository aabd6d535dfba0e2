# SPDX-License-Identifier: Apache-2.0
"""A DCAP quote: bytes -> frozen record. Pure; knows no trust.

Versions 3 (SGX), 4 and 5 (SGX and TDX). Source: see ``layout.py``.

Not proven here:
    SGX reports in quotes of version 4 and 5, and the extended TD 1.5 report: no evidence of such hardware is
    public, so the tests make their own under a root of theirs.
"""

import struct

import msgspec

from nacre.errors import MalformedEvidence, NacreError, UnsupportedEvidence
from nacre.platforms.dcap.layout import (
    BODY_TYPES,
    HEADER,
    SGX_REPORT,
    TEE_SGX,
    TEE_TDX,
    BodyType,
    QuoteHeader,
    SgxReport,
    TdReport,
)
from nacre.trust.reader import Reader

__all__ = ["CERT_HEADER", "QE_AUTH_OFFSET", "CertType", "Quote", "is_quote", "parse_quote", "parse_quote_of"]

MAX_QUOTE_SIZE = 64 * 1024  # real quotes are 4,600 to 8,000 bytes
_MAX_QE_AUTH_SIZE = 4 * 1024  # 32 bytes in the field; any length is legal
_MAX_CERT_DATA_SIZE = 32 * 1024

_ECDSA_P256 = 2
_INTEL_QE_VENDOR = bytes.fromhex("939a7233f79c4ca9940a0db3957f0607")
_TDX_BYTES = TEE_TDX.to_bytes(4, "little")
_VERSIONS = (3, 4, 5)
#: Version, attestation key type and TEE type, as they begin a quote that is verified here.
_SUPPORTED = frozenset(
    {
        struct.pack("<HHI", version, _ECDSA_P256, tee)
        for version, tee in ((3, TEE_SGX), (4, TEE_SGX), (4, TEE_TDX), (5, TEE_SGX), (5, TEE_TDX))
    }
)
_BODY_DESCRIPTOR = struct.Struct("<HI")
#: Signature, attestation key, then behind the QE report and its signature the length of the QE auth data.
_AUTH_V3 = struct.Struct("<64s64s448xH")
#: The same, with the header of the outer certification data before the QE report.
_AUTH_V4 = struct.Struct("<64s64sHI448xH")
_OUTER_END = 134  # behind signature, key and that header
#: From the QE report to the QE authentication data: the report, its signature, their length.
QE_AUTH_OFFSET = 450
CERT_HEADER = struct.Struct("<HI")
_TEES = {TEE_SGX: "sgx", TEE_TDX: "tdx"}


class CertType:
    """Certification data types: how a quote says which PCK certified its quoting enclave."""

    PPID_PLAIN = 1
    PPID_RSA_2048 = 2
    PPID_RSA_3072 = 3
    PCK_LEAF = 4
    PCK_CHAIN = 5
    QE_REPORT = 6
    SUPPORTED = frozenset({1, 2, 3, 4, 5})


class Quote(msgspec.Struct, frozen=True, gc=False):
    """A decoded quote.

    Attributes:
        raw: The quote as it came.
        platform: ``sgx`` or ``tdx``.
        header: The header.
        body_type: What kind of report it carries.
        report: The report.
        body_offset: Where the report begins in ``raw``.
        auth_offset: Where the authentication data begin.
        end: Where they end.
        signature: ECDSA P-256 over ``signed``, r ‖ s, 64 bytes big-endian.
        attestation_key: x ‖ y, 64 bytes big-endian.
        qe_offset: Where the quoting enclave's report begins.
        qe_auth_size: Bytes of the quoting enclave's authentication data.
        cert_type: The (inner) certification data type.
        cert_size: Bytes of the (inner) certification data.
    """

    raw: bytes
    platform: str
    header: QuoteHeader
    body_type: BodyType
    report: SgxReport | TdReport
    body_offset: int
    auth_offset: int
    end: int
    signature: bytes
    attestation_key: bytes
    qe_offset: int
    qe_auth_size: int
    cert_type: int
    cert_size: int

    @property
    def signed(self) -> bytes:
        """Header and report (v5: with the body descriptor): what the attestation key signs."""
        return self.raw[: self.auth_offset - 4]

    @property
    def qe_report(self) -> bytes:
        """The quoting enclave's report, 384 bytes, signed by the PCK."""
        return self.raw[self.qe_offset : self.qe_offset + SGX_REPORT.size]

    @property
    def qe_signature(self) -> bytes:
        """ECDSA P-256 over ``qe_report``, r ‖ s, 64 bytes big-endian."""
        start = self.qe_offset + SGX_REPORT.size
        return self.raw[start : start + 64]

    @property
    def qe_auth(self) -> bytes:
        """The quoting enclave's authentication data, any length."""
        start = self.qe_offset + QE_AUTH_OFFSET
        return self.raw[start : start + self.qe_auth_size]

    @property
    def cert_offset(self) -> int:
        """Where the (inner) certification data begin, behind their header."""
        return self.qe_offset + QE_AUTH_OFFSET + self.qe_auth_size + CERT_HEADER.size

    @property
    def cert_data(self) -> bytes:
        """The (inner) certification data."""
        start = self.cert_offset
        return self.raw[start : start + self.cert_size]

    @property
    def certified_offset(self) -> int:
        """Where that begins which does not depend on this report: attestation key and what vouches for it."""
        return self.auth_offset + 64

    @property
    def trailing(self) -> int:
        """Bytes after the end that the quote states; zeros in a well-formed one."""
        return len(self.raw) - self.end


def is_quote(data: bytes, platform: str) -> bool:
    """Tell from the header whether this looks like a quote of ``sgx`` or ``tdx``; no promise."""
    if data[12:28] == _INTEL_QE_VENDOR and len(data) >= HEADER.size:
        return (data[4:8] == _TDX_BYTES) == (platform == "tdx")
    # A truncated or foreign quote is still best explained by the parser of quotes.
    return platform == "sgx" and data[:2] in (b"\x03\x00", b"\x04\x00", b"\x05\x00")


def parse_quote(data: bytes) -> Quote:
    """Decode a quote.

    Raises:
        MalformedEvidence: Lengths do not add up, or non-zero bytes follow the end.
        UnsupportedEvidence: A version, key type, TEE, vendor or certification data type not verified here.
    """
    if len(data) > MAX_QUOTE_SIZE:
        raise _too_large("quote", MAX_QUOTE_SIZE, len(data))
    reader = Reader(data, "quote")
    header = QuoteHeader(*reader.unpack(HEADER.packed, "header"))
    if data[:8] not in _SUPPORTED or header.qe_vendor_id != _INTEL_QE_VENDOR:
        raise _unsupported(header)
    body_type = _body_type(header, reader)
    body_offset = reader.offset
    values = reader.unpack(body_type.layout.sized, body_type.name)
    report, auth_size = body_type.record(*values[:-1]), values[-1]
    auth_offset = reader.offset
    end = auth_offset + auth_size
    auth = Reader(data, "authentication data", start=auth_offset, end=end)
    if header.version == 3:  # noqa: PLR2004
        signature, attestation_key, qe_auth_size = auth.unpack(_AUTH_V3, "QE report")
    else:
        signature, attestation_key, outer, size, qe_auth_size = auth.unpack(_AUTH_V4, "QE report")
        if outer != CertType.QE_REPORT or size != auth_size - _OUTER_END:
            raise _bad_outer(outer, size, auth_size - _OUTER_END)
    qe_offset = auth.offset - QE_AUTH_OFFSET
    if qe_auth_size > _MAX_QE_AUTH_SIZE:
        raise _too_large("QE authentication data", _MAX_QE_AUTH_SIZE, qe_auth_size)
    auth.skip(qe_auth_size, "QE authentication data")
    cert_type, cert_size = auth.unpack(CERT_HEADER, "certification data header")
    if cert_type not in CertType.SUPPORTED:
        expected = tuple(map(str, sorted(CertType.SUPPORTED)))
        raise UnsupportedEvidence("certification-data-type", actual=cert_type, expected=expected)
    if cert_size > _MAX_CERT_DATA_SIZE:
        raise _too_large("certification data", _MAX_CERT_DATA_SIZE, cert_size)
    auth.skip(cert_size, "certification data")
    auth.finish()
    if end != len(data) and any(data[end:]):
        raise MalformedEvidence("trailing-bytes", what="quote", actual=len(data) - end, offset=end)
    return Quote(
        data,
        _TEES[header.tee_type],
        header,
        body_type,
        report,
        body_offset,
        auth_offset,
        end,
        signature,
        attestation_key,
        qe_offset,
        qe_auth_size,
        cert_type,
        cert_size,
    )


def parse_quote_of(data: bytes, platform: str) -> Quote:
    """Decode a quote that has to be of ``sgx`` or of ``tdx``.

    Raises:
        MalformedEvidence: Lengths do not add up, or non-zero bytes follow the end.
        UnsupportedEvidence: It is of a kind that is not verified here, or of the other TEE.
    """
    quote = parse_quote(data)
    if quote.platform != platform:
        raise UnsupportedEvidence("quote-of-other-tee", expected=platform, actual=quote.platform)
    return quote


def _unsupported(header: QuoteHeader) -> UnsupportedEvidence:
    if header.version not in _VERSIONS:
        return UnsupportedEvidence("quote-version", actual=header.version, expected=("3", "4", "5"))
    if header.attestation_key_type != _ECDSA_P256:
        return UnsupportedEvidence(
            "attestation-key-type", actual=header.attestation_key_type, expected=_ECDSA_P256
        )
    if header.qe_vendor_id != _INTEL_QE_VENDOR:
        return UnsupportedEvidence("qe-vendor", actual=header.qe_vendor_id, expected=_INTEL_QE_VENDOR)
    return UnsupportedEvidence("tee-type", actual=f"{header.tee_type:#010x}", version=header.version)


def _body_type(header: QuoteHeader, reader: Reader) -> BodyType:
    if header.version < 5:  # noqa: PLR2004
        return BODY_TYPES[1 if header.tee_type == TEE_SGX else 2]
    number, size = reader.unpack(_BODY_DESCRIPTOR, "body descriptor")
    body_type = BODY_TYPES.get(number)
    if body_type is None or body_type.tee_type != header.tee_type:
        raise UnsupportedEvidence("quote-body-type", actual=number, tee=_TEES[header.tee_type])
    if size != body_type.layout.size:
        raise MalformedEvidence(
            "length-mismatch", what=body_type.name, expected=body_type.layout.size, actual=size
        )
    return body_type


def _bad_outer(kind: int, size: int, expected: int) -> NacreError:
    if kind != CertType.QE_REPORT:
        return UnsupportedEvidence("certification-data-type", actual=kind, expected=("6",))
    return MalformedEvidence(
        "length-mismatch", what="QE report certification data", expected=expected, actual=size
    )


def _too_large(what: str, limit: int, size: int) -> MalformedEvidence:
    return MalformedEvidence("too-large", what=what, expected=limit, actual=size)
