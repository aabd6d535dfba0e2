# SPDX-License-Identifier: Apache-2.0
"""A Unix socket on which each message is its length (32 bits, big-endian) and its bytes."""

import contextlib
import socketserver
import threading
from collections.abc import Callable
from io import BufferedIOBase
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
        self._server = _server(path, answer, limit)
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
        """Answer no more."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
        self._path.unlink(missing_ok=True)


class _Server(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True
    block_on_close = False


def _server(path: Path, answer: Callable[[bytes], bytes], limit: int) -> _Server:
    class Handler(socketserver.StreamRequestHandler):
        timeout = _PATIENCE

        def handle(self) -> None:
            # Whoever goes away, or says nothing more, is not answered.
            with contextlib.suppress(OSError):
                while message := _message(self.rfile, limit):
                    reply = answer(message)
                    self.wfile.write(_LENGTH.pack(len(reply)) + reply)

    path.unlink(missing_ok=True)
    return _Server(str(path), Handler)


def _message(stream: BufferedIOBase, limit: int) -> bytes:
    head = stream.read(_LENGTH.size) or b""
    if len(head) < _LENGTH.size:
        return b""
    (size,) = _LENGTH.unpack(head)
    return (stream.read(size) or b"") if size <= limit else b""
