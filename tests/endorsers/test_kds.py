# SPDX-License-Identifier: Apache-2.0
"""AMD's key service, asked over a real connection: what it answers, and what a liar in its place can do."""

import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import pytest

from nacre import platforms
from nacre.appraisal.policy import Policy
from nacre.appraisal.verdict import Verdict
from nacre.endorsers.cache import Cache
from nacre.endorsers.collector import REFRESH, Collector
from nacre.endorsers.facts import CERTIFICATE
from nacre.endorsers.fetch import HttpFetcher
from nacre.endorsers.http import Limits
from nacre.endorsers.kds import AMD_KDS, INTERVAL, LIMITS, Kds
from nacre.endorsers.pace import Pace
from nacre.endorsers.rollback import Guard
from nacre.endorsers.verifier import Verifier
from nacre.errors import EndorsementsUnavailable
from nacre.platforms.base import Source
from nacre.platforms.snp import endorsements as amd
from nacre.platforms.snp.evidence import parse
from nacre.trust import pem
from nacre.trust.anchors import Origin
from nacre.trust.times import parse_rfc3339

if TYPE_CHECKING:
    from tests.endorsers.conftest import Chip, Clock, Notices, Server

    Recorded = Callable[..., Chip]

MILAN = "snp/confidential-milan-v3-05b743-crl"
OTHER_MILAN = "snp/confidential-milan-v3-14fd2b-crl"
GENOA = "snp/openpcc-genoa-v3-a9e919-crl"
TURIN = "snp/project-oak-turin-v5-3f44a0-nocrl"
OLD_GENOA = "snp/syn-format-v2-genoa"
VLEK = "snp/confidential-milan-vlek-v2-affb92-nocrl"
YEAR = 365 * 86400


SNP = platforms.get("snp")


class Site:
    """Collectors over one folder, one server and one clock."""

    def __init__(self, server: "Server", folder: Path, clock: "Clock", notices: "Notices") -> None:
        self.server, self.folder, self.clock, self.notices = server, folder, clock, notices

    def kds(self, *, pace: Pace | None = None, limits: Limits | None = None) -> Kds:
        limits = limits or Limits(connect=10, read=10, total=20, attempts=2)
        return Kds(base=self.server.url, fetcher=HttpFetcher(limits=limits, sleep=lambda _: None), pace=pace)

    def collector(self, *, pace: Pace | None = None, offline: bool = False) -> Collector:
        return Collector(
            kds=self.kds(pace=pace),
            cache=Cache(self.folder, notice=self.notices),
            guard=Guard(self.folder, notice=self.notices),
            clock=self.clock,
            offline=offline,
            notice=self.notices,
        )


@pytest.fixture(scope="module")
def milan(recorded: "Recorded") -> "Chip":
    return recorded(MILAN)


@pytest.fixture(scope="module")
def genoa(recorded: "Recorded") -> "Chip":
    return recorded(GENOA)


@pytest.fixture
def site(
    server: "Server", tmp_path: Path, make_clock: "Callable[[int], Clock]", notices: "Notices", milan: "Chip"
) -> Site:
    return Site(server, tmp_path / "cache", make_clock(milan.at), notices)


def collect(collector: Collector, chip: "Chip", at: int | None = None) -> dict[str, bytes]:
    found = collector.endorsements(SNP, chip.evidence, at=chip.at if at is None else at)
    return dict(found.documents)


def refused(call: Callable[[], object]) -> EndorsementsUnavailable:
    with pytest.raises(EndorsementsUnavailable) as caught:
        call()
    assert " ?" not in str(caught.value)
    return caught.value


# ── What a report needs ──


@pytest.mark.parametrize("name", [MILAN, GENOA])
def test_everything_is_fetched_once(site: Site, recorded: "Recorded", name: str) -> None:
    chip = recorded(name)
    chip.serve(site.server)
    site.clock.now = chip.at
    assert collect(site.collector(), chip) == chip.documents
    assert collect(site.collector(), chip) == chip.documents
    assert sorted(site.server.requests) == sorted(chip.path(role) for role in ("vek", "ask", "crl"))


