# SPDX-License-Identifier: Apache-2.0
"""A Verifier says what ``appraise`` says, faster, and asks the network no more than it has to."""

import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from nacre import platforms
from nacre.appraisal.appraise import appraise
from nacre.appraisal.policy import Policy
from nacre.appraisal.result import Result
from nacre.appraisal.verdict import Verdict
from nacre.checks import Check, Status, failed
from nacre.endorsers import defaults, verifier
from nacre.endorsers.cache import Cache
from nacre.endorsers.collector import Collector
from nacre.endorsers.endorser import FixedEndorser, RememberingEndorser
from nacre.endorsers.fetch import HttpFetcher
from nacre.endorsers.pcs import Pcs
from nacre.endorsers.rollback import Guard
from nacre.endorsers.verifier import UNAVAILABLE, Verifier, system_clock
from nacre.errors import (
    AppraisalError,
    EndorsementsUnavailable,
    MalformedEvidence,
    UnsupportedEvidence,
    VerificationError,
)
from nacre.platforms.base import Claims, Endorsements, Evidence, Platform
from nacre.trust.anchors import Origin
from nacre.trust.memo import Memo

if TYPE_CHECKING:
    from tests.endorsers.conftest import Case, Server

    from nacre.appraisal.release import Release

LENIENT = """
id = "lenient"
accept = "WARNING"
platforms = ["tdx", "nitro"]
unsafe_waive = ["freshness", "binding", "executables"]
[tdx]
accept_tcb_status = ["UpToDate", "TDRelaunchAdvised"]
accept_advisories = ["INTEL-SA-01036", "INTEL-SA-01099"]
"""


class Down:
    """An endorser that cannot be reached."""

    def __init__(self) -> None:
        self.asked = 0

    def endorsements(self, platform: Platform, evidence: Evidence, *, at: int) -> Endorsements:
        del platform, evidence, at
        self.asked += 1
        raise EndorsementsUnavailable("endorser-unreachable", host="endorser.example", actual="gone")


class DownRemembering(Down):
    def held(self, platform: Platform, evidence: Evidence, *, at: int) -> Endorsements | None:
        del platform, evidence, at
        return None

    def proved(self, platform: str, endorsements: Endorsements, *, origin: object) -> None:
        raise AssertionError(platform, endorsements, origin)

    def doubted(self, platform: Platform, evidence: Evidence, endorsements: Endorsements) -> None:
        raise AssertionError(platform, evidence, endorsements)


class Proud(Down):
    """An endorser that holds documents and likes to hear that they are genuine."""

    def __init__(self, given: Endorsements) -> None:
        super().__init__()
        self.given = given
        self.told: list[tuple[str, Origin]] = []

    def held(self, platform: Platform, evidence: Evidence, *, at: int) -> Endorsements | None:
        del platform, evidence, at
        return self.given

    def proved(self, platform: str, endorsements: Endorsements, *, origin: Origin) -> None:
        assert endorsements is self.given
        self.told.append((platform, origin))

    def doubted(self, platform: Platform, evidence: Evidence, endorsements: Endorsements) -> None:
        raise AssertionError(platform, evidence, endorsements)


@pytest.fixture(scope="module")
def lenient() -> Policy:
    return Policy.parse(LENIENT)


@pytest.fixture
def collector(server: "Server", fetcher: HttpFetcher, tmp_path: Path, relaunch: "Case") -> Collector:
    server.serve(relaunch)
    return Collector(
        pcs=Pcs(base=server.url, fetcher=fetcher),
        cache=Cache(tmp_path),
        guard=Guard(tmp_path),
        clock=lambda: relaunch.at,
    )


def _told(result: Result) -> tuple[object, ...]:
    return (
        result.verdict,
        result.explain(),
        [check.status for check in result.checks],
        result.at,
        result.origin,
    )


