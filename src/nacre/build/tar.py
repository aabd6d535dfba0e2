# SPDX-License-Identifier: Apache-2.0
"""Archives that are layers of a container image: pax tar, one form for one content.

As in ``cpio.py`` nothing of the machine that writes gets in: entries are in the order of their paths' bytes,
owned by user and group 0, of the time 0; permissions follow from the kind. Extended headers are only there
where a name, a target or a size needs one.

Source: POSIX.1-2017, pax, "ustar Interchange Format" and "pax Interchange Format".
"""

import tarfile
from collections.abc import Iterable
from typing import BinaryIO

from nacre.build.cpio import Member, arranged, copy

__all__ = ["BLOCK", "padding", "write"]

#: Everything begins at a multiple of this.
BLOCK = 512
_KINDS = {
    "folder": (tarfile.DIRTYPE, 0o755),
    "file": (tarfile.REGTYPE, 0o644),
    "program": (tarfile.REGTYPE, 0o755),
    "link": (tarfile.SYMTYPE, 0o777),
}


def write(stream: BinaryIO, content: Iterable[Member]) -> None:
    """Write an archive of these entries and the folders that they lie in.

    Raises:
        BuildError: As ``cpio.arranged`` and ``cpio.copy``.
    """
    for member in arranged(content):
        entry = member.entry
        header = tarfile.TarInfo(entry.path)
        header.type, header.mode = _KINDS[entry.kind]
        header.linkname = entry.target
        if entry.kind in {"file", "program"}:
            header.size = entry.size
        stream.write(header.tobuf(tarfile.PAX_FORMAT, "utf-8", "strict"))
        if header.size:
            copy(member, stream)
            stream.write(padding(header.size))
    stream.write(bytes(2 * BLOCK))


def padding(size: int) -> bytes:
    """Return the zeros after content of this size."""
    return bytes(-size % BLOCK)
