# SPDX-License-Identifier: Apache-2.0
"""What an app inside an enclave asks of its agent: ``nacre.enclave.Client`` and ``AsyncClient``.

::

    from nacre.enclave import Client

    client = Client()                       # finds the agent by $NACRE_SOCKET
    key = client.derive("database")
    evidence = client.evidence(b"my statement")

Every call is a connection of its own on the agent's Unix socket, so a client may be used by any number of
threads or tasks and needs no closing. The interface is described by ``enclave/openapi.json``.
"""

import asyncio
import socket
from typing import TypeVar

from nacre.enclave import calls
from nacre.enclave.calls import Algorithm, Event, Info, Signature

__all__ = ["AsyncClient", "Client"]

_SOCKET, _EGRESS = "NACRE_SOCKET", "NACRE_EGRESS"
_CHUNK = 1 << 16
_MAX_HEAD = 8192
_SECONDS = 60.0
_END = b"\r\n\r\n"
_CONNECTED = (b"HTTP/1.1 200 ", b"HTTP/1.0 200 ")

_Answer = TypeVar("_Answer")


class Client:
    """Asks, and waits for the answer. Every method raises ``EnclaveError`` with the agent's code."""

    def __init__(
        self, path: str | None = None, *, egress: str | None = None, seconds: float = _SECONDS
    ) -> None:
        """Say where the agent is.

        Args:
            path: Its Unix socket; ``$NACRE_SOCKET`` if not given.
            egress: The socket of the way out; ``$NACRE_EGRESS`` if not given.
            seconds: How long to wait for each piece of an answer.
        """
        self._path = path
        self._egress = egress
        self._seconds = seconds

    def info(self) -> Info:
        """Return what this enclave is."""
        return self._ask(calls.info())

    def evidence(self, data: bytes) -> bytes:
        """Return an evidence envelope (JSON) of purpose ``app-data`` that commits to at most 4,096 bytes."""
        return self._ask(calls.evidence(data))

    def raw_evidence(self, report_data: bytes) -> bytes:
        """Return bare evidence over 64 bytes; only if the application declares ``raw_report_data``."""
        return self._ask(calls.raw(report_data))

    def derive(self, path: str, *, purpose: str = "") -> bytes:
        """Return a key of 32 bytes: the same for the same path and purpose, unrelated for any other."""
        return self._ask(calls.derive(path, purpose))

    def sign(self, message: bytes, *, algorithm: Algorithm = "ed25519") -> Signature:
        """Have an identity key sign a message of this app."""
        return self._ask(calls.sign(message, algorithm))

    def seal(self, plaintext: bytes, *, context: str = "") -> bytes:
        """Encrypt so that only this image on this machine can read it, and only for this context."""
        return self._ask(calls.seal(plaintext, context))

    def unseal(self, sealed: bytes, *, context: str = "") -> bytes:
        """Decrypt what was sealed for this context."""
        return self._ask(calls.unseal(sealed, context))

    def emit(self, name: str, payload: bytes = b"") -> Event:
        """Measure an event: a name, and at most 1,024 bytes."""
        return self._ask(calls.emit(name, payload))

    def open_egress(self, host: str, port: int) -> socket.socket:
        """Connect to a host that ``egress`` in ``nacre.toml`` names.

        The host of the enclave resolves the name and carries the bytes, so speak TLS over it and check the
        certificate: ``ssl.create_default_context().wrap_socket(connection, server_hostname=host)``.
        """
        target = calls.target_of(host, port)
        connection = self._connected(calls.where(self._egress, _EGRESS))
        try:
            connection.sendall(calls.connecting(target))
            head = b""
            # One byte at a time: what comes after the head is the other side's.
            while not head.endswith(_END) and len(head) < _MAX_HEAD:
                head += (byte := connection.recv(1))
                if not byte:
                    break
            if not head.startswith(_CONNECTED):
                head += _rest(connection)
        except OSError as error:
            connection.close()
            raise calls.unreachable(error) from None
        except BaseException:
            connection.close()
            raise
        if not head.startswith(_CONNECTED):
            connection.close()
            raise calls.no_tunnel(head)
        return connection

    def _ask(self, call: calls.Call[_Answer]) -> _Answer:
        exchange = calls.Exchange(call.path, call.body)
        with self._connected(calls.where(self._path, _SOCKET)) as connection:
            try:
                connection.sendall(exchange.request)
                while not exchange.feed(connection.recv(_CHUNK)):
                    pass
            except OSError as error:
                raise calls.unreachable(error) from None
        return call.read(exchange.result())

    def _connected(self, path: str) -> socket.socket:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            connection.settimeout(self._seconds)
            connection.connect(path)
        except OSError as error:
            connection.close()
            raise calls.unreachable(error) from None
        return connection


