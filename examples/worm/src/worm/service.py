# SPDX-License-Identifier: Apache-2.0
"""What can be asked of the worm: four paths, JSON both ways, every input bounded."""

import json
import os
import re
import threading
from collections import deque
from pathlib import Path
from typing import NamedTuple

from worm.connectome import SENSES
from worm.creature import STRONGEST, Worm
from worm.memory import recall, remember

__all__ = ["Refused", "Service", "Step", "asked"]

_MOST_TICKS = 1000
_HISTORY = 256
_BIRTH = re.compile(r"[0-9a-f]{32}")
_LAST_TICK = 1 << 53  # whole numbers beyond are not safe in everybody's JSON

Answer = dict[str, object]


class Refused(Exception):
    """A request that changes nothing: the HTTP status, a code for programs, words for people."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.answer: Answer = {"error": {"code": code, "message": message}}


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise ValueError("a name twice in one object")
    return fields


def _number(value: object, *, name: str, least: int, most: int) -> int:
    if type(value) is not int or not least <= value <= most:
        raise Refused(400, "out-of-range", f"{name} has to be a whole number from {least} to {most}")
    return value


class Step(NamedTuple):
    """What ``POST /step`` asks for: ticks of the worm of this birth at this tick, None: of any."""

    ticks: int
    stimuli: dict[str, int]
    birth: str | None
    at: int | None


def asked(body: bytes) -> Step:
    """Read the body of ``POST /step``.

    Raises:
        Refused: Says what is wrong with it.
    """
    try:
        fields = json.loads(body.decode(), object_pairs_hook=_unique)
    except (ValueError, RecursionError) as error:
        raise Refused(400, "not-json", "the body has to be one JSON object, each name once") from error
    if not isinstance(fields, dict) or not fields.keys() <= {"ticks", "stimuli", "birth", "at"}:
        raise Refused(400, "unknown-field", "the body has to be an object with ticks, stimuli, birth, at")
    ticks = _number(fields.get("ticks"), name="ticks", least=1, most=_MOST_TICKS)
    stimuli = fields.get("stimuli", {})
    if not isinstance(stimuli, dict) or not stimuli.keys() <= SENSES.keys():
        raise Refused(400, "unknown-sense", f"stimuli has to be an object with {', '.join(SENSES)}")
    for sense, strength in stimuli.items():
        _number(strength, name=f"stimuli.{sense}", least=1, most=STRONGEST)
    birth, at = fields.get("birth"), fields.get("at")
    if birth is not None and not (isinstance(birth, str) and _BIRTH.fullmatch(birth)):
        raise Refused(400, "out-of-range", "birth has to be 32 hex digits in lower case")
    return Step(
        ticks, stimuli, birth, None if at is None else _number(at, name="at", least=0, most=_LAST_TICK)
    )


class Service:
    """A worm that several may talk to at once.

    Attributes:
        birth: 32 hex digits, drawn when the worm began: one worm's tick never goes back.
    """

    def __init__(self, seed: bytes, memory: Path | None = None) -> None:
        self._lock = threading.Lock()
        self._memory = memory
        kept = recall(memory, seed) if memory else None
        self._worm, self.birth = kept or (Worm(seed), os.urandom(16).hex())
        self._history: deque[str] = deque(maxlen=_HISTORY)
        if memory and not kept:
            remember(memory, self._worm, self.birth)

    def _keep(self, worm: Worm) -> None:
        if self._memory:
            try:
                remember(self._memory, worm, self.birth)
            except OSError as error:
                raise Refused(
                    503, "not-remembered", f"the state cannot be written: {error.strerror}"
                ) from error

    def _where(self) -> Answer:
        return {"birth": self.birth, "tick": self._worm.tick, "trace": self._worm.trace.hex()}

    def state(self) -> Answer:
        """Return where the worm is and how far each muscle is contracted."""
        with self._lock:
            return self._where() | {"seed": self._worm.seed.hex(), "muscles": self._worm.muscles()}

    def trace(self) -> Answer:
        """Return where the worm is and its traces of the last ticks, the newest last."""
        with self._lock:
            return self._where() | {"history": list(self._history)}

    def step(self, body: bytes) -> Answer:
        """Let the worm live; what is answered has been remembered.

        Raises:
            Refused: The worm has not moved.
        """
        ticks, stimuli, birth, at = asked(body)
        with self._lock:
            if birth not in (None, self.birth):
                raise Refused(409, "elsewhere", f"this worm was born as {self.birth}")
            worm = self._worm.copy()  # what cannot be remembered has not happened
            if at not in (None, worm.tick):
                raise Refused(409, "elsewhere", f"the worm is at tick {worm.tick}, not {at}")
            if worm.tick + ticks > _LAST_TICK:
                raise Refused(409, "too-old", f"no worm lives beyond tick {_LAST_TICK}")
            lived = []
            for _ in range(ticks):
                worm.step(stimuli)
                lived.append(worm.trace.hex())
            self._keep(worm)
            self._worm = worm
            self._history.extend(lived)
            return self._where() | {"muscles": worm.muscles()}
