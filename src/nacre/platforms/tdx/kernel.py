# SPDX-License-Identifier: Apache-2.0
"""A kernel as QEMU hands it to firmware: before 10.2 with a changed header, of which part depends on memory.

QEMU plays the boot loader of its BIOS days and fills in the setup header, although UEFI does not look at it;
firmware measures what it gets. From 10.2 on the kernel of a TD stays as it is.

Source: Linux, ``Documentation/arch/x86/boot.rst``; QEMU, ``hw/i386/x86-common.c`` (``x86_load_linux``) up to
10.1, and commit a7542a38f399, which ended it for confidential guests.
"""

from struct import Struct

from nacre.errors import MalformedEvidence
from nacre.platforms.tdx.hob import below_4g
from nacre.platforms.tdx.tdvf import PAGE

__all__ = ["handed_over"]

_MAGIC_AT, _MAGIC = 0x202, b"HdrS"
_VERSION_AT, _LOADER_AT, _FLAGS_AT, _INITRD_AT = 0x206, 0x210, 0x211, 0x218
_HEAP_AT, _LINE_AT, _HIGHEST_AT, _MORE_FLAGS_AT, _END = 0x224, 0x228, 0x22C, 0x236, 0x238
#: The protocol of Linux 3.8, the first that says where the first file system may be.
_PROTOCOL = 0x20C
_QEMU, _LOADED_HIGH, _USES_HEAP, _ABOVE_4G = 0xB0, 0x01, 0x80, 0x02
_REAL, _LINE = 0x10000, 0x20000
#: Memory that QEMU keeps free below for ACPI tables.
_ACPI = 0x28000
_WORD = Struct("<I")
_PAIR = Struct("<II")


def handed_over(kernel: bytes, *, initrd: int, memory: int) -> tuple[bytes, int]:
    """Change a kernel's header as QEMU up to 10.1 does.

    Args:
        kernel: The kernel's file.
        initrd: Bytes of the first file system; 0 for none.
        memory: Bytes of memory that the machine has.

    Returns:
        The file, and the address that the header names for the first file system; 0 for none.

    Raises:
        MalformedEvidence: ``kernel-header``: this is no kernel of Linux for x86 with the protocol of 3.8 or
            newer; ``initrd-size``: there is no room for the first file system.
        ConfigurationError: ``tdx-memory``.
    """
    version = int.from_bytes(kernel[_VERSION_AT : _VERSION_AT + 2], "little")
    if len(kernel) < _END or kernel[_MAGIC_AT:_VERSION_AT] != _MAGIC or version < _PROTOCOL:
        raise MalformedEvidence("kernel-header", actual=f"protocol {version:#x}")
    if not kernel[_FLAGS_AT] & _LOADED_HIGH:
        raise MalformedEvidence("kernel-header", actual="a kernel for low memory")
    changed = bytearray(kernel)
    changed[_LOADER_AT] = _QEMU
    changed[_FLAGS_AT] |= _USES_HEAP
    _WORD.pack_into(changed, _HEAP_AT, _LINE - _REAL - 0x200)
    _WORD.pack_into(changed, _LINE_AT, _LINE)
    address = 0
    if initrd:
        room = below_4g(memory) - _ACPI - 1
        if not kernel[_MORE_FLAGS_AT] & _ABOVE_4G:
            room = min(room, _WORD.unpack_from(kernel, _HIGHEST_AT)[0])
        if initrd >= room:
            raise MalformedEvidence("initrd-size", actual=initrd, expected=room)
        address = (room - initrd) & -PAGE
        _PAIR.pack_into(changed, _INITRD_AT, address, initrd)
    return bytes(changed), address
