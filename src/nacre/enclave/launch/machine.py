# SPDX-License-Identifier: Apache-2.0
"""The launcher ``vm``: the enclave is a machine of its own, which QEMU emulates in software.

The registers are measured from the very bytes that boot: kernel, command line and first file system. The
machine is switched off when it is told to end; the application is not asked first.
"""

import asyncio
import contextlib
import hashlib
import os
import shutil
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Final

import msgspec

from nacre.build.app import App
from nacre.build.kernel import Kernel
from nacre.build.tree import Tree
from nacre.enclave.instances import Instance
from nacre.enclave.launch.faults import read
from nacre.enclave.launch.measure import release_text
from nacre.enclave.launch.prepare import Places
from nacre.enclave.launch.simulated import emulator, uplink
from nacre.enclave.launch.vm import COMMAND_LINE, Vm, qemu, write_image
from nacre.errors import BuildError, EnclaveError
from nacre.platforms.nitro.measure import Piece, hashes, measurement

__all__ = ["LIMITS", "MODE", "PATIENCE", "insist", "release", "start"]

LIMITS = "nothing keeps this machine out of its memory; a development root signs what no hardware measured"
MODE: Final = "simulated"
PATIENCE = 180.0

_PLATFORM = "nitro"
_POLL = 0.05
_ABOUT = "Registers of a simulated machine: measured from what it boots, as Nitro measures an image."
_MEASURED = ("pcr0", "pcr1", "pcr2")


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


def insist(instance: Instance) -> None:
    """Look for QEMU.

    Raises:
        EnclaveError: ``launcher-platform``, ``vm-missing``, ``fault-…``.
    """
    if instance.platform != _PLATFORM:
        raise EnclaveError(
            "launcher-platform", what=instance.launcher, actual=instance.platform, expected=_PLATFORM
        )
    read(instance.platform, instance.options.faults)
    qemu()


def release(instance: Instance, app: App, tree: Tree, folder: Path) -> str:
    """Write what the machine is going to boot, measure it, and return its release.

    Raises:
        EnclaveError: ``vm-kernel``: there is no kernel.
        BuildError: It cannot be used, or the image cannot be written.
    """
    kernel = _kernel(instance)
    write_image(_image(folder), app, tree, kernel=kernel, release=_source(app, tree))
    shutil.copyfile(kernel.image, _booted(folder))
    return release_text(app, {_PLATFORM: _registers(folder)}, about=_ABOUT)


@contextlib.asynccontextmanager
async def start(instance: Instance, app: App, folder: Path) -> AsyncIterator[_Inside]:
    """Start the hardware and the machine.

    Raises:
        EnclaveError: ``vm-failed``, ``vm-missing``; the emulator's.
    """
    places = Places.make(instance)
    async with contextlib.AsyncExitStack() as stack:
        stack.callback(_booted(folder).unlink, missing_ok=True)
        stack.callback(_image(folder).unlink, missing_ok=True)
        hardware = stack.enter_context(emulator(instance, _registers(folder), folder))
        (places.outside / "console.log").symlink_to(folder / "log")
        await stack.enter_async_context(uplink(app, places))
        machine = Vm(
            _image(folder),
            kernel=Kernel(image=_booted(folder), modules=folder),
            app=app,
            nsm=Path(hardware.paths.nsm),
            directory=places.outside,
            uplink=places.uplink if app.egress else None,
        )
        yield _Inside(stack.enter_context(machine))


def _kernel(instance: Instance) -> Kernel:
    """Return the kernel that is named, or the one that this machine runs, if it is installed."""
    named = instance.options.kernel or os.environ.get("NACRE_KERNEL")
    image = Path(named or f"/boot/vmlinuz-{os.uname().release}")
    if not named and not image.is_file():
        raise EnclaveError("vm-kernel")
    if not image.is_file():
        return Kernel.find(image)
    version = image.name.removeprefix("vmlinuz-")
    for root in (image.absolute().parent.parent, Path("/")):
        if (modules := root / "lib/modules" / version).is_dir():
            return Kernel(image=image, modules=modules)
    raise BuildError("kernel-missing", file=named, actual=0)


def _source(app: App, tree: Tree) -> bytes:
    """Return what the agent calls its release: the whole one has registers of the image that this is in."""
    return hashlib.sha256(msgspec.json.encode([app, tree.digest.hex()], order="sorted")).digest()


def _registers(folder: Path) -> Mapping[str, bytes]:
    """Measure what the machine boots, as Nitro measures an image's parts."""
    pieces = (
        Piece("kernel", 0, _booted(folder).read_bytes()),
        Piece("command line", 0, COMMAND_LINE.encode()),
        Piece("ramdisk 0", 0, _image(folder).read_bytes()),
    )
    whole, app = (hashing() for hashing in hashes(pieces))
    found = measurement(pieces, whole, app, certificate=None).registers
    return {name: found[name] for name in _MEASURED}


def _image(folder: Path) -> Path:
    return folder / "image.cpio"


def _booted(folder: Path) -> Path:
    return folder / "kernel"
