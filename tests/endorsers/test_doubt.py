# SPDX-License-Identifier: Apache-2.0
"""One document that is not genuine does no harm for longer than it is served."""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from nacre import platforms
from nacre.appraisal.policy import Policy
from nacre.appraisal.result import Result
from nacre.appraisal.verdict import Verdict
from nacre.endorsers.cache import Cache
from nacre.endorsers.collector import REFRESH, Collector
from nacre.endorsers.fetch import HttpFetcher
from nacre.endorsers.pcs import Pcs
from nacre.endorsers.rollback import Guard
from nacre.endorsers.verifier import Verifier

if TYPE_CHECKING:
    from tests.endorsers.conftest import Case, Clock, Notices, Server

PAUSE = 60
TDX = platforms.get("tdx")
TCB = "/tdx/certification/v4/tcb?fmspc=90c06f000000"
IDENTITY = "/tdx/certification/v4/qe/identity"

POLICY = """
id = "lenient"
accept = "WARNING"
platforms = ["tdx"]
unsafe_waive = ["freshness", "binding", "executables"]
[tdx]
accept_tcb_status = ["UpToDate", "TDRelaunchAdvised", "OutOfDate"]
accept_advisories = ["INTEL-SA-01036", "INTEL-SA-01099"]
"""


class Site:
    """A server, a folder, a clock, and verifiers of one policy that use them."""

    def __init__(
        self, server: "Server", fetcher: HttpFetcher, folder: Path, clock: "Clock", notices: "Notices"
    ) -> None:
        self.server, self.fetcher, self.folder = server, fetcher, folder
        self.clock, self.notices = clock, notices
        self.policy = Policy.parse(POLICY)

    def collector(self, *, folder: bool = True, offline: bool = False, refresh: int = REFRESH) -> Collector:
        """Make what a new process would have."""
        return Collector(
            pcs=Pcs(base=self.server.url, fetcher=self.fetcher),
            cache=Cache(self.folder if folder else None, notice=self.notices),
            guard=Guard(self.folder, notice=self.notices),
            clock=self.clock,
            refresh=refresh,
            offline=offline,
            notice=self.notices,
        )

    def verifier(self, collector: Collector | None = None, policy: Policy | None = None) -> Verifier:
        return Verifier(policy or self.policy, endorsements=collector or self.collector(), clock=self.clock)

    def stocked(self, path: str) -> list[bytes]:
        """What a new process finds on disk."""
        return [version.document for version in Cache(self.folder).versions(self.server.url + path)]

    @property
    def asked(self) -> int:
        return len(self.server.requests)

    def break_down(self) -> None:
        self.server.behaviours.clear()
        self.server.otherwise = lambda handler: handler.answer(b"", status=500)


@pytest.fixture
def clock(make_clock: "Callable[[int], Clock]", relaunch: "Case") -> "Clock":
    return make_clock(relaunch.at)


@pytest.fixture
def site(  # noqa: PLR0917 (pytest calls it)
    server: "Server",
    fetcher: HttpFetcher,
    tmp_path: Path,
    clock: "Clock",
    notices: "Notices",
    relaunch: "Case",
) -> Site:
    server.serve(relaunch)
    return Site(server, fetcher, tmp_path / "cache", clock, notices)


def _with(case: "Case", **documents: bytes) -> "Case":
    return case._replace(documents={**case.documents, **documents})


def _flipped(document: bytes) -> bytes:
    """Change the last digit of a signature: JSON and dates stay what they are."""
    at = document.rindex(b'"') - 1
    return document[:at] + (b"1" if document[at : at + 1] != b"1" else b"2") + document[at + 1 :]


def _poisoned(case: "Case") -> "Case":
    return _with(case, tcb_info=_flipped(case.documents["tcb_info"]))


def _refused(result: Result, check: str, reason: str = "signature-invalid") -> bool:
    found = result.check(check)
    return result.verdict is Verdict.REJECTED and found is not None and found.reason == reason


