# SPDX-License-Identifier: Apache-2.0
"""Bindings: exact digests, and no evidence for one purpose passes for another."""

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nacre.appraisal.bindings import Binding
from nacre.appraisal.purposes import PURPOSES, Fields, Layout, digest
from nacre.checks import Status
from nacre.errors import ConfigurationError
from nacre.platforms.base import Committed
from nacre.reasons import explain

NONCE = bytes(range(32))
KEY = b"0Y own key"
PEER = b"0Y peer key"
EXPORTER = b"\xee" * 32
ADDRESS = b"\xad" * 20
CONTRACT = b"\xc0" * 20


def _sha256(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def _lv(*parts: bytes) -> bytes:
    out = b""
    for part in parts:
        size = len(part)
        out += bytes((size >> 24 & 255, size >> 16 & 255, size >> 8 & 255, size & 255)) + part
    return out


def _expected(purpose: bytes, *parts: bytes) -> bytes:
    return hashlib.sha512(b"nacre/v1/" + purpose + b"\0" + _lv(*parts)).digest()


#: One binding of each purpose; digest, nonce field and key field, worked out here by hand.
CASES: Mapping[str, tuple[Binding, bytes, bytes | None, bytes | None]] = {
    "evidence": (
        Binding.nonce(NONCE, identity=b"identity"),
        _expected(b"evidence", NONCE, _sha256(b"identity")),
        NONCE,
        None,
    ),
    "evidence without identity": (
        Binding.nonce(NONCE),
        _expected(b"evidence", NONCE, b""),
        NONCE,
        None,
    ),
    "channel": (
        Binding.channel(
            role="server", exporter=EXPORTER, nonce=NONCE, own_key=KEY, peer_key=PEER, context=b"context"
        ),
        _expected(b"channel", b"server", EXPORTER, NONCE, _sha256(KEY), _sha256(PEER), _sha256(b"context")),
        NONCE,
        KEY,
    ),
    "channel, one-sided": (
        Binding.channel(role="client", exporter=EXPORTER, nonce=NONCE, own_key=KEY),
        _expected(b"channel", b"client", EXPORTER, NONCE, _sha256(KEY), b"", b""),
        NONCE,
        KEY,
    ),
    "custody": (
        Binding.custody(
            nonces=(b"\2" * 32, b"\1" * 32), hpke_key=b"hpke", application=b"app", epoch=258, holder_key=KEY
        ),
        _expected(b"custody", _sha256(b"\1" * 32 + b"\2" * 32), b"hpke", b"app", bytes(6) + b"\1\2", KEY),
        _sha256(b"\1" * 32 + b"\2" * 32),
        b"hpke",
    ),
    "response-key": (
        Binding.response_key(key=KEY, not_after=1_795_000_000),
        _expected(b"response-key", KEY, bytes.fromhex("000000006afd86c0")),
        None,
        KEY,
    ),
    "body-key": (
        Binding.body_key(configuration=b"configuration", nonce=NONCE),
        _expected(b"body-key", NONCE, b"configuration"),
        NONCE,
        None,
    ),
    "body-key without nonce": (
        Binding.body_key(configuration=b"configuration"),
        _expected(b"body-key", b"", b"configuration"),
        None,
        None,
    ),
    "chain-key": (
        Binding.chain_key(chain=42161, contract=CONTRACT, address=ADDRESS, nonce=NONCE),
        _expected(b"chain-key", bytes(30) + b"\xa4\xb1", CONTRACT, ADDRESS, NONCE),
        NONCE,
        None,
    ),
    "chain-key without nonce": (
        Binding.chain_key(chain=1, contract=CONTRACT, address=ADDRESS),
        _expected(b"chain-key", bytes(31) + b"\1", CONTRACT, ADDRESS, b""),
        None,
        None,
    ),
    "node": (
        Binding.node(node=b"node-1", key=KEY, genesis=b"\x9e" * 32, card=b"card"),
        _expected(b"node", b"node-1", KEY, b"\x9e" * 32, _sha256(b"card")),
        None,
        KEY,
    ),
    "app-data": (Binding.app_data(b"whatever"), _expected(b"app-data", b"whatever"), None, None),
}
FRESH = {
    "evidence",
    "evidence without identity",
    "channel",
    "channel, one-sided",
    "custody",
    "body-key",
    "chain-key",
}

#: SHA-512 of the inputs spelled out byte by byte, so that a mistake in the framing above shows.
GOLDEN = {
    "evidence": (b"nacre/v1/evidence\0" + b"\0\0\0\x20" + NONCE + b"\0\0\0\x20" + _sha256(b"identity"),),
    "app-data": (b"nacre/v1/app-data\0" + b"\0\0\0\x08" + b"whatever",),
}


@pytest.mark.parametrize("case", CASES)
def test_a_digest_is_exact(case: str) -> None:
    binding, expected, nonce, key = CASES[case]
    assert binding.digest == expected
    assert binding.nonce_field == nonce
    assert binding.key_field == key
    assert binding.fresh == (case in FRESH)
    assert binding.own


@pytest.mark.parametrize("case", GOLDEN)
def test_the_framing_is_exact(case: str) -> None:
    assert CASES[case][0].digest == hashlib.sha512(GOLDEN[case][0]).digest()


def test_every_purpose_has_a_case() -> None:
    assert {binding.purpose for binding, _, _, _ in CASES.values()} == set(PURPOSES)


def test_the_channel_specification_agrees(vectors: Path) -> None:
    path = vectors.parent / "specs" / "vectors" / "channel.json"
    if not path.exists():
        pytest.skip("the specification's vectors are not beside this checkout")
    document = json.loads(path.read_text())
    server, client = (bytes.fromhex(document["keys"][f"{side}_spki"]) for side in ("server", "client"))
    for case in document["binding"]:
        own, peer = (server, client) if case["role"] == "server" else (client, server)
        binding = Binding.channel(
            role=case["role"],
            exporter=bytes.fromhex(case["exporter"]),
            nonce=bytes.fromhex(case["nonce"]),
            own_key=own,
            peer_key=peer if case["peer_spki_sha256"] else b"",
            context=bytes.fromhex(case["context"]),
        )
        assert binding.digest is not None
        assert binding.digest.hex() == case["digest"], case["name"]


def test_digest_refuses_other_purposes_and_other_numbers_of_parts() -> None:
    with pytest.raises(ConfigurationError) as unknown:
        digest("raw", b"")
    assert unknown.value.code == "binding-purpose-unknown"
    for parts in ((), (NONCE,), (NONCE, b"", b"")):
        with pytest.raises(ConfigurationError) as number:
            digest("evidence", *parts)
        assert number.value.code == "binding-parts"


@given(
    st.lists(st.binary(max_size=6), min_size=2, max_size=2),
    st.lists(st.binary(max_size=6), min_size=2, max_size=2),
)
def test_parts_cannot_be_shifted_into_each_other(one: list[bytes], other: list[bytes]) -> None:
    assert (digest("evidence", *one) == digest("evidence", *other)) == (one == other)


@pytest.mark.parametrize("size", [0, 1, 16, 31, 33, 64])
def test_a_nonce_has_32_bytes(size: int) -> None:
    nonce = bytes(size)
    makers: list[Callable[[], Binding]] = [
        lambda: Binding.nonce(nonce),
        lambda: Binding.channel(role="server", exporter=EXPORTER, nonce=nonce, own_key=KEY),
        lambda: Binding.custody(
            nonces=[NONCE, nonce], hpke_key=b"h", application=b"a", epoch=0, holder_key=KEY
        ),
    ]
    if size:
        makers += [
            lambda: Binding.body_key(configuration=b"c", nonce=nonce),
            lambda: Binding.chain_key(chain=1, contract=CONTRACT, address=ADDRESS, nonce=nonce),
        ]
    for make in makers:
        with pytest.raises(ConfigurationError) as refused:
            make()
        assert refused.value.code == "nonce-size"
        assert str(size) in str(refused.value)


def test_parts_that_say_nothing_are_refused() -> None:
    custody: dict[str, object] = {
        "nonces": [NONCE],
        "hpke_key": b"h",
        "application": b"a",
        "epoch": 0,
        "holder_key": KEY,
    }
    node: dict[str, object] = {"node": b"n", "key": KEY, "genesis": bytes(32), "card": b"c"}
    chain: dict[str, object] = {"chain": 1, "contract": CONTRACT, "address": ADDRESS}
    channel: dict[str, object] = {"role": "server", "exporter": EXPORTER, "nonce": NONCE, "own_key": KEY}
    wrong: list[tuple[Callable[..., Binding], dict[str, object]]] = [
        (Binding.channel, channel | {"role": "both"}),
        (Binding.channel, channel | {"exporter": b""}),
        (Binding.channel, channel | {"exporter": bytes(31)}),
        (Binding.channel, channel | {"own_key": b""}),
        (Binding.custody, custody | {"nonces": []}),
        (Binding.custody, custody | {"hpke_key": b""}),
        (Binding.custody, custody | {"application": b""}),
        (Binding.custody, custody | {"holder_key": b""}),
        (Binding.custody, custody | {"epoch": -1}),
        (Binding.custody, custody | {"epoch": 1 << 64}),
        (Binding.response_key, {"key": b"", "not_after": 1}),
        (Binding.response_key, {"key": KEY, "not_after": -1}),
        (Binding.body_key, {"configuration": b""}),
        (Binding.chain_key, chain | {"chain": -1}),
        (Binding.chain_key, chain | {"chain": 1 << 256}),
        (Binding.chain_key, chain | {"contract": bytes(19)}),
        (Binding.chain_key, chain | {"address": bytes(21)}),
        (Binding.node, node | {"node": b""}),
        (Binding.node, node | {"key": b""}),
        (Binding.node, node | {"card": b""}),
        (Binding.node, node | {"genesis": bytes(31)}),
    ]
    for make, parts in wrong:
        with pytest.raises(ConfigurationError) as refused:
            make(**parts)
        assert refused.value.code == "binding-part", parts
    with pytest.raises(ConfigurationError) as long:
        Binding.app_data(bytes(4097))
    assert long.value.code == "binding-part"
    assert Binding.app_data(bytes(4096)).digest


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("fields", [False, True])
@pytest.mark.parametrize("hashed", [False, True])
def test_evidence_for_a_binding_passes_it_and_no_other(case: str, fields: bool, hashed: bool) -> None:
    committed = CASES[case][0].committed(fields=fields, hashed=hashed)
    assert len(committed.data) == (32 if hashed else 64)
    for other, (binding, _, _, _) in CASES.items():
        check = binding.check(committed, raw_declared=False)
        assert check.id == "binding"
        assert check.status is (Status.PASS if other == case else Status.FAIL), other
        assert explain(check)


def test_a_smaller_field_holds_the_digest_of_the_digest() -> None:
    binding = Binding.nonce(NONCE)
    assert binding.digest is not None
    assert binding.committed(fields=False, hashed=True).data == _sha256(binding.digest)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"data": bytes(64)}, "binding-mismatch"),
        ({"data": b""}, "binding-mismatch"),
        ({"nonce": bytes(32)}, "binding-nonce-mismatch"),
        ({"nonce": NONCE[:31]}, "binding-nonce-mismatch"),
        ({"nonce": None}, "binding-nonce-mismatch"),
        ({"nonce": b""}, "binding-nonce-mismatch"),
        ({"public_key": b"another key"}, "binding-key-mismatch"),
        ({"public_key": None}, "binding-key-mismatch"),
    ],
)
def test_separate_fields_have_to_agree(change: dict[str, bytes | None], reason: str) -> None:
    binding = CASES["channel"][0]
    committed = msgspec.structs.replace(binding.committed(fields=True), **change)
    check = binding.check(committed, raw_declared=False)
    assert (check.status, check.reason) == (Status.FAIL, reason)


