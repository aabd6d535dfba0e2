# SPDX-License-Identifier: Apache-2.0
"""A verdict never depends on what was verified before, only how long it takes does."""

import functools
import hashlib
import random
import struct
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest
from tests.platforms.dcap.judging import judge, policy
from tests.platforms.dcap.pki import DAY, NOW, TDX_SVNS, World, module, point, sign, svn_level

from nacre.appraisal.appraise import appraise
from nacre.appraisal.result import Result
from nacre.appraisal.verdict import Verdict
from nacre.platforms.base import Endorsements
from nacre.platforms.dcap.evidence import parse_quote
from nacre.trust.anchors import Anchor, Origin, simulated_anchor
from nacre.trust.memo import Memo
from nacre.trust.signatures import Signatures

TEES = pytest.mark.parametrize("tee", ["sgx", "tdx"])


@functools.cache
def _world(tee: str) -> World:
    return World(tee=tee, version=3 if tee == "sgx" else 4)


def _warm(tee: str) -> Memo:
    """Return a memo that knows everything about the good world."""
    memo = Memo()
    assert judge(_world(tee), memo=memo).verdict is Verdict.VERIFIED
    assert len(memo) == 4  # chain, key, collateral, evaluation
    assert judge(_world(tee), memo=memo).verdict is Verdict.VERIFIED
    assert len(memo) == 4
    return memo


def _told(result: Result) -> tuple[object, ...]:
    checks = tuple((check.id, check.status, check.reason) for check in result.checks)
    return result.verdict, result.origin, result.release, checks


def _same_as_cold(world: World, memo: Memo, **options: object) -> Result:
    cold = judge(world, **options)  # type: ignore[arg-type]
    warm = judge(world, memo=memo, **options)  # type: ignore[arg-type]
    assert _told(warm) == _told(cold)
    return warm


@TEES
def test_same_key_with_other_certification(tee: str) -> None:
    """The attestation key is known; what vouches for it is new, so it is verified anew."""
    good, memo = _world(tee), _warm(tee)
    quote = parse_quote(good.quote)
    places = {
        "QE report": quote.qe_offset,
        "QE report data": quote.qe_offset + 320,
        "QE signature": quote.qe_offset + 384,
        "QE authentication data": quote.qe_offset + 450,
        "PCK": quote.cert_offset + 400,
        "PCK's signature": quote.cert_offset + 1550,
        "CA": quote.cert_offset + 1800,
        "root": quote.end - 100,
        "attestation key": quote.auth_offset + 64,
    }
    for place in places.values():
        altered = bytearray(good.quote)
        altered[place] ^= 1
        result = _same_as_cold(good, memo, quote=bytes(altered))
        assert result.verdict is Verdict.REJECTED
    for changes in (
        {"signers": {"qe_report": "forger"}},
        {"chains": {"pck_chain": ("pck", "pck-ca")}},
        {"qe_auth": b""},
        {"qe_report": {"isv_svn": 3}},
        {"certificates": {"pck": {"signer": "forger"}}},
    ):
        _same_as_cold(good.but(**changes), memo)
    assert _same_as_cold(good, memo).verdict is Verdict.VERIFIED


def test_bytes_that_two_versions_read_differently() -> None:
    """A v3 quote's certification that is well-formed in v4 as well, where nobody signed it."""
    auth = struct.pack("<4sH", b"", 26) + bytes(26)
    plain = World(tee="sgx", version=3, qe_auth=auth)
    size = len(plain.quote) - parse_quote(plain.quote).auth_offset - 64 - 70
    world = plain.but(qe_report={"cpu_svn": struct.pack("<HI", 6, size)})
    memo = Memo()
    assert judge(world, memo=memo).verdict is Verdict.VERIFIED
    third = parse_quote(world.quote)
    signed = World(tee="sgx", version=4).signed()
    region = world.quote[third.auth_offset + 64 :]
    authentication = sign("attestation", signed) + region
    forged = signed + struct.pack("<I", len(authentication)) + authentication
    fourth = parse_quote(forged)
    assert fourth.attestation_key == third.attestation_key == point("attestation")
    assert fourth.qe_report != third.qe_report
    assert judge(world, quote=forged).verdict is Verdict.REJECTED
    assert judge(world, quote=forged, memo=memo).verdict is Verdict.REJECTED


@TEES
def test_revoked_after_a_hit(tee: str) -> None:
    memo = _warm(tee)
    for role, serial in (("pck_crl", 13), ("root_ca_crl", 12), ("root_ca_crl", 14)):
        revoked = _world(tee).but(crls={role: {"revoked": (serial,)}})
        result = _same_as_cold(revoked, memo)
        assert result.verdict is Verdict.REJECTED
        assert _same_as_cold(_world(tee), memo).verdict is Verdict.VERIFIED
        assert _same_as_cold(revoked, memo).verdict is Verdict.REJECTED


