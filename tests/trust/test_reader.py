# SPDX-License-Identifier: Apache-2.0
"""The bounded reader never reads past its end, and says where it would have."""

import contextlib
from collections.abc import Callable
from struct import Struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nacre.errors import MalformedEvidence
from nacre.trust.reader import Reader

_PAIR = Struct("<HI")


def test_it_reads_in_order() -> None:
    reader = Reader(b"\x01\x02\x03\x04\x05\x06\x07abc\x01\x00\x02\x00\x00\x00rest", "thing")
    assert reader.u16() == 0x0201
    assert reader.u32() == 0x06050403
    assert reader.take(1) == b"\x07"
    assert reader.take(0) == b""
    reader.skip(0)
    reader.skip(1)
    assert reader.take(2) == b"bc"
    assert reader.unpack(_PAIR) == (1, 2)
    assert (reader.offset, reader.remaining) == (16, 4)
    assert reader.rest() == b"rest"
    reader.finish()
    assert reader.rest() == b""


def test_it_reads_a_range() -> None:
    reader = Reader(b"abcdef", "thing", start=1, end=3)
    assert (reader.offset, reader.remaining) == (1, 2)
    assert reader.rest() == b"bc"
    reader.finish()
    reader = Reader(b"abcdef", "thing", start=4)
    assert reader.rest() == b"ef"


@pytest.mark.parametrize(("start", "end"), [(3, 2), (0, 7), (7, 7)])
def test_a_range_has_to_be_there(start: int, end: int) -> None:
    with pytest.raises(MalformedEvidence) as caught:
        Reader(b"abcdef", "thing", start=start, end=end)
    assert caught.value.code == "truncated"


@pytest.mark.parametrize("data", [(b"abc", None), (b"abcdefghijkl", 3)])
@pytest.mark.parametrize(
    "read",
    [
        lambda reader: reader.take(4, "field"),
        lambda reader: reader.take(-1, "field"),
        lambda reader: reader.take(1 << 62, "field"),
        lambda reader: reader.skip(4, "field"),
        lambda reader: reader.skip(-1, "field"),
        lambda reader: reader.u32("field"),
        lambda reader: reader.unpack(_PAIR, "field"),
    ],
)
def test_short_reads_raise_and_read_nothing(
    data: tuple[bytes, int | None], read: Callable[[Reader], object]
) -> None:
    reader = Reader(data[0], "thing", end=data[1])
    with pytest.raises(MalformedEvidence) as caught:
        read(reader)
    assert caught.value.code == "truncated"
    assert str(caught.value).startswith("thing: field ends early")
    assert caught.value.context["actual"] == 3
    assert reader.offset == 0
    assert reader.take(3) == b"abc"


def test_what_is_left_over_is_an_error() -> None:
    reader = Reader(b"abc", "thing")
    reader.u16()
    with pytest.raises(MalformedEvidence) as caught:
        reader.finish()
    assert caught.value.code == "trailing-bytes"
    assert str(caught.value) == "thing has 1 bytes after its end, at offset 2"
    with pytest.raises(MalformedEvidence, match="thing ends early"):
        reader.u16()


@given(st.binary(max_size=40), st.lists(st.integers(-3, 20), max_size=10))
def test_pieces_make_the_whole(data: bytes, sizes: list[int]) -> None:
    reader = Reader(data, "thing")
    read = b""
    for size in sizes:
        with contextlib.suppress(MalformedEvidence):
            piece = reader.take(size)
            assert len(piece) == size
            read += piece
    assert read + reader.rest() == data
    reader.finish()
