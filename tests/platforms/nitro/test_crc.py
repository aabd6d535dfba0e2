# SPDX-License-Identifier: Apache-2.0
"""The checksum of a whole from those of its parts is zlib's."""

import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nacre.platforms.nitro.crc import combined


@given(st.binary(max_size=300), st.binary(max_size=300))
def test_combined_is_the_checksum_of_the_whole(first: bytes, rest: bytes) -> None:
    assert combined(zlib.crc32(first), zlib.crc32(rest), len(rest)) == zlib.crc32(first + rest)


@pytest.mark.parametrize("size", [1 << 16, (1 << 20) + 1, 3_000_017])
def test_long_rests(size: int) -> None:
    rest = bytes(size)
    assert combined(zlib.crc32(b"head"), zlib.crc32(rest), size) == zlib.crc32(b"head" + rest)