def test_it_adds_nothing(relaunch: "Case", lenient: Policy, collector: Collector) -> None:
    bare = appraise(relaunch.evidence, policy=lenient, endorsements=relaunch.endorsements, at=relaunch.at)
    assert bare.verdict is Verdict.WARNING, bare.explain()
    for given in (relaunch.endorsements, FixedEndorser(relaunch.endorsements), collector):
        for threads in (None, 2):
            with Verifier(lenient, endorsements=given, clock=lambda: relaunch.at, threads=threads) as made:
                assert _told(made.appraise(relaunch.evidence)) == _told(bare)
                assert _told(made.appraise(relaunch.evidence)) == _told(bare)
                assert _told(made.verify(relaunch.evidence)) == _told(bare)
                assert made.policy is lenient


def test_time_and_endorsements_of_the_call_come_first(
    relaunch: "Case", uptodate: "Case", lenient: Policy
) -> None:
    made = Verifier(lenient, endorsements=uptodate.endorsements, clock=lambda: relaunch.at + 86400 * 365)
    assert made.appraise(relaunch.evidence).verdict is Verdict.REJECTED
    assert made.appraise(relaunch.evidence, at=uptodate.at).verdict is Verdict.WARNING
    result = made.verify(relaunch.evidence, endorsements=relaunch.endorsements, at=relaunch.at)
    status = result.check("dcap.tcb-status")
    assert status is not None
    assert status.context["status"] == "TDRelaunchAdvised"


def test_a_memo_can_be_brought(relaunch: "Case", lenient: Policy) -> None:
    memo = Memo()
    Verifier(lenient, endorsements=relaunch.endorsements, memo=memo).verify(relaunch.evidence, at=relaunch.at)
    assert len(memo)


def test_errors_are_told_apart(
    relaunch: "Case", lenient: Policy, policy: Policy, collector: Collector
) -> None:
    given: list[Endorsements | Collector] = [relaunch.endorsements, collector]
    flipped = bytearray(relaunch.evidence)
    flipped[100] ^= 1
    for endorsements in given:
        made = Verifier(lenient, endorsements=endorsements, clock=lambda: relaunch.at)
        for evidence, error in (
            (bytes(flipped), VerificationError),
            (relaunch.evidence[:700], MalformedEvidence),
            (b"\x09\x00" + relaunch.evidence[2:], UnsupportedEvidence),
            (b"", UnsupportedEvidence),
        ):
            with pytest.raises(error):
                made.verify(evidence)
            result = made.appraise(evidence)
            assert result.verdict is Verdict.REJECTED
            assert isinstance(result.error, error)
        with pytest.raises(AppraisalError) as caught:
            Verifier(policy, endorsements=endorsements, clock=lambda: relaunch.at).verify(relaunch.evidence)
        assert caught.value.result.verdict is Verdict.REJECTED


# ── Endorsers that cannot serve ──


@pytest.mark.parametrize("endorser", [Down, DownRemembering])
def test_without_endorsements_the_verdict_is_incomplete(
    relaunch: "Case", lenient: Policy, endorser: Callable[[], Down]
) -> None:
    made = Verifier(lenient, endorsements=endorser(), clock=lambda: relaunch.at)
    result = made.appraise(relaunch.evidence)
    assert result.verdict is Verdict.INCOMPLETE
    check = result.check(UNAVAILABLE)
    assert check is not None
    assert (check.status, check.reason) == (Status.SKIPPED, "endorser-unreachable")
    assert "endorser.example cannot be reached" in result.explain()[UNAVAILABLE]
    with pytest.raises(EndorsementsUnavailable) as caught:
        made.verify(relaunch.evidence)
    assert caught.value.code == "endorser-unreachable"


def test_what_is_refused_anyway_is_refused(relaunch: "Case") -> None:
    nitro_only = Policy.parse('id = "n"\nplatforms = ["nitro"]\n')
    with pytest.raises(AppraisalError):
        Verifier(nitro_only, endorsements=Down(), clock=lambda: relaunch.at).verify(relaunch.evidence)


