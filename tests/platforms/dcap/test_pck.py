# SPDX-License-Identifier: Apache-2.0
"""The SGX extension: one meaning, whatever form its numbers take, and nothing that is not Intel's."""

import functools
from collections.abc import Mapping

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.platforms.dcap.judging import assert_spoken
from tests.platforms.dcap.pki import (
    FMSPC,
    INSTANCE,
    PCESVN,
    PPID,
    SVNS,
    World,
    der,
    extension,
    extension_fields,
    integer,
    pair,
)

from nacre.errors import MalformedEvidence
from nacre.platforms.dcap.pck import SGX_EXTENSION, SGX_TYPES, PckExtension, parse_extension
from nacre.trust.x509 import Certificate, parse_certificate


@functools.cache
def _leaf() -> Certificate:
    return parse_certificate(World().der("pck"))


def _parse(value: bytes) -> PckExtension:
    return parse_extension(msgspec.structs.replace(_leaf(), extensions={SGX_EXTENSION: (False, value)}))


def _fields(changes: Mapping[int, bytes | None]) -> bytes:
    fields = {n: v for n, v in (extension_fields() | dict(changes)).items() if v is not None}
    return extension(fields)[2]


def _refused(value: bytes) -> str:
    with pytest.raises(MalformedEvidence) as caught:
        _parse(value)
    assert "SGX extension" in str(caught.value)
    assert_spoken(caught.value)
    return caught.value.code


def _tcb(*pairs: bytes) -> Mapping[int, bytes]:
    return {2: pair((2,), der(0x30, b"".join(pairs)))}


def _svn_pairs(svns: "tuple[int, ...]" = SVNS, pcesvn: int = PCESVN) -> list[bytes]:
    pairs = [pair((2, number), integer(svn)) for number, svn in enumerate((*svns, pcesvn), 1)]
    return [*pairs, pair((2, 18), der(0x04, bytes(range(16))))]


def test_every_field() -> None:
    assert parse_extension(_leaf()) == PckExtension(
        ppid=PPID,
        svns=bytes(SVNS),
        pcesvn=PCESVN,
        cpusvn=bytes(SVNS),
        pceid=bytes(2),
        fmspc=FMSPC,
        sgx_type=1,
        platform_instance=INSTANCE,
        dynamic_platform=True,
        cached_keys=False,
        smt=True,
    )


@given(st.lists(st.integers(0, 255), min_size=16, max_size=16), st.integers(0, 0xFFFF), st.randoms())
def test_svns_of_any_size_and_order(svns: list[int], pcesvn: int, chance: "st.random.Random") -> None:  # type: ignore[name-defined]
    pairs = _svn_pairs(tuple(svns), pcesvn)
    for _ in range(2):
        found = _parse(_fields(_tcb(*pairs)))
        assert (found.svns, found.pcesvn, found.cpusvn) == (bytes(svns), pcesvn, bytes(range(16)))
        chance.shuffle(pairs)


@pytest.mark.parametrize("number", [1, 16, 17])
@pytest.mark.parametrize("value", [-1, 256, 65536, -128])
def test_numbers_out_of_range(number: int, value: int) -> None:
    if number == 17 and value == 256:
        return
    pairs = _svn_pairs()
    content = value.to_bytes(4, "big", signed=True).lstrip(b"\0" if value > 0 else b"\xff")
    pairs[number - 1] = pair((2, number), der(0x02, content or b"\xff"))
    if value > 0 and content[0] >= 0x80:
        pairs[number - 1] = pair((2, number), der(0x02, b"\0" + content))
    assert _refused(_fields(_tcb(*pairs))) == "document-member"


@pytest.mark.parametrize("content", [b"", b"\0\5", b"\0\0\5", b"\xff\xff"])
def test_numbers_in_another_form(content: bytes) -> None:
    pairs = _svn_pairs()
    pairs[3] = pair((2, 4), der(0x02, content))
    assert _refused(_fields(_tcb(*pairs))) == "der-value"


@pytest.mark.parametrize("place", range(18))
def test_tcb_entries(place: int) -> None:
    """Each is there once, of its type."""
    pairs = _svn_pairs()
    missing = pairs[:place] + pairs[place + 1 :]
    assert _refused(_fields(_tcb(*missing))) == "pck-extension-field"
    assert _refused(_fields(_tcb(*pairs, pairs[place]))) == "pck-extension-field"
    assert _refused(_fields(_tcb(pairs[place], *pairs))) == "pck-extension-field"
    other = pair((2, place + 1), der(0x05, b""))
    assert _refused(_fields(_tcb(*pairs[:place], other, *pairs[place + 1 :]))) == "pck-extension-field"
    assert _refused(_fields(_tcb(*pairs, pair((2, 19), integer(0))))) == "pck-extension-field"


