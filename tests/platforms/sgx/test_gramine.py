# SPDX-License-Identifier: Apache-2.0
"""MRENCLAVE of a Gramine enclave, from the three files that decide it."""

from itertools import pairwise

import pytest
from tests.platforms.sgx.gramines import SEGMENTS, constants, library

from nacre.errors import MalformedEvidence
from nacre.platforms.measuring import Measurement, differences
from nacre.platforms.sgx.gramine import measure


def manifest(*, size: str = "16M", threads: int = 3, more: str = "", number: int = 513) -> bytes:
    entrypoint = f'{{ uri = "file:/usr/lib/gramine/libsysdb.so", sha256 = "{"ab" * 32}" }}'
    lines = [
        "[loader]",
        f"entrypoint = {entrypoint}",
        "[sgx]",
        f'enclave_size = "{size}"',
        f"max_threads = {threads}",
        f"isvprodid = {number}",
        "isvsvn = 2",
        more,
    ]
    return "\n".join(lines).encode()


def found(text: bytes = b"", code: bytes = b"", known: bytes = b"") -> Measurement:
    return measure(text or manifest(), library=code or library(), constants=known or constants())


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (manifest(), "b0211a527331a0f82d4c4d2481ec075af4ee5356cc714e1254db161ad0508327"),
        (
            manifest(more="edmm_enable = true"),
            "13eeb090903724eeee30ee1b2f8efa77fd54ccf4a91b974c36e6eb6f736d67d4",
        ),
        (
            manifest(size="33554432", threads=1, more="# " + "x" * 5000),
            "7238018490ff6a9f974af38ebf86cdfdb945bb84199a57a9090d58e631c12afc",
        ),
    ],
)
def test_gramines_own_signer_says_the_same(text: bytes, expected: str) -> None:
    """What ``graminelibos.sgx_sign`` of commit ff71d7afea730dffd56a97af39bb6a73ee6c7662 computes of these."""
    assert found(text).registers["mrenclave"].hex() == expected


def test_the_manifests_numbers_are_registers() -> None:
    measured = found()
    assert measured.registers["isvprodid"] == b"\1\2"
    assert measured.registers["isvsvn"] == b"\2\0"
    assert [part.value for part in measured.of("isvprodid")] == ["513"]


def test_the_steps_say_what_lies_where() -> None:
    measured = found()
    assert [part.label.partition(" at ")[0] for part in measured.of("mrenclave")] == [
        *("enclave", "manifest", "saved state", "thread control", "thread-local storage"),
        *("stack",) * 3,
        *("signal stack",) * 3,
        *("r-- pages", "r-x pages", "rw- pages", "heap, unmeasured"),
    ]
    segments = [part for part in measured.of("mrenclave") if part.input == "library"]
    assert [(part.offset, part.size) for part in segments] == [(one[0], one[2]) for one in SEGMENTS]
    places = [
        int(part.label.split(" at ")[1], 16) for part in measured.of("mrenclave") if " at " in part.label
    ]
    stacks = [place for place, after in pairwise(places) if place < after]
    assert len(stacks) == 2  # only the library's segments go up


CHANGED = library()[:0x2000] + b"!" + library()[0x2001:]


@pytest.mark.parametrize(
    ("other", "label"),
    [
        (found(manifest(number=514)), "manifest at 0xfff000"),
        (found(code=CHANGED), "rw- pages at 0xeed000"),
        (found(known=constants(SGX_SSA=0xA0)), "thread-local storage at 0xfe1000"),
        (found(manifest(size="32M")), "enclave"),
    ],
)
def test_what_differs_is_named(other: Measurement, label: str) -> None:
    (_, mine, theirs), *_ = differences(found(), other)
    assert mine is not None
    assert theirs is not None
    assert mine.label == label


@pytest.mark.parametrize(
    "text",
    [
        b"\xff",
        b"[sgx",
        b"[sgx]\nmax_threads = 1",
        b"a = " + b"[" * 5000,
        manifest(threads=0),
        manifest(threads=5000),
        manifest(number=65536),
        manifest(size="24M"),
        manifest(size="2T"),
        manifest(size="2048G"),
        manifest(size="1K"),
        manifest(size="-1"),
        manifest(size="1M"),
    ],
)
def test_a_manifest_that_no_enclave_has(text: bytes) -> None:
    with pytest.raises(MalformedEvidence) as caught:
        found(text)
    assert (caught.value.code, caught.value.context["what"]) == ("gramine-input", "manifest")


@pytest.mark.parametrize(
    "known",
    [
        b"\xff",
        constants(SGX_HEAP_MAX=None),
        constants(PAGESIZE=0x2000),
        constants(DEFAULT_ENCLAVE_BASE=0x1000),
        constants(SSA_FRAME_SIZE=0x4001),
        constants(SSA_FRAME_SIZE=0),
        constants(ENCLAVE_STACK_SIZE=1 << 32),
        constants(TCS_OGS_LIMIT=0xFF9),
        constants(SGX_GPR=1 << 60),
    ],
)
def test_constants_that_no_gramine_has(known: bytes) -> None:
    with pytest.raises(MalformedEvidence) as caught:
        found(known=known)
    assert (caught.value.code, caught.value.context["what"]) == ("gramine-input", "constants")


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (b"\x7fELF", "truncated"),
        (library()[:100], "truncated"),
        (library(magic=b"\x7fELF\x01\x01\x01"), "gramine-input"),
        (library(machine=183), "gramine-input"),
        (library(count=65), "gramine-input"),
        (library(SEGMENTS[1:]), "gramine-input"),
        (library((SEGMENTS[0], SEGMENTS[2], SEGMENTS[1])), "gramine-input"),
        (library((SEGMENTS[0], SEGMENTS[0])), "gramine-input"),
        (library(((0, 0, 0x900, 0x800, 4),)), "gramine-input"),
        (library(((0, 0, 0x9000, 0x9000, 4),)), "gramine-input"),
        (library(((0, 0, 1, 1 << 40, 4),)), "gramine-input"),
        (library(((0x10, 0, 1, 1, 4),)), "gramine-input"),
    ],
)
def test_a_library_that_is_not_loaded(code: bytes, reason: str) -> None:
    with pytest.raises(MalformedEvidence) as caught:
        found(code=code)
    assert caught.value.code == reason
