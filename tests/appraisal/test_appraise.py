# SPDX-License-Identifier: Apache-2.0
"""From bytes to a Result: nothing raises, nothing is forgotten, nothing is given up but by name."""

from collections.abc import Iterable, Sequence
from itertools import product

import msgspec
import pytest
from tests.appraisal.conftest import Acme, AcmePolicy
from tests.platforms.dcap.judging import BINDING, judge, policy
from tests.platforms.dcap.pki import NONCE, NOW, World

from nacre import platforms
from nacre.appraisal.appraise import accept, appraise, recognise
from nacre.appraisal.bindings import Binding
from nacre.appraisal.policy import WAIVABLE, Policy
from nacre.appraisal.release import Release
from nacre.appraisal.result import Result
from nacre.appraisal.verdict import Verdict
from nacre.checks import Check, Status, failed, passed, skipped, warned
from nacre.errors import (
    AppraisalError,
    ConfigurationError,
    MalformedEvidence,
    UnsupportedEvidence,
    VerificationError,
)
from nacre.platforms.base import Claims, Committed, Endorsements, PlatformPolicy
from nacre.reasons import explain
from nacre.trust.anchors import Anchor, Origin
from nacre.trust.signatures import Signatures

_EVERYTHING = ("binding", "currency", "executables", "freshness", "revocation")


class _Evidence(msgspec.Struct, frozen=True):
    raw: bytes
    platform: str = "acme"


class _Stub(Acme):
    """A platform that does as the test says."""

    def __init__(self) -> None:
        self.checks: list[Check] = [passed("acme.signature"), passed("revocation"), passed("currency")]
        self.judged: list[Check] = []
        self.issued_at: int | None = None
        self.error: Exception | None = None
        self.committed = Committed(BINDING.digest or b"")
        self.calls: list[str] = []

    def detect(self, data: bytes) -> bool:
        return data.startswith(b"acme")

    def parse(self, data: bytes) -> _Evidence:
        if data == b"acme malformed":
            raise MalformedEvidence("truncated", what="acme", expected=9, actual=1, offset=4)
        if data == b"acme unsupported":
            raise UnsupportedEvidence("quote-version", actual=9, expected=("1",))
        return _Evidence(data)

    def verify(
        self,
        evidence: _Evidence,
        endorsements: Endorsements,
        *,
        anchors: Sequence[Anchor],
        at: int,
        signatures: Signatures,
    ) -> Claims:
        del endorsements, signatures
        self.calls.append("verify")
        assert [anchor.name for anchor in anchors] == ["acme-root"]
        assert at == NOW
        if self.error:
            raise self.error
        return Claims(
            platform=evidence.platform,
            origin=Origin.GENUINE,
            checks=tuple(self.checks),
            registers={"code": b"\xc0\xde\xc0\xde", "boot": bytes(4)},
            committed=self.committed,
            debug=False,
            issued_at=self.issued_at,
            valid_until=None,
            identity={},
        )

    def judge(self, claims: Claims, policy: PlatformPolicy, *, at: int) -> Iterable[Check]:
        assert isinstance(policy, AcmePolicy)
        assert (claims.platform, at) == ("acme", NOW)
        self.calls.append("judge")
        return iter(self.judged)


@pytest.fixture
def stub(monkeypatch: pytest.MonkeyPatch) -> _Stub:
    """Install a platform that is not one of ours."""
    platform = _Stub()
    get = platforms.get
    monkeypatch.setattr(platforms, "get", lambda name: platform if name == "acme" else get(name))
    return platform


_RELEASE = 'id = "worm-1"\n[[acme]]\ncode = "c0dec0de"\nboot = "any"\n'


def _release(text: str = _RELEASE) -> Release:
    return Release.parse(text, outsiders=("acme",))


def _policy(**changes: object) -> Policy:
    made: dict[str, object] = {"id": "policy-1", "platforms": ("acme",), "releases": (_release(),)}
    return Policy(**(made | changes))  # type: ignore[arg-type]


def _run(
    data: bytes | _Evidence = b"acme evidence",
    *,
    binding: Binding | None = BINDING,
    sources: "Sequence[_Source]" = (),
    **changes: object,
) -> Result:
    result = appraise(
        data,
        policy=_policy(**changes),
        endorsements=Endorsements({}),
        at=NOW,
        binding=binding,
        sources=sources,
    )
    assert all(explain(check) for check in result.checks)
    return result


