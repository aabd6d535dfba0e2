# SPDX-License-Identifier: Apache-2.0
"""What can be wrong with a simulated machine of Intel's, and with what Intel says of it."""

from typing import Literal

import msgspec

__all__ = ["Certificate", "ComponentTcb", "Document", "Faults", "PlatformTcb", "Role", "Signed"]

#: The certificates below the root.
Certificate = Literal["pck", "pck_ca", "tcb"]
#: The signed documents of Intel's.
Document = Literal["tcb_info", "qe_identity", "pck_crl", "root_ca_crl"]
#: All that Intel's services hand out.
Role = Literal[
    "tcb_info",
    "tcb_info_issuer_chain",
    "qe_identity",
    "qe_identity_issuer_chain",
    "pck_crl",
    "pck_crl_issuer_chain",
    "root_ca_crl",
]
#: What is signed, certificates aside.
Signed = Literal["quote", "qe_report", "tcb_info", "qe_identity", "pck_crl", "root_ca_crl"]
#: How Intel calls the level that the platform reaches.
PlatformTcb = Literal[
    "up_to_date",
    "sw_hardening_needed",
    "configuration_needed",
    "configuration_and_sw_hardening_needed",
    "out_of_date",
    "out_of_date_configuration_needed",
    "revoked",
    "not_supported",
]
#: The same for the quoting enclave or a TDX module.
ComponentTcb = Literal["up_to_date", "out_of_date", "revoked", "not_supported"]


class Faults(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is wrong with a machine; nothing, unless stated.

    Attributes:
        tcb: The level that the platform is certified at.
        qe_tcb: The level of its quoting enclave.
        revoked: Certificates that are on the revocation lists.
        expired: Certificates and documents that ended a day ago.
        future: Certificates and documents that begin in a day.
        missing: Documents that Intel's services do not hand out.
        debug: The owner of the TEE can read its memory.
        other_fmspc: The processor is of another model than TCB Info is for.
        other_qe: The quoting enclave is signed by somebody else than Intel's identity says.
        other_attestation_key: The quoting enclave vouches for another key than the one in the quote.
        wrong_signature: What is signed by another key than it should be.
        dynamic_platform: Processors can be added to the platform. Not wrong as such, nor are the next two.
        cached_keys: Intel keeps the platform's root keys.
        smt: Hyper-threading is on.
    """

    tcb: PlatformTcb = "up_to_date"
    qe_tcb: ComponentTcb = "up_to_date"
    revoked: tuple[Certificate, ...] = ()
    expired: tuple[Certificate | Document, ...] = ()
    future: tuple[Certificate | Document, ...] = ()
    missing: tuple[Role, ...] = ()
    debug: bool = False
    other_fmspc: bool = False
    other_qe: bool = False
    other_attestation_key: bool = False
    wrong_signature: tuple[Signed, ...] = ()
    dynamic_platform: bool = False
    cached_keys: bool = False
    smt: bool = False

    def dates(self, what: str, *, begins: int, life: int, at: int) -> tuple[int, int]:
        """Return when something begins and ends, Unix seconds.

        Args:
            what: Name of a certificate or document.
            begins: When it begins if nothing is wrong with it.
            life: Seconds that it lasts.
            at: Now.
        """
        if what in self.expired:
            begins = at - _DAY - life
        if what in self.future:
            begins = at + _DAY
        return begins, begins + life


_DAY = 86_400