def test_forged_evidence_sets_no_request_in_motion(
    relaunch: "Case", lenient: Policy, collector: Collector, server: "Server"
) -> None:
    flipped = bytearray(relaunch.evidence)
    flipped[100] ^= 1
    made = Verifier(lenient, endorsements=collector, clock=lambda: relaunch.at)
    assert made.appraise(bytes(flipped)).verdict is Verdict.REJECTED
    assert server.requests == []
    made.verify(relaunch.evidence)
    assert len(server.requests) == 4
    assert made.appraise(bytes(flipped)).verdict is Verdict.REJECTED
    assert len(server.requests) == 4


def test_evidence_whose_needs_cannot_be_told(
    case: Callable[[str], "Case"], lenient: Policy, collector: Collector
) -> None:
    made = Verifier(lenient, endorsements=collector)
    leaf_only = case("tdx/derived-pck-chain-leaf-only-v4-f1c8")
    assert made.appraise(leaf_only.evidence, at=leaf_only.at).verdict is Verdict.REJECTED
    with pytest.raises((VerificationError, MalformedEvidence)):
        made.verify(leaf_only.evidence, at=leaf_only.at)


def test_evidence_that_needs_no_endorsements(vectors: Path, lenient: Policy) -> None:
    folder = next(folder for folder in sorted((vectors / "nitro").iterdir()) if folder.is_dir())
    evidence = (folder / "evidence.cbor").read_bytes()
    asked = Proud(Endorsements({}))
    result = Verifier(lenient, endorsements=asked).appraise(evidence)
    assert (result.platform, asked.asked) == ("nitro", 0)


# ── The rollback guard is told what proved genuine ──


def test_genuine_documents_are_remembered(  # noqa: PLR0917 (pytest calls it)
    relaunch: "Case",
    uptodate: "Case",
    lenient: Policy,
    collector: Collector,
    server: "Server",
    tmp_path: Path,
) -> None:
    assert isinstance(collector, RememberingEndorser)
    made = Verifier(lenient, endorsements=collector, clock=lambda: relaunch.at)
    made.verify(relaunch.evidence)
    assert {mark.number for mark in Guard(tmp_path).marks().values()} == {18}
    # Yesterday's documents are validly signed, inside their dates, and would say UpToDate.
    server.serve(uptodate)
    for file in (tmp_path / "endorsements").glob("*.entry"):
        file.unlink()
    fresh = Collector(
        pcs=collector._pcs, cache=Cache(tmp_path), guard=Guard(tmp_path), clock=lambda: relaunch.at
    )
    Verifier(lenient, endorsements=uptodate.endorsements).verify(relaunch.evidence, at=relaunch.at)
    with pytest.raises(EndorsementsUnavailable) as caught:
        Verifier(lenient, endorsements=fresh).verify(relaunch.evidence, at=relaunch.at)
    assert caught.value.code == "tcb-evaluation-rollback"


def test_forged_documents_are_not(
    relaunch: "Case", lenient: Policy, collector: Collector, server: "Server", tmp_path: Path
) -> None:
    forged = relaunch.documents["tcb_info"].replace(b'DataNumber":18', b'DataNumber":99')
    server.serve(relaunch._replace(documents={**relaunch.documents, "tcb_info": forged}))
    made = Verifier(lenient, endorsements=collector, clock=lambda: relaunch.at)
    with pytest.raises(VerificationError):
        made.verify(relaunch.evidence)
    assert Guard(tmp_path).marks() == {}


def test_it_tells_once_and_forgets(
    relaunch: "Case", lenient: Policy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verifier, "_MAX_PROVED", 2)
    proud = Proud(relaunch.endorsements)
    made = Verifier(lenient, endorsements=proud, clock=lambda: relaunch.at)
    for count in (1, 2, 3):
        proud.given = Endorsements(relaunch.documents)
        made.verify(relaunch.evidence)
        made.verify(relaunch.evidence)
        assert proud.told == [("tdx", Origin.GENUINE)] * count
    assert len(made._proved) <= 2


# ── Further sources ──