def test_a_field_that_the_purpose_has_not_has_to_be_empty() -> None:
    binding = Binding.app_data(b"x")
    committed = binding.committed(fields=True)
    for change, reason in (
        ({"nonce": NONCE}, "binding-nonce-mismatch"),
        ({"public_key": KEY}, "binding-key-mismatch"),
    ):
        check = binding.check(msgspec.structs.replace(committed, **change), raw_declared=False)
        assert (check.status, check.reason) == (Status.FAIL, reason)
    empty = msgspec.structs.replace(committed, nonce=b"", public_key=b"")
    assert binding.check(empty, raw_declared=False).status is Status.PASS


def test_a_release_that_lets_others_choose_bytes_is_warned_about() -> None:
    for binding, _, _, _ in CASES.values():
        check = binding.check(binding.committed(fields=False), raw_declared=True)
        assert (check.status, check.reason) == (Status.WARN, "raw-oracle")
        wrong = binding.check(Committed(bytes(64)), raw_declared=True)
        assert wrong.status is Status.FAIL


def test_raw_report_data_has_to_be_declared() -> None:
    binding = Binding.raw(report_data=bytes(range(64)))
    committed = Committed(bytes(range(64)))
    assert binding.check(committed, raw_declared=True).status is Status.PASS
    check = binding.check(committed, raw_declared=False)
    assert (check.status, check.reason) == (Status.FAIL, "raw-report-data-undeclared")
    assert not binding.fresh
    assert Binding.raw(report_data=bytes(64), contains_nonce=True).fresh
    assert binding.check(Committed(bytes(64)), raw_declared=True).reason == "binding-mismatch"


