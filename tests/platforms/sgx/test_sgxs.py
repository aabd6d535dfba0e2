# SPDX-License-Identifier: Apache-2.0
"""MRENCLAVE of SGX streams: those of others, and those that no processor would make an enclave of."""

import hashlib
import json
import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nacre.errors import MalformedEvidence
from nacre.platforms.sgx.sgxs import measure

R, RW, RX, TCS = 0x201, 0x203, 0x205, 0x100
SIZE = 0x10000


def create(size: int = SIZE, ssa: int = 1, tag: bytes = b"ECREATE", rest: bytes = b"") -> bytes:
    return struct.pack("<8sIQ44s", tag, ssa, size, rest)


def add(offset: int, flags: int = RW, rest: bytes = b"") -> bytes:
    return struct.pack("<8sQQ40s", b"EADD", offset, flags, rest)


def chunk(offset: int, content: bytes = b"c" * 256, tag: bytes = b"EEXTEND", rest: bytes = b"") -> bytes:
    return struct.pack("<8sQ48s", tag, offset, rest) + content


def page(offset: int, flags: int = RW) -> bytes:
    return add(offset, flags) + b"".join(chunk(offset + place) for place in range(0, 4096, 256))


def test_the_stream_of_another_toolchain_gives_what_its_author_signed(vectors: Path) -> None:
    folder = vectors / "measure" / "sgx"
    if not folder.is_dir():
        pytest.skip("these vectors are not beside this checkout")
    expected = json.loads((folder / "expected.json").read_text())["test_enclave.sgxs"]
    stream = (folder / "test_enclave.sgxs").read_bytes()
    found = measure(stream)
    assert found.registers == {"mrenclave": bytes.fromhex(expected["mrenclave"])}
    assert sum(part.size for part in found.parts) == len(stream) == expected["size"]
    for part in found.parts:
        assert part.digest == hashlib.sha256(stream[part.offset : part.offset + part.size]).digest()


def test_a_measured_stream_is_its_own_preimage_and_its_steps_cover_it() -> None:
    stream = (
        create() + page(0, R) + page(0x1000, RX) + page(0x2000, RX) + page(0x4000, RX) + page(0x3000, TCS)
    )
    found = measure(stream)
    assert found.registers["mrenclave"] == hashlib.sha256(stream).digest()
    assert [part.label for part in found.parts] == [
        "enclave of 0x10000 bytes",
        "r-- pages 0x0 to 0x1000",
        "r-x pages 0x1000 to 0x3000",
        "r-x pages 0x4000 to 0x5000",
        "thread control pages 0x3000 to 0x4000",
    ]
    assert {part.input for part in found.parts} == {"sgxs"}
    for part in found.parts:
        assert part.digest == hashlib.sha256(stream[part.offset : part.offset + part.size]).digest()


def test_unmeasured_data_leave_no_trace() -> None:
    some = add(0) + chunk(0x200) + chunk(0x300, tag=b"UNMEASRD") + chunk(0x100)
    none = add(0x1000) + chunk(0x1000, tag=b"UNMEASRD") + add(0x2000)
    found = measure(create() + some + none)
    measured = create() + add(0) + chunk(0x200) + chunk(0x100) + add(0x1000) + add(0x2000)
    assert found.registers["mrenclave"] == hashlib.sha256(measured).digest()
    assert [part.label for part in found.parts[1:]] == [
        "rw- pages 0x0 to 0x1000, 2 of 16 pieces measured",
        "rw- pages 0x1000 to 0x3000, unmeasured",
    ]
    assert [(part.offset, part.size) for part in found.parts[1:]] == [
        (64, len(some)),
        (64 + len(some), len(none)),
    ]


def test_an_enclave_without_pages_is_its_size() -> None:
    assert measure(create()).registers["mrenclave"] == hashlib.sha256(create()).digest()


@pytest.mark.parametrize(
    ("stream", "offset"),
    [
        (create(tag=b"UNSIZED"), 0),
        (page(0), 0),
        (create(size=0), 0),
        (create(size=0x800), 0),
        (create(size=0x3000), 0),
        (create(ssa=0), 0),
        (create(rest=b"r"), 0),
        (create() + create(), 64),
        (create() + chunk(0), 64),
        (create() + b"EREMOVE\0" + bytes(56), 64),
        (create() + add(0x800), 64),
        (create() + add(SIZE), 64),
        (create() + add(0) + add(0), 128),
        (create() + page(0) + page(0x1000) + page(0), 64 + 2 * len(page(0))),
        (create() + add(0, 0), 64),
        (create() + add(0, 0x300), 64),
        (create() + add(0, RW | 8), 64),
        (create() + add(0, 0x202), 64),
        (create() + add(0, TCS | 1), 64),
        (create() + add(0, 0x400), 64),
        (create() + add(0, RW | 1 << 63), 64),
        (create() + add(0, rest=b"r"), 64),
        (create() + add(0) + chunk(0x1000), 128),
        (create() + add(0x1000) + chunk(0xF00), 128),
        (create() + add(0) + chunk(0x80), 128),
        (create() + add(0) + chunk(0, rest=b"r"), 128),
        (create() + add(0) + chunk(0) + chunk(0), 128 + 320),
        (create() + add(0) + chunk(0, tag=b"UNMEASRD") + chunk(0), 128 + 320),
        (create() + add(0) + chunk(0) + chunk(0, tag=b"UNMEASRD"), 128 + 320),
    ],
)
def test_what_no_processor_does_is_refused_where_it_stands(stream: bytes, offset: int) -> None:
    with pytest.raises(MalformedEvidence) as caught:
        measure(stream)
    assert (caught.value.code, caught.value.context["offset"]) == ("sgxs-record", offset)


@pytest.mark.parametrize("stream", [b"", create()[:-1], create() + add(0)[:-1], create() + page(0)[:-1]])
def test_a_cut_stream_is_refused(stream: bytes) -> None:
    with pytest.raises(MalformedEvidence) as caught:
        measure(stream)
    assert caught.value.code == "truncated"


@given(st.integers(0, len(create() + page(0)) - 1), st.integers(1, 255))
def test_every_bit_counts_or_is_refused(position: int, change: int) -> None:
    stream = create() + page(0)
    changed = stream[:position] + bytes([stream[position] ^ change]) + stream[position + 1 :]
    try:
        found = measure(changed)
    except MalformedEvidence:
        return
    assert found.registers != measure(stream).registers
