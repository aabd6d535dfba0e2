# SPDX-License-Identifier: Apache-2.0
"""Evidence of SEV-SNP in the forms in which it travels: bytes -> frozen record. Pure; knows no trust.

``report``
    The attestation report alone, 1184 bytes.
``extended``
    The report and behind it the host's certificate table (GHCB specification), as SNP_GET_EXT_REPORT of
    the guest driver or ``outblob`` and ``auxblob`` of configfs-tsm give them.
``hcl``
    Azure's report of its paravisor, with the report and the runtime data that it commits to.
"""

from collections.abc import Mapping

import msgspec

from nacre.platforms.snp.products import check_processor
from nacre.platforms.snp.report import (
    HAS_PROCESSOR,
    REPORT_SIZE,
    Report,
    is_report,
    parse_report,
    unpack_report,
)
from nacre.platforms.snp.vek import KINDS

__all__ = ["FORMS", "SalvagedSnp", "SnpEvidence", "is_evidence", "parse", "salvage"]

#: The forms that are read.
FORMS = ("report", "extended", "hcl")

_HCL_MAGIC = b"HCLA"
_HCL_REPORT = 32  # where the report is in there
_NO_CERTIFICATES: Mapping[str, bytes] = {}


class SnpEvidence(msgspec.Struct, frozen=True, gc=False):
    """Decoded evidence.

    Attributes:
        raw: The bytes as they came.
        report: The report in them.
        form: ``report``, ``extended`` or ``hcl``.
        offset: Where the report begins in ``raw``.
        certificates: The host's certificates by endorsement role, as they came. Never an anchor.
        runtime: Azure's runtime data, to which the report commits; None in other forms.
        platform: ``snp``.
    """

    raw: bytes
    report: Report
    form: str = "report"
    offset: int = 0
    certificates: Mapping[str, bytes] = _NO_CERTIFICATES
    runtime: bytes | None = None
    platform: str = "snp"

    @property
    def report_bytes(self) -> bytes:
        """The 1184 bytes of the report."""
        return self.raw[self.offset : self.offset + REPORT_SIZE]


class SalvagedSnp(SnpEvidence, frozen=True, gc=False):
    """Evidence that is not well-formed or not supported, as far as it could be read."""


def is_evidence(data: bytes) -> bool:
    """Tell from the first bytes whether this is evidence of SEV-SNP."""
    return is_report(data) or data.startswith(_HCL_MAGIC)


def parse(data: bytes) -> SnpEvidence:
    """Decode evidence.

    Raises:
        MalformedEvidence: It is not well-formed.
        UnsupportedEvidence: The report is of a version, signature algorithm or product line that is not
            verified here.
    """
    if len(data) == REPORT_SIZE:
        return SnpEvidence(data, _report(data))
    if data.startswith(_HCL_MAGIC):
        from nacre.platforms.snp.hcl import parse_hcl  # noqa: PLC0415 (few need it)

        hcl = parse_hcl(data)
        return SnpEvidence(data, _report(hcl.report), "hcl", _HCL_REPORT, runtime=hcl.runtime)
    report = _report(data[:REPORT_SIZE])
    from nacre.platforms.snp.ghcb import parse_table  # noqa: PLC0415 (few need it)

    sent = parse_table(data[REPORT_SIZE:], vlek=KINDS.get(report.signing_key) == "vlek")
    return SnpEvidence(data, report, "extended", certificates=sent)


def salvage(data: bytes) -> SalvagedSnp | None:
    """Read the report, and nothing around it, of evidence that :func:`parse` refuses, if there is one."""
    offset = 0
    if data.startswith(_HCL_MAGIC):
        from nacre.platforms.snp.hcl import wraps_report  # noqa: PLC0415 (few need it)

        if not wraps_report(data):
            return None
        offset = _HCL_REPORT
    report = data[offset : offset + REPORT_SIZE]
    if len(report) != REPORT_SIZE:
        return None
    return SalvagedSnp(data, unpack_report(report), "report", offset)


def _report(data: bytes) -> Report:
    report = parse_report(data)
    if report.version >= HAS_PROCESSOR:
        check_processor(report.cpuid_family, report.cpuid_model)
    return report