# ── The server lies, then recovers ──


@pytest.mark.parametrize("folder", [True, False])
def test_after_a_lie_the_server_is_asked_again(site: Site, relaunch: "Case", *, folder: bool) -> None:
    site.server.serve(_poisoned(relaunch))
    made = site.verifier(site.collector(folder=folder))
    assert _refused(made.appraise(relaunch.evidence), "dcap.tcb-info")
    assert site.asked == 4
    site.server.serve(relaunch)
    site.clock.now += PAUSE - 1
    assert _refused(made.appraise(relaunch.evidence), "dcap.tcb-info")
    assert site.asked == 4
    site.clock.now += 1
    assert made.verify(relaunch.evidence).verdict is Verdict.WARNING
    assert site.asked == 8
    made.verify(relaunch.evidence)
    assert site.asked == 8


def _truncated(case: "Case") -> "Case":
    chain = case.documents["tcb_info_issuer_chain"]
    return _with(case, tcb_info_issuer_chain=chain[chain.index(b"-----BEGIN", 1) :])


def _other_signer(case: "Case") -> "Case":
    return _with(case, tcb_info_issuer_chain=case.documents["pck_crl_issuer_chain"])


def _other_list(case: "Case") -> "Case":
    return _with(case, pck_crl=case.documents["root_ca_crl"])


def _bad_identity(case: "Case") -> "Case":
    return _with(case, qe_identity=_flipped(case.documents["qe_identity"]))


def _misshapen(case: "Case") -> "Case":
    return _with(case, tcb_info=case.documents["tcb_info"].replace(b'"tcbType":0', b'"tcbType":7'))


@pytest.mark.parametrize(
    ("lie", "check", "reason"),
    [
        (_bad_identity, "dcap.qe-identity", "signature-invalid"),
        (_misshapen, "dcap.tcb-info", "json-shape"),
        (_other_list, "revocation", "crl-issuer-mismatch"),
        (_other_signer, "dcap.tcb-info", "wrong-role"),
        (_truncated, "dcap.tcb-info", "chain-length"),
    ],
)
def test_any_document_any_lie(
    site: Site, relaunch: "Case", lie: "Callable[[Case], Case]", check: str, reason: str
) -> None:
    site.verifier().verify(relaunch.evidence)  # so that every single document of the lie proved genuine
    site.clock.now += REFRESH
    collector = site.collector()
    made = site.verifier(collector)
    site.server.serve(lie(relaunch))
    assert _refused(made.appraise(relaunch.evidence), check, reason)
    assert made.verify(relaunch.evidence).verdict is Verdict.WARNING  # by the older version, at once
    site.server.serve(relaunch)
    site.clock.now += PAUSE
    assert made.verify(relaunch.evidence).verdict is Verdict.WARNING
    assert collector._stock._doubted == {}


def test_a_new_process_recovers_from_what_is_on_disk(site: Site, relaunch: "Case") -> None:
    site.server.serve(_poisoned(relaunch))
    site.collector().endorsements(TDX, TDX.parse(relaunch.evidence), at=relaunch.at)
    assert site.asked == 4
    site.server.serve(relaunch)
    site.clock.now += 3600
    made = site.verifier()
    assert _refused(made.appraise(relaunch.evidence), "dcap.tcb-info")
    assert site.asked == 4
    assert site.stocked(TCB) == []
    assert made.verify(relaunch.evidence).verdict is Verdict.WARNING  # nobody was asked in this minute
    assert site.stocked(TCB) == [relaunch.documents["tcb_info"]]
    site.verifier().verify(relaunch.evidence)
    assert site.asked == 8


def test_a_process_that_doubts_spares_the_next_one_the_trouble(site: Site, relaunch: "Case") -> None:
    site.server.serve(_poisoned(relaunch))
    assert _refused(site.verifier().appraise(relaunch.evidence), "dcap.tcb-info")
    site.server.serve(relaunch)
    assert site.verifier().verify(relaunch.evidence).verdict is Verdict.WARNING


