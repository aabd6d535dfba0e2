# SPDX-License-Identifier: Apache-2.0
"""Small apps under a hostile host: what they see inside, and what order and an old disk do to them."""

from pathlib import Path

import pytest

from nacre.testing.hostile import Kind, Method, draw, run

_HEAD = """
import glob, http.client, http.server, json, os, socket, socketserver, sys

class H(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        status, body = answer(self.rfile.read(int(self.headers["Content-Length"])))
        self.send_response(status); self.end_headers(); self.wfile.write(body)
    def log_message(self, *_): pass
    def address_string(self): return ""
"""
_ON_A_PORT = "http.server.HTTPServer(('127.0.0.1', 8765), H).serve_forever()\n"
_ON_A_SOCKET = "socketserver.UnixStreamServer(os.environ['NACRE_LISTEN'], H).serve_forever()\n"


@pytest.fixture(autouse=True)
def _own_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the development root where the test is."""
    monkeypatch.setenv("NACRE_DATA_DIR", str(tmp_path / "data"))


def _app(folder: Path, program: str, invariants: str, more: str) -> Path:
    (folder / "source").mkdir()
    (folder / "source" / "app.py").write_text(_HEAD + program)
    (folder / "invariants.py").write_text(invariants)
    (folder / "nacre.toml").write_text(
        f'name = "app"\nversion = "1"\nsource = "source"\nentry = ["python3", "app.py"]\n{more}'
    )
    return folder


def _seed(fault: Kind, method: str, at: int, rounds: int, methods: tuple[str, ...]) -> int:
    """Find a seed whose only fault meets the first connection of one round's call."""
    for seed in range(100_000):
        plan = draw(seed, rounds=rounds, methods=[Method(name) for name in methods], kinds=[fault])
        kinds = {turn.number: turn.fault.kind for turn in plan if turn.fault.kind != "quiet"}
        turn = plan[at]
        if kinds == {at: fault} and turn.call.method == method and turn.fault.which == 0:
            return seed
    raise AssertionError


_SEEN = """
def answer(_):
    try:
        socket.create_connection(("192.0.2.1", 80), timeout=1)
        out = "a way out"
    except OSError as error:
        out = type(error).__name__
    try:
        open("/usr/planted", "w")
        written = "written"
    except OSError:
        written = ""
    seen = {
        "network": sorted(os.listdir("/sys/class/net")) if os.path.isdir("/sys") else [],
        "out": out,
        "written": written,
        "environment": sorted(os.environ),
        "outside": os.path.exists(OUTSIDE),
        "parent": os.getppid(),
    }
    return 200, json.dumps(seen).encode()
"""
_WHAT_IS_SEEN = """
import json
class Invariants:
    def __init__(self, send):
        self._send = send
    def look(self):
        seen = json.loads(self._send("POST", "/", b"")[1])
        assert seen["out"] == "OSError", seen
        assert not seen["written"] and not seen["outside"] and not seen["network"], seen
        assert seen["parent"] < 20, seen
        assert "NACRE_DATA_DIR" not in seen["environment"], seen
"""


@pytest.mark.parametrize(
    ("path", "rounds"), [("/usr/bin", 2), ("/nowhere", 1)], ids=["bubblewrap", "namespaces"]
)
def test_the_guest_is_in_the_sandbox_and_two_of_them_have_one_port(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str, rounds: int
) -> None:
    monkeypatch.setenv("PATH", path)  # where bubblewrap is, or nothing
    program = f"OUTSIDE = {str(tmp_path)!r}\n{_SEEN}{_ON_A_PORT}"
    folder = _app(tmp_path, program, _WHAT_IS_SEEN, "port = 8765\n")
    seed = _seed("clones", "look", 1, 2, ("look",))
    report = run(folder, seed=seed, rounds=rounds, faults=["clones"])
    assert (report.broken, report.held) == (None, rounds)
    assert ("clones" in report.applied) == (rounds == 2)


_ANSWERS = """
class Invariants:
    def __init__(self, send):
        self._send = send
    def look(self):
        assert self._send("POST", "/", b"7") == (200, b"7")
"""


def test_other_hardware_has_a_hostile_host_too(tmp_path: Path) -> None:
    folder = _app(tmp_path, f"def answer(body): return 200, body\n{_ON_A_SOCKET}", _ANSWERS, "")
    seed = _seed("repeat", "look", 0, 1, ("look",))
    report = run(folder, seed=seed, rounds=1, faults=["repeat"], platform="tdx")
    assert (report.verdict, report.platform, report.applied) == ("held", "tdx", {"repeat": 1})


