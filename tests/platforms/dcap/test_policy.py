# SPDX-License-Identifier: Apache-2.0
"""What a policy accepts of a platform, line by line."""

from collections.abc import Mapping

import pytest
from tests.platforms.dcap.judging import found, judge, refusal
from tests.platforms.dcap.pki import DAY, NOW, World, level, svn_level

from nacre.appraisal.verdict import Verdict
from nacre.checks import Check, Status
from nacre.errors import ConfigurationError
from nacre.platforms.dcap.policy import DcapPolicy
from nacre.platforms.dcap.tcb_info import TcbStatus
from nacre.reasons import explain

_ANY = {"accept_advisories": ("any",)}
_HOPELESS = ("Revoked", "NotSupported")
_DOCUMENTED = tuple(
    sorted(TcbStatus.ALL - {*_HOPELESS, "TDRelaunchAdvised", "TDRelaunchAdvisedConfigurationNeeded"})
)

TEES = pytest.mark.parametrize("tee", ["sgx", "tdx"])


def _world(tee: str, *, info: Mapping[str, object] | None = None, **changes: object) -> World:
    return World(tee=tee, version=3 if tee == "sgx" else 4, info=info or {}).but(**changes)


def _level(tee: str, status: str, *, date: int = NOW, advisories: tuple[str, ...] = ()) -> dict[str, object]:
    usual = level(status, date=date, advisories=advisories)
    return usual if tee == "tdx" else level(status, date=date, advisories=advisories, tdx=None)


def _check(world: World, identifier: str, **section: object) -> Check:
    return found(judge(world, section=section), identifier)


# ── Status ───────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("status", _DOCUMENTED)
@TEES
def test_each_status_needs_its_line(tee: str, status: str) -> None:
    world = _world(tee, status=status)
    verdict = judge(world).verdict
    assert (verdict is Verdict.VERIFIED) is (status == "UpToDate")
    for other in _DOCUMENTED:
        section = {"accept_tcb_status": (other,)}
        verdict = judge(world, section=section).verdict
        assert (verdict is Verdict.VERIFIED) is (status == other)
    everything = tuple(sorted(TcbStatus.ALL - {*_HOPELESS}))
    result = judge(world, section={"accept_tcb_status": everything})
    assert result.verdict is Verdict.VERIFIED
    said = explain(found(result, "dcap.tcb-status"))
    assert said.startswith(f"the platform is {status}")


@TEES
def test_the_default_accepts_up_to_date_alone(tee: str) -> None:
    policy = DcapPolicy()
    assert policy.accept_tcb_status == ("UpToDate",)
    assert not policy.unsafe_allow_debug
    # Nothing at all may be accepted, too.
    assert refusal(_world(tee), section={"accept_tcb_status": ()}) == "dcap.tcb-status: tcb-status-refused"