class AsyncClient:
    """Like :class:`Client`, to be awaited."""

    def __init__(
        self, path: str | None = None, *, egress: str | None = None, seconds: float = _SECONDS
    ) -> None:
        """Say where the agent is; see :class:`Client`. ``seconds`` is for a whole answer here."""
        self._path = path
        self._egress = egress
        self._seconds = seconds

    async def info(self) -> Info:
        """See :meth:`Client.info`."""
        return await self._ask(calls.info())

    async def evidence(self, data: bytes) -> bytes:
        """See :meth:`Client.evidence`."""
        return await self._ask(calls.evidence(data))

    async def raw_evidence(self, report_data: bytes) -> bytes:
        """See :meth:`Client.raw_evidence`."""
        return await self._ask(calls.raw(report_data))

    async def derive(self, path: str, *, purpose: str = "") -> bytes:
        """See :meth:`Client.derive`."""
        return await self._ask(calls.derive(path, purpose))

    async def sign(self, message: bytes, *, algorithm: Algorithm = "ed25519") -> Signature:
        """See :meth:`Client.sign`."""
        return await self._ask(calls.sign(message, algorithm))

    async def seal(self, plaintext: bytes, *, context: str = "") -> bytes:
        """See :meth:`Client.seal`."""
        return await self._ask(calls.seal(plaintext, context))

    async def unseal(self, sealed: bytes, *, context: str = "") -> bytes:
        """See :meth:`Client.unseal`."""
        return await self._ask(calls.unseal(sealed, context))

    async def emit(self, name: str, payload: bytes = b"") -> Event:
        """See :meth:`Client.emit`."""
        return await self._ask(calls.emit(name, payload))

    async def open_egress(self, host: str, port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """See :meth:`Client.open_egress`; TLS: ``await writer.start_tls(context, server_hostname=host)``."""
        target = calls.target_of(host, port)
        path = calls.where(self._egress, _EGRESS)
        try:
            async with asyncio.timeout(self._seconds):
                reader, writer = await asyncio.open_unix_connection(path)
                try:
                    writer.write(calls.connecting(target))
                    head = await reader.readuntil(_END)
                    if not head.startswith(_CONNECTED):
                        head += await reader.read(_MAX_HEAD)
                except BaseException:
                    writer.close()
                    raise
        except (OSError, EOFError, asyncio.LimitOverrunError) as error:
            raise calls.unreachable(error) from None
        if not head.startswith(_CONNECTED):
            writer.close()
            raise calls.no_tunnel(head)
        return reader, writer

    async def _ask(self, call: calls.Call[_Answer]) -> _Answer:
        exchange = calls.Exchange(call.path, call.body)
        path = calls.where(self._path, _SOCKET)
        try:
            async with asyncio.timeout(self._seconds):
                reader, writer = await asyncio.open_unix_connection(path)
                try:
                    writer.write(exchange.request)
                    while not exchange.feed(await reader.read(_CHUNK)):
                        pass
                finally:
                    writer.close()
        except OSError as error:
            raise calls.unreachable(error) from None
        return call.read(exchange.result())


def _rest(connection: socket.socket) -> bytes:
    found = b""
    while len(found) < _MAX_HEAD and (data := connection.recv(_MAX_HEAD)):
        found += data
    return found
