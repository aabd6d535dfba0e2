# SPDX-License-Identifier: Apache-2.0
"""A host that lies about other hosts: an oracle that believes one of them is found, one that checks holds."""

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest

from nacre import cli
from nacre.cli.exits import Exit
from nacre.errors import ConfigurationError
from nacre.testing.hostile import Kind, Method, Report, Round, draw, run
from nacre.testing.hostile.faults import LIES
from nacre.testing.hostile.honest import Answer, Question, World, answer
from nacre.testing.hostile.lies import another, failed, old, same_question, twisted
from nacre.testing.hostile.plan import Parameter

_ORACLE = """
import collections, concurrent.futures, http.client, http.server, json, os, socket, socketserver, ssl
HOW, HOSTS = os.environ["HOW"], os.environ["HOSTS"].split()

def reached(target):
    way = socket.socket(socket.AF_UNIX)
    way.connect(os.environ["NACRE_EGRESS"])
    way.sendall(f"CONNECT {target} HTTP/1.1\\r\\nhost: {target}\\r\\n\\r\\n".encode())
    head = b""
    while not head.endswith(b"\\r\\n\\r\\n"):
        byte = way.recv(1)
        if not byte:
            break
        head += byte
    return way if b" 200 " in head else None

def told(target, way):
    host = target.partition(":")[0]
    try:
        if HOW.startswith("tls"):
            context = ssl.create_default_context()
            context.check_hostname = HOW == "tls"
            if HOW == "tls-any":
                context.verify_mode = ssl.CERT_NONE
            way = context.wrap_socket(way, server_hostname=host)
        asking = http.client.HTTPConnection(host)
        asking.sock = way
        call = {"jsonrpc": "2.0", "id": 1, "method": "price", "params": ["gold"]}
        asking.request("POST", "/", json.dumps(call))
        return int(json.loads(asking.getresponse().read())["result"], 16)
    except Exception:
        return None

def price():
    ways = [reached(target) for target in HOSTS]
    with concurrent.futures.ThreadPoolExecutor(2 if HOW == "both" else 1) as pool:
        found = list(pool.map(told, HOSTS, ways))
    found, count = collections.Counter(found).most_common(1)[0]
    if found is None or HOW == "quorum" and count < 2:
        raise LookupError("nobody to believe")
    return found

class H(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        try:
            status, body = 200, b"%d" % price()
        except LookupError:
            status, body = 503, b"nobody to believe"
        self.send_response(status); self.end_headers(); self.wfile.write(body)
    def log_message(self, *_): pass
    def address_string(self): return ""
class S(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True
S(os.environ["NACRE_LISTEN"], H).serve_forever()
"""
_INVARIANTS = """
class Invariants:
    def __init__(self, send):
        self._send, self._price = send, 1000
        self.world = {host: {"price": self._honest} for host in HOSTS}
    def _honest(self, what):
        assert what == "gold"
        return hex(self._price)
    def trade(self, by: int):
        self._price += by
    def ask(self):
        status, body = self._send("GET", "/price", b"")
        assert status in (200, 503)
        if status == 200:
            assert int(body) == self._price, f"it says {int(body)}, which nobody pays"
"""
_METHODS = (Method("ask"), Method("trade", (Parameter("by", "int"),)))
_LIES = [word for kind in LIES for word in ("--fault", kind)]


