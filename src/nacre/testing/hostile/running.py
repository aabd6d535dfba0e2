# SPDX-License-Identifier: Apache-2.0
"""One run: a client calls an application's invariants while its host does what the plan says."""

import asyncio
import shutil
import signal
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Literal, TypeVar

import msgspec

from nacre.build.app import App
from nacre.enclave.launch.process import insist_on_sandbox
from nacre.errors import ConfigurationError, EnclaveError
from nacre.testing.hostile.client import Ended, Offer
from nacre.testing.hostile.events import Event, Log
from nacre.testing.hostile.faults import FAULTS, Kind, impossible
from nacre.testing.hostile.guest import Setup
from nacre.testing.hostile.host import Host
from nacre.testing.hostile.network import Network
from nacre.testing.hostile.plan import Call, Only, Round, draw, keep
from nacre.testing.hostile.world import World

__all__ = ["Broken", "Report", "Step", "run"]

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


class Step(msgspec.Struct, frozen=True):
    """What came of one round.

    Attributes:
        round: What was planned.
        how: How the call ended.
        events: What the host did meanwhile.
    """

    round: Round
    how: Literal["held", "unanswered", "broken"]
    events: tuple[Event, ...]


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What came of a run.

    Attributes:
        app: The application's name.
        platform: The simulated platform.
        verdict: ``incomplete``: no call was answered, no fault was applied, or one that was asked for
            was not.
        seed: With which the same plan is drawn again.
        rounds: How many were planned.
        faults: Those that were asked for by name; empty: all that the application gives an opportunity for.
        only: The rounds of the plan that were run, if not all.
        applied: How often each fault met the enclave, its traffic or a host's answer.
        not_tried: Faults that could not be tried, and why.
        events: What the host did, in order, and to what effect.
        held: How many calls ended well.
        unanswered: How many ended because no answer came.
        broken: The invariant that did not hold; the run ends with it.
        run: The rounds that were run.
        shortest: The fewest rounds found that break an invariant, if any were looked for.
        tries: How many sequences were tried for that.
    """

    app: str
    platform: str
    verdict: Literal["held", "broken", "incomplete"]
    seed: int
    rounds: int
    faults: tuple[Kind, ...]
    only: Only | None
    applied: Mapping[Kind, int]
    not_tried: Mapping[Kind, str]
    events: tuple[Event, ...]
    held: int
    unanswered: int
    broken: Broken | None = None
    run: tuple[Round, ...] = ()
    shortest: tuple[Round, ...] = ()
    tries: int = 0


class _Task(msgspec.Struct, frozen=True):
    """What to run."""

    folder: Path
    app: App
    platform: str
    seed: int
    rounds: int
    faults: tuple[Kind, ...]
    only: Only | None
    tell: Callable[[Step], None]


def run(
    folder: Path,
    *,
    seed: int,
    rounds: int,
    platform: str = "nitro",
    faults: Sequence[Kind] = (),
    only: Only | None = None,
    tell: Callable[[Step], None] = lambda _: None,
) -> Report:
    """Run an application under a hostile host.

    Args:
        folder: That of ``nacre.toml`` and ``invariants.py``.
        seed: Of the plan.
        rounds: How many faults and calls, at most: a broken invariant ends the run.
        platform: The platform to simulate.
        faults: What the host may do; all, if empty.
        only: Run only some rounds of the plan.
        tell: Called after each round.

    Raises:
        ConfigurationError: ``nacre.toml`` cannot be used; ``hostile-invariants``.
        BuildError: The application's files cannot be measured.
        EnclaveError: ``base-unbuilt``, ``hostile-start``, ``sandbox-missing``; the development root's.
    """
    insist_on_sandbox()
    app = App.load(folder)
    if not app.entry:
        raise EnclaveError("base-unbuilt", what=app.name)
    if not (folder / _FILE).is_file():
        raise ConfigurationError("hostile-invariants", what=_FILE, actual=f"there is none in {folder}")
    place = Path(tempfile.mkdtemp(prefix="nacre-"))  # its path leaves room for a socket's name
    task = _Task(folder.resolve(), app, platform, seed, rounds, tuple(faults), only, tell)
    try:
        return asyncio.run(_run(task, place))
    except asyncio.CancelledError:
        raise KeyboardInterrupt from None
    finally:
        shutil.rmtree(place, ignore_errors=True)


async def _run(task: _Task, place: Path) -> Report:
    if (current := asyncio.current_task()) and threading.current_thread() is threading.main_thread():
        # Whoever is told to end leaves no enclave behind.
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, current.cancel)
    app = task.app
    setup = Setup.prepare(app, task.folder / app.source, folder=place, platform=task.platform)
    not_tried = impossible(app)
    kinds = [kind for kind in task.faults or FAULTS if kind not in not_tried]
    if setup.clock.missing:
        not_tried["clock"] = setup.clock.missing
    log = Log()
    async with AsyncExitStack() as stack:
        client = _Client(await _started(task.folder, setup.source, place))
        stack.push_async_callback(client.end)
        offer = await client.read(Offer)
        _insist(offer, app)
        plan = draw(task.seed, rounds=task.rounds, methods=offer.methods, names=offer.names, kinds=kinds)
        plan = plan if task.only is None else keep(plan, task.only)
        network = await stack.enter_async_context(Network(place / "client", log))
        world = None
        if app.egress:
            world = await stack.enter_async_context(World(app.egress, place / "world", place / "tls", log))
            setup.trust(world.certificate)
        host = await stack.enter_async_context(
            Host(setup, place, plan, network=network, world=world, log=log)
        )
        steps: list[Step] = []
        broken = None
        for turn in plan:
            done = len(log.events)
            ended = await _turn(client, host, world, turn)
            steps.append(Step(turn, ended.how, tuple(log.events[done:])))
            task.tell(steps[-1])
            if ended.how == "broken":
                broken = Broken(turn.number, turn.call, ended.words)
                break
        return _report(task, steps, not_tried, broken)


async def _turn(client: "_Client", host: Host, world: World | None, turn: Round) -> Ended:
    await host.before(turn)
    ended = await client.call(turn.call)
    await host.after()
    if world and world.problem:
        raise ConfigurationError("hostile-invariants", what=_FILE, actual=world.problem)
    return ended


def _report(
    task: _Task, steps: Sequence[Step], not_tried: Mapping[Kind, str], broken: Broken | None
) -> Report:
    events = tuple(event for step in steps for event in step.events)
    applied = Counter(event.kind for event in events)
    ended = Counter(step.how for step in steps)
    verdict: Literal["held", "broken", "incomplete"] = "held"
    if broken:
        verdict = "broken"
    elif not ended["held"] or not applied or not applied.keys() >= set(task.faults):
        verdict = "incomplete"
    return Report(
        app=task.app.name,
        platform=task.platform,
        verdict=verdict,
        seed=task.seed,
        rounds=task.rounds,
        faults=task.faults,
        only=task.only,
        applied={kind: applied[kind] for kind in FAULTS if kind in applied},
        not_tried={kind: why for kind, why in not_tried.items() if kind in (task.faults or FAULTS)},
        events=events,
        held=ended["held"],
        unanswered=ended["unanswered"],
        broken=broken,
        run=tuple(step.round for step in steps),
    )


def _insist(offer: Offer, app: App) -> None:
    """Insist on invariants that can be called, and that answer for just the hosts that the app may ask."""
    problem = offer.problem
    if not problem and set(offer.hosts) != set(app.egress):
        answered, asked = (", ".join(hosts) or "nobody" for hosts in (offer.hosts, app.egress))
        problem = f"world answers for {answered}, and egress in nacre.toml names {asked}"
    if problem:
        raise ConfigurationError("hostile-invariants", what=_FILE, actual=problem)


async def _started(folder: Path, source: Path, place: Path) -> asyncio.subprocess.Process:
    words = (str(folder), str(source), str(place / "client"), str(place / "world"))
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-B", "-m", "nacre.testing.hostile", *words),
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