def test_turin(site: Site, recorded: "Recorded") -> None:
    chip = recorded(TURIN)
    chip.serve(site.server)
    found = site.kds().fetch(chip.sources["vek"])
    assert found.document == chip.documents["vek"]
    assert found.facts.kind == CERTIFICATE
    assert "fmcSPL=" in site.server.requests[0]
    assert site.kds().fetch(chip.sources["ask"]).document == chip.documents["ask"]


def test_every_recorded_key_is_the_one_that_its_report_asks_for(
    site: Site, vectors: Path, recorded: "Recorded"
) -> None:
    seen = 0
    for path in sorted((vectors / "snp").glob("*/case.json")):
        told = json.loads(path.read_text())
        if (
            told["class"] == "real"
            and told["expected"]["verdict"] == "pass"
            and "vlek" not in path.parent.name
        ):
            chip = recorded(f"snp/{path.parent.name}")
            source = chip.sources["vek"]
            if told["expected"]["claims"]["product"] == "Genoa" and source.alternatives:
                source = msgspec.structs.replace(source, path=source.alternatives[0])
            site.server.give(source.path, chip.documents["vek"])
            assert site.kds().fetch(source).document == chip.documents["vek"]
            seen += 1
    assert seen > 2


def test_a_certificate_is_kept_for_its_life_and_a_list_for_a_day(site: Site, milan: "Chip") -> None:
    milan.serve(site.server)
    collect(site.collector(), milan)
    site.clock.now += REFRESH
    collect(site.collector(), milan)
    assert site.server.requests[3:] == [milan.path("crl")]
    site.clock.now += YEAR
    collect(site.collector(), milan)
    assert site.server.requests[4:] == [milan.path("crl")]


def test_everything_serves_on_while_the_service_is_down(site: Site, milan: "Chip") -> None:
    milan.serve(site.server)
    collect(site.collector(), milan)
    site.server.behaviours.clear()
    site.server.otherwise = lambda handler: handler.answer(b"", status=503)
    site.clock.now += REFRESH
    assert collect(site.collector(), milan) == milan.documents
    assert site.notices.codes == ["endorser-status"]
    assert collect(site.collector(offline=True), milan) == milan.documents


def test_the_vlek_is_nowhere(site: Site, vectors: Path) -> None:
    evidence = parse((vectors / VLEK / "report.bin").read_bytes())
    error = refused(lambda: site.collector().endorsements(SNP, evidence, at=0))
    assert error.code == "snp-vlek-not-sent"
    assert site.server.requests == []


# ── A report before version 3 does not say its product line ──


@pytest.fixture
def old_genoa(recorded: "Recorded", genoa: "Chip") -> "Chip":
    return recorded(OLD_GENOA, crl=genoa.documents["crl"])


def test_milan_is_asked_for_first_and_then_genoa(site: Site, old_genoa: "Chip") -> None:
    old_genoa.serve(site.server, line="Genoa")
    site.clock.now = old_genoa.at
    assert collect(site.collector(), old_genoa) == old_genoa.documents
    # Nothing more was asked of Milan than what told that it is none.
    assert [path.split("/")[3] for path in site.server.requests] == ["Milan", "Genoa", "Genoa", "Genoa"]
    assert collect(site.collector(), old_genoa) == old_genoa.documents
    assert collect(site.collector(offline=True), old_genoa) == old_genoa.documents
    # What was found once is looked for there.
    site.clock.now += REFRESH
    collect(site.collector(), old_genoa)
    assert [path.split("/")[3] for path in site.server.requests[4:]] == ["Genoa"] * (
        len(site.server.requests) - 4
    )