# ── The server goes on lying ──


def test_a_liar_is_asked_once_in_a_while(site: Site, relaunch: "Case") -> None:
    site.server.serve(_poisoned(relaunch))
    made = site.verifier()
    for round_ in (1, 2, 3):
        for _ in range(PAUSE):
            assert _refused(made.appraise(relaunch.evidence), "dcap.tcb-info")
            site.clock.now += 1
        assert site.server.requests.count(TCB) == round_
    assert site.asked == 12


def test_older_versions_serve_meanwhile(site: Site, relaunch: "Case", uptodate: "Case") -> None:
    site.server.serve(uptodate)
    site.clock.now = uptodate.at
    made = site.verifier()
    made.verify(relaunch.evidence)
    site.server.serve(_with(uptodate, tcb_info=_flipped(relaunch.documents["tcb_info"])))
    site.clock.now += REFRESH
    at = relaunch.at
    assert _refused(made.appraise(relaunch.evidence, at=at), "dcap.tcb-info")
    assert site.stocked(TCB) == [uptodate.documents["tcb_info"]]
    for round_ in (2, 3):  # a refusal for each time it is asked, none in between
        asked = site.server.requests.count(TCB)
        assert asked == round_
        for _ in range(PAUSE):
            assert made.verify(relaunch.evidence, at=at).verdict is Verdict.WARNING
            site.clock.now += 1
        assert site.server.requests.count(TCB) == asked
        assert _refused(made.appraise(relaunch.evidence, at=at), "dcap.tcb-info")
    # What proved genuine before is neither dropped nor asked for again.
    assert site.stocked(IDENTITY) == [uptodate.documents["qe_identity"]]
    assert site.server.requests.count(IDENTITY) == 2


def test_every_lie_on_disk_is_dropped_in_turn(site: Site, relaunch: "Case") -> None:
    site.verifier().verify(relaunch.evidence)
    lies = [_with(relaunch, tcb_info=_flipped(relaunch.documents["tcb_info"]) + b"\n" * n) for n in (1, 2)]
    for lie in lies:
        site.clock.now += REFRESH
        site.server.serve(lie)
        site.collector().endorsements(TDX, TDX.parse(relaunch.evidence), at=relaunch.at)
    site.clock.now += 1
    collector = site.collector()
    made = site.verifier(collector)
    asked = site.asked
    assert _refused(made.appraise(relaunch.evidence), "dcap.tcb-info")
    assert _refused(made.appraise(relaunch.evidence), "dcap.tcb-info")  # asked anew: the same lie
    assert site.asked == asked + 4
    assert _refused(made.appraise(relaunch.evidence), "dcap.tcb-info")  # the one before
    assert made.verify(relaunch.evidence).verdict is Verdict.WARNING
    assert site.asked == asked + 4


def test_what_another_process_fetched_of_the_liar_comes_last(site: Site, relaunch: "Case") -> None:
    made = site.verifier()
    made.verify(relaunch.evidence)
    site.server.serve(_poisoned(relaunch))
    site.clock.now += REFRESH
    assert _refused(made.appraise(relaunch.evidence), "dcap.tcb-info")
    site.collector(refresh=0).endorsements(TDX, TDX.parse(relaunch.evidence), at=relaunch.at)
    assert len(site.stocked(TCB)) == 2
    assert made.verify(relaunch.evidence).verdict is Verdict.WARNING


def test_one_that_falls_silent_is_asked_as_rarely(site: Site, relaunch: "Case") -> None:
    site.server.serve(_poisoned(relaunch))
    made = site.verifier()
    assert _refused(made.appraise(relaunch.evidence), "dcap.tcb-info")
    site.break_down()
    site.clock.now += PAUSE
    assert _refused(made.appraise(relaunch.evidence), "dcap.tcb-info")  # there is nothing else
    asked = site.asked
    site.clock.now += PAUSE - 1
    site.server.serve(relaunch)
    assert _refused(made.appraise(relaunch.evidence), "dcap.tcb-info")
    assert site.asked == asked
    site.clock.now += 1
    assert made.verify(relaunch.evidence).verdict is Verdict.WARNING


