# SPDX-License-Identifier: Apache-2.0
"""Every field of a quote, for inspection. Claims no trust."""

from collections.abc import Callable, Iterator, Mapping
from typing import TypeVar

from nacre.errors import MalformedEvidence
from nacre.platforms.base import FieldView
from nacre.platforms.dcap.endorsements import read_chain
from nacre.platforms.dcap.evidence import CERT_HEADER, CertType, Quote
from nacre.platforms.dcap.layout import HEADER, SGX_REPORT, SgxReport, TdReport
from nacre.platforms.dcap.pck import SGX_TYPES, PckExtension, parse_extension
from nacre.platforms.layout import Layout
from nacre.reasons import render
from nacre.trust.names import common_name_of
from nacre.trust.x509 import Certificate

__all__ = ["SGX_ATTRIBUTES", "TD_ATTRIBUTES", "flags", "quote_facts", "quote_views"]

_In = TypeVar("_In")
_Out = TypeVar("_Out")

#: Bits of the SGX ATTRIBUTES flags. Source: Intel SDM volume 3D, 37.7.1.
SGX_ATTRIBUTES: Mapping[int, str] = {
    0: "INIT",
    1: "DEBUG",
    2: "MODE64BIT",
    4: "PROVISIONKEY",
    5: "EINITTOKENKEY",
    6: "CET",
    7: "KSS",
    10: "AEXNOTIFY",
}
#: Bits of TDATTRIBUTES. Source: Intel TDX Module Base Specification, ATTRIBUTES.
TD_ATTRIBUTES: Mapping[int, str] = {
    0: "DEBUG",
    28: "SEPT_VE_DISABLE",
    29: "MIGRATABLE",
    30: "PKS",
    31: "KL",
    62: "TPA",
    63: "PERFMON",
}
_FLAGS = {"attributes": SGX_ATTRIBUTES, "td_attributes": TD_ATTRIBUTES}
_WORDS: Mapping[str, Mapping[int, str]] = {
    "attestation_key_type": {2: "ECDSA P-256", 3: "ECDSA P-384"},
    "tee_type": {0: "SGX", 0x81: "TDX"},
}
_CERT_TYPES = {
    1: "PPID, plain",
    2: "PPID, RSA-2048",
    3: "PPID, RSA-3072",
    4: "PCK leaf",
    5: "PCK chain, PEM",
    6: "QE report certification data",
}


def flags(value: bytes, names: Mapping[int, str]) -> tuple[str, ...]:
    """Name the bits that are set in a little-endian bit field."""
    number = int.from_bytes(value, "little")
    return tuple(names.get(bit, f"reserved bit {bit}") for bit in range(8 * len(value)) if number >> bit & 1)


def quote_views(quote: Quote) -> Iterator[FieldView]:
    """List the fields of a quote with their offsets."""
    yield from _record("header", quote.header, HEADER, 0)
    if quote.header.version == 5:  # noqa: PLR2004
        at = HEADER.size
        yield FieldView("body.type", at, 2, str(quote.body_type.number), (quote.body_type.name,))
        yield FieldView("body.size", at + 2, 4, str(quote.body_type.layout.size))
    yield from _record("report", quote.report, quote.body_type.layout, quote.body_offset)
    yield from _authentication(quote)
    yield from _certification(quote)
    if quote.trailing > 0:
        yield FieldView("padding", quote.end, quote.trailing, f"{quote.trailing} bytes")


def _record(prefix: str, record: object, layout: Layout, base: int) -> Iterator[FieldView]:
    for name, offset, size in layout.fields:
        value = getattr(record, name)
        text = value.hex() if isinstance(value, bytes) else str(value)
        yield FieldView(f"{prefix}.{name}", base + offset, size, text, _notes(name, value))


def _notes(name: str, value: int | bytes) -> tuple[str, ...]:
    if isinstance(value, int):
        words = _WORDS.get(name, {}).get(value)
        return (words,) if words else ()
    if name in _FLAGS:
        return flags(value[:8], _FLAGS[name])
    if name in ("tee_tcb_svn", "tee_tcb_svn2"):
        return (f"module SVN {value[0]}", f"module version {value[1]}", f"late microcode {value[2]}")
    return ("not zero",) if name.startswith("reserved") and any(value) else ()


