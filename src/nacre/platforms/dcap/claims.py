# SPDX-License-Identifier: Apache-2.0
"""What a DCAP quote proves, of SGX and TDX alike."""

from collections.abc import Mapping

from nacre.platforms.base import Claims
from nacre.platforms.dcap.evidence import Quote
from nacre.platforms.dcap.pck import SGX_TYPES, PckExtension
from nacre.platforms.dcap.tcb import TcbReport

__all__ = ["DcapClaims", "identity_of"]


class DcapClaims(Claims, frozen=True, kw_only=True):
    """What a quote proved.

    Attributes:
        quote: The quote.
        pck: The processor, as Intel certified it.
        pck_issuer: The common name of the CA that certified it.
        tcb: The TCB evaluation; None if TCB Info or the quoting enclave's identity was missing.
        crl_numbers: The numbers of the PCK and root revocation lists.
    """

    quote: Quote
    pck: PckExtension
    pck_issuer: str
    tcb: TcbReport | None
    crl_numbers: tuple[int | None, int | None]


def identity_of(extension: PckExtension) -> Mapping[str, bytes | str | bool]:
    """Return what tells this platform from others, as far as Intel states it."""
    shown = {
        "fmspc": extension.fmspc,
        "ppid": extension.ppid,
        "sgx_type": SGX_TYPES[extension.sgx_type],
        "platform_instance": extension.platform_instance,
        "dynamic_platform": extension.dynamic_platform,
        "cached_keys": extension.cached_keys,
        "smt": extension.smt,
    }
    return {name: value for name, value in shown.items() if value is not None}
