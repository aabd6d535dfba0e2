# SPDX-License-Identifier: Apache-2.0
"""The one place that slices untrusted bytes."""

from struct import Struct
from typing import Any

from nacre.errors import MalformedEvidence

__all__ = ["Reader"]


class Reader:
    """Reads a byte string from front to back and never past its end.

    Integers are little-endian unless the method says otherwise. Every short read raises; nothing is
    allocated for a length that the input does not have.
    """

    __slots__ = ("_data", "_end", "_name", "offset")

    def __init__(self, data: bytes, name: str, *, start: int = 0, end: int | None = None) -> None:
        """Read ``data`` from ``start`` to ``end``; ``name`` is what errors call it.

        Raises:
            MalformedEvidence: ``truncated``, if ``data`` has no such range.
        """
        self._data = data
        self._end = len(data)
        self._name = name
        self.offset = start
        if end is not None:
            if not start <= end <= self._end:
                self._short(end - start, "")
            self._end = end

    @property
    def remaining(self) -> int:
        """Bytes not read yet."""
        return self._end - self.offset

    def take(self, size: int, field: str = "") -> bytes:
        """Read ``size`` bytes.

        Raises:
            MalformedEvidence: ``truncated``, if there are fewer.
        """
        start = self.offset
        stop = start + size
        if size < 0 or stop > self._end:
            self._short(size, field)
        self.offset = stop
        return self._data[start:stop]

    def skip(self, size: int, field: str = "") -> None:
        """Pass over ``size`` bytes.

        Raises:
            MalformedEvidence: ``truncated``, if there are fewer.
        """
        stop = self.offset + size
        if size < 0 or stop > self._end:
            self._short(size, field)
        self.offset = stop

    def unpack(self, layout: Struct, field: str = "") -> tuple[Any, ...]:
        """Read one fixed-size structure.

        Raises:
            MalformedEvidence: ``truncated``, if there are fewer bytes than the structure has.
        """
        start = self.offset
        stop = start + layout.size
        if stop > self._end:
            self._short(layout.size, field)
        self.offset = stop
        return layout.unpack_from(self._data, start)

    def u16(self, field: str = "") -> int:
        """Read an unsigned 16-bit little-endian integer."""
        return int.from_bytes(self.take(2, field), "little")

    def u32(self, field: str = "") -> int:
        """Read an unsigned 32-bit little-endian integer."""
        return int.from_bytes(self.take(4, field), "little")

    def rest(self) -> bytes:
        """Read everything that is left."""
        return self.take(self._end - self.offset)

    def finish(self) -> None:
        """Insist that everything was read.

        Raises:
            MalformedEvidence: ``trailing-bytes``, if not.
        """
        if self.offset != self._end:
            raise MalformedEvidence(
                "trailing-bytes", what=self._name, actual=self._end - self.offset, offset=self.offset
            )

    def _short(self, size: int, field: str) -> None:
        raise MalformedEvidence(
            "truncated",
            what=f"{self._name}: {field}" if field else self._name,
            expected=size,
            actual=self._end - self.offset,
            offset=self.offset,
        )