_LAST_WINS = """
kept = 0
def answer(body):
    global kept
    kept = int(body or kept)
    return 200, b"%d" % kept
"""
_NEWEST_HOLDS = """
class Invariants:
    def __init__(self, send):
        self._send, self._sent, self._known = send, 0, 0
    def put(self):
        self._sent += 1
        self._send("POST", "/", b"%d" % self._sent)
        self._known = self._sent
    def get(self):
        found = int(self._send("POST", "/", b"")[1])
        assert found >= self._known, f"{found} came back after {self._known}"
"""


@pytest.mark.parametrize(
    ("keeps", "breaks"), [("int(body or kept)", True), ("max(int(body or 0), kept)", False)]
)
def test_a_late_request_undoes_a_newer_one_unless_the_app_looks(
    tmp_path: Path, *, keeps: str, breaks: bool
) -> None:
    program = _LAST_WINS.replace("int(body or kept)", keeps) + _ON_A_SOCKET
    methods = [Method("get"), Method("put")]
    # The first is put off until the second was answered; then somebody looks.
    wanted = [("put", 1), ("put", 0), ("get", 0)]
    seed = next(
        seed
        for seed in range(100_000)
        if wanted
        == [
            # What lies in wait for a second connection meets none.
            (turn.call.method, 0 if turn.fault.which else turn.fault.amount)
            for turn in draw(seed, rounds=3, methods=methods, kinds=["reorder"])
        ]
    )
    report = run(_app(tmp_path, program, _NEWEST_HOLDS, ""), seed=seed, rounds=3, faults=["reorder"])
    assert report.applied == {"reorder": 1}
    assert (report.broken is not None) == breaks


_COUNTER = """
def keeper(method, count):
    way = socket.socket(socket.AF_UNIX)
    way.connect(os.environ["NACRE_EGRESS"])
    way.sendall(b"CONNECT keeper.example:80 HTTP/1.1\\r\\nhost: keeper.example:80\\r\\n\\r\\n")
    head = b""
    while not head.endswith(b"\\r\\n\\r\\n"):
        head += way.recv(1)
    asking = http.client.HTTPConnection("keeper.example")
    asking.sock = way
    asking.request(method, "/", b"%d" % count)
    return int(asking.getresponse().read())

disk = os.environ["DISK"]
os.makedirs(disk, exist_ok=True)
if not os.path.exists(disk + "/s"):
    socket.socket(socket.AF_UNIX).bind(disk + "/s")
def count():
    return len(os.listdir(disk)) - 1
if count() < keeper("GET", 0):
    sys.exit("this disk is old")
def answer(body):
    open(f"{disk}/{count()}", "x").close()
    return 200, b"%d" % keeper("PUT", count())
"""
_COUNTED = """
class Invariants:
    def __init__(self, send):
        self._send, self._last, self._kept = send, 0, 0
        self.world = {"keeper.example:80": self._keep}
    def _keep(self, method, path, body):
        self._kept = max(self._kept, int(body))
        return 200, b"%d" % self._kept
    def count(self):
        print("not an answer")
        found = int(self._send("POST", "/", b"")[1])
        assert found > self._last, "the count went back"
        self._last = found
"""


def test_an_app_that_refuses_an_old_disk_gets_the_newest_back(tmp_path: Path) -> None:
    more = 'egress = ["keeper.example:80"]\n[environment]\nDISK = "{data}/counts"\n'
    folder = _app(tmp_path, _COUNTER + _ON_A_SOCKET, _COUNTED, more)
    seed = _seed("rollback", "count", 2, 4, ("count",))
    report = run(folder, seed=seed, rounds=4, faults=["rollback"])
    assert (report.verdict, report.held) == ("held", 4)
    (event,) = report.events
    assert event.words.endswith("it refused, and got the newest again")


_SUMS = """
from hypothesis import given, strategies
class Invariants:
    def __init__(self, send):
        self._send = send
    @given(first=strategies.integers(0, 1000), second=strategies.integers(0, 1000))
    def adds(self, first, second):
        status, body = self._send("POST", "/", b"%d %d" % (first, second))
        assert int(body) == first + second, f"not {body.decode()}"
"""


def test_invariants_are_hypothesis_properties(tmp_path: Path) -> None:
    program = "def answer(body): return 200, b'%d' % (sum(map(int, body.split())) % 1500)\n"
    folder = _app(tmp_path, program + _ON_A_SOCKET, _SUMS, "")
    report = run(folder, seed=6, rounds=80, faults=["repeat"])
    assert report.broken is not None
    assert "with first=" in report.broken.words
    # Hypothesis draws and does nothing more, and draws the same again.
    again = run(folder, seed=6, rounds=80, faults=["repeat"])
    assert (again.broken, again.held) == (report.broken, report.held)
