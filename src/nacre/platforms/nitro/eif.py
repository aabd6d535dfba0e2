# SPDX-License-Identifier: Apache-2.0
"""The image of a Nitro enclave (EIF): bytes to a record. Nothing is copied, and nothing is hashed.

A header states where each section begins and how long it is, and each section states its own length again.
AWS's tool walks from section to section, QEMU follows the header: an image in which the two disagree is one
image to one and another to the other. So it is read only if both see the same: sections lie one behind the
other from the header to the last byte of the file, in the order in which they are measured.

The header and the metadata are not measured. They say nothing that could be relied upon.

Source: aws/aws-nitro-enclaves-image-format, README and ``src/defs/mod.rs``; qemu/qemu, ``hw/core/eif.c``.
"""

import struct
from collections.abc import Iterator
from typing import Final

import msgspec

from nacre.errors import MalformedEvidence
from nacre.trust import json

__all__ = [
    "ARCHITECTURES",
    "CMDLINE",
    "CRC",
    "HEADER",
    "KERNEL",
    "MAGIC",
    "MAX_METADATA",
    "MAX_SECTIONS",
    "MAX_SIGNATURE",
    "METADATA",
    "NAMES",
    "RAMDISK",
    "SECTION",
    "SIGNATURE",
    "VERSION",
    "Buffer",
    "Eif",
    "Section",
    "parse",
]

Buffer = bytes | memoryview

#: What every image begins with.
MAGIC: Final = b".eif"
#: magic, version, flags, memory, processors, 0, number of sections, their offsets and sizes, 0. Big-endian.
HEADER: Final = struct.Struct(">4sHHQQHH32Q32QI")
#: CRC-32 (ISO-HDLC) of everything but these four bytes, right behind the header.
CRC: Final = struct.Struct(">I")
#: kind, flags, size. Big-endian; the offset in the header is the one of this.
SECTION: Final = struct.Struct(">HHQ")
#: The newest version: 3 knows no metadata yet.
VERSION: Final = 4
#: Entries in the header's table.
MAX_SECTIONS: Final = 32
#: AWS's tool reads no longer signature section.
MAX_SIGNATURE: Final = 32_768
#: Longer metadata is not read. AWS's tool takes 4 KiB from its user and adds what Docker says of an image.
MAX_METADATA: Final = 1 << 20
#: By the header's flags.
ARCHITECTURES: Final = ("x86_64", "aarch64")

KERNEL, CMDLINE, RAMDISK, SIGNATURE, METADATA = range(1, 6)

_WHAT = "enclave image"
#: What messages and measurements call a section; ramdisks have their number behind it.
NAMES: Final = {
    KERNEL: "kernel",
    CMDLINE: "command line",
    RAMDISK: "ramdisk",
    SIGNATURE: "signature",
    METADATA: "metadata",
}
_OLDEST = 3
_BODY = HEADER.size + CRC.size


class Section(msgspec.Struct, frozen=True):
    """One section.

    Attributes:
        kind: ``KERNEL`` …
        name: ``kernel``, ``command line``, ``ramdisk 0`` …
        offset: Where its data begins, behind its own header.
        size: Bytes of data.
    """

    kind: int
    name: str
    offset: int
    size: int


class Eif(msgspec.Struct, frozen=True):
    """An image, not measured yet; nobody has looked at its checksum. Made by ``parse`` alone.

    Attributes:
        data: The whole file.
        version: 3 or 4.
        architecture: ``x86_64`` or ``aarch64``.
        memory: Bytes that the enclave gets unless told otherwise.
        cpus: Processors that it gets unless told otherwise.
        crc: The checksum that it states.
        sections: In the order of the file.
        metadata: What the builder wrote into it, decoded; None if there is nothing.
    """

    data: memoryview
    version: int
    architecture: str
    memory: int
    cpus: int
    crc: int
    sections: tuple[Section, ...]
    metadata: object

    def of(self, kind: int) -> tuple[Section, ...]:
        """Return the sections of a kind."""
        return tuple([section for section in self.sections if section.kind == kind])

    def read(self, section: Section) -> memoryview:
        """Return the data of a section."""
        return self.data[section.offset : section.offset + section.size]


