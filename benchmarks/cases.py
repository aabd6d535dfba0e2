# SPDX-License-Identifier: Apache-2.0
"""The evidence that races are run over: real, recorded, and with a policy that accepts it in full.

Nothing is waived. Each policy has a release with the very registers that the evidence shows, and each
appraisal asks for a binding that holds, so that every check is made and the verdict is VERIFIED: the work
of a verifier in production, not the shortest way through.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from nacre import platforms
from nacre.appraisal.bindings import Binding
from nacre.appraisal.policy import Policy
from nacre.platforms.dcap.evidence import Quote
from nacre.platforms.dcap.layout import TdReport
from nacre.platforms.nitro.evidence import NitroEvidence
from nacre.platforms.snp.evidence import SnpEvidence
from nacre.testing.cases import load

__all__ = ["DCAP", "NITRO", "ROOT", "SNP", "Recorded", "dcap", "nitro", "snp"]

ROOT = Path(__file__).parent.parent
_VECTORS = ROOT / "tests" / "vectors"

#: What tables call the recorded quotes, and where they are. Their licences stand in tests/vectors/README.md.
DCAP: Mapping[str, str] = {
    "SGX v3": "sgx/automata-net-v3-00606a000000-e17-swhardeningneeded-268c06",
    "TDX v4": "tdx/phala-networ-v4-b0c06f000000-e17-uptodate-f1c850",
    "TDX v5": "tdx/google-v5-90c06f000000-e18-uptodate-cf77a6",
}
NITRO = "nitro/dstack-prod-2025-12-indefinite"
SNP = _VECTORS / "snp" / "openpcc-genoa-v3-a9e919-crl"

_HEAD = """
[[release]]
id = "recorded"
raw_report_data = true
"""
# What this SGX machine has to be forgiven, line by line; the TDX machines nothing.
_SGX_LINES = """
[sgx]
accept_tcb_status = ["UpToDate", "SWHardeningNeeded"]
accept_advisories = ["INTEL-SA-00615"]
"""
# What a machine of 2025 has to be forgiven by a table of later bulletins.
_SNP_LINES = """
[snp]
accept_advisories = ["any"]
"""


class Recorded(NamedTuple):
    """A piece of evidence with all that an appraisal takes.

    Attributes:
        evidence: The bytes.
        documents: The vendor's documents, by role; empty for Nitro.
        at: The time to judge at, Unix seconds.
        policy: Accepts it.
        binding: Holds.
    """

    evidence: bytes
    documents: Mapping[str, bytes]
    at: int
    policy: Policy
    binding: Binding


def dcap(name: str) -> Recorded:
    """Load one of the recorded quotes."""
    case = load(_VECTORS / DCAP[name])
    documents = {role: data for role, data in case.collateral.items() if role != "root_ca"}
    quote = platforms.get(case.platform).parse(case.evidence)
    assert isinstance(quote, Quote)
    report = quote.report
    if isinstance(report, TdReport):
        registers = {
            "mrtd": report.mr_td,
            "rtmr0": report.rtmr0,
            "rtmr1": report.rtmr1,
            "rtmr2": report.rtmr2,
            "rtmr3": report.rtmr3,
        }
    else:
        registers = {"mrenclave": report.mr_enclave}
    return Recorded(
        case.evidence,
        documents,
        case.at,
        _policy(case.platform, registers, _SGX_LINES if case.platform == "sgx" else ""),
        Binding.raw(report_data=report.report_data, contains_nonce=True),
    )


def nitro() -> Recorded:
    """Load the recorded attestation document."""
    case = load(_VECTORS / NITRO)
    document = platforms.get("nitro").parse(case.evidence)
    assert isinstance(document, NitroEvidence)
    registers = {f"pcr{index}": document.pcrs[index] for index in range(3)}
    return Recorded(
        case.evidence,
        {},
        case.at,
        _policy("nitro", registers, "", head='max_age = "5m"\n'),
        Binding.raw(user_data=document.user_data),
    )


def snp() -> Recorded:
    """Load the recorded report."""
    case = load(SNP)
    evidence = platforms.get("snp").parse(case.evidence)
    assert isinstance(evidence, SnpEvidence)
    report = evidence.report
    registers = {"measurement": report.measurement, "host_data": report.host_data}
    return Recorded(
        case.evidence,
        {role: case.collateral[role] for role in ("vek", "ask", "crl")},
        case.at,
        _policy("snp", registers, _SNP_LINES),
        Binding.raw(report_data=report.report_data, contains_nonce=True),
    )


def _policy(platform: str, registers: Mapping[str, bytes], lines: str, *, head: str = "") -> Policy:
    stated = "".join(f'{name} = "{value.hex()}"\n' for name, value in registers.items())
    return Policy.parse(f'id = "benchmark"\n{head}{lines}{_HEAD}[[release.{platform}]]\n{stated}')
