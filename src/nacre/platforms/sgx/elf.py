# SPDX-License-Identifier: Apache-2.0
"""What of a shared library comes into an enclave's memory: its segments, page by page.

Source: System V ABI, "Program Loading"; gramineproject/gramine, ``python/graminelibos/sgx_sign.py``.
"""

from struct import Struct
from typing import Final, NamedTuple

from nacre.errors import MalformedEvidence
from nacre.platforms.sgx.enclave_hash import PAGE
from nacre.trust.reader import Reader

__all__ = ["Library", "Segment", "parse"]

_WHAT: Final = "library"
# magic with class, byte order and the rest of the identification; type, machine, version, entry, place of the
# program headers, place of the section headers, flags, size of this header, size and number of the former
_HEADER: Final = Struct("<16sHHIQQQIHHH")
_SEGMENT: Final = Struct(
    "<IIQQQQQQ"
)  # type, flags, offset, address, physical address, sizes in file and memory
_MAGIC: Final = b"\x7fELF\x02\x01\x01"
_SHARED, _X86_64 = 3, 62
_LOAD: Final = 1
#: More than any library of system calls has.
_MAX_SIZE: Final = 1 << 30
_MAX_SEGMENTS: Final = 64


class Segment(NamedTuple):
    """A part that is loaded.

    Attributes:
        offset: Where in the file its bytes are.
        size: How many are there.
        address: Of its first page, from the library's base.
        permissions: Bits of ELF: 4 read, 2 write, 1 execute.
        pages: Its memory, whole pages.
    """

    offset: int
    size: int
    address: int
    permissions: int
    pages: bytes


class Library(NamedTuple):
    """A library as it lies in memory.

    Attributes:
        entry: Where it is entered, from its base.
        size: Bytes of memory, whole pages.
        segments: What is loaded, by address.
    """

    entry: int
    size: int
    segments: tuple[Segment, ...]


def parse(data: bytes) -> Library:
    """Read a shared library for x86-64, whose addresses begin at 0.

    Raises:
        MalformedEvidence: ``truncated``; ``gramine-input``.
    """
    reader = Reader(data, _WHAT)
    magic, kind, machine, _, entry, place, _, _, _, each, number = reader.unpack(_HEADER, "header")
    if not magic.startswith(_MAGIC) or (kind, machine, each) != (_SHARED, _X86_64, _SEGMENT.size):
        raise _wrong("a shared library for x86-64", ascii(magic[:8]))
    if number > _MAX_SEGMENTS:
        raise _wrong("64 segments at most", str(number))
    table = Reader(data, _WHAT, start=min(place, len(data)))
    headers = [table.unpack(_SEGMENT, "program headers") for _ in range(number)]
    segments = [_segment(data, header) for header in headers if header[0] == _LOAD]
    end = 0
    for segment in segments:
        if segment.address < end or (not end and segment.address):
            raise _wrong("segments one after the other, from 0 on", f"{segment.address:#x}")
        end = segment.address + len(segment.pages)
    return Library(entry, end, tuple(segments))


def _segment(data: bytes, header: tuple[int, ...]) -> Segment:
    _, permissions, offset, address, _, size, memory, _ = header
    before = offset % PAGE
    if before != address % PAGE or size > memory or offset + size > len(data) or address + memory > _MAX_SIZE:
        raise _wrong("a segment that can be loaded", f"{address:#x}, {memory} bytes")
    whole = before + memory
    zeros = bytes(whole - before - size + -whole % PAGE)
    return Segment(
        offset=offset,
        size=size,
        address=address - before,
        permissions=permissions,
        pages=bytes(before) + data[offset : offset + size] + zeros,
    )


def _wrong(expected: str, actual: str) -> MalformedEvidence:
    return MalformedEvidence("gramine-input", what=_WHAT, expected=expected, actual=actual)
