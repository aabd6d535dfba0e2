# SPDX-License-Identifier: Apache-2.0
"""What AMD vouches for SNP with, and where it serves that: URLs as data.

=======  =========================================================  =======================================
role     what                                                       path at AMD's key service
=======  =========================================================  =======================================
``vek``  VCEK of a chip at a TCB, DER                               ``/vcek/v1/<line>/<hwid>?blSPL=…``
``vek``  VLEK of a cloud at a TCB                                   none: only the cloud gets it from AMD
``ask``  ASK or ASVK and behind it the ARK, PEM                     ``/vcek|vlek/v1/<line>/cert_chain``
``ark``  the ARK, DER; never an anchor                              none: anchors ship with this package
``crl``  the ARK's revocation list, DER                             ``/vcek|vlek/v1/<line>/crl``
=======  =========================================================  =======================================

A VCEK is asked for by the chip's identifier (of Turin, eight bytes of it) and by the levels of REPORTED_TCB:
the key is derived for that, not for what runs now. A report before version 3 does not say its product line,
so Milan is asked for and then Genoa, unless CHIP_ID is as short as Turin's are.

Source: AMD, Versioned Chip Endorsement Key Certificate and KDS Interface Specification (57230), 4; likewise
for VLEK (58369).
"""

import functools
from typing import Final

from nacre.errors import EndorsementsUnavailable, MalformedEvidence
from nacre.platforms.base import Source
from nacre.platforms.snp.evidence import SnpEvidence
from nacre.platforms.snp.products import PRODUCTS, Product, of_issuer, of_processor
from nacre.platforms.snp.report import HAS_PROCESSOR, Report
from nacre.platforms.snp.vek import KINDS
from nacre.trust.anchors import Anchor, vendor_anchor
from nacre.trust.names import common_name_of
from nacre.trust.x509 import parse_certificate

__all__ = ["ENDORSER", "ROLES", "ROOTS", "anchors", "sources"]

#: The roots that ship with this package, one a product line.
ROOTS: Final = tuple(f"amd-ark-{name.lower()}" for name in PRODUCTS)
#: Every document that a verification takes.
ROLES: Final = ("vek", "ask", "ark", "crl")
#: Whose service the paths are of.
ENDORSER: Final = "amd-kds"

_SHORT_CHIP_ID = 8
#: The order of AMD's documentation, the FMC last, which only Turin has.
_PARAMETERS = ("blSPL", "teeSPL", "snpSPL", "ucodeSPL", "fmcSPL")


def anchors() -> tuple[Anchor, ...]:
    """Return the roots that ship with this package."""
    return tuple(vendor_anchor(name) for name in ROOTS)


def sources(evidence: SnpEvidence) -> tuple[Source, ...]:
    """Say which documents a report needs beside what the host sent along.

    Raises:
        EndorsementsUnavailable: ``snp-vlek-not-sent``, or ``snp-chip-hidden``: the key can not be told.
    """
    report = evidence.report
    kind = KINDS.get(report.signing_key)
    if kind is None or report.mask_chip_key:
        return ()  # not signed; no document makes up for that
    sent = evidence.certificates
    vek = sent.get("vek")
    return _sources(
        kind, _lines(report, vek), report.chip_id, report.reported_tcb, vek is not None, "ask" in sent
    )


@functools.lru_cache(maxsize=256)
def _sources(  # noqa: PLR0917 (a cache's key)
    kind: str,
    lines: tuple[str, ...],
    chip_id: bytes,
    reported_tcb: bytes,
    has_vek: bool,  # noqa: FBT001
    has_ask: bool,  # noqa: FBT001
) -> tuple[Source, ...]:
    found = []
    if not has_vek:
        if kind == "vlek":
            raise EndorsementsUnavailable("snp-vlek-not-sent")
        if not any(chip_id):
            raise EndorsementsUnavailable("snp-chip-hidden")
        found.append(_source("vek", [_vcek(PRODUCTS[line], chip_id, reported_tcb) for line in lines]))
    if not has_ask:
        found.append(_source("ask", [f"/{kind}/v1/{line}/cert_chain" for line in lines]))
    found.append(_source("crl", [f"/{kind}/v1/{line}/crl" for line in lines]))
    return tuple(found)


def _source(role: str, paths: list[str]) -> Source:
    return Source(role, paths[0], endorser=ENDORSER, alternatives=tuple(paths[1:]))


def _vcek(product: Product, chip_id: bytes, reported_tcb: bytes) -> str:
    tcb = product.tcb(reported_tcb)
    levels = zip(_PARAMETERS, (tcb.bootloader, tcb.tee, tcb.snp, tcb.microcode, tcb.fmc), strict=True)
    query = "&".join(f"{name}={level:02d}" for name, level in levels if level is not None)
    return f"/vcek/v1/{product.name}/{chip_id[: product.hwid_size].hex()}?{query}"


def _lines(report: Report, vek: bytes | None) -> tuple[str, ...]:
    """Name the product line of a report; more than one, the likeliest first, if that is open."""
    product = None
    if report.version >= HAS_PROCESSOR:
        product = of_processor(report.cpuid_family, report.cpuid_model)
    elif vek is not None:
        product = _line_of(vek)
    if product is not None:
        return (product.name,)
    if any(report.chip_id) and not any(report.chip_id[_SHORT_CHIP_ID:]):
        return ("Turin",)
    return ("Milan", "Genoa")


@functools.lru_cache(maxsize=256)
def _line_of(vek: bytes) -> Product | None:
    """Read the product line from the issuer of a certificate that a host sent; it proves nothing."""
    try:
        found = of_issuer(common_name_of(parse_certificate(vek).issuer))
    except MalformedEvidence:
        return None
    return found[0] if found else None
