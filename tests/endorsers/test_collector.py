# SPDX-License-Identifier: Apache-2.0
"""Endorsements from memory, disk and network, and what happens when one of them is not what it should be."""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from nacre import platforms
from nacre.endorsers.cache import Cache
from nacre.endorsers.collector import REFRESH, Collector
from nacre.endorsers.fetch import HttpFetcher
from nacre.endorsers.pcs import Pcs
from nacre.endorsers.rollback import Guard
from nacre.errors import EndorsementsUnavailable
from nacre.platforms.base import Endorsements, Evidence
from nacre.trust.anchors import Origin

if TYPE_CHECKING:
    from tests.endorsers.conftest import Case, Clock, Notices, Server

TDX = platforms.get("tdx")
ROOT_CRL = "/sgx/certification/v4/rootcacrl"
TCB = "/tdx/certification/v4/tcb?fmspc=90c06f000000"


class Bench:
    """Collectors over one folder, one server and one clock."""

    def __init__(
        self, server: "Server", fetcher: HttpFetcher, folder: Path, clock: "Clock", notices: "Notices"
    ) -> None:
        self.server, self.fetcher, self.folder, self.clock, self.notices = (
            server,
            fetcher,
            folder,
            clock,
            notices,
        )

    def collector(
        self, *, offline: bool = False, allow: bool = False, number: int | None = None
    ) -> Collector:
        return Collector(
            pcs=Pcs(base=self.server.url, fetcher=self.fetcher, number=number),
            cache=Cache(self.folder, notice=self.notices),
            guard=Guard(self.folder, notice=self.notices, unsafe_allow_rollback=allow),
            clock=self.clock,
            offline=offline,
            notice=self.notices,
        )

    def break_down(self) -> None:
        self.server.behaviours.clear()
        self.server.otherwise = lambda handler: handler.answer(b"", status=500)


@pytest.fixture
def evidence(relaunch: "Case") -> Evidence:
    return TDX.parse(relaunch.evidence)


@pytest.fixture
def clock(make_clock: "Callable[[int], Clock]", relaunch: "Case") -> "Clock":
    return make_clock(relaunch.at)


@pytest.fixture
def bench(  # noqa: PLR0917 (pytest calls it)
    server: "Server",
    fetcher: HttpFetcher,
    tmp_path: Path,
    clock: "Clock",
    notices: "Notices",
    relaunch: "Case",
) -> Bench:
    server.serve(relaunch)
    return Bench(server, fetcher, tmp_path / "cache", clock, notices)


def _fails(collector: Collector, evidence: Evidence, at: int) -> EndorsementsUnavailable:
    with pytest.raises(EndorsementsUnavailable) as caught:
        collector.endorsements(TDX, evidence, at=at)
    return caught.value


def test_everything_is_fetched_once(bench: Bench, evidence: Evidence, relaunch: "Case") -> None:
    collector = bench.collector()
    assert collector.held(TDX, evidence, at=relaunch.at) is None
    found = collector.endorsements(TDX, evidence, at=relaunch.at)
    assert found.documents["tcb_info"] == relaunch.documents["tcb_info"]
    assert found.documents["pck_crl_issuer_chain"] == relaunch.documents["pck_crl_issuer_chain"]
    assert found.documents.keys() == relaunch.documents.keys()
    assert collector.endorsements(TDX, evidence, at=relaunch.at) is found
    assert collector.held(TDX, evidence, at=relaunch.at) is found
    again = bench.collector().endorsements(TDX, evidence, at=relaunch.at)
    assert again.documents == found.documents
    assert len(bench.server.requests) == 4
    assert bench.notices == []


def test_evidence_that_needs_none(bench: Bench) -> None:
    class Needless:
        name = "needless"

        def sources(self, evidence: object) -> tuple[()]:
            del evidence
            return ()

    collector = bench.collector()
    needless, none = Needless(), object()
    found = collector.endorsements(needless, none, at=0)  # type: ignore[arg-type]
    assert found.documents == {}
    assert collector.held(needless, none, at=0) is found  # type: ignore[arg-type]


