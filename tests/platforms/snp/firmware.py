# SPDX-License-Identifier: Apache-2.0
"""Firmware for tests: nothing but the tables at its end."""

import struct
from collections.abc import Iterable

from nacre.platforms.ovmf import guid

SECTIONS = ((0x800000, 0x9000, 1), (0x809000, 0x1000, 2), (0x80A000, 0x1000, 3), (0x80B000, 0x1000, 0x10))
HASHES = 0x80B400
RESET = 0x80C004
PAGES = 4


def listed(sections: Iterable[tuple[int, int, int]], *, magic: bytes = b"ASEV", version: int = 1) -> bytes:
    """The list of sections."""
    items = [struct.pack("<III", *section) for section in sections]
    size = 16 + 12 * len(items)
    return struct.pack("<4sIII", magic, size, version, len(items)) + b"".join(items)


def firmware(
    sections: bytes | None = listed(SECTIONS),
    *,
    hashes: bytes | None = struct.pack("<II", HASHES, 0x400),
    reset: bytes | None = struct.pack("<I", RESET),
    distance: int | None = None,
    pages: int = PAGES,
) -> bytes:
    """Firmware of some pages; ``distance`` is where the list of sections is said to begin."""
    if sections is None and distance is None:
        pointer = None
    else:
        pointer = struct.pack("<I", 1024 if distance is None else distance)
    table = b""
    for name, data in (
        ("dc886566-984a-4798-a75e-5585a7bf67cc", pointer),
        ("7255371f-3a3b-4b04-927b-1da6efa8d454", hashes),
        ("00f771de-1a7e-4fcb-890e-68c77e2fb44e", reset),
    ):
        if data is not None:
            table += data + struct.pack("<H", len(data) + 18) + guid(name)
    table += struct.pack("<H", len(table) + 18) + guid("96b582de-1fb2-45f7-baea-a366c55a082d")
    image = bytearray(pages * 4096)
    image[:4096] = b"\xff" * 4096
    image[-32 - len(table) : -32] = table
    if sections is not None:
        image[-1024 : -1024 + len(sections)] = sections
    return bytes(image)
