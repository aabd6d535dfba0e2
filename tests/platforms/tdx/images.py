# SPDX-License-Identifier: Apache-2.0
"""Firmware images to measure, made as a test wants them."""

from collections.abc import Sequence
from struct import Struct

from nacre.platforms import ovmf

__all__ = ["BOOT", "HOB", "MEMORY", "MEMORY_OF_OVMF", "image", "ovmf_4m", "section"]

_POINTER = ovmf.guid("e47a6535-984a-4798-865e-4685a7bf8ec2")
_FOOTER = ovmf.guid("96b582de-1fb2-45f7-baea-a366c55a082d")
_SECTION = Struct("<IIQQII")


def section(
    kind: int, *, address: int, memory: int, offset: int = 0, size: int = 0, attributes: int = 0
) -> bytes:
    """One section as an image holds it."""
    return _SECTION.pack(offset, size, address, memory, kind, attributes)


BOOT = section(0, address=0xFFFFF000, memory=0x1000, size=0x1000, attributes=1)
HOB = section(2, address=0x809000, memory=0x2000)
MEMORY = section(3, address=0x80B000, memory=0x2000)
#: What OVMF asks for beside its code and its variables.
MEMORY_OF_OVMF = (
    section(3, address=0x810000, memory=0x10000),
    section(3, address=0x80B000, memory=0x2000),
    HOB,
    section(3, address=0x800000, memory=0x6000),
)
#: Bytes of the variables in OVMF's builds of 4 MiB.
_VARIABLES = 0x84000


def image(
    sections: Sequence[bytes] = (BOOT, HOB, MEMORY),
    *,
    head: bytes = b"TDVF",
    version: int = 1,
    length: int | None = None,
    count: int | None = None,
    pointer: bytes | None = None,
    size: int = 0x1000,
) -> bytes:
    """Make an image of ``size`` bytes whose description says what it is told to."""
    body = b"".join(sections)
    told = (
        16 + len(body) if length is None else length,
        version,
        len(sections) if count is None else count,
    )
    described = Struct("<4sIII").pack(head, *told) + body
    start = size - 0x800
    where = (size - start).to_bytes(4, "little") if pointer is None else pointer
    entry = where + (len(where) + 18).to_bytes(2, "little") + _POINTER
    table = entry + (len(entry) + 18).to_bytes(2, "little") + _FOOTER
    tail = described.ljust(0x800 - 32 - len(table), b"\0") + table + bytes(32)
    return bytes(index % 251 for index in range(start)) + tail[:0x800]


def ovmf_4m() -> bytes:
    """Make an image whose variables are those of OVMF's builds of 4 MiB before anybody set one."""
    store = bytes.fromhex(
        "000000000000000000000000000000008d2bf1ff96768b4ca9852747075b4f50"
        "00400800000000005f465648fffe04004800afb8000000028400000000100000"
        "0000000000000000782cf3aa7b949a43a1802e144ec37792b8ff03005afe0000"
        "00000000"
    )
    spare = bytes.fromhex("2b29589e687c7d49a0ce6500fd9f1b952caf2c64feffffffe00f000000000000")
    variables = (store.ljust(0x41000, b"\xff") + spare).ljust(_VARIABLES, b"\xff")
    listed = (
        section(0, address=0xFFFFF000, memory=0x1000, offset=_VARIABLES, size=0x1000, attributes=1),
        section(1, address=0xFFC00000, memory=_VARIABLES, size=_VARIABLES),
        *MEMORY_OF_OVMF,
    )
    return variables + image(listed, size=_VARIABLES + 0x1000)[_VARIABLES:]