def test_valid_documents_are_renewed_after_a_day(bench: Bench, evidence: Evidence, relaunch: "Case") -> None:
    collector = bench.collector()
    found = collector.endorsements(TDX, evidence, at=relaunch.at)
    bench.clock.now += REFRESH - 1
    assert collector.endorsements(TDX, evidence, at=bench.clock.now) is found
    bench.clock.now += 1
    assert collector.held(TDX, evidence, at=bench.clock.now) is None
    assert collector.endorsements(TDX, evidence, at=bench.clock.now) is found  # the same documents came
    assert len(bench.server.requests) == 8
    assert collector.held(TDX, evidence, at=bench.clock.now) is found


def test_newer_documents_are_used_and_older_ones_kept(
    bench: Bench, evidence: Evidence, relaunch: "Case", uptodate: "Case"
) -> None:
    bench.server.serve(uptodate)
    bench.clock.now = uptodate.at
    collector = bench.collector()
    old = collector.endorsements(TDX, evidence, at=uptodate.at)
    assert old.documents["tcb_info"] == uptodate.documents["tcb_info"]
    bench.server.serve(relaunch)
    bench.clock.now = relaunch.at
    new = collector.endorsements(TDX, evidence, at=relaunch.at)
    assert new.documents["tcb_info"] == relaunch.documents["tcb_info"]
    newest, oldest = collector.history(TDX, evidence)
    assert newest.documents == new.documents
    assert oldest.documents == old.documents
    # Judging in the past takes what was valid then, without the network.
    asked = len(bench.server.requests)
    past = collector.endorsements(TDX, evidence, at=relaunch.at - 13 * 86400)
    assert past.documents["tcb_info"] == uptodate.documents["tcb_info"]
    assert len(bench.server.requests) == asked


def test_no_history_without_every_document(bench: Bench, evidence: Evidence) -> None:
    assert bench.collector().history(TDX, evidence) == ()


def test_an_endorser_that_is_down(bench: Bench, evidence: Evidence, relaunch: "Case") -> None:
    bench.break_down()
    collector = bench.collector()
    assert _fails(collector, evidence, relaunch.at).code == "endorser-status"
    asked = len(bench.server.requests)
    assert _fails(collector, evidence, relaunch.at).code == "endorser-status"
    assert len(bench.server.requests) == asked  # not asked again at once
    bench.server.serve(relaunch)
    bench.clock.now += 15
    assert (
        collector.endorsements(TDX, evidence, at=bench.clock.now).documents.keys()
        == relaunch.documents.keys()
    )


def test_old_documents_serve_on_while_it_is_down(bench: Bench, evidence: Evidence, relaunch: "Case") -> None:
    collector = bench.collector()
    found = collector.endorsements(TDX, evidence, at=relaunch.at)
    bench.break_down()
    bench.clock.now += REFRESH
    assert collector.endorsements(TDX, evidence, at=bench.clock.now) is found
    assert bench.notices.codes == ["endorser-status"] * 4
    asked = len(bench.server.requests)
    bench.clock.now += 299
    assert collector.endorsements(TDX, evidence, at=bench.clock.now) is found
    assert len(bench.server.requests) == asked
    bench.clock.now += 1
    assert collector.endorsements(TDX, evidence, at=bench.clock.now) is found
    assert len(bench.server.requests) > asked


@pytest.mark.parametrize("path", [TCB, ROOT_CRL])
def test_only_what_is_missing_is_fetched(
    bench: Bench, evidence: Evidence, relaunch: "Case", path: str
) -> None:
    behaviour = bench.server.behaviours.pop(path)
    collector = bench.collector()
    assert _fails(collector, evidence, relaunch.at).code == "endorsement-unknown"
    bench.server.behaviours[path] = behaviour
    bench.clock.now += 15
    collector.endorsements(TDX, evidence, at=bench.clock.now)
    assert (len(bench.server.requests), bench.server.requests[-1]) == (5, path)
    assert len(collector.history(TDX, evidence)) == 1  # of the first moment a document is missing


def test_expired_documents_are_handed_over_for_judgement(
    bench: Bench, evidence: Evidence, relaunch: "Case"
) -> None:
    collector = bench.collector()
    late = relaunch.at + 60 * 86400
    bench.clock.now = late
    found = collector.endorsements(TDX, evidence, at=late)
    assert found.documents["tcb_info"] == relaunch.documents["tcb_info"]
    asked = len(bench.server.requests)
    assert asked == 4
    bench.clock.now += 59
    collector.endorsements(TDX, evidence, at=bench.clock.now)
    assert len(bench.server.requests) == asked
    bench.clock.now += 1
    collector.endorsements(TDX, evidence, at=bench.clock.now)
    assert len(bench.server.requests) > asked


