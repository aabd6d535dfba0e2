# SPDX-License-Identifier: Apache-2.0
"""The fixed structures of DCAP quotes, each field said once: for the parser and for inspection.

Integers are little-endian. Source: Intel SGX DCAP Quote Library API reference, appendix A (quote v3);
Intel TDX DCAP Quoting Library API, appendix A.3 (quote v4, v5); TD 1.5 extension as in Intel's Quote
Verification Library, ``QuoteConstants.h``.
"""

import msgspec

from nacre.platforms.layout import Layout

__all__ = [
    "BODY_TYPES",
    "HEADER",
    "SGX_REPORT",
    "TD_REPORT_10",
    "TD_REPORT_15",
    "TD_REPORT_15_EX",
    "TEE_SGX",
    "TEE_TDX",
    "BodyType",
    "QuoteHeader",
    "SgxReport",
    "TdReport",
]

TEE_SGX = 0x00000000
TEE_TDX = 0x00000081


class QuoteHeader(msgspec.Struct, frozen=True, gc=False):
    """The first 48 bytes of a quote. The two SVNs are informative: no decision uses them."""

    version: int
    attestation_key_type: int
    tee_type: int
    qe_svn: int
    pce_svn: int
    qe_vendor_id: bytes
    user_data: bytes


class SgxReport(msgspec.Struct, frozen=True, gc=False):
    """An SGX REPORT body, 384 bytes: of an application's enclave or of the quoting enclave."""

    cpu_svn: bytes
    misc_select: int
    reserved1: bytes
    isv_ext_prod_id: bytes
    attributes: bytes
    mr_enclave: bytes
    reserved2: bytes
    mr_signer: bytes
    reserved3: bytes
    config_id: bytes
    isv_prod_id: int
    isv_svn: int
    config_svn: int
    reserved4: bytes
    isv_family_id: bytes
    report_data: bytes


class TdReport(msgspec.Struct, frozen=True, gc=False):
    """A TD report body: TDX 1.0 (584 bytes), 1.5 (648) or 1.5 with its extension (885).

    Fields that a version does not have are empty.
    """

    tee_tcb_svn: bytes
    mr_seam: bytes
    mr_signer_seam: bytes
    seam_attributes: bytes
    td_attributes: bytes
    xfam: bytes
    mr_td: bytes
    mr_config_id: bytes
    mr_owner: bytes
    mr_owner_config: bytes
    rtmr0: bytes
    rtmr1: bytes
    rtmr2: bytes
    rtmr3: bytes
    report_data: bytes
    tee_tcb_svn2: bytes = b""
    mr_service_td: bytes = b""
    vmid: bytes = b""
    td_id: bytes = b""
    dev_info: bytes = b""
    init_serv_td_hash: bytes = b""
    init_serv_td_attributes: bytes = b""
    init_cpu_svn: bytes = b""
    init_tee_tcb_svn: bytes = b""
    init_tee_fmspc: bytes = b""
    cur_serv_td_hash: bytes = b""
    cur_serv_td_attributes: bytes = b""


HEADER = Layout(QuoteHeader, "H H I H H 16s 20s")
SGX_REPORT = Layout(SgxReport, "16s I 12s 16s 16s 32s 32s 32s 32s 64s H H H 42s 16s 64s")
_TD_10 = "16s 48s 48s 8s 8s 8s 48s 48s 48s 48s 48s 48s 48s 48s 64s"
_TD_15 = f"{_TD_10} 16s 48s"
TD_REPORT_10 = Layout(TdReport, _TD_10)
TD_REPORT_15 = Layout(TdReport, _TD_15)
TD_REPORT_15_EX = Layout(TdReport, f"{_TD_15} 1s 32s 48s 48s 8s 16s 16s 12s 48s 8s")


class BodyType(msgspec.Struct, frozen=True):
    """A body that a v5 quote can carry, by the number in its descriptor."""

    number: int
    name: str
    tee_type: int
    layout: Layout
    record: type[SgxReport] | type[TdReport]


BODY_TYPES = {
    body.number: body
    for body in (
        BodyType(1, "SGX report", TEE_SGX, SGX_REPORT, SgxReport),
        BodyType(2, "TD report 1.0", TEE_TDX, TD_REPORT_10, TdReport),
        BodyType(3, "TD report 1.5", TEE_TDX, TD_REPORT_15, TdReport),
        BodyType(4, "TD report 1.5 extended", TEE_TDX, TD_REPORT_15_EX, TdReport),
    )
}
