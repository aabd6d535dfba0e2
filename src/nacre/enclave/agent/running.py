# SPDX-License-Identifier: Apache-2.0
"""An agent's life: device, checks, keys, doors, app; and the end in the other order."""

import asyncio
import contextlib
import functools
import signal

from nacre.enclave.agent.api import api_router
from nacre.enclave.agent.config import Config
from nacre.enclave.agent.dstack import dstack_router
from nacre.enclave.agent.egress import Egress
from nacre.enclave.agent.enclave import Enclave
from nacre.enclave.agent.listen import Listener
from nacre.enclave.agent.server import Door, PublicDoor, public_router
from nacre.enclave.agent.supervise import Supervisor, say
from nacre.platforms.device import Device
from nacre.platforms.devices import find

__all__ = ["run", "run_with"]


async def run(config: Config) -> int:
    """Find the device and run; returns the exit status.

    Raises:
        EnclaveError: There is no device, a check failed, or a socket is taken.
    """
    return await run_with(config, find(config.devices))


async def run_with(config: Config, device: Device) -> int:
    """Run with a device until told to end, or until the app's policy says so."""
    enclave = await Enclave.start(config, device)
    for look in enclave.info().boot_checks:
        say("agent", f"{look.check}: {look.status}: {look.text}")
    doors = _doors(config, enclave)
    supervisor = Supervisor(config, restarted=functools.partial(_restarted, enclave))
    try:
        for door in doors:
            await door.open()
        say("agent", f"{config.app.name} on {enclave.platform} ({config.mode}): listening at {config.public}")
        return await _until_told(supervisor)
    finally:
        for door in reversed(doors):
            await door.close()
        enclave.close()


def _doors(config: Config, enclave: Enclave) -> list[Listener]:
    """List every socket; the app's own come first, so that they are there when it starts."""
    limits = config.limits
    api = Door(api_router(enclave))
    optional = (
        (config.dstack_socket, Door(dstack_router(enclave)).serve),
        (config.egress_socket, Egress(config).serve),
    )
    others = [
        Listener(f"unix:{path}", serve, limits=limits, owner=config.app_user)
        for path, serve in optional
        if path is not None
    ]
    return [
        Listener(f"unix:{config.socket}", api.serve, limits=limits, owner=config.app_user),
        *others,
        Listener(config.public, PublicDoor(public_router(enclave), config).serve, limits=limits),
    ]


async def _until_told(supervisor: Supervisor) -> int:
    loop = asyncio.get_running_loop()
    told = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, told.set)
    loop.add_signal_handler(signal.SIGCHLD, supervisor.bury)
    waiting = loop.create_task(told.wait())
    running = loop.create_task(supervisor.run())
    try:
        await asyncio.wait({waiting, running}, return_when=asyncio.FIRST_COMPLETED)
        if running.done() and (status := running.result()) is not None:
            return status
        await waiting
        return 0
    finally:
        await supervisor.stop()
        for task in (waiting, running):
            task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running


def _restarted(enclave: Enclave) -> None:
    enclave.restarts += 1
