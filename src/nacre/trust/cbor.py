# SPDX-License-Identifier: Apache-2.0
"""Strict CBOR: a decoder that refuses what evidence must not contain, and a deterministic encoder.

The decoder takes integers, byte strings, text, arrays, maps, booleans and null. Integers and lengths are
of minimal size, keys of a map differ, text is UTF-8, nothing follows the item. Indefinite lengths (of
arrays and maps) and tags are refused unless the caller asks for them; floating-point numbers, undefined
and chunked strings always are.

Arrays become lists. Maps become dictionaries, or ``Pairs`` for callers that have to see what the
document really says, duplicates included.

Source: RFC 8949, sections 3 and 4.2.1 (deterministic encoding).
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple, NoReturn

from nacre.errors import MalformedEvidence

__all__ = ["MAX_CONTAINERS", "MAX_DEPTH", "MAX_ITEMS", "Entry", "Pairs", "Tag", "dumps", "entries", "loads"]

#: Arrays, maps and tags inside each other.
MAX_DEPTH = 16
#: Arrays, maps and tags of one document.
MAX_CONTAINERS = 1 << 14
#: Items of one array, pairs of one map.
MAX_ITEMS = 1 << 16

_UNSIGNED, _NEGATIVE, _BYTES, _TEXT, _ARRAY, _MAP, _TAG, _OTHER = range(8)
_SIMPLE = {0xF4: False, 0xF5: True, 0xF6: None}
_INDEFINITE = 31
_BREAK = 0xFF
_KEY_TYPES = frozenset({int, str, bytes})


class Tag(NamedTuple):
    """A tagged item."""

    number: int
    value: object


class Pairs(NamedTuple):
    """A map as it stands in the document.

    Attributes:
        items: Keys (integers, text or bytes) and values, in order, duplicates included.
        definite: Whether the map states its length.
    """

    items: list[tuple[int | str | bytes, object]]
    definite: bool


class Entry(NamedTuple):
    """One item of an array or one value of a map, with its place.

    Attributes:
        key: The key in a map, the index in an array.
        value: The decoded value, maps as ``Pairs``.
        start: Offset of the value's first byte, its head.
        stop: Offset after its last byte.
    """

    key: object
    value: object
    start: int
    stop: int


class _Rules(NamedTuple):
    what: str
    indefinite: bool
    tags: bool
    pairs: bool


def loads(
    data: bytes, *, what: str, limit: int, indefinite: bool = False, tags: bool = False, pairs: bool = False
) -> object:
    """Decode one CBOR item that fills ``data``.

    Args:
        data: The item.
        what: What errors call it.
        limit: The most bytes it may have.
        indefinite: Allow arrays and maps of indefinite length.
        tags: Allow tags; they become ``Tag``.
        pairs: Keep maps as ``Pairs`` and leave duplicates to the caller.

    Raises:
        MalformedEvidence: ``too-large``, ``truncated``, ``trailing-bytes``, ``cbor-not-minimal``,
            ``cbor-duplicate-key``, ``cbor-depth``, ``cbor-count``, ``cbor-text`` or ``cbor-item``.
    """
    if len(data) > limit:
        raise MalformedEvidence("too-large", what=what, expected=limit, actual=len(data))
    rules = _Rules(what, indefinite, tags, pairs)
    try:
        value, stop = _item(data, 0, rules)
    except IndexError:
        _short(data, len(data), 1, rules)
    if stop != len(data):
        raise MalformedEvidence("trailing-bytes", what=what, actual=len(data) - stop, offset=stop)
    return value


def entries(data: bytes, offset: int, *, what: str) -> Iterator[Entry]:
    """Walk over the array or map at ``offset``, telling where each item lies; for inspection.

    Raises:
        MalformedEvidence: As ``loads``; ``cbor-item`` if there is neither an array nor a map.
    """
    rules = _Rules(what, indefinite=True, tags=True, pairs=True)
    try:
        first = data[offset]
        count, offset = first & 31, offset + 1
        if first >> 5 not in (_ARRAY, _MAP):
            _refuse(first, offset, rules)
        if count > 23:  # noqa: PLR2004 (RFC 8949, section 3)
            count, offset = _argument(data, first, offset, rules)
        index = 0
        while index != count and (count >= 0 or data[offset] != _BREAK):
            key: object = index
            if first >> 5 == _MAP:
                key, offset = _item(data, offset, rules)
            value, stop = _item(data, offset, rules)
            yield Entry(key, value, offset, stop)
            offset = stop
            index += 1
    except IndexError:
        _short(data, len(data), 1, rules)


def _item(data: bytes, offset: int, rules: _Rules) -> tuple[object, int]:  # noqa: C901, PLR0912
    """Decode one item: value and offset after it.

    One loop over a stack of open containers rather than a function for each item: this is the whole cost
    of reading evidence. An IndexError means that the head at the end of ``data`` is missing.
    """
    size = len(data)
    stack: list[tuple[int, list[object], int]] = []
    items: list[object] = []
    kind, missing, opened = -1, 1, 0
    while True:
        first = data[offset]
        offset += 1
        major = first >> 5
        argument = first & 31
        if argument > 23:  # noqa: PLR2004 (RFC 8949, section 3: from 24 on the argument follows)
            argument, offset = _argument(data, first, offset, rules)
        if major == _BYTES:
            stop = offset + argument
            if stop > size:
                _short(data, offset, argument, rules)
            value: object = data[offset:stop]
            offset = stop
        elif major == _UNSIGNED:
            value = argument
        elif major == _TEXT:
            value, offset = _text(data, offset, argument, rules)
        elif major == _NEGATIVE:
            value = ~argument
        elif major == _OTHER:
            if first != _BREAK:
                value = _simple(first, offset, rules)
            else:
                value = _closed(kind, items, missing, offset, rules)
                kind, items, missing = stack.pop()
        else:
            opened += 1
            if opened > MAX_CONTAINERS or len(stack) == MAX_DEPTH:
                _intricate(opened, offset, rules)
            stack.append((kind, items, missing))
            kind, items, missing = _opened(data, first, argument, offset, rules)
            if missing:
                continue
            value = _closed(kind, items, missing, offset, rules)
            kind, items, missing = stack.pop()
        items.append(value)
        missing -= 1
        while not missing:
            if not stack:
                return value, offset
            value = _closed(kind, items, missing, offset, rules)
            kind, items, missing = stack.pop()
            items.append(value)
            missing -= 1


def _text(data: bytes, offset: int, size: int, rules: _Rules) -> tuple[str, int]:
    stop = offset + size
    if stop > len(data):
        _short(data, offset, size, rules)
    try:
        return data[offset:stop].decode(), stop
    except UnicodeDecodeError:
        raise MalformedEvidence("cbor-text", what=rules.what, offset=offset) from None


def _argument(data: bytes, first: int, offset: int, rules: _Rules) -> tuple[int, int]:
    """Read the argument that follows a head, of minimal size; -1 stands for an indefinite length."""
    info = first & 31
    major = first >> 5
    if info == _INDEFINITE and (first == _BREAK or (rules.indefinite and major in (_ARRAY, _MAP))):
        return -1, offset
    if info > 27 or major == _OTHER:  # noqa: PLR2004 (28 to 30 are reserved)
        _refuse(first, offset, rules)
    if info == 24:  # noqa: PLR2004 (one byte follows)
        value = data[offset]
        if value > 23:  # noqa: PLR2004 (else it fits the head itself)
            return value, offset + 1
        raise MalformedEvidence("cbor-not-minimal", what=rules.what, actual=value, offset=offset - 1)
    size = 1 << (info - 24)
    stop = offset + size
    if stop > len(data):
        _short(data, offset, size, rules)
    value = int.from_bytes(data[offset:stop], "big")
    if not value >> (size << 2):
        raise MalformedEvidence("cbor-not-minimal", what=rules.what, actual=value, offset=offset - 1)
    return value, stop


def _simple(first: int, offset: int, rules: _Rules) -> bool | None:
    if first not in _SIMPLE:
        _refuse(first, offset, rules)
    return _SIMPLE[first]


def _opened(data: bytes, first: int, count: int, offset: int, rules: _Rules) -> tuple[int, list[object], int]:
    """Open a container: its kind, its items, how many are missing (negative if it does not say)."""
    kind = first >> 5
    if kind == _TAG:
        if not rules.tags:
            _refuse(first, offset, rules)
        return kind, [count], 1
    if count > MAX_ITEMS:
        _crowded(count, MAX_ITEMS, offset, rules)
    least = 2 * count if kind == _MAP and count > 0 else count
    if least > len(data) - offset:  # before anything is made of it
        _short(data, offset, least, rules)
    return kind, [], least


def _closed(kind: int, items: list[object], missing: int, offset: int, rules: _Rules) -> object:
    """Make the value of a container; ``missing`` is 0 unless a break ends it."""
    if missing > 0:
        _refuse(_BREAK, offset, rules)
    if len(items) > 2 * MAX_ITEMS:
        _crowded(len(items), 2 * MAX_ITEMS, offset, rules)
    if kind == _ARRAY:
        return items
    if kind == _TAG:
        return Tag(*items)  # type: ignore[arg-type]
    keys = items[::2]
    if len(items) & 1 or not _KEY_TYPES.issuperset(map(type, keys)):
        raise MalformedEvidence("cbor-key", what=rules.what, offset=offset)
    if rules.pairs:
        return Pairs(list(zip(keys, items[1::2], strict=True)), missing == 0)  # type: ignore[arg-type]
    unique = dict(zip(keys, items[1::2], strict=True))
    if len(unique) != len(keys):
        _duplicate(keys, rules)
    return unique


def _short(data: bytes, offset: int, size: int, rules: _Rules) -> NoReturn:
    raise MalformedEvidence(
        "truncated", what=rules.what, expected=size, actual=len(data) - offset, offset=offset
    )


def _refuse(first: int, offset: int, rules: _Rules) -> NoReturn:
    raise MalformedEvidence("cbor-item", what=rules.what, actual=f"{first:#04x}", offset=offset - 1)


def _crowded(count: int, limit: int, offset: int, rules: _Rules) -> NoReturn:
    raise MalformedEvidence("cbor-count", what=rules.what, expected=limit, actual=count, offset=offset)


def _intricate(opened: int, offset: int, rules: _Rules) -> NoReturn:
    if opened > MAX_CONTAINERS:
        _crowded(opened, MAX_CONTAINERS, offset, rules)
    raise MalformedEvidence("cbor-depth", what=rules.what, expected=MAX_DEPTH, offset=offset)


def _duplicate(keys: list[object], rules: _Rules) -> NoReturn:
    last = {key: index for index, key in enumerate(keys)}
    twice = next(key for index, key in enumerate(keys) if last[key] != index)
    raise MalformedEvidence("cbor-duplicate-key", what=rules.what, actual=repr(twice))


def dumps(value: object) -> bytes:
    """Encode deterministically: minimal sizes, definite lengths, keys sorted by their encoded bytes.

    Args:
        value: Integers of at most 64 bits, bytes, text, booleans, None, and tags, sequences and mappings
            of these.

    Raises:
        TypeError: Anything else: a mistake of the caller.
        OverflowError: An integer beyond 64 bits.
    """
    write = _WRITERS.get(type(value))
    return write(value) if write else _other(value)


def _other(value: object) -> bytes:
    """Encode what is not exactly of a built-in type, but of a kind with one."""
    for kind in (bool, int, str, bytes, Tag, Mapping, Sequence):
        if isinstance(value, kind):
            return _WRITERS[kind](value)
    raise TypeError(type(value))


def _write_int(value: int) -> bytes:
    return _head(_UNSIGNED, value) if value >= 0 else _head(_NEGATIVE, ~value)


def _write_text(value: str) -> bytes:
    text = value.encode()
    return _head(_TEXT, len(text)) + text


def _write_map(value: Mapping[object, object]) -> bytes:
    pairs = sorted([(dumps(key), dumps(item)) for key, item in value.items()])
    return _head(_MAP, len(pairs)) + b"".join([key + item for key, item in pairs])


def _write_array(value: Sequence[object]) -> bytes:
    return _head(_ARRAY, len(value)) + b"".join([dumps(item) for item in value])


def _head(major: int, argument: int) -> bytes:
    if argument < 24:  # noqa: PLR2004 (RFC 8949, section 3)
        return bytes(((major << 5) + argument,))
    for info in range(4):
        size = 1 << info
        if argument >> (8 * size) == 0:
            return bytes(((major << 5) + 24 + info,)) + argument.to_bytes(size, "big")
    raise OverflowError(argument)


_WRITERS: Mapping[type, Callable[..., bytes]] = {
    bytes: lambda value: _head(_BYTES, len(value)) + value,
    int: _write_int,
    str: _write_text,
    bool: lambda value: b"\xf5" if value else b"\xf4",
    type(None): lambda _: b"\xf6",
    dict: _write_map,
    Mapping: _write_map,
    list: _write_array,
    tuple: _write_array,
    Sequence: _write_array,
    Tag: lambda tag: _head(_TAG, tag.number) + dumps(tag.value),
}