def test_a_chip_of_neither(site: Site, old_genoa: "Chip") -> None:
    error = refused(lambda: collect(site.collector(), old_genoa))
    assert (error.code, error.context["role"]) == ("kds-unknown", "vek")
    assert [path.split("/")[3] for path in site.server.requests] == ["Milan", "Genoa"]
    offline = refused(lambda: collect(site.collector(offline=True), old_genoa))
    assert offline.code == "endorsement-not-cached"


def test_trouble_is_no_reason_to_look_elsewhere(site: Site, old_genoa: "Chip") -> None:
    site.server.otherwise = lambda handler: handler.answer(b"", status=500)
    assert refused(lambda: collect(site.collector(), old_genoa)).code == "endorser-status"
    assert all("Milan" in path for path in site.server.requests)


# ── A liar ──


@pytest.mark.parametrize(
    ("role", "lie", "what"),
    [
        ("vek", "other chip", "chip"),
        ("vek", "other line", "issuer"),
        ("ask", "other line", "subject"),
        ("crl", "other line", "issuer"),
    ],
)
def test_the_document_of_another(  # noqa: PLR0917 (pytest calls it)
    site: Site, recorded: "Recorded", milan: "Chip", genoa: "Chip", role: str, lie: str, what: str
) -> None:
    """virtee/snpguest #159: a check of the chip that never ran; here a wrong key is not even kept."""
    other = recorded(OTHER_MILAN) if lie == "other chip" else genoa
    milan.serve(site.server)
    site.server.give(milan.path(role), other.documents[role])
    error = refused(lambda: collect(site.collector(), milan))
    assert (error.code, error.context["what"]) == ("endorser-wrong-document", what)
    assert Cache(site.folder).versions(site.server.url + milan.path(role)) == ()
    milan.serve(site.server)
    site.clock.now += 15
    assert collect(site.collector(), milan) == milan.documents


def test_the_key_of_another_tcb(site: Site, milan: "Chip") -> None:
    wrong = msgspec.structs.replace(
        milan.sources["vek"], path=milan.path("vek").replace("blSPL=04", "blSPL=03")
    )
    site.server.give(wrong.path, milan.documents["vek"])
    error = refused(lambda: site.kds().fetch(wrong))
    assert (error.code, error.context["what"]) == ("endorser-wrong-document", "TCB")


def test_the_authority_of_the_other_kind_of_key(site: Site, milan: "Chip") -> None:
    source = Source("ask", "/vlek/v1/Milan/cert_chain", endorser=amd.ENDORSER)
    site.server.give(source.path, milan.documents["ask"])
    error = refused(lambda: site.kds().fetch(source))
    assert (error.context["expected"], error.context["actual"]) == ("SEV-VLEK-Milan", "SEV-Milan")


@pytest.mark.parametrize("role", ["vek", "ask", "crl"])
@pytest.mark.parametrize(
    "body", [b"", b"<html>login</html>", b"\x30\x82", b"{}", b"-----BEGIN CERTIFICATE-----\n"]
)
def test_something_else(site: Site, milan: "Chip", role: str, body: bytes) -> None:
    site.server.give(milan.path(role), body)
    assert refused(lambda: site.kds().fetch(milan.sources[role])).code == "endorser-garbage"


def test_an_authority_is_no_key(site: Site, milan: "Chip") -> None:
    site.server.give(milan.path("vek"), pem.certificates(milan.documents["ask"])[0])
    assert refused(lambda: site.kds().fetch(milan.sources["vek"])).code == "endorser-wrong-document"


def test_a_body_that_breaks_off(site: Site, milan: "Chip") -> None:
    body = milan.documents["vek"]
    site.server.behaviours[milan.path("vek")] = lambda handler: handler.answer(
        body[:100], headers={"Content-Length": str(len(body))}
    )
    assert refused(lambda: site.kds().fetch(milan.sources["vek"])).code == "endorser-truncated"


