# SPDX-License-Identifier: Apache-2.0
"""Passes requests to the app and its answers back, in parts, as fast as the slower side takes them.

Each caller's connection has its own to the app, so that no two callers' bytes ever share one. What is only
between two neighbours (RFC 9110, 7.6.1) stays there: each side's framing is made anew.
"""

import asyncio
import contextlib

import h11

from nacre.enclave.agent.config import Limits
from nacre.enclave.agent.connection import CHUNK, Connection, Gone
from nacre.errors import EnclaveError

__all__ = ["Proxy"]

_HOP = frozenset(
    (b"connection", b"keep-alive", b"proxy-connection", b"proxy-authenticate", b"proxy-authorization")
) | {b"te", b"trailer", b"transfer-encoding", b"upgrade", b"expect"}
_CONNECT = 5.0
_CHUNKED = (b"transfer-encoding", b"chunked")

Headers = list[tuple[bytes, bytes]]


class Proxy:
    """One caller's way to the app."""

    def __init__(self, *, socket: str, port: int | None, limits: Limits) -> None:
        """Say where the app listens: on a loopback port, or else on a Unix socket."""
        self._socket = socket
        self._port = port
        self._limits = limits
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        self._http = h11.Connection(h11.CLIENT)

    async def forward(self, caller: Connection) -> None:
        """Have the app answer the caller's request.

        Raises:
            EnclaveError: ``app-absent``, ``app-slow``, ``app-broken``: no answer had begun.
            Gone: One of the two vanished midway.
        """
        await self._connect()
        upload = asyncio.get_running_loop().create_task(self._upload(caller))
        try:
            response = await self._first(upload)
            await caller.begin(response.status_code, passed_on(list(response.headers)))
            while True:
                event = await self._event(self._limits.answer)
                if not isinstance(event, h11.Data):
                    break
                await caller.send(bytes(event.data))
            await caller.end()
        except (h11.RemoteProtocolError, OSError, TimeoutError):
            raise Gone from None
        finally:
            done = upload.done()
            upload.cancel()
            with contextlib.suppress(asyncio.CancelledError, Gone, OSError, h11.LocalProtocolError):
                await upload
            if not done:
                self.close()

    def close(self) -> None:
        """Let the app's side go."""
        if self._streams is not None:
            self._streams[1].transport.abort()
            self._streams = None

    async def _connect(self) -> None:
        if self._streams is not None:
            reusable = self._http.our_state is h11.DONE and self._http.their_state is h11.DONE
            if reusable and not self._streams[0].at_eof():
                self._http.start_next_cycle()
                return
            self.close()
        self._http = h11.Connection(h11.CLIENT)
        try:
            async with asyncio.timeout(_CONNECT):
                if self._port is None:
                    self._streams = await asyncio.open_unix_connection(self._socket)
                else:
                    self._streams = await asyncio.open_connection("127.0.0.1", self._port)
        except (OSError, TimeoutError) as error:
            problem = getattr(error, "strerror", None) or "it does not answer"
            raise EnclaveError("app-absent", actual=problem) from None

    async def _upload(self, caller: Connection) -> None:
        request = caller.request
        headers = passed_on(list(request.headers))
        if any(name == b"transfer-encoding" for name, _ in request.headers):
            headers.append(_CHUNKED)
        if not any(name == b"host" for name, _ in headers):
            headers.insert(0, (b"host", b"localhost"))
        await self._send(h11.Request(method=request.method, target=request.target, headers=headers))
        async for part in caller.body():
            await self._send(h11.Data(data=part))
        await self._send(h11.EndOfMessage())

    async def _first(self, upload: "asyncio.Task[None]") -> h11.Response:
        """Wait until the answer begins; what the app says on the way to it (1xx) is not passed on."""
        try:
            while True:
                event = await self._event(self._limits.answer)
                if isinstance(event, h11.Response):
                    return event
                if not isinstance(event, h11.InformationalResponse):
                    raise EnclaveError("app-broken", actual="it hung up")
        except TimeoutError:
            raise EnclaveError("app-slow", expected=str(self._limits.answer)) from None
        except (h11.RemoteProtocolError, OSError) as error:
            if upload.done() and not upload.cancelled() and isinstance(upload.exception(), Gone):
                raise Gone from None
            raise EnclaveError("app-broken", actual=str(error)) from None

    async def _event(self, seconds: float) -> object:
        streams = self._streams
        if streams is None:
            raise Gone
        while True:
            event = self._http.next_event()
            if event is not h11.NEED_DATA:
                return event
            async with asyncio.timeout(seconds):
                self._http.receive_data(await streams[0].read(CHUNK))

    async def _send(self, event: h11.Event) -> None:
        if self._streams is None:
            raise Gone
        self._streams[1].write(self._http.send(event) or b"")
        await self._streams[1].drain()


def passed_on(headers: Headers) -> Headers:
    """Leave out what is between neighbours: the known names, and those that ``Connection`` lists."""
    named = {
        word.strip().lower() for name, value in headers if name == b"connection" for word in value.split(b",")
    }
    return [(name, value) for name, value in headers if name not in _HOP and name not in named]
