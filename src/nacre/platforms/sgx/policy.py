# SPDX-License-Identifier: Apache-2.0
"""The policy lines for SGX, and holding an enclave against them."""

from nacre.checks import Check, failed, passed
from nacre.platforms.dcap.claims import DcapClaims
from nacre.platforms.dcap.layout import SgxReport
from nacre.platforms.dcap.policy import DcapPolicy, judge_platform

__all__ = ["SgxPolicy", "judge_enclave"]

_MODE64BIT = 4  # ATTRIBUTES.MODE64BIT


class SgxPolicy(DcapPolicy, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is acceptable of an SGX enclave, beside the lines of ``DcapPolicy``.

    Attributes:
        allow_32_bit: Accept an enclave that runs in 32-bit mode. MRENCLAVE does not cover the mode, so
            whoever signs the measured pages anew can start code that was built for 64 bits as something else.
    """

    allow_32_bit: bool = False


_MODE_64 = passed("sgx.mode")
_MODE_32 = failed("sgx.mode", "sgx-mode-32")
_MODE_32_ALLOWED = passed("sgx.mode", "sgx-mode-allowed")


def judge_enclave(claims: DcapClaims, policy: SgxPolicy, *, at: int) -> list[Check]:
    """Hold an enclave against the policy."""
    report = claims.quote.report
    assert isinstance(report, SgxReport)  # noqa: S101 (the parser chose the record by the TEE)
    checks = judge_platform(claims, policy, at=at)
    if report.attributes[0] & _MODE64BIT:
        checks.append(_MODE_64)
    else:
        checks.append(_MODE_32_ALLOWED if policy.allow_32_bit else _MODE_32)
    return checks
