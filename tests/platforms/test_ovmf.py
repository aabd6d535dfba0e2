# SPDX-License-Identifier: Apache-2.0
"""The table of GUIDs at the end of OVMF: real images, and images that lie."""

import contextlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nacre.errors import MalformedEvidence
from nacre.platforms import ovmf

_FOOTER = ovmf.guid("96b582de-1fb2-45f7-baea-a366c55a082d")
_ONE, _TWO = bytes(15) + b"\1", bytes(15) + b"\2"


def _entry(guid: bytes, data: bytes, *, length: int | None = None) -> bytes:
    size = len(data) + 18 if length is None else length
    return data + size.to_bytes(2, "little") + guid


def _firmware(table: bytes, *, total: int | None = None) -> bytes:
    size = len(table) + 18 if total is None else total
    return b"\xaa" * 64 + table + size.to_bytes(2, "little") + _FOOTER + bytes(32)


def test_entries_are_found_by_their_guid() -> None:
    table = _entry(_TWO, b"") + _entry(_ONE, b"here")
    assert ovmf.entries(_firmware(table)) == {_ONE: b"here", _TWO: b""}
    assert ovmf.entries(_firmware(b"")) == {}


def test_a_guid_is_stored_with_its_first_groups_reversed() -> None:
    assert ovmf.guid("00112233-4455-6677-8899-aabbccddeeff").hex() == "33221100554477668899aabbccddeeff"


def test_of_two_with_one_guid_the_nearer_to_the_end_counts() -> None:
    table = _entry(_ONE, b"far") + _entry(_ONE, b"near")
    assert ovmf.entries(_firmware(table)) == {_ONE: b"near"}


def test_a_real_one(vectors: Path) -> None:
    found = ovmf.entries((vectors / "measure/snp/ovmf_OvmfX64_suffix.bin").read_bytes())
    assert ovmf.guid("00f771de-1a7e-4fcb-890e-68c77e2fb44e") in found
    assert ovmf.guid("dc886566-984a-4798-a75e-5585a7bf67cc") in found


@pytest.mark.parametrize(
    "firmware",
    [
        b"",
        bytes(49),
        bytes(4096),
        _firmware(b"")[:-1],
        _firmware(b"", total=17),
        _firmware(b"", total=0xFFFF),
        _firmware(bytes(17)),
        _firmware(_entry(_ONE, b"", length=17)),
        _firmware(_entry(_ONE, b"", length=19)),
        _firmware(_entry(_ONE, b"", length=0)),
    ],
)
def test_a_table_that_cannot_be(firmware: bytes) -> None:
    with pytest.raises(MalformedEvidence) as raised:
        ovmf.entries(firmware)
    assert raised.value.code == "firmware-table"
    assert "table of GUIDs" in str(raised.value)


@given(st.binary(max_size=200), st.none() | st.integers(0, 300))
def test_any_bytes_are_read_or_refused(table: bytes, total: int | None) -> None:
    with contextlib.suppress(MalformedEvidence):
        found = ovmf.entries(_firmware(table, total=total))
        assert sum(len(data) + 18 for data in found.values()) <= len(table) + 64
