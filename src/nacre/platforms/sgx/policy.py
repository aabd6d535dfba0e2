# SPDX-License-Identifier: Apache-2.0
"""The policy lines for SGX, and holding an enclave against them."""

from nacre.checks import Check
from nacre.platforms.dcap.claims import DcapClaims
from nacre.platforms.dcap.policy import DcapPolicy, judge_platform

__all__ = ["SgxPolicy", "judge_enclave"]


class SgxPolicy(DcapPolicy, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is acceptable of an SGX enclave: the lines of ``DcapPolicy``."""


def judge_enclave(claims: DcapClaims, policy: SgxPolicy, *, at: int) -> list[Check]:
    """Hold an enclave against the policy."""
    return judge_platform(claims, policy, at=at)
