# SPDX-License-Identifier: Apache-2.0
"""Whole agents as processes, on an emulated security module, asked over real sockets."""

import os
import re
import secrets
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
import pytest
from tests.enclave.agent.processes import Agent, ask

from nacre import platforms
from nacre.checks import Status
from nacre.enclave import envelope
from nacre.enclave.agent import api, enclave
from nacre.enclave.agent.config import Config, Limits
from nacre.enclave.emulate.chip import Chip
from nacre.enclave.emulate.nsm import answer
from nacre.enclave.emulate.sockets import MessageSocket
from nacre.enclave.instances import Process
from nacre.platforms.base import Endorsements
from nacre.platforms.device import DevicePaths
from nacre.platforms.nitro import simulate
from nacre.platforms.simulation import Root
from nacre.trust import base64url
from nacre.trust.signatures import Signatures

Configure = Callable[..., Config]

_NOWHERE = "/nonexistent/device"
_APP = """
import http.server, os, socketserver
class H(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.end_headers(); self.wfile.write(self.path.encode())
    def log_message(self, *_): pass
    def address_string(self): return ""
socketserver.ThreadingUnixStreamServer(os.environ["NACRE_LISTEN"], H).serve_forever()
"""


def _evidence(config: Config, nonce: str) -> tuple[int, bytes]:
    return ask(config.public.partition(":")[2], f"{envelope.PATH}?nonce={nonce}")


@pytest.fixture(scope="module")
def root() -> Root:
    return simulate.create_root(at=int(time.time()))


@pytest.fixture
def chip(root: Root) -> Chip:
    machine = simulate.machine(root, at=int(time.time()))
    return Chip(machine, registers={}, clock=lambda: int(time.time()))


def _listening(chip: Chip, path: Path) -> MessageSocket:
    return MessageSocket(path, lambda request: answer(chip, request), limit=1 << 16)


@pytest.fixture
def module(chip: Chip, folder: Path) -> Iterator[MessageSocket]:
    with _listening(chip, folder / "nsm") as listening:
        yield listening


@pytest.fixture
def paths(folder: Path) -> DevicePaths:
    others = {name: _NOWHERE for name in DevicePaths.__struct_fields__ if name != "nsm"}
    return DevicePaths(nsm=str(folder / "nsm"), **others)