def test_documents_of_another_time_are_asked_for_as_rarely(site: Site, relaunch: "Case") -> None:
    site.server.serve(_poisoned(relaunch))
    site.clock.now += 60 * 86400
    made = site.verifier()
    for _ in range(PAUSE):
        assert _refused(made.appraise(relaunch.evidence), "dcap.tcb-info")
        site.clock.now += 1
    assert site.asked == 4
    assert _refused(made.appraise(relaunch.evidence), "dcap.tcb-info")
    assert site.asked == 8


def test_who_always_asks_goes_on_asking_for_the_rest(site: Site, relaunch: "Case") -> None:
    made = site.verifier(site.collector(refresh=0))
    made.verify(relaunch.evidence)
    site.server.serve(_poisoned(relaunch))
    site.clock.now += PAUSE
    assert _refused(made.appraise(relaunch.evidence), "dcap.tcb-info")
    site.server.serve(relaunch)
    for _ in range(PAUSE):
        made.verify(relaunch.evidence)
        site.clock.now += 1
    assert site.server.requests.count(TCB) == 2
    made.verify(relaunch.evidence)
    assert site.server.requests.count(TCB) == 3
    assert site.server.requests.count(IDENTITY) == 63


def test_a_clock_that_goes_back_ends_no_pause_late(site: Site, relaunch: "Case") -> None:
    site.server.serve(_poisoned(relaunch))
    made = site.verifier()
    assert _refused(made.appraise(relaunch.evidence), "dcap.tcb-info")
    site.server.serve(relaunch)
    site.clock.now -= 3600
    assert made.verify(relaunch.evidence, at=relaunch.at).verdict is Verdict.WARNING


# ── Correct refusals leave everything as it is ──


@pytest.fixture
def synthetic(tmp_path: Path, vectors: Path) -> Callable[[str], Policy]:
    """A policy that trusts the root of one synthetic case beside Intel's."""

    def make(name: str) -> Policy:
        folder = tmp_path / name.replace("/", "-")
        folder.mkdir()
        (folder / "root.der").write_bytes((vectors / name / "root_ca.der").read_bytes())
        (folder / "policy.toml").write_text(POLICY + '[anchors.tdx]\nprivate = ["root.der"]\n')
        return Policy.load(folder / "policy.toml")

    return make


@pytest.mark.parametrize(
    ("name", "check", "reason"),
    [
        ("tdx/syn-revoked-pck", "revocation", "certificate-revoked"),
        ("tdx/syn-revoked-tcb-signing", "revocation", "certificate-revoked"),
        ("tdx/syn-qe-isvprodid-mismatch", "dcap.qe-identity", "qe-identity-mismatch"),
    ],
)
def test_genuine_documents_that_refuse_stay(  # noqa: PLR0917 (pytest calls it)
    site: Site,
    case: "Callable[[str], Case]",
    synthetic: Callable[[str], Policy],
    name: str,
    check: str,
    reason: str,
) -> None:
    given = case(name)
    site.server.serve(given)
    site.clock.now = given.at
    made = site.verifier(policy=synthetic(name))
    for _ in range(3):
        assert _refused(made.appraise(given.evidence), check, reason)
        site.clock.now += PAUSE
    assert site.asked == 4
    assert site.stocked(TCB) == [given.documents["tcb_info"]]