@pytest.mark.parametrize("status", [*_HOPELESS, "uptodate", "", "any", "Configuration"])
def test_statuses_that_cannot_be_accepted(status: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        DcapPolicy(accept_tcb_status=("UpToDate", status))
    assert caught.value.code == "policy-tcb-status"
    assert "Revoked" not in str(caught.value.context["expected"])


# ── Grace ────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("days", [1, 30])
@TEES
def test_grace_has_an_end(tee: str, days: int) -> None:
    came_out = NOW - days * DAY
    newest = _level(tee, "UpToDate", date=came_out)
    newest["tcb"] = {**newest["tcb"], "pcesvn": 14}  # type: ignore[dict-item]
    world = _world(tee, info={"tcbLevels": [newest, _level(tee, "OutOfDate", date=NOW - 900 * DAY)]})
    section = {"tcb_grace_days": days}
    assert found(judge(world, section=section, at=NOW - 1), "dcap.tcb-status").reason == "tcb-status-grace"
    last = judge(world, section=section, at=NOW)
    assert last.verdict is Verdict.VERIFIED
    assert explain(found(last, "dcap.tcb-status")).startswith(
        "the platform is OutOfDate, which the policy accepts until 2026-06-01T12:00:00Z: PCE is 13"
    )
    assert refusal(world, section=section, at=NOW + 1) == "dcap.tcb-status: tcb-status-refused"
    assert refusal(world) == "dcap.tcb-status: tcb-status-refused"
    # Grace is for what is old, not for what is badly configured or revoked.
    for status in ("OutOfDateConfigurationNeeded", "ConfigurationNeeded", "Revoked"):
        other = _world(tee, info={"tcbLevels": [newest, _level(tee, status)]})
        assert judge(other, section=section).verdict is Verdict.REJECTED


@TEES
def test_no_grace_after_nothing(tee: str) -> None:
    """Where no level is good, nothing says since when this one is old."""
    world = _world(tee, info={"tcbLevels": [_level(tee, "OutOfDate")]})
    assert refusal(world, section={"tcb_grace_days": 10_000}) == "dcap.tcb-status: tcb-status-refused"


@TEES
def test_grace_covers_no_advisories(tee: str) -> None:
    newest = _level(tee, "UpToDate")
    newest["tcb"] = {**newest["tcb"], "pcesvn": 14}  # type: ignore[dict-item]
    old = _level(tee, "OutOfDate", advisories=("INTEL-SA-00001",))
    world = _world(tee, info={"tcbLevels": [newest, old]})
    assert refusal(world, section={"tcb_grace_days": 1}) == "dcap.advisories: advisories-refused"
    accepted = {"tcb_grace_days": 1, "accept_advisories": ("INTEL-SA-00001",)}
    assert judge(world, section=accepted).verdict is Verdict.VERIFIED


# ── Advisories ───────────────────────────────────────────────────────────────────────────────────────

_HARDENING: dict[str, object] = {"accept_tcb_status": ("SWHardeningNeeded",)}


def _advised(tee: str, status: str, *advisories: str) -> World:
    return _world(tee, info={"tcbLevels": [_level(tee, status, advisories=advisories)]})


@TEES
def test_advisories_one_by_one(tee: str) -> None:
    world = _advised(tee, "SWHardeningNeeded", "INTEL-SA-1", "INTEL-SA-2")
    for accepted, bad in (
        ((), ("INTEL-SA-1", "INTEL-SA-2")),
        (("INTEL-SA-1",), ("INTEL-SA-2",)),
        (("INTEL-DOC-10001", "any"), ()),
        (("INTEL-SA-1", "INTEL-SA-2"), ()),
        (("any",), ()),
    ):
        check = _check(world, "dcap.advisories", **_HARDENING, accept_advisories=accepted)
        assert check.status is (Status.FAIL if bad else Status.PASS)
        assert check.actual == (bad or None)
    rejected = {**_HARDENING, **_ANY, "reject_advisories": ("INTEL-SA-2",)}
    assert _check(world, "dcap.advisories", **rejected).actual == ("INTEL-SA-2",)
    both = {**_HARDENING, "accept_advisories": ("INTEL-SA-1",), "reject_advisories": ("INTEL-SA-1",)}
    assert _check(world, "dcap.advisories", **both).actual == ("INTEL-SA-1", "INTEL-SA-2")


@TEES
def test_up_to_date_with_advisories(tee: str) -> None:
    """Intel calls the platform good in spite of them; the policy can still say no."""
    world = _advised(tee, "UpToDate", "INTEL-SA-1")
    assert judge(world).verdict is Verdict.VERIFIED
    rejected = {"reject_advisories": ("INTEL-SA-1",)}
    assert refusal(world, section=rejected) == "dcap.advisories: advisories-refused"


@pytest.mark.parametrize("status", ["UpToDate", "SWHardeningNeeded", "OutOfDate"])
@TEES
def test_end_of_service_is_never_accepted_by_any(tee: str, status: str) -> None:
    world = _advised(tee, status, "INTEL-DOC-10001", "INTEL-SA-1")
    section: dict[str, object] = {"accept_tcb_status": (status,)}
    assert refusal(world, section=section | _ANY) == "dcap.advisories: advisories-refused"
    assert _check(world, "dcap.advisories", **section, **_ANY).actual == ("INTEL-DOC-10001",)
    named = {"accept_advisories": ("INTEL-DOC-10001", "INTEL-SA-1")}
    assert judge(world, section=section | named).verdict is Verdict.VERIFIED
    # Announced is not over.
    announced = _advised(tee, status, "INTEL-DOC-10000")
    assert judge(announced, section=section | _ANY).verdict is Verdict.VERIFIED


@TEES
def test_advisories_of_the_quoting_enclave(tee: str) -> None:
    identity = {"tcbLevels": [svn_level(4, "OutOfDate", advisories=("INTEL-DOC-10001",))]}
    world = _world(tee, identity=identity)
    section: dict[str, object] = {"accept_tcb_status": ("OutOfDate",)}
    assert refusal(world, section=section | _ANY) == "dcap.advisories: advisories-refused"


# ── Evaluation number ────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("info", "identity", "least", "good"),
    [
        (20, 20, 20, True),
        (20, 19, 20, False),
        (19, 20, 20, False),
        (20, 19, 19, True),
        (19, 20, 19, True),
        (21, 30, 22, False),
        (0, 0, 1, False),
    ],
)
@TEES
def test_both_documents_count(tee: str, info: int, identity: int, least: int, good: bool) -> None:
    world = _world(
        tee,
        info={"tcbEvaluationDataNumber": info},
        identity={"tcbEvaluationDataNumber": identity},
    )
    check = _check(world, "dcap.tcb-number", min_tcb_evaluation_number=least)
    assert check.status is (Status.PASS if good else Status.FAIL)
    assert (check.actual, check.expected) == (min(info, identity), least)
    assert str(least) in explain(check)
    not_asked = _check(world, "dcap.tcb-number")
    assert not_asked.status is Status.NOT_APPLICABLE
    assert explain(not_asked) == "the policy asks for no least evaluation number"


# ── Debug, and what is missing ───────────────────────────────────────────────────────────────────────


@TEES
def test_missing_documents_leave_the_status_open(tee: str) -> None:
    for role in ("tcb_info", "qe_identity", "tcb_info_issuer_chain", "qe_identity_issuer_chain"):
        result = judge(_world(tee, documents={role: None}))
        assert result.verdict is Verdict.INCOMPLETE
        assert found(result, "dcap.tcb-status").status is Status.SKIPPED
        assert result.claims is not None
        checks = [check.id for check in result.checks]
        assert "dcap.advisories" not in checks
        assert "dcap.tcb-number" not in checks
