# SPDX-License-Identifier: Apache-2.0
"""A DCAP quote: bytes -> frozen record. Pure; knows no trust.

Versions 3 (SGX), 4 and 5 (SGX and TDX). Source: see ``layout.py``.
"""

import struct

import msgspec

from nacre.errors import MalformedEvidence, UnsupportedEvidence
from nacre.platforms.dcap.layout import (
    BODY_TYPES,
    HEADER,
    TEE_SGX,
    TEE_TDX,
    BodyType,
    QuoteHeader,
    SgxReport,
    TdReport,
)
from nacre.trust.reader import Reader

__all__ = ["CertType", "Quote", "is_quote", "parse_quote", "parse_quote_of"]

MAX_QUOTE_SIZE = 64 * 1024  # real quotes are 4,600 to 8,000 bytes
_MAX_QE_AUTH_SIZE = 4 * 1024  # 32 bytes in the field; any length is legal
_MAX_CERT_DATA_SIZE = 32 * 1024

_ECDSA_P256 = 2
_INTEL_QE_VENDOR = bytes.fromhex("939a7233f79c4ca9940a0db3957f0607")
_TDX_BYTES = TEE_TDX.to_bytes(4, "little")
_VERSIONS = (3, 4, 5)
_BODY_DESCRIPTOR = struct.Struct("<HI")
#: Signature, attestation key, QE report, its signature, length of the QE authentication data.
_AUTH_V3 = struct.Struct("<64s64s384s64sH")
#: The same, with the header of the outer certification data before the QE report.
_AUTH_V4 = struct.Struct("<64s64sHI384s64sH")
_CERTIFICATION_OFFSET = 134  # behind signature, key and that header
_CERT_HEADER = struct.Struct("<HI")
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
        signed: Header and report (v5: with the body descriptor): what the attestation key signs.
        auth_offset: Where the authentication data begin in ``raw``.
        end: Where they end.
        signature: ECDSA P-256 over ``signed``, r ‖ s, 64 bytes big-endian.
        attestation_key: x ‖ y, 64 bytes big-endian.
        qe_report: The quoting enclave's report, 384 bytes, signed by the PCK.
        qe_signature: ECDSA P-256 over ``qe_report``, r ‖ s.
        qe_auth: The quoting enclave's authentication data, any length.
        cert_type: The (inner) certification data type.
        cert_data: The (inner) certification data.
        certified: Everything from the attestation key to the end: what does not depend on this report.
    """

    raw: bytes
    platform: str
    header: QuoteHeader
    body_type: BodyType
    report: SgxReport | TdReport
    body_offset: int
    signed: bytes
    auth_offset: int
    end: int
    signature: bytes
    attestation_key: bytes
    qe_report: bytes
    qe_signature: bytes
    qe_auth: bytes
    cert_type: int
    cert_data: bytes
    certified: bytes

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
        raise MalformedEvidence("too-large", what="quote", expected=MAX_QUOTE_SIZE, actual=len(data))
    reader = Reader(data, "quote")
    header = QuoteHeader(*reader.unpack(HEADER.packed, "header"))
    _check_header(header)
    body_type = _body_type(header, reader)
    body_offset = reader.offset
    report = body_type.record(*reader.unpack(body_type.layout.packed, body_type.name))
    signed = data[: reader.offset]
    auth_size = reader.u32("authentication data length")
    auth_offset = reader.offset
    end = auth_offset + auth_size
    auth = Reader(data, "authentication data", start=auth_offset, end=end)
    if header.version == 3:  # noqa: PLR2004
        signature, key, qe_report, qe_signature, qe_auth_size = auth.unpack(_AUTH_V3)
    else:
        signature, key, outer, size, qe_report, qe_signature, qe_auth_size = auth.unpack(_AUTH_V4)
        if outer != CertType.QE_REPORT:
            raise UnsupportedEvidence("certification-data-type", actual=outer, expected=("6",))
        if size != auth_size - _CERTIFICATION_OFFSET:
            raise MalformedEvidence(
                "length-mismatch",
                what="QE report certification data",
                expected=auth_size - _CERTIFICATION_OFFSET,
                actual=size,
            )
    qe_auth = auth.take(_bounded(qe_auth_size, _MAX_QE_AUTH_SIZE, "QE authentication data"), "QE auth data")
    cert_type, cert_size = auth.unpack(_CERT_HEADER, "certification data header")
    if cert_type not in CertType.SUPPORTED:
        raise UnsupportedEvidence(
            "certification-data-type", actual=cert_type, expected=("1", "2", "3", "4", "5")
        )
    cert_data = auth.take(
        _bounded(cert_size, _MAX_CERT_DATA_SIZE, "certification data"), "certification data"
    )
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
        signed,
        auth_offset,
        end,
        signature,
        key,
        qe_report,
        qe_signature,
        qe_auth,
        cert_type,
        cert_data,
        data[auth_offset + 64 : end],
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


def _check_header(header: QuoteHeader) -> None:
    if header.version not in _VERSIONS:
        raise UnsupportedEvidence("quote-version", actual=header.version, expected=("3", "4", "5"))
    if header.attestation_key_type != _ECDSA_P256:
        raise UnsupportedEvidence(
            "attestation-key-type", actual=header.attestation_key_type, expected=_ECDSA_P256
        )
    if header.qe_vendor_id != _INTEL_QE_VENDOR:
        raise UnsupportedEvidence("qe-vendor", actual=header.qe_vendor_id, expected=_INTEL_QE_VENDOR)
    if header.tee_type not in _TEES or (header.version == 3 and header.tee_type != TEE_SGX):  # noqa: PLR2004
        raise UnsupportedEvidence("tee-type", actual=f"{header.tee_type:#010x}", version=header.version)


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


def _bounded(size: int, limit: int, what: str) -> int:
    if size > limit:
        raise MalformedEvidence("too-large", what=what, expected=limit, actual=size)
    return size
