# SPDX-License-Identifier: Apache-2.0
"""Strict CBOR: what is refused, what the encoder writes, and that nothing foreign escapes."""

import contextlib
import tracemalloc
from http import HTTPStatus
from types import MappingProxyType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nacre.checks import Status
from nacre.errors import MalformedEvidence
from nacre.trust import cbor
from nacre.trust.cbor import Pairs, Tag

_LIMIT = 1 << 20


def _loads(data: bytes, *, lax: bool = False, pairs: bool = False) -> object:
    return cbor.loads(data, what="the item", limit=_LIMIT, indefinite=lax, tags=lax, pairs=pairs)


# RFC 8949, appendix A, as far as it is neither a float, a chunked string nor undefined.
@pytest.mark.parametrize(
    ("data", "value"),
    [
        ("00", 0),
        ("01", 1),
        ("0a", 10),
        ("17", 23),
        ("1818", 24),
        ("1819", 25),
        ("1864", 100),
        ("1903e8", 1000),
        ("1a000f4240", 1000000),
        ("1b000000e8d4a51000", 1000000000000),
        ("1bffffffffffffffff", 18446744073709551615),
        ("3bffffffffffffffff", -18446744073709551616),
        ("20", -1),
        ("29", -10),
        ("3863", -100),
        ("3903e7", -1000),
        ("f4", False),
        ("f5", True),
        ("f6", None),
        ("40", b""),
        ("4401020304", b"\1\2\3\4"),
        ("60", ""),
        ("6161", "a"),
        ("6449455446", "IETF"),
        ("62225c", '"\\'),
        ("62c3bc", "\u00fc"),
        ("63e6b0b4", "\u6c34"),
        ("64f0908591", "\U00010151"),
        ("80", []),
        ("83010203", [1, 2, 3]),
        ("8301820203820405", [1, [2, 3], [4, 5]]),
        ("98190102030405060708090a0b0c0d0e0f101112131415161718181819", list(range(1, 26))),
        ("a0", {}),
        ("a201020304", {1: 2, 3: 4}),
        ("a26161016162820203", {"a": 1, "b": [2, 3]}),
        ("826161a161626163", ["a", {"b": "c"}]),
        ("a56161614161626142616361436164614461656145", dict(zip("abcde", "ABCDE", strict=True))),
    ],
)
def test_definite_items(data: str, value: object) -> None:
    encoded = bytes.fromhex(data)
    assert _loads(encoded) == value
    assert type(_loads(encoded)) is type(value)
    assert cbor.dumps(value) == encoded


@pytest.mark.parametrize(
    ("data", "value"),
    [
        ("9fff", []),
        ("9f018202039f0405ffff", [1, [2, 3], [4, 5]]),
        ("83018202039f0405ff", [1, [2, 3], [4, 5]]),
        ("bf61610161629f0203ffff", {"a": 1, "b": [2, 3]}),
        ("826161bf61626163ff", ["a", {"b": "c"}]),
        ("bf6346756ef563416d7421ff", {"Fun": True, "Amt": -2}),
        ("c11a514b67b0", Tag(1, 1363896240)),
        ("d82076687474703a2f2f7777772e6578616d706c652e636f6d", Tag(32, "http://www.example.com")),
        ("d818456449455446", Tag(24, b"dIETF")),
        ("d28440a0f640", Tag(18, [b"", {}, None, b""])),
        ("82c1c001c102", [Tag(1, Tag(0, 1)), Tag(1, 2)]),
        ("bfff", {}),
        ("bf01a0ff", {1: {}}),
    ],
)
def test_what_has_to_be_asked_for(data: str, value: object) -> None:
    encoded = bytes.fromhex(data)
    assert _loads(encoded, lax=True) == value
    with pytest.raises(MalformedEvidence) as caught:
        _loads(encoded)
    assert caught.value.code == "cbor-item"


