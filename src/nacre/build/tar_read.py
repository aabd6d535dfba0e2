# SPDX-License-Identifier: Apache-2.0
"""Tar archives of others, read strictly: pax, GNU's long names, and what came before both.

Every checksum holds, every name is UTF-8, and nothing but zeros follows the end. What readers would
understand differently (sparse files, other character sets, two names for one entry) is refused.

Source: POSIX.1-2017, pax, "ustar Interchange Format" and "pax Interchange Format"; GNU tar manual, "Basic
Tar Format".
"""

from collections.abc import Iterator, Mapping
from struct import Struct
from typing import BinaryIO, Final

import msgspec

from nacre.build.tar import BLOCK, padding
from nacre.errors import BuildError

__all__ = ["Entry", "entries"]

# name, mode, uid, gid, size, mtime, checksum, type, target, magic and version, owner, group, device, prefix
_HEADER: Final = Struct("100s8s16x12s12x8sc100s8s32x32x16x155s12x")
_CHECKSUM: Final = slice(148, 156)
_POSIX: Final = b"ustar\x0000"
_MAGICS: Final = (_POSIX, b"ustar  \0", bytes(8))
_KINDS: Final = {
    b"0": "file",
    b"\0": "file",
    b"7": "file",
    b"1": "hard link",
    b"2": "link",
    b"3": "character device",
    b"4": "block device",
    b"5": "folder",
    b"6": "pipe",
}
_PAX, _PAX_FOR_ALL = b"x", b"g"
_GNU_LONG: Final = {b"L": "path", b"K": "linkpath"}
#: The most bytes of an extended header.
_MAX_EXTENDED: Final = 1 << 20
_READ: Final = frozenset({"path", "linkpath", "size"})
_XATTRS: Final = ("SCHILY.xattr.", "LIBARCHIVE.xattr.")
_UTF8: Final = b"ISO-IR 10646 2000 UTF-8"
#: The first byte of GNU's binary numbers, if they are not negative.
_BINARY: Final = 0x80
_MOST_DIGITS: Final = 18
_CHUNK: Final = 1 << 20


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One name of an archive.

    Attributes:
        name: As it is written there, but for a slash at its end.
        kind: ``file``, ``folder``, ``link``, ``hard link``, ``pipe``, ``character device``, ``block device``.
        target: Of a link or a hard link, as it is written there.
        mode: Permissions, with setuid, setgid and sticky.
        start: Where its content begins.
        size: Bytes of its content; only a file has any.
        attributes: Names of its extended attributes.
    """

    name: str
    kind: str
    target: str
    mode: int
    start: int
    size: int
    attributes: tuple[str, ...]


def entries(stream: BinaryIO, size: int) -> Iterator[Entry]:
    """List the entries of an archive of ``size`` bytes. Between two of them the stream may be read elsewhere.

    Raises:
        BuildError: ``layer-malformed``: names the byte.
    """
    position = 0
    extended: dict[str, str] = {}
    while position < size:
        block = _take(stream, position, BLOCK, size)
        if not any(block):
            _check_end(stream, position, size)
            break
        kind, length = _checked(block, position)
        start = position + BLOCK
        if kind in _KINDS:
            entry = _entry(block, extended, position)
            if start + entry.size > size:
                raise _wrong(position, expected=f"{entry.size} bytes of content", actual=f"{size - start}")
            yield entry
            extended, length = {}, entry.size
        else:
            content = _take(stream, start, min(length, _MAX_EXTENDED + 1), size)
            more = _extension(kind, content, position)
            if more.keys() & extended.keys():
                raise _wrong(position, expected="each thing said once", actual="an extended header again")
            extended |= more
        position = start + length + len(padding(length))
    if extended or position > size:
        raise _wrong(size, expected="an entry, or zeros after one", actual="the end")


def _take(stream: BinaryIO, position: int, length: int, size: int) -> bytes:
    if position + length <= size:
        stream.seek(position)
        data = stream.read(length)
        if len(data) == length:
            return data
    raise _wrong(position, expected=f"{length} bytes", actual=f"{size - position}")


def _check_end(stream: BinaryIO, position: int, size: int) -> None:
    while position < size:
        data = _take(stream, position, min(_CHUNK, size - position), size)
        if any(data):
            raise _wrong(position, expected="zeros after the end", actual="something else")
        position += len(data)


def _checked(block: bytes, position: int) -> tuple[bytes, int]:
    """Return an entry's type and the size that its header states."""
    _, _, size, checksum, kind, _, magic, _ = _HEADER.unpack(block)
    found = sum(block) - sum(block[_CHECKSUM]) + _CHECKSUM.stop * 0x20 - _CHECKSUM.start * 0x20
    if _number(checksum, position) != found:
        raise _wrong(position, expected=f"a header with the checksum {found:o}", actual=ascii(checksum))
    if magic not in _MAGICS:
        raise _wrong(position, expected="ustar", actual=ascii(magic))
    return kind, _number(size, position)


