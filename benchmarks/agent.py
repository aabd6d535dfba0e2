# SPDX-License-Identifier: Apache-2.0
"""The agent's evidence, against what the same server does for nothing and the one signature in it.

The agent is a process of its own, asked over one kept connection on its Unix socket; the security module is
emulated, as for any developer. An answer of the same server with nothing in it, and a signature of the curve
that evidence is signed with, are what no agent could do without. The goal is for the agent's own processor
time; the wall's time has in it the emulator, which hardware replaces, and is given for information.
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
from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks.rounds import Budget, Contender, Measured, Row, microseconds, race, ratio, serve
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from nacre.build.app import App
from nacre.enclave.agent.config import Config, Limits
from nacre.enclave.agent.enclave import Enclave
from nacre.enclave.agent.listen import Listener
from nacre.enclave.agent.routing import Request, Response
from nacre.enclave.agent.server import PublicDoor, public_router
from nacre.enclave.emulate.chip import Chip
from nacre.enclave.emulate.nsm import answer
from nacre.enclave.emulate.sockets import MessageSocket
from nacre.enclave.envelope import PATH
from nacre.platforms.device import DevicePaths
from nacre.platforms.devices import find
from nacre.platforms.nitro import simulate

QUICK = Budget(rounds=6, pieces=200, processes=0)
FULL = Budget(rounds=40, pieces=2_000, processes=0)

_SECTION = "Agent"
_CASE = "Nitro, emulated"
_EMPTY = "/.well-known/nacre/empty"
_MESSAGE = 1 << 16
_CURVE = ec.ECDSA(hashes.SHA384())
_AGENTS = "(agent's processor time for evidence + one signature) / (for an empty answer + one signature)"
_WHOLE = "evidence / (empty answer + one signature), wall, with all that the emulator does"
_GOAL = round(1 / 0.6, 2)
_MEMORY = 60.0  # MiB
_PATIENCE = 10.0


def measure(budget: Budget) -> Measured:
    """Ask one agent for evidence, for nothing, and look at its memory."""
    with tempfile.TemporaryDirectory(prefix="nacre-") as name, _module(Path(name)), _agent(Path(name)) as pid:
        ask = _asking(f"{name}/public.sock")
        key = ec.generate_private_key(ec.SECP384R1())
        walls = _raced(ask, key, budget, pid=None)
        times = _raced(ask, key, budget, pid=pid)
        for _ in range(budget.pieces):
            ask(f"{PATH}?nonce={secrets.token_hex(32)}")
        held = _resident(pid)
    floor = ("an empty answer", "one signature")
    times["evidence and its signature"] = [
        sum(both) for both in zip(times["evidence"], times["one signature"], strict=True)
    ]
    agents = ratio(times, "evidence and its signature", floor)
    whole = ratio(walls, "evidence", floor)
    return Measured(
        [
            Row.of(_SECTION, _CASE, _AGENTS, agents, goal=_GOAL, at_least=False),
            Row.of(_SECTION, _CASE, _WHOLE, whole),
            Row(
                _SECTION,
                _CASE,
                f"memory after {budget.pieces} answers, MiB",
                held,
                held,
                held,
                1,
                "MiB",
                _MEMORY,
                at_least=False,
            ),
        ],
        microseconds(f"{_CASE}, processor", times) | microseconds(f"{_CASE}, wall", walls),
    )


def _raced(
    ask: Callable[[str], bytes], key: ec.EllipticCurvePrivateKey, budget: Budget, *, pid: int | None
) -> dict[str, list[float]]:
    """Race by the wall's clock, or by the processor time of the agent's process."""

    def evidence() -> bytes:
        return ask(f"{PATH}?nonce={secrets.token_hex(32)}")

    def empty() -> bytes:
        return ask(_EMPTY)

    def timed(run: Callable[[], object]) -> Callable[[int], float] | None:
        return None if pid is None else functools.partial(_spent, pid, run)

    return race(
        [
            Contender("evidence", evidence, timed=timed(evidence)),
            Contender("an empty answer", empty, timed=timed(empty)),
            Contender("one signature", lambda: key.sign(bytes(1024), _CURVE)),
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


def _config(folder: Path) -> Config:
    nowhere = dict.fromkeys(DevicePaths.__struct_fields__, "/nonexistent/device")
    return Config(
        app=App(name="none", version="1", entry=("/bin/true",)),
        app_directory=str(folder),
        public=f"unix:{folder}/public.sock",
        socket=f"{folder}/agent.sock",
        release="00" * 32,
        mode="simulated",
        devices=DevicePaths(**(nowhere | {"nsm": str(folder / "nsm")})),
        limits=Limits(),
    )


def _module(folder: Path) -> MessageSocket:
    now = int(time.time())
    chip = Chip(
        simulate.machine(simulate.create_root(at=now), at=now), registers={}, clock=lambda: int(time.time())
    )
    return MessageSocket(folder / "nsm", lambda request: answer(chip, request), limit=_MESSAGE)


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
    config = _config(folder)
    enclave = await Enclave.start(config, find(config.devices))
    router = public_router(enclave)

    async def empty(_: Request) -> Response:
        return Response()

    router.add("GET", _EMPTY, empty)
    await Listener(config.public, PublicDoor(router, config).serve, limits=config.limits).open()
    await asyncio.Event().wait()


def _asking(path: str) -> Callable[[str], bytes]:
    """Keep one connection and return what asks on it."""
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(_PATIENCE)
    connection.connect(path)

    def ask(target: str) -> bytes:
        connection.sendall(f"GET {target} HTTP/1.1\r\nhost: a\r\n\r\n".encode())
        data = b""
        while b"\r\n\r\n" not in data:
            data += _more(connection)
        head, _, body = data.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200"), head
        length = re.search(rb"(?i)content-length: (\d+)", head)
        assert length is not None
        while len(body) < int(length[1]):
            body += _more(connection)
        return body

    return ask


def _more(connection: socket.socket) -> bytes:
    data = connection.recv(_MESSAGE)
    assert data, "the agent hung up"
    return data


def _resident(pid: int) -> float:
    found = re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())
    assert found is not None
    return round(int(found[1]) / 1024, 1)


if __name__ == "__main__":
    if "--inside" in sys.argv:
        asyncio.run(_inside(Path(sys.argv[-1])))
    else:
        serve(measure, QUICK, FULL)