_REFUSED = [
    ("", "truncated"),
    ("18", "truncated"),
    ("19 00", "truncated"),
    ("1b 00000000", "truncated"),
    ("41", "truncated"),
    ("5a ffffffff", "truncated"),
    ("5b ffffffffffffffff 00", "truncated"),
    ("62 61", "truncated"),
    ("81", "truncated"),
    ("82 00", "truncated"),
    ("9a 00010000 00", "truncated"),
    ("a1 00", "truncated"),
    ("a2 00 00 01", "truncated"),
    ("b9 8000 0000", "truncated"),
    ("c1", "truncated"),
    ("9f", "truncated"),
    ("9f 00", "truncated"),
    ("bf 00", "truncated"),
    ("bf 00 00", "truncated"),
    ("9b ffffffffffffffff", "cbor-count"),
    ("9a 00010001", "cbor-count"),
    ("bb 8000000000000000", "cbor-count"),
    ("00 00", "trailing-bytes"),
    ("80 ff", "trailing-bytes"),
    ("a0 00", "trailing-bytes"),
    ("9f ff 00", "trailing-bytes"),
    ("18 00", "cbor-not-minimal"),
    ("18 17", "cbor-not-minimal"),
    ("19 0017", "cbor-not-minimal"),
    ("19 00ff", "cbor-not-minimal"),
    ("1a 0000ffff", "cbor-not-minimal"),
    ("1b 00000000ffffffff", "cbor-not-minimal"),
    ("38 17", "cbor-not-minimal"),
    ("58 01 00", "cbor-not-minimal"),
    ("78 01 61", "cbor-not-minimal"),
    ("98 01 00", "cbor-not-minimal"),
    ("b8 01 00 00", "cbor-not-minimal"),
    ("d8 01 00", "cbor-not-minimal"),
    ("a2 01 00 01 00", "cbor-duplicate-key"),
    ("a3 6161 00 6162 00 6161 01", "cbor-duplicate-key"),
    ("bf 40 00 40 00 ff", "cbor-duplicate-key"),
    ("81 a2 01 00 01 00", "cbor-duplicate-key"),
    ("a1 80 00", "cbor-key"),
    ("a1 a0 00", "cbor-key"),
    ("a1 f5 00", "cbor-key"),
    ("a1 f6 00", "cbor-key"),
    ("a1 c0 00 00", "cbor-key"),
    ("bf 00 ff", "cbor-key"),
    ("bf 00 00 00 ff", "cbor-key"),
    ("62 c328", "cbor-text"),
    ("63 eda080", "cbor-text"),
    ("61 ff", "cbor-text"),
    ("f7", "cbor-item"),
    ("e0", "cbor-item"),
    ("f0", "cbor-item"),
    ("f8 18", "cbor-item"),
    ("f8 ff", "cbor-item"),
    ("f9 3c00", "cbor-item"),
    ("fa 3f800000", "cbor-item"),
    ("fb 3ff0000000000000", "cbor-item"),
    ("ff", "cbor-item"),
    ("81 ff", "cbor-item"),
    ("a1 00 ff", "cbor-item"),
    ("c1 ff", "cbor-item"),
    ("9f c1 ff", "cbor-item"),
    ("9f 82 00 ff ff", "cbor-item"),
    ("5f 41 00 ff", "cbor-item"),
    ("7f 61 61 ff", "cbor-item"),
    ("1c", "cbor-item"),
    ("1d", "cbor-item"),
    ("1e", "cbor-item"),
    ("1f", "cbor-item"),
    ("3f", "cbor-item"),
    ("5c", "cbor-item"),
    ("9e", "cbor-item"),
    ("df", "cbor-item"),
    ("fc", "cbor-item"),
]


@pytest.mark.parametrize(("data", "code"), _REFUSED)
def test_refuses(data: str, code: str) -> None:
    with pytest.raises(MalformedEvidence) as caught:
        _loads(bytes.fromhex(data), lax=True)
    assert caught.value.code == code
    assert "the item" in str(caught.value)


def test_too_large() -> None:
    with pytest.raises(MalformedEvidence) as caught:
        cbor.loads(b"\x42ab", what="x", limit=2)
    assert caught.value.code == "too-large"


@pytest.mark.parametrize("opening", [b"\x81", b"\x9f", b"\xa1\x00", b"\xbf\x00", b"\xc1"])
def test_depth(opening: bytes) -> None:
    closing = b"\xff" if opening[:1] in (b"\x9f", b"\xbf") else b""
    _loads(opening * 16 + b"\0" + closing * 16, lax=True)
    for data in (opening * 17 + b"\0" + closing * 17, opening * 100_000):
        with pytest.raises(MalformedEvidence) as caught:
            _loads(data, lax=True)
        assert caught.value.code == "cbor-depth"


def test_an_offset_is_told() -> None:
    with pytest.raises(MalformedEvidence) as caught:
        _loads(bytes.fromhex("82 00 18 17"))
    assert caught.value.context["offset"] == 2
    with pytest.raises(MalformedEvidence) as caught:
        _loads(bytes.fromhex("82 00"))
    assert caught.value.context == {"what": "the item", "offset": 1, "expected": 2, "actual": 1}


def test_a_long_list_of_no_stated_length() -> None:
    _loads(b"\x9f" + bytes(2 * cbor.MAX_ITEMS) + b"\xff", lax=True)
    with pytest.raises(MalformedEvidence) as caught:
        _loads(b"\x9f" + bytes(2 * cbor.MAX_ITEMS + 1) + b"\xff", lax=True)
    assert caught.value.code == "cbor-count"


def test_pairs_keep_what_stands_there() -> None:
    data = bytes.fromhex("a3 6161 00 6161 01 01 bf 40f6 40f5 ff")
    inner = Pairs([(b"", None), (b"", True)], definite=False)
    assert _loads(data, lax=True, pairs=True) == Pairs([("a", 0), ("a", 1), (1, inner)], definite=True)


