# SPDX-License-Identifier: Apache-2.0
"""Passing a port of this machine on to an agent's public listener."""

import asyncio
from collections.abc import Callable

from nacre.enclave.agent.connection import Gone
from nacre.enclave.tunnel import dialled, splice
from nacre.errors import EnclaveError

__all__ = ["forward"]

_IDLE, _DIAL = 900.0, 10.0


def forward(
    public: str,
) -> Callable[[asyncio.StreamReader, asyncio.StreamWriter], "asyncio.Future[None]"]:
    """Return what passes one TCP connection on to ``unix:PATH`` or ``vsock:CID:PORT``."""
    tasks: set[asyncio.Future[None]] = set()

    async def passed(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            far = await dialled(public, patience=_DIAL)
        except EnclaveError:
            writer.transport.abort()
            return
        try:
            await splice((reader, writer), far, idle=_IDLE)
        except (Gone, OSError, asyncio.CancelledError):
            writer.transport.abort()
        finally:
            far[1].close()
            writer.close()

    def called(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> "asyncio.Future[None]":
        task = asyncio.ensure_future(passed(reader, writer))
        tasks.add(task)
        task.add_done_callback(tasks.discard)
        return task

    return called