def _status(result: Result, check: str) -> Status:
    (found,) = [made for made in result.checks if made.id == check]
    return found.status


def test_all_is_well(stub: _Stub) -> None:
    result = _run()
    assert result.verdict is Verdict.VERIFIED
    assert (result.platform, result.origin, result.policy, result.release) == (
        "acme",
        Origin.GENUINE,
        "policy-1",
        "worm-1",
    )
    assert (result.at, result.raw, result.error) == (NOW, b"acme evidence", None)
    assert [check.id for check in result.checks] == [
        *("evidence", "acme.signature", "revocation", "currency"),
        *("executables", "binding", "freshness"),
    ]
    assert stub.calls == ["verify", "judge"]
    assert result.problems() == ()


def test_evidence_that_was_read_before(stub: _Stub) -> None:
    assert _run(_Evidence(b"acme evidence")) == _run()
    recognised: tuple[object, object] = recognise(b"acme evidence", _policy())
    assert recognised == (stub, _Evidence(b"acme evidence"))


# ── (1) Reading ──────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "evidence-unrecognised"),
        (b"junk", "evidence-unrecognised"),
        (b"\x04", "evidence-unrecognised"),
        (b"\x04\x00", "truncated"),
        (b"acme malformed", "truncated"),
        (b"acme unsupported", "quote-version"),
    ],
)
def test_what_cannot_be_read_is_rejected(stub: _Stub, data: bytes, reason: str) -> None:
    result = _run(data, unsafe_waive=_EVERYTHING)
    assert result.verdict is Verdict.REJECTED
    assert [(check.id, check.status, check.reason) for check in result.checks] == [
        ("evidence", Status.FAIL, reason)
    ]
    assert (result.platform, result.origin, result.claims, result.release) == ("", None, None, None)
    assert isinstance(result.error, MalformedEvidence | UnsupportedEvidence)
    assert result.error.code == reason
    assert stub.calls == []


def test_a_platform_that_the_policy_does_not_accept(stub: _Stub) -> None:
    result = _run(_Evidence(b"acme"), platforms=("sgx", "tdx"))
    assert result.verdict is Verdict.REJECTED
    assert _status(result, "platform") is Status.FAIL
    assert "acme" in explain(result.problems()[0])
    assert "sgx, tdx" in explain(result.problems()[0])
    # The rest of the story is told nevertheless.
    assert stub.calls == ["verify", "judge"]
    nobody = _run(_Evidence(b"acme"), platforms=())
    assert nobody.verdict is Verdict.REJECTED


def test_a_stranger_is_not_asked_unless_the_policy_names_it(stub: _Stub) -> None:
    assert _run(platforms=("tdx",)).verdict is Verdict.REJECTED
    assert stub.calls == []


def test_a_stranger_never_gets_what_is_ours(stub: _Stub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stub, "detect", lambda _: True)
    world = World()
    accepted = policy("tdx", world.anchor, accepted=("acme", "tdx"))
    result = appraise(world.quote, policy=accepted, endorsements=world.endorsements, at=NOW, binding=BINDING)
    assert (result.platform, result.verdict) == ("tdx", Verdict.VERIFIED)
    assert stub.calls == []


# ── (2) Verification ─────────────────────────────────────────────────────────────────────────────────


def test_a_failure_shows_what_held_and_what_was_not_reached(stub: _Stub) -> None:
    stub.error = VerificationError("signature-invalid", check="acme.signature", what="the evidence")
    stub.error.trail = (passed("acme.before"),)
    result = _run(unsafe_waive=_EVERYTHING)
    assert result.verdict is Verdict.REJECTED
    assert [(check.id, check.status, check.reason) for check in result.checks] == [
        ("evidence", Status.PASS, ""),
        ("acme.before", Status.PASS, ""),
        ("acme.signature", Status.FAIL, "signature-invalid"),
        ("revocation", Status.SKIPPED, "not-reached"),
        ("executables", Status.SKIPPED, "not-reached"),
        ("binding", Status.SKIPPED, "not-reached"),
        ("freshness", Status.SKIPPED, "not-reached"),
    ]
    assert result.error is stub.error
    assert (result.claims, result.origin) == (None, None)
    assert result.platform == "acme"
    assert stub.calls == ["verify"]


