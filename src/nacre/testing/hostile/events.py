# SPDX-License-Identifier: Apache-2.0
"""What a hostile host did, as it did it."""

import msgspec

from nacre.testing.hostile.faults import Kind

__all__ = ["Event", "Log"]


class Event(msgspec.Struct, frozen=True):
    """One thing that the host did.

    Attributes:
        round: In which round.
        kind: Which fault it was.
        words: What it came to.
    """

    round: int
    kind: Kind
    words: str


class Log:
    """Keeps events.

    Attributes:
        round: The number of the round that goes on.
        events: In order.
    """

    def __init__(self) -> None:
        """Begin empty."""
        self.round = 0
        self.events: list[Event] = []

    def say(self, kind: Kind, words: str) -> None:
        """Note that a fault was applied."""
        self.events.append(Event(self.round, kind, words))