def test_a_body_without_end(site: Site, milan: "Chip") -> None:
    site.server.behaviours[milan.path("vek")] = lambda handler: handler.answer(bytes(2 << 20))
    assert refused(lambda: site.kds().fetch(milan.sources["vek"])).code == "endorser-too-large"


def test_a_way_elsewhere(site: Site, milan: "Chip") -> None:
    site.server.behaviours[milan.path("vek")] = lambda handler: handler.answer(
        b"", status=302, headers={"Location": "https://elsewhere.example/vcek"}
    )
    assert refused(lambda: site.kds().fetch(milan.sources["vek"])).code == "endorser-redirect"
    site.server.behaviours[milan.path("vek")] = lambda handler: handler.answer(
        b"", status=302, headers={"Location": "/moved"}
    )
    site.server.give("/moved", milan.documents["vek"])
    assert site.kds().fetch(milan.sources["vek"]).document == milan.documents["vek"]


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (400, "kds-unknown"),
        (404, "kds-unknown"),
        (410, "kds-unknown"),
        (401, "endorser-status"),
        (500, "endorser-status"),
    ],
)
def test_what_statuses_mean(site: Site, milan: "Chip", status: int, code: str) -> None:
    site.server.otherwise = lambda handler: handler.answer(b"", status=status)
    assert refused(lambda: site.kds().fetch(milan.sources["vek"])).code == code


def test_a_list_of_yesterday(site: Site, vectors: Path, genoa: "Chip") -> None:
    """An older list, validly signed and inside its dates, hides who was revoked since."""
    genoa.serve(site.server)
    site.clock.now = genoa.at
    collector = site.collector()
    found = collector.endorsements(SNP, genoa.evidence, at=genoa.at)
    collector.proved("snp", found, origin=Origin.GENUINE)
    assert {(key, mark.number) for key, mark in Guard(site.folder).marks().items()} == {
        ("snp/standard/crl/genoa-vcek", 4)
    }
    older = (vectors / "snp/syn-crl-empty-genoa/crl.der").read_bytes()  # number 1
    site.server.give(genoa.path("crl"), older)
    site.clock.now = 1_780_000_000  # the recorded list has ended by now
    fresh = site.collector()
    assert collect(fresh, genoa, at=genoa.at)["crl"] == genoa.documents["crl"]
    assert site.notices.codes == ["crl-rollback"]
    assert refused(lambda: collect(fresh, genoa, at=site.clock.now)).code == "crl-rollback"


# ── Its rate ──


def test_it_is_asked_again_when_it_says_so(site: Site, milan: "Chip") -> None:
    waits: list[float] = []
    refusals = iter([429, 429, 200])

    def answer(handler: object) -> None:
        status = next(refusals)
        body, headers = (milan.documents["vek"], {}) if status == 200 else (b"", {"Retry-After": "7"})
        handler.answer(body, status=status, headers=headers)  # type: ignore[attr-defined]

    site.server.behaviours[milan.path("vek")] = answer
    kds = Kds(base=site.server.url, fetcher=HttpFetcher(limits=LIMITS, sleep=waits.append))
    assert kds.fetch(milan.sources["vek"]).document == milan.documents["vek"]
    assert waits == [7.0, 7.0]


@pytest.mark.parametrize("headers", [{}, {"Retry-After": "0"}, {"Retry-After": "9999"}])
def test_a_storm_of_refusals(site: Site, milan: "Chip", headers: dict[str, str]) -> None:
    waits: list[float] = []
    site.server.otherwise = lambda handler: handler.answer(b"", status=429, headers=headers)
    fetcher = HttpFetcher(limits=LIMITS, sleep=waits.append, clock=lambda: sum(waits))
    kds = Kds(base=site.server.url, fetcher=fetcher)
    error = refused(lambda: kds.fetch(milan.sources["vek"]))
    assert error.code == "kds-throttled"
    assert "NACRE_KDS_URL" in error.hint
    assert len(site.server.requests) <= 4
    assert sum(waits) <= LIMITS.total


