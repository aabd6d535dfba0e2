# SPDX-License-Identifier: Apache-2.0
"""Intel TDX: virtual machines (TDs) that prove themselves by DCAP quotes."""

from collections.abc import Sequence
from typing import ClassVar

from nacre.checks import Check
from nacre.platforms.base import Claims, Endorsements, Evidence, PlatformPolicy, Register
from nacre.platforms.dcap.claims import DcapClaims
from nacre.platforms.dcap.platform import REQUIRED, DcapPlatform, quote_of
from nacre.platforms.tdx.evidence import looks_like, parse_td_quote
from nacre.platforms.tdx.policy import TdxPolicy, judge_td
from nacre.platforms.tdx.verify import TDX, verify_td
from nacre.trust.anchors import Anchor
from nacre.trust.signatures import Signatures

__all__ = ["PLATFORM", "TdxPlatform"]

_HASH = 48


class TdxPlatform(DcapPlatform):
    """Intel TDX."""

    name: ClassVar[str] = "tdx"
    title: ClassVar[str] = "Intel TDX"
    registers: ClassVar[tuple[Register, ...]] = (
        Register("mrtd", _HASH, "value"),
        # Depends on the machine's memory map and devices, which clouds change.
        Register("rtmr0", _HASH, "stated"),
        Register("rtmr1", _HASH, "value"),
        Register("rtmr2", _HASH, "value"),
        Register("rtmr3", _HASH, "stated"),
        Register("mrconfigid", _HASH, "optional"),
        Register("mrowner", _HASH, "optional"),
        Register("mrownerconfig", _HASH, "optional"),
        Register("mrseam", _HASH, "optional"),
    )
    required: ClassVar[tuple[str, ...]] = (
        *REQUIRED,
        "tdx.module",
        "tdx.attributes",
        "tdx.service-td",
        "tdx.tcb-now",
    )
    policy: ClassVar[type[PlatformPolicy]] = TdxPolicy
    _tee = TDX
    detect = staticmethod(looks_like)
    parse = staticmethod(parse_td_quote)

    def verify(
        self,
        evidence: Evidence,
        endorsements: Endorsements,
        *,
        anchors: Sequence[Anchor],
        at: int,
        signatures: Signatures,
    ) -> DcapClaims:
        """Verify a quote of a TD.

        Raises:
            VerificationError: With the check that failed and those that held before it.
        """
        return verify_td(quote_of(evidence), endorsements, anchors=anchors, at=at, signatures=signatures)

    def judge(self, claims: Claims, policy: PlatformPolicy, *, at: int) -> list[Check]:
        """Hold a TD against the policy."""
        if not isinstance(claims, DcapClaims) or not isinstance(policy, TdxPolicy):
            raise TypeError("claims and policy of TDX were expected")
        return judge_td(claims, policy, at=at)


PLATFORM = TdxPlatform()
