# SPDX-License-Identifier: Apache-2.0
"""The launchers ``nitro``, ``gramine``, ``tdx`` and ``snp``: what ``nacre build`` wrote, on hardware.

Nothing is simulated, so nothing simulated is accepted: the policy beside such an instance names the release
and no roots but the vendor's.

Not proven here:
    Any of the hardware: what is started is held against the programs' own grammars. An enclave of Nitro goes
    on when the supervisor is killed; ``nitro-cli terminate-enclave`` ends it. To prove it: ``nacre run`` with
    these launchers where the hardware is.
"""

import asyncio
import contextlib
import shlex
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

import msgspec

from nacre.appraisal.documents import read_text
from nacre.appraisal.release import Release
from nacre.build import outputs
from nacre.build.app import App
from nacre.build.tree import Tree
from nacre.enclave.configure import PUBLIC
from nacre.enclave.instances import Instance
from nacre.enclave.launch import gramine, nitro, snp, tdx
from nacre.enclave.launch.confidential import Guest
from nacre.enclave.launch.launcher import Inside
from nacre.enclave.launch.leash import leashed
from nacre.enclave.launch.spawned import spawned
from nacre.errors import EnclaveError

__all__ = ["MODE", "PATIENCE", "command", "insist", "limits", "missing", "release", "start"]

MODE: Final = "genuine"
PATIENCE = 300.0

_PLATFORMS: Final = {"gramine": "sgx", "nitro": "nitro", "snp": "snp", "tdx": "tdx"}
#: Below are the identifiers of hypervisor, loopback, host and parent; other programs choose small ones.
_FIRST_CID: Final = 1 << 16
_POLL = 1.0


class _Nitro(msgspec.Struct, frozen=True):
    """An enclave that ``nitro-cli`` started."""

    running: nitro.Running

    @property
    def public(self) -> str:
        return f"vsock:{self.running.cid}:{PUBLIC}"

    async def wait(self) -> int:
        while await asyncio.to_thread(self.lives):  # noqa: ASYNC110 (nothing else tells)
            await asyncio.sleep(_POLL)
        return 0

    def lives(self) -> bool:
        """Ask whether it still runs."""
        return any(one.identifier == self.running.identifier for one in nitro.describe())


def limits() -> str:
    """Say what it does not protect from, or prove."""
    return "whoever starts it may have started something else: what runs is what nacre verify says"


def insist(instance: Instance) -> None:
    """Look for the image, and for the hardware.

    Raises:
        EnclaveError: ``launcher-platform``, ``launch-image``, ``launch-missing``.
    """
    _insist_on_image(instance)
    lacking = missing(instance)
    if lacking:
        raise EnclaveError("launch-missing", what=instance.launcher, actual="; ".join(lacking))


def missing(instance: Instance) -> tuple[str, ...]:
    """Say what is not on this machine, in words."""
    match instance.launcher:
        case "nitro":
            return nitro.missing()
        case "gramine":
            return gramine.missing()
        case "tdx":
            return tdx.missing()
        case _:
            return snp.missing()


def release(instance: Instance, app: App, tree: Tree, folder: Path) -> str:
    """Return the image's own release, and write a policy that accepts it on hardware alone.

    Raises:
        EnclaveError: ``launch-image``: there is none, or it says nothing of the platform.
        ConfigurationError: It is no release.
    """
    del app, tree
    path = Path(instance.options.image) / outputs.RELEASE
    text = read_text(path, what="release")
    if instance.platform not in Release.parse(text, file=str(path)).variants:
        raise EnclaveError(
            "launch-image", what=str(path), actual=f"it states no registers of {instance.platform}"
        )
    (folder / "policy.toml").write_text(
        "# The release that was started, on the vendor's hardware alone.\n"
        f'releases = ["{outputs.RELEASE}"]\n',
        encoding="utf-8",
    )
    return text


def command(instance: Instance, app: App, log: Path) -> tuple[str, ...]:
    """Return the command line that starts the image.

    Args:
        instance: With launcher and image.
        app: Whose resources it gets.
        log: Where its console goes, if it has one.

    Raises:
        EnclaveError: ``launcher-platform``, ``launch-image``, ``launch-word``, ``launch-number``.
    """
    _insist_on_image(instance)
    image = Path(instance.options.image)
    match instance.launcher:
        case "nitro":
            return nitro.command(app, eif=image / outputs.EIF, cid=_cid(instance))
        case "gramine":
            return gramine.command(app, directory=image / outputs.GRAMINE)
        case "tdx":
            return tdx.command(app, _guest(instance, log))
        case _:
            return snp.command(app, _guest(instance, log))


@contextlib.asynccontextmanager
async def start(instance: Instance, app: App, folder: Path) -> AsyncIterator[Inside]:
    """Start it.

    Raises:
        EnclaveError: As ``command`` raises; ``run-failed``, ``launch-…``.
    """
    log = folder / "log"
    line = command(instance, app, log)
    if instance.launcher == "nitro":
        eif = Path(instance.options.image) / outputs.EIF
        running = _Nitro(await asyncio.to_thread(nitro.start, app, eif=eif, cid=_cid(instance)))
        log.write_text(f"{running.running.identifier}: {shlex.join(line)}\n", encoding="utf-8")
        try:
            yield running
        finally:
            if await asyncio.to_thread(running.lives):
                await asyncio.to_thread(nitro.stop, running.running.identifier)
        return
    inside = "tcp:127.0.0.1" if instance.launcher == "gramine" else f"vsock:{_cid(instance)}"
    async with spawned(leashed(line), public=f"{inside}:{PUBLIC}", log=log) as running_here:
        yield running_here


def _insist_on_image(instance: Instance) -> None:
    """Look for the platform that fits, and the image's files."""
    platform = _PLATFORMS[instance.launcher]
    if instance.platform != platform:
        raise EnclaveError(
            "launcher-platform", what=instance.launcher, actual=instance.platform, expected=platform
        )
    if instance.options.faults:
        raise EnclaveError("fault-genuine", what=instance.launcher)
    folder = Path(instance.options.image)
    if not instance.options.image:
        raise EnclaveError("launch-no-image", what=instance.launcher)
    for name in _files(instance.launcher):
        if not (folder / name).exists():
            raise EnclaveError("launch-image", what=str(folder), actual=f"there is no {name} in it")


def _files(launcher: str) -> tuple[str, ...]:
    if launcher in outputs.FIRMWARE:
        return (
            *(outputs.RELEASE, outputs.FIRMWARE[launcher]),
            *(outputs.KERNEL, outputs.INITRD, outputs.COMMAND_LINE),
        )
    return (outputs.RELEASE, outputs.EIF if launcher == "nitro" else outputs.GRAMINE)


def _guest(instance: Instance, log: Path) -> Guest:
    image = Path(instance.options.image)
    return Guest(
        firmware=image / outputs.FIRMWARE[instance.launcher],
        kernel=image / outputs.KERNEL,
        initramfs=image / outputs.INITRD,
        parameters=(image / outputs.COMMAND_LINE).read_text(encoding="utf-8"),
        cid=_cid(instance),
        log=log,
    )


def _cid(instance: Instance) -> int:
    """Return the context identifier on AF_VSOCK: each instance has one of its own."""
    return _FIRST_CID + int(instance.id or "0", 16) // 2
