# SPDX-License-Identifier: Apache-2.0
"""Kernel, first file system and command line, as QEMU measures them: a table of their SHA-256.

OVMF holds what it loads against this table, so that measuring the table measures them all.

Source: QEMU, ``target/i386/sev.c``, ``sev_add_kernel_loader_hashes``; tianocore/edk2,
``OvmfPkg/AmdSev/BlobVerifierLibSevHashes``.
"""

import hashlib
import struct
from functools import partial

import msgspec

from nacre.platforms.measuring import Together, one_by_one
from nacre.platforms.ovmf import guid

__all__ = ["Hashed", "Loaded"]

_TABLE = guid("9438d606-4f22-4cc9-b479-a793d411fd21")
_COMMAND_LINE = guid("97d02dd8-bd20-4c94-aa78-e7714d36ab2a")
_INITRD = guid("44baf731-3a2f-4bd7-9af1-41e29169781d")
_KERNEL = guid("4de79437-abd2-427f-b835-d5b172d2045b")
_HEAD = struct.Struct("<16sH")
_ENTRY = _HEAD.size + hashlib.sha256().digest_size
_EVEN = 16


class Hashed(msgspec.Struct, frozen=True):
    """A file, or what of it is measured.

    Attributes:
        digest: SHA-256, 32 bytes.
        size: Bytes.
    """

    digest: bytes
    size: int


class Loaded(msgspec.Struct, frozen=True, kw_only=True):
    """What the host loads for the guest.

    Attributes:
        kernel: As the file is: QEMU changes nothing in its header under SEV.
        initrd: The first file system; of no bytes if there is none.
        command_line: The kernel's, with the zero byte that the host puts behind it.
    """

    kernel: Hashed
    initrd: Hashed
    command_line: Hashed

    @classmethod
    def of(
        cls,
        *,
        kernel: bytes | memoryview,
        initrd: bytes | memoryview = b"",
        command_line: str = "",
        together: Together = one_by_one,
    ) -> "Loaded":
        """Hash what is loaded; ``together`` does two jobs."""
        one, two = together([partial(_hashed, kernel), partial(_hashed, initrd)])
        return cls(kernel=one, initrd=two, command_line=_hashed(command_line.encode() + b"\0"))

    def table(self) -> bytes:
        """Return the table as it lies in the guest's memory, filled up to 16 bytes."""
        items = ((_COMMAND_LINE, self.command_line), (_INITRD, self.initrd), (_KERNEL, self.kernel))
        body = b"".join([_HEAD.pack(name, _ENTRY) + item.digest for name, item in items])
        table = _HEAD.pack(_TABLE, _HEAD.size + len(body)) + body
        return table + bytes(-len(table) % _EVEN)


def _hashed(data: bytes | memoryview) -> Hashed:
    return Hashed(hashlib.sha256(data).digest(), len(data))
