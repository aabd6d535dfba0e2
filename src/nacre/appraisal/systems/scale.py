# SPDX-License-Identifier: Apache-2.0
"""Parity's SCALE encoding, as much of it as evidence is written in.

Source: Parity Technologies, "SCALE codec".
"""

from nacre.errors import MalformedEvidence
from nacre.trust.reader import Reader

__all__ = ["Scale"]

_SHORT, _MIDDLE, _LARGE, _HUGE = range(4)
_MOST = 1 << 30  # larger ones have another form, and nothing here is that large


class Scale(Reader):
    """Reads SCALE from front to back; integers of fixed size are little-endian."""

    __slots__ = ("what",)

    def __init__(self, data: bytes, what: str) -> None:
        """Read ``data``, which errors call ``what``."""
        super().__init__(data, what)
        self.what = what

    def compact(self) -> int:
        """Read a compact integer below 2^30, in the smallest of its forms.

        Raises:
            MalformedEvidence: ``too-large``, ``scale-not-minimal`` or ``truncated``.
        """
        first = self.take(1)[0]
        mode, low = first & 3, first >> 2
        if mode == _SHORT:
            return low
        if mode == _HUGE:
            raise MalformedEvidence("too-large", what=self.what, expected=_MOST - 1, actual=_MOST)
        size = 1 if mode == _MIDDLE else 3
        value = low | int.from_bytes(self.take(size), "little") << 6
        if value < 1 << (6 if size == 1 else 14):
            raise MalformedEvidence("scale-not-minimal", what=self.what, actual=value, offset=self.offset)
        return value

    def string(self) -> bytes:
        """Read bytes with their length before them."""
        return self.take(self.compact())

    def text(self) -> str:
        """Read text with its length before it.

        Raises:
            MalformedEvidence: ``text-invalid``: it is not UTF-8.
        """
        try:
            return self.string().decode()
        except UnicodeDecodeError:
            raise MalformedEvidence("text-invalid", what=self.what, offset=self.offset) from None

    def flag(self) -> bool:
        """Read a boolean, or whether an optional value follows.

        Raises:
            MalformedEvidence: ``scale-flag``.
        """
        value = self.take(1)[0]
        if value > 1:
            raise MalformedEvidence("scale-flag", what=self.what, actual=value, offset=self.offset)
        return bool(value)
