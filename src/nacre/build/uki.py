# SPDX-License-Identifier: Apache-2.0
"""One file that firmware starts and measures: kernel, command line and first file system ("UKI").

The file is systemd's stub with further sections. The stub extends PCR 11 by each of them before it starts the
kernel, so the register can be computed before any boot.

Source: Microsoft, PE Format; UAPI Group, "Unified Kernel Image"; systemd, ``src/boot/efi/stub.c`` at v252.
"""

import hashlib
import struct
from collections.abc import Mapping
from struct import Struct

from nacre.errors import BuildError

__all__ = ["assemble", "pcr11"]

#: In the order in which the stub measures them.
_MEASURED = (".linux", ".osrel", ".cmdline", ".initrd")
_PE = b"PE\0\0"
_NEW_HEADER, _IMAGE_SIZE, _HEADERS_SIZE = 0x3C, 56, 60
_FILE_HEADER = Struct("<4sHHIIIHH")
_SECTION = Struct("<8sIIIIIIHHI")
_WORD = Struct("<I")
_READABLE_DATA = 0x40000040
_PAGE = 4096
#: Firmware and other tools disagree on how the last few bytes of a file are measured, unless it ends evenly.
_EVEN = 512


def assemble(stub: bytes, *, kernel: bytes, command_line: str, initrd: bytes) -> bytes:
    """Put the parts into one file; the same parts give the same bytes.

    Args:
        stub: ``linuxx64.efi.stub`` of systemd.
        kernel: A kernel that has an EFI stub of its own.
        command_line: For the kernel.
        initrd: Its first file system.

    Raises:
        BuildError: ``uki-stub``: the stub is none, or has no room for further sections.
    """
    parts = _parts(kernel, command_line, initrd)
    try:
        header = bytearray(stub)
        (start,) = _WORD.unpack_from(stub, _NEW_HEADER)
        magic, machine, count, _, _, _, optional, flags = _FILE_HEADER.unpack_from(stub, start)
        table = start + _FILE_HEADER.size + optional
        sections = [_SECTION.unpack_from(stub, table + index * _SECTION.size) for index in range(count)]
        room = _WORD.unpack_from(stub, start + 24 + _HEADERS_SIZE)[0]
        end = max(offset + size for _, _, _, size, offset, *_ in sections)
        address = max(base + size for _, size, base, *_ in sections)
    except (struct.error, ValueError):
        raise BuildError("uki-stub") from None
    if magic != _PE or table + (count + len(parts)) * _SECTION.size > room or end > len(stub):
        raise BuildError("uki-stub")
    body = bytearray(stub[:end])
    body += bytes(-len(body) % _EVEN)
    added = bytearray()
    for name, content in parts.items():
        address += -address % _PAGE
        size = len(content) + -len(content) % _EVEN
        added += _SECTION.pack(
            name.encode(), len(content), address, size, len(body), 0, 0, 0, 0, _READABLE_DATA
        )
        body += content + bytes(size - len(content))
        address += len(content)
    header = body
    # Symbols for a debugger stood behind the sections; they are left out, and so is the time.
    _FILE_HEADER.pack_into(header, start, magic, machine, count + len(parts), 0, 0, 0, optional, flags)
    at = table + count * _SECTION.size
    header[at : at + len(added)] = added
    _WORD.pack_into(header, start + 24 + _IMAGE_SIZE, address + -address % _PAGE)
    return bytes(header)


def pcr11(*, kernel: bytes, command_line: str, initrd: bytes, algorithm: str = "sha256") -> bytes:
    """Return PCR 11 as the stub leaves it, before systemd, where there is one, extends it by its phases."""
    parts = _parts(kernel, command_line, initrd)
    value = bytes(hashlib.new(algorithm).digest_size)
    for name in _MEASURED:
        for data in (name.encode() + b"\0", parts[name]):
            digest = hashlib.new(algorithm, data).digest()
            value = hashlib.new(algorithm, value + digest).digest()
    return value


def _parts(kernel: bytes, command_line: str, initrd: bytes) -> Mapping[str, bytes]:
    return {
        ".osrel": b"ID=nacre\n",
        ".cmdline": command_line.encode(),
        ".linux": kernel,
        ".initrd": initrd,
    }
