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
_BODY_DESCRIPTOR = struct.Struct("<HI")
_KINDS = ((3, TEE_SGX), (4, TEE_SGX), (4, TEE_TDX), (5, TEE_SGX), (5, TEE_TDX))
_OUTER_END = 134  # behind signature, attestation key and the header of the outer certification data
#: From the QE report to the QE authentication data: the report, its signature, their length.
QE_AUTH_OFFSET = 450
CERT_HEADER = struct.Struct("<HI")
_TEES = {TEE_SGX: "sgx", TEE_TDX: "tdx"}


class _Front:
    """All fixed fields that begin a quote, up to the length of the QE authentication data.

    Header, in version 5 the body descriptor, report, length of the authentication data, signature,
    attestation key, from version 4 the header of the outer certification data, then behind QE report and
    its signature that length.
    """

    __slots__ = ("auth", "auth_offset", "body_offset", "body_type", "packed", "report")

    def __init__(self, version: int, body_type: BodyType) -> None:
        descriptor = _BODY_DESCRIPTOR.format[1:] if version == 5 else ""  # noqa: PLR2004
        outer = "HI" if version > 3 else ""  # noqa: PLR2004
        body = body_type.layout
        self.body_type = body_type
        self.packed = struct.Struct(
            f"{HEADER.packed.format}{descriptor}{body.packed.format[1:]}I64s64s{outer}448xH"
        )
        self.body_offset = HEADER.size + struct.calcsize("<" + descriptor)
        self.auth_offset = self.body_offset + body.size + 4
        #: Positions in the unpacked values.
        self.report = len(HEADER.fields) + len(descriptor)
        self.auth = self.report + len(body.fields)


def _fronts() -> dict[bytes, _Front]:
    found = {}
    for version, tee in _KINDS:
        begins = struct.pack("<HHI", version, _ECDSA_P256, tee)
        for body_type in BODY_TYPES.values():
            if body_type.tee_type != tee:
                continue
            if version == 5:  # noqa: PLR2004
                described = begins + _BODY_DESCRIPTOR.pack(body_type.number, body_type.layout.size)
                found[described] = _Front(version, body_type)
            else:
                found.setdefault(begins, _Front(version, body_type))
    return found


#: How a quote that is verified here begins: version, attestation key type, TEE type, and in version 5 the
#: body descriptor. Before version 5 the first report of a TEE is the only one.
_FRONTS = _fronts()


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
    front = _FRONTS.get(data[:8]) or _FRONTS.get(data[:8] + data[48:54])
    if front is None or data[12:28] != _INTEL_QE_VENDOR:
        raise _unsupported(data)
    reader = Reader(data, "quote")
    values = reader.unpack(front.packed, f"header, {front.body_type.name}, signature and QE report")
    auth_size, signature, attestation_key, *outer, qe_auth_size = values[front.auth :]
    auth_offset = front.auth_offset
    if outer and outer != [CertType.QE_REPORT, auth_size - _OUTER_END]:
        raise _bad_outer(outer[0], outer[1], auth_size - _OUTER_END)
    if qe_auth_size > _MAX_QE_AUTH_SIZE:
        raise _too_large("QE authentication data", _MAX_QE_AUTH_SIZE, qe_auth_size)
    reader.skip(qe_auth_size, "QE authentication data")
    cert_type, cert_size = reader.unpack(CERT_HEADER, "certification data header")
    if cert_type not in CertType.SUPPORTED:
        expected = tuple(map(str, sorted(CertType.SUPPORTED)))
        raise UnsupportedEvidence("certification-data-type", actual=cert_type, expected=expected)
    if cert_size > _MAX_CERT_DATA_SIZE:
        raise _too_large("certification data", _MAX_CERT_DATA_SIZE, cert_size)
    reader.skip(cert_size, "certification data")
    end = reader.offset
    if end != auth_offset + auth_size:
        raise MalformedEvidence(
            "length-mismatch", what="authentication data", expected=end - auth_offset, actual=auth_size
        )
    if end != len(data) and any(data[end:]):
        raise MalformedEvidence("trailing-bytes", what="quote", actual=len(data) - end, offset=end)
    return Quote(
        data,
        _TEES[front.body_type.tee_type],
        QuoteHeader(*values[:7]),
        front.body_type,
        front.body_type.record(*values[front.report : front.auth]),
        front.body_offset,
        auth_offset,
        end,
        signature,
        attestation_key,
        front.packed.size - QE_AUTH_OFFSET,
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


def _unsupported(data: bytes) -> NacreError:
    """Say why no quote that is verified here begins so."""
    reader = Reader(data, "quote")
    header = QuoteHeader(*reader.unpack(HEADER.packed, "header"))
    if header.version not in _VERSIONS:
        return UnsupportedEvidence("quote-version", actual=header.version, expected=("3", "4", "5"))
    if header.attestation_key_type != _ECDSA_P256:
        return UnsupportedEvidence(
            "attestation-key-type", actual=header.attestation_key_type, expected=_ECDSA_P256
        )
    if header.qe_vendor_id != _INTEL_QE_VENDOR:
        return UnsupportedEvidence("qe-vendor", actual=header.qe_vendor_id, expected=_INTEL_QE_VENDOR)
    if (header.version, header.tee_type) not in _KINDS:
        return UnsupportedEvidence("tee-type", actual=f"{header.tee_type:#010x}", version=header.version)
    number, size = reader.unpack(_BODY_DESCRIPTOR, "body descriptor")
    body_type = BODY_TYPES.get(number)
    if body_type is None or body_type.tee_type != header.tee_type:
        return UnsupportedEvidence("quote-body-type", actual=number, tee=_TEES[header.tee_type])
    return MalformedEvidence(
        "length-mismatch", what=body_type.name, expected=body_type.layout.size, actual=size
    )


def _bad_outer(kind: int, size: int, expected: int) -> NacreError:
    if kind != CertType.QE_REPORT:
        return UnsupportedEvidence("certification-data-type", actual=kind, expected=("6",))
    return MalformedEvidence(
        "length-mismatch", what="QE report certification data", expected=expected, actual=size
    )


def _too_large(what: str, limit: int, size: int) -> MalformedEvidence:
    return MalformedEvidence("too-large", what=what, expected=limit, actual=size)