def test_a_missing_document_is_no_forgery(stub: _Stub) -> None:
    stub.error = VerificationError("endorsement-missing", check="acme.signature", role="root")
    result = _run(unsafe_waive=_EVERYTHING)
    assert result.verdict is Verdict.INCOMPLETE
    assert _status(result, "acme.signature") is Status.SKIPPED
    assert result.error is None
    assert result.claims is None


def test_mistakes_of_the_caller_are_raised(stub: _Stub) -> None:
    stub.error = ConfigurationError("anchor-unknown", actual="x", expected=())
    with pytest.raises(ConfigurationError):
        _run()
    with pytest.raises(ConfigurationError):
        _run(_Evidence(b"", platform="unheard-of"))


# ── (3), (4) Policy and release ──────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("check", "verdict"),
    [
        (passed("acme.model"), Verdict.VERIFIED),
        (Check("acme.model", Status.NOT_APPLICABLE), Verdict.VERIFIED),
        (skipped("acme.model", "not-reached"), Verdict.VERIFIED),
        (warned("acme.model", "debug-allowed"), Verdict.WARNING),
        (failed("acme.model", "debug-on"), Verdict.REJECTED),
        (Check("acme.model", Status.ERROR, "debug-on"), Verdict.REJECTED),
        (skipped("revocation", "not-reached"), Verdict.INCOMPLETE),
    ],
)
def test_what_the_platform_says_counts(stub: _Stub, check: Check, verdict: Verdict) -> None:
    stub.judged = [check]
    assert _run().verdict is verdict


def test_a_required_check_that_nobody_made(stub: _Stub) -> None:
    stub.checks = [passed("acme.signature")]
    assert _run().verdict is Verdict.INCOMPLETE
    assert _run(unsafe_waive=_EVERYTHING).verdict is Verdict.INCOMPLETE


def test_releases(stub: _Stub) -> None:
    del stub
    assert _run(releases=()).verdict is Verdict.INCOMPLETE
    other = _release(_RELEASE.replace("c0dec0de", "00000000").replace("worm-1", "worm-0"))
    result = _run(releases=(other,))
    assert result.verdict is Verdict.REJECTED
    assert result.release is None
    assert _run(releases=(other, _release())).release == "worm-1"


def test_isolated_releases(stub: _Stub) -> None:
    del stub
    isolated = _release(f'profile = "isolated"\n{_RELEASE}')
    result = _run(releases=(isolated,))
    assert (result.verdict, _status(result, "isolated")) == (Verdict.VERIFIED, Status.PASS)
    assert "isolated" not in [check.id for check in _run().checks]
    assert _run(releases=(isolated,), require_isolated=True).verdict is Verdict.VERIFIED
    refused = _run(require_isolated=True)
    assert (refused.verdict, _status(refused, "isolated")) == (Verdict.REJECTED, Status.FAIL)
    # Whoever gives up that a release matches has not given up that one is isolated.
    unknown = _run(releases=(), require_isolated=True, unsafe_waive=("executables",))
    assert (unknown.verdict, _status(unknown, "isolated")) == (Verdict.INCOMPLETE, Status.SKIPPED)


# ── (5) Binding ──────────────────────────────────────────────────────────────────────────────────────


def test_bindings(stub: _Stub) -> None:
    assert _run(binding=None).verdict is Verdict.INCOMPLETE
    other = _run(binding=Binding.nonce(bytes(32)))
    assert other.verdict is Verdict.REJECTED
    assert _status(other, "freshness") is Status.SKIPPED
    key = Binding.response_key(key=b"key", not_after=NOW)
    stub.committed = Committed(key.digest or b"")
    stale = _run(binding=key)
    assert stale.verdict is Verdict.INCOMPLETE
    assert (_status(stale, "binding"), _status(stale, "freshness")) == (Status.PASS, Status.SKIPPED)


def test_a_release_that_lets_others_choose(stub: _Stub) -> None:
    open_release = _release(f"raw_report_data = true\n{_RELEASE}")
    raw = Binding.raw(report_data=stub.committed.data, contains_nonce=True)
    assert _run(binding=raw).verdict is Verdict.REJECTED
    result = _run(binding=raw, releases=(open_release,))
    assert result.verdict is Verdict.VERIFIED
    # Every other binding of such a release is worth less, and says so.
    result = _run(releases=(open_release,))
    assert result.verdict is Verdict.WARNING
    assert (_status(result, "binding"), _status(result, "freshness")) == (Status.WARN, Status.PASS)
    # A release that is there and does not match declares nothing.
    closed = _release(_RELEASE.replace("c0dec0de", "00000000"))
    other = _release(
        f"raw_report_data = true\n{_RELEASE}".replace("c0dec0de", "00000000").replace("-1", "-2")
    )
    assert _run(binding=raw, releases=(closed, other)).verdict is Verdict.REJECTED
    assert _run(binding=raw, releases=(_release(), other)).verdict is Verdict.REJECTED


