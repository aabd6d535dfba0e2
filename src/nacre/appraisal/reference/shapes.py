# SPDX-License-Identifier: Apache-2.0
"""The form of CBOR documents, written down as CDDL writes it, and the check that a document has it.

A shape is a function that accepts a decoded item or raises. Shapes of arrays and maps are made of those of
their items, so that a file of declarations reads like the specification it was made from.

Source: RFC 8610 (CDDL), as far as CoRIM uses it.
"""

from collections.abc import Callable, Mapping
from typing import NoReturn

from nacre.errors import MalformedEvidence
from nacre.trust.cbor import Tag

__all__ = [
    "Shape",
    "anything",
    "boolean",
    "check",
    "data",
    "either",
    "fields",
    "integer",
    "many",
    "one_of",
    "row",
    "tagged",
    "text",
    "wrong",
]

Shape = Callable[[object], None]

_SHOWN = 48
_BITS = 64


class _Mismatch(Exception):
    """An item has another form; the path grows while it is passed outwards."""

    def __init__(self, expected: str, actual: object) -> None:
        super().__init__(expected)
        self.path: list[str] = []
        self.expected = expected
        self.actual = _shown(actual)


def check(shape: Shape, value: object, *, what: str) -> None:
    """Insist that an item has a shape.

    Raises:
        MalformedEvidence: ``cbor-shape``, with the place inside the document.
    """
    try:
        shape(value)
    except _Mismatch as mismatch:
        place = ".".join(reversed(mismatch.path)) or "the whole"
        raise MalformedEvidence(
            "cbor-shape", what=what, at=place, expected=mismatch.expected, actual=mismatch.actual
        ) from None


def wrong(expected: str, actual: object) -> NoReturn:
    """Refuse an item from a shape of one's own."""
    raise _Mismatch(expected, actual)


def anything(value: object) -> None:
    """Accept what CBOR can say; for what others define."""
    del value


def text(value: object) -> None:
    """Accept text."""
    if type(value) is not str:
        raise _Mismatch("text", value)


def boolean(value: object) -> None:
    """Accept true and false."""
    if type(value) is not bool:
        raise _Mismatch("true or false", value)


def integer(least: int = 0, most: int = (1 << _BITS) - 1) -> Shape:
    """Accept integers in a range, unsigned ones if nothing is said."""
    expected = "an unsigned integer" if (least, most) == (0, (1 << _BITS) - 1) else f"{least} to {most}"

    def shape(value: object) -> None:
        # bool is an int in Python, not in CBOR.
        if type(value) is not int or not least <= value <= most:
            raise _Mismatch(expected, value)

    return shape


def data(*sizes: int) -> Shape:
    """Accept byte strings, of these sizes if any are named."""
    expected = f"{' or '.join(map(str, sizes))} bytes" if sizes else "bytes"

    def shape(value: object) -> None:
        if type(value) is not bytes or (sizes and len(value) not in sizes):
            raise _Mismatch(expected, value)

    return shape


def one_of(*values: object) -> Shape:
    """Accept exactly these values."""

    def shape(value: object) -> None:
        # True == 1 in Python.
        if not any(type(value) is type(known) and value == known for known in values):
            raise _Mismatch(" or ".join(map(repr, values)), value)

    return shape


def either(**shapes: Shape) -> Shape:
    """Accept what one of the shapes accepts; their names are what the error calls them."""
    expected = " or ".join(name.replace("_", " ") for name in shapes)

    def shape(value: object) -> None:
        for candidate in shapes.values():
            try:
                candidate(value)
            except _Mismatch as mismatch:
                if mismatch.path:  # the right kind, wrong inside: this says more than the alternatives
                    raise
            else:
                return
        raise _Mismatch(expected, value)

    return shape


def tagged(known: Mapping[int, Shape], *, others: bool = False) -> Shape:
    """Accept tagged items.

    Args:
        known: Tag number to the shape of what it stands before.
        others: Accept tags of others too (a type choice that profiles extend).
    """
    expected = "tag " + " or ".join(map(str, known)) if known else "a tag"

    def shape(value: object) -> None:
        if type(value) is not Tag or not (others or value.number in known):
            raise _Mismatch(expected, value)
        _inside(known.get(value.number, anything), value.value, f"{value.number}()")

    return shape


def many(item: Shape, *, least: int = 1, most: int = 1 << 16) -> Shape:
    """Accept arrays of items of one shape."""
    expected = f"an array of {least} to {most}" if most < 1 << 16 else f"an array of at least {least}"

    def shape(value: object) -> None:
        if type(value) is not list or not least <= len(value) <= most:
            raise _Mismatch(expected, value)
        for position, entry in enumerate(value):
            _inside(item, entry, str(position))

    return shape


def row(*items: Shape, optional: int = 0) -> Shape:
    """Accept arrays of fixed positions, of which the last ``optional`` ones may be missing."""
    least = len(items) - optional
    expected = f"an array of {least}" + (f" to {len(items)}" if optional else "")

    def shape(value: object) -> None:
        if type(value) is not list or not least <= len(value) <= len(items):
            raise _Mismatch(expected, value)
        for position, (item, entry) in enumerate(zip(items, value, strict=False)):
            _inside(item, entry, str(position))

    return shape


def fields(
    known: Mapping[object, tuple[str, Shape]],
    *,
    required: frozenset[object] | set[object] = frozenset(),
    others: bool = False,
    other: Shape = anything,
) -> Shape:
    """Accept maps that are not empty.

    Args:
        known: Key to the name of the field and the shape of its value.
        required: Keys that have to be there.
        others: Whether the specification leaves room for keys of others.
        other: The shape of their values.
    """

    def shape(value: object) -> None:
        if type(value) is not dict or not value:
            raise _Mismatch("a map that is not empty", value)
        for key in required:
            if key not in value:
                wrong(f"{known[key][0]} ({key!r})", value)
        for key, entry in value.items():
            name, inner = known.get(key, (repr(key), other))
            if not others and key not in known:
                wrong(f"no key but {', '.join(map(repr, known))}", key)
            _inside(inner, entry, name)

    return shape


def _inside(shape: Shape, value: object, place: str) -> None:
    try:
        shape(value)
    except _Mismatch as mismatch:
        mismatch.path.append(place)
        raise


def _shown(value: object) -> str:
    if isinstance(value, Tag):
        return f"tag {value.number}"
    if isinstance(value, bytes):
        return f"{len(value)} bytes"
    if isinstance(value, list | dict):
        return f"{'an array' if isinstance(value, list) else 'a map'} of {len(value)}"
    # Integers of CBOR have 64 bits, so this is short but for text.
    return repr(value)[:_SHOWN]
