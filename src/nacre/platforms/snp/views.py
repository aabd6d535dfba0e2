# SPDX-License-Identifier: Apache-2.0
"""Every field of a report, for inspection. Claims no trust."""

import functools
from collections.abc import Iterator, Mapping

from nacre.errors import MalformedEvidence
from nacre.platforms.base import Endorsements, FieldView
from nacre.platforms.snp.bits import PLATFORM, POLICY, named
from nacre.platforms.snp.evidence import SnpEvidence
from nacre.platforms.snp.policy import HOST_REQUESTED
from nacre.platforms.snp.products import COMPONENTS, Product, of_issuer, of_processor
from nacre.platforms.snp.report import HAS_MITIGATIONS, HAS_PROCESSOR, LAYOUT, REPORT_SIZE, Report
from nacre.platforms.snp.vek import COMMON_NAMES, KINDS
from nacre.reasons import render
from nacre.trust.names import common_name_of
from nacre.trust.x509 import parse_certificate

__all__ = ["product_of", "report_facts", "report_views"]

_TCBS = ("current_tcb", "reported_tcb", "committed_tcb", "launch_tcb")
_HEX = ("policy", "platform_info", "signer_info", "launch_mit_vector", "current_mit_vector")
_BYTES = (
    *("family_id", "image_id", "report_data", "measurement", "host_data", "id_key_digest"),
    *("author_key_digest", "report_id", "report_id_ma", "chip_id"),
)
_PROCESSOR = ("cpuid_family", "cpuid_model", "cpuid_stepping")
_MITIGATIONS = ("launch_mit_vector", "current_mit_vector")
#: The components of a TCB as the shared vectors call them.
_SHORT = {"fmc": "fmc", "bootloader": "bl", "tee": "tee", "snp": "snp", "microcode": "ucode"}


def product_of(report: Report, vek: bytes | None) -> Product | None:
    """Tell the product line by who issued the certificate, if there is one, or else by the report."""
    found = None if vek is None else of_issuer(_issuer(vek))
    if found:
        return found[0]
    if report.version >= HAS_PROCESSOR:
        return of_processor(report.cpuid_family, report.cpuid_model)
    return None


@functools.lru_cache(maxsize=64)
def _issuer(der: bytes) -> str:
    try:
        return common_name_of(parse_certificate(der).issuer)
    except MalformedEvidence:
        return ""


def report_facts(evidence: SnpEvidence, endorsements: Endorsements) -> Mapping[str, object]:
    """Return the values of a report under the names of the shared test vectors.

    Args:
        evidence: The evidence.
        endorsements: Used for one thing: the issuer of the certificate says the product line, which a report
            before version 3 does not.
    """
    report = evidence.report
    facts: dict[str, object] = {"version": report.version, "guest_svn": report.guest_svn}
    facts |= {"vmpl": report.vmpl, "signature_algo": report.signature_algo}
    facts |= {name: getattr(report, name).hex() for name in _BYTES}
    facts |= {name: f"0x{getattr(report, name):x}" for name in _HEX if name not in _MITIGATIONS}
    facts |= {f"{name}_raw": getattr(report, name).hex() for name in _TCBS}
    facts["current_version"] = _version(report, "current")
    facts["committed_version"] = _version(report, "committed")
    if report.version >= HAS_PROCESSOR:
        facts |= {name: getattr(report, name) for name in _PROCESSOR}
    if report.version >= HAS_MITIGATIONS:
        facts |= {name: f"0x{getattr(report, name):x}" for name in _MITIGATIONS}
    facts |= _flags(report)
    vek = endorsements.get("vek")
    product = product_of(report, evidence.certificates.get("vek") if vek is None else vek)
    facts["product"] = product.name if product else None
    if product:
        facts |= {name: _levels(product, getattr(report, name)) for name in _TCBS}
    return facts