def _authentication(quote: Quote) -> Iterator[FieldView]:
    at = quote.auth_offset
    yield FieldView("auth.size", at - 4, 4, str(quote.end - at))
    yield FieldView("auth.signature", at, 64, quote.signature.hex())
    yield FieldView("auth.attestation_key", at + 64, 64, quote.attestation_key.hex())
    if quote.qe_offset > at + 128:
        at = quote.qe_offset - CERT_HEADER.size
        outer, size = CERT_HEADER.unpack_from(quote.raw, at)
        yield FieldView("auth.certification.type", at, 2, str(outer), (_CERT_TYPES.get(outer, ""),))
        yield FieldView("auth.certification.size", at + 2, 4, str(size))
    at = quote.qe_offset
    report = SgxReport(*SGX_REPORT.packed.unpack(quote.qe_report))
    yield from _record("auth.qe_report", report, SGX_REPORT, at)
    at += SGX_REPORT.size
    yield FieldView("auth.qe_signature", at, 64, quote.qe_signature.hex())
    yield FieldView("auth.qe_auth.size", at + 64, 2, str(quote.qe_auth_size))
    yield FieldView("auth.qe_auth", at + 66, quote.qe_auth_size, quote.qe_auth.hex())


def _certification(quote: Quote) -> Iterator[FieldView]:
    at = quote.cert_offset
    yield FieldView("pck.type", at - 6, 2, str(quote.cert_type), (_CERT_TYPES.get(quote.cert_type, ""),))
    yield FieldView("pck.size", at - 4, 4, str(quote.cert_size))
    chain = _chain(quote)
    if not chain:
        yield FieldView("pck.data", at, quote.cert_size, quote.cert_data.hex())
    for index, certificate in enumerate(chain):
        prefix = f"pck.certificate[{index}]"
        dates = {"begins": certificate.not_before, "ends": certificate.not_after}
        yield FieldView(f"{prefix}.subject", None, None, certificate.common_name)
        yield FieldView(f"{prefix}.serial", None, None, f"{certificate.serial:x}")
        yield FieldView(f"{prefix}.validity", None, None, render("{begins:time} to {ends:time}", dates))
    if chain:
        yield from _extension(chain[0])


def _extension(leaf: Certificate) -> Iterator[FieldView]:
    extension = _try(parse_extension, leaf)
    if extension is None:
        return
    for name in extension.__struct_fields__:
        value = getattr(extension, name)
        notes = (SGX_TYPES[value],) if name == "sgx_type" else ()
        text = value.hex() if isinstance(value, bytes) else "not stated" if value is None else str(value)
        yield FieldView(f"pck.{name}", None, None, text, notes)


def _chain(quote: Quote) -> list[Certificate]:
    if quote.cert_type not in (CertType.PCK_LEAF, CertType.PCK_CHAIN):
        return []
    return _try(read_chain, quote.cert_data) or []


def _try(read: Callable[[_In], _Out], value: _In) -> _Out | None:
    try:
        return read(value)
    except MalformedEvidence:
        return None


def quote_facts(quote: Quote) -> dict[str, object]:
    """Return the values of a quote under the names of the shared test vectors.

    Byte strings are lower-case hex in the order of the evidence.
    """
    facts: dict[str, object] = {
        "quote_version": quote.header.version,
        "tee_type": f"{quote.header.tee_type:#010x}",
        "attestation_key_type": quote.header.attestation_key_type,
        "qe_vendor_id": quote.header.qe_vendor_id.hex(),
        "user_data": quote.header.user_data.hex(),
        "body_type": quote.body_type.number,
        "cert_data_type": quote.cert_type,
        "quote_length": quote.end,
        "trailing_bytes": quote.trailing,
        "report": _report_facts(quote.report),
        "qe_report": _hexed(SgxReport(*SGX_REPORT.packed.unpack(quote.qe_report))),
    }
    chain = _chain(quote)
    if chain:
        facts["pck"] = _pck_facts(chain[0])
    return facts


def _report_facts(report: SgxReport | TdReport) -> dict[str, object]:
    facts = _hexed(report)
    if isinstance(report, TdReport):
        attributes = int.from_bytes(report.td_attributes, "little")
        facts["debug"] = bool(attributes & 1)
        facts["sept_ve_disable"] = bool(attributes >> 28 & 1)
    else:
        facts["debug"] = bool(report.attributes[0] & 2)
    return facts


def _hexed(record: SgxReport | TdReport) -> dict[str, object]:
    values = {name: getattr(record, name) for name in record.__struct_fields__}
    return {name: value.hex() if isinstance(value, bytes) else value for name, value in values.items()}


def _pck_facts(leaf: Certificate) -> dict[str, object]:
    extension: PckExtension | None = _try(parse_extension, leaf)
    facts: dict[str, object] = {"issuer_cn": common_name_of(leaf.issuer), "serial": f"{leaf.serial:x}"}
    if extension is None:
        return facts
    instance = extension.platform_instance
    return facts | {
        "fmspc": extension.fmspc.hex(),
        "pceid": extension.pceid.hex(),
        "cpusvn": list(extension.svns),
        "pcesvn": extension.pcesvn,
        "ppid": extension.ppid.hex(),
        "sgx_type": f"{extension.sgx_type:02x}",
        "platform_instance_id": instance.hex() if instance else None,
        "dynamic_platform": extension.dynamic_platform,
        "cached_keys": extension.cached_keys,
        "smt": extension.smt,
    }
