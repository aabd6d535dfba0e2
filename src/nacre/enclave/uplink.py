# SPDX-License-Identifier: Apache-2.0
"""``python -m nacre.enclave.uplink --listen unix:PATH``: the host's end of an enclave's egress.

It runs outside and nobody trusts it. It resolves the name, dials, and passes bytes. With ``--only`` the host
narrows what it dials for an enclave; it cannot widen what the enclave asks for.
"""

import argparse
import asyncio
import contextlib
import signal
import sys

from nacre.enclave.agent.config import Limits
from nacre.enclave.agent.connection import Connection
from nacre.enclave.agent.listen import Listener
from nacre.enclave.tunnel import Streams, dialled, insist, serve
from nacre.errors import NacreError

__all__ = ["Uplink", "main"]

_CONNECTIONS = 4096
_IDLE = 900.0
_FAILED = 78


class Uplink:
    """Dials for an enclave."""

    def __init__(
        self, *, limits: Limits, only: frozenset[str] | None = None, dial: float = 10.0, idle: float = _IDLE
    ) -> None:
        """Say how patiently, and whether to some targets only."""
        self._limits = limits
        self._only = only
        self._seconds = dial
        self._idle = idle

    async def serve(self, connection: Connection) -> None:
        """Serve one connection."""
        limits = self._limits
        await serve(
            connection.streams,
            self._reached,
            limit=limits.header,
            patience=limits.patience,
            idle=self._idle,
        )

    async def _reached(self, target: str) -> Streams:
        if self._only is not None:
            insist(target, self._only)
        return await dialled(f"tcp:{target}", patience=self._seconds)


async def _run(listen: str, only: list[str] | None) -> None:
    limits = Limits(connections=_CONNECTIONS)
    uplink = Uplink(limits=limits, only=None if only is None else frozenset(only))
    listener = Listener(listen, uplink.serve, limits=limits)
    told = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, told.set)
    await listener.open()
    sys.stderr.write(f"uplink: listening at {listen}\n")
    sys.stderr.flush()
    await told.wait()
    await listener.close()


def main(arguments: list[str]) -> int:
    """Run until told to end."""
    parser = argparse.ArgumentParser(prog="python -m nacre.enclave.uplink", description=__doc__)
    parser.add_argument("--listen", required=True, metavar="unix:PATH|vsock:PORT|tcp:HOST:PORT")
    parser.add_argument("--only", action="append", metavar="HOST:PORT", help="dial nothing else; repeatable")
    options = parser.parse_args(arguments)
    try:
        with contextlib.suppress(KeyboardInterrupt):
            asyncio.run(_run(options.listen, options.only))
    except NacreError as error:
        sys.stderr.write(f"uplink: {error.code}: {error}\n")
        return _FAILED
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
