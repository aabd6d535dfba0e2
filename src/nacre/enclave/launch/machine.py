# SPDX-License-Identifier: Apache-2.0
"""The launcher ``vm``: the enclave is a machine of its own, which QEMU emulates in software.

The registers are measured from what boots: kernel, command line and first file system, made here or by
``nacre build``. The machine is switched off when it is told to end; the application is not asked first.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

import msgspec

from nacre.build.app import App
from nacre.build.kernel import Kernel
from nacre.build.tree import Tree
from nacre.enclave.instances import Instance
from nacre.enclave.launch.booted import Booted, made, unpacked
from nacre.enclave.launch.faults import insist_on_faults
from nacre.enclave.launch.prepare import Places
from nacre.enclave.launch.simulated import emulator, uplink
from nacre.enclave.launch.vm import Vm, qemu
from nacre.errors import EnclaveError

__all__ = ["MODE", "PATIENCE", "insist", "limits", "release", "start"]

MODE: Final = "simulated"
PATIENCE = 180.0

_PLATFORM = "nitro"
_POLL = 0.05


class _Inside(msgspec.Struct, frozen=True):
    """A machine that runs."""

    machine: Vm

    @property
    def public(self) -> str:
        return f"unix:{self.machine.public}"

    async def wait(self) -> int:
        while (status := self.machine.ended()) is None:  # noqa: ASYNC110 (asyncio did not start it)
            await asyncio.sleep(_POLL)
        return status


def limits() -> str:
    """Say what it does not protect from, or prove."""
    return "nothing keeps this machine out of its memory; a development root signs what no hardware measured"


def insist(instance: Instance) -> None:
    """Look for QEMU.

    Raises:
        EnclaveError: ``launcher-platform``, ``vm-missing``, ``fault-…``.
    """
    if instance.platform != _PLATFORM:
        raise EnclaveError(
            "launcher-platform", what=instance.launcher, actual=instance.platform, expected=_PLATFORM
        )
    insist_on_faults(instance)
    qemu()


def release(instance: Instance, app: App, tree: Tree, folder: Path) -> str:
    """Make or unpack what the machine is going to boot, and return its release.

    Raises:
        BuildError, ConfigurationError, EnclaveError, MalformedEvidence: As ``booted`` raises.
    """
    return unpacked(instance, folder) if instance.options.image else made(instance, app, tree, folder)


@contextlib.asynccontextmanager
async def start(instance: Instance, app: App, folder: Path) -> AsyncIterator[_Inside]:
    """Start the hardware and the machine.

    Raises:
        EnclaveError: ``vm-failed``, ``vm-missing``; the emulator's.
    """
    places = Places.make(instance)
    booted = Booted.load(folder)
    async with contextlib.AsyncExitStack() as stack:
        stack.callback(Booted.remove, folder)
        hardware = stack.enter_context(emulator(instance, booted.registers, folder))
        await stack.enter_async_context(uplink(app, places))
        (places.outside / "console.log").symlink_to(folder / "log")
        machine = Vm(
            Booted.image(folder),
            kernel=Kernel(image=Booted.kernel(folder), modules=folder),
            app=app,
            nsm=Path(hardware.paths.nsm),
            directory=places.outside,
            uplink=places.uplink if app.egress else None,
            parameters=booted.parameters,
        )
        yield _Inside(stack.enter_context(machine))
