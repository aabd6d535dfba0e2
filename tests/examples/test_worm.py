# SPDX-License-Identifier: Apache-2.0
"""The worm: the same everywhere, and firm with whoever asks nonsense."""

import csv
import hashlib
import http.client
import importlib.util
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import ModuleType

import pytest
from worm.creature import Worm
from worm.memory import Damaged, recall, remember
from worm.service import Refused, Service, asked

from nacre.build.app import App

_FOLDER = Path(__file__).parents[2] / "examples" / "worm"
_KNOWN = "4d60330c14d38609dad2e291b9049a6a70fb4fab7ea4f12037ca080e09ea64af"
_LIFE: list[Mapping[str, int]] = [{"nose": 50}] * 100

Start = Callable[..., "_Process"]


class _Process:
    """A worm in a process of its own, on a Unix socket."""

    def __init__(self, folder: Path, **environment: str) -> None:
        self.path = str(folder / "worm.sock")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "worm"],
            cwd=_FOLDER / "src",
            env={"NACRE_LISTEN": self.path, "PYTHONDONTWRITEBYTECODE": "1"} | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout
        self.said = self.process.stdout.readline()

    def connect(self) -> socket.socket:
        client = socket.socket(socket.AF_UNIX)
        client.settimeout(20)
        client.connect(self.path)
        return client

    def raw(self, request: bytes) -> tuple[int, bytes]:
        with self.connect() as client:
            client.sendall(request)
            client.shutdown(socket.SHUT_WR)
            answer = http.client.HTTPResponse(client)
            answer.begin()
            return answer.status, answer.read()

    def send(self, method: str, path: str, body: bytes = b"") -> tuple[int, bytes]:
        head = f"{method} {path} HTTP/1.1\r\nHost: worm\r\nContent-Length: {len(body)}\r\n\r\n"
        return self.raw(head.encode() + body)

    def ask(self, method: str, path: str, body: object = None) -> dict[str, object]:
        status, answer = self.send(method, path, b"" if body is None else json.dumps(body).encode())
        found = json.loads(answer)
        assert status == 200, found
        assert isinstance(found, dict)
        return found

    def stop(self, by: signal.Signals = signal.SIGTERM) -> int:
        self.process.send_signal(by)
        self.process.communicate(timeout=20)
        return self.process.returncode


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    started = []

    def begin(**environment: str) -> _Process:
        started.append(_Process(tmp_path, **environment))
        return started[-1]

    yield begin
    for one in started:
        if one.process.poll() is None:
            one.stop(signal.SIGKILL)