@TEES
def test_ended_after_a_hit(tee: str) -> None:
    memo = _warm(tee)
    for at in (NOW + 29 * DAY, NOW + 29 * DAY + 1, NOW - DAY, NOW - DAY - 1, NOW, 0, NOW + 10_000 * DAY):
        good = NOW - DAY <= at <= NOW + 29 * DAY
        result = _same_as_cold(_world(tee), memo, at=at)
        assert result.verdict is (Verdict.VERIFIED if good else Verdict.REJECTED)


@TEES
def test_other_anchors_after_a_hit(tee: str) -> None:
    good, memo = _world(tee), _warm(tee)
    other = good.but(certificates={"root": {"key": "other"}}, signers={"root_ca_crl": "other"})
    assert _same_as_cold(good, memo, anchors=[other.anchor]).verdict is Verdict.REJECTED
    assert _same_as_cold(good, memo, anchors=[]).verdict is Verdict.REJECTED
    assert _same_as_cold(other, memo, anchors=[good.anchor]).verdict is Verdict.REJECTED
    assert _same_as_cold(good, memo, anchors=[other.anchor, good.anchor]).verdict is Verdict.VERIFIED
    assert _same_as_cold(other, memo, anchors=[good.anchor, other.anchor]).verdict is Verdict.VERIFIED


@TEES
def test_what_a_root_is_worth_is_the_policys_to_say(tee: str) -> None:
    """One memo may serve two policies that trust the same root for different things."""
    good, memo = _world(tee), _warm(tee)
    simulated = simulated_anchor(good.der("root"))
    for anchor, origin in ((simulated, Origin.SIMULATED), (good.anchor, Origin.PRIVATE)):
        for _ in range(2):
            assert judge(good, anchors=[anchor], memo=memo).origin is origin


@TEES
def test_other_collateral_after_a_hit(tee: str) -> None:
    memo = _warm(tee)
    for changes in (
        {"status": "Revoked"},
        {"qe": "OutOfDate"},
        {"documents": {"pck_crl": None}},
        {"documents": {"tcb_info": None}},
        {"documents": {"qe_identity_issuer_chain": None}},
        {"signers": {"tcb_info": "pck"}},
        {"info": {"fmspc": "000000000000"}},
        {"identity": {"mrsigner": "00" * 32}},
    ):
        _same_as_cold(_world(tee).but(**changes), memo)
    assert _same_as_cold(_world(tee), memo).verdict is Verdict.VERIFIED


def test_other_modules_after_a_hit() -> None:
    """What collateral says of a platform is remembered for one module only."""
    memo = _warm("tdx")
    good = _world("tdx").but(version=5)
    for report in (
        {"tee_tcb_svn": bytes((4, *TDX_SVNS[1:]))},
        {"tee_tcb_svn2": bytes((4, *TDX_SVNS[1:]))},
        {"mr_signer_seam": b"\1"},
        {"seam_attributes": b"\1"},
        {},
    ):
        world = good.but(report=report)
        assert (_same_as_cold(world, memo).verdict is Verdict.VERIFIED) is (not report)
        _same_as_cold(world.but(body=2), memo)


@pytest.mark.parametrize(
    "changes",
    [
        {"signers": {"quote": "forger"}},
        {"signers": {"qe_report": "forger"}},
        {"signers": {"tcb_info": "forger"}},
        {"signers": {"qe_identity": "forger"}},
        {"signers": {"pck_crl": "forger"}},
        {"signers": {"root_ca_crl": "forger"}},
        {"certificates": {"pck": {"signer": "forger"}}},
        {"certificates": {"pck-ca": {"signer": "forger"}}},
        {"certificates": {"tcb": {"signer": "forger"}}},
        {"certificates": {"tcb": {"name": "Somebody"}}},
        {"certificates": {"pck": {"name": "Somebody"}}},
        {"qe_report": {"report_data": b"\1"}},
    ],
    ids=str,
)
@TEES
def test_nothing_forged_is_remembered(tee: str, changes: Mapping[str, Mapping[str, object]]) -> None:
    memo = Memo()
    bad = _world(tee).but(**changes)
    for _ in range(2):
        assert judge(bad, memo=memo).verdict is Verdict.REJECTED
    if "signers" in changes:
        assert len(memo) == 0
    # What did hold before another step failed may be known: it is as true as ever.
    assert len(memo) <= 2
    assert judge(_world(tee), memo=memo).verdict is Verdict.VERIFIED
    assert _same_as_cold(bad, memo).verdict is Verdict.REJECTED