@pytest.mark.parametrize("number", range(1, 8))
def test_fields(number: int) -> None:
    fields = extension_fields()
    if number < 6:
        assert _refused(_fields({number: None})) == "pck-extension-field"
    assert _refused(extension({**fields, 9: fields[number]})[2]) == "pck-extension-field"
    assert _refused(_fields({number: pair((number,), der(0x05, b""))})) == "pck-extension-field"
    assert _refused(_fields({number: pair((number,), b"")})) == "pck-extension-field"
    cut = fields[number][:-1]
    assert _refused(_fields({number: cut})) in ("der-tag", "der-length", "truncated", "pck-extension-field")


@pytest.mark.parametrize(("number", "size"), [(1, 16), (3, 2), (4, 6), (6, 16)])
def test_sizes(number: int, size: int) -> None:
    for other in {0, 1, size - 1, size + 1, 200} - {size}:
        assert _refused(_fields({number: pair((number,), der(0x04, bytes(other)))})) == "length-mismatch"


def test_sgx_types() -> None:
    for value in range(len(SGX_TYPES)):
        assert _parse(_fields({5: pair((5,), der(0x0A, bytes((value,))))})).sgx_type == value
    assert _refused(_fields({5: pair((5,), der(0x0A, b"\3"))})) == "document-member"
    assert _refused(_fields({5: pair((5,), der(0x0A, b"\xff"))})) == "document-member"
    assert _refused(_fields({5: pair((5,), integer(1))})) == "pck-extension-field"


def test_what_may_be_left_out() -> None:
    found = _parse(_fields({6: None, 7: None}))
    states = (found.platform_instance, found.dynamic_platform, found.cached_keys, found.smt)
    assert states == (None, None, None, None)
    found = _parse(_fields({7: pair((7,), der(0x30, pair((7, 3), der(0x01, b"\0"))))}))
    assert (found.dynamic_platform, found.cached_keys, found.smt) == (None, None, False)
    found = _parse(_fields({7: pair((7,), der(0x30, b""))}))
    assert (found.dynamic_platform, found.cached_keys, found.smt) == (None, None, None)
    twice = pair((7, 3), der(0x01, b"\0")) * 2
    assert _refused(_fields({7: pair((7,), der(0x30, twice))})) == "pck-extension-field"
    assert _refused(_fields({7: pair((7,), der(0x30, pair((7, 1), der(0x01, b"\1"))))})) == "der-value"


def test_fields_that_intel_may_add() -> None:
    added = pair((8,), der(0x04, bytes(300)))
    assert _parse(_fields({8: added})) == _parse(_fields({}))
    short = pair((8,), der(0x04, bytes(3)))
    assert _parse(_fields({8: short})) == _parse(_fields({}))
    # Long enough for a length of two bytes, with something behind the value.
    longer = der(0x30, added[4:] + b"\0")
    assert _refused(_fields({8: longer})) == "trailing-bytes"


def test_other_identifiers() -> None:
    foreign = der(0x30, der(0x06, bytes.fromhex("2a864886f84d010e0104")) + der(0x04, FMSPC))
    assert _refused(_fields({4: foreign})) == "pck-extension-field"
    assert _refused(_fields({8: foreign})) == "pck-extension-field"
    assert _refused(_fields({4: pair((4, 1), der(0x04, FMSPC))})) == "pck-extension-field"
    assert _refused(_fields({4: b"\x30"})) in ("truncated", "pck-extension-field")
    assert _refused(_fields({8: b"\x30"})) == "pck-extension-field"
    assert _refused(_fields({8: b"\x31\0"})) == "der-tag"
    assert _refused(_fields({8: b"\x30\x00"})) == "pck-extension-field"


def test_tcb_that_ends_early() -> None:
    """The sixteen numbers lie behind each other, and the sequence says that it ends before them."""
    pairs = b"".join(_svn_pairs())
    for size in (0, 17, len(pairs) - 40):
        inner = der(0x30, pairs[:size])
        broken = der(0x30, extension_fields()[2][2 : 2 + 12] + inner + pairs[size:])
        assert _refused(_fields({2: broken}))


def test_no_extension() -> None:
    with pytest.raises(MalformedEvidence) as caught:
        parse_extension(msgspec.structs.replace(_leaf(), extensions={}))
    assert caught.value.code == "pck-extension-missing"
    assert "Intel SGX PCK Certificate" in str(caught.value)


@pytest.mark.parametrize(
    "value", [b"", b"\0", b"\x30", b"\x30\x80", b"\x30\x01", b"\x04\x00", b"\x30\x00\x00"]
)
def test_values_that_are_no_sequence(value: bytes) -> None:
    _refused(value)


@given(st.binary(max_size=80))
def test_junk(data: bytes) -> None:
    for value in (data, der(0x30, data), der(0x30, pair((2,), der(0x30, data)))):
        with pytest.raises(MalformedEvidence):
            _parse(value)


@given(st.data())
def test_every_change_is_read_or_refused(data: st.DataObject) -> None:
    value = bytearray(_fields({}))
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(0, len(value) - 1))
        value[place] = data.draw(st.integers(0, 255))
    try:
        found = _parse(bytes(value[: data.draw(st.just(len(value)) | st.integers(0, len(value)))]))
    except MalformedEvidence as error:
        assert_spoken(error)
    else:
        assert len(found.svns) == 16