@pytest.fixture(autouse=True)
def _own_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the development root where the test is."""
    monkeypatch.setenv("NACRE_DATA_DIR", str(tmp_path / "data"))


def _oracle(folder: Path, how: str, *hosts: str) -> Path:
    (folder / "source").mkdir()
    (folder / "source" / "oracle.py").write_text(_ORACLE)
    (folder / "invariants.py").write_text(f"HOSTS = {hosts!r}\n{_INVARIANTS}")
    (folder / "nacre.toml").write_text(
        'name = "oracle"\nversion = "1"\nsource = "source"\nentry = ["python3", "oracle.py"]\n'
        f"egress = {json.dumps(hosts)}\n"
        f'[environment]\nHOW = "{how}"\nHOSTS = "{" ".join(hosts)}"\n'
    )
    return folder


def _run(folder: Path, *faults: Kind, rounds: int) -> Report:
    seed = next(
        seed
        for seed in range(100_000)
        if _meets(draw(seed, rounds=rounds, methods=_METHODS, kinds=faults), faults)
    )
    return run(folder, seed=seed, rounds=rounds, faults=faults)


def _meets(plan: Sequence[Round], faults: Sequence[Kind]) -> bool:
    """Say whether every fault meets the first connection of a question, and an old answer is another one."""
    asked = [turn for turn in plan if turn.call.method == "ask" and turn.fault.which == 0]
    met = {turn.fault.kind: turn.number for turn in asked}
    if not met.keys() >= set(faults):
        return False
    before = [turn.call.method for turn in plan[: met.get("lie-old", 0)]]
    return "lie-old" not in met or "ask,trade" in ",".join(before)


def test_an_oracle_that_believes_one_host_is_found_and_found_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = _oracle(tmp_path, "believe", "one.example:80")
    words = ["test", str(folder), "--hostile-host", "--seed", "5", "--rounds", "30", *_LIES, "--json"]
    assert cli.main([*words, "--shorter", "2"]) == Exit.REJECTED
    found = json.loads(capsys.readouterr().out)
    assert found["verdict"] == "broken"
    assert "which nobody pays" in found["broken"]["words"]
    assert found["applied"].keys() <= set(LIES)
    assert 1 <= len(found["shortest"]) <= found["broken"]["round"] + 1
    assert found["shortest"][-1]["call"]["method"] == "ask"
    only = ",".join(
        f"{number}" if with_fault else f"{number}:quiet" for number, with_fault in found["only"].items()
    )
    assert cli.main([*words, "--only", only]) == Exit.REJECTED
    again = json.loads(capsys.readouterr().out)
    assert again["broken"] == found["broken"]
    assert [event["words"] for event in again["events"]] == [event["words"] for event in found["events"]]


def test_an_oracle_that_has_two_of_three_agree_holds(tmp_path: Path) -> None:
    folder = _oracle(tmp_path, "quorum", "one.example:80", "two.example:80", "three.example:80")
    report = _run(folder, *LIES, rounds=12)
    assert (report.verdict, report.broken) == ("held", None)
    assert report.applied.keys() == set(LIES)


def test_tls_makes_a_lie_a_broken_connection(tmp_path: Path) -> None:
    report = _run(_oracle(tmp_path, "tls", "one.example:443"), "lie-value", "lie-other", rounds=4)
    assert (report.verdict, report.broken) == ("held", None)
    refused = "for one.example:443, which the app refused"
    assert {event.words for event in report.events} == {
        f"showed a certificate of its own making {refused}",
        f"showed another name's certificate {refused}",
    }


@pytest.mark.parametrize(
    ("how", "lie", "what"),
    [
        (
            "tls-any",
            "lie-value",
            "a certificate of its own making, which the app took, and told the app a wrong",
        ),
        (
            "tls-any-name",
            "lie-other",
            "another name's certificate, which the app took, and told the app another",
        ),
    ],
)
def test_who_does_not_look_at_certificates_is_lied_to_all_the_same(
    tmp_path: Path, how: str, lie: Kind, what: str
) -> None:
    report = _run(_oracle(tmp_path, how, "one.example:443", "two.example:443"), lie, rounds=3)
    assert what in report.events[0].words


def test_answers_are_lost_cut_late_and_repeated(tmp_path: Path) -> None:
    kinds: list[Kind] = ["egress-drop", "egress-cut", "egress-delay", "egress-repeat"]
    folder = _oracle(tmp_path, "believe", "one.example:80")
    report = _run(folder, *kinds, rounds=8)
    assert (report.verdict, set(report.applied)) == ("held", set(kinds))


def test_answers_on_two_connections_come_in_another_order(tmp_path: Path) -> None:
    folder = _oracle(tmp_path, "both", "one.example:80", "two.example:80")
    report = _run(folder, "egress-reorder", rounds=4)
    assert report.verdict == "held"
    assert {event.words for event in report.events} <= {
        f"kept the answer of {name}.example:80 until another was given" for name in ("one", "two")
    }


@pytest.mark.parametrize(
    ("world", "why"),
    [
        ("{}", "world answers for nobody, and egress in nacre.toml names one.example:80"),
        ('{"one.example:80": lambda method, path, body: 1 / 0}', "one.example:80: ZeroDivisionError"),
    ],
)
def test_a_world_that_does_not_answer(tmp_path: Path, world: str, why: str) -> None:
    folder = _oracle(tmp_path, "believe", "one.example:80")
    (folder / "invariants.py").write_text(
        "class Invariants:\n    def __init__(self, send):\n        self._send = send\n"
        f"        self.world = {world}\n    def ask(self):\n        self._send('GET', '/', b'')\n"
    )
    with pytest.raises(ConfigurationError) as caught:
        run(folder, seed=1, rounds=1)
    assert caught.value.code == "hostile-invariants"
    assert why in str(caught.value)


_ASKED = Question("a:80", "POST", "/", b'{"jsonrpc":"2.0","id":7,"method":"f","params":[2]}')


def test_honest_answers() -> None:
    world: World = {
        "a:80": {"f": lambda by: 21 * by, "g": "0x1"},
        "b:80": lambda method, path, body: (201, f"{method} {path}".encode() + body),
    }
    assert json.loads(answer(world, _ASKED).body) == {"jsonrpc": "2.0", "id": 7, "result": 42}
    batch = b'[{"id":1,"method":"g"},{"id":2,"method":"h"},3,{"id":4,"method":"f","params":{"by":1}}]'
    first, second, third, fourth = json.loads(answer(world, Question("a:80", "POST", "/", batch)).body)
    assert (first["result"], fourth["result"]) == ("0x1", 21)
    assert (second["error"]["code"], third["error"]["code"]) == (-32601, -32600)
    assert answer(world, Question("a:80", "POST", "/", b"{")).status == 400
    assert answer(world, Question("b:80", "PUT", "/x?y", b"!")) == Answer(201, b"PUT /x?y!")
    assert "KeyError" in answer(world, Question("c:80", "GET", "/", b"")).problem


@pytest.mark.parametrize(
    "body",
    [
        b'{"jsonrpc":"2.0","id":7,"result":{"a":[1,"0x0f",true,null,2.5,"12","text",""]}}',
        b"17",
        b"text",
        b"",
        b"{}",
        b"\xff",
    ],
)
def test_a_value_is_changed_and_nothing_else(body: bytes) -> None:
    honest = Answer(200, body)
    told = [twisted(honest, amount) for amount in range(64)]
    assert all(answer.status == 200 and answer.body != body for answer in told)
    assert told == [twisted(honest, amount) for amount in range(64)]
    if b"jsonrpc" in body:
        lies = [json.loads(answer.body) for answer in told]
        assert all((lie["jsonrpc"], lie["id"]) == ("2.0", 7) for lie in lies)
        values = json.loads(body)["result"]["a"]
        changed = Counter(
            index
            for lie in lies
            for index, value in enumerate(lie["result"]["a"])
            if (type(value), value) != (type(values[index]), values[index])
        )
        assert changed.keys() == set(range(8))
        assert changed.total() == 64
        assert all(len(lie["result"]["a"][1]) >= 4 and lie["result"]["a"][1][:2] == "0x" for lie in lies)


def test_an_old_answer_fits_the_question_of_now() -> None:
    past = [Answer(200, b'{"id": %d, "result": %d}' % pair) for pair in ((1, 10), (2, 11), (3, 12), (4, 12))]
    honest = Answer(200, b'{"id": 9, "result": 12}')
    found = [old(honest, past, amount) for amount in (1, 2, 8)]
    assert [answer and json.loads(answer.body) for answer in found] == [
        {"id": 9, "result": 11},
        {"id": 9, "result": 10},
        {"id": 9, "result": 10},
    ]
    assert old(honest, past[2:], 1) is None
    assert old(Answer(200, b"b"), [Answer(200, b"a"), Answer(200, b"b")], 1) == Answer(200, b"a")
    asked = [
        Question("a:80", "POST", "/", b'{"id": 8, "method": "f"}'),
        Question("a:80", "POST", "/", b'{"id": 9, "method": "f"}'),
        Question("a:80", "POST", "/", b'{"id": 9, "method": "g"}'),
        Question("b:80", "POST", "/", b'{"id": 9, "method": "f"}'),
    ]
    assert [same_question(asked[0], other) for other in asked] == [True, True, False, False]


def test_others_and_failures() -> None:
    honest = Answer(200, b'{"jsonrpc": "2.0", "id": 3, "result": 1}')
    assert another(honest, [honest, Answer(404, b"who?")], 5) == Answer(404, b"who?")
    assert b"go online" in another(honest, [honest], 5).body
    told = [failed(honest, amount) for amount in range(10)]
    assert {answer.status for answer in told} == {200, 302, 429, 500}
    assert {json.loads(answer.body)["id"] for answer in told if b"jsonrpc" in answer.body} == {3}
    assert b"jsonrpc" not in failed(Answer(200, b"[]"), 0).body