class Picky:
    """A source that always has something against it."""

    required: tuple[str, ...] = ("picky",)

    def checks(self, claims: Claims, release: "Release | None", *, at: int) -> Iterable[Check]:
        del claims, release, at
        return (failed("picky", "not-reached"),)


def test_sources_are_asked(relaunch: "Case", lenient: Policy, collector: Collector) -> None:
    given: list[Endorsements | Collector] = [relaunch.endorsements, collector]
    for endorsements in given:
        made = Verifier(lenient, endorsements=endorsements, clock=lambda: relaunch.at, sources=[Picky()])
        assert made.appraise(relaunch.evidence).verdict is Verdict.REJECTED


# ── Threads ──


def test_threads_share_one(relaunch: "Case", lenient: Policy, collector: Collector, server: "Server") -> None:
    made = Verifier(lenient, endorsements=collector, clock=lambda: relaunch.at, threads=2)
    verdicts: list[Verdict] = []
    flipped = bytes([*relaunch.evidence[:100], relaunch.evidence[100] ^ 1, *relaunch.evidence[101:]])

    def work(evidence: bytes) -> None:
        verdicts.extend(made.appraise(evidence).verdict for _ in range(20))

    threads = [threading.Thread(target=work, args=(e,)) for e in (relaunch.evidence, flipped) * 4]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    made.close()
    assert (verdicts.count(Verdict.WARNING), verdicts.count(Verdict.REJECTED)) == (80, 80)
    assert len(server.requests) == 4


def _started(pool: verifier._Threads) -> bool:
    return pool._executor is not None


def test_the_pool_is_made_when_it_is_used(relaunch: "Case", lenient: Policy) -> None:
    made = Verifier(lenient, endorsements=relaunch.endorsements, clock=lambda: relaunch.at, threads=2)
    pool = made._pool
    assert pool is not None
    assert not _started(pool)
    made.verify(relaunch.evidence)
    assert _started(pool)
    made.close()
    made.close()
    fresh = Verifier(lenient, endorsements=relaunch.endorsements, clock=lambda: relaunch.at, threads=2)
    fresh.close()
    fresh.verify(relaunch.evidence)
    Verifier(lenient, threads=1).close()


def test_a_pool_closed_in_this_very_moment() -> None:
    pool = verifier._Threads(1)
    assert pool(lambda: 1).result() == 1
    assert pool._executor is not None
    pool._executor.shutdown()
    assert pool(lambda: 2).result() == 2


# ── Defaults ──


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, server: "Server") -> Iterable[None]:
    monkeypatch.setenv("NACRE_CACHE_DIR", str(tmp_path))
    monkeypatch.setenv("NACRE_PCS_URL", server.url)
    defaults.shared_endorser.cache_clear()
    yield
    defaults.shared_endorser.cache_clear()


@pytest.mark.usefixtures("environment")
def test_the_default_is_fetched_and_cached(
    relaunch: "Case", lenient: Policy, server: "Server", tmp_path: Path
) -> None:
    server.serve(relaunch)
    with pytest.raises(EndorsementsUnavailable, match="not in the cache"):
        Verifier(lenient, offline=True, clock=lambda: relaunch.at).verify(relaunch.evidence)
    Verifier(lenient, clock=lambda: relaunch.at).verify(relaunch.evidence)
    Verifier(lenient, clock=lambda: relaunch.at).verify(relaunch.evidence)
    assert len(server.requests) == 4
    assert (tmp_path / "rollback" / "rollback.state").exists()
    tdx = platforms.get("tdx")
    defaults.default_endorser(refresh=0).endorsements(tdx, tdx.parse(relaunch.evidence), at=relaunch.at)
    assert len(server.requests) == 8
    defaults.shared_endorser.cache_clear()
    Verifier(lenient, offline=True, clock=lambda: relaunch.at).verify(relaunch.evidence)
    assert len(server.requests) == 8


def test_the_clock_is_the_systems() -> None:
    assert abs(system_clock() - time.time()) < 5