def test_a_clock_that_goes_back_proves_no_age(bench: Bench, evidence: Evidence, relaunch: "Case") -> None:
    bench.collector().endorsements(TDX, evidence, at=relaunch.at)
    bench.clock.now -= 3600
    bench.collector().endorsements(TDX, evidence, at=relaunch.at)
    assert len(bench.server.requests) == 8


def test_offline_takes_what_is_there(bench: Bench, evidence: Evidence, relaunch: "Case") -> None:
    error = _fails(bench.collector(offline=True), evidence, relaunch.at)
    assert (error.code, error.context["role"]) == ("endorsement-not-cached", "tcb_info")
    bench.collector().endorsements(TDX, evidence, at=relaunch.at)
    asked = len(bench.server.requests)
    bench.clock.now += 60 * 86400
    for at in (relaunch.at, bench.clock.now):
        found = bench.collector(offline=True).endorsements(TDX, evidence, at=at)
        assert found.documents.keys() == relaunch.documents.keys()
    assert len(bench.server.requests) == asked


def test_a_damaged_cache_is_fetched_anew(bench: Bench, evidence: Evidence, relaunch: "Case") -> None:
    bench.collector().endorsements(TDX, evidence, at=relaunch.at)
    for file in (bench.folder / "endorsements").glob("*.entry"):
        file.write_bytes(b"damaged" * 10)
    found = bench.collector().endorsements(TDX, evidence, at=relaunch.at)
    assert found.documents.keys() == relaunch.documents.keys()
    assert len(bench.server.requests) == 8
    assert set(bench.notices.codes) == {"cache-corrupt"}


def test_a_cache_that_cannot_be_written(bench: Bench, evidence: Evidence, relaunch: "Case") -> None:
    bench.folder.write_text("in the way")
    collector = bench.collector()
    found = collector.endorsements(TDX, evidence, at=relaunch.at)
    assert collector.endorsements(TDX, evidence, at=relaunch.at) is found
    bench.clock.now += REFRESH
    assert collector.endorsements(TDX, evidence, at=relaunch.at) is found
    assert set(bench.notices.codes) <= {"cache-unusable", "rollback-state-unusable"}


# ── Rollback: documents of yesterday, validly signed and inside their dates ──


@pytest.fixture
def proved(bench: Bench, evidence: Evidence, relaunch: "Case") -> Collector:
    """Somebody who verified evidence with the documents of number 18; the server has gone back to 17."""
    collector = bench.collector()
    found = collector.endorsements(TDX, evidence, at=relaunch.at)
    collector.proved("tdx", found, origin=Origin.GENUINE)
    return collector


@pytest.mark.usefixtures("proved")
def test_older_documents_are_refused(
    bench: Bench, evidence: Evidence, relaunch: "Case", uptodate: "Case"
) -> None:
    bench.server.serve(uptodate)
    for file in (bench.folder / "endorsements").glob("*.entry"):
        file.unlink()
    error = _fails(bench.collector(), evidence, relaunch.at)
    assert (error.code, error.context["expected"], error.context["actual"]) == (
        "tcb-evaluation-rollback",
        18,
        17,
    )
    lenient = bench.collector(allow=True).endorsements(TDX, evidence, at=relaunch.at)
    assert lenient.documents["tcb_info"] == uptodate.documents["tcb_info"]
    assert "tcb-evaluation-rollback" in bench.notices.codes


def test_newer_documents_at_hand_are_used_instead(
    bench: Bench, proved: Collector, evidence: Evidence, relaunch: "Case", uptodate: "Case"
) -> None:
    bench.server.serve(uptodate)
    bench.clock.now += REFRESH
    found = proved.endorsements(TDX, evidence, at=bench.clock.now)
    assert found.documents["tcb_info"] == relaunch.documents["tcb_info"]
    assert bench.notices.codes == ["tcb-evaluation-rollback"] * 2


