# SPDX-License-Identifier: Apache-2.0
"""Taking turns at a server that allows one request in so many seconds.

AMD's KDS counts requests by address, so all processes of a machine share one allowance. They take turns by a
lock in the cache folder, which also keeps when the last request was made. Whoever has its turn looks first
whether somebody before it has fetched the document; only who really asks has to wait, and only from the last
request on. Without a folder, or while it fails, threads of one process still take turns.
"""

import contextlib
import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from nacre.endorsers.files import locked, private_folder
from nacre.endorsers.notices import Notice, log
from nacre.errors import ConfigurationError, EndorsementsUnavailable

__all__ = ["Pace"]

_LAST = "last"
#: How many threads of one process wait for their turn; one more is sent away at once. Whoever can make others
#: verify evidence of chips that do not exist must not tie up a server's threads.
_MAX_WAITING = 8


class Pace:
    """Spaces the requests to one host. Threads and processes may share one folder."""

    def __init__(
        self,
        host: str,
        folder: Path | None,
        *,
        interval: float,
        patience: float = 60.0,
        notice: Notice = log,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """Take turns below ``folder``.

        Args:
            host: Whom the requests are for; names a folder of its own.
            folder: The cache folder, or None to take turns in this process only.
            interval: Seconds from one request to the next.
            patience: The longest wait for one's turn, seconds.
            notice: Takes what goes wrong.
            clock: Unix seconds, the same for all processes.
            sleep: Waits.
        """
        self._host = host
        name = "".join(letter if letter.isalnum() or letter == "." else "-" for letter in host)
        self._folder = None if folder is None else folder / "pace" / name
        self._interval = interval
        self._patience = patience
        self._notice = notice
        self._clock = clock
        self._sleep = sleep
        self._lock = threading.Lock()
        self._places = threading.BoundedSemaphore(_MAX_WAITING + 1)
        self._last = 0.0

    @contextlib.contextmanager
    def turn(self) -> Iterator[Callable[[], None]]:
        """Wait for one's turn; what is given is to be called right before a request.

        Raises:
            EndorsementsUnavailable: ``endorser-queue``: too many are waiting, or it takes too long.
        """
        if not self._places.acquire(blocking=False):
            raise self._crowded()
        try:
            if not self._lock.acquire(timeout=self._patience):
                raise self._crowded()
            try:
                with contextlib.ExitStack() as stack:
                    shared = self._shared(stack)
                    before = self._last
                    try:
                        yield lambda: self._wait(shared)
                    finally:
                        if self._last != before:  # how long the request was under way, nobody knows
                            self._mark(shared)
            finally:
                self._lock.release()
        finally:
            self._places.release()

    def _shared(self, stack: contextlib.ExitStack) -> Path | None:
        """Take the turn among processes too; return where it is kept, None if that fails."""
        folder = self._folder
        if folder is None:
            return None
        try:
            if not private_folder(folder):
                self._notice(ConfigurationError("cache-unsafe", path=str(folder)))
                return None
            stack.enter_context(locked(folder, patience=self._patience))
        except TimeoutError:
            raise self._crowded() from None
        except OSError as error:
            said = error.strerror or type(error).__name__
            self._notice(ConfigurationError("cache-unusable", path=str(folder), actual=said))
            return None
        return folder / _LAST

    def _wait(self, shared: Path | None) -> None:
        last = max(self._last, _read(shared))
        now = self._clock()
        # A time to come says that a clock was wrong, then or now.
        if last <= now < last + self._interval:
            self._sleep(last + self._interval - now)
        self._mark(shared)

    def _mark(self, shared: Path | None) -> None:
        self._last = self._clock()
        if shared is not None:
            with contextlib.suppress(OSError):
                handle = os.open(shared, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
                os.utime(handle, (self._last, self._last))
                os.close(handle)

    def _crowded(self) -> EndorsementsUnavailable:
        return EndorsementsUnavailable(
            "endorser-queue", host=self._host, expected=int(self._interval), actual=int(self._patience)
        )


def _read(shared: Path | None) -> float:
    if shared is None:
        return 0.0
    try:
        return shared.lstat().st_mtime
    except OSError:
        return 0.0