def _slow(life: list[Mapping[str, int]], seed: bytes = bytes(32)) -> str:
    """Say what README.md says, by names and without shortcuts; nothing of the example's code is used."""
    text = (_FOLDER / "src" / "worm" / "connectome.csv").read_bytes()
    rows = [tuple(map(str.strip, row)) for row in csv.reader(text.decode().splitlines())][1:]
    cells = sorted({row[0] for row in rows}.union(row[1] for row in rows))
    neurons = [cell for cell in cells if cell == cell.upper()]
    assert len(neurons) == 300
    gaba = {f"DD0{n}" for n in range(1, 7)} | {f"VD{n:02}" for n in range(1, 14)}
    gaba |= {"RMED", "RMEL", "RMER", "RMEV", "AVL", "DVB", "RIS"}
    assert gaba < set(neurons)
    feels = {
        "nose": {"ASHL", "ASHR", "FLPL", "FLPR", "OLQDL", "OLQDR", "OLQVL", "OLQVR"},
        "head": {"ALML", "ALMR", "AVM"},
        "tail": {"PLML", "PLMR"},
        "odour": {"AWAL", "AWAR", "AWCL", "AWCR"},
        "salt": {"ASEL", "ASER"},
        "warmth": {"AFDL", "AFDR"},
    }
    old = dict.fromkeys(cells, 0)
    trace = hashlib.sha256(b"nacre-worm/v1\0" + seed + hashlib.sha256(text).digest()).digest()
    for tick, stimuli in enumerate(life):
        fired = {cell for cell in neurons if old[cell] >= 100}
        new = {cell: 0 if cell in fired else (7 * old[cell] - (7 * old[cell]) % 8) // 8 for cell in cells}
        for source, target, weight, kind in rows:
            if source in fired:
                new[target] += -int(weight) if kind == "chemical" and source in gaba else int(weight)
        for sense, strength in stimuli.items():
            new |= {cell: new[cell] + strength for cell in feels[sense]}
        drawn = hashlib.sha256(seed + tick.to_bytes(8, "big")).hexdigest()[:16]
        new[neurons[int(drawn, 16) % 300]] += 100
        old = {cell: sorted((-32767, value, 32767))[1] for cell, value in new.items()}
        frame = (tick + 1).to_bytes(8, "big") + bytes(stimuli.get(sense, 0) for sense in feels)
        frame += b"".join((old[cell] % 65536).to_bytes(2, "big") for cell in cells)
        trace = hashlib.sha256(trace + frame).digest()
    return trace.hex()


def _fast(life: list[Mapping[str, int]], seed: bytes = bytes(32)) -> str:
    worm = Worm(seed)
    for stimuli in life:
        worm.step(stimuli)
    return worm.trace.hex()


def test_known_trace() -> None:
    assert _fast(_LIFE) == _KNOWN
    assert _KNOWN in (_FOLDER / "README.md").read_text()


def test_the_connectome_is_openworms() -> None:
    digest = hashlib.sha256((_FOLDER / "src" / "worm" / "connectome.csv").read_bytes()).hexdigest()
    assert digest == "142693f17556148d7f962835b18ac6dd5af18b7467eef61815ebc1dd5474c0ca"


@pytest.mark.parametrize("seed", [bytes(32), bytes(range(32))])
def test_the_readme_alone_gives_the_same_trace(seed: bytes) -> None:
    life: list[Mapping[str, int]] = []
    life += [{"nose": 255, "tail": 1}] * 40 + [{}] * 30
    life += [{"head": 90, "odour": 60, "salt": 200, "warmth": 33}] * 60
    assert _fast(life, seed) == _slow(life, seed)


@pytest.mark.parametrize("hash_seed", ["0", "1", "4294967295"])
def test_neither_hash_seed_nor_optimisation_matters(hash_seed: str) -> None:
    program = "from worm.creature import Worm\nw = Worm()\n"
    program += "for _ in range(100): w.step({'nose': 50})\nprint(w.trace.hex())"
    ran = subprocess.run(
        [sys.executable, "-OO", "-B", "-c", program],
        cwd=_FOLDER / "src",
        env=os.environ | {"PYTHONHASHSEED": hash_seed},
        capture_output=True,
        check=True,
        text=True,
    )
    assert ran.stdout.strip() == _KNOWN


def test_it_answers_to_touch_and_has_95_muscles() -> None:
    touched, left = Worm(), Worm()
    for _ in range(200):
        touched.step({"nose": 50})
        left.step({})
    assert len(left.muscles()) == 95
    assert sum(touched.muscles().values()) > 2 * sum(left.muscles().values())


def test_over_http(start: Start) -> None:
    worm = start()
    assert worm.said == f"listening on {worm.path}\n"
    assert worm.ask("GET", "/healthz") == {"ok": True}
    half = {"ticks": 50, "stimuli": {"nose": 50}}
    worm.ask("POST", "/step", half)
    stepped = worm.ask("POST", "/step", half)
    assert (stepped["tick"], stepped["trace"]) == (100, _KNOWN)
    assert worm.ask("GET", "/state") == stepped | {"seed": "00" * 32}
    traced = worm.ask("GET", "/trace")
    assert isinstance(traced["history"], list)
    assert (len(traced["history"]), traced["history"][-1]) == (100, _KNOWN)
    assert worm.stop() == 0


def test_over_tcp() -> None:
    command = [sys.executable, "-B", "-m", "worm", "127.0.0.1:0"]
    with subprocess.Popen(command, cwd=_FOLDER / "src", stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        host, port = process.stdout.readline().removeprefix("listening on ").strip().split(":")
        client = http.client.HTTPConnection(host, int(port), timeout=20)
        client.request("GET", "/state")
        answer = json.loads(client.getresponse().read())
        client.close()
        process.terminate()
    assert answer["tick"] == 0


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", "not-json"),
        (b"\xff", "not-json"),
        (b"[" * 4000, "not-json"),
        (b'{"ticks": 1, "ticks": 2}', "not-json"),
        (b'{"ticks": ' + b"9" * 5000 + b"}", "not-json"),
        (b"[]", "unknown-field"),
        (b'{"ticks": 1, "time": 2}', "unknown-field"),
        (b"{}", "out-of-range"),
        (b'{"ticks": 0}', "out-of-range"),
        (b'{"ticks": 1001}', "out-of-range"),
        (b'{"ticks": true}', "out-of-range"),
        (b'{"ticks": 1.0}', "out-of-range"),
        (b'{"ticks": "1"}', "out-of-range"),
        (b'{"ticks": 1, "at": -1}', "out-of-range"),
        (b'{"ticks": 1, "birth": 7}', "out-of-range"),
        (b'{"ticks": 1, "birth": "' + b"A" * 32 + b'"}', "out-of-range"),
        (b'{"ticks": 1, "stimuli": []}', "unknown-sense"),
        (b'{"ticks": 1, "stimuli": {"love": 1}}', "unknown-sense"),
        (b'{"ticks": 1, "stimuli": {"nose": 256}}', "out-of-range"),
        (b'{"ticks": 1, "stimuli": {"nose": NaN}}', "out-of-range"),
    ],
)
def test_nonsense_is_refused_by_name(body: bytes, code: str) -> None:
    with pytest.raises(Refused) as refused:
        asked(body)
    assert refused.value.answer["error"] == {"code": code, "message": str(refused.value)}