def test_entries() -> None:
    data = bytes.fromhex("00 a2 6161 4101 6162 9f 00 1818 ff")
    outer = list(cbor.entries(data, 1, what="x"))
    assert [(entry.key, entry.value, entry.start, entry.stop) for entry in outer] == [
        ("a", b"\1", 4, 6),
        ("b", [0, 24], 8, 13),
    ]
    inner = list(cbor.entries(data, outer[1].start, what="x"))
    assert [(entry.key, entry.value, entry.start, entry.stop) for entry in inner] == [
        (0, 0, 9, 10),
        (1, 24, 10, 12),
    ]
    assert [entry.stop for entry in cbor.entries(b"\x98\x18" + bytes(24), 0, what="x")] == list(range(3, 27))
    assert list(cbor.entries(b"\x80", 0, what="x")) == []


@pytest.mark.parametrize("data", ["", "00", "40", "c100", "81", "9f", "98", "a100", "82 00 ff"])
def test_entries_refuse(data: str) -> None:
    with pytest.raises(MalformedEvidence):
        list(cbor.entries(bytes.fromhex(data), 0, what="x"))


def test_keys_are_sorted_by_their_encoding() -> None:
    keys: list[object] = [10, 100, -1, "z", "aa", b"b", b""]
    value = dict.fromkeys(reversed(keys), 0)
    assert cbor.dumps(value) == bytes.fromhex("a7 0a00 186400 2000 4000 416200 617a00 62616100")


def test_identity_document_of_the_specification() -> None:
    # specs/bindings.md: {1: [SPKI, …], 2: release id, 3: boot id, 4: mode, 5: deployment key or null}
    document = cbor.dumps({5: None, 4: "simulated", 3: bytes(16), 2: "r1", 1: [b"a", b"b"]})
    assert document == bytes.fromhex("a5 01 82 4161 4162 02 62 7231 03 50" + "00" * 16) + (
        b"\x04\x69simulated\x05\xf6"
    )


def test_the_encoder_takes_what_is_of_a_kind_with_built_in_types() -> None:
    kinds = {Status.PASS: MappingProxyType({HTTPStatus.OK: range(2)}), "t": cbor.Tag(1, HTTPStatus.OK)}
    assert cbor.dumps(kinds) == bytes.fromhex("a2 6174 c1 18c8 64 70617373 a1 18c8 82 00 01")


@pytest.mark.parametrize("value", [1.0, object(), {1.5}, Ellipsis, [1, 2.0], {1: 1j}])
def test_the_encoder_refuses(value: object) -> None:
    with pytest.raises(TypeError):
        cbor.dumps(value)


@pytest.mark.parametrize("value", [2**64, -(2**64) - 1])
def test_the_encoder_has_64_bits(value: int) -> None:
    with pytest.raises(OverflowError):
        cbor.dumps(value)


_KEYS = st.integers(-(2**64), 2**64 - 1) | st.binary() | st.text(st.characters(exclude_categories=["Cs"]))
_VALUES = st.recursive(
    st.none() | st.booleans() | _KEYS,
    lambda inner: st.lists(inner) | st.dictionaries(_KEYS, inner),
    max_leaves=20,
)


@given(_VALUES)
def test_round_trip(value: object) -> None:
    assert _loads(cbor.dumps(value)) == value


@given(st.binary(max_size=100), st.booleans())
def test_raises_nothing_else(data: bytes, lax: bool) -> None:
    with contextlib.suppress(MalformedEvidence):
        value = _loads(data, lax=lax)
        if not lax:
            assert _loads(cbor.dumps(value)) == value
    with contextlib.suppress(MalformedEvidence):
        list(cbor.entries(data, 0, what="x"))


_HEADS = [bytes((byte,)) for byte in range(256)] + [b"\x9f", b"\xbf", b"\xff", b"\x61a"]


@given(st.lists(st.sampled_from(_HEADS)))
def test_raises_nothing_else_on_heads(pieces: list[bytes]) -> None:
    with contextlib.suppress(MalformedEvidence):
        _loads(b"".join(pieces), lax=True, pairs=True)


@pytest.mark.parametrize("piece", [b"\x80", b"\xa0", b"\x81\0", b"\xa1\0\0", b"\xc1\0"])
def test_containers_are_counted(piece: bytes) -> None:
    count = cbor.MAX_CONTAINERS
    _loads(b"\x9f" + piece * (count - 1) + b"\xff", lax=True)
    with pytest.raises(MalformedEvidence) as caught:
        _loads(b"\x9f" + piece * count + b"\xff", lax=True)
    assert caught.value.code == "cbor-count"


@pytest.mark.parametrize(
    "piece", [b"\0", b"\x18\x20", b"\x42ab", b"\x80", b"\xa0", b"\x40", b"\x81\0", b"\xa1\0\0"]
)
@pytest.mark.parametrize("opening", [b"\x9f", b"\xbf", b"\x99\x1f\xf0"])
def test_memory_is_linear(piece: bytes, opening: bytes) -> None:
    size = 1 << 13
    data = opening + piece * ((size - 10) // len(piece)) + b"\xff"
    tracemalloc.start()
    try:
        for pairs in (True, False):
            with contextlib.suppress(MalformedEvidence):
                _loads(data, lax=True, pairs=pairs)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 160 * size
