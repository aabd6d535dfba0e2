# SPDX-License-Identifier: Apache-2.0
"""The files in a package. None of its scripts is run, and nothing of it is written to this machine's disk.

Source: deb(5), ar(5).
"""

import io
import lzma
import posixpath
import re
import tarfile
from collections.abc import Iterator

from nacre.build.cpio import Member, file, link
from nacre.errors import BuildError

__all__ = ["read"]

_MAGIC = b"!<arch>\n"
_HEADER = 60
_MAX_PLAIN = 1 << 31
_NAME = re.compile(r"data\.tar(\.(?P<packed>gz|xz|zst))?/?")
#: Folders that are links into ``usr`` on every merged system; packages still name them.
_MERGED = ("bin", "lib", "lib32", "lib64", "sbin")


def read(data: bytes, *, what: str) -> Iterator[Member]:
    """List a package's files and links, at the places that they have on a merged system.

    Folders are left out: who writes an image makes those that are needed. Nothing is special any more:
    neither owner nor setuid; hard links are files of their own.

    Args:
        data: The package, ``.deb``.
        what: What errors call it.

    Raises:
        BuildError: ``package-malformed``, ``package-compression``; ``package-kind``: a device or pipe.
    """
    try:
        with tarfile.open(fileobj=io.BytesIO(_unpacked(data, what)), mode="r:") as archive:
            for entry in archive:
                path = _placed(entry.name)
                if path is None or entry.isdir():
                    continue
                if entry.issym():
                    yield link(path, entry.linkname)
                elif entry.isfile() or entry.islnk():
                    source = archive.extractfile(entry)
                    content = source.read() if source is not None else b""
                    yield file(path, content, program=bool(entry.mode & 0o100))
                else:
                    raise BuildError("package-kind", what=what, file=path)
    except (tarfile.TarError, lzma.LZMAError, EOFError, KeyError, OSError, UnicodeError, ValueError):
        raise BuildError("package-malformed", what=what) from None


def _placed(name: str) -> str | None:
    path = posixpath.normpath(name).lstrip("/")
    if path in ("", "."):
        return None
    if path.split("/", maxsplit=1)[0] == "..":
        raise ValueError(path)
    return f"usr/{path}" if path.split("/", maxsplit=1)[0] in _MERGED else path


def _unpacked(data: bytes, what: str) -> bytes:
    for name, content in _members(data):
        match = _NAME.fullmatch(name)
        if match is None:
            continue
        if match["packed"] == "zst":
            raise BuildError("package-compression", what=what, actual="zst")
        if match["packed"] == "xz":
            return _bounded(lzma.LZMADecompressor().decompress(content, _MAX_PLAIN + 1))
        if match["packed"] == "gz":
            import zlib  # noqa: PLC0415 (packages that old are rare)

            return _bounded(zlib.decompressobj(wbits=31).decompress(content, _MAX_PLAIN + 1))
        return content
    raise ValueError(what)


def _bounded(plain: bytes) -> bytes:
    if len(plain) > _MAX_PLAIN:
        raise ValueError(len(plain))
    return plain


def _members(data: bytes) -> Iterator[tuple[str, bytes]]:
    if data[: len(_MAGIC)] != _MAGIC:
        raise ValueError(data[: len(_MAGIC)])
    position = len(_MAGIC)
    while position < len(data):
        header = data[position : position + _HEADER]
        if header[58:60] != b"`\n":
            raise ValueError(position)
        size = int(header[48:58])
        start = position + _HEADER
        if size < 0 or start + size > len(data):
            raise ValueError(position)
        yield header[:16].decode().rstrip(), data[start : start + size]
        position = start + size + size % 2