def test_a_refusal_costs_one_document_and_not_three(site: Site, milan: "Chip") -> None:
    milan.serve(site.server)
    site.server.behaviours[milan.path("vek")] = lambda handler: handler.answer(b"", status=429)
    pace = Pace("local", site.folder, interval=0)
    collector = site.collector(pace=pace)
    assert refused(lambda: collect(collector, milan)).code == "kds-throttled"
    assert set(site.server.requests) == {milan.path("vek")}
    asked = len(site.server.requests)
    assert refused(lambda: collect(collector, milan)).code == "kds-throttled"
    assert len(site.server.requests) == asked  # not again at once


def test_the_real_service_is_asked_in_turn() -> None:
    assert Kds().pace is not None
    assert Kds(base=AMD_KDS + "/").pace is not None
    assert Kds(base="https://cache.example").pace is None
    assert Kds().url(Source("crl", "/vcek/v1/Milan/crl")) == "https://kdsintf.amd.com/vcek/v1/Milan/crl"
    assert not Kds().local
    assert INTERVAL == 10


def test_a_collector_knows_amd_by_itself(
    tmp_path: Path, recorded: "Recorded", monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NACRE_CACHE_DIR", str(tmp_path))
    chip = recorded(MILAN)
    collector = Collector(cache=Cache(tmp_path), guard=Guard(tmp_path), offline=True)
    error = refused(lambda: collect(collector, chip))
    assert (error.code, error.context["url"]) == ("endorsement-not-cached", AMD_KDS + chip.path("vek"))
    assert len(collector._stock._services) == 2
    assert list(collector._stock._services) == ["intel-pcs", "amd-kds"]


INTERVAL_HERE = 0.3


_PROCESS = """
import sys
from pathlib import Path
from nacre.endorsers import Cache, Collector, Guard, Kds
from nacre.endorsers.pace import Pace
from nacre import platforms

url, folder, report, at, interval = sys.argv[1], Path(sys.argv[2]), *sys.argv[3:]

snp = platforms.get("snp")
kds = Kds(base=url, pace=Pace("local", folder, interval=float(interval)))
collector = Collector(kds=kds, cache=Cache(folder), guard=Guard(folder), clock=lambda: int(at))
found = collector.endorsements(snp, snp.parse(bytes.fromhex(report)), at=int(at))
assert len(found.documents) == 3
"""


def test_processes_take_turns_and_do_not_stampede(site: Site, milan: "Chip") -> None:
    """Six processes start at once with nothing; three documents are asked for, one after the other."""
    times: list[float] = []

    def timed(role: str) -> Callable[[object], None]:
        def answer(handler: object) -> None:
            times.append(time.monotonic())
            handler.answer(milan.documents[role])  # type: ignore[attr-defined]

        return answer

    for role in milan.documents:
        site.server.behaviours[milan.path(role)] = timed(role)
    words = [site.server.url, str(site.folder), milan.evidence.raw.hex(), str(milan.at), str(INTERVAL_HERE)]
    processes = [subprocess.Popen([sys.executable, "-c", _PROCESS, *words]) for _ in range(6)]
    assert [process.wait(60) for process in processes] == [0] * 6
    assert sorted(site.server.requests) == sorted(milan.path(role) for role in milan.documents)
    assert all(later - earlier > INTERVAL_HERE - 0.05 for earlier, later in pairwise(times))


def test_threads_take_turns(site: Site, milan: "Chip", genoa: "Chip") -> None:
    """Two kinds of evidence, so no lock of the collector keeps them apart."""
    milan.serve(site.server)
    genoa.serve(site.server)
    running, most, guard = 0, 0, threading.Lock()
    served = dict(site.server.behaviours)

    def counted(handler: object) -> None:
        nonlocal running, most
        with guard:
            running += 1
            most = max(most, running)
        time.sleep(0.02)
        with guard:
            running -= 1
        served[handler.path](handler)  # type: ignore[attr-defined, arg-type]

    for path in served:
        site.server.behaviours[path] = counted
    collector = site.collector(pace=Pace("local", None, interval=0))
    threads = [threading.Thread(target=collect, args=(collector, chip)) for chip in (milan, genoa)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == 1
    assert len(site.server.requests) == 6


# ── A Verifier that asks AMD ──

LENIENT = """
id = "lenient"
accept = "WARNING"
platforms = ["snp"]
unsafe_waive = ["freshness", "binding", "executables"]
[snp]
accept_advisories = ["any"]
"""


def _verifier(collector: Collector, site: Site) -> Verifier:
    return Verifier(Policy.parse(LENIENT), endorsements=collector, clock=site.clock)


def test_a_report_alone_is_verified(site: Site, milan: "Chip") -> None:
    milan.serve(site.server)
    assert _verifier(site.collector(), site).verify(milan.evidence.raw).verdict is Verdict.WARNING
    assert {(key, mark.number) for key, mark in Guard(site.folder).marks().items()} == {
        ("snp/standard/crl/milan-vcek", 6)
    }
    again = _verifier(site.collector(offline=True), site)
    assert again.verify(milan.evidence.raw).verdict is Verdict.WARNING


def test_a_key_that_amd_never_signed_does_not_stay(site: Site, milan: "Chip") -> None:
    """It has the right chip and TCB, and would be kept for years."""
    milan.serve(site.server)
    forged = milan.documents["vek"][:-1] + bytes([milan.documents["vek"][-1] ^ 1])
    site.server.give(milan.path("vek"), forged)
    made = _verifier(site.collector(), site)
    refusal = made.appraise(milan.evidence.raw)
    assert (refusal.verdict, refusal.error and refusal.error.code) == (Verdict.REJECTED, "signature-invalid")
    milan.serve(site.server)
    site.clock.now += 60
    assert made.verify(milan.evidence.raw).verdict is Verdict.WARNING
    assert [
        version.document for version in Cache(site.folder).versions(site.server.url + milan.path("vek"))
    ] == [milan.documents["vek"]]


def test_a_forged_report_drops_no_genuine_key(site: Site, milan: "Chip") -> None:
    milan.serve(site.server)
    made = _verifier(site.collector(), site)
    forged = bytearray(milan.evidence.raw)
    forged[0x90] ^= 1  # another measurement
    refusal = made.appraise(bytes(forged))
    assert refusal.error is not None
    assert (refusal.verdict, refusal.error.code) == (Verdict.REJECTED, "signature-invalid")
    asked = len(site.server.requests)
    site.clock.now += 60
    assert made.verify(milan.evidence.raw).verdict is Verdict.WARNING
    assert len(site.server.requests) == asked


def test_the_service_is_down(site: Site, milan: "Chip") -> None:
    site.server.otherwise = lambda handler: handler.answer(b"", status=429)
    made = _verifier(site.collector(), site)
    assert made.appraise(milan.evidence.raw).verdict is Verdict.INCOMPLETE
    assert refused(lambda: made.verify(milan.evidence.raw)).code == "kds-throttled"


def test_a_host_that_sends_its_certificates(site: Site, repository: Path, genoa: "Chip") -> None:
    """Only the revocation list is asked for; the ARK of the table is no anchor."""
    folder = repository / "tests/vectors/snp-extended/extended-veraison-genoa-v3-8d8bfb"
    site.server.give("/vcek/v1/Genoa/crl", genoa.documents["crl"])
    site.clock.now = parse_rfc3339("2025-07-27T21:45:48Z", what="time")
    result = _verifier(site.collector(), site).verify((folder / "evidence.bin").read_bytes())
    assert result.verdict is Verdict.WARNING
    assert site.server.requests == ["/vcek/v1/Genoa/crl"]