def test_raw_fields_of_nitro() -> None:
    committed = Committed(b"user", nonce=b"n" * 20, public_key=b"key", fields=True)
    for binding in (
        Binding.raw(user_data=b"user"),
        Binding.raw(nonce=b"n" * 20),
        Binding.raw(public_key=b"key"),
        Binding.raw(user_data=b"user", nonce=b"n" * 20, public_key=b"key"),
    ):
        assert binding.check(committed, raw_declared=True).status is Status.PASS
        assert binding.check(committed, raw_declared=False).status is Status.FAIL
    for binding, reason in (
        (Binding.raw(user_data=b"users"), "binding-mismatch"),
        (Binding.raw(user_data=b""), "binding-mismatch"),
        (Binding.raw(nonce=b"n" * 19), "binding-nonce-mismatch"),
        (Binding.raw(public_key=b"yek"), "binding-key-mismatch"),
        (Binding.raw(user_data=b"user", public_key=b"yek"), "binding-key-mismatch"),
    ):
        assert binding.check(committed, raw_declared=True).reason == reason


def test_a_short_raw_nonce_is_no_proof_of_freshness() -> None:
    assert Binding.raw(nonce=bytes(16)).fresh
    assert not Binding.raw(nonce=bytes(15)).fresh
    assert not Binding.raw(user_data=b"user").fresh


