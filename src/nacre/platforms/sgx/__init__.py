# SPDX-License-Identifier: Apache-2.0
"""Intel SGX: enclaves that prove themselves by DCAP quotes."""

from collections.abc import Sequence
from typing import ClassVar

from nacre.checks import Check
from nacre.platforms.base import Claims, Endorsements, Evidence, PlatformPolicy, Register
from nacre.platforms.dcap.claims import DcapClaims
from nacre.platforms.dcap.platform import REQUIRED, DcapPlatform, quote_of
from nacre.platforms.sgx.evidence import looks_like, parse_enclave_quote
from nacre.platforms.sgx.policy import SgxPolicy, judge_enclave
from nacre.platforms.sgx.verify import SGX, verify_enclave
from nacre.trust.anchors import Anchor
from nacre.trust.signatures import Signatures

__all__ = ["PLATFORM", "SgxPlatform"]


class SgxPlatform(DcapPlatform):
    """Intel SGX."""

    name: ClassVar[str] = "sgx"
    title: ClassVar[str] = "Intel SGX"
    registers: ClassVar[tuple[Register, ...]] = (
        Register("mrenclave", 32, "optional", alternative=1),
        Register("mrsigner", 32, "optional", alternative=2),
        Register("isvprodid", 2, "optional", kind="number", alternative=2),
        Register("isvsvn", 2, "optional", kind="minimum", alternative=2),
        Register("configid", 64, "optional"),
        Register("configsvn", 2, "optional", kind="minimum"),
        Register("isvextprodid", 16, "optional"),
        Register("isvfamilyid", 16, "optional"),
    )
    required: ClassVar[tuple[str, ...]] = (*REQUIRED, "sgx.mode")
    policy: ClassVar[type[PlatformPolicy]] = SgxPolicy
    _tee = SGX
    detect = staticmethod(looks_like)
    parse = staticmethod(parse_enclave_quote)

    def verify(
        self,
        evidence: Evidence,
        endorsements: Endorsements,
        *,
        anchors: Sequence[Anchor],
        at: int,
        signatures: Signatures,
    ) -> DcapClaims:
        """Verify a quote of an enclave.

        Raises:
            VerificationError: With the check that failed and those that held before it.
        """
        return verify_enclave(quote_of(evidence), endorsements, anchors=anchors, at=at, signatures=signatures)

    def judge(self, claims: Claims, policy: PlatformPolicy, *, at: int) -> list[Check]:
        """Hold an enclave against the policy."""
        if not isinstance(claims, DcapClaims) or not isinstance(policy, SgxPolicy):
            raise TypeError("claims and policy of SGX were expected")
        return judge_enclave(claims, policy, at=at)


PLATFORM = SgxPlatform()