def _wait(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


Start = Callable[[Config], Agent]


@pytest.fixture
def start(folder: Path, module: MessageSocket) -> Iterator[Start]:
    del module
    agents = []

    def run(config: Config) -> Agent:
        agents.append(Agent(config, folder))
        agents[-1].wait_until("listening at")
        return agents[-1]

    yield run
    for agent in agents:
        agent.process.kill()
        agent.process.wait()


def test_evidence_verifies_and_is_of_this_nonce_only(
    configure: Configure, start: Start, paths: DevicePaths, root: Root
) -> None:
    config = configure(sys.executable, "-c", _APP, devices=paths)
    agent = start(config)
    nonce = secrets.token_bytes(32)
    status, body = _evidence(config, nonce.hex())
    assert status == 200
    found = envelope.decode(body)
    platform = platforms.get(found.platform)
    claims = platform.verify(
        platform.parse(found.evidence),
        Endorsements(found.endorsements),
        anchors=root.anchors(),
        at=int(time.time()),
        signatures=Signatures(),
    )
    held = found.binding(nonce=nonce).check(claims.committed, raw_declared=False)
    assert held.status is Status.PASS
    stale = found.binding(nonce=bytes(32)).check(claims.committed, raw_declared=False)
    assert stale.status is Status.FAIL
    assert found.identified().release.hex() == config.release
    assert [event.event for event in found.events] == ["nacre-boot", "system-ready"]
    # The same nonce again is asked of the device again.
    assert envelope.decode(_evidence(config, nonce.hex())[1]).evidence != found.evidence
    resident = re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{agent.process.pid}/status").read_text())
    assert resident is not None
    assert int(resident[1]) < 60 * 1024
    assert agent.end() == 0


@pytest.mark.parametrize(
    "query",
    [
        "",
        "?nonce=",
        "?nonce=" + "0" * 62,
        "?nonce=" + "0" * 66,
        "?nonce=" + "g" * 64,
        "?nonce=" + "0" * 64 + "&nonce=" + "1" * 64,
        "?Nonce=" + "0" * 64,
        "?nonce=" + "0" * 64 + "&x=1",
    ],
)
def test_nonce_is_32_bytes_in_hex_and_alone(query: str) -> None:
    from nacre.enclave.agent.routing import Request
    from nacre.enclave.agent.server import _nonce
    from nacre.errors import EnclaveError

    with pytest.raises(EnclaveError):
        _nonce(Request(method="GET", path=envelope.PATH, query=query.removeprefix("?")))


def test_answers_are_of_the_described_shapes_and_no_secret_is_logged(
    configure: Configure, start: Start, paths: DevicePaths, folder: Path
) -> None:
    events = folder / "events"
    config = configure("/bin/sleep", "60", devices=paths, events=str(events))
    agent = start(config)
    message = {"message": base64url.encode(b"pay")}
    asked: dict[str, tuple[object, type[msgspec.Struct]]] = {
        "/v1/info": (None, enclave.Info),
        "/v1/evidence": ({"data": "AAAA"}, envelope.Answer),
        "/v1/keys/derive": ({"path": "a"}, api.Derived),
        "/v1/sign": (message, api.Signed),
        "/v1/seal": ({"plaintext": base64url.encode(b"the plain secret"), "context": "c"}, api.Sealed),
        "/v1/events": ({"name": "paid", "payload": "AAAA"}, api.Logged),
    }
    answers = {}
    for path, (body, shape) in asked.items():
        status, text = ask(config.socket, path, body)
        assert status == 200, text
        answers[path] = msgspec.json.decode(text, type=shape, strict=True)
    sealed = answers["/v1/seal"]
    assert isinstance(sealed, api.Sealed)
    body = {"sealed": sealed.sealed, "context": "c"}
    _, text = ask(config.socket, "/v1/unseal", body)
    plain = msgspec.json.decode(text, type=api.Unsealed).plaintext
    assert base64url.decode(plain, what="test") == b"the plain secret"
    assert ask(config.socket, "/v1/unseal", body | {"context": "d"})[0] == 400
    assert ask(config.socket, "/v1/nothing")[0] == 404
    assert ask(config.socket, "/v1/sign")[0] == 405
    assert ask(config.socket, "/v1/evidence/raw", {"report_data": base64url.encode(bytes(64))})[0] == 403
    derived = answers["/v1/keys/derive"]
    assert isinstance(derived, api.Derived)
    assert agent.end() == 0
    key = base64url.decode(derived.key, what="test")
    logged = (agent.log + events.read_text()).encode()
    for secret in (key, b"the plain secret"):
        for form in (secret, secret.hex().encode(), base64url.encode(secret).encode(), repr(secret).encode()):
            assert form not in logged


def test_device_that_goes_away_is_said_and_is_found_when_it_returns(
    configure: Configure, start: Start, paths: DevicePaths, module: MessageSocket, chip: Chip
) -> None:
    config = configure("/bin/sleep", "60", devices=paths)
    start(config)
    assert _evidence(config, "00" * 32)[0] == 200
    module.__exit__(None, None, None)
    status, body = _evidence(config, "00" * 32)
    assert status == 503
    assert msgspec.json.decode(body)["error"].startswith("device-")
    with _listening(chip, Path(paths.nsm)):
        assert _evidence(config, "00" * 32)[0] == 200


def test_many_at_once_each_get_their_own(configure: Configure, start: Start, paths: DevicePaths) -> None:
    config = configure(sys.executable, "-c", _APP, devices=paths, limits=Limits())
    start(config)
    nonces = [secrets.token_bytes(32) for _ in range(60)]
    with ThreadPoolExecutor(12) as pool:
        answers = list(pool.map(lambda nonce: _evidence(config, nonce.hex()), nonces))
    found = [envelope.decode(body) for _, body in answers]
    assert [one.nonce for one in found] == nonces
    assert len({one.evidence for one in found}) == len(nonces)


def test_second_agent_and_bad_start_end_with_a_code(
    configure: Configure, start: Start, paths: DevicePaths, folder: Path
) -> None:
    config = configure("/bin/sleep", "60", devices=paths)
    first = start(config)
    second = Agent(config, folder)
    assert second.process.wait(60) == 78
    assert "agent-listen" in second.log
    assert _evidence(config, "00" * 32)[0] == 200
    assert first.end() == 0
    nothing = DevicePaths(**dict.fromkeys(DevicePaths.__struct_fields__, _NOWHERE))
    third = Agent(configure("/bin/true", devices=nothing), folder)
    assert third.process.wait(60) == 78
    assert "device-none" in third.log


def test_killed_agent_leaves_nothing_in_the_way(
    configure: Configure, start: Start, paths: DevicePaths
) -> None:
    config = configure("/bin/sleep", "60", devices=paths)
    first = start(config)
    first.process.kill()
    first.process.wait()
    assert os.path.exists(config.socket)  # noqa: PTH110 (a socket's path)
    start(config)
    assert ask(config.socket, "/v1/info")[0] == 200


def test_no_app_outlives_an_agent_that_is_killed(
    configure: Configure, start: Start, paths: DevicePaths, folder: Path
) -> None:
    listed = folder / "processes"
    program = f"trap '' TERM HUP; sleep 600 & echo $$ $! > {listed}.new; mv {listed}.new {listed}; wait"
    agent = start(configure("/bin/sh", "-c", program, devices=paths))
    _wait(listed.exists)
    app, child = (Process.of(int(pid)) for pid in listed.read_text().split())
    assert app is not None
    assert child is not None
    agent.process.kill()
    agent.process.wait()
    _wait(lambda: not app.lives() and not child.lives())


def test_halting_app_ends_the_enclave_with_its_status(
    configure: Configure, paths: DevicePaths, folder: Path, module: MessageSocket
) -> None:
    del module
    agent = Agent(configure("/bin/sh", "-c", "exit 5", app={"restart": "halt"}, devices=paths), folder)
    assert agent.process.wait(60) == 5


def test_full_disk_loses_the_log_and_stops_nothing(
    configure: Configure, paths: DevicePaths, folder: Path, module: MessageSocket
) -> None:
    del module
    config = configure(
        "/bin/sh",
        "-c",
        "while :; do echo x; done",
        devices=paths,
        events="/dev/full",
        limits=Limits(grace=0.5),
    )
    file = folder / "config.json"
    file.write_bytes(config.encode())
    with Path("/dev/full").open("wb") as full:
        process = subprocess.Popen(
            [sys.executable, "-m", "nacre.enclave.agent", str(file)], stdout=full, stderr=full
        )
    try:
        end = time.monotonic() + 60
        while not Path(config.public.partition(":")[2]).is_socket():
            assert time.monotonic() < end
            time.sleep(0.02)
        assert _evidence(config, "00" * 32)[0] == 200
        told = msgspec.json.decode(ask(config.socket, "/v1/info")[1], type=enclave.Info)
        assert not told.log_mirrored
    finally:
        process.terminate()
        assert process.wait(60) == 0


def test_no_process_of_the_same_user_reads_the_agents_memory() -> None:
    program = (
        "import ctypes\nfrom nacre.enclave.agent.__main__ import main\n"
        "assert main(['/nonexistent']) == 78\nprint(ctypes.CDLL(None).prctl(3, 0, 0, 0, 0))"
    )
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    assert done.stdout == "0\n"  # PR_GET_DUMPABLE
    assert "config-unreadable" in done.stderr