def _flags(report: Report) -> Mapping[str, object]:
    guest, machine = report.policy, report.platform_info
    return {
        "policy_bits": {
            "abi": f"{guest >> 8 & 0xFF}.{guest & 0xFF}",
            "smt": bool(guest & POLICY["SMT"]),
            "migrate_ma": bool(guest & POLICY["MIGRATE_MA"]),
            "debug": bool(guest & POLICY["DEBUG"]),
            "single_socket": bool(guest & POLICY["SINGLE_SOCKET"]),
        },
        "platform_bits": {
            "smt": bool(machine & PLATFORM["SMT_EN"]),
            "tsme": bool(machine & PLATFORM["TSME_EN"]),
            "ecc": bool(machine & PLATFORM["ECC_EN"]),
            "rapl_disabled": bool(machine & PLATFORM["RAPL_DIS"]),
            "ciphertext_hiding": bool(machine & PLATFORM["CIPHERTEXT_HIDING_DRAM_EN"]),
            "alias_check_complete": bool(machine & PLATFORM["ALIAS_CHECK_COMPLETE"]),
            "tio": bool(machine & PLATFORM["TIO_EN"]),
        },
        "signing_key": KINDS.get(report.signing_key, "none"),
        "author_key_en": report.author_key_en,
        "mask_chip_key": report.mask_chip_key,
        "provisional_firmware": report.committed_tcb != report.current_tcb
        or _version(report, "committed") != _version(report, "current"),
    }


def _version(report: Report, which: str) -> str:
    return ".".join(str(getattr(report, f"{which}_{part}")) for part in ("major", "minor", "build"))


def _levels(product: Product, tcb: bytes) -> Mapping[str, int]:
    levels = product.tcb(tcb)
    return {_SHORT[name]: level for name in COMPONENTS if (level := getattr(levels, name)) is not None}


def report_views(evidence: SnpEvidence) -> Iterator[FieldView]:
    """List the fields of evidence with their offsets, the report's first."""
    report = evidence.report
    product = product_of(report, evidence.certificates.get("vek"))
    for name, offset, size in LAYOUT.fields:
        value = getattr(report, name)
        text = value.hex() if isinstance(value, bytes) else str(value)
        if name in _HEX:
            text = f"{value:#x}"
        notes = _notes(name, value, report, product)
        yield FieldView(f"report.{name}", evidence.offset + offset, size, text, notes)
    yield FieldView("product", None, None, product.name if product else "not said in this version")
    if evidence.form == "hcl":
        from nacre.platforms.snp.hcl import hcl_views, parse_hcl  # noqa: PLC0415 (few need it)

        yield from hcl_views(parse_hcl(evidence.raw))
    if evidence.form == "extended":
        from nacre.platforms.snp.ghcb import table_entries  # noqa: PLC0415 (few need it)

        for name, offset, content in table_entries(evidence.raw[REPORT_SIZE:]):
            yield _sent(name, REPORT_SIZE + offset, content)


def _sent(name: str, offset: int, content: bytes) -> FieldView:
    """Show what a host sent along."""
    at, notes = f"table.{name}", ("sent by the host, never an anchor",)
    try:
        found = parse_certificate(content)
    except MalformedEvidence:
        return FieldView(at, offset, None, f"{len(content)} bytes", notes)
    dates = [render("{at:time}", {"at": at}) for at in (found.not_before, found.not_after)]
    return FieldView(
        at,
        offset,
        None,
        str(found),
        (f"SHA-256 {found.digest.hex()}", f"valid {dates[0]} to {dates[1]}", *notes),
    )


def _notes(name: str, value: int | bytes, report: Report, product: Product | None) -> tuple[str, ...]:
    if isinstance(value, int):
        return _number_notes(name, value, report)
    if name in _TCBS:
        if product is None:
            return ()
        return tuple(f"{part} {level}" for part, level in _levels(product, value).items())
    if name == "chip_id" and not any(value):
        return ("masked",)
    return ("not zero",) if name.startswith("reserved") and any(value) else ()


def _number_notes(name: str, value: int, report: Report) -> tuple[str, ...]:
    if name == "policy":
        return (f"ABI {value >> 8 & 0xFF}.{value & 0xFF}", *named(value >> 16 << 16, POLICY))
    if name == "platform_info":
        return named(value, PLATFORM)
    if name == "signer_info":
        key = KINDS.get(report.signing_key)
        signed = f"signed by {key.upper()} ({COMMON_NAMES[key]})" if key else "signed by no key that is known"
        masked = ("MASK_CHIP_KEY: not signed",) if report.mask_chip_key else ()
        return (*masked, signed, *(("AUTHOR_KEY_EN",) if report.author_key_en else ()))
    if name == "vmpl" and value == HOST_REQUESTED:
        return ("asked for by the host",)
    if name == "signature_algo":
        return ("ECDSA P-384 with SHA-384",) if value == 1 else ("unknown",)
    return ()
