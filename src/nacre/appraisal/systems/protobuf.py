# SPDX-License-Identifier: Apache-2.0
"""The wire format of protocol buffers, as much of it as evidence is written in.

Source: Protocol Buffers, "Encoding".
"""

from collections.abc import Collection
from typing import Final

from nacre.errors import MalformedEvidence
from nacre.trust.reader import Reader

__all__ = ["Message", "read"]

_MAX_VARINT: Final = 10
_VARINT, _LENGTH = 0, 2
_CONTINUES: Final = 0x80
_U64: Final = 1 << 64


class Message:
    """The fields of one message. What proto3 leaves out is zero or empty."""

    __slots__ = ("_bytes", "_numbers", "_what")

    def __init__(self, numbers: dict[int, int], strings: dict[int, list[bytes]], what: str) -> None:
        """Keep what :func:`read` read."""
        self._numbers = numbers
        self._bytes = strings
        self._what = what

    def number(self, field: int, size: int) -> bytes:
        """Return an integer as ``size`` bytes, little-endian.

        Raises:
            MalformedEvidence: ``protobuf-field``: it is larger, or no integer.
        """
        value = self._numbers.get(field, 0)
        if value >> 8 * size or field in self._bytes:
            raise self._wrong(field, f"an integer of {size} bytes", f"{value}")
        return value.to_bytes(size, "little")

    def several(self, field: int, size: int, count: int) -> bytes:
        """Return ``count`` byte strings of ``size`` bytes, one after the other.

        Raises:
            MalformedEvidence: ``protobuf-field``: there are others.
        """
        values = self._bytes.get(field, [])
        if len(values) != count or any(len(value) != size for value in values):
            sizes = " and ".join(f"{len(value)}" for value in values[:8]) or "0"
            raise self._wrong(field, f"{count} of {size} bytes", f"{len(values)} of {sizes} bytes")
        return b"".join(values)

    def exactly(self, field: int, size: int) -> bytes:
        """Return a byte string of ``size`` bytes.

        Raises:
            MalformedEvidence: ``protobuf-field``.
        """
        return self.several(field, size, 1)

    def any(self, field: int) -> bytes:
        """Return a byte string of any size, empty if it is not there.

        Raises:
            MalformedEvidence: ``protobuf-field``: it is there twice, or an integer.
        """
        values = self._bytes.get(field, [])
        if len(values) > 1 or field in self._numbers:
            raise self._wrong(field, "one byte string", f"{len(values)}")
        return values[0] if values else b""

    def below(self, field: int, known: Collection[int]) -> "Message":
        """Read the message inside a field.

        Raises:
            MalformedEvidence: As :func:`read`.
        """
        return read(self.any(field), known, what=self._what)

    def _wrong(self, field: int, expected: str, actual: str) -> MalformedEvidence:
        return MalformedEvidence(
            "protobuf-field", what=self._what, name=str(field), expected=expected, actual=actual
        )


def read(data: bytes, known: Collection[int], *, what: str) -> Message:
    """Read a message that has no fields but the known ones.

    Raises:
        MalformedEvidence: ``protobuf-field``, ``protobuf-number`` or ``truncated``.
    """
    reader = Reader(data, what)
    numbers: dict[int, int] = {}
    strings: dict[int, list[bytes]] = {}
    while reader.remaining:
        key = _varint(reader, what)
        field, kind = key >> 3, key & 7
        if field not in known or field in numbers or kind not in (_VARINT, _LENGTH):
            raise MalformedEvidence(
                "protobuf-field",
                what=what,
                name=str(field),
                expected="each known field once",
                actual=f"kind {kind}",
            )
        if kind == _VARINT:
            numbers[field] = _varint(reader, what)
        else:
            strings.setdefault(field, []).append(reader.take(_varint(reader, what)))
    return Message(numbers, strings, what)


def _varint(reader: Reader, what: str) -> int:
    value = 0
    for place in range(_MAX_VARINT):
        byte = reader.take(1)[0]
        value |= (byte & ~_CONTINUES) << 7 * place
        if byte < _CONTINUES:
            # The last byte of a smallest form is not zero, unless it is the only one.
            if value < _U64 and (byte or not place):
                return value
            break
    raise MalformedEvidence("protobuf-number", what=what, offset=reader.offset)
