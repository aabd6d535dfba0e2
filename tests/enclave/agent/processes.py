# SPDX-License-Identifier: Apache-2.0
"""Agents as processes of their own, and questions to their sockets."""

import contextlib
import http.client
import secrets
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import msgspec

from nacre.enclave.agent.config import Config

_PATIENCE = 60.0


class _Unix(http.client.HTTPConnection):
    def __init__(self, path: str) -> None:
        super().__init__("agent", timeout=_PATIENCE)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(_PATIENCE)
        self.sock.connect(self._path)


def ask(path: str, target: str, body: object = None) -> tuple[int, bytes]:
    """Ask a Unix socket; what has a body is posted, as JSON."""
    with contextlib.closing(_Unix(path)) as connection:
        data = None if body is None else msgspec.json.encode(body)
        connection.request("GET" if data is None else "POST", target, body=data)
        response = connection.getresponse()
        return response.status, response.read()


class Agent:
    """An agent's process, and what it said."""

    def __init__(self, config: Config, folder: Path) -> None:
        """Start it, with its configuration and log in a folder."""
        self.config = config
        self._log = folder / f"log-{secrets.token_hex(4)}"
        file = folder / "config.json"
        file.write_bytes(config.encode())
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "nacre.enclave.agent", str(file)], stdout=log, stderr=log
            )

    def wait_until(self, said: str) -> None:
        """Wait for a line of the log; fails where the agent ends before."""
        end = time.monotonic() + _PATIENCE
        while said not in self.log:
            assert time.monotonic() < end, self.log
            assert self.process.poll() is None, self.log
            time.sleep(0.02)

    @property
    def log(self) -> str:
        """What it wrote so far."""
        return self._log.read_text()

    def end(self) -> int:
        """Ask it to end, and return its status."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(_PATIENCE)
