# SPDX-License-Identifier: Apache-2.0
"""What firmware asks of whoever starts a TD: which of its bytes go where, and which of them are measured.

The description ("TDX metadata") lies in the image; an entry of OVMF's table of GUIDs says how far from its
end. Integers are little-endian.

This reader refuses more than hosts do: an image in which code that runs would not be measured has no
measurement worth expecting.

Source: Intel, TDX Virtual Firmware Design Guide 1.01, 11 (344991-003US); QEMU, ``hw/i386/tdvf.c``.
"""

import enum
from collections.abc import Sequence
from itertools import pairwise
from struct import Struct

import msgspec

from nacre.errors import MalformedEvidence
from nacre.platforms import ovmf
from nacre.trust.reader import Reader

__all__ = ["PAGE", "Kind", "Section", "sections"]

#: Bytes of a page: memory is given to a TD page by page.
PAGE = 4096

_WHAT = "TDX metadata"
_POINTER = ovmf.guid("e47a6535-984a-4798-865e-4685a7bf8ec2")
_DESCRIPTOR = Struct("<4sIII")  # signature, bytes of all, version, sections
_SECTION = Struct("<IIQQII")  # offset and size in the image, address and size in memory, kind, attributes
_SIGNATURE, _VERSION = b"TDVF", 1
_MAX_SECTIONS = 64
#: Bytes of memory that all sections may name together. Real firmware needs 5 MiB.
_MAX_MEMORY = 1 << 28
_EXTEND, _AUGMENT = 1, 2
_ADDRESSES = 1 << 52


class Kind(enum.IntEnum):
    """What a section is for."""

    BOOT = 0  # boot firmware volume: code
    CONFIGURATION = 1  # configuration firmware volume: variables
    HOB = 2  # where the host puts the list of memory ("TD HOB")
    TEMPORARY = 3  # memory that firmware needs before it knows of any


class Section(msgspec.Struct, frozen=True, kw_only=True):
    """A piece of memory that a TD starts with.

    Attributes:
        kind: What it is for.
        offset: Where its content lies in the image, bytes.
        size: Bytes of content; 0 for memory that starts as zeros or is written by the host.
        address: Where it goes, bytes; a multiple of :data:`PAGE`.
        memory: Bytes of memory; a multiple of :data:`PAGE`, and ``size`` where there is content.
        measured: Whether MRTD covers the content, and not the address alone.
        added: Whether pages are added before the start, which MRTD covers; else the TD accepts them later.
    """

    kind: Kind
    offset: int
    size: int
    address: int
    memory: int
    measured: bool
    added: bool

    @property
    def end(self) -> int:
        """The first address after it."""
        return self.address + self.memory


def sections(firmware: bytes) -> tuple[Section, ...]:
    """Read what firmware asks for, in its order.

    Args:
        firmware: The whole image.

    Raises:
        MalformedEvidence: ``firmware-table``, ``tdvf-absent``, ``truncated``, ``tdvf-descriptor``,
            ``tdvf-section``, ``too-large``: no such description, or one that no TD can be started by.
    """
    pointer = ovmf.entries(firmware).get(_POINTER)
    if pointer is None:
        raise MalformedEvidence("tdvf-absent")
    if len(pointer) != Struct("<I").size:
        raise MalformedEvidence("tdvf-descriptor", actual=f"a pointer of {len(pointer)} bytes")
    start = len(firmware) - int.from_bytes(pointer, "little")
    if start < 0:
        raise MalformedEvidence("tdvf-descriptor", actual="a pointer out of the image")
    reader = Reader(firmware, _WHAT, start=start)
    signature, length, version, count = reader.unpack(_DESCRIPTOR, "descriptor")
    if (signature, version) != (_SIGNATURE, _VERSION):
        raise MalformedEvidence("tdvf-descriptor", actual=f"{signature!r}, version {version}")
    if not 0 < count <= _MAX_SECTIONS or length != _DESCRIPTOR.size + count * _SECTION.size:
        raise MalformedEvidence("tdvf-descriptor", actual=f"{count} sections in {length} bytes")
    found = tuple([_section(reader, index, len(firmware)) for index in range(count)])
    _insist(found)
    return found


def _section(reader: Reader, index: int, whole: int) -> Section:
    offset, size, address, memory, number, attributes = reader.unpack(_SECTION, f"section {index}")
    kinds = {kind.value: kind for kind in Kind}
    wrong = ""
    if number not in kinds:
        wrong = f"is of the unknown kind {number}"
    elif attributes not in (0, _EXTEND, _AUGMENT):
        wrong = f"has attributes {attributes:#x}"
    elif address % PAGE or memory % PAGE or not memory:
        wrong = f"has {memory:#x} bytes at {address:#x}, which are no whole pages"
    elif address + memory > _ADDRESSES:
        wrong = f"ends at {address + memory:#x}, beyond all memory"
    elif number in (Kind.BOOT, Kind.CONFIGURATION):
        if offset + size > whole:
            wrong = f"has content up to {offset + size:#x} of an image of {whole:#x} bytes"
        elif size != memory:
            wrong = f"has {size:#x} bytes of content for {memory:#x} of memory"
    elif size or attributes & _EXTEND:
        wrong = "is memory without content, but has some or has it measured"
    if wrong:
        raise MalformedEvidence("tdvf-section", what=index, actual=wrong)
    return Section(
        kind=kinds[number],
        offset=offset,
        size=size,
        address=address,
        memory=memory,
        measured=bool(attributes & _EXTEND),
        added=not attributes & _AUGMENT,
    )


def _insist(found: Sequence[Section]) -> None:
    """Take only sections that a TD can be started by: all there, apart from each other, not too large."""
    kinds = [section.kind for section in found]
    if kinds.count(Kind.HOB) != 1 or Kind.BOOT not in kinds:
        raise MalformedEvidence(
            "tdvf-descriptor", actual="not one TD HOB section, or no boot firmware volume"
        )
    for index, section in enumerate(found):
        if section.kind == Kind.BOOT and not section.measured:
            raise MalformedEvidence("tdvf-section", what=index, actual="is code that would not be measured")
    total = sum(section.memory for section in found)
    if total > _MAX_MEMORY:
        raise MalformedEvidence("too-large", what=_WHAT, expected=_MAX_MEMORY, actual=total)
    ordered = sorted(range(len(found)), key=lambda index: found[index].address)
    for one, other in pairwise(ordered):
        if found[one].end > found[other].address:
            raise MalformedEvidence("tdvf-section", what=other, actual=f"lies over section {one}")
