# SPDX-License-Identifier: Apache-2.0
"""One simulated enclave as its host holds it: started, frozen, killed, and its disk copied and put back.

It runs in the sandbox of ``nacre run``: no network, processes of its own, a read-only system.
"""

import asyncio
import contextlib
import os
import shutil
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Self

import msgspec

from nacre.appraisal.release import Release
from nacre.build.app import App
from nacre.build.tree import Tree
from nacre.enclave.agent.config import Config, Limits
from nacre.enclave.agent.listen import Listener, Serve
from nacre.enclave.emulate.emulator import Emulator
from nacre.enclave.launch import measure
from nacre.enclave.launch.prepare import Places, software
from nacre.enclave.launch.process import sandbox_maker
from nacre.enclave.roots import development_root
from nacre.errors import EnclaveError
from nacre.platforms.simulation import Machine, simulator
from nacre.testing.hostile.clock import Clock
from nacre.testing.hostile.faults import DATA

__all__ = ["Guest", "Setup"]

_PATIENCE, _POLL = 60.0, 0.02
_TAIL = 1000
_AUTHORITY = "authority.pem"
#: What /proc/net/tcp says of a socket that listens.
_LISTENING = "0A"


class Setup(msgspec.Struct, frozen=True):
    """What all starts of one application share.

    Attributes:
        app: The application.
        source: A copy of its files.
        shown: A folder that it sees beside them, as the host writes it.
        registers: What that source is measured as.
        release: The fingerprint of its release.
        machine: The hardware; clones and restarts are on the same.
        secret: What that hardware derives sealing keys from.
        clock: The clock that the application is shown.
    """

    app: App
    source: Path
    shown: Path
    registers: Mapping[str, bytes]
    release: str
    machine: Machine
    secret: bytes
    clock: Clock

    @classmethod
    def prepare(cls, app: App, source: Path, *, folder: Path, platform: str) -> Self:
        """Copy the application's files and take a machine, under this user's development root.

        Raises:
            BuildError: The files cannot be measured.
            EnclaveError: There is no development root, and none can be made.
        """
        copied, shown = folder / "source", folder / "shown"
        registers = measure.registers(platform, app, Tree.read(source))
        release = Release.parse(measure.release_text(app, {platform: registers})).fingerprint.hex()
        shutil.copytree(source, copied, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
        shown.mkdir()
        made, now = simulator(platform), int(time.time())
        machine = made.machine(development_root(made.FAMILY, at=now), at=now)
        return cls(
            app=app,
            source=copied,
            shown=shown,
            registers=registers,
            release=release,
            machine=machine,
            secret=os.urandom(32),
            clock=Clock(shown / "clock", app),
        )

    def trust(self, certificate: bytes) -> None:
        """Have the application's TLS trust an authority, in the variable that OpenSSL reads."""
        (self.shown / _AUTHORITY).write_bytes(certificate)


class Guest:
    """One enclave; it may be killed and started again.

    Attributes:
        public: The agent's public socket.
        data: The folder that is its disk.
    """

    def __init__(self, setup: Setup, folder: Path, *, uplink: Serve | None) -> None:
        """Make its folder.

        Args:
            setup: What to run.
            folder: A folder of its own, to be made.
            uplink: Serves a connection of its egress, if it has one.
        """
        self._places = Places(folder)
        self.public = self._places.public
        self.data = folder / "data"
        self._setup = setup
        self._uplink = uplink
        self._log = folder / "log"
        self._stack = AsyncExitStack()
        self._process: subprocess.Popen[bytes] | None = None
        self.data.mkdir(parents=True)

    async def start(self) -> None:
        """Start emulator, agent and application, and wait until the application listens.

        Raises:
            EnclaveError: ``hostile-start``.
        """
        setup, places = self._setup, self._places
        for folder in (places.app, places.outside, places.device):
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
        emulator = Emulator(
            setup.machine,
            registers=setup.registers,
            directory=places.device,
            clock=lambda: int(time.time()),
            secret=setup.secret,
        )
        try:
            self._stack.enter_context(emulator)
            if self._uplink:
                listener = Listener(f"unix:{places.uplink}", self._uplink, limits=Limits())
                await listener.open()
                self._stack.push_async_callback(listener.close)
            places.config.write_bytes(self._told(emulator).encode())
            self._process = self._started()
            await self._up(self._process)
        except BaseException:
            await self.kill()
            raise

    async def kill(self) -> None:
        """End it at once, as a power cut does."""
        if self._process is not None:
            self.freeze()
            self._signal(signal.SIGKILL)
            await asyncio.to_thread(self._process.wait)
            self._process = None
        await self._stack.aclose()

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

    def _started(self) -> "subprocess.Popen[bytes]":
        places = self._places
        line = sandbox_maker().sandbox(
            [sys.executable, "-IB", "-m", "nacre.enclave.agent", str(places.config)],
            readable=[*software(), self._setup.source, self._setup.shown, places.config],
            writable=[places.app, places.outside, places.device, self.data],
        )
        try:
            with self._log.open("wb") as log:
                return subprocess.Popen(  # noqa: S603 (running it is what this is for)
                    line, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
                )
        except OSError as error:
            problem = error.strerror or str(error)
            raise EnclaveError("hostile-start", what=self._setup.app.name, actual=problem) from None

    def _told(self, emulator: Emulator) -> Config:
        setup, app, places = self._setup, self._setup.app, self._places
        environment = {
            name: f"{self.data}{value.removeprefix(DATA)}" if value.startswith(DATA) else value
            for name, value in app.environment.items()
        }
        played = {"SSL_CERT_FILE": str(setup.shown / _AUTHORITY)} if app.egress else {}
        return Config(
            app=msgspec.structs.replace(app, environment=played | setup.clock.environment | environment),
            app_directory=str(setup.source),
            public=f"unix:{self.public}",
            socket=str(places.app / "agent.sock"),
            egress_socket=str(places.app / "egress.sock") if app.egress else None,
            uplink=f"unix:{places.uplink}" if app.egress else None,
            release=setup.release,
            mode="simulated",
            devices=emulator.paths,
            endorsements=str(emulator.endorsements),
            confine=sandbox_maker().confine(
                readable=[setup.source, setup.shown],
                writable=[places.app, self.data],
                directory=setup.source,
            ),
            limits=Limits(grace=1.0),
        )

    async def _up(self, process: "subprocess.Popen[bytes]") -> None:
        """Wait until the application listens; one that gave up for good is not waited for."""
        deadline = time.monotonic() + _PATIENCE
        gives_up = self._setup.app.restart in ("never", "halt")
        while time.monotonic() < deadline:
            if await self._listens(process):
                return
            said = self._log.read_text(encoding="utf-8", errors="replace")
            if process.poll() is not None or (gives_up and "agent: the app ended" in said):
                break
            await asyncio.sleep(_POLL)
        said = self._log.read_text(encoding="utf-8", errors="replace")
        raise EnclaveError("hostile-start", what=self._setup.app.name, actual=said[-_TAIL:].strip())

    async def _listens(self, process: "subprocess.Popen[bytes]") -> bool:
        port = self._setup.app.port
        if port is not None:
            # A port inside cannot be reached from here, but who listens inside can be read.
            inside = next(_descendants(process.pid), None)
            return inside is not None and port in _ports(inside)
        try:
            _, writer = await asyncio.open_unix_connection(str(self._places.app / "app.sock"))
        except OSError:
            return False
        writer.close()
        return True

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


def _ports(process: int) -> Iterator[int]:
    """Yield the TCP ports that somebody listens at in the network of a process."""
    for name in ("tcp", "tcp6"):
        with contextlib.suppress(OSError):
            for line in Path("/proc", str(process), "net", name).read_text("ascii").splitlines()[1:]:
                _, local, _, state, *_ = line.split()
                if state == _LISTENING:
                    yield int(local.rpartition(":")[2], 16)


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
