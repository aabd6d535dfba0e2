# SPDX-License-Identifier: Apache-2.0
"""One simulated process from its start to its end: emulator, uplink, agent in its sandbox, and a TCP port.

The emulator and its keys are in this process, outside the sandbox. If this process is killed, the kernel
ends the sandbox with all that is in it.
"""

import asyncio
import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Literal

import msgspec

from nacre.build.app import App
from nacre.build.tree import Tree
from nacre.enclave.agent.config import Limits
from nacre.enclave.agent.connection import Gone
from nacre.enclave.agent.listen import Listener
from nacre.enclave.emulate.emulator import Emulator
from nacre.enclave.instances import Instance, Instances, Process
from nacre.enclave.launch import measure
from nacre.enclave.launch.prepare import Places, software, told, write_trust
from nacre.enclave.launch.process import sandbox
from nacre.enclave.roots import development_root
from nacre.enclave.tunnel import dialled, splice
from nacre.enclave.uplink import Uplink
from nacre.errors import EnclaveError
from nacre.platforms.nitro.policy import parent_register
from nacre.platforms.nitro.simulate import INSTANCE
from nacre.platforms.simulation import simulator

__all__ = ["insist_on_sandbox", "supervise", "tail"]

_HOST = "127.0.0.1"
_PATIENCE, _POLL = 20.0, 0.02
#: Seconds for the agent and the app to end when asked; the app's own grace is shorter.
_GRACE = 20.0
_IDLE, _DIAL = 900.0, 10.0
_TAIL = 2000
_CONNECTIONS = 4096


class _Information(msgspec.Struct):
    """What bubblewrap says about itself."""

    pid: int = msgspec.field(name="child-pid")