def parse(data: Buffer) -> Eif:
    """Read an image. Takes no longer for a long one: only headers and metadata are looked at.

    Args:
        data: The file, as bytes or as a view of a mapped file.

    Raises:
        MalformedEvidence: ``truncated``, ``trailing-bytes``, ``eif-magic``, ``eif-version``, ``eif-field``,
            ``eif-table``, ``eif-section``, ``eif-order``, ``too-large``, or as ``json.loads`` for metadata.
    """
    view = memoryview(data).toreadonly()
    if bytes(view[: len(MAGIC)]) != MAGIC:
        raise MalformedEvidence("eif-magic", actual=bytes(view[: len(MAGIC)]))
    _within(view, 0, _BODY, "header")
    _, version, flags, memory, cpus, reserved, count, *table, unused = HEADER.unpack_from(view)
    if not _OLDEST <= version <= VERSION:
        raise MalformedEvidence("eif-version", expected=f"{_OLDEST} or {VERSION}", actual=version)
    for name, most, value in (
        ("flags", len(ARCHITECTURES) - 1, flags),
        ("reserved", 0, reserved),
        ("number of sections", MAX_SECTIONS, count),
        ("unused", 0, unused),
    ):
        if value > most:
            raise MalformedEvidence("eif-field", name=name, expected=most, actual=value)
    offsets, sizes = table[:MAX_SECTIONS], table[MAX_SECTIONS:]
    sections = tuple(_sections(view, offsets, sizes, count))
    _ordered(sections, version)
    (crc,) = CRC.unpack_from(view, HEADER.size)
    return Eif(view, version, ARCHITECTURES[flags], memory, cpus, crc, sections, _metadata(view, sections))


def _sections(view: memoryview, offsets: list[int], sizes: list[int], count: int) -> Iterator[Section]:
    """Walk through the file and hold each step against the header's table."""
    position, ramdisks = _BODY, 0
    for index in range(count):
        _within(view, position, SECTION.size, f"header of section {index}")
        kind, flags, size = SECTION.unpack_from(view, position)
        if (offsets[index], sizes[index]) != (position, size):
            raise MalformedEvidence(
                "eif-table",
                index=index,
                expected=f"{sizes[index]} bytes at {offsets[index]}",
                actual=f"{size} bytes at {position}",
            )
        if kind not in NAMES or flags:
            raise MalformedEvidence("eif-section", index=index, actual=kind, flags=flags)
        name = NAMES[kind]
        if kind == RAMDISK:
            name, ramdisks = f"{name} {ramdisks}", ramdisks + 1
        position += SECTION.size
        _within(view, position, size, name)
        yield Section(kind, name, position, size)
        position += size
    if any(offsets[count:]) or any(sizes[count:]):
        raise MalformedEvidence("eif-table", index=count, expected="an entry", actual="no such section")
    if position != len(view):
        raise MalformedEvidence("trailing-bytes", what=_WHAT, actual=len(view) - position, offset=position)


def _within(view: memoryview, offset: int, size: int, field: str) -> None:
    if offset + size > len(view):
        raise MalformedEvidence(
            "truncated", what=f"{_WHAT}: {field}", expected=size, actual=len(view) - offset, offset=offset
        )


def _ordered(sections: tuple[Section, ...], version: int) -> None:
    """Insist on one kernel, one command line, then ramdisks, and on at most one of the others."""
    kinds = [section.kind for section in sections]
    measured = [kind for kind in kinds if kind in (KERNEL, CMDLINE, RAMDISK)]
    ramdisks = kinds.count(RAMDISK)
    sound = (
        ramdisks > 0
        and measured == [KERNEL, CMDLINE] + [RAMDISK] * ramdisks
        and kinds.count(METADATA) <= (1 if version == VERSION else 0)
        and kinds.count(SIGNATURE) <= 1
    )
    if not sound:
        raise MalformedEvidence("eif-order", actual=", ".join(section.name for section in sections))


def _metadata(view: memoryview, sections: tuple[Section, ...]) -> object:
    for section in sections:
        if section.kind == SIGNATURE and section.size > MAX_SIGNATURE:
            raise MalformedEvidence(
                "too-large", what=f"{_WHAT}: {section.name}", expected=MAX_SIGNATURE, actual=section.size
            )
    found = [section for section in sections if section.kind == METADATA]
    if not found:
        return None
    (section,) = found
    what = f"{_WHAT}: {section.name}"
    if section.size > MAX_METADATA:
        raise MalformedEvidence("too-large", what=what, expected=MAX_METADATA, actual=section.size)
    text = bytes(view[section.offset : section.offset + section.size])
    return json.loads(text, what=what, limit=MAX_METADATA)
