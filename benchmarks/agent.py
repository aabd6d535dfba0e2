# SPDX-License-Identifier: Apache-2.0
"""The agent's evidence, against what the same server does for nothing and the one signature in it.

The agent is a process of its own, asked over eight kept connections on its Unix socket, since a rate is that
of a server that has something to do, with the driver that ships; the device is emulated, as for any
developer, in the process that asks. What no agent could do without is the floor: an answer of the same server
with nothing in it, and one signature of the kind that the platform's hardware makes for evidence. The goal,
0.6 of the floor's rate, is for the agent's own processor time, all its threads together; the signature, which
hardware makes, is added on both sides. Where a device is files, FUSE and its way to the emulator and back are
in that time, and hardware's files are not like that; and the signature of an Intel platform is so cheap that
the floor is little more than the empty answer. The wall's time has in it all that the emulator does in
Python, which hardware replaces, and is given for information.
"""

import asyncio
import contextlib
import functools
import re
import secrets
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from benchmarks.rounds import Budget, Contender, Measured, Row, microseconds, race, ratio, serve
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from nacre.build.app import App
from nacre.enclave.agent.config import Config, Limits
from nacre.enclave.agent.enclave import Enclave
from nacre.enclave.agent.listen import Listener
from nacre.enclave.agent.routing import Request, Response
from nacre.enclave.agent.server import PublicDoor, public_router
from nacre.enclave.emulate.emulator import Emulator
from nacre.enclave.envelope import PATH
from nacre.platforms.devices import find
from nacre.platforms.simulation import simulator

QUICK = Budget(rounds=2, pieces=80, processes=0)
FULL = Budget(rounds=40, pieces=2_000, processes=0)

_SECTION = "Agent"
_EMPTY = "/.well-known/nacre/empty"
_MESSAGE = 1 << 16
_CALLERS = 8
_NEEDED = "processor time of evidence to (an empty answer + one signature), the signature in both"
_WHOLE = "the same by the wall, with all that the emulator does"
_GOAL = round(1 / 0.6, 2)
_MEMORY = 60.0  # MiB
_PATIENCE = 10.0

# Platform to the curve and hash of the signature on its evidence.
_SIGNATURES: dict[str, tuple[ec.EllipticCurve, hashes.HashAlgorithm]] = {
    "nitro": (ec.SECP384R1(), hashes.SHA384()),
    "sgx": (ec.SECP256R1(), hashes.SHA256()),
    "snp": (ec.SECP384R1(), hashes.SHA384()),
    "tdx": (ec.SECP256R1(), hashes.SHA256()),
}


class _Callers:
    """Several connections that are kept, on which one request each is under way at a time."""

    def __init__(self, path: str) -> None:
        self._connections = [socket.socket(socket.AF_UNIX) for _ in range(_CALLERS)]
        for connection in self._connections:
            connection.settimeout(_PATIENCE)
            connection.connect(path)

    def evidence(self) -> None:
        """Ask for evidence of a nonce of its own on every connection."""
        self._ask(f"{PATH}?nonce={secrets.token_hex(32)}" for _ in self._connections)

    def empty(self) -> None:
        """Ask for an empty answer on every connection."""
        self._ask(_EMPTY for _ in self._connections)

    def close(self) -> None:
        for connection in self._connections:
            connection.close()

    def _ask(self, targets: Iterable[str]) -> None:
        for connection, target in zip(self._connections, targets, strict=True):
            connection.sendall(f"GET {target} HTTP/1.1\r\nhost: a\r\n\r\n".encode())
        for connection in self._connections:
            _answer(connection)


def _answer(connection: socket.socket) -> None:
    data = b""
    while b"\r\n\r\n" not in data:
        data += _more(connection)
    head, _, body = data.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200"), head
    length = re.search(rb"(?i)content-length: (\d+)", head)
    assert length is not None
    left = int(length[1]) - len(body)
    while left:
        left -= len(_more(connection))


def _more(connection: socket.socket) -> bytes:
    data = connection.recv(_MESSAGE)
    assert data, "the agent hung up"
    return data


def measure(budget: Budget) -> Measured:
    """Ask an agent of every platform for evidence, for nothing, and look at its memory."""
    found = [_platform(name, budget) for name in _SIGNATURES]
    return Measured(
        [row for measured in found for row in measured.rows],
        {name: value for measured in found for name, value in measured.microseconds.items()},
    )


