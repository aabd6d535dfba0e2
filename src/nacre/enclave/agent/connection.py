# SPDX-License-Identifier: Apache-2.0
"""One HTTP/1.1 connection of a caller: h11 reads and writes, this adds sockets, sizes and deadlines."""

import asyncio
import contextlib
import socket
import struct
from collections.abc import AsyncIterator

import h11

from nacre.enclave.agent.config import Limits
from nacre.enclave.agent.routing import MAX_BODY, Peer, Request, Response, refusal
from nacre.errors import EnclaveError

__all__ = ["CHUNK", "Connection", "Gone"]

#: Bytes that are read at a time.
CHUNK = 1 << 16

_PEER = struct.Struct("3i")
_OK = 200
_TOO_LARGE = 431


class Gone(Exception):
    """The other side is not there any more, or does not take what is sent."""


class Connection:
    """The server's side of a connection.

    Attributes:
        peer: The process that called, on a Unix socket.
        request: The request that is being answered.
    """

    request: h11.Request

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, limits: Limits) -> None:
        """Take over a fresh connection."""
        self._reader = reader
        self._writer = writer
        self._limits = limits
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=limits.header)
        self.peer = _peer(writer)

    @property
    def streams(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """The bare connection, for a door that speaks something else; then :meth:`next` is not for it."""
        return self._reader, self._writer

    async def next(self) -> bool:
        """Wait for a request's headers; False once the caller is done.

        Raises:
            Gone: The caller vanished, or took too long; then nothing is owed to it.
        """
        if self._http.our_state is h11.DONE and self._http.their_state is h11.DONE:
            self._http.start_next_cycle()
        if self._http.our_state is not h11.IDLE:
            return False
        try:
            async with asyncio.timeout(self._limits.patience):
                event = await self._event()
        except TimeoutError:
            if self._http.trailing_data[0]:
                await self.refuse(EnclaveError("agent-too-slow", expected=str(self._limits.patience)))
            return False
        if not isinstance(event, h11.Request):
            return False
        self.request = event
        fault = _fault(event, limit=self._limits.header)
        if fault is not None:
            await self.refuse(fault)
            return False
        return True

    async def body(self) -> AsyncIterator[bytes]:
        """Yield the request's body as it comes.

        Raises:
            Gone: It stops coming.
        """
        while True:
            if self._http.they_are_waiting_for_100_continue:
                await self._send(h11.InformationalResponse(status_code=100, headers=[]))
            try:
                async with asyncio.timeout(self._limits.patience):
                    event = await self._event()
            except TimeoutError:
                raise Gone from None
            if not isinstance(event, h11.Data):
                return
            yield bytes(event.data)

    async def whole(self) -> Request:
        """Return the request with its body.

        Raises:
            EnclaveError: ``too-large``.
            Gone: The body stops coming.
        """
        size, parts = 0, []
        async for part in self.body():
            size += len(part)
            if size > MAX_BODY:
                raise EnclaveError("too-large", what="request", expected=MAX_BODY, actual=size)
            parts.append(part)
        path, _, query = self.request.target.decode("ascii").partition("?")
        return Request(
            method=self.request.method.decode("ascii"),
            path=path,
            query=query,
            headers=tuple(
                (name.decode("ascii"), value.decode("latin-1")) for name, value in self.request.headers
            ),
            body=b"".join(parts),
            peer=self.peer,
        )

    async def answer(self, response: Response, *, extra: tuple[tuple[str, str], ...] = ()) -> None:
        """Send an answer, whole.

        Raises:
            Gone: The caller does not take it.
        """
        headers = [*response.headers, *extra, ("content-length", str(len(response.body)))]
        begin = h11.Response(status_code=response.status, headers=headers, reason=response.reason.encode())
        out = self._http.send(begin) or b""
        if response.body and self.request.method != b"HEAD":
            out += self._http.send(h11.Data(data=response.body)) or b""
        out += self._http.send(h11.EndOfMessage()) or b""
        await self._write(out)

    async def refuse(self, error: EnclaveError) -> None:
        """Answer with an error and end the connection, if an answer is still owed."""
        if self._http.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            response = refusal(error)
            headers = [
                *response.headers,
                ("content-length", str(len(response.body))),
                ("connection", "close"),
            ]
            with contextlib.suppress(h11.LocalProtocolError):
                out = self._http.send(h11.Response(status_code=response.status, headers=headers)) or b""
                out += self._http.send(h11.Data(data=response.body)) or b""
                await self._write(out)

    async def begin(self, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        """Begin an answer that comes in parts."""
        await self._send(h11.Response(status_code=status, headers=headers))

    async def send(self, data: bytes) -> None:
        """Send a part, as fast as the caller takes it."""
        await self._send(h11.Data(data=data))

    async def end(self) -> None:
        """End the answer."""
        await self._send(h11.EndOfMessage())

    def abort(self) -> None:
        """End at once, so that the caller sees that something is missing."""
        self._writer.transport.abort()

    async def close(self) -> None:
        """End the connection."""
        self._writer.close()
        with contextlib.suppress(OSError, TimeoutError):
            async with asyncio.timeout(self._limits.patience):
                await self._writer.wait_closed()

    async def _event(self) -> object:
        while True:
            try:
                event = self._http.next_event()
            except h11.RemoteProtocolError as error:
                code = "agent-headers" if error.error_status_hint == _TOO_LARGE else "agent-http"
                await self.refuse(EnclaveError(code, expected=self._limits.header, actual=str(error)))
                raise Gone from None
            if event is not h11.NEED_DATA:
                return event
            try:
                data = await self._reader.read(CHUNK)
            except OSError:
                raise Gone from None
            self._http.receive_data(data)

    async def _send(self, event: h11.Event) -> None:
        await self._write(self._http.send(event) or b"")

    async def _write(self, data: bytes) -> None:
        try:
            self._writer.write(data)
            async with asyncio.timeout(self._limits.patience):
                await self._writer.drain()
        except (OSError, TimeoutError):
            raise Gone from None


def _peer(writer: asyncio.StreamWriter) -> Peer | None:
    """Ask the kernel who called; only Unix sockets have an answer."""
    inner = writer.get_extra_info("socket")
    if inner is None or inner.family != socket.AF_UNIX or not hasattr(socket, "SO_PEERCRED"):
        return None
    found = inner.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size)
    return Peer(*_PEER.unpack(found))


def _fault(request: h11.Request, *, limit: int) -> EnclaveError | None:
    """Find what h11 lets pass and two servers in a row could read in two ways."""
    size = len(request.target) + sum(len(name) + len(value) + 4 for name, value in request.headers)
    if size > limit:
        return EnclaveError("agent-headers", expected=limit, actual=f"{size} bytes")
    names = [name for name, _ in request.headers]
    if b"content-length" in names and b"transfer-encoding" in names:
        return EnclaveError("agent-http", actual="both a length and a transfer coding")
    if not request.target.startswith(b"/"):
        return EnclaveError("agent-http", actual="a target that is no path")
    if b"upgrade" in names:
        return EnclaveError("agent-upgrade")
    return None