def test_raw_fields_cannot_be_asked_where_there_are_none() -> None:
    for binding in (
        Binding.raw(nonce=bytes(32)),
        Binding.raw(public_key=b"key"),
        Binding.raw(nonce=b""),
        Binding.raw(user_data=bytes(64), nonce=bytes(32)),
    ):
        check = binding.check(Committed(bytes(64)), raw_declared=True)
        assert (check.status, check.reason) == (Status.FAIL, "binding-field-absent")


def test_a_raw_binding_has_to_ask_something() -> None:
    for fields in (
        {},
        {"contains_nonce": True},
        {"report_data": bytes(63)},
        {"report_data": bytes(65)},
        {"report_data": b""},
        {"report_data": bytes(64), "nonce": bytes(32)},
        {"report_data": bytes(64), "user_data": b""},
    ):
        with pytest.raises(ConfigurationError) as refused:
            Binding.raw(**fields)
        assert refused.value.code == "binding-part"


def _elsewhere(parts: Mapping[str, bytes]) -> Fields:
    return Fields(hashlib.sha512(parts["key"] + parts["nonce"]).digest())


@pytest.fixture
def layout() -> Layout:
    """Another system's layout."""
    left_open = ("relay", "diversion", "reflection")
    return Layout("elsewhere/1", ("key", "nonce"), _elsewhere, left_open, "a test", "nonce")


def test_another_systems_layout_counts_as_raw(layout: Layout) -> None:
    binding = Binding.foreign(layout, {"key": KEY, "nonce": NONCE}, ours=("nonce",))
    assert binding.digest == hashlib.sha512(KEY + NONCE).digest()
    assert binding.fresh
    committed = binding.committed(fields=False)
    check = binding.check(committed, raw_declared=True)
    assert (check.status, check.context) == (Status.PASS, {"purpose": "elsewhere/1"})
    assert binding.check(committed, raw_declared=False).status is Status.FAIL
    with pytest.raises(ConfigurationError) as refused:
        Binding.foreign(layout, {"key": KEY})
    assert refused.value.code == "binding-parts"


