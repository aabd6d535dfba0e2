# SPDX-License-Identifier: Apache-2.0
"""Whether Intel's documents speak of this platform, this quoting enclave and this TDX module."""

from nacre.errors import VerificationError
from nacre.platforms.dcap.endorsements import Tee
from nacre.platforms.dcap.layout import SgxReport, TdReport
from nacre.platforms.dcap.pck import PckExtension
from nacre.platforms.dcap.tcb import Svns, find_module
from nacre.platforms.dcap.tcb_info import EnclaveIdentity, TcbInfo

__all__ = ["check_identity", "check_info", "check_module", "svns_of"]


def check_info(pck: PckExtension, info: TcbInfo, tee: Tee) -> None:
    """Check that TCB Info is of this TEE, FMSPC and PCEID.

    Raises:
        VerificationError: ``tcb-info-mismatch``.
    """
    for what, actual, expected in (
        ("TEE", info.id, tee.tcb_info),
        ("FMSPC", info.fmspc, pck.fmspc),
        ("PCEID", info.pceid, pck.pceid),
    ):
        if actual != expected:
            raise VerificationError(
                "tcb-info-mismatch", check="dcap.tcb-info", what=what, expected=expected, actual=actual
            )


def check_identity(report: SgxReport, identity: EnclaveIdentity, tee: Tee) -> None:
    """Check that the quoting enclave is what its identity says.

    Raises:
        VerificationError: ``qe-identity-mismatch``.
    """
    miscselect = report.misc_select.to_bytes(4, "little")
    for what, actual, expected in (
        ("id", identity.id, tee.quoting_enclave),
        ("MRSIGNER", report.mr_signer, identity.mrsigner),
        ("ISVPRODID", report.isv_prod_id, identity.isvprodid),
        ("ATTRIBUTES", _masked(report.attributes, identity.attributes_mask), identity.attributes),
        ("MISCSELECT", _masked(miscselect, identity.miscselect_mask), identity.miscselect),
    ):
        if actual != expected:
            raise VerificationError(
                "qe-identity-mismatch", check="dcap.qe-identity", what=what, expected=expected, actual=actual
            )


def _masked(value: bytes, mask: bytes) -> bytes:
    return (int.from_bytes(value, "big") & int.from_bytes(mask, "big")).to_bytes(len(value), "big")


def check_module(report: TdReport, info: TcbInfo) -> None:
    """Check that the TDX module is one that TCB Info knows, with its signer and attributes.

    Raises:
        VerificationError: ``tdx-module-unknown``, ``tdx-module-mismatch``.
    """
    module = find_module(info, report.tee_tcb_svn)
    if module is None:
        raise VerificationError(
            "tdx-module-unknown",
            check="tdx.module",
            actual=f"TDX_{report.tee_tcb_svn[1]:02X}",
            expected=tuple(info.modules),
        )
    if report.mr_signer_seam != module.mrsigner:
        raise VerificationError(
            "tdx-module-mismatch",
            check="tdx.module",
            what="MRSIGNERSEAM",
            expected=module.mrsigner,
            actual=report.mr_signer_seam,
        )
    # The mask says which bits the identity speaks of; the rest has to be zero, as in Intel's library.
    if any(report.seam_attributes) or _masked(report.seam_attributes, module.mask) != module.attributes:
        raise VerificationError(
            "tdx-module-mismatch",
            check="tdx.module",
            what="SEAMATTRIBUTES",
            expected=module.attributes,
            actual=report.seam_attributes,
        )


def svns_of(report: SgxReport | TdReport, pck: PckExtension, qe_report: SgxReport) -> Svns:
    """Gather the security version numbers that are compared with TCB levels.

    Never those of an SGX report's CPUSVN, which says what ran, not what was certified.
    """
    if isinstance(report, TdReport):
        return Svns(pck.svns, pck.pcesvn, qe_report.isv_svn, report.tee_tcb_svn, report.tee_tcb_svn2)
    return Svns(pck.svns, pck.pcesvn, qe_report.isv_svn)