# ── (6) Freshness ────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("age", "limit", "reason", "verdict"),
    [
        (0, 300, "evidence-young", Verdict.VERIFIED),
        (300, 300, "evidence-young", Verdict.VERIFIED),
        (301, 300, "evidence-too-old", Verdict.REJECTED),
        (-60, 300, "evidence-young", Verdict.VERIFIED),
        (-61, 300, "evidence-from-the-future", Verdict.REJECTED),
        (0, None, "freshness-unknown", Verdict.INCOMPLETE),
        (None, 300, "freshness-unknown", Verdict.INCOMPLETE),
    ],
)
def test_age(stub: _Stub, age: int | None, limit: int | None, reason: str, verdict: Verdict) -> None:
    key = Binding.app_data(b"data")
    stub.committed = Committed(key.digest or b"")
    stub.issued_at = None if age is None else NOW - age
    result = _run(binding=key, max_age=limit)
    assert result.verdict is verdict
    check = result.check("freshness")
    assert check is not None
    assert check.reason == reason
    # Without a binding the age is still known, and does not make up for it.
    loose = _run(binding=None, max_age=limit)
    assert loose.verdict in (Verdict.INCOMPLETE, Verdict.REJECTED)
    assert loose.check("freshness") == check


def test_a_nonce_beats_any_age(stub: _Stub) -> None:
    for age in (-10_000, 10_000):
        stub.issued_at = NOW - age
        result = _run(max_age=300)
        assert result.verdict is Verdict.VERIFIED
        assert result.checks[-1].reason == "fresh-nonce"
    # Somebody else's nonce does not.
    assert _status(_run(binding=Binding.nonce(NONCE[::-1]), max_age=300), "freshness") is Status.FAIL


# ── (7) Sources ──────────────────────────────────────────────────────────────────────────────────────


class _Source:
    """Somebody who is asked as well."""

    required: tuple[str, ...] = ()

    def __init__(self, *checks: Check, required: tuple[str, ...] = ()) -> None:
        self.required = required
        self.asked: list[tuple[str, str | None, int]] = []
        self._checks = checks

    def checks(self, claims: Claims, release: Release | None, *, at: int) -> Iterable[Check]:
        self.asked.append((claims.platform, release.id if release else None, at))
        return iter(self._checks)


@pytest.mark.parametrize(
    ("checks", "required", "verdict"),
    [
        ((passed("acme.log"),), ("acme.log",), Verdict.VERIFIED),
        ((), (), Verdict.VERIFIED),
        ((), ("acme.log",), Verdict.INCOMPLETE),
        ((skipped("acme.log", "not-reached"),), ("acme.log",), Verdict.INCOMPLETE),
        ((skipped("acme.log", "not-reached"),), (), Verdict.VERIFIED),
        ((warned("acme.log", "debug-allowed"),), (), Verdict.WARNING),
        ((failed("acme.log", "debug-on"),), (), Verdict.REJECTED),
        ((passed("acme.log"), failed("acme.log", "debug-on")), ("acme.log",), Verdict.REJECTED),
    ],
)
def test_sources(stub: _Stub, checks: Sequence[Check], required: tuple[str, ...], verdict: Verdict) -> None:
    del stub
    source, other = (
        _Source(*checks, required=required),
        _Source(passed("acme.other"), required=("acme.other",)),
    )
    for sources in ([source], [source, other], [other, source]):
        result = _run(sources=sources)
        assert result.verdict is verdict
    assert source.asked == [("acme", "worm-1", NOW)] * 3
    assert _run(sources=[other, source], releases=()).verdict is not Verdict.VERIFIED
    assert source.asked[-1] == ("acme", None, NOW)


def test_a_source_cannot_make_up_for_a_platform(stub: _Stub) -> None:
    stub.checks = [passed("acme.signature"), skipped("revocation", "endorsement-missing", role="crl")]
    generous = _Source(passed("revocation"), passed("binding"), passed("freshness"), passed("executables"))
    assert _run(sources=[generous]).verdict is Verdict.INCOMPLETE
    assert _run(sources=[generous], binding=None, releases=()).verdict is Verdict.INCOMPLETE


