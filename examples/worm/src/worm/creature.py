# SPDX-License-Identifier: Apache-2.0
"""The worm itself: whole numbers in, whole numbers out, no clock, no chance, no network."""

import hashlib
import struct
from collections.abc import Mapping

from worm.connectome import CELLS, DIGEST, MUSCLES, NEURONS, SENSES, SYNAPSES

__all__ = ["LIMIT", "STRONGEST", "Worm", "origin"]

_THRESHOLD = 100  # at which a neuron fires
LIMIT = 32767  # of a potential, on both sides of zero
STRONGEST = 255  # stimulus; one byte of the trace
_FRAME = struct.Struct(f">Q{len(SENSES)}B{len(CELLS)}h")


def origin(seed: bytes) -> bytes:
    """Return the trace of a worm that has not lived yet.

    Args:
        seed: 32 bytes that decide which neurons fire by themselves.
    """
    return hashlib.sha256(b"nacre-worm/v1\x00" + seed + DIGEST).digest()


class Worm:
    """One worm.

    Attributes:
        seed: 32 bytes that decide which neurons fire by themselves.
        tick: How many ticks it has lived.
        potentials: Of each cell, in the order of ``CELLS``.
        trace: SHA-256 over all that it felt and was so far; README.md defines it.
    """

    def __init__(self, seed: bytes = bytes(32)) -> None:
        self.seed = seed
        self.tick = 0
        self.potentials = [0] * len(CELLS)
        self.trace = origin(seed)

    def copy(self) -> "Worm":
        """Return its twin, which lives on by itself."""
        twin = Worm(self.seed)
        twin.tick, twin.potentials, twin.trace = self.tick, list(self.potentials), self.trace
        return twin

    def step(self, stimuli: Mapping[str, int]) -> None:
        """Live for one tick.

        Args:
            stimuli: How strongly each sense is stimulated, 1 to 255; senses left out feel nothing.
        """
        fired = [neuron for neuron in NEURONS if self.potentials[neuron] >= _THRESHOLD]
        after = [potential * 7 // 8 for potential in self.potentials]  # rounds down, below zero too
        for neuron in fired:
            after[neuron] = 0
        for neuron in fired:
            for target, weight in SYNAPSES[neuron]:
                after[target] += weight
        for sense, strength in stimuli.items():
            for neuron in SENSES[sense]:
                after[neuron] += strength
        restless = hashlib.sha256(self.seed + self.tick.to_bytes(8, "big")).digest()
        after[NEURONS[int.from_bytes(restless[:8], "big") % len(NEURONS)]] += _THRESHOLD

        self.potentials = [max(-LIMIT, min(LIMIT, potential)) for potential in after]
        self.tick += 1
        felt = [stimuli.get(sense, 0) for sense in SENSES]
        self.trace = hashlib.sha256(self.trace + _FRAME.pack(self.tick, *felt, *self.potentials)).digest()

    def muscles(self) -> dict[str, int]:
        """Return how far each muscle of the body wall is contracted, from 0."""
        return {CELLS[muscle]: max(0, self.potentials[muscle]) for muscle in MUSCLES}
