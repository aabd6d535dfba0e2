# SPDX-License-Identifier: Apache-2.0
"""Programs hash as firmware hashes them; what could run unmeasured is refused."""

import contextlib
import hashlib
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.platforms.programs import HEADERS, Made, program

from nacre.errors import MalformedEvidence, NacreError
from nacre.platforms.pe import Section, authenticode, parse

_SECTIONS = {".text": b"code" * 200, ".data": b"data", ".empty": b""}
_PLAIN = program(_SECTIONS)
#: Where the optional header of these programs begins.
_OPTIONAL = 0x80 + 24


def _left_out(image: bytes, *ranges: tuple[int, int]) -> bytes:
    gone = {place for start, size in ranges for place in range(start, start + size)}
    return hashlib.sha256(bytes(one for place, one in enumerate(image) if place not in gone)).digest()


def _table(image: bytes, index: int, **changes: int) -> bytes:
    """Change the table of sections."""
    at = parse(image).table + 40 * index
    name, *values = struct.unpack_from("<8sIIII", image, at)
    stated = dict(zip(("memory", "address", "size", "offset"), values, strict=True)) | changes
    return image[:at] + struct.pack("<8sIIII", name, *stated.values()) + image[at + 24 :]


def test_sections() -> None:
    found = parse(_PLAIN)
    assert (found.machine, found.headers, found.certificates) == (0x8664, HEADERS, 0)
    assert found.sections == (
        Section(b".text", 800, HEADERS, 1024, HEADERS),
        Section(b".data", 4, HEADERS + 1024, 512, HEADERS + 1024),
        Section(b".empty", 0, HEADERS + 1536, 0, HEADERS + 1536),
    )
    assert found.section(b".data") == found.sections[1]
    assert found.section(b".rsrc") is None
    twice = _PLAIN.replace(b".data\0", b".text\0", 1)
    with pytest.raises(MalformedEvidence) as caught:
        parse(twice).section(b".text")
    assert caught.value.code == "pe-section-twice"


@pytest.mark.parametrize("magic", [0x10B, 0x20B])
@pytest.mark.parametrize("directories", [4, 16])
def test_hash(magic: int, directories: int) -> None:
    signed = directories == 16
    made = Made(magic=magic, directories=directories)
    image = program(_SECTIONS, made=made, certificates=b"signed!!" * 3 if signed else b"", end=b"odd")
    base = _OPTIONAL + (112 if magic == 0x20B else 96) + 32
    gone = [(_OPTIONAL + 64, 4)]
    if signed:
        gone += [(base, 8), (len(image) - 24, 24)]
        assert struct.unpack_from("<II", image, base) == (len(image) - 24, 24)
    assert authenticode(image, algorithm="sha256") == _left_out(image, *gone)
    assert authenticode(memoryview(image), algorithm="sha256") == authenticode(image, algorithm="sha256")


def test_hash_takes_sections_as_they_lie_not_as_they_are_listed() -> None:
    one, two = (_PLAIN[at : at + 40] for at in (parse(_PLAIN).table, parse(_PLAIN).table + 40))
    image = _PLAIN.replace(one + two, two + one)
    assert image != _PLAIN
    assert authenticode(image, algorithm="sha256") == _left_out(
        image, (_OPTIONAL + 64, 4), (_OPTIONAL + 112 + 32, 8)
    )


def test_every_byte_that_runs_is_hashed() -> None:
    expected = authenticode(_PLAIN, algorithm="sha384")
    for place in range(HEADERS, len(_PLAIN), 97):
        changed = bytearray(_PLAIN)
        changed[place] ^= 1
        assert authenticode(bytes(changed), algorithm="sha384") != expected


_WRONG = {
    "empty": (b"", "pe-header"),
    "short": (b"MZ" + bytes(40), "pe-header"),
    "other": (b"\x7fELF" + bytes(100), "pe-header"),
    "header-beyond": (b"MZ".ljust(60, b"\0") + struct.pack("<I", 1 << 31), "truncated"),
    "magic": (_PLAIN.replace(b"PE\0\0", b"PE\0\1"), "pe-header"),
    "no-section": (program({}), "pe-header"),
    "many-sections": (
        _PLAIN[:0x86] + (97).to_bytes(2, "little") + _PLAIN[0x88:],
        "pe-header",
    ),
    "optional-magic": (program(_SECTIONS, made=Made(magic=0x107)), "pe-header"),
    "optional-cut": (program(_SECTIONS, made=Made(optional=110)), "pe-header"),
    "directory-cut": (program(_SECTIONS, made=Made(optional=144)), "pe-header"),
    "table-cut": (_PLAIN[: parse(_PLAIN).table + 50], "truncated"),
    "headers-long": (program(_SECTIONS, made=Made(headers=1 << 20)), "pe-section"),
    "headers-short": (program(_SECTIONS, made=Made(headers=64)), "pe-section"),
    "headers-over-section": (program(_SECTIONS, made=Made(headers=HEADERS + 1)), "pe-section"),
    "section-beyond": (_table(_PLAIN, 1, size=1024), "pe-section"),
    "section-over-section": (_table(_PLAIN, 1, offset=HEADERS + 512), "pe-section"),
    "section-in-headers": (_table(_PLAIN, 0, offset=0), "pe-section"),
    "memory-over-memory": (_table(_PLAIN, 1, address=HEADERS + 799), "pe-section"),
    "memory-beyond": (_table(_PLAIN, 1, memory=0xFFFFFFFF), "pe-section"),
    "memory-of-the-file": (_table(_PLAIN, 1, memory=0, address=HEADERS - 100), "pe-section"),
    "certificates-within": (
        program(_SECTIONS, made=Made(certificates=(HEADERS, 8)), certificates=bytes(16)),
        "pe-certificates",
    ),
    "certificates-beyond": (
        program(_SECTIONS, made=Made(certificates=(HEADERS, 1 << 30))),
        "pe-certificates",
    ),
    "certificates-are-all": (
        program(_SECTIONS, made=Made(certificates=(0, len(_PLAIN)))),
        "pe-certificates",
    ),
    "certificates-over-section": (
        program(_SECTIONS, made=Made(certificates=(HEADERS + 1024, 512))),
        "pe-section",
    ),
}


@pytest.mark.parametrize(("image", "code"), _WRONG.values(), ids=_WRONG.keys())
def test_programs_that_are_none(image: bytes, code: str) -> None:
    with pytest.raises(MalformedEvidence) as caught:
        authenticode(image, algorithm="sha256")
    assert caught.value.code == code
    assert str(caught.value)


@given(st.data())
def test_nothing_foreign_comes_of_damage(data: st.DataObject) -> None:
    whole = bytearray(_PLAIN)
    for _ in range(data.draw(st.integers(1, 4))):
        whole[data.draw(st.integers(0, HEADERS - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(NacreError):
        authenticode(bytes(whole[: data.draw(st.integers(0, len(whole)))]), algorithm="sha256")
