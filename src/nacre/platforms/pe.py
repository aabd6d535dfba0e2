# SPDX-License-Identifier: Apache-2.0
"""EFI programs: their sections, and the hash of them that firmware measures and Secure Boot signs.

A Linux kernel is one, and so is a kernel image with everything that it needs ("UKI").

Source: Microsoft, PE Format; Microsoft, Windows Authenticode Portable Executable Signature Format,
"Calculating the PE Image Hash"; tianocore/edk2, ``SecurityPkg/Library/DxeTpm2MeasureBootLib``, for the end.
"""

import hashlib
from struct import Struct

import msgspec

from nacre.errors import MalformedEvidence
from nacre.trust.reader import Reader

__all__ = ["Program", "Section", "authenticode", "parse"]

_WHAT = "EFI program"
_MAX_SECTIONS = 96
_DOS_SIZE, _DOS_MAGIC, _NEW_HEADER = 64, b"MZ", 60
_FILE_HEADER = Struct(
    "<4sHHIIIHH"
)  # magic, machine, sections, time, symbols, number of them, optional, flags
_MAGIC = b"PE\0\0"
_SECTION = Struct("<8sIIII16x")  # name, size in memory, address, size in the file, offset in the file
#: By the magic of the optional header: where in it the number of directories is.
_DIRECTORIES = {0x10B: 92, 0x20B: 108}
_IMAGE_SIZE, _HEADERS_SIZE, _CHECKSUM = 56, 60, 64
_CERTIFICATES = 4  # the number of that directory
_PAIR = Struct("<II")


class Section(msgspec.Struct, frozen=True):
    """One section.

    Attributes:
        name: Its name.
        memory: Bytes that it has in memory.
        address: Where it is in memory, from the program's start.
        size: Bytes that it has in the file.
        offset: Where it is in the file.
    """

    name: bytes
    memory: int
    address: int
    size: int
    offset: int


class Program(msgspec.Struct, frozen=True, kw_only=True):
    """The headers of an EFI program. Offsets are in the file.

    Attributes:
        machine: The processor that it is for, by Microsoft's number.
        start: Where the header begins.
        table: Where the table of sections begins.
        headers: Bytes of all headers.
        sections: The sections, in the table's order.
        image_size: Where the size in memory is stated.
        checksum: Where the checksum is, which firmware does not measure.
        directory: Where offset and size of the certificates are stated; 0 if nowhere.
        certificates: Bytes of signatures at the file's end.
    """

    machine: int
    start: int
    table: int
    headers: int
    sections: tuple[Section, ...]
    image_size: int
    checksum: int
    directory: int
    certificates: int

    def section(self, name: bytes) -> Section | None:
        """Return the section of that name.

        Raises:
            MalformedEvidence: ``pe-section-twice``: there are two, and readers may take either.
        """
        found = [one for one in self.sections if one.name == name]
        if len(found) > 1:
            raise MalformedEvidence("pe-section-twice", actual=name.decode(errors="replace"))
        return found[0] if found else None


def parse(image: bytes | memoryview) -> Program:
    """Read the headers of an EFI program.

    Raises:
        MalformedEvidence: ``truncated``; ``pe-header``: it is none; ``pe-section``: a section is not in the
            file, or overlaps another or the headers; ``pe-certificates``: they are not at the file's end.
    """
    data = bytes(image)
    first = data[:_DOS_SIZE]
    if len(first) < _DOS_SIZE or not first.startswith(_DOS_MAGIC):
        raise MalformedEvidence("pe-header", actual=first[:2])
    start = int.from_bytes(first[_NEW_HEADER:], "little")
    reader = Reader(data, _WHAT, start=start)
    magic, machine, count, _, _, _, optional, _ = reader.unpack(_FILE_HEADER, "header")
    if magic != _MAGIC or not 0 < count <= _MAX_SECTIONS:
        raise MalformedEvidence("pe-header", actual=magic)
    begin = reader.offset
    header = reader.take(optional, "optional header")
    at = _DIRECTORIES.get(int.from_bytes(header[:2], "little"), len(header))
    if at + 4 > len(header):
        raise MalformedEvidence("pe-header", actual=header[:2])
    listed = int.from_bytes(header[at : at + 4], "little")
    table = reader.offset
    sections = tuple(
        [
            Section(name.rstrip(b"\0"), *rest)
            for name, *rest in (reader.unpack(_SECTION, "sections") for _ in range(count))
        ]
    )
    headers = int.from_bytes(header[_HEADERS_SIZE : _HEADERS_SIZE + 4], "little")
    place = at + 4 + _CERTIFICATES * _PAIR.size if listed > _CERTIFICATES else 0
    certificates = _certificates(header, place, len(data)) if place else 0
    end = len(data) - certificates
    if not reader.offset <= headers <= end:
        raise MalformedEvidence("pe-section", actual=f"headers of {headers} bytes")
    _apart([(one.offset, one.size, one.name) for one in sections if one.size], headers, end)
    _apart([(one.address, one.memory or one.size, one.name) for one in sections], 0, 1 << 32)
    return Program(
        machine=machine,
        start=start,
        table=table,
        headers=headers,
        sections=sections,
        image_size=begin + _IMAGE_SIZE,
        checksum=begin + _CHECKSUM,
        directory=begin + place if place else 0,
        certificates=certificates,
    )


def authenticode(image: bytes | memoryview, *, algorithm: str) -> bytes:
    """Hash a program as firmware does before it starts it.

    What is left out is the checksum, where the signatures are, and the signatures. Tools that sign pad the
    end with zeros to a multiple of eight bytes first, which firmware does not do: only files of such a size
    have one hash everywhere.

    Args:
        image: The file.
        algorithm: As ``hashlib`` calls it.

    Raises:
        MalformedEvidence: As :func:`parse`.
    """
    program = parse(image)
    view = memoryview(image)
    hashed = hashlib.new(algorithm, view[: program.checksum])
    begin = program.checksum + 4
    if program.directory:
        hashed.update(view[begin : program.directory])
        begin = program.directory + _PAIR.size
    hashed.update(view[begin : program.headers])
    end = program.headers
    for section in sorted(program.sections, key=lambda one: one.offset):
        hashed.update(view[section.offset : section.offset + section.size])
        end += section.size
    hashed.update(view[end : len(view) - program.certificates])
    return hashed.digest()


def _apart(ranges: list[tuple[int, int, bytes]], start: int, end: int) -> None:
    """Refuse sections that share bytes: what is measured under one name could run as another."""
    for offset, size, name in sorted(ranges):
        if not start <= offset <= offset + size <= end:
            shown = name.decode(errors="replace")
            raise MalformedEvidence("pe-section", actual=f"{shown}, {size} bytes at {offset}")
        start = offset + size


def _certificates(header: bytes, place: int, size: int) -> int:
    if place + _PAIR.size > len(header):
        raise MalformedEvidence("pe-header", actual=header[:2])
    offset, length = _PAIR.unpack_from(header, place)
    if length and not 0 < offset == size - length:
        raise MalformedEvidence("pe-certificates", actual=f"{length} bytes at {offset}", expected=size)
    return int(length)