def test_a_release_opens_the_one_layout_that_it_names(layout: Layout) -> None:
    binding = Binding.foreign(layout, {"key": KEY, "nonce": NONCE})
    committed = binding.committed(fields=False)
    assert binding.check(committed, raw_declared=False, layout="elsewhere/1").status is Status.PASS
    for other in ("", "elsewhere/2"):
        check = binding.check(committed, raw_declared=False, layout=other)
        assert (check.status, check.reason) == (Status.FAIL, "layout-undeclared")
    mismatch = binding.check(Committed(bytes(64)), raw_declared=False, layout="elsewhere/1")
    assert mismatch.reason == "binding-mismatch"
    raw = Binding.raw(report_data=committed.data)
    check = raw.check(committed, raw_declared=False, layout="elsewhere/1")
    assert (check.status, check.reason) == (Status.FAIL, "raw-report-data-undeclared")
    # A layout that is named opens nothing else: what is ours keeps its full worth.
    ours = Binding.nonce(NONCE)
    check = ours.check(ours.committed(fields=False), raw_declared=False, layout="elsewhere/1")
    assert check.status is Status.PASS


def test_without_a_release_nobody_says_that_code_binds_so(layout: Layout) -> None:
    binding = Binding.foreign(layout, {"key": KEY, "nonce": NONCE})
    check = binding.check(binding.committed(fields=False), raw_declared=False, layout=None)
    assert (check.status, check.reason) == (Status.SKIPPED, "layout-without-release")
    # What differs is refused all the same.
    check = binding.check(Committed(bytes(64)), raw_declared=False, layout=None)
    assert (check.status, check.reason) == (Status.FAIL, "binding-mismatch")
    # And raw bytes are nobody's layout.
    raw = Binding.raw(report_data=bytes(64)).check(Committed(bytes(64)), raw_declared=False, layout=None)
    assert (raw.status, raw.reason) == (Status.FAIL, "raw-report-data-undeclared")


def test_only_what_the_verifier_chose_makes_evidence_fresh(layout: Layout) -> None:
    parts = {"key": KEY, "nonce": NONCE}
    assert not Binding.foreign(layout, parts).fresh
    assert not Binding.foreign(layout, parts, ours=("key",)).fresh
    replayable = msgspec.structs.replace(layout, fresh="")
    assert not Binding.foreign(replayable, parts, ours=("key", "nonce")).fresh


def test_a_layout_may_leave_the_end_of_the_field_open(layout: Layout) -> None:
    partial = msgspec.structs.replace(
        layout, compute=lambda parts: Fields(hashlib.sha256(parts["key"]).digest(), partial=True)
    )
    binding = Binding.foreign(partial, {"key": KEY, "nonce": NONCE})
    for data, status in (
        (_sha256(KEY) + bytes(32), Status.PASS),
        (_sha256(KEY) + b"\xff" * 32, Status.PASS),
        (_sha256(PEER) + bytes(32), Status.FAIL),
        (_sha256(KEY)[:31], Status.FAIL),
    ):
        assert binding.check(Committed(data), raw_declared=True).status is status


def test_parts_that_contradict_each_other_bind_nothing(layout: Layout) -> None:
    other = msgspec.structs.replace(
        layout, compute=lambda _: Fields(bytes(64), contradiction="claims-other-key")
    )
    binding = Binding.foreign(other, {"key": KEY, "nonce": NONCE})
    check = binding.check(Committed(bytes(64)), raw_declared=True)
    assert (check.status, check.reason) == (Status.FAIL, "claims-other-key")


def test_a_layout_may_name_fields_of_its_own(layout: Layout) -> None:
    keyed = msgspec.structs.replace(layout, compute=lambda parts: Fields(None, parts["nonce"], parts["key"]))
    binding = Binding.foreign(keyed, {"key": KEY, "nonce": NONCE})
    holds = Committed(b"anything", nonce=NONCE, public_key=KEY, fields=True)
    assert binding.check(holds, raw_declared=True).status is Status.PASS
    for change, reason in (
        ({"public_key": PEER}, "binding-key-mismatch"),
        ({"nonce": None}, "binding-nonce-mismatch"),
        ({"fields": False}, "binding-field-absent"),
    ):
        check = binding.check(msgspec.structs.replace(holds, **change), raw_declared=True)
        assert check.reason == reason


def test_every_purpose_says_what_it_leaves_open() -> None:
    words = {"replay", "relay", "diversion", "reflection"}
    for purpose in PURPOSES.values():
        assert set(purpose.unprotected) <= words
        # Image identity alone lets anybody's genuine machine answer.
        assert "diversion" in purpose.unprotected
    assert PURPOSES["channel"].unprotected == ("diversion",)
