# SPDX-License-Identifier: Apache-2.0
"""A verdict never depends on what was verified before, only how long it takes does."""

import pytest
from tests.platforms.snp.judging import BINDING, appraised, refused, verify
from tests.platforms.snp.pki import NOW, World

from nacre.appraisal.result import Result
from nacre.appraisal.verdict import Verdict
from nacre.platforms.base import Endorsements
from nacre.platforms.snp import PLATFORM
from nacre.trust.anchors import Origin, private_anchor, simulated_anchor
from nacre.trust.memo import Memo
from nacre.trust.signatures import Key, Signatures

_KINDS = pytest.mark.parametrize(("product", "kind"), [("Genoa", "vcek"), ("Turin", "vlek")])


def _world(product: str = "Genoa", kind: str = "vcek") -> World:
    return World(product=product, kind=kind, report={"report_data": BINDING.digest or b""})


class _Counting(Signatures):
    """Counts the signatures that it is asked to check."""

    def __init__(self, memo: Memo | None) -> None:
        super().__init__(memo)
        self.count = 0

    def expect(self, key: Key, signature: bytes, message: bytes, *, check: str, what: object) -> None:
        self.count += 1
        super().expect(key, signature, message, check=check, what=what)


def _count(world: World, memo: Memo, endorsements: Endorsements | None = None) -> int:
    signatures = _Counting(memo)
    PLATFORM.verify(
        PLATFORM.parse(world.evidence()),
        world.endorsements if endorsements is None else endorsements,
        anchors=(world.anchor,),
        at=NOW,
        signatures=signatures,
    )
    return signatures.count


@_KINDS
def test_the_floor_of_the_work(product: str, kind: str) -> None:
    """Cold: authority, key, list, report. Warm: the report. A new list costs one, a new machine one."""
    world, memo = _world(product, kind), Memo()
    assert _count(world, memo) == 4
    assert len(memo) == 2
    assert _count(world, memo) == 1
    assert _count(world.but(report={"vmpl": 0}), memo) == 1
    assert _count(world.but(revoked=(1,)), memo) == 2
    endorsements = world.endorsements
    assert _count(world, memo, endorsements) == _count(world, memo, endorsements) == 1


@_KINDS
def test_the_same_verdict_warm_and_cold(product: str, kind: str) -> None:
    good, memo = _world(product, kind), Memo()
    assert appraised(good, memo=memo).verdict is Verdict.VERIFIED
    bad: tuple[dict[str, object], ...] = (
        {"signer": "nobody"},
        {"vek": {"signer": "nobody"}},
        {"authority": {"signer": "nobody"}},
        {"crl": {"signer": "nobody"}},
        {"revoked": (0,)},
        {"revoked": (0x20002,)},
        {"levels": {"snp": 0xFF}},
        {"vek": {"ends": b"260101000000Z"}},
        {"crl": {"ends": b"260515000000Z"}},
        {"report": {**good.report, "signer_info": 7 << 2}},
    )
    for change in bad:
        world = good.but(**change)
        for _ in range(2):
            warm, cold = appraised(world, memo=memo), appraised(world)
            assert warm.verdict is cold.verdict is Verdict.REJECTED, change
            assert _told(warm) == _told(cold)
        assert appraised(good, memo=memo).verdict is Verdict.VERIFIED


def _told(result: Result) -> tuple[object, ...]:
    checks = tuple((check.id, check.status, check.reason) for check in result.checks)
    return result.verdict, result.origin, result.release, checks


def test_time_is_checked_again() -> None:
    world, memo = _world(), Memo()
    assert appraised(world, memo=memo).verdict is Verdict.VERIFIED
    assert appraised(world, memo=memo, at=NOW + 10**9).verdict is Verdict.REJECTED
    assert appraised(world, memo=memo, at=NOW - 10**9).verdict is Verdict.REJECTED


def test_what_holds_below_one_root_holds_below_no_other() -> None:
    world, memo = _world(), Memo()
    verify(world, memo=memo)
    other = private_anchor(World(ark={"serial": 2}).der("ark"))
    # The same name and the same key: an anchor all the same, and another one.
    assert verify(world, anchors=(other,), memo=memo).origin is Origin.PRIVATE
    forger = private_anchor(World(ark={"key": "forger", "signer": "forger"}).der("ark"))
    assert refused(world, "snp.chain", anchors=(forger,), memo=memo) == "signature-invalid"
    assert refused(world, "snp.chain", anchors=(), memo=memo) == "root-not-trusted"


def test_the_worth_of_a_root_is_the_callers() -> None:
    world, memo = _world(), Memo()
    simulated = simulated_anchor(world.der("ark"))
    for _ in range(2):
        assert verify(world, memo=memo).origin is Origin.PRIVATE
        assert verify(world, anchors=(simulated,), memo=memo).origin is Origin.SIMULATED


def test_documents_of_two_machines_are_not_mixed_up() -> None:
    """The digest of documents is kept with them; with what the host sent it is another one."""
    one = _world()
    two = one.but(vek={"key": "vcek-two", "serial": 8}, add={"4": b"\x22" * 64})
    two = two.but(report={**two.report, "chip_id": b"\x22" * 64})
    shared = Endorsements({"ask": one.der("ask"), "crl": one.documents["crl"]})
    memo = Memo()
    for _ in range(2):
        for world in (one, two):
            evidence = PLATFORM.parse(world.evidence() + _table(world.der("vek")))
            claims = PLATFORM.verify(
                evidence, shared, anchors=(one.anchor,), at=NOW, signatures=Signatures(memo)
            )
            assert claims.chip == claims.evidence.report.chip_id


def _table(vek: bytes) -> bytes:
    """Encode a table with nothing but a VCEK."""
    guid = bytes.fromhex("63da758de6644564adc5f4b93be8accd")
    return guid + (48).to_bytes(4, "little") + len(vek).to_bytes(4, "little") + bytes(24) + vek
