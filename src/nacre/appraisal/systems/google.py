# SPDX-License-Identifier: Apache-2.0
"""Quotes and reports as Google's libraries write them, back to the bytes that the device signed.

Every field of those protocol buffers is one of the original, so nothing is lost; what they repeat (sizes) is
computed anew, and has to agree.

Source: google/go-tdx-guest, ``proto/tdx.proto``; google/go-sev-guest, ``proto/sevsnp.proto``.
"""

import struct
from collections.abc import Mapping
from typing import Final

from nacre.appraisal.systems import protobuf
from nacre.appraisal.systems.protobuf import Message
from nacre.errors import MalformedEvidence
from nacre.platforms.snp.report import LAYOUT, REPORT_SIZE, SIGNED_SIZE

__all__ = ["snp_report", "tdx_quote"]

_QUOTE: Final = "TDX quote in protocol buffers"
_REPORT: Final = "SEV-SNP report in protocol buffers"
_QE_REPORT: Final = 6  # the type of certification data that TDX has
_BODY: Final = ((1, 16), (2, 48), (3, 48), (4, 8), (5, 8), (6, 8), (7, 48), (8, 48), (9, 48), (10, 48))
_ENCLAVE: Final = (
    *((1, 16, False), (2, 4, True), (3, 28, False), (4, 16, False), (5, 32, False), (6, 32, False)),
    *((7, 32, False), (8, 96, False), (9, 2, True), (10, 2, True), (11, 60, False), (12, 64, False)),
)


def tdx_quote(data: bytes) -> bytes:
    """Put a quote of version 4 together.

    Raises:
        MalformedEvidence: It is none, or a size in it is not that of what it counts.
    """
    quote = protobuf.read(data, range(1, 6), what=_QUOTE)
    header = quote.below(1, range(1, 8))
    body = quote.below(2, range(1, 13))
    signed = _signature(quote.below(4, range(1, 4)))
    if quote.number(3, 4) != struct.pack("<I", len(signed)):
        raise _size(_QUOTE, quote.number(3, 4), len(signed))
    return b"".join(
        (
            *(header.number(1, 2), header.number(2, 2), header.number(3, 4)),
            *(header.exactly(5, 2), header.exactly(4, 2), header.exactly(6, 16), header.exactly(7, 20)),
            *(body.exactly(field, size) for field, size in _BODY),
            *(body.several(11, 48, 4), body.exactly(12, 64)),
            *(quote.number(3, 4), signed, quote.any(5)),
        )
    )


def _signature(signed: Message) -> bytes:
    outer = signed.below(3, range(1, 4))
    inner = outer.below(3, range(1, 5))
    report = inner.below(1, range(1, 13))
    auth = inner.below(3, range(1, 3))
    chain = inner.below(4, range(1, 4))
    certified = b"".join(
        (
            *(
                report.number(at, size) if number else report.exactly(at, size)
                for at, size, number in _ENCLAVE
            ),
            inner.exactly(2, 64),
            *_counted(auth.number(1, 2), auth.any(2)),
            *(chain.number(1, 2), *_counted(chain.number(2, 4), chain.any(3))),
        )
    )
    if outer.number(1, 2) != struct.pack("<H", _QE_REPORT):
        raise MalformedEvidence(
            "protobuf-field", what=_QUOTE, name="4.3.1", expected="6", actual=outer.number(1, 2).hex()
        )
    return b"".join(
        (
            *(signed.exactly(1, 64), signed.exactly(2, 64), outer.number(1, 2)),
            *_counted(outer.number(2, 4), certified),
        )
    )


def _counted(size: bytes, data: bytes) -> tuple[bytes, bytes]:
    if int.from_bytes(size, "little") != len(data):
        raise _size(_QUOTE, size, len(data))
    return size, data


def _size(what: str, stated: bytes, actual: int) -> MalformedEvidence:
    return MalformedEvidence(
        "protobuf-size", what=what, expected=int.from_bytes(stated, "little"), actual=actual
    )


# ── SEV-SNP ──

_CHAIN: Final = {1: "vek", 6: "vek", 2: "ask", 3: "ark"}
#: Field of the report to field and size of the message: byte strings, the four TCB versions, numbers.
_STRINGS: Final = {
    "family_id": (4, 16),
    "image_id": (5, 16),
    "report_data": (11, 64),
    "measurement": (12, 48),
    "host_data": (13, 32),
    "id_key_digest": (14, 48),
    "author_key_digest": (15, 48),
    "report_id": (16, 32),
    "report_id_ma": (17, 32),
    "chip_id": (19, 64),
}
_TCBS: Final = {"current_tcb": 8, "reported_tcb": 18, "committed_tcb": 20, "launch_tcb": 27}
_NUMBERS: Final = {
    "version": (1, 4),
    "guest_svn": (2, 4),
    "policy": (3, 8),
    "vmpl": (6, 4),
    "signature_algo": (7, 4),
    "platform_info": (9, 8),
    "signer_info": (10, 4),
    "current_build": (21, 1),
    "current_minor": (22, 1),
    "current_major": (23, 1),
    "committed_build": (24, 1),
    "committed_minor": (25, 1),
    "committed_major": (26, 1),
    "launch_mit_vector": (30, 8),
    "current_mit_vector": (31, 8),
}


def snp_report(data: bytes) -> tuple[bytes, Mapping[str, bytes]]:
    """Put a report together, and find the certificates that came with it.

    Returns:
        The report, and role to certificate.

    Raises:
        MalformedEvidence: It is none.
    """
    attestation = protobuf.read(data, range(1, 4), what=_REPORT)
    report = attestation.below(1, range(1, 32))
    values: dict[str, bytes | int] = {
        **{name: report.exactly(*place) for name, place in _STRINGS.items()},
        **{name: report.number(field, 8) for name, field in _TCBS.items()},
        **{name: _integer(report, *place) for name, place in _NUMBERS.items()},
        **_processor(_integer(report, 29, 4)),
    }
    # What is not in the message is reserved, or the signature, which comes in one piece.
    body = LAYOUT.packed.pack(*(values.get(name, b"") for name, _, _ in LAYOUT.fields))
    chain = attestation.below(2, range(1, 8))
    certificates = {role: chain.any(field) for field, role in _CHAIN.items() if chain.any(field)}
    return body[:SIGNED_SIZE] + report.exactly(28, REPORT_SIZE - SIGNED_SIZE), certificates


def _integer(message: Message, field: int, size: int) -> int:
    return int.from_bytes(message.number(field, size), "little")


def _processor(signature: int) -> Mapping[str, int]:
    """Take CPUID's processor signature apart: family and model with their extensions, stepping."""
    return {
        "cpuid_family": (signature >> 8 & 0xF) + (signature >> 20 & 0xFF),
        "cpuid_model": (signature >> 4 & 0xF) | (signature >> 12 & 0xF0),
        "cpuid_stepping": signature & 0xF,
    }
