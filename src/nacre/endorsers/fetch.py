# SPDX-License-Identifier: Apache-2.0
"""GET a document from an endorser: patiently, within limits, trusting nothing of what comes.

TLS is verified, but proves nothing that matters here: every document is signed and is judged by its
platform. What this room owes is that asking costs bounded time and memory.
"""

import time
from collections.abc import Callable, Mapping
from itertools import count
from typing import TYPE_CHECKING, Protocol

import msgspec

from nacre.endorsers.http import Answer, Deadline, Limits, Target, exchange, proxy_for, target
from nacre.errors import ConfigurationError, EndorsementsUnavailable

if TYPE_CHECKING:
    import ssl

__all__ = ["Fetcher", "HttpFetcher", "Response", "fetch_evidence"]

_OK = 200
_NOT_FOUND = 404
_GONE = 410
_BUSY = frozenset({429, 500, 502, 503, 504})
_REDIRECTS = frozenset({301, 302, 303, 307, 308})


class Response(msgspec.Struct, frozen=True):
    """A document as served.

    Attributes:
        body: The bytes.
        headers: By lower-case name.
    """

    body: bytes
    headers: Mapping[str, str]


class Fetcher(Protocol):
    """What gets a document; the network in production, anything in tests."""

    def get(self, url: str) -> Response:
        """Get a document.

        Raises:
            EndorsementsUnavailable: It could not be had.
            ConfigurationError: The URL cannot be used.
        """


class HttpFetcher:
    """Gets documents over HTTPS; plain HTTP from this machine only. Threads may share one."""

    def __init__(
        self,
        *,
        limits: Limits | None = None,
        ca_file: str | None = None,
        unsafe_plain_http: bool = False,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """Set limits and trust.

        Args:
            limits: What one document may cost.
            ca_file: PEM certificates that TLS servers may chain to, instead of the system's: for a PCCS
                with a certificate of its own.
            unsafe_plain_http: Allow plain HTTP to other machines.
            clock: Monotonic seconds.
            sleep: Waits between attempts.
        """
        self._limits = limits or Limits()
        self._ca_file = ca_file
        self._plain = unsafe_plain_http
        self._clock = clock
        self._sleep = sleep
        self._context: ssl.SSLContext | None = None

    def get(self, url: str) -> Response:
        """Get a document.

        Raises:
            EndorsementsUnavailable: ``endorser-…``, by what went wrong; ``endorser-not-found`` and
                ``endorser-gone`` for the statuses 404 and 410.
            ConfigurationError: The URL, the proxy or the CA file cannot be used.
        """
        deadline = Deadline(self._limits.total, self._clock)
        goal = target(url, unsafe_plain_http=self._plain)
        for _ in range(self._limits.redirects + 1):
            answer = self._patiently(goal, deadline)
            if answer.status == _OK:
                return Response(answer.body, answer.headers)
            if answer.status not in _REDIRECTS:
                raise _refusal(goal, answer.status)
            goal = self._redirected(goal, answer)
        raise EndorsementsUnavailable(
            "endorser-redirect-loop", host=goal.authority, expected=self._limits.redirects
        )

    def _patiently(self, goal: Target, deadline: Deadline) -> Answer:
        """Ask until there is an answer that more patience would not change."""
        for attempt in count(1):
            asked: float | None = None
            try:
                answer = self._once(goal, deadline)
            except EndorsementsUnavailable as error:
                if error.code != "endorser-timeout":
                    raise
                why = error
            else:
                if answer.status not in _BUSY:
                    return answer
                why = _refusal(goal, answer.status)
                asked = self._asked_pause(goal, answer)
            if attempt >= self._limits.attempts:
                raise why
            self._pause(attempt, asked, deadline, why)
        raise AssertionError  # pragma: no cover (count has no end)

    def _asked_pause(self, goal: Target, answer: Answer) -> float | None:
        asked = _retry_after(answer.headers.get("retry-after"))
        most = self._limits.retry_after
        if asked is not None and asked > most:
            raise EndorsementsUnavailable(
                "endorser-busy", host=goal.authority, actual=int(asked), expected=int(most)
            )
        return asked

    def _once(self, goal: Target, deadline: Deadline) -> Answer:
        return exchange(
            goal, deadline=deadline, limits=self._limits, context=self._trust(goal), proxy=proxy_for(goal)
        )

    def _pause(
        self, attempt: int, asked: float | None, deadline: Deadline, why: EndorsementsUnavailable
    ) -> None:
        from random import random  # noqa: PLC0415 (slow to import)

        # Spreads load; no secret.
        longest = self._limits.pause * 2 ** (attempt - 1)
        pause = longest * (0.5 + random() / 2) if asked is None else asked  # noqa: S311
        if pause >= deadline.remaining():
            raise why
        self._sleep(pause)

    def _redirected(self, goal: Target, answer: Answer) -> Target:
        from urllib.parse import urljoin  # noqa: PLC0415 (only where something is fetched)

        location = answer.headers.get("location", "")
        try:
            new = target(urljoin(goal.url, location), unsafe_plain_http=self._plain)
        except (ConfigurationError, ValueError):
            raise EndorsementsUnavailable("endorser-redirect", host=goal.authority, actual=location) from None
        if (new.scheme, new.host, new.port) != (goal.scheme, goal.host, goal.port):
            raise EndorsementsUnavailable("endorser-redirect", host=goal.authority, actual=location)
        return new

    def _trust(self, goal: Target) -> "ssl.SSLContext | None":
        if goal.scheme == "https" and self._context is None:
            import ssl  # noqa: PLC0415 (slow to import)

            try:
                self._context = ssl.create_default_context(cafile=self._ca_file)
            except OSError:
                raise ConfigurationError("ca-file-unusable", path=self._ca_file or "") from None
        return self._context


def fetch_evidence(url: str, *, fetcher: Fetcher | None = None) -> bytes:
    """Fetch one evidence document; where it came from adds no trust.

    Raises:
        EndorsementsUnavailable: It could not be had.
        ConfigurationError: The URL cannot be used.
    """
    return (fetcher or HttpFetcher()).get(url).body


def _refusal(goal: Target, status: int) -> EndorsementsUnavailable:
    code = {_NOT_FOUND: "endorser-not-found", _GONE: "endorser-gone"}.get(status, "endorser-status")
    return EndorsementsUnavailable(code, url=goal.url, actual=status)


def _retry_after(value: str | None) -> float | None:
    """Read the header's two forms (RFC 9110, 10.2.3): seconds or a date."""
    if value is None:
        return None
    if value.isascii() and value.isdigit():
        return float(value[:9])
    from email.utils import parsedate_to_datetime  # noqa: PLC0415 (slow to import)

    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - time.time())
    except (ValueError, OverflowError):
        return None
