# SPDX-License-Identifier: Apache-2.0
"""Sockets to be called on. Two agents never listen at one Unix path: the second is refused."""

import asyncio
import contextlib
import fcntl
import os
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path

from nacre.enclave.agent.config import Limits
from nacre.enclave.agent.connection import Connection, Gone
from nacre.errors import EnclaveError

__all__ = ["Listener"]

_BACKLOG = 256

#: Serves one connection until it ends.
Serve = Callable[[Connection], Awaitable[None]]


class Listener:
    """One socket and those who called."""

    def __init__(self, address: str, serve: Serve, *, limits: Limits, owner: int | None = None) -> None:
        """Say where to listen and who serves.

        Args:
            address: ``unix:PATH``, ``tcp:HOST:PORT`` or ``vsock:PORT``.
            serve: Serves one connection.
            limits: How many connections, and how patiently.
            owner: The user that a Unix socket belongs to, if not to the agent's own.
        """
        self.address = address
        self._serve = serve
        self._limits = limits
        self._owner = owner
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self._lock: int | None = None

    async def open(self) -> None:
        """Begin to listen.

        Raises:
            EnclaveError: ``agent-listen``: the place is taken, or cannot be used.
        """
        try:
            listening = self._socket()
        except OSError as error:
            problem = error.strerror or type(error).__name__
            raise EnclaveError("agent-listen", what=self.address, actual=problem) from None
        listening.setblocking(False)  # noqa: FBT003 (the library's word)
        self._server = await asyncio.start_server(self._called, sock=listening, backlog=_BACKLOG)

    async def close(self) -> None:
        """Listen no more, and end what goes on."""
        if self._server is not None:
            self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._lock is not None:
            self._unlink()
            os.close(self._lock)

    def _unlink(self) -> None:
        with contextlib.suppress(OSError):
            Path(self.address.partition(":")[2]).unlink()

    def _socket(self) -> socket.socket:
        kind, _, rest = self.address.partition(":")
        if kind == "unix":
            return self._unix(rest)
        if kind == "vsock":
            listening = socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM)
            listening.bind((socket.VMADDR_CID_ANY, int(rest)))
            return listening
        host, _, port = rest.rpartition(":")
        return socket.create_server((host, int(port)), backlog=_BACKLOG)

    def _unix(self, path: str) -> socket.socket:
        """Bind a path that nobody listens at; what a dead agent left there goes."""
        self._lock = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._lock)
            self._lock = None
            raise OSError(0, "another agent listens there") from None
        if Path(path).is_socket():
            Path(path).unlink()
        listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        old = os.umask(0o177)
        try:
            listening.bind(path)
        finally:
            os.umask(old)
        if self._owner is not None:
            os.chown(path, self._owner, self._owner)
        return listening

    def _called(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(self._tasks) >= self._limits.connections:
            writer.transport.abort()
            return
        task = asyncio.get_running_loop().create_task(
            self._attend(Connection(reader, writer, limits=self._limits))
        )
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _attend(self, connection: Connection) -> None:
        try:
            await self._serve(connection)
        except Gone:
            connection.abort()
        except asyncio.CancelledError:
            connection.abort()
            raise
        else:
            await connection.close()