def test_sources_are_not_asked_about_what_did_not_hold(stub: _Stub) -> None:
    source = _Source(failed("acme.log", "debug-on"), required=("acme.log",))
    assert _run(b"junk", sources=[source]).verdict is Verdict.REJECTED
    stub.error = VerificationError("signature-invalid", check="acme.signature", what="x")
    assert _run(sources=[source]).verdict is Verdict.REJECTED
    assert source.asked == []


# ── (8) Waivers ──────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("waiver", _EVERYTHING)
def test_each_waiver_gives_up_what_its_name_says(stub: _Stub, waiver: str) -> None:
    assert set(WAIVABLE) == set(_EVERYTHING)
    for check, status in product((*_EVERYTHING, "acme.signature", "acme.log", "debug"), Status):
        stub.checks = [passed("acme.signature"), passed("revocation"), passed("currency")]
        stub.judged = [Check(check, status, "debug-on" if status is not Status.PASS else "")]
        plain = _run()
        result = _run(unsafe_waive=(waiver,))
        waived = check == waiver and status in WAIVABLE[waiver]
        if not waived:
            assert result == plain
            continue
        assert result.verdict is Verdict.WARNING
        (found,) = [made for made in result.checks if made.status is Status.WAIVED]
        assert found.id == waiver
        assert explain(found).startswith("waived by the policy; it was: debug is on")


def test_waivers_of_recorded_evidence(stub: _Stub) -> None:
    stub.checks = [*stub.checks[:2], failed("currency", "expired", what="x", begins=0, ends=1, at=2)]
    result = _run(binding=None, releases=(), unsafe_waive=("binding", "currency", "executables", "freshness"))
    assert result.verdict is Verdict.WARNING
    assert {check.id for check in result.problems()} == {"binding", "currency", "executables", "freshness"}
    for missing in ("binding", "currency", "executables", "freshness"):
        rest = tuple(name for name in ("binding", "currency", "executables", "freshness") if name != missing)
        assert _run(binding=None, releases=(), unsafe_waive=rest).verdict in (
            Verdict.INCOMPLETE,
            Verdict.REJECTED,
        )


def test_what_contradicts_is_never_waived(stub: _Stub) -> None:
    del stub
    assert _run(binding=Binding.nonce(bytes(32)), unsafe_waive=_EVERYTHING).verdict is Verdict.REJECTED
    other = _release(_RELEASE.replace("c0dec0de", "00000000"))
    assert _run(releases=(other,), unsafe_waive=_EVERYTHING).verdict is Verdict.REJECTED
    assert _run(_Evidence(b""), platforms=("tdx",), unsafe_waive=_EVERYTHING).verdict is Verdict.REJECTED


# ── Accepting ────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("accepted", [Verdict.VERIFIED, Verdict.WARNING])
@pytest.mark.parametrize("verdict", list(Verdict))
def test_accept(stub: _Stub, verdict: Verdict, accepted: Verdict) -> None:
    del stub
    result = msgspec.structs.replace(_run(binding=None), verdict=verdict)
    chosen = _policy(accept=accepted)
    if verdict is Verdict.VERIFIED or (verdict is Verdict.WARNING and accepted is Verdict.WARNING):
        assert accept(result, chosen) is result
        return
    with pytest.raises(AppraisalError) as caught:
        accept(result, chosen)
    assert caught.value.result is result
    assert str(caught.value) == (
        f"the verdict is {verdict}, the policy accepts {accepted}; see binding, freshness"
    )


# ── A whole story ────────────────────────────────────────────────────────────────────────────────────


def test_a_story_in_words() -> None:
    story = judge(World(tee="sgx", version=3)).explain()
    assert story["evidence"] == "the bytes are well-formed evidence"
    assert story["dcap.tcb-status"] == "the platform is UpToDate"
    assert story["executables"] == "every stated register equals the release release"
    assert story["binding"] == "the evidence commits to the expected evidence digest"
    assert story["freshness"] == "the evidence commits to the nonce that was sent"
    forged = judge(World(tee="sgx", version=3, signers={"quote": "forger"})).explain()
    assert forged["dcap.quote-signature"] == "the signature of the quote does not hold"
    assert forged["binding"] == "not checked, since an earlier check failed"
