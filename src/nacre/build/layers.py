# SPDX-License-Identifier: Apache-2.0
"""Layers of a container image, put on top of each other.

A layer adds and replaces; what it removes has a whiteout there, a file whose name begins with ``.wh.``. That
is worked out on names alone: nothing is unpacked, so no name and no link leads anywhere. What tools would do
differently is refused: a name twice in a layer, a way through a link, a hard link to what is not there.

Source: OCI Image Format Specification 1.1, ``layer.md``.
"""

import hashlib
import posixpath
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import BinaryIO, Final, Literal

from nacre.build import tar_read
from nacre.build.cpio import Member, check_path, folder, link
from nacre.build.tree import Entry
from nacre.errors import BuildError

__all__ = ["Layers"]

_WHITEOUT: Final = ".wh."
_OPAQUE: Final = ".wh..wh..opq"
_CHUNK: Final = 1 << 20
_SPECIAL: Final = {0o4000: "setuid", 0o2000: "setgid"}


class Layers:
    """What a container sees of the layers that were added, the lowest first."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self._placed: dict[str, Member] = {}
        self._left_out: dict[str, str] = {}

    @property
    def members(self) -> tuple[Member, ...]:
        """What there is. Contents are read from the layers when they are gone through."""
        return tuple(self._placed.values())

    @property
    def left_out(self) -> tuple[str, ...]:
        """What an image of ours has no place for: the path, and what it is or has."""
        return tuple([f"{path}: {what}" for path, what in self._left_out.items()])

    def add(self, layer: Path) -> None:
        """Put a layer on top: a tar archive, which has to stay where it is.

        Raises:
            BuildError: ``layer-malformed``, ``image-path``; ``layer-entry``: names the file.
            OSError: The file cannot be read.
        """
        with layer.open("rb") as stream:
            size = stream.seek(0, 2)
            upper, removed, emptied = _sorted_out(tar_read.entries(stream, size))
            covered = {path for path, entry in upper.items() if entry.kind != "folder"}
            self._uncover(removed | covered, emptied)
            for path, entry in upper.items():
                self._place(path, entry, layer, stream)

    def _uncover(self, gone: set[str], emptied: set[str]) -> None:
        """Forget what a layer removes or replaces."""
        emptied |= gone

        def stays(path: str) -> bool:
            return path not in gone and emptied.isdisjoint(_parents(path))

        self._placed = {path: member for path, member in self._placed.items() if stays(path)}
        self._left_out = {path: what for path, what in self._left_out.items() if stays(path)}

    def _place(self, path: str, entry: tar_read.Entry, layer: Path, stream: BinaryIO) -> None:
        for parent in _parents(path):
            placed = self._placed.get(parent)
            if placed is not None and placed.entry.kind != "folder":
                raise _wrong(path, expected=f"{parent} to be a folder", actual=placed.entry.kind)
        special = [name for bit, name in _SPECIAL.items() if entry.mode & bit and entry.kind == "file"]
        extras = [*special, *entry.attributes]
        if entry.kind == "folder":
            self._placed[path] = folder(path)
        elif entry.kind == "link":
            self._placed[path] = link(path, entry.target)
        elif entry.kind == "file":
            self._placed[path] = _file(path, entry, layer, stream)
        elif entry.kind == "hard link":
            self._placed[path] = self._again(path, entry)
        else:
            extras = [entry.kind]
        if extras:
            self._left_out[path] = ", ".join(extras)

    def _again(self, path: str, entry: tar_read.Entry) -> Member:
        """Return a file under another name; where it is changed, it is so under one name only."""
        there = self._placed.get(_path(entry.target))
        if there is None or there.entry.kind not in {"file", "program"}:
            raise _wrong(path, expected="a hard link to a file that is there", actual=entry.target)
        old = there.entry
        return Member(Entry(path=path, kind=old.kind, size=old.size, digest=old.digest), there.content)


class _Content:
    """A file in an archive, which has to be what it was."""

    def __init__(self, layer: Path, entry: Entry, start: int) -> None:
        self._layer = layer
        self._entry = entry
        self._start = start

    def __iter__(self) -> Iterator[bytes]:
        digest = hashlib.sha256()
        try:
            with self._layer.open("rb") as stream:
                for piece in _pieces(stream, self._start, self._entry.size):
                    digest.update(piece)
                    yield piece
        except OSError as error:
            path = str(self._layer)
            raise BuildError("tree-unreadable", file=path, actual=error.strerror or str(error)) from None
        if digest.digest() != self._entry.digest:
            raise BuildError("tree-changed", file=self._entry.path)


def _file(path: str, entry: tar_read.Entry, layer: Path, stream: BinaryIO) -> Member:
    digest = hashlib.sha256()
    for piece in _pieces(stream, entry.start, entry.size):
        digest.update(piece)
    kind: Literal["program", "file"] = "program" if entry.mode & 0o100 else "file"
    placed = Entry(path=path, kind=kind, size=entry.size, digest=digest.digest())
    return Member(placed, _Content(layer, placed, entry.start))


def _pieces(stream: BinaryIO, start: int, size: int) -> Iterator[bytes]:
    stream.seek(start)
    while size and (piece := stream.read(min(size, _CHUNK))):
        size -= len(piece)
        yield piece


def _sorted_out(
    entries: Iterable[tar_read.Entry],
) -> tuple[Mapping[str, tar_read.Entry], set[str], set[str]]:
    """Tell what a layer brings from what it removes, and from the folders that it empties."""
    upper: dict[str, tar_read.Entry] = {}
    removed: set[str] = set()
    emptied: set[str] = set()
    for entry in entries:
        path = _path(entry.name)
        within, name = posixpath.split(path)
        if not path:
            if entry.kind != "folder":
                raise _wrong(entry.name, expected="a folder", actual=entry.kind)
        elif name == _OPAQUE:
            emptied.add(within)
        elif name.startswith(_WHITEOUT):
            hidden = posixpath.join(within, name.removeprefix(_WHITEOUT))
            check_path(hidden)
            if name.startswith(2 * _WHITEOUT):
                raise _wrong(path, expected="the whiteout of a name", actual=name)
            removed.add(hidden)
        elif path in upper or any(part.startswith(_WHITEOUT) for part in within.split("/")):
            raise _wrong(path, expected="each name once, and no whiteouts in it", actual=entry.kind)
        else:
            upper[path] = entry
    return upper, removed, emptied


def _path(name: str) -> str:
    """Return the one spelling of a name; empty for the root."""
    path = name.removeprefix("./")
    if path in {"", "."}:
        return ""
    check_path(path)
    return path


def _parents(path: str) -> Iterator[str]:
    """List the folders that a path lies in, with the root."""
    while path:
        path = posixpath.dirname(path)
        yield path


def _wrong(path: str, *, expected: str, actual: str) -> BuildError:
    return BuildError("layer-entry", file=path, expected=expected, actual=actual)
