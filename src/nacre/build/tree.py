# SPDX-License-Identifier: Apache-2.0
"""An application's files as they are measured: names, contents, and whether a file may be run.

Owners, times and other permissions are not part of a tree: they differ between two checkouts of one commit.
"""

import hashlib
import os
import posixpath
import stat
from collections.abc import Iterable, Iterator
from collections.abc import Set as AbstractSet
from pathlib import Path
from struct import Struct
from typing import Literal

import msgspec

from nacre.errors import BuildError

__all__ = ["LEFT_OUT", "Entry", "Tree"]

#: What is no part of an application, wherever it lies and whatever it is: compiled copies of its own source,
#: which differ from machine to machine, and the history of its files.
LEFT_OUT = frozenset({"__pycache__", ".git", ".hg", ".svn", ".bzr", ".jj", "_darcs", "CVS"})

_DOMAIN = b"nacre-tree/v1\0"
_LENGTH = Struct(">I")
_KINDS = {"folder": b"d", "file": b"f", "program": b"x", "link": b"l"}
_EMPTY = hashlib.sha256().digest()
_CHUNK = 1 << 20


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One name of a tree.

    Attributes:
        path: Relative to the tree, parts separated by ``/``.
        kind: ``program`` is a file that its owner may execute.
        size: Bytes of a file's content or of a link's target; 0 for a folder.
        digest: SHA-256 of the same.
        target: Of a link, as it is written there; otherwise empty.
    """

    path: str
    kind: Literal["folder", "file", "program", "link"]
    size: int = 0
    digest: bytes = _EMPTY
    target: str = ""


class Tree(msgspec.Struct, frozen=True, kw_only=True):
    """A folder's files, as they were when it was read.

    Attributes:
        folder: Where they are.
        entries: In the order of their paths' UTF-8 bytes; the folder itself is not among them.
    """

    folder: Path
    entries: tuple[Entry, ...]

    @classmethod
    def read(
        cls, folder: str | Path, *, left_out: AbstractSet[str] = LEFT_OUT, largest: int | None = None
    ) -> "Tree":
        """List a folder and hash what is in it, but for the names in ``left_out``.

        Symbolic links are kept if they lead to something in the same tree. Files are hashed piece by piece,
        so their size does not matter.

        Raises:
            BuildError: ``tree-unreadable``, ``tree-name``, ``tree-link``, ``tree-kind``: names the file;
                ``image-size``: one has more than ``largest`` bytes.
        """
        try:
            root = Path(folder).resolve(strict=True)
        except (OSError, RuntimeError) as error:
            raise _unreadable(str(folder), error) from None
        entries = sorted(_entries(root, left_out, largest), key=lambda entry: entry.path.encode())
        known = {entry.path for entry in entries} | {"."}
        for entry in entries:
            if entry.kind == "link":
                _check_link(root, entry, known)
        return cls(folder=root, entries=tuple(entries))

    @classmethod
    def only(cls, file: Path) -> "Tree":
        """Return a tree of one file, without its neighbours.

        Raises:
            BuildError: As ``read`` raises.
        """
        return cls(folder=file.parent, entries=(_entry(file.parent, file.name),))

    @property
    def digest(self) -> bytes:
        """SHA-256 of the domain and of each entry's kind, path (its length before it) and digest."""
        whole = hashlib.sha256(_DOMAIN)
        for entry in self.entries:
            path = entry.path.encode()
            whole.update(_KINDS[entry.kind] + _LENGTH.pack(len(path)) + path + entry.digest)
        return whole.digest()

    @property
    def size(self) -> int:
        """Bytes of all contents."""
        return sum(entry.size for entry in self.entries)

    def content(self, entry: Entry) -> Iterable[bytes]:
        """Return a file's content, read again piece by piece whenever it is gone through.

        Going through it raises ``BuildError``: ``tree-changed`` at the end, if the file is no longer what was
        hashed; ``tree-unreadable``.
        """
        return _Content(self.folder / entry.path, entry)