def test_the_cache_of_yesterday_is_refused_too(
    bench: Bench, evidence: Evidence, relaunch: "Case", uptodate: "Case"
) -> None:
    bench.server.serve(uptodate)
    collector = bench.collector()
    old = collector.endorsements(TDX, evidence, at=relaunch.at)
    assert old.documents["tcb_info"] == uptodate.documents["tcb_info"]
    collector.proved("tdx", relaunch.endorsements, origin=Origin.GENUINE)
    error = _fails(bench.collector(offline=True), evidence, relaunch.at)
    assert error.code == "tcb-evaluation-rollback"
    assert _fails(bench.collector(), evidence, relaunch.at).code == "tcb-evaluation-rollback"
    bench.server.serve(relaunch)
    found = bench.collector().endorsements(TDX, evidence, at=relaunch.at)
    assert found.documents["tcb_info"] == relaunch.documents["tcb_info"]


@pytest.mark.parametrize("origin", [Origin.PRIVATE, Origin.SIMULATED])
def test_only_genuine_documents_leave_marks(
    bench: Bench, evidence: Evidence, relaunch: "Case", origin: Origin
) -> None:
    collector = bench.collector()
    collector.proved("tdx", collector.endorsements(TDX, evidence, at=relaunch.at), origin=origin)
    assert Guard(bench.folder).marks() == {}


def test_what_is_merely_served_leaves_no_mark(bench: Bench, evidence: Evidence, relaunch: "Case") -> None:
    forged = relaunch.documents["tcb_info"].replace(b'DataNumber":18', b'DataNumber":99')
    bench.server.serve(relaunch._replace(documents={**relaunch.documents, "tcb_info": forged}))
    found = bench.collector().endorsements(TDX, evidence, at=relaunch.at)
    assert found.documents["tcb_info"] == forged
    assert Guard(bench.folder).marks() == {}


@pytest.mark.usefixtures("proved")
def test_a_pinned_number_is_no_rollback(
    bench: Bench, evidence: Evidence, relaunch: "Case", uptodate: "Case"
) -> None:
    server = bench.server
    server.serve(uptodate)
    server.behaviours[TCB + "&tcbEvaluationDataNumber=17"] = server.behaviours[TCB]
    identity = "/tdx/certification/v4/qe/identity"
    server.behaviours[identity + "?tcbEvaluationDataNumber=17"] = server.behaviours[identity]
    collector = bench.collector(number=17)
    found = collector.endorsements(TDX, evidence, at=relaunch.at)
    assert found.documents["tcb_info"] == uptodate.documents["tcb_info"]
    collector.proved("tdx", found, origin=Origin.GENUINE)
    assert {mark.number for mark in Guard(bench.folder).marks().values()} == {18}


# ── Threads ──


def test_threads_fetch_once(bench: Bench, evidence: Evidence, relaunch: "Case") -> None:
    collector = bench.collector()
    found: list[Endorsements] = []
    start = threading.Barrier(8)

    def work() -> None:
        start.wait()
        found.append(collector.endorsements(TDX, evidence, at=relaunch.at))

    _together([work] * 8)
    assert len(found) == 8
    assert len({id(item) for item in found}) == 1
    assert len(bench.server.requests) == 4


def test_nobody_waits_who_has_something_valid(bench: Bench, evidence: Evidence, relaunch: "Case") -> None:
    collector = bench.collector()
    found = collector.endorsements(TDX, evidence, at=relaunch.at)
    asked, answer = threading.Event(), threading.Event()
    served = bench.server.behaviours[TCB]

    def slow(handler: object) -> None:
        asked.set()
        answer.wait(5)
        served(handler)  # type: ignore[arg-type]

    bench.server.behaviours[TCB] = slow
    bench.clock.now += REFRESH
    renewing = threading.Thread(
        target=collector.endorsements, args=(TDX, evidence), kwargs={"at": relaunch.at}
    )
    renewing.start()
    assert asked.wait(5)
    assert collector.endorsements(TDX, evidence, at=relaunch.at) is found
    answer.set()
    renewing.join()


def _together(work: list[Callable[[], None]]) -> None:
    threads = [threading.Thread(target=item) for item in work]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def test_memory_is_bounded(
    bench: Bench, evidence: Evidence, relaunch: "Case", monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nacre.endorsers.collector._MAX_HELD", 1)
    collector = bench.collector()
    sources = TDX.sources(evidence)

    class Fewer:
        name = "tdx"

        def __init__(self, count: int) -> None:
            self._count = count

        def sources(self, evidence: object) -> object:
            del evidence
            return sources[: self._count]

    for count in (1, 2, 3):
        collector.endorsements(Fewer(count), evidence, at=relaunch.at)  # type: ignore[arg-type]
    assert len(collector._held) == 1
