# SPDX-License-Identifier: Apache-2.0
"""EFI programs made for tests, piece by piece."""

import struct
from collections.abc import Mapping

import msgspec

__all__ = ["HEADERS", "Made", "program"]

HEADERS = 0x400
_START = 0x80


class Made(msgspec.Struct, frozen=True, kw_only=True):
    """What a made program states of itself, right or wrong."""

    magic: int = 0x20B
    directories: int = 16
    headers: int = HEADERS
    certificates: tuple[int, int] | None = None
    optional: int | None = None


def program(
    sections: Mapping[str, bytes], *, made: Made | None = None, certificates: bytes = b"", end: bytes = b""
) -> bytes:
    """Return a program of these sections, each in memory where it is in the file."""
    told = made or Made()
    table, body = b"", b""
    for name, content in sections.items():
        size = len(content) + -len(content) % 512
        at = HEADERS + len(body)
        table += struct.pack("<8sIIII16x", name.encode(), len(content), at, size, at)
        body += content.ljust(size, b"\0")
    where = told.certificates or (HEADERS + len(body) + len(end), len(certificates))
    base = 108 if told.magic == 0x20B else 92
    whole = struct.pack("<H54xIII", told.magic, 0x10000, told.headers, 0xC4EC)
    whole = whole.ljust(base, b"\0") + struct.pack("<I32xII", told.directories, *where)
    whole = whole.ljust(base + 4 + 8 * 16, b"\0")[: told.optional]
    header = struct.pack("<4sHHIIIHH", b"PE\0\0", 0x8664, len(sections), 0, 0, 0, len(whole), 0x206)
    dos = b"MZ".ljust(60, b"\0") + struct.pack("<I", _START)
    head = dos.ljust(_START, b"\0") + header + whole + table
    return head.ljust(HEADERS, b"\0") + body + end + certificates
