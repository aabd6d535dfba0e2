# SPDX-License-Identifier: Apache-2.0
"""Archives that a Linux kernel unpacks as its first file system: "newc" cpio, one form for one content.

Nothing of the machine that writes gets in: entries are in the order of their paths' bytes and numbered in it,
owned by user and group 0, of the time 0, each file on its own; permissions follow from the kind.

Source: Linux, ``Documentation/driver-api/early-userspace/buffer-format.rst``, ``init/initramfs.c``.
"""

import hashlib
import posixpath
from collections.abc import Iterable, Iterator
from typing import BinaryIO, Literal, NamedTuple

from nacre.build.tree import Entry, Tree
from nacre.errors import BuildError

__all__ = [
    "LARGEST",
    "Member",
    "archives",
    "arranged",
    "check_path",
    "copy",
    "file",
    "folder",
    "link",
    "members",
    "read",
    "write",
]

_MAGIC = b"070701"
_FIELDS = 13
_HEADER = len(_MAGIC) + 8 * _FIELDS
_TRAILER = "TRAILER!!!"
#: Bytes of the largest file that an archive can have.
LARGEST = (1 << 32) - 1
#: The longest path that a kernel takes, with the NUL at its end.
_MAX_PATH = 4096
_ALIGNMENT = 4
_MODES = {"folder": 0o040755, "file": 0o100644, "program": 0o100755, "link": 0o120777}
_KINDS: dict[int, Literal["folder", "file", "program", "link"]] = {
    0o040755: "folder",
    0o100644: "file",
    0o100755: "program",
    0o120777: "link",
}


class Member(NamedTuple):
    """One entry and the pieces of its content; of a link, its target."""

    entry: Entry
    content: Iterable[bytes]


def file(path: str, content: bytes, *, program: bool = False) -> Member:
    """Return a file of these bytes."""
    kind: Literal["program", "file"] = "program" if program else "file"
    digest = hashlib.sha256(content).digest()
    return Member(Entry(path=path, kind=kind, size=len(content), digest=digest), (content,))


def folder(path: str) -> Member:
    """Return a folder."""
    return Member(Entry(path=path, kind="folder"), ())


def link(path: str, target: str) -> Member:
    """Return a symbolic link."""
    data = target.encode()
    digest = hashlib.sha256(data).digest()
    return Member(Entry(path=path, kind="link", size=len(data), digest=digest, target=target), (data,))


def members(tree: Tree, *, below: str) -> Iterator[Member]:
    """List a tree's entries as they are to lie below a folder of the image."""
    yield folder(below)
    for entry in tree.entries:
        path = posixpath.join(below, entry.path)
        if entry.kind == "folder":
            yield folder(path)
        elif entry.kind == "link":
            yield link(path, entry.target)
        else:
            placed = Entry(path=path, kind=entry.kind, size=entry.size, digest=entry.digest)
            yield Member(placed, tree.content(entry))


def arranged(content: Iterable[Member]) -> list[Member]:
    """Put entries into the order of archives; folders that they lie in are added where they are missing.

    Raises:
        BuildError: ``image-path``, ``image-twice``, ``image-parent``.
    """
    placed: dict[str, Member] = {}
    for member in content:
        path = member.entry.path
        check_path(path)
        if path in placed:
            raise BuildError("image-twice", file=path)
        placed[path] = member
    for path in list(placed):
        for parent in _parents(path):
            if placed.setdefault(parent, folder(parent)).entry.kind != "folder":
                raise BuildError("image-parent", file=path, actual=parent)
    return [member for _, member in sorted(placed.items(), key=lambda one: one[0].encode())]


def copy(member: Member, stream: BinaryIO) -> None:
    """Write a member's content.

    Raises:
        BuildError: ``tree-changed``, if it is not as long as it was said to be; what reading it raises.
    """
    written = 0
    for piece in member.content:
        written += len(piece)
        stream.write(piece)
    if written != member.entry.size:
        raise BuildError("tree-changed", file=member.entry.path)


