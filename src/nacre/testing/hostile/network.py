# SPDX-License-Identifier: Apache-2.0
"""The host's network: a proxy between client and enclave that does to a connection what it was told."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Self

from nacre.testing.hostile.events import Log
from nacre.testing.hostile.plan import Fault

__all__ = ["Network"]

_PIECE = 1 << 16
_FAR = 15.0


class _Held:
    """A request that waits until others were answered."""

    def __init__(self, request: bytes, route: Path, after: int) -> None:
        self.request = request
        self.route = route
        self.after = after


class Network:
    """Listens on a Unix socket; each connection is one request and its answer.

    Attributes:
        route: The enclave's socket that new connections go to.
    """

    def __init__(self, path: Path, log: Log) -> None:
        """Say where to listen, and where to note each fault that meets a connection."""
        self.route = path
        self._log = log
        self._path = path
        self._fault: Fault | None = None
        self._count = 0
        self._held: list[_Held] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> Self:
        """Listen."""
        self._server = await asyncio.start_unix_server(self._called, str(self._path))
        return self

    async def __aexit__(self, *_: object) -> None:
        """Cut every connection."""
        if self._server:
            self._server.close()
        await self.cut()

    def intend(self, fault: Fault | None) -> None:
        """Begin a round: its first connection is number 0."""
        self._fault, self._count = fault, 0

    async def cut(self) -> None:
        """End all connections, and forget what is held back: an enclave ends, and theirs do too."""
        self._held.clear()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _called(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        fault = self._fault if self._fault and self._fault.which == self._count else None
        self._count += 1
        if task:
            self._tasks.add(task)
        try:
            with contextlib.suppress(OSError, TimeoutError, asyncio.IncompleteReadError):
                await self._carry(reader, writer, fault or Fault("quiet"))
        finally:
            writer.transport.abort() if writer.transport.is_closing() else writer.close()
            if task:
                self._tasks.discard(task)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, fault: Fault) -> None:
        request, route = await _request(reader), self.route
        amount, here = fault.amount, f"connection {fault.which}"
        match fault.kind:
            case "drop-request":
                self._log.say("drop-request", f"lost the request of {here}")
                return
            case "cut-request":
                amount = min(amount, len(request) - 1)
                self._log.say("cut-request", f"passed {amount} bytes of the request of {here}, then hung up")
                await _begun(route, request[:amount])
                return
            case "reorder":
                self._held.append(_Held(request, route, amount))
                return
            case "drop-answer":
                self._log.say("drop-answer", f"lost the answer on {here}")
                await _asked(route, request)
                return
            case "delay":
                self._log.say("delay", f"kept the request of {here} for {amount} ms")
                await asyncio.sleep(amount / 1000)
        answer = await _asked(route, request)
        if fault.kind == "repeat":
            self._log.say("repeat", f"delivered the request of {here} {amount} times more")
            for _ in range(amount):
                await _asked(route, request)
        await self._deliver_held()
        if fault.kind == "cut-answer":
            amount = min(amount, len(answer) - 1)
            self._log.say("cut-answer", f"passed {amount} bytes of the answer on {here}, then hung up")
            answer = answer[:amount]
        writer.write(answer)
        await writer.drain()

    async def _deliver_held(self) -> None:
        """Count an answer; a request that was to wait for it is delivered before the answer is."""
        for held in self._held:
            held.after -= 1
        due = [held for held in self._held if held.after <= 0]
        self._held = [held for held in self._held if held.after > 0]
        for held in due:
            self._log.say("reorder", "delivered a request, whose sender it had hung up on, after later ones")
            await _asked(held.route, held.request)


async def _request(reader: asyncio.StreamReader) -> bytes:
    """Read one request of our own client: it states its length."""
    head = await reader.readuntil(b"\r\n\r\n")
    length = head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0]
    return head + await reader.readexactly(int(length))


async def _asked(route: Path, request: bytes) -> bytes:
    """Ask the enclave and read until it hangs up."""
    async with _connected(route) as (reader, writer), asyncio.timeout(_FAR):
        writer.write(request)
        await writer.drain()
        answer = bytearray()
        while piece := await reader.read(_PIECE):
            answer += piece
        return bytes(answer)


async def _begun(route: Path, request: bytes) -> None:
    """Say a part of a request and hang up."""
    async with _connected(route) as (_, writer):
        writer.write(request)
        await writer.drain()


@contextlib.asynccontextmanager
async def _connected(route: Path) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_unix_connection(str(route))
    try:
        yield reader, writer
    finally:
        writer.close()
