# SPDX-License-Identifier: Apache-2.0
"""The description of memory in TDX firmware: real shape, and every lie about it."""

import contextlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.platforms.tdx.images import BOOT, HOB, MEMORY, image, section

from nacre.errors import MalformedEvidence
from nacre.platforms.tdx.tdvf import Kind, sections


def test_what_an_image_asks_for() -> None:
    boot, hob, memory = sections(image())
    assert (boot.kind, boot.offset, boot.size, boot.measured, boot.added) == (
        Kind.BOOT,
        0,
        0x1000,
        True,
        True,
    )
    assert (hob.kind, hob.address, hob.end, hob.measured) == (Kind.HOB, 0x809000, 0x80B000, False)
    assert (memory.kind, memory.size) == (Kind.TEMPORARY, 0)


def test_memory_that_is_accepted_later() -> None:
    later = section(3, address=0x80B000, memory=0x2000, attributes=2)
    assert [one.added for one in sections(image((BOOT, HOB, later)))] == [True, True, False]


def test_vectors_are_read(vectors: Path) -> None:
    kinds = [one.kind for one in sections((vectors / "measure/tdx/fw-64k.fd").read_bytes())]
    assert kinds == [Kind.BOOT, Kind.CONFIGURATION, *[Kind.TEMPORARY] * 2, Kind.HOB, Kind.TEMPORARY]


def test_firmware_for_other_machines() -> None:
    other = image().replace(bytes.fromhex("35657ae44a98"), bytes(6))
    with pytest.raises(MalformedEvidence, match="no TDX metadata"):
        sections(other)


def test_the_end_of_an_image_is_not_the_image(vectors: Path) -> None:
    with pytest.raises(MalformedEvidence, match="of an image of 0x1000 bytes"):
        sections((vectors / "measure/snp/ovmf_OvmfX64_suffix.bin").read_bytes())


@pytest.mark.parametrize(
    "firmware",
    [
        image(pointer=b"\0\0"),
        image(pointer=(0x1001).to_bytes(4, "little")),
        image(head=b"TDVX"),
        image(version=2),
        image(length=16),
        image(count=0, length=16),
        image(count=65, length=16 + 65 * 32),
        image((HOB,)),
        image((BOOT,)),
        image((BOOT, HOB, section(2, address=0, memory=0x1000))),
    ],
)
def test_a_description_that_cannot_be(firmware: bytes) -> None:
    with pytest.raises(MalformedEvidence) as raised:
        sections(firmware)
    assert raised.value.code == "tdvf-descriptor"


def test_a_description_that_ends_early() -> None:
    with pytest.raises(MalformedEvidence) as raised:
        sections(image(pointer=(8).to_bytes(4, "little")))
    assert raised.value.code == "truncated"


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (section(4, address=0, memory=0x1000), "unknown kind 4"),
        (section(3, address=0, memory=0x1000, attributes=4), "attributes 0x4"),
        (section(3, address=0, memory=0x1000, attributes=3), "attributes 0x3"),
        (section(3, address=1, memory=0x1000), "no whole pages"),
        (section(3, address=0, memory=0x1001), "no whole pages"),
        (section(3, address=0, memory=0), "no whole pages"),
        (section(3, address=1 << 52, memory=0x1000), "beyond all memory"),
        (section(3, address=0, memory=0x1000, size=1), "without content"),
        (section(3, address=0, memory=0x1000, attributes=1), "without content"),
        (section(1, address=0, memory=0x2000, size=0x2000), "of an image of 0x1000 bytes"),
        (section(1, address=0, memory=0x1000, size=0x1000, offset=1), "of an image of 0x1000 bytes"),
        (section(1, address=0, memory=0x1000, size=0x800), "of content for"),
        (section(0, address=0, memory=0x1000, size=0x1000), "not be measured"),
        (section(0, address=0, memory=0x1000, size=0x1000, attributes=2), "not be measured"),
        (section(3, address=0x80A000, memory=0x1000), "lies over section 1"),
    ],
)
def test_a_section_that_cannot_be(wrong: bytes, words: str) -> None:
    with pytest.raises(MalformedEvidence, match=words) as raised:
        sections(image((BOOT, HOB, wrong)))
    assert raised.value.code == "tdvf-section"
    assert raised.value.context["what"] == 2


def test_more_memory_than_firmware_ever_needs() -> None:
    with pytest.raises(MalformedEvidence) as raised:
        sections(image((BOOT, HOB, section(3, address=0x1000000, memory=1 << 28))))
    assert raised.value.code == "too-large"


@given(st.binary(min_size=112, max_size=112))
def test_any_description_is_read_or_refused(noise: bytes) -> None:
    whole = bytearray(image((BOOT, HOB, MEMORY)))
    whole[0x800 : 0x800 + len(noise)] = noise
    with contextlib.suppress(MalformedEvidence):
        assert sections(bytes(whole))


@given(st.integers(0, 111), st.integers(0, 255))
def test_any_changed_byte_is_read_or_refused(offset: int, value: int) -> None:
    whole = bytearray(image((BOOT, HOB, MEMORY)))
    whole[0x800 + offset] = value
    with contextlib.suppress(MalformedEvidence):
        assert len(sections(bytes(whole))) == 3