def write(stream: BinaryIO, content: Iterable[Member]) -> None:
    """Write an archive of these entries and the folders that they lie in.

    Raises:
        BuildError: ``image-size``; as ``arranged`` and ``copy``.
    """
    for number, member in enumerate(arranged(content), start=1):
        path, size = member.entry.path, member.entry.size
        if size > LARGEST:
            raise BuildError("image-size", file=path, expected=LARGEST, actual=size)
        stream.write(_header(path, number=number, mode=_MODES[member.entry.kind], size=size))
        copy(member, stream)
        stream.write(_padding(size))
    stream.write(_header(_TRAILER, number=0, mode=0, size=0))


def read(data: bytes) -> tuple[Member, ...]:
    """Read what ``write`` wrote, and nothing else: another spelling of the same content is refused.

    Raises:
        BuildError: ``image-malformed``: names the byte.
    """
    found: list[Member] = []
    kinds: dict[str, str] = {"": "folder"}
    position, last = 0, b""
    while True:
        path, mode, size, start = _entry(data, position, len(found) + 1)
        if path == _TRAILER:
            break
        end = start + size
        following = end + len(_padding(size))
        body, kind = data[start:end], _KINDS.get(mode)
        sound = last < path.encode() and kinds.get(posixpath.dirname(path)) == "folder"
        if kind is None or not sound or following > len(data) or data[end:following].strip(b"\0"):
            raise _malformed(position)
        found.append(_member(path, kind, body, position))
        kinds[path] = kind
        position, last = following, path.encode()
    if start != len(data):
        raise _malformed(start)
    return tuple(found)


def archives(data: bytes) -> tuple[bytes, ...]:
    """Take apart several archives of ``write``, one behind the other, as a kernel unpacks them.

    Raises:
        BuildError: ``image-malformed``.
    """
    found: list[bytes] = []
    begin = position = number = 0
    while position < len(data):
        number += 1
        path, _, size, start = _entry(data, position, number)
        position = start + size + len(_padding(size))
        if path == _TRAILER:
            found.append(data[begin:position])
            begin, number = position, 0
    if begin != len(data):
        raise _malformed(begin)
    return tuple(found)


def _member(path: str, kind: str, body: bytes, position: int) -> Member:
    if kind == "folder" and not body:
        return folder(path)
    if kind == "link":
        try:
            return link(path, body.decode())
        except UnicodeDecodeError:
            raise _malformed(position) from None
    if kind == "folder":
        raise _malformed(position)
    return file(path, body, program=kind == "program")


def _entry(data: bytes, position: int, number: int) -> tuple[str, int, int, int]:
    """Read a header, the only one possible for its content; return path, mode, size, content's start."""
    header = data[position : position + _HEADER]
    try:
        values = [int(header[at : at + 8], 16) for at in range(len(_MAGIC), _HEADER, 8)]
        name = data[position + _HEADER : position + _HEADER + min(values[11], _MAX_PATH)]
        path = name[:-1].decode()
        if path != _TRAILER:
            check_path(path)
    except (ValueError, IndexError, BuildError):
        raise _malformed(position) from None
    if path == _TRAILER:
        number = values[1] = values[6] = 0
    expected = _header(path, number=number, mode=values[1], size=values[6])
    if data[position : position + len(expected)] != expected:
        raise _malformed(position)
    return path, values[1], values[6], position + len(expected)


def _header(path: str, *, number: int, mode: int, size: int) -> bytes:
    name = path.encode() + b"\0"
    # inode, mode, uid, gid, links, mtime, size, device (2), device of a node (2), length of name, checksum
    values = (number, mode, 0, 0, 1, 0, size, 0, 0, 0, 0, len(name), 0)
    header = _MAGIC + b"".join(b"%08X" % value for value in values) + name
    return header + _padding(len(header))


def _padding(size: int) -> bytes:
    return bytes(-size % _ALIGNMENT)


def _parents(path: str) -> Iterator[str]:
    while path := posixpath.dirname(path):
        yield path


def check_path(path: str) -> None:
    """Refuse what is no path inside an image, or not the only spelling of it.

    Raises:
        BuildError: ``image-path``.
    """
    if (
        not path.isprintable()
        or path != posixpath.normpath(path)
        or path.startswith(("/", ".."))
        or path in {"", ".", _TRAILER}
        or len(path.encode(errors="replace")) >= _MAX_PATH
    ):
        raise BuildError("image-path", file=ascii(path[:80]))


def _malformed(position: int) -> BuildError:
    return BuildError("image-malformed", actual=position)
