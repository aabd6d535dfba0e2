# SPDX-License-Identifier: Apache-2.0
"""One question to the device at a time, in a thread of its own: hardware takes milliseconds, and may hang."""

import asyncio
import contextlib
import functools
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import TypeVar

from nacre.errors import EnclaveError

__all__ = ["Asking"]

#: Questions that may wait.
_QUEUE = 128

_Answer = TypeVar("_Answer")


class Asking:
    """Takes turns at the device. The thread is a daemon: a device that hangs keeps no agent from ending."""

    def __init__(self, *, seconds: float) -> None:
        """Give each question so many seconds, waiting included."""
        self._seconds = seconds
        self._waiting = 0
        self._turns: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        threading.Thread(target=self._work, name="device", daemon=True).start()

    async def ask(self, question: Callable[[], _Answer]) -> _Answer:
        """Ask.

        Raises:
            EnclaveError: ``agent-busy``, ``agent-device-silent``, or what the device says.
        """
        if self._waiting >= _QUEUE:
            raise EnclaveError("agent-busy", actual=self._waiting)
        loop = asyncio.get_running_loop()
        answered: asyncio.Future[_Answer] = loop.create_future()

        def turn() -> None:
            try:
                settle = functools.partial(self._answered, answered, question())
            except Exception as error:  # noqa: BLE001 (it is raised again where somebody waits for it)
                settle = functools.partial(self._failed, answered, error)
            with contextlib.suppress(RuntimeError):  # nobody waits: the loop is closed
                loop.call_soon_threadsafe(settle)

        self._waiting += 1
        self._turns.put(turn)
        try:
            # A question that is given up still takes its turn; its place is free after that.
            async with asyncio.timeout(self._seconds):
                return await answered
        except TimeoutError:
            raise EnclaveError("agent-device-silent", expected=str(self._seconds)) from None
        except OSError as error:
            raise EnclaveError("device-unreachable", actual=error.strerror or type(error).__name__) from None

    def close(self, last: Callable[[], None] | None = None) -> None:
        """Ask nothing more; ``last`` is done in the device's thread after all turns."""
        self._turns.put(last)
        self._turns.put(None)

    def _work(self) -> None:
        while (turn := self._turns.get()) is not None:
            turn()

    def _answered(self, waiting: "asyncio.Future[_Answer]", answer: _Answer) -> None:
        self._waiting -= 1
        if not waiting.done():
            waiting.set_result(answer)

    def _failed(self, waiting: "asyncio.Future[_Answer]", error: Exception) -> None:
        self._waiting -= 1
        if not waiting.done():
            waiting.set_exception(error)
