# SPDX-License-Identifier: Apache-2.0
"""Archives of others, unpacked in memory: all of one, and never more than was allowed."""

import io
import lzma
import zlib
from collections.abc import Iterator
from typing import Final, Literal, NamedTuple

from nacre.build import tar_read
from nacre.errors import BuildError

__all__ = ["Unpacked", "files", "plain"]

#: What xz may use to unpack; its strongest preset needs a quarter of it.
_MEMORY: Final = 1 << 28


class Unpacked(NamedTuple):
    """One name of an archive.

    Attributes:
        path: Relative, parts separated by ``/``, none of them empty, ``.`` or ``..``.
        kind: As ``tar_read.Entry`` has it, but that a hard link is the file it leads to.
        target: Of a link, as it is written there.
        content: Of a file.
        program: Whether its owner may execute it.
    """

    path: str
    kind: str
    target: str
    content: bytes
    program: bool


def plain(data: bytes, form: Literal["gz", "xz"], *, what: str, limit: int) -> bytes:
    """Unpack one stream that is all there, with nothing behind it.

    Args:
        data: The stream.
        form: How it is packed.
        what: What errors call it.
        limit: The most bytes that may come out.

    Raises:
        BuildError: ``package-malformed``.
    """
    try:
        unpacker = (
            zlib.decompressobj(wbits=31)
            if form == "gz"
            else lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_MEMORY)
        )
        found = unpacker.decompress(data, limit + 1)
    except (zlib.error, lzma.LZMAError, EOFError) as error:
        raise BuildError("package-malformed", what=what, actual=str(error)) from None
    if len(found) > limit:
        raise BuildError("package-malformed", what=what, actual=f"more than {limit} bytes are packed in it")
    if not unpacker.eof:
        raise BuildError("package-malformed", what=what, actual="it ends early")
    if unpacker.unused_data:
        raise BuildError("package-malformed", what=what, actual="something stands behind its end")
    return found


def files(archive: bytes, *, what: str) -> Iterator[Unpacked]:
    """List what is in a tar archive.

    Args:
        archive: The archive, not packed.
        what: What errors call it.

    Raises:
        BuildError: ``package-malformed``: also for a path that leads out, or a hard link to nothing.
    """
    stream = io.BytesIO(archive)
    known: dict[str, Unpacked] = {}
    try:
        for entry in tar_read.entries(stream, len(archive)):
            if entry.name == ".":
                continue
            path = _inside(entry.name, what)
            content = archive[entry.start : entry.start + entry.size]
            found = Unpacked(path, entry.kind, entry.target, content, bool(entry.mode & 0o100))
            if entry.kind == "hard link":
                other = known.get(_inside(entry.target, what))
                if other is None:
                    raise _malformed(what, f"{path} is a hard link to nothing")
                found = other._replace(path=path)
            if found.kind == "file":
                known[path] = found
            yield found
    except BuildError as error:
        if error.code != "layer-malformed":
            raise
        raise BuildError("package-malformed", what=what, actual=str(error)) from None


def _inside(name: str, what: str) -> str:
    path = name.removeprefix("./")
    if not path.isprintable() or not {"", ".", ".."}.isdisjoint(path.split("/")):
        raise _malformed(what, f"the path {name[:80]!a}")
    return path


def _malformed(what: str, actual: str) -> BuildError:
    return BuildError("package-malformed", what=what, actual=actual)
