# SPDX-License-Identifier: Apache-2.0
"""A Unix socket on which each message is its length (32 bits, big-endian) and its bytes."""

import contextlib
import errno
import os
import socket
import socketserver
import threading
from collections.abc import Callable
from pathlib import Path
from struct import Struct
from types import TracebackType
from typing import Self

__all__ = ["MessageSocket"]

_LENGTH = Struct(">I")
#: Seconds that a caller may be silent within a message.
_PATIENCE = 30.0


class MessageSocket:
    """Answers messages until it is left; the socket's file goes with it."""

    def __init__(self, path: Path, answer: Callable[[bytes], bytes], *, limit: int) -> None:
        """Listen.

        Args:
            path: The socket's file; at most 107 bytes.
            answer: Answers one message; called by several threads.
            limit: Bytes of a message at most; whoever says more is not listened to.
        """
        self._path = path
        path.unlink(missing_ok=True)
        self._server = _Server(path, answer, limit)
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True
        )

    def __enter__(self) -> Self:
        """Begin to answer."""
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Answer no more, not even those who are connected."""
        self._server.shutdown()
        self._server.server_close()
        self._server.hang_up()
        self._thread.join()
        self._path.unlink(missing_ok=True)


class _Server(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, path: Path, answer: Callable[[bytes], bytes], limit: int) -> None:
        self.answer = answer
        self.limit = limit
        self._callers: set[socket.socket] = set()
        self._turn = threading.Lock()
        super().__init__(str(path), _Handler)

    def called(self, caller: socket.socket) -> None:
        with self._turn:
            self._callers.add(caller)

    def left(self, caller: socket.socket) -> None:
        with self._turn:
            self._callers.discard(caller)

    def hang_up(self) -> None:
        with self._turn:
            for caller in self._callers:
                with contextlib.suppress(OSError):  # gone already
                    caller.shutdown(socket.SHUT_RDWR)


class _Handler(socketserver.BaseRequestHandler):
    server: _Server
    request: socket.socket

    def handle(self) -> None:
        self.server.called(self.request)
        # Whoever goes away, or stops within a message, is not answered.
        try:
            with contextlib.suppress(OSError):
                while message := self._message():
                    reply = self.server.answer(message)
                    self.request.sendall(_LENGTH.pack(len(reply)) + reply)
        finally:
            self.server.left(self.request)

    def _message(self) -> bytes:
        self.request.settimeout(None)  # between messages a caller may be silent for as long as it likes
        head = self.request.recv(_LENGTH.size)
        self.request.settimeout(_PATIENCE)
        if not head:
            return b""
        (size,) = _LENGTH.unpack(head + self._exactly(_LENGTH.size - len(head)))
        return self._exactly(size) if size <= self.server.limit else b""

    def _exactly(self, size: int) -> bytes:
        found = bytearray()
        while len(found) < size:
            some = self.request.recv(size - len(found))
            if not some:
                raise OSError(errno.ECONNRESET, os.strerror(errno.ECONNRESET))
            found += some
        return bytes(found)