def _entry(block: bytes, extended: Mapping[str, str], position: int) -> Entry:
    name, mode, size, _, kind, target, magic, prefix = _HEADER.unpack(block)
    path = _text(name, position)
    if magic == _POSIX and prefix[0]:
        path = f"{_text(prefix, position)}/{path}"
    path = extended.get("path", path)
    sort = _KINDS[kind]
    length = _decimal(extended["size"], position) if "size" in extended else _number(size, position)
    if length and sort != "file":
        raise _wrong(position, expected=f"a {sort} without content", actual=f"{length} bytes")
    if sort == "file" and path.endswith("/"):
        raise _wrong(position, expected="a file's name", actual=path)
    return Entry(
        name=path.removesuffix("/"),
        kind=sort,
        target=extended.get("linkpath", _text(target, position)) if "link" in sort else "",
        mode=_number(mode, position) & 0o7777,
        start=position + BLOCK,
        size=length,
        attributes=tuple(sorted(name.split(".xattr.")[1] for name in extended if name.startswith(_XATTRS))),
    )


def _extension(kind: bytes, content: bytes, position: int) -> dict[str, str]:
    """Return what an extended header says of the next entry."""
    if len(content) > _MAX_EXTENDED:
        raise _wrong(position, expected="an extended header of at most 1 MiB", actual="more")
    if kind in _GNU_LONG:
        return {_GNU_LONG[kind]: _text(content, position)}
    if kind not in {_PAX, _PAX_FOR_ALL}:
        raise _wrong(position, expected="a type that means the same to all readers", actual=ascii(kind))
    said = _records(content, position)
    if any(name.startswith("GNU.sparse.") for name in said):
        raise _wrong(position, expected="a file with all its bytes", actual="a sparse file")
    if said.get("hdrcharset", _UTF8) != _UTF8:
        raise _wrong(position, expected="UTF-8", actual=ascii(said["hdrcharset"]))
    found = {name: _text(value, position) for name, value in said.items() if name in _READ}
    if kind == _PAX_FOR_ALL:
        if found:
            raise _wrong(position, expected="names that are each entry's own", actual=min(found))
        return {}
    return found | {name: "" for name in said if name.startswith(_XATTRS)}


def _records(content: bytes, position: int) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    at = 0
    while at < len(content):
        digits, _, _ = content[at : at + 8].partition(b" ")
        length = _decimal(_text(digits, position), position)
        record = content[at : at + length]
        name, equals, value = record[len(digits) + 1 : -1].partition(b"=")
        keyword = _text(name, position)
        if not equals or record[-1:] != b"\n" or len(record) != length or keyword in found:
            raise _wrong(position, expected="records of pax", actual=ascii(content[at : at + 16]))
        found[keyword] = value
        at += len(record)
    return found


def _number(field: bytes, position: int) -> int:
    """Read octal digits, or GNU's binary numbers for what has too many of them."""
    if field[0] & _BINARY:
        if field[0] != _BINARY:
            raise _wrong(position, expected="a number that is not negative", actual=ascii(field))
        return int.from_bytes(field[1:], "big")
    digits = field.rstrip(b" \0").lstrip(b" ")
    if digits.strip(b"01234567"):
        raise _wrong(position, expected="an octal number", actual=ascii(field))
    return int(digits or b"0", 8)


def _decimal(text: str, position: int) -> int:
    if not (text.isascii() and text.isdecimal()) or len(text) > _MOST_DIGITS:
        raise _wrong(position, expected="a number", actual=text[:32])
    return int(text)


def _text(field: bytes, position: int) -> str:
    text, _, rest = field.partition(b"\0")
    try:
        if any(rest):
            raise _wrong(position, expected="text with zeros after it", actual=ascii(field[:32]))
        return text.decode()
    except UnicodeDecodeError:
        raise _wrong(position, expected="UTF-8", actual=ascii(text[:32])) from None


def _wrong(offset: int, *, expected: str, actual: str) -> BuildError:
    return BuildError("layer-malformed", offset=offset, expected=expected, actual=actual)