def test_evidence_of_another_root_takes_nothing_from_others(
    site: Site, relaunch: "Case", case: "Callable[[str], Case]", synthetic: Callable[[str], Policy]
) -> None:
    name = "tdx/syn-status-uptodate"
    stranger = case(name)
    collector = site.collector()
    made = site.verifier(collector, synthetic(name))
    # Before anything proved genuine all that is lost is one request a minute.
    for _ in range(3):
        assert _refused(made.appraise(stranger.evidence), "revocation")
    assert made.verify(relaunch.evidence).verdict is Verdict.WARNING
    assert site.asked == 4
    site.clock.now += PAUSE
    assert made.verify(relaunch.evidence).verdict is Verdict.WARNING
    assert site.asked == 8
    # Afterwards not even that.
    found = collector.held(TDX, TDX.parse(relaunch.evidence), at=relaunch.at)
    for _ in range(3):
        assert _refused(made.appraise(stranger.evidence), "revocation")
        site.clock.now += PAUSE
    assert collector.held(TDX, TDX.parse(relaunch.evidence), at=relaunch.at) is found
    assert site.asked == 8
    assert site.stocked(TCB) == [relaunch.documents["tcb_info"]]


def test_forged_evidence_drops_nothing(site: Site, relaunch: "Case") -> None:
    site.server.serve(_poisoned(relaunch))
    collector = site.collector()
    collector.endorsements(TDX, TDX.parse(relaunch.evidence), at=relaunch.at)
    flipped = bytes([*relaunch.evidence[:100], relaunch.evidence[100] ^ 1, *relaunch.evidence[101:]])
    assert _refused(site.verifier(collector).appraise(flipped), "dcap.quote-signature")
    assert len(site.stocked(TCB)) == 1


def test_a_refusal_for_other_reasons_drops_nothing(site: Site, relaunch: "Case") -> None:
    strict = Policy.parse('id = "strict"\nplatforms = ["tdx"]\n')
    made = site.verifier(policy=strict)
    assert made.appraise(relaunch.evidence).verdict is Verdict.REJECTED
    assert site.stocked(TCB) == [relaunch.documents["tcb_info"]]


def test_offline_nothing_is_dropped(site: Site, relaunch: "Case") -> None:
    site.server.serve(_poisoned(relaunch))
    site.collector().endorsements(TDX, TDX.parse(relaunch.evidence), at=relaunch.at)
    made = site.verifier(site.collector(offline=True))
    assert _refused(made.appraise(relaunch.evidence), "dcap.tcb-info")
    assert len(site.stocked(TCB)) == 1


# ── Threads, bounds ──


def test_documents_that_were_replaced_meanwhile_stay(site: Site, relaunch: "Case") -> None:
    collector = site.collector()
    evidence = TDX.parse(relaunch.evidence)
    collector.doubted(TDX, evidence, relaunch.endorsements)
    found = collector.endorsements(TDX, evidence, at=relaunch.at)
    collector.doubted(TDX, evidence, relaunch.endorsements)
    assert collector.held(TDX, evidence, at=relaunch.at) is found


def test_nobody_waits_to_doubt(site: Site, relaunch: "Case") -> None:
    collector = site.collector()
    evidence = TDX.parse(relaunch.evidence)
    found = collector.endorsements(TDX, evidence, at=relaunch.at)
    asked, answer = threading.Event(), threading.Event()
    served = site.server.behaviours[TCB]

    def slow(handler: object) -> None:
        asked.set()
        answer.wait(5)
        served(handler)  # type: ignore[arg-type]

    site.server.behaviours[TCB] = slow
    site.clock.now += REFRESH
    renewing = threading.Thread(
        target=collector.endorsements, args=(TDX, evidence), kwargs={"at": relaunch.at}
    )
    renewing.start()
    assert asked.wait(5)
    collector.doubted(TDX, evidence, found)
    assert not answer.is_set()
    answer.set()
    renewing.join()
    assert site.stocked(TCB) == [relaunch.documents["tcb_info"]]


def test_what_is_beyond_doubt_is_bounded(
    site: Site, relaunch: "Case", monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nacre.endorsers.collector._MAX_GENUINE", 1)
    collector = site.collector()
    for _ in range(3):
        site.verifier(collector).verify(relaunch.evidence)
    assert len(collector._genuine) == 4
