# SPDX-License-Identifier: Apache-2.0
"""One run: a client calls an application's invariants while its host does what the plan says."""

import asyncio
import shutil
import signal
import sys
import tempfile
import threading
from collections.abc import Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TypeVar

import msgspec

from nacre.build.app import App
from nacre.errors import ConfigurationError
from nacre.testing.hostile.client import Ended, Offer
from nacre.testing.hostile.guest import Setup
from nacre.testing.hostile.host import Event, Host
from nacre.testing.hostile.network import Network
from nacre.testing.hostile.plan import Call, Kind, draw

__all__ = ["Broken", "Report", "run"]

_T = TypeVar("_T")
_FILE = "invariants.py"
_LONGEST_LINE = 1 << 20
_PATIENCE = 120.0


class Broken(msgspec.Struct, frozen=True):
    """An invariant that did not hold.

    Attributes:
        round: The round in which it was found.
        call: What was called.
        words: What the invariant says.
    """

    round: int
    call: Call
    words: str


class Report(msgspec.Struct, frozen=True):
    """What came of a run.

    Attributes:
        app: The application's name.
        seed: With which the same plan is drawn again.
        rounds: How many were planned.
        events: What the host did, in order, and to what effect.
        not_tried: Faults that could not be tried, and why.
        held: How many calls ended well.
        unanswered: How many ended because no answer came.
        broken: The invariant that did not hold; the run ends with it.
    """

    app: str
    seed: int
    rounds: int
    events: tuple[Event, ...]
    not_tried: Mapping[Kind, str]
    held: int
    unanswered: int
    broken: Broken | None = None


def run(folder: Path, *, seed: int, rounds: int) -> Report:
    """Run an application under a hostile host.

    Args:
        folder: That of ``nacre.toml`` and ``invariants.py``.
        seed: Of the plan.
        rounds: How many faults and calls, at most: a broken invariant ends the run.

    Raises:
        ConfigurationError: ``nacre.toml`` cannot be used; ``hostile-invariants``.
        BuildError: The application's files cannot be measured.
        EnclaveError: ``hostile-start``.
    """
    app = App.load(folder)
    if not (folder / _FILE).is_file():
        raise ConfigurationError("hostile-invariants", what=_FILE, actual=f"there is none in {folder}")
    place = Path(tempfile.mkdtemp(prefix="nacre-"))  # its path leaves room for a socket's name
    try:
        return asyncio.run(_run(folder.resolve(), app, place, seed, rounds))
    except asyncio.CancelledError:
        raise KeyboardInterrupt from None
    finally:
        shutil.rmtree(place, ignore_errors=True)


async def _run(folder: Path, app: App, place: Path, seed: int, rounds: int) -> Report:
    if (task := asyncio.current_task()) and threading.current_thread() is threading.main_thread():
        # Whoever is told to end leaves no enclave behind.
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    setup = Setup.prepare(app, folder / app.source, folder=place)
    async with AsyncExitStack() as stack:
        client = _Client(await _started(folder, setup.source, place / "client"))
        stack.push_async_callback(client.end)
        offer = await client.read(Offer)
        if offer.problem:
            raise ConfigurationError("hostile-invariants", what=_FILE, actual=offer.problem)
        plan = draw(seed, rounds=rounds, methods=offer.methods, names=offer.names)
        network = await stack.enter_async_context(Network(place / "client", place))
        host = await stack.enter_async_context(Host(setup, place, network, plan))
        counts = {"held": 0, "unanswered": 0}
        broken = None
        for turn in plan:
            await host.before(turn)
            ended = await client.call(turn.call)
            await host.after(turn)
            if ended.how == "broken":
                broken = Broken(turn.number, turn.call, ended.words)
                break
            counts[ended.how] += 1
        return Report(app.name, seed, rounds, tuple(host.events), host.not_tried, **counts, broken=broken)


async def _started(folder: Path, source: Path, path: Path) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-B", "-m", "nacre.testing.hostile", str(folder), str(source), str(path)),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        limit=_LONGEST_LINE,
    )


class _Client:
    """The process that holds the invariants."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def call(self, call: Call) -> Ended:
        """Call a method."""
        if self._process.stdin:
            self._process.stdin.write(msgspec.json.encode(call) + b"\n")
        return await self.read(Ended)

    async def read(self, kind: type[_T]) -> _T:
        """Read a line."""
        line = b""
        try:
            async with asyncio.timeout(_PATIENCE):
                line = await self._process.stdout.readline() if self._process.stdout else b""
        except TimeoutError:
            self._process.kill()
        if not line:
            status = await self._process.wait()
            raise ConfigurationError(
                "hostile-invariants", what=_FILE, actual=f"its process ended with {status}"
            )
        return msgspec.json.decode(line, type=kind)

    async def end(self) -> None:
        """End it."""
        if self._process.returncode is None:
            self._process.kill()
        await self._process.wait()
