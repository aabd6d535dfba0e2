# SPDX-License-Identifier: Apache-2.0
"""Every shared case of SEV-SNP: verdict, cryptography and claims; the genuine ones by default."""

import pytest
from tests.conftest import vector_roots

from nacre.appraisal.appraise import appraise
from nacre.appraisal.policy import Policy
from nacre.checks import Status
from nacre.platforms.base import Endorsements
from nacre.platforms.snp.claims import SnpClaims
from nacre.reasons import explain
from nacre.testing.cases import load
from nacre.testing.judging import judge
from nacre.trust.anchors import Origin

_CASES = {
    path.parent.name: path.parent
    for root in reversed(vector_roots())
    for path in sorted(root.glob("snp/*/case.json"))
}
_GENUINE = {name: path for name, path in _CASES.items() if not name.startswith(("syn-", "derived-"))}


def test_there_are_cases() -> None:
    assert len(_CASES) >= 95
    assert len(_GENUINE) >= 20


@pytest.mark.parametrize("name", _CASES)
def test_case(name: str) -> None:
    case = load(_CASES[name])
    found = judge(case)
    assert (found.answer.verdict, found.answer.crypto) == (case.expected.verdict, case.expected.crypto), (
        found.why
    )
    if case.expected.claims is not None:
        claims = found.answer.claims
        assert isinstance(claims, dict)
        assert {key: claims.get(key) for key in case.expected.claims} == case.expected.claims


@pytest.mark.parametrize("name", _GENUINE)
def test_genuine_reports_under_the_default_policy(name: str) -> None:
    """What the vendors' fleets show is judged by the table that ships: told, never passed over."""
    case = load(_GENUINE[name])
    if case.expected.crypto != "pass":
        return
    result = appraise(
        case.evidence, policy=Policy.parse(""), endorsements=Endorsements(case.collateral), at=case.at
    )
    claims = result.claims
    assert isinstance(claims, SnpClaims)
    assert claims.origin is Origin.GENUINE
    checks = {check.id: check for check in result.checks}
    for check in checks.values():
        assert "{" not in explain(check)
    # Milan's keys can be anybody's, and no machine among these had every fix.
    assert (checks["snp.product"].status is Status.WARN) == (claims.product.name == "Milan")
    assert checks["snp.tcb"].status is (Status.PASS if "1b1b" in _tcb(claims) else Status.FAIL)
    provisional = bool(case.expected.claims and case.expected.claims["provisional_firmware"])
    assert (checks["snp.firmware"].status is Status.PASS) != provisional


def _tcb(claims: SnpClaims) -> str:
    return claims.evidence.report.reported_tcb.hex()