def test_malformed_requests_change_nothing(start: Start) -> None:
    worm = start()
    for request, status in (
        (b"POST /step HTTP/1.1\r\n\r\n", 411),
        (b"POST /step HTTP/1.1\r\nContent-Length: -1\r\n\r\n", 411),
        (b"POST /step HTTP/1.1\r\nContent-Length: 11\r\nContent-Length: 11\r\n\r\n" + b'{"ticks":1}', 411),
        (b"POST /step HTTP/1.1\r\nContent-Length: 11\r\nTransfer-Encoding: chunked\r\n\r\n", 411),
        (b"POST /step HTTP/1.1\r\nContent-Length: 4097\r\n\r\n", 413),
        (b"POST /step HTTP/1.1\r\nContent-Length: 99999999999999999999\r\n\r\n", 413),
        (b"POST /step HTTP/1.1\r\nContent-Length: 12\r\n\r\n" + b'{"ticks":1}', 400),
        (b"POST /state HTTP/1.1\r\nContent-Length: 0\r\n\r\n", 405),
        (b"GET /step HTTP/1.1\r\n\r\n", 405),
        (b"GET /../worm HTTP/1.1\r\n\r\n", 404),
        (b"GET " + b"/" * 70000 + b" HTTP/1.1\r\n\r\n", 414),
        (b"DELETE /state HTTP/1.1\r\n\r\n", 501),
        (b"GET /state HTTP/1.1 x\r\n\r\n", 400),
    ):
        found, answer = worm.raw(request)
        assert found == status, request[:60]
        assert json.loads(answer)["error"]["message"], request[:60]
    assert worm.ask("GET", "/state")["tick"] == 0


def test_a_step_that_arrives_twice_counts_once(start: Start) -> None:
    worm = start()
    once = json.dumps({"ticks": 5, "at": 0}).encode()
    assert worm.send("POST", "/step", once)[0] == 200
    status, answer = worm.send("POST", "/step", once)
    assert (status, json.loads(answer)["error"]["code"]) == (409, "elsewhere")
    assert worm.ask("GET", "/state")["tick"] == 5


def test_a_step_that_was_kept_for_a_newborn_worm_is_not_taken(start: Start) -> None:
    first = start()
    kept = json.dumps({"ticks": 5, "birth": first.ask("GET", "/state")["birth"], "at": 0}).encode()
    assert first.send("POST", "/step", kept)[0] == 200
    first.stop(signal.SIGKILL)
    second = start()
    status, answer = second.send("POST", "/step", kept)
    assert (status, json.loads(answer)["error"]["code"]) == (409, "elsewhere")
    assert second.ask("GET", "/state")["tick"] == 0


