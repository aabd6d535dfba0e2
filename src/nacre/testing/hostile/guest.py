# SPDX-License-Identifier: Apache-2.0
"""One simulated enclave as its host holds it: started, frozen, killed, and its disk copied and put back."""

import asyncio
import contextlib
import os
import shutil
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Self

import msgspec

from nacre.appraisal.release import Release
from nacre.build.app import App
from nacre.build.tree import Tree
from nacre.enclave.agent.config import Config, Limits
from nacre.enclave.emulate.emulator import Emulator
from nacre.enclave.launch import measure
from nacre.errors import EnclaveError
from nacre.platforms.simulation import Machine, simulator
from nacre.testing.hostile.clock import Clock

__all__ = ["DATA", "Guest", "Setup"]

#: A value of the application's environment that begins so names a place on the disk that the host keeps.
DATA = "{data}"

_PLATFORM = "nitro"
_PATIENCE, _POLL = 20.0, 0.02
_TAIL = 1000


class Setup(msgspec.Struct, frozen=True):
    """What all starts of one application share.

    Attributes:
        app: The application.
        source: A copy of its files.
        machine: The hardware; clones and restarts are on the same.
        secret: What that hardware derives sealing keys from.
        clock: The clock that the application is shown.
    """

    app: App
    source: Path
    machine: Machine
    secret: bytes
    clock: Clock

    @classmethod
    def prepare(cls, app: App, source: Path, *, folder: Path) -> Self:
        """Copy the application's files and make a machine.

        Raises:
            BuildError: The files cannot be measured.
        """
        copied = folder / "app"
        Tree.read(source)
        shutil.copytree(source, copied, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
        made, now = simulator(_PLATFORM), int(time.time())
        machine = made.machine(made.create_root(at=now), at=now)
        return cls(app, copied, machine, os.urandom(32), Clock(folder / "clock", app))

    @property
    def keeps(self) -> bool:
        """Whether the application has a disk."""
        return any(value.startswith(DATA) for value in self.app.environment.values())


class Guest:
    """One enclave; it may be killed and started again.

    Attributes:
        public: The agent's public socket.
        data: The folder that is its disk.
    """

    def __init__(self, setup: Setup, folder: Path) -> None:
        """Make its folder."""
        self.public = folder / "public"
        self.data = folder / "data"
        self._setup = setup
        self._folder = folder
        self._log = folder / "log"
        self._stack = ExitStack()
        self._process: subprocess.Popen[bytes] | None = None
        self.data.mkdir(parents=True)

    async def start(self) -> None:
        """Start emulator, agent and application, and wait until the application listens.

        Raises:
            EnclaveError: ``hostile-start``.
        """
        setup = self._setup
        registers = measure.registers(_PLATFORM, setup.app, Tree.read(setup.source))
        release = Release.parse(measure.release_text(setup.app, {_PLATFORM: registers}))
        device = self._folder / "device"
        emulator = Emulator(
            setup.machine,
            registers=registers,
            directory=device,
            clock=lambda: int(time.time()),
            secret=setup.secret,
        )
        self._stack.enter_context(emulator)
        file = self._folder / "agent.json"
        file.write_bytes(self._told(emulator, release.fingerprint.hex()).encode())
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(  # noqa: S603, ASYNC220 (it returns at once)
                [sys.executable, "-B", "-m", "nacre.enclave.agent", str(file)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        try:
            await self._up(self._process)
        except BaseException:
            self.kill()
            raise

    def kill(self) -> None:
        """End it at once, as a power cut does."""
        if self._process is not None:
            self.freeze()
            self._signal(signal.SIGKILL)
            self._process.wait()
            self._process = None
        self._stack.close()

    def freeze(self) -> None:
        """Let no process of it run: a parent first, so that it starts no others meanwhile."""
        if self._process is not None:
            _send(signal.SIGSTOP, self._process.pid)
            for process in _descendants(self._process.pid):
                _send(signal.SIGSTOP, process)

    def thaw(self) -> None:
        """Let it run on."""
        self._signal(signal.SIGCONT)

    def save(self, to: Path) -> None:
        """Copy its disk as it is at this moment."""
        self.freeze()
        try:
            shutil.copytree(self.data, to, symlinks=True, ignore=_special)
        finally:
            self.thaw()

    def put_back(self, disk: Path) -> None:
        """Give it another disk; it must not run."""
        shutil.rmtree(self.data)
        shutil.copytree(disk, self.data, symlinks=True)

    def _told(self, emulator: Emulator, release: str) -> Config:
        setup, app = self._setup, self._setup.app
        environment = {
            name: f"{self.data}{value.removeprefix(DATA)}" if value.startswith(DATA) else value
            for name, value in app.environment.items()
        }
        return Config(
            app=msgspec.structs.replace(app, environment=environment | setup.clock.environment),
            app_directory=str(setup.source),
            public=f"unix:{self.public}",
            socket=str(self._folder / "agent.sock"),
            release=release,
            mode="simulated",
            devices=emulator.paths,
            endorsements=str(emulator.endorsements),
            limits=Limits(grace=1.0),
        )

    async def _up(self, process: "subprocess.Popen[bytes]") -> None:
        """Wait until both listen; an application that gave up for good is not waited for."""
        address = self._folder / "app.sock"
        deadline = time.monotonic() + _PATIENCE
        gives_up = self._setup.app.restart in ("never", "halt")
        while time.monotonic() < deadline:
            said = self._log.read_text(encoding="utf-8", errors="replace")
            if process.poll() is not None or (gives_up and "agent: the app ended" in said):
                break
            if "listening at" in said and await _listens(address, self._setup.app.port):
                return
            await asyncio.sleep(_POLL)
        said = self._log.read_text(encoding="utf-8", errors="replace")
        raise EnclaveError("hostile-start", what=self._setup.app.name, actual=said[-_TAIL:].strip())

    def _signal(self, number: signal.Signals) -> None:
        """Reach every process of it; they are listed first, for a dead one's children are nobody's."""
        if self._process is not None:
            for process in [self._process.pid, *_descendants(self._process.pid)]:
                _send(number, process)


def _special(folder: str, names: list[str]) -> list[str]:
    """Name what has no content to copy: sockets and pipes."""
    kinds = {name: Path(folder, name).lstat().st_mode for name in names}
    return [name for name, mode in kinds.items() if stat.S_ISSOCK(mode) or stat.S_ISFIFO(mode)]


def _send(number: signal.Signals, process: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(process, number)


async def _listens(path: Path, port: int | None) -> bool:
    try:
        if port is None:
            _, writer = await asyncio.open_unix_connection(str(path))
        else:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    return True


def _descendants(parent: int) -> Iterator[int]:
    """Yield what a process started and what those did; each one's are looked up after it was yielded."""
    children = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                fields = (entry / "stat").read_text(errors="replace").rpartition(")")[2].split()
                if int(fields[1]) == parent:
                    children.append(int(entry.name))
    for child in children:
        yield child
        yield from _descendants(child)
