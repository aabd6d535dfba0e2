# SPDX-License-Identifier: Apache-2.0
"""``python3 -m worm [ADDRESS]``: serve one worm over HTTP.

The address is the path of a Unix socket (it has a slash) or host:port; else ``NACRE_LISTEN``, which the agent
sets; else 127.0.0.1:8080. ``WORM_SEED`` (64 hex digits) makes another worm, ``WORM_STATE`` names a file in
which it survives a restart.
"""

import json
import os
import signal
import socket
import sys
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

from worm.memory import Damaged
from worm.service import Answer, Refused, Service

_BODY = 4096


class _Handler(BaseHTTPRequestHandler):
    """One connection."""

    server: "_Server"
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "worm", ""
    timeout = 10  # seconds without a byte

    def _answer(self, status: int, answer: Answer) -> None:
        body = json.dumps(answer, separators=(",", ":")).encode() + b"\n"
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def date_time_string(self, timestamp: float | None = None) -> str:
        """Leave the host's clock unread: the header Date says nothing."""
        del timestamp
        return "Thu, 01 Jan 1970 00:00:00 GMT"

    def log_message(self, *_: object) -> None:
        """Keep silent: who asks what is nobody's business."""

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Answer what is no HTTP in JSON too, and hang up."""
        del explain
        self.close_connection, self.request_version = True, "HTTP/1.1"
        self._answer(code, Refused(code, "not-http", message or "no request").answer)

    def _body(self) -> bytes:
        length, *others = self.headers.get_all("Content-Length") or [""]
        if others or "Transfer-Encoding" in self.headers or not (length.isascii() and length.isdigit()):
            raise Refused(411, "no-length", "the request has to state its Content-Length")
        if len(length) > 4 or int(length) > _BODY:
            raise Refused(413, "too-long", f"the body has to be at most {_BODY} bytes")
        body = self.rfile.read(int(length))
        if len(body) != int(length):
            raise Refused(400, "truncated", "the body ended early")
        return body

    def _lost(self, others: str) -> Answer:
        if self.path in self.server.paths:
            raise Refused(405, "method", f"{self.path} takes {others}")
        raise Refused(404, "unknown-path", f"there are {', '.join(self.server.paths)}")

    def _serve(self, paths: dict[str, Callable[[], Answer]], others: str) -> None:
        try:
            answer = paths.get(self.path, lambda: self._lost(others))()
            self._answer(200, answer)
        except Refused as refused:
            self.close_connection = True  # a body may be left unread
            self._answer(refused.status, refused.answer)

    def do_GET(self) -> None:
        service = self.server.service
        self._serve(
            {"/healthz": lambda: {"ok": True}, "/state": service.state, "/trace": service.trace}, "POST"
        )

    def do_POST(self) -> None:
        self._serve({"/step": lambda: self.server.service.step(self._body())}, "GET")


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    paths: ClassVar = ("/healthz", "/state", "/trace", "/step")

    def __init__(self, address: str, service: Service) -> None:
        self.service = service
        if "/" in address:
            self.address_family = socket.AF_UNIX
            if Path(address).is_socket():
                Path(address).unlink()  # left behind by a process that crashed
            super().__init__(address, _Handler)  # type: ignore[arg-type] # a path is an address too
        else:
            host, _, port = address.rpartition(":")
            super().__init__((host, int(port)), _Handler)

    def server_bind(self) -> None:
        """Bind without asking anybody for the host's name."""
        self.socket.bind(self.server_address)
        self.server_address = name = self.socket.getsockname()
        self.where = name if isinstance(name, str) else f"{name[0]}:{name[1]}"


def _seed(text: str) -> bytes:
    seed = bytes.fromhex(text)
    if len(seed) != 32:
        raise ValueError("WORM_SEED has to be 64 hex digits")
    return seed


def main() -> int:
    """Serve until told to end."""
    address = [*sys.argv[1:], os.environ.get("NACRE_LISTEN"), "127.0.0.1:8080"]
    state = os.environ.get("WORM_STATE")
    try:
        service = Service(_seed(os.environ.get("WORM_SEED", "00" * 32)), Path(state) if state else None)
        server = _Server(next(filter(None, address)), service)
    except (Damaged, OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    signal.signal(signal.SIGINT, lambda *_: sys.exit(0))
    print("listening on", server.where, flush=True)
    with server:
        server.serve_forever()
    return 0


if __name__ == "__main__":
    sys.exit(main())