def test_it_remembers_what_it_answered_though_it_is_killed(start: Start, tmp_path: Path) -> None:
    state = str(tmp_path / "state")
    first = start(WORM_STATE=state)
    before = first.ask("POST", "/step", {"ticks": 60, "stimuli": {"nose": 50}})
    first.stop(signal.SIGKILL)
    second = start(WORM_STATE=state)  # the socket of the first lies there still
    after = second.ask("POST", "/step", {"ticks": 40, "stimuli": {"nose": 50}, "at": 60})
    assert (after["birth"], after["trace"]) == (before["birth"], _KNOWN)


@pytest.mark.parametrize("cut", [0, 1, 700, -1])
def test_a_damaged_memory_is_refused(start: Start, tmp_path: Path, cut: int) -> None:
    state = tmp_path / "state"
    remember(state, Worm(), "00" * 16)
    state.write_bytes(state.read_bytes()[:cut])
    worm = start(WORM_STATE=str(state))
    _, said = worm.process.communicate(timeout=20)
    assert worm.process.returncode == 1
    assert said == f"error: {state} is not JSON\n"


@pytest.mark.parametrize(
    "wrong",
    [
        {"tick": -1},
        {"tick": True},
        {"potentials": [0]},
        {"seed": "11" * 32},
        {"trace": "00"},
        {"format": "x"},
    ],
)
def test_a_memory_of_something_else_is_refused(tmp_path: Path, wrong: dict[str, object]) -> None:
    state = tmp_path / "state"
    remember(state, Worm(), "00" * 16)
    state.write_text(json.dumps(json.loads(state.read_text()) | wrong))
    with pytest.raises(Damaged):
        recall(state, bytes(32))


def test_what_cannot_be_remembered_has_not_happened(tmp_path: Path) -> None:
    service = Service(bytes(32), tmp_path / "state")
    (tmp_path / "state.new").mkdir()
    with pytest.raises(Refused, match="cannot be written"):
        service.step(b'{"ticks": 1}')
    assert service.state()["tick"] == 0


def _invariants() -> ModuleType:
    found = importlib.util.spec_from_file_location("worm_invariants", _FOLDER / "invariants.py")
    assert found
    assert found.loader
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module


def test_invariants_hold_through_lost_and_doubled_messages_and_restarts(start: Start) -> None:
    worm = [start()]
    count = 0

    def send(method: str, path: str, body: bytes) -> tuple[int, bytes]:
        nonlocal count
        count += method == "POST"
        answer = worm[0].send(method, path, body)
        if method == "POST" and count % 3 == 0:
            raise ConnectionResetError
        if method == "POST" and count % 3 == 1:
            worm[0].send(method, path, body)
        return answer

    client = _invariants().Invariants(send)
    for ticks in range(1, 10):
        try:
            client.step(ticks, {"nose": 10 * ticks})
        except ConnectionResetError:
            client.look()
        if ticks == 5:
            worm[0].stop(signal.SIGKILL)
            worm[0] = start()
    assert client.look()[1] == 6 + 7 + 8 + 9


def test_invariants_find_a_disk_that_was_rolled_back(start: Start, tmp_path: Path) -> None:
    state = tmp_path / "state"
    worm = start(WORM_STATE=str(state))
    client = _invariants().Invariants(worm.send)
    client.step(5, {})
    old = state.read_bytes()
    client.step(5, {})
    worm.stop(signal.SIGKILL)
    state.write_bytes(old)
    worm = start(WORM_STATE=str(state))
    with pytest.raises(AssertionError, match="went back from 10 to 5"):
        client.look()


def test_invariants_find_a_worm_that_a_clock_moves() -> None:
    service = Service(bytes(32))

    def send(method: str, path: str, body: bytes) -> tuple[int, bytes]:
        del method, path, body
        answer = json.dumps(service.state()).encode()
        service.step(b'{"ticks": 1}')  # as if time had passed
        return 200, answer

    client = _invariants().Invariants(send)
    client.look()
    with pytest.raises(AssertionError, match="which no step does"):
        client.look()


def test_it_is_an_application_of_ours() -> None:
    app = App.load(_FOLDER)
    assert (app.name, app.egress, app.profile) == ("worm", (), "isolated")
    assert (_FOLDER / app.source / "worm" / "__main__.py").is_file()
