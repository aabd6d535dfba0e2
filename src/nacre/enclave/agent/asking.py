# SPDX-License-Identifier: Apache-2.0
"""One question to the device at a time, in a thread of its own: hardware takes milliseconds, and may hang."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from nacre.errors import EnclaveError

__all__ = ["Asking"]

#: Questions that may wait.
_QUEUE = 128

_Answer = TypeVar("_Answer")


class Asking:
    """Takes turns at the device."""

    def __init__(self, *, seconds: float) -> None:
        """Give each question so many seconds, waiting included."""
        self._seconds = seconds
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="device")
        self._waiting = 0

    async def ask(self, question: Callable[[], _Answer]) -> _Answer:
        """Ask.

        Raises:
            EnclaveError: ``agent-busy``, ``agent-device-silent``, or what the device says.
        """
        if self._waiting >= _QUEUE:
            raise EnclaveError("agent-busy", actual=self._waiting)
        self._waiting += 1
        work = asyncio.get_running_loop().run_in_executor(self._thread, question)
        # A question that is given up goes on in its thread; its place is free when that is.
        work.add_done_callback(self._done)
        try:
            async with asyncio.timeout(self._seconds):
                return await asyncio.shield(work)
        except TimeoutError:
            raise EnclaveError("agent-device-silent", expected=str(self._seconds)) from None
        except OSError as error:
            raise EnclaveError("device-unreachable", actual=error.strerror or type(error).__name__) from None

    def close(self) -> None:
        """Ask nothing more."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _done(self, work: "asyncio.Future[_Answer]") -> None:
        self._waiting -= 1
        if not work.cancelled():
            work.exception()  # somebody may have given up on it