def insist_on_sandbox() -> None:
    """Look for what the sandbox is made with.

    Raises:
        EnclaveError: ``sandbox-missing``.
    """
    if shutil.which("bwrap") is None:
        raise EnclaveError("sandbox-missing")


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
        with ExitStack() as stack:
            listening = stack.enter_context(_listening(port))
            status = await _run(instances, instance, stack, listening, ready)
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
    stack: ExitStack,
    listening: socket.socket,
    ready: Callable[[Instance], None],
) -> int | None:
    """Return the agent's exit status, or None if it was told to end."""
    insist_on_sandbox()
    app = App.load(instance.source)
    places = Places(Path(instance.runtime))
    for folder in (places.app, places.outside, places.device):
        folder.mkdir(mode=0o700)
    emulator = stack.enter_context(_emulator(instances, instance, app, places))
    config = told(instance, app, places, emulator.paths, emulator.endorsements)
    places.config.write_bytes(config.encode())
    async with contextlib.AsyncExitStack() as running:
        ending = await running.enter_async_context(_told_to_end())
        if app.egress:
            await running.enter_async_context(_uplink(app, places))
        agent = await running.enter_async_context(_agent(instances.log(instance.id), app, instance, places))
        ended = asyncio.ensure_future(agent.wait())
        told_so = asyncio.ensure_future(ending.wait())
        try:
            await _answering(places.public, ended, told_so, instances.log(instance.id))
            server = await asyncio.start_server(_forward(places.public), sock=listening)
            running.callback(server.close)
            instance = msgspec.structs.replace(instance, port=listening.getsockname()[1])
            instances.write(instance)
            if not told_so.done():
                ready(instance)
            await asyncio.wait({ended, told_so}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            told_so.cancel()
        return None if ending.is_set() else ended.result()


def _listening(port: int) -> socket.socket:
    try:
        return socket.create_server((_HOST, port), backlog=256)
    except (OSError, OverflowError) as error:
        problem = getattr(error, "strerror", None) or str(error)
        raise EnclaveError("run-port", what=port, actual=problem) from None


def _emulator(instances: Instances, instance: Instance, app: App, places: Places) -> Emulator:
    """Make the simulated hardware, with the registers of the files as they are now.

    Raises:
        EnclaveError: ``run-changed``: they are not those of the release any more.
    """
    now = int(time.time())
    registers = measure.registers(instance.platform, app, Tree.read(Path(instance.source) / app.source))
    folder = instances.folder(instance.id)
    text = measure.release_text(app, {instance.platform: registers})
    if text != (folder / "release.toml").read_text(encoding="utf-8"):
        raise EnclaveError("run-changed", what=instance.source)
    simulated = simulator(instance.platform)
    root = development_root(simulated.FAMILY, at=now)
    write_trust(folder, instance.platform, root)
    return Emulator(
        simulated.machine(root, at=now),
        registers={**_of_parent(instance.platform), **registers},
        directory=places.device,
        clock=lambda: int(time.time()),
    )


def _of_parent(platform: str) -> Mapping[str, bytes]:
    """Return the register that Nitro fills in with where the enclave runs."""
    return {"pcr4": parent_register(INSTANCE)} if platform == "nitro" else {}


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


@contextlib.asynccontextmanager
async def _uplink(app: App, places: Places) -> AsyncIterator[None]:
    limits = Limits(connections=_CONNECTIONS)
    uplink = Uplink(limits=limits, only=frozenset(app.egress))
    listener = Listener(f"unix:{places.uplink}", uplink.serve, limits=limits)
    await listener.open()
    try:
        yield
    finally:
        await listener.close()


@contextlib.asynccontextmanager
async def _agent(
    log: Path, app: App, instance: Instance, places: Places
) -> AsyncIterator[asyncio.subprocess.Process]:
    """Start the agent in its sandbox; afterwards it is asked to end, and made to."""
    reading, writing = os.pipe()
    line = sandbox(
        [sys.executable, "-IB", "-m", "nacre.enclave.agent", str(places.config)],
        readable=[*software(), Path(instance.source) / app.source, places.config],
        writable=[places.app, places.outside, places.device],
        info=writing,
    )
    try:
        with log.open("ab") as said:
            process = await asyncio.create_subprocess_exec(
                *line,
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
                pass_fds=(writing,),
                # A terminal's signals are for this process, which ends the inside in order.
                start_new_session=True,
            )
    except OSError as error:
        os.close(reading)
        raise EnclaveError("run-failed", actual=error.strerror or str(error)) from None
    finally:
        os.close(writing)
    try:
        yield process
    finally:
        await _end(process, reading)


async def _end(process: asyncio.subprocess.Process, reading: int) -> None:
    with os.fdopen(reading, "rb") as stream:
        told = await asyncio.to_thread(stream.read)
    if process.returncode is None:
        with contextlib.suppress(msgspec.MsgspecError, ProcessLookupError):
            # Told itself, the agent ends the app first; bubblewrap, told, would end both at once.
            os.kill(msgspec.json.decode(told, type=_Information).pid, signal.SIGTERM)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(process.wait(), _GRACE)
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


async def _answering(
    public: Path, ended: "asyncio.Future[int]", told_so: "asyncio.Task[Literal[True]]", log: Path
) -> None:
    """Wait until the agent listens.

    Raises:
        EnclaveError: ``run-failed`` or ``run-silent``.
    """
    deadline = time.monotonic() + _PATIENCE
    while not told_so.done():
        if ended.done():
            raise EnclaveError("run-failed", actual=tail(log) or f"status {ended.result()}")
        with contextlib.suppress(EnclaveError):
            _, writer = await dialled(f"unix:{public}", patience=_DIAL)
            writer.close()
            return
        if time.monotonic() > deadline:
            raise EnclaveError("run-silent", expected=int(_PATIENCE), actual=tail(log))
        await asyncio.sleep(_POLL)


def _forward(
    public: Path,
) -> Callable[[asyncio.StreamReader, asyncio.StreamWriter], "asyncio.Future[None]"]:
    """Return what passes one TCP connection on to the agent."""
    tasks: set[asyncio.Future[None]] = set()

    async def passed(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            far = await dialled(f"unix:{public}", patience=_DIAL)
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
