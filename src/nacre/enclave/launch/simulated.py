# SPDX-License-Identifier: Apache-2.0
"""What is outside of every simulated enclave: the hardware that it asks, and the way out of it.

Both are in the supervisor's process. The keys of the development root never leave it.
"""

import contextlib
import time
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

from nacre.build.app import App
from nacre.build.tree import Tree
from nacre.enclave.agent.config import Limits
from nacre.enclave.agent.listen import Listener
from nacre.enclave.emulate.emulator import Emulator
from nacre.enclave.instances import Instance
from nacre.enclave.launch import measure
from nacre.enclave.launch.faults import machine
from nacre.enclave.launch.prepare import Places, write_trust
from nacre.enclave.roots import development_root
from nacre.enclave.uplink import Uplink
from nacre.errors import EnclaveError
from nacre.platforms.simulation import simulator

__all__ = ["LIMITS", "emulator", "insist_unchanged", "registers", "release_of", "uplink"]

#: What no launcher of processes protects from, or proves.
LIMITS = "nothing keeps whoever runs it out of its memory; its registers stand for files, not for what booted"
_CONNECTIONS = 4096


def registers(instance: Instance, app: App, tree: Tree) -> Mapping[str, bytes]:
    """Return what a process shows, which has no image."""
    return measure.registers(instance.platform, app, tree)


def release_of(instance: Instance, app: App, tree: Tree) -> str:
    """Return the release of a process, as TOML."""
    return measure.release_text(app, {instance.platform: registers(instance, app, tree)})


def insist_unchanged(instance: Instance, app: App, tree: Tree, folder: Path) -> None:
    """Hold a process's release of now against the one that was written.

    Raises:
        EnclaveError: ``run-changed``: the files are not those of the release any more.
    """
    text = release_of(instance, app, tree)
    if text != (folder / "release.toml").read_text(encoding="utf-8"):
        raise EnclaveError("run-changed", what=instance.source)


def emulator(
    instance: Instance, values: Mapping[str, bytes], folder: Path, *, closing: bool = True
) -> Emulator:
    """Make the simulated hardware, and write down what it is trusted by.

    Args:
        instance: Of which enclave.
        values: The registers that it shows.
        folder: The instance's own.
        closing: Whether the inside's closing of a device's file is seen here.
    """
    now = int(time.time())
    root = development_root(simulator(instance.platform).FAMILY, at=now)
    write_trust(folder, instance.platform, root)
    return Emulator(
        machine(instance.platform, root, at=now, faults=instance.options.faults),
        registers=values,
        directory=Places(Path(instance.runtime)).device,
        clock=lambda: int(time.time()),
        closing=closing,
    )


@contextlib.asynccontextmanager
async def uplink(app: App, places: Places) -> AsyncIterator[None]:
    """Dial for the enclave, if its application declares anybody."""
    if not app.egress:
        yield
        return
    limits = Limits(connections=_CONNECTIONS)
    dialling = Uplink(limits=limits, only=frozenset(app.egress))
    listener = Listener(f"unix:{places.uplink}", dialling.serve, limits=limits)
    await listener.open()
    try:
        yield
    finally:
        await listener.close()
