# SPDX-License-Identifier: Apache-2.0
"""One enclave of this machine from its start to its end, however it is started: its port, its log, its state.

If this process is killed, so is what it started.
"""

import asyncio
import contextlib
import os
import shutil
import signal
import socket
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Literal

import msgspec

from nacre.build.app import App
from nacre.enclave.instances import Instance, Instances, Process
from nacre.enclave.launch.forward import forward
from nacre.enclave.launch.launcher import Inside, find
from nacre.enclave.tunnel import dialled
from nacre.errors import EnclaveError

__all__ = ["supervise", "tail"]

_HOST = "127.0.0.1"
_POLL, _DIAL = 0.02, 10.0
_TAIL = 2000
_ASK = b"GET /.well-known/nacre/ HTTP/1.1\r\nhost: enclave\r\nconnection: close\r\n\r\n"


async def supervise(
    instances: Instances,
    instance: Instance,
    *,
    port: int = 0,
    ready: Callable[[Instance], None] = lambda _: None,
) -> int:
    """Run an instance that ``prepare.create`` made, until it ends or SIGTERM or SIGINT tells it to.

    Args:
        instances: Those of this user.
        instance: Which one.
        port: The TCP port of 127.0.0.1 to listen at; 0: any.
        ready: Called with the instance once it answers.

    Returns:
        Its exit status; 0 if it was told to end. Then its folder is gone; otherwise it stays, with the log.

    Raises:
        EnclaveError: It cannot be started.
    """
    instance = msgspec.structs.replace(instance, supervisor=Process.of(os.getpid()))
    instances.write(instance)
    status: int | None = 1
    try:
        with _listening(port) as listening:
            status = await _run(instances, instance, listening, ready)
    finally:
        if status is None or not instances.log(instance.id).exists():
            instances.remove(instance)
        else:
            shutil.rmtree(instance.runtime, ignore_errors=True)
            instances.write(msgspec.structs.replace(instance, ended=status))
    return status or 0


def tail(log: Path) -> str:
    """Return the end of a log, for an error message."""
    with contextlib.suppress(OSError):
        return log.read_text(encoding="utf-8", errors="replace")[-_TAIL:].strip()
    return ""


async def _run(
    instances: Instances,
    instance: Instance,
    listening: socket.socket,
    ready: Callable[[Instance], None],
) -> int | None:
    """Return the agent's exit status, or None if it was told to end."""
    app = App.load(instance.source)
    launcher = find(instance.launcher)
    launcher.insist(instance)
    folder = instances.folder(instance.id)
    async with contextlib.AsyncExitStack() as running:
        ending = await running.enter_async_context(_told_to_end())
        inside = await running.enter_async_context(launcher.start(instance, app, folder))
        ended = asyncio.ensure_future(inside.wait())
        told_so = asyncio.ensure_future(ending.wait())
        try:
            await _answering(inside, folder / "log", ended, told_so, patience=launcher.PATIENCE)
            server = await asyncio.start_server(forward(inside.public), sock=listening)
            running.callback(server.close)
            instance = msgspec.structs.replace(instance, port=listening.getsockname()[1])
            instances.write(instance)
            if not told_so.done():
                ready(instance)
            await asyncio.wait({ended, told_so}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            told_so.cancel()
            if not ended.done():
                ended.cancel()
        return None if ending.is_set() else ended.result()


def _listening(port: int) -> socket.socket:
    try:
        return socket.create_server((_HOST, port), backlog=256)
    except (OSError, OverflowError) as error:
        problem = getattr(error, "strerror", None) or str(error)
        raise EnclaveError("run-port", what=port, actual=problem) from None


@contextlib.asynccontextmanager
async def _told_to_end() -> AsyncIterator[asyncio.Event]:
    loop = asyncio.get_running_loop()
    ending = asyncio.Event()
    numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
    for number in numbers:
        loop.add_signal_handler(number, ending.set)
    try:
        yield ending
    finally:
        for number in numbers:
            loop.remove_signal_handler(number)


async def _answering(
    inside: Inside,
    log: Path,
    ended: "asyncio.Future[int]",
    told_so: "asyncio.Task[Literal[True]]",
    *,
    patience: float,
) -> None:
    """Wait until the agent answers, or somebody says that it need not any more.

    Raises:
        EnclaveError: ``run-failed`` or ``run-silent``.
    """
    deadline = time.monotonic() + patience
    while not told_so.done() and not await _answers(inside.public):
        if ended.done():
            raise EnclaveError("run-failed", actual=tail(log) or f"status {ended.result()}")
        if time.monotonic() > deadline:
            raise EnclaveError("run-silent", expected=int(patience), actual=tail(log))
        await asyncio.sleep(_POLL)


async def _answers(public: str) -> bool:
    """Ask for anything: who passes a connection on may take it long before the agent is there."""
    with contextlib.suppress(EnclaveError, OSError, TimeoutError):
        reader, writer = await dialled(public, patience=_DIAL)
        try:
            writer.write(_ASK)
            async with asyncio.timeout(_DIAL):
                return bool(await reader.read(1))
        finally:
            writer.close()
    return False
