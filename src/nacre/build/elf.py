# SPDX-License-Identifier: Apache-2.0
"""Which shared libraries a program needs, read from its file: nothing is run to find out.

Source: System V Application Binary Interface, "Program Header" and "Dynamic Section"; ld.so(8).
"""

import struct
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from struct import Struct

import msgspec

from nacre.errors import BuildError

__all__ = ["MAGIC", "Needs", "closure", "needs", "read"]

#: How every program and library begins: 64 bits, little-endian.
MAGIC = b"\x7fELF\x02\x01\x01"
_HEADER = Struct("<16xHHIQQQIHHHHHH")
_SEGMENT = Struct("<IIQQQQQQ")
_PAIR = Struct("<qQ")
_LOAD, _DYNAMIC, _INTERPRETER = 1, 2, 3
_NEEDED, _STRINGS, _RPATH, _RUNPATH = 1, 5, 15, 29
_SYSTEM = (
    *("/lib/x86_64-linux-gnu", "/usr/lib/x86_64-linux-gnu", "/lib/aarch64-linux-gnu"),
    *("/usr/lib/aarch64-linux-gnu", "/lib64", "/usr/lib64", "/lib", "/usr/lib", "/usr/local/lib"),
)


class Needs(msgspec.Struct, frozen=True, kw_only=True):
    """What a file asks of the loader.

    Attributes:
        interpreter: The loader itself, of a program; of a library empty.
        libraries: Names of libraries.
        folders: Where to look first, ``$ORIGIN`` being where the file lies.
    """

    interpreter: str = ""
    libraries: tuple[str, ...] = ()
    folders: tuple[str, ...] = ()


def needs(path: Path) -> Needs | None:
    """Read what a file needs; None if it is no ELF file.

    Raises:
        BuildError: ``elf-malformed``, ``tree-unreadable``.
    """
    try:
        with path.open("rb") as file:
            if file.read(len(MAGIC)) != MAGIC:
                return None
        return read(path.read_bytes(), file=str(path))
    except OSError as error:
        raise BuildError("tree-unreadable", file=str(path), actual=error.strerror or "an error") from None


def read(data: bytes, *, file: str) -> Needs | None:
    """Read what a file's content asks for; None if it is no ELF file.

    Args:
        data: The content.
        file: What errors call it.

    Raises:
        BuildError: ``elf-malformed``.
    """
    if not data.startswith(MAGIC):
        return None
    try:
        return _needs(data)
    except (struct.error, ValueError, OverflowError):
        raise BuildError("elf-malformed", file=file) from None


def closure(paths: Iterable[Path]) -> Mapping[str, Path]:
    """Find all libraries that files need, and those need in turn.

    Returns:
        Where each lies on this machine, by the name that the loader looks for; a program's loader by its
        whole path.

    Raises:
        BuildError: ``elf-library``: one is not here; ``elf-malformed``, ``tree-unreadable``.
    """
    found: dict[str, Path] = {}
    waiting = list(paths)
    while waiting:
        path = waiting.pop()
        asked = needs(path)
        if asked is None:
            continue
        if asked.interpreter:
            found.setdefault(asked.interpreter, Path(asked.interpreter).resolve())
        for name in asked.libraries:
            if name not in found:
                found[name] = _find(name, asked, path)
                waiting.append(found[name])
    # The loader is needed by name as well, by the C library.
    loaders = {Path(name).name for name in found if "/" in name}
    return {name: path for name, path in sorted(found.items()) if name not in loaders}


def _find(name: str, asked: Needs, path: Path) -> Path:
    origin = str(path.resolve().parent)
    own = (folder.replace("${ORIGIN}", "$ORIGIN").replace("$ORIGIN", origin) for folder in asked.folders)
    for folder in (*own, *_SYSTEM):
        candidate = Path(folder) / name
        if candidate.is_file() and needs(candidate) is not None:
            return candidate
    raise BuildError("elf-library", file=str(path), actual=name)


def _needs(data: bytes) -> Needs:
    _, _, _, _, start, _, _, _, size, count, *_ = _HEADER.unpack_from(data)
    if count == 0:  # an object file, as a kernel's module is
        return Needs()
    if size != _SEGMENT.size:
        raise ValueError(size)
    segments = [_SEGMENT.unpack_from(data, start + index * size) for index in range(count)]
    loads = [
        (address, length, offset) for kind, _, offset, address, _, length, *_ in segments if kind == _LOAD
    ]
    interpreter, pairs = "", list[tuple[int, int]]()
    for kind, _, offset, _, _, length, *_ in segments:
        if offset + length > len(data):
            raise ValueError(offset)
        if kind == _INTERPRETER:
            interpreter = _text(data, offset)
        elif kind == _DYNAMIC:
            pairs += _pairs(data[offset : offset + length])
    strings = next((_offset(value, loads) for tag, value in pairs if tag == _STRINGS), 0)
    folders = [_text(data, strings + value) for tag, value in pairs if tag in (_RUNPATH, _RPATH)]
    return Needs(
        interpreter=interpreter,
        libraries=tuple(_text(data, strings + value) for tag, value in pairs if tag == _NEEDED),
        folders=tuple(folder for one in folders for folder in one.split(":") if folder),
    )


def _pairs(section: bytes) -> Iterator[tuple[int, int]]:
    for at in range(0, len(section) - _PAIR.size + 1, _PAIR.size):
        tag, value = _PAIR.unpack_from(section, at)
        if tag == 0:
            return
        yield tag, value


def _offset(address: int, loads: Iterable[tuple[int, int, int]]) -> int:
    for start, length, offset in loads:
        if start <= address < start + length:
            return address - start + offset
    raise ValueError(address)


def _text(data: bytes, start: int) -> str:
    return data[start : data.index(b"\0", start)].decode()
