# SPDX-License-Identifier: Apache-2.0
"""The launcher ``process``: agent and application are processes of this machine, in a sandbox.

It keeps the inside from the network and the machine's files, and the application from the agent and the
device. It does not keep the machine out: whoever runs it reads its memory. If the supervisor is killed, the
kernel ends the sandbox with all that is in it.
"""

import asyncio
import contextlib
import os
import shutil
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from types import ModuleType
from typing import BinaryIO, Final

import msgspec

from nacre.build.app import App
from nacre.build.tree import Tree
from nacre.enclave.boot.confine import CONFINE
from nacre.enclave.instances import Instance
from nacre.enclave.launch import bubblewrap, namespaces
from nacre.enclave.launch.ahead import compile_ahead
from nacre.enclave.launch.faults import insist_on_faults
from nacre.enclave.launch.prepare import Places, software, told
from nacre.enclave.launch.simulated import LIMITS, emulator, insist_unchanged, registers, release_of, uplink
from nacre.enclave.launch.spawned import Spawned, spawned

__all__ = [
    "MODE",
    "PATIENCE",
    "insist",
    "insist_on_sandbox",
    "limits",
    "release",
    "sandbox_maker",
    "start",
]

MODE: Final = "simulated"
PATIENCE = 20.0
_BARE = "its sandbox is made without bubblewrap, by code that few have looked at"


class _Information(msgspec.Struct):
    """What the sandbox's maker says about it."""

    pid: int = msgspec.field(name="child-pid")


def limits() -> str:
    """Say what it does not protect from, or prove."""
    return LIMITS if sandbox_maker() is bubblewrap else f"{LIMITS}; {_BARE}"


def insist(instance: Instance) -> None:
    """Look for what the sandbox is made with.

    Raises:
        EnclaveError: ``sandbox-missing``, ``fault-…``.
    """
    insist_on_faults(instance)
    insist_on_sandbox()


def insist_on_sandbox() -> None:
    """Try to make a sandbox, unless bubblewrap is there to do it.

    Raises:
        EnclaveError: ``sandbox-missing``.
    """
    if sandbox_maker() is namespaces:
        namespaces.insist()


def release(instance: Instance, app: App, tree: Tree, folder: Path) -> str:
    """Return its release, as TOML; nothing has to be made for it."""
    del folder
    return release_of(instance, app, tree)


@contextlib.asynccontextmanager
async def start(instance: Instance, app: App, folder: Path) -> AsyncIterator[Spawned]:
    """Start the hardware, the way out, and the agent in its sandbox.

    Raises:
        EnclaveError: ``run-changed``, ``run-failed``; the emulator's.
    """
    places = Places.make(instance)
    source = Path(instance.source) / app.source
    tree = Tree.read(source)
    insist_unchanged(instance, app, tree, folder)
    with emulator(instance, registers(instance, app, tree), folder) as hardware:
        made = sandbox_maker()
        config = told(
            instance,
            app,
            places,
            devices=hardware.paths,
            endorsements=hardware.endorsements,
            confine=made.confine(readable=[source], writable=[places.app], directory=source),
        )
        places.config.write_bytes(config.encode())
        compile_ahead()
        reading, writing = os.pipe()
        # No namespace keeps a machine's own kind of socket away.
        line = made.sandbox(
            [
                *(sys.executable, *CONFINE[1:]),
                *(sys.executable, "-IB", "-m", "nacre.enclave.agent", str(places.config)),
            ],
            readable=[*software(), source, places.config],
            writable=[places.app, places.outside, places.device],
            info=writing,
        )
        with os.fdopen(reading, "rb") as info:
            running = spawned(
                line,
                public=f"unix:{places.public}",
                log=folder / "log",
                ask=lambda _: _ask(info),
                passed=(writing,),
            )
            async with uplink(app, places), running as inside:
                yield inside


def sandbox_maker() -> ModuleType:
    """Return what makes the sandbox: bubblewrap, which many have looked at, if it is installed."""
    return namespaces if shutil.which("bwrap") is None else bubblewrap


async def _ask(info: BinaryIO) -> None:
    """Tell the agent itself: it ends the app first. The sandbox's maker, told, would end both at once."""
    told = await asyncio.to_thread(info.read)
    with contextlib.suppress(msgspec.MsgspecError):
        os.kill(msgspec.json.decode(told, type=_Information).pid, signal.SIGTERM)
