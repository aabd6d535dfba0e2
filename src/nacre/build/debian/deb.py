# SPDX-License-Identifier: Apache-2.0
"""The files in a package. None of its scripts is run, and nothing of it is written to this machine's disk.

Source: deb(5), ar(5).
"""

import re
from collections.abc import Iterator
from typing import Final, Literal

from nacre.build import packed
from nacre.build.cpio import Member, file, link
from nacre.errors import BuildError

__all__ = ["read"]

_MAGIC: Final = b"!<arch>\n"
_HEADER: Final = 60
_FORMAT: Final = ("debian-binary", b"2.")
_MAX_PLAIN: Final = 1 << 31
_NAME: Final = re.compile(r"data\.tar(\.(?P<packed>gz|xz|zst))?")
#: Folders that are links into ``usr`` on every merged system; packages still name them.
_MERGED: Final = ("bin", "lib", "lib32", "lib64", "sbin")


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
    for entry in packed.files(_unpacked(data, what), what=what):
        if entry.kind == "folder":
            continue
        path = _placed(entry.path)
        if entry.kind == "link":
            yield link(path, entry.target)
        elif entry.kind == "file":
            yield file(path, entry.content, program=entry.program)
        else:
            raise BuildError("package-kind", what=what, file=path)


def _placed(path: str) -> str:
    return f"usr/{path}" if path.split("/", maxsplit=1)[0] in _MERGED else path


def _unpacked(data: bytes, what: str) -> bytes:
    parts = list(_members(data, what))
    found = [(match, content) for name, content in parts if (match := _NAME.fullmatch(name))]
    stated = parts[0] if parts else ("", b"")
    if stated[0] != _FORMAT[0] or not stated[1].startswith(_FORMAT[1]) or len(found) != 1:
        raise BuildError("package-malformed", what=what, actual="it is no package of Debian's")
    match, content = found[0]
    if match["packed"] == "zst":
        raise BuildError("package-compression", what=what, actual="zst")
    if match["packed"] is None:
        return content
    form: Literal["gz", "xz"] = "gz" if match["packed"] == "gz" else "xz"
    return packed.plain(content, form, what=what, limit=_MAX_PLAIN)


def _members(data: bytes, what: str) -> Iterator[tuple[str, bytes]]:
    if not data.startswith(_MAGIC):
        raise BuildError("package-malformed", what=what, actual="it is no archive of ar's")
    position = len(_MAGIC)
    while position < len(data):
        header = data[position : position + _HEADER]
        size, start = header[48:58].rstrip(b" "), position + _HEADER
        if header[58:] != b"`\n" or not size.isdigit() or start + int(size) > len(data):
            raise BuildError("package-malformed", what=what, actual=f"it is damaged at byte {position}")
        end = start + int(size)
        yield header[:16].decode("latin-1").rstrip(" ").removesuffix("/"), data[start:end]
        position = end + end % 2