class _Content:
    """A file that has to be what it was."""

    def __init__(self, file: Path, entry: Entry) -> None:
        self._file = file
        self._entry = entry

    def __iter__(self) -> Iterator[bytes]:
        digest = hashlib.sha256()
        for piece in _pieces(self._file, self._entry.path):
            digest.update(piece)
            yield piece
        if digest.digest() != self._entry.digest:
            raise BuildError("tree-changed", file=self._entry.path)


def _entries(root: Path, left_out: AbstractSet[str], largest: int | None) -> Iterator[Entry]:
    waiting = [""]
    while waiting:
        within = waiting.pop()
        try:
            with os.scandir(root / within) as listing:
                found = list(listing)
        except OSError as error:
            raise _unreadable(within or str(root), error) from None
        for one in found:
            path = posixpath.join(within, one.name)
            _check_name(path, one.name)
            if one.name in left_out:
                continue
            entry = _entry(root, path, largest)
            if entry.kind == "folder":
                waiting.append(path)
            yield entry


def _entry(root: Path, path: str, largest: int | None = None) -> Entry:
    try:
        found = (root / path).lstat()
        mode = found.st_mode
        if stat.S_ISDIR(mode):
            return Entry(path=path, kind="folder")
        if stat.S_ISLNK(mode):
            target = os.readlink(root / path)  # noqa: PTH115 (a Path would tidy it up)
            _check_name(path, target)
            data = target.encode()
            return Entry(
                path=path, kind="link", size=len(data), digest=hashlib.sha256(data).digest(), target=target
            )
    except OSError as error:
        raise _unreadable(path, error) from None
    if not stat.S_ISREG(mode):
        raise BuildError("tree-kind", file=path, actual=_kind(mode))
    if largest is not None and found.st_size > largest:
        raise BuildError("image-size", file=path, expected=largest, actual=found.st_size)
    digest, size = hashlib.sha256(), 0
    for piece in _pieces(root / path, path):
        digest.update(piece)
        size += len(piece)
    kind: Literal["program", "file"] = "program" if mode & stat.S_IXUSR else "file"
    return Entry(path=path, kind=kind, size=size, digest=digest.digest())


def _pieces(file: Path, path: str) -> Iterator[bytes]:
    try:
        # What was a file a moment ago may be a link or a pipe by now: neither is followed or waited for.
        opened = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(opened, "rb", buffering=0) as stream:  # noqa: PTH123 (an open descriptor)
            if not stat.S_ISREG(os.fstat(opened).st_mode):
                raise BuildError("tree-changed", file=path)
            while piece := stream.read(_CHUNK):
                yield piece
    except OSError as error:
        raise _unreadable(path, error) from None


def _check_name(path: str, name: str) -> None:
    try:
        name.encode()
    except UnicodeEncodeError:
        raise BuildError("tree-name", file=os.fsencode(path).decode(errors="backslashreplace")) from None
    if not name.isprintable():
        raise BuildError("tree-name", file=path)


def _check_link(root: Path, entry: Entry, known: set[str]) -> None:
    """Refuse a link that leaves the tree at any step, leads in a circle or to what is not in the tree."""
    path = root / entry.path
    try:
        if not posixpath.isabs(entry.target):
            within = path.resolve(strict=True).relative_to(root).as_posix()
            if within in known and not _climbs_out(entry):
                return
    except (OSError, RuntimeError, ValueError):
        pass
    raise BuildError("tree-link", file=entry.path, actual=entry.target)


def _climbs_out(entry: Entry) -> bool:
    """Tell whether the target's words lead above the tree, though they may come back by its name."""
    depth = entry.path.count("/")
    for part in entry.target.split("/"):
        depth += {"..": -1, ".": 0, "": 0}.get(part, 1)
        if depth < 0:
            return True
    return False


def _kind(mode: int) -> str:
    names = {stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket"}
    return names.get(stat.S_IFMT(mode), "a device")


def _unreadable(path: str, error: Exception) -> BuildError:
    return BuildError("tree-unreadable", file=path, actual=getattr(error, "strerror", None) or str(error))
