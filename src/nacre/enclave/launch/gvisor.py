# SPDX-License-Identifier: Apache-2.0
"""The launcher ``gvisor``: agent and application are processes of a kernel of their own, gVisor's ``runsc``.

Their system calls are answered by a program in user space; the machine's kernel sees few of them. Agent and
application are different users in there, as in an image, and the application's files are the normalised copy
that an image would have. What the inside does not have: a network, any file but those of Python, Nacre and
the application, and the device where the application is concerned. It does not keep the machine out of its
memory. Only root can start it, because there have to be two users.

Source: opencontainers/runtime-spec, ``config.md``; google/gvisor, ``runsc/config/flags.go``.
"""

import asyncio
import contextlib
import json
import os
import shutil
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from nacre.build.app import App
from nacre.build.layout import APP, USER
from nacre.build.tree import Tree
from nacre.enclave.instances import Instance
from nacre.enclave.launch.faults import insist_on_faults
from nacre.enclave.launch.leash import leashed
from nacre.enclave.launch.prepare import Places, software, told
from nacre.enclave.launch.simulated import LIMITS, emulator, insist_unchanged, registers, release_of, uplink
from nacre.enclave.launch.spawned import Spawned, spawned
from nacre.errors import EnclaveError

__all__ = ["MODE", "PATIENCE", "insist", "limits", "release", "start"]

MODE: Final = "simulated"
PATIENCE = 60.0

_RUNSC = "runsc"
#: Root inside does no more than the agent has to: run the application as somebody else, and end it.
_CAPABILITIES = ("CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_KILL", "CAP_SETGID", "CAP_SETUID")
_NAMESPACES = ("ipc", "mount", "network", "pid", "uts")
_NOWHERE = asyncio.subprocess.DEVNULL
_SOCKETS = Path("/run/nacre")
_LINKS = ("bin", "lib", "lib64")


def limits() -> str:
    """Say what it does not protect from, or prove."""
    return LIMITS


def insist(instance: Instance) -> None:
    """Look for gVisor.

    Raises:
        EnclaveError: ``gvisor-missing``, ``gvisor-root``, ``fault-…``.
    """
    insist_on_faults(instance)
    if shutil.which(_RUNSC) is None:
        raise EnclaveError("gvisor-missing")
    if os.geteuid() != 0:
        raise EnclaveError("gvisor-root")


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
    tree = Tree.read(Path(instance.source) / app.source)
    insist_unchanged(instance, app, tree, folder)
    values = registers(instance, app, tree)
    with emulator(instance, values, folder, closing=False) as hardware:
        config = told(
            instance,
            app,
            places,
            devices=hardware.paths,
            endorsements=hardware.endorsements,
            directory=Path(APP),
            sockets=_SOCKETS,
            user=USER,
        )
        places.config.touch(mode=0o600)
        places.config.write_bytes(config.encode())
        name, runsc = f"nacre-{instance.id}", (_RUNSC, "--root", str(places.runtime / "runsc"))
        flags = ("--platform=ptrace", "--network=none", "--host-uds=all", "--ignore-cgroups")
        command = (*runsc, *flags, "run", "--bundle", str(_bundle(places, tree)), name)

        async def ask(_: asyncio.subprocess.Process) -> None:
            """Tell the agent, not what runs it: it ends the app first."""
            telling = await asyncio.create_subprocess_exec(*runsc, "kill", name, "TERM", stderr=_NOWHERE)
            await telling.wait()

        running = spawned(leashed(command), public=f"unix:{places.public}", log=folder / "log", ask=ask)
        async with uplink(app, places), running as inside:
            yield inside


def _bundle(places: Places, tree: Tree) -> Path:
    """Write what is run: a root with nothing in it, what is mounted there, and the agent's command line."""
    bundle = places.runtime / "bundle"
    root, copy = bundle / "rootfs", bundle / "app"
    root.mkdir(parents=True)
    for name in _LINKS:
        if Path("/", name).is_symlink():
            (root / name).symlink_to(Path("/", name).readlink())
    _copy(tree, copy)
    mounts = [
        {"destination": "/proc", "type": "proc", "source": "proc"},
        {"destination": "/tmp", "type": "tmpfs", "source": "tmpfs"},  # noqa: S108 (the inside's own)
        *(_mount(path, path, "ro") for path in _readable(places)),
        _mount(copy, Path(APP), "ro"),
        # Not on this machine: there gVisor gives no socket to another user. The application makes its own
        # beside the agent's, and cannot take those away.
        {"destination": str(_SOCKETS), "type": "tmpfs", "source": "tmpfs", "options": ["mode=1777"]},
        *(_mount(path, path, "rw") for path in (places.outside, places.device)),
    ]
    agent = [sys.executable, "-IB", "-m", "nacre.enclave.agent", str(places.config)]
    (bundle / "config.json").write_text(json.dumps(_document(agent, mounts)), encoding="utf-8")
    return bundle


def _readable(places: Places) -> list[Path]:
    system = [Path("/", name) for name in _LINKS if not Path("/", name).is_symlink()]
    return [Path("/usr"), *filter(Path.is_dir, system), *software(), places.config]


def _mount(source: Path, inside: Path, how: str) -> Mapping[str, object]:
    return {"destination": str(inside), "type": "bind", "source": str(source), "options": ["rbind", how]}


def _document(command: Sequence[str], mounts: Sequence[Mapping[str, object]]) -> Mapping[str, object]:
    return {
        "ociVersion": "1.0.2",
        "hostname": "enclave",
        "root": {"path": "rootfs", "readonly": True},
        "mounts": mounts,
        "process": {
            "args": command,
            "cwd": "/",
            "env": [],
            "user": {"uid": 0, "gid": 0},
            "noNewPrivileges": True,
            "capabilities": {
                kind: list(_CAPABILITIES) for kind in ("bounding", "effective", "inheritable", "permitted")
            },
        },
        "linux": {"namespaces": [{"type": kind} for kind in _NAMESPACES]},
    }


def _copy(tree: Tree, folder: Path) -> None:
    """Write a tree's files as an image has them: everybody's to read, nobody's to write."""
    folder.mkdir()
    for entry in tree.entries:
        path = folder / entry.path
        if entry.kind == "folder":
            path.mkdir()
        elif entry.kind == "link":
            path.symlink_to(entry.target)
        else:
            with path.open("wb") as file:
                file.writelines(tree.content(entry))
            path.chmod(0o755 if entry.kind == "program" else 0o644)
    for path in (folder, *(folder / entry.path for entry in tree.entries if entry.kind == "folder")):
        path.chmod(0o755)