# ── Any order, any memo, any thread ──────────────────────────────────────────────────────────────────

_Case = tuple[bytes, Endorsements, Sequence[Anchor], int]


@functools.cache
def _cases() -> list[tuple[str, _Case, tuple[object, ...]]]:
    """Return good and bad evidence with what it comes to when nothing is known."""
    worlds: list[World] = []
    for tee in ("sgx", "tdx"):
        good = _world(tee)
        worlds += [
            good,
            good.but(version=5),
            good.but(status="OutOfDate"),
            good.but(qe="Revoked"),
            good.but(qe_auth=b"x"),
            good.but(signers={"quote": "forger"}),
            good.but(signers={"qe_report": "forger"}),
            good.but(signers={"tcb_info": "pck"}),
            good.but(crls={"pck_crl": {"revoked": (13,)}}),
            good.but(crls={"root_ca_crl": {"revoked": (14,)}}),
            good.but(documents={"pck_crl": None}),
            good.but(documents={"qe_identity": None}),
            good.but(info={"fmspc": "000000000000"}),
            good.but(cert_type=3),
            good.but(certificates={"root": {"key": "other"}}, signers={"root_ca_crl": "other"}),
        ]
    old = {"tee_tcb_svn": bytes((4, 1, 3))}
    modules = [module(levels=[svn_level(5), svn_level(4, "OutOfDate")])]
    worlds.append(_world("tdx").but(version=5, report=old, info={"tdxModuleIdentities": modules}))
    cases: list[tuple[str, _Case, tuple[object, ...]]] = []
    for place, world in enumerate(worlds):
        other = worlds[(place * 7 + 3) % len(worlds)]
        for documents, anchors, at in (
            (world, [world.anchor], NOW),
            (world, [worlds[14].anchor, world.anchor], NOW + 40 * DAY),
            (other, [world.anchor, worlds[14].anchor], NOW),
        ):
            case = (world.quote, Endorsements(documents.endorsements.documents), anchors, at)
            cases.append((world.tee, case, _run(world.tee, case, None)))
    verdicts = [told[0] for _, _, told in cases]
    assert all(verdicts.count(verdict) >= 4 for verdict in (Verdict.WARNING, Verdict.REJECTED))
    return cases


def _run(tee: str, case: _Case, memo: Memo | None) -> tuple[object, ...]:
    quote, endorsements, anchors, at = case
    result = appraise(
        quote,
        policy=policy(tee, *anchors, waive=("binding", "freshness")),
        endorsements=endorsements,
        at=at,
        signatures=Signatures(memo),
    )
    shown = [check for check in result.checks if check.id not in ("binding", "freshness")]
    return (result.verdict, result.origin, tuple((check.id, check.status, check.reason) for check in shown))


@pytest.mark.parametrize("entries", [2, 6, 2048])
@pytest.mark.parametrize("seed", range(3))
def test_random_sequences(seed: int, entries: int) -> None:
    chance = random.Random(seed)  # noqa: S311 (a sample, always the same)
    memo = Memo(entries)
    cases = _cases()
    for _ in range(400):
        tee, case, cold = chance.choice(cases)
        assert _run(tee, case, memo) == cold
        assert len(memo) <= max(entries, 2)


def test_threads_share_a_memo() -> None:
    memo = Memo(16)
    cases = _cases()

    def work(seed: int) -> Callable[[], None] | None:
        chance = random.Random(seed)  # noqa: S311
        for _ in range(150):
            tee, case, cold = chance.choice(cases)
            assert _run(tee, case, memo) == cold
        return None

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(4)))


def test_a_pool_changes_nothing() -> None:
    with ThreadPoolExecutor(1) as pool:
        for tee, (quote, endorsements, anchors, at), cold in _cases():
            result = appraise(
                quote,
                policy=policy(tee, *anchors, waive=("binding", "freshness")),
                endorsements=endorsements,
                at=at,
                signatures=Signatures(pool=pool.submit),
            )
            assert (result.verdict, result.origin) == cold[:2]


def test_keys_of_the_memo_are_digests() -> None:
    """Whoever chooses an attestation key cannot make it the name of something else that is known."""
    memo = _warm("tdx")
    known = _world("tdx")
    own = point("attestation")
    others = [key for key in memo._young if len(key) >= 64 and not key.startswith(own)]
    assert len(others) == 3
    for key in others:
        altered = known.quote.replace(own, key[:64])
        assert judge(known, quote=altered, memo=memo).verdict is Verdict.REJECTED
    assert hashlib.sha256(known.quote).digest() not in memo._young
