# SPDX-License-Identifier: Apache-2.0
"""A small mutation engine: blind, but always the same and always at hand."""

import random
from collections.abc import Callable, Sequence

__all__ = ["mutations"]

_TELLING = (0x00, 0x01, 0x30, 0x7F, 0x80, 0x9F, 0xFF)
_RUNS = (2, 30, 300, 5000)
_PIECES = (1, 4, 16, 64, 400)
_ROUNDS = (1, 1, 1, 2, 3, 6)

_Step = Callable[[random.Random, bytearray, int], None]


def mutations(seeds: Sequence[bytes], words: Sequence[bytes], count: int, *, seed: int = 0) -> list[bytes]:
    """Change seeds in ``count`` ways, the same ones for the same ``seed``."""
    chance = random.Random(seed)  # noqa: S311 (a sample, always the same)

    def splice(chance: random.Random, data: bytearray, place: int) -> None:
        other = chance.choice(seeds)
        start = chance.randrange(len(other) + 1)
        data[place : place + 64] = other[start : start + 64]

    def insert_word(chance: random.Random, data: bytearray, place: int) -> None:
        data[place:place] = chance.choice(words)

    steps: list[_Step] = [_flip, _set, _cut, _insert, _copy, _repeat, splice]
    if words:
        steps.append(insert_word)
    made = []
    for _ in range(count):
        data = bytearray(chance.choice(seeds))
        for _ in range(chance.choice(_ROUNDS)):
            chance.choice(steps)(chance, data, chance.randrange(len(data) + 1))
        made.append(bytes(data))
    return made


def _flip(chance: random.Random, data: bytearray, place: int) -> None:
    if place < len(data):
        data[place] ^= 1 << chance.randrange(8)


def _set(chance: random.Random, data: bytearray, place: int) -> None:
    if place < len(data):
        data[place] = chance.choice(_TELLING)


def _cut(chance: random.Random, data: bytearray, place: int) -> None:
    del data[place : place + chance.choice(_PIECES)]


def _insert(chance: random.Random, data: bytearray, place: int) -> None:
    data[place:place] = chance.randbytes(chance.choice(_PIECES[:3]))


def _copy(chance: random.Random, data: bytearray, place: int) -> None:
    start = chance.randrange(len(data) + 1)
    data[place:place] = data[start : start + chance.choice(_PIECES)]


def _repeat(chance: random.Random, data: bytearray, place: int) -> None:
    data[place:place] = chance.randbytes(1) * chance.choice(_RUNS)