def _platform(platform: str, budget: Budget) -> Measured:
    with tempfile.TemporaryDirectory(prefix="nacre-") as name, _hardware(platform, Path(name)) as hardware:
        (Path(name) / "config.json").write_bytes(_config(Path(name), hardware).encode())
        with _agent(Path(name)) as pid, contextlib.closing(_Callers(f"{name}/public.sock")) as callers:
            curve, kind = _SIGNATURES[platform]
            key, algorithm = ec.generate_private_key(curve), ec.ECDSA(kind)
            sign = functools.partial(key.sign, bytes(1024), algorithm)
            walls = _raced(callers, sign, budget, pid=None)
            times = _raced(callers, sign, budget, pid=pid)
            for _ in range(budget.pieces // _CALLERS):
                callers.evidence()
            memory = _memory(pid)
    floor = ("an empty answer", "one signature")
    times["evidence and its signature"] = [
        sum(both) for both in zip(times["evidence"], times["one signature"], strict=True)
    ]
    rows = [
        Row.of(
            _SECTION,
            platform,
            _NEEDED,
            ratio(times, "evidence and its signature", floor),
            goal=_GOAL,
            at_least=False,
        ),
        Row.of(_SECTION, platform, _WHOLE, ratio(walls, "evidence", floor)),
    ]
    for what, value, goal in (
        ("resident memory after many answers, MiB", memory.resident, _MEMORY),
        ("its proportional share of that, MiB", memory.proportional, None),
    ):
        rows.append(
            Row(_SECTION, platform, what, value, value, value, 1, "MiB", goal, at_least=False),
        )
    case = f"{platform}, emulated"
    return Measured(rows, microseconds(f"{case}, processor", times) | microseconds(f"{case}, wall", walls))


def _raced(
    callers: _Callers, sign: Callable[[], object], budget: Budget, *, pid: int | None
) -> dict[str, list[float]]:
    """Race by the wall's clock, or by the processor time of the agent's process."""

    def contender(name: str, run: Callable[[], None]) -> Contender:
        timed = None if pid is None else functools.partial(_spent, pid, run)
        return Contender(name, run, per_call=_CALLERS, timed=timed)

    return race(
        [
            contender("evidence", callers.evidence),
            contender("an empty answer", callers.empty),
            Contender("one signature", sign),
        ],
        rounds=budget.rounds,
        clock=time.perf_counter if pid is None else time.thread_time,
    )


def _spent(pid: int, run: Callable[[], object], calls: int) -> float:
    """Return the seconds of processor time that a process took for so many calls."""
    before = _processor(pid)
    for _ in range(calls):
        run()
    return _processor(pid) - before


def _processor(pid: int) -> float:
    tasks = Path(f"/proc/{pid}/task").glob("*/schedstat")
    return sum(int(task.read_text().split()[0]) for task in tasks) / 1e9


def _config(folder: Path, hardware: Emulator) -> Config:
    return Config(
        app=App(name="none", version="1", entry=("/bin/true",)),
        app_directory=str(folder),
        public=f"unix:{folder}/public.sock",
        socket=f"{folder}/agent.sock",
        release="00" * 32,
        mode="simulated",
        devices=hardware.paths,
        endorsements=str(hardware.endorsements),
        limits=Limits(),
    )


def _hardware(platform: str, folder: Path) -> Emulator:
    now = int(time.time())
    simulated = simulator(platform)
    return Emulator(
        simulated.machine(simulated.create_root(at=now), at=now),
        registers={},
        directory=folder / "device",
        clock=lambda: int(time.time()),
    )


@contextlib.contextmanager
def _agent(folder: Path) -> Iterator[int]:
    process = subprocess.Popen([sys.executable, "-m", "benchmarks.agent", "--inside", str(folder)])
    try:
        end = time.monotonic() + _PATIENCE
        while not (folder / "public.sock").is_socket():
            assert process.poll() is None, "the agent ended"
            assert time.monotonic() < end, "the agent does not listen"
            time.sleep(0.02)
        yield process.pid
    finally:
        process.kill()
        process.wait()


async def _inside(folder: Path) -> None:
    """Be the agent: the public door as it ships, and one more path that answers nothing."""
    config = Config.load(folder / "config.json")
    enclave = await Enclave.start(config, find(config.devices))
    router = public_router(enclave)

    async def empty(_: Request) -> Response:
        return Response()

    router.add("GET", _EMPTY, empty)
    await Listener(config.public, PublicDoor(router, config).serve, limits=config.limits).open()
    await asyncio.Event().wait()


class _Memory(NamedTuple):
    """Of one process, MiB; proportional: pages that several processes share count for each in part."""

    resident: float
    proportional: float


def _memory(pid: int) -> _Memory:
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    sizes = dict(re.findall(r"(?m)^(Rss|Pss):\s+(\d+) kB", text))
    return _Memory(*(round(int(sizes[name]) / 1024, 1) for name in ("Rss", "Pss")))


if __name__ == "__main__":
    if "--inside" in sys.argv:
        asyncio.run(_inside(Path(sys.argv[-1])))
    else:
        serve(measure, QUICK, FULL)
