# SPDX-License-Identifier: Apache-2.0
"""Every shared case of SGX and TDX, as Intel's own library judges it."""

import functools
from collections.abc import Iterable
from pathlib import Path

import pytest
from tests.conftest import vector_roots
from tests.platforms.dcap.judging import assert_told

from nacre import platforms
from nacre.appraisal.appraise import appraise
from nacre.appraisal.result import Result
from nacre.errors import MalformedEvidence, UnsupportedEvidence
from nacre.platforms import sgx, tdx
from nacre.platforms.base import Endorsements, Evidence
from nacre.platforms.dcap.claims import DcapClaims
from nacre.testing import run
from nacre.testing.cases import Case, load
from nacre.testing.profile import profile
from nacre.trust.anchors import Origin
from nacre.trust.memo import Memo
from nacre.trust.signatures import Signatures


def _folders() -> dict[str, Path]:
    found: dict[str, Path] = {}
    for root in reversed(vector_roots()):
        for family in ("sgx", "tdx"):
            found |= {
                f"{family}/{path.parent.name}": path.parent for path in root.glob(f"{family}/*/case.json")
            }
    return dict(sorted(found.items()))


_FOLDERS = _folders()


@functools.cache
def _case(name: str) -> Case:
    return load(_FOLDERS[name])


def _appraise(case: Case, memo: Memo | None = None) -> Result:
    return appraise(
        case.evidence,
        policy=profile(case),
        endorsements=Endorsements(case.collateral),
        at=case.at,
        signatures=Signatures(memo),
    )


def _told(result: Result) -> tuple[object, ...]:
    return result.verdict, result.origin, tuple((check.id, check.status) for check in result.checks)


def test_there_are_cases() -> None:
    assert len(_FOLDERS) >= 204


@pytest.mark.parametrize("family", ["sgx", "tdx"])
def test_all_cases_agree(vectors: Path, family: str) -> None:
    report = run(vectors / family)
    assert [outcome for outcome in report.outcomes if outcome.status != "agree"] == []
    assert len(report.outcomes) >= {"sgx": 88, "tdx": 116}[family]
    # Stated claims go uncompared only where nothing at all can be read.
    assert {outcome.case for outcome in report.outcomes if outcome.unread} <= {
        name.partition("/")[2] for name in _FOLDERS if "truncated" in name or "version" in name
    }


@pytest.mark.parametrize("name", _FOLDERS)
def test_case(name: str) -> None:
    """Every word of every case finds its values; genuine evidence is genuine, synthetic is private."""
    case = _case(name)
    result = _appraise(case)
    assert_told(result)
    if result.origin is not None:
        assert result.origin is (Origin.PRIVATE if "/syn-" in name else Origin.GENUINE)
    expected = case.expected
    if isinstance(result.claims, DcapClaims) and result.claims.tcb and expected.tcb_status:
        assert result.claims.tcb.status == expected.tcb_status
        assert list(result.claims.tcb.advisories) == (expected.advisory_ids or [])


def test_a_memo_changes_nothing() -> None:
    memo = Memo()
    cases = [_case(name) for name in _FOLDERS]
    cold = [_told(_appraise(case)) for case in cases]
    for _ in range(2):
        assert [_told(_appraise(case, memo)) for case in cases] == cold
        cases.reverse()
        cold.reverse()
    assert len(memo) > 60


# ── Inspection ───────────────────────────────────────────────────────────────────────────────────────


def _evidence(case: Case) -> Evidence | None:
    platform = platforms.get(case.platform)
    try:
        return platform.parse(case.evidence)
    except (MalformedEvidence, UnsupportedEvidence):
        return platform.salvage(case.evidence)


def _overlaps(places: Iterable[tuple[int, int]]) -> bool:
    end = 0
    for offset, size in sorted(places):
        if offset < end:
            return True
        end = offset + size
    return False


@pytest.mark.parametrize("name", _FOLDERS)
def test_inspection(name: str) -> None:
    """What is shown of a field is what stands at its place, and no byte belongs to two fields."""
    case = _case(name)
    evidence = _evidence(case)
    if evidence is None:
        return
    views = list(platforms.get(case.platform).views(evidence))
    assert len({view.name for view in views}) == len(views)
    placed = []
    for view in views:
        if view.offset is None or view.size is None:
            continue
        field = case.evidence[view.offset : view.offset + view.size]
        if len(view.value) == 2 * view.size and len(field) == view.size > 4:
            assert view.value == field.hex()
        placed.append((view.offset, view.size))
    if not name.startswith(("sgx/derived", "tdx/derived", "tdx/syn-format-v5-body-size-lie")):
        assert not _overlaps(placed)
        inside = "cert-type-1-" not in name and "cert-type-3-" not in name and "by-tcb-signing" not in name
        assert ("pck.fmspc" in {view.name for view in views}) is inside


def test_inspection_explains(vectors: Path) -> None:
    case = load(vectors / "tdx/openenclave-v5-00806f050000-e21-policy-td-attributes-67adfc")
    views = {view.name: view for view in tdx.PLATFORM.views(tdx.PLATFORM.parse(case.evidence))}
    assert views["header.tee_type"].notes == ("TDX",)
    assert views["header.attestation_key_type"].notes == ("ECDSA P-256",)
    assert views["body.type"].notes == ("TD report 1.5",)
    assert views["body.size"].value == "648"
    assert "MIGRATABLE" in views["report.td_attributes"].notes
    assert views["report.tee_tcb_svn"].notes[1] == "module version 1"
    assert views["auth.qe_report.attributes"].notes[0] == "INIT"
    assert views["pck.sgx_type"].notes == ("Scalable",)
    assert views["pck.certificate[0].subject"].value == "Intel SGX PCK Certificate"
    assert " to 20" in views["pck.certificate[2].validity"].value
    case = load(vectors / "sgx/syn-cert-type-3-with-external-chain")
    views = {view.name: view for view in sgx.PLATFORM.views(sgx.PLATFORM.parse(case.evidence))}
    assert views["pck.type"].notes == ("PPID, RSA-3072",)
    assert views["pck.data"].size == 404
    assert "body.type" not in views
