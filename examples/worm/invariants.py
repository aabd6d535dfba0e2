# SPDX-License-Identifier: Apache-2.0
"""What holds of the worm whatever its host does; ``nacre test --hostile-host`` lets a host try.

The harness calls ``Invariants(send)`` once per run and then its methods, in any order, while the host
misbehaves. ``send(method, path, body)`` returns the answer's status and body, or raises ``OSError`` when no
answer came. A method that finds a broken promise raises ``AssertionError``.
"""

import json
from collections.abc import Callable, Mapping

from worm.connectome import SENSES
from worm.creature import Worm

__all__ = ["Invariants"]

Send = Callable[[str, str, bytes], tuple[int, bytes]]


class Invariants:
    """A client that lives the worm's life along with it, one worm per birth.

    Attributes:
        names: What the harness draws stimuli from.
    """

    names = tuple(SENSES)

    def __init__(self, send: Send) -> None:
        self._send = send
        self._lives: dict[str, Worm] = {}
        self._pending: dict[str, list[tuple[int, Mapping[str, int]]]] = {}

    def step(self, ticks: int, stimuli: Mapping[str, int]) -> None:
        """Same stimuli, same trace: a step does what the reference simulation does, once or not at all."""
        birth, tick = self.look()
        self._pending[birth].append((ticks, dict(stimuli)))
        body = json.dumps({"ticks": ticks, "stimuli": dict(stimuli), "birth": birth, "at": tick}).encode()
        status, answer = self._send("POST", "/step", body)
        assert status in (200, 409), f"a good step is answered with {status}"
        if status == 200:
            self._hold(json.loads(answer))
        self.look()

    def look(self) -> tuple[str, int]:
        """Without a step the worm stays where it is, however much time passes: no clock moves it."""
        status, answer = self._send("GET", "/state", b"")
        assert status == 200, f"the state is answered with {status}"
        state = json.loads(answer)
        if state["birth"] not in self._lives:
            assert state["tick"] == 0, f"a worm that nobody stepped is at tick {state['tick']}"
            self._lives[state["birth"]] = Worm(bytes.fromhex(state["seed"]))
            self._pending[state["birth"]] = []
        self._hold(state)
        return state["birth"], state["tick"]

    def _hold(self, said: dict[str, object]) -> None:
        """The tick never goes back, and every place is one that the reference comes to by what was sent."""
        birth, tick = str(said["birth"]), said["tick"]
        assert birth in self._lives, "an answer to a step is another worm's"
        life, pending = self._lives[birth], self._pending[birth]
        assert isinstance(tick, int), f"the tick is {tick!r}"
        assert tick >= life.tick, f"the tick went back from {life.tick} to {tick}"
        if tick > life.tick:
            # Each was sent for the tick at which the reference is, so at most one of them was done.
            for ticks, stimuli in pending:
                tried = self._after(life, ticks, stimuli)
                if (tried.tick, tried.trace.hex()) == (tick, said["trace"]):
                    self._lives[birth], self._pending[birth] = life, pending = tried, []
                    break
        assert tick == life.tick, f"the worm went from tick {life.tick} to {tick}, which no step does"
        assert said["trace"] == life.trace.hex(), f"the trace at tick {tick} is not the reference's"

    @staticmethod
    def _after(life: Worm, ticks: int, stimuli: Mapping[str, int]) -> Worm:
        worm = life.copy()
        for _ in range(ticks):
            worm.step(stimuli)
        return worm
