# SPDX-License-Identifier: Apache-2.0
"""Firmware of a virtual machine under SEV, SEV-ES or SEV-SNP: what its tables tell the host.

The table of GUIDs at the end leads to three things: where further processors start, where the hashes of
kernel, first file system and command line belong, and the list of pages that the host has to prepare.

Source: tianocore/edk2, ``OvmfPkg/ResetVector``, ``X64/OvmfSevMetadata.asm`` and ``Ia16/ResetVectorVtf0.asm``;
QEMU, ``target/i386/sev.c``.
"""

import struct
from collections.abc import Iterator
from typing import Final

import msgspec

from nacre.errors import MalformedEvidence
from nacre.platforms.ovmf import entries, guid

__all__ = [
    "CAA",
    "CPUID",
    "HASHES",
    "KINDS",
    "MAX_FIRMWARE",
    "MAX_PREPARED",
    "MEMORY",
    "PAGE",
    "SECRETS",
    "Firmware",
    "Section",
    "read_firmware",
]

PAGE: Final = 4096
#: Larger firmware is not read; QEMU maps 8 MiB at most unless told otherwise.
MAX_FIRMWARE: Final = 64 << 20
#: The most bytes that the host is asked to prepare. OVMF's are a few hundred KiB.
MAX_PREPARED: Final = 256 << 20

#: Kinds of sections.
MEMORY, SECRETS, CPUID, CAA, HASHES = 1, 2, 3, 4, 0x10
#: What messages and measurements call them.
KINDS: Final = {
    MEMORY: "memory of the boot code",
    SECRETS: "secrets page",
    CPUID: "CPUID page",
    CAA: "calling area of the SVSM",
    HASHES: "kernel hashes page",
}

_END = 1 << 32
_HASHES_TABLE = guid("7255371f-3a3b-4b04-927b-1da6efa8d454")
_RESET = guid("00f771de-1a7e-4fcb-890e-68c77e2fb44e")
_METADATA = guid("dc886566-984a-4798-a75e-5585a7bf67cc")
_HEADER = struct.Struct("<4sIII")
_ITEM = struct.Struct("<III")
_SIGNATURE, _VERSION = b"ASEV", 1
_MAX_SECTIONS = 64


class Section(msgspec.Struct, frozen=True):
    """Pages that the host prepares.

    Attributes:
        kind: ``MEMORY`` …
        gpa: Where in the guest's memory.
        size: Bytes, whole pages.
    """

    kind: int
    gpa: int
    size: int


class Firmware(msgspec.Struct, frozen=True):
    """Firmware, read but not measured. Made by ``read_firmware`` alone.

    Attributes:
        data: All of it, as the host maps it below 4 GiB.
        sections: What the host prepares under SEV-SNP, in this order; empty if there is no list.
        hashes: Where the table of the kernel's hashes belongs in the guest's memory; 0 if nowhere.
        reset: Where all processors but the first start; 0 if that is not stated.
    """

    data: bytes
    sections: tuple[Section, ...]
    hashes: int
    reset: int

    @property
    def gpa(self) -> int:
        """Where the firmware begins in the guest's memory."""
        return _END - len(self.data)


def read_firmware(data: bytes) -> Firmware:
    """Read the tables of firmware.

    Raises:
        MalformedEvidence: ``firmware-table``; ``snp-firmware``: its size is not of whole pages, an entry is
            too short, or the list of sections contradicts itself.
    """
    if not 0 < len(data) <= MAX_FIRMWARE or len(data) % PAGE:
        raise MalformedEvidence("snp-firmware", actual=f"{len(data)} bytes")
    table = entries(data)
    hashes, reset, metadata = [
        0 if guid not in table else _number(table[guid]) for guid in (_HASHES_TABLE, _RESET, _METADATA)
    ]
    sections = tuple(_sections(data, metadata)) if _METADATA in table else ()
    if sum(section.size for section in sections) > MAX_PREPARED:
        raise MalformedEvidence("snp-firmware", actual=f"sections of more than {MAX_PREPARED} bytes")
    return Firmware(data, sections, hashes, reset)


def _number(entry: bytes) -> int:
    if len(entry) < 4:  # noqa: PLR2004
        raise MalformedEvidence("snp-firmware", actual=f"an entry of {len(entry)} bytes in its table")
    return int.from_bytes(entry[:4], "little")


def _sections(data: bytes, distance: int) -> Iterator[Section]:
    start = len(data) - distance
    if start < 0 or distance < _HEADER.size:
        raise MalformedEvidence("snp-firmware", actual=f"a list of sections {distance} bytes before its end")
    signature, size, version, count = _HEADER.unpack_from(data, start)
    if (signature, version) != (_SIGNATURE, _VERSION):
        raise MalformedEvidence(
            "snp-firmware", actual=f"a list of sections of the form {signature.hex()}, version {version}"
        )
    if count > _MAX_SECTIONS or size != _HEADER.size + count * _ITEM.size or size > distance:
        raise MalformedEvidence("snp-firmware", actual=f"a list of {count} sections in {size} bytes")
    for gpa, length, kind in _ITEM.iter_unpack(data[start + _HEADER.size : start + size]):
        single = kind in (SECRETS, CPUID, HASHES)
        if kind not in KINDS or gpa % PAGE or length % PAGE or not length or (single and length != PAGE):
            raise MalformedEvidence(
                "snp-firmware", actual=f"a section of the kind {kind} with {length} bytes at {gpa:#x}"
            )
        yield Section(kind, gpa, length)
