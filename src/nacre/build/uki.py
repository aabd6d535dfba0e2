# SPDX-License-Identifier: Apache-2.0
"""One file that firmware starts and measures: kernel, command line and first file system ("UKI").

The file is systemd's stub with further sections. What it leaves in a TPM is known before any boot:
:func:`nacre.platforms.tpm.uki.measure`.

Source: Microsoft, PE Format; UAPI Group, "Unified Kernel Image".
"""

from collections.abc import Mapping
from struct import Struct

from nacre.errors import BuildError, MalformedEvidence
from nacre.platforms.pe import Program, parse

__all__ = ["assemble"]

_FILE_HEADER = Struct("<4sHHIIIHH")
_SECTION = Struct("<8sIIIIIIHHI")
_WORD = Struct("<I")
_READABLE_DATA = 0x40000040
_PAGE = 4096
#: Firmware and other tools disagree on how the last few bytes of a file are measured, unless it ends evenly.
_EVEN = 512
#: Firmware has the whole file in memory twice, below 4 GiB.
_MOST = 1 << 30


def assemble(stub: bytes, *, kernel: bytes, command_line: str, initrd: bytes) -> bytes:
    """Put the parts into one file; the same parts give the same bytes.

    Args:
        stub: ``linuxx64.efi.stub`` of systemd.
        kernel: A kernel that has an EFI stub of its own.
        command_line: For the kernel.
        initrd: Its first file system.

    Raises:
        BuildError: ``uki-stub``: the stub is none, or nothing can be put into it; ``uki-kernel``: the kernel
            is no EFI program, or one for another processor; ``uki-large``.
    """
    program = _read(stub, "uki-stub")
    if _read(kernel, "uki-kernel").machine != program.machine:
        raise BuildError("uki-kernel", actual="it is for another processor than the stub")
    parts = _parts(kernel, command_line, initrd)
    count = len(program.sections) + len(parts)
    if program.table + count * _SECTION.size > program.headers:
        raise BuildError("uki-stub", actual="there is no room for further sections")
    if program.certificates or any(one.name.decode("latin-1") in parts for one in program.sections):
        raise BuildError("uki-stub", actual="it is signed, or something was put into it already")
    if sum(map(len, parts.values())) > _MOST:
        raise BuildError("uki-large", expected=_MOST)
    # Symbols for a debugger stand behind the sections; they are left out, and so is the time.
    body = bytearray(stub[: max(one.offset + one.size for one in program.sections)])
    body += bytes(-len(body) % _EVEN)
    address = max(one.address + one.memory for one in program.sections)
    added = bytearray()
    for name, content in parts.items():
        address += -address % _PAGE
        size = len(content) + -len(content) % _EVEN
        added += _SECTION.pack(
            name.encode(), len(content), address, size, len(body), 0, 0, 0, 0, _READABLE_DATA
        )
        body += content + bytes(size - len(content))
        address += len(content)
    magic, machine, _, _, _, _, optional, flags = _FILE_HEADER.unpack_from(stub, program.start)
    _FILE_HEADER.pack_into(body, program.start, magic, machine, count, 0, 0, 0, optional, flags)
    at = program.table + len(program.sections) * _SECTION.size
    body[at : at + len(added)] = added
    _WORD.pack_into(body, program.image_size, address + -address % _PAGE)
    return bytes(body)


def _read(data: bytes, code: str) -> Program:
    try:
        return parse(data)
    except MalformedEvidence as error:
        raise BuildError(code, actual=str(error)) from None


def _parts(kernel: bytes, command_line: str, initrd: bytes) -> Mapping[str, bytes]:
    return {
        ".osrel": b"ID=nacre\n",
        ".cmdline": command_line.encode(),
        ".linux": kernel,
        ".initrd": initrd,
    }
