# SPDX-License-Identifier: Apache-2.0
"""The memo of what signatures already proved.

A memo holds parsed objects whose signatures were verified, keyed by a digest of everything that the
proof depended on: anchor, keys, messages and signatures. Only successes are kept. A hit says that the
signatures hold, nothing else: whoever recalls a value checks time and revocation again.
"""

from typing import Protocol

__all__ = ["Memo", "Recall"]

_DEFAULT_ENTRIES = 2048


class Recall(Protocol):
    """Where verified values are remembered; a Memo is one."""

    def get(self, key: bytes) -> object | None:
        """Return the value remembered for ``key``, or None."""

    def put(self, key: bytes, value: object) -> None:
        """Remember a verified value."""


class Memo:
    """A bounded memo in two generations.

    Entries are added to the young generation. When that is full it becomes the old one and what was old
    is forgotten; an old entry that is used becomes young again. So at most ``entries`` values are held,
    a hit costs one or two dictionary look-ups, and threads may share a memo without a lock: each single
    step is atomic and a lost update costs one signature, never a wrong answer.
    """

    __slots__ = ("_half", "_old", "_young")

    def __init__(self, entries: int = _DEFAULT_ENTRIES) -> None:
        """Hold at most ``entries`` values (at least 2)."""
        self._half = max(entries // 2, 1)
        self._young: dict[bytes, object] = {}
        self._old: dict[bytes, object] = {}

    def __len__(self) -> int:
        return len(self._young) + len(self._old)

    def get(self, key: bytes) -> object | None:
        """Return the value remembered for ``key``, or None."""
        value = self._young.get(key)
        if value is None:
            value = self._old.get(key)
            if value is not None:
                self.put(key, value)
        return value

    def put(self, key: bytes, value: object) -> None:
        """Remember a verified value."""
        young = self._young
        if len(young) >= self._half:
            self._old = young
            self._young = young = {}
        young[key] = value
