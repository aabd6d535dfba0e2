# SPDX-License-Identifier: Apache-2.0
"""The hostile host: real enclaves, real faults; the genuine worm holds and two planted bugs are found."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from nacre import cli
from nacre.build.app import App
from nacre.cli.exits import Exit
from nacre.errors import ConfigurationError
from nacre.testing.hostile import Method, draw, run
from nacre.testing.hostile.clock import Clock
from nacre.testing.hostile.plan import Parameter

_WORM = Path(__file__).parents[2] / "examples" / "worm"
_METHODS = (
    Method("step", (Parameter("ticks", "int"), Parameter("stimuli", "names"))),
    Method("look"),
    Method("say", (Parameter("text", "str"), Parameter("data", "bytes"))),
)
_OF_THE_WORM = (Method("look"), _METHODS[0])
_KINDS = {
    *("quiet", "drop-request", "drop-answer", "delay", "cut-request", "cut-answer", "repeat"),
    *("pause", "restart", "rollback", "clones", "clock"),
}

Copy = Callable[..., Path]


@pytest.fixture
def copy(tmp_path: Path) -> Copy:
    """Copy the worm and change its files."""

    def make(**environment: str) -> Path:
        folder = tmp_path / "copy"
        shutil.copytree(_WORM, folder, ignore=shutil.ignore_patterns("__pycache__"))
        if environment:
            lines = [f'{name} = "{value}"\n' for name, value in environment.items()]
            with (folder / "nacre.toml").open("a") as file:
                file.writelines(["[environment]\n", *lines])
        return folder

    return make


def _seed(wanted: Callable[[list[str]], bool], rounds: int) -> int:
    """Find the first seed that plans what a test is about."""
    return next(
        seed
        for seed in range(10_000)
        if wanted([turn.fault.kind for turn in draw(seed, rounds=rounds, methods=_OF_THE_WORM)])
    )


def test_the_plan_is_a_function_of_the_seed() -> None:
    names = ("nose", "tail")
    plan = draw(7, rounds=40, methods=_METHODS, names=names)
    assert plan == draw(7, rounds=40, methods=_METHODS, names=names)
    assert plan[:15] != draw(8, rounds=15, methods=_METHODS, names=names)
    faults = [turn.fault for turn in draw(7, rounds=40, methods=_OF_THE_WORM)]
    assert faults == [turn.fault for turn in plan]
    assert {turn.call.method for turn in plan} == {"step", "look", "say"}
    for turn in plan:
        given = turn.call.arguments
        match turn.call.method:
            case "step":
                assert isinstance(given["ticks"], int)
                assert isinstance(given["stimuli"], dict)
                assert 1 <= given["ticks"] <= 50
                assert given["stimuli"].keys() <= set(names)
            case "say":
                bytes.fromhex(str(given["data"]))


@pytest.mark.parametrize("seed", range(20))
def test_a_short_plan_begins_a_long_one_and_twenty_rounds_have_every_fault(seed: int) -> None:
    long = draw(seed, rounds=45, methods=_METHODS)
    assert draw(seed, rounds=13, methods=_METHODS) == long[:13]
    for turn in long:
        if turn.fault.kind == "rollback":
            assert 1 <= turn.fault.amount <= turn.number
    kinds = {turn.fault.kind for turn in long[:20]}
    assert kinds >= _KINDS - {"rollback"}
    assert "rollback" in kinds or long[0].fault.kind == "restart"


def test_the_genuine_worm_holds(capsys: pytest.CaptureFixture[str]) -> None:
    seed = _seed(lambda kinds: "clones" in kinds[:8] and "restart" in kinds[2:8] and "pause" in kinds, 11)
    status = cli.main(["test", str(_WORM), "--hostile-host", "--seed", str(seed), "--rounds", "11", "--json"])
    told = json.loads(capsys.readouterr().out)
    assert (status, told["broken"], told["seed"]) == (Exit.ACCEPTED, None, seed)
    assert told["held"] + told["unanswered"] == 11
    assert told["held"] >= 6
    assert {"clones", "restart", "pause"} <= {event["kind"] for event in told["events"]}
    # It keeps nothing, and who runs it is told that its disk was not rolled back.
    planned = {turn.fault.kind for turn in draw(seed, rounds=11, methods=_OF_THE_WORM)}
    assert ("rollback" in told["not_tried"]) == ("rollback" in planned)


def test_a_disk_that_is_rolled_back_is_found_and_found_again(
    copy: Copy, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = copy(WORM_STATE="{data}/worm")
    seed = _seed(
        lambda kinds: "rollback" in kinds[5:7] and not {"restart", "clones", "pause"} & set(kinds), 9
    )
    words = ["test", str(folder), "--hostile-host", "--seed", str(seed), "--rounds", "9"]
    assert cli.main(words) == Exit.REJECTED
    told = capsys.readouterr().out
    assert "started it on its disk of round" in told
    assert "the tick went back from" in told or "which no step does" in told
    assert f"--seed {seed} --rounds 9" in told
    found = run(folder, seed=seed, rounds=9)
    assert found.broken is not None
    assert found.broken.words in told
    assert [event.words for event in found.events if event.words not in told] == []


def test_a_worm_that_a_clock_moves_is_found_and_found_again(copy: Copy) -> None:
    folder = copy()
    service = folder / "src" / "worm" / "service.py"
    text = service.read_text()
    honest = 'far each muscle is contracted."""\n        with self._lock:\n'
    assert text.count(honest) == 1
    moved = "            for _ in range(int(time.time() * 10) % 7):\n                self._worm.step({})\n"
    service.write_text(
        text.replace(honest, honest + moved).replace("import os\n", "import os\nimport time\n")
    )
    found = run(folder, seed=3, rounds=20)
    assert found.broken is not None
    assert found.broken.round < 19
    assert "which no step does" in found.broken.words or "nobody stepped" in found.broken.words
    # What a clock moves depends on the moment: not where it breaks, but that it does.
    again = run(folder, seed=found.seed, rounds=found.rounds)
    assert again.broken is not None


_COUNTER = """
import http.server, os, socket, socketserver, sys
disk, elsewhere = os.environ["DISK"], os.environ["ELSEWHERE"]
if not os.path.isdir(disk):
    os.mkdir(disk)
    socket.socket(socket.AF_UNIX).bind(disk + "/s")
kept = len([name for name in os.listdir(disk) if name != "s"])
if os.path.exists(elsewhere) and kept < int(open(elsewhere).read()):
    sys.exit("this disk is old")
class H(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        names = [name for name in os.listdir(disk) if name != "s"]
        open(f"{disk}/{len(names)}", "x").close()
        open(elsewhere, "w").write(str(len(names) + 1))
        self.send_response(200); self.end_headers(); self.wfile.write(b"%d" % len(names))
    def log_message(self, *_): pass
    def address_string(self): return ""
socketserver.UnixStreamServer(os.environ["NACRE_LISTEN"], H).serve_forever()
"""
_COUNTED = """
class Invariants:
    def __init__(self, send):
        self._send, self._last = send, -1
    def count(self, text: str, data: bytes):
        print("not an answer")
        assert isinstance(data, bytes) and isinstance(text, str)
        found = int(self._send("POST", "/", text.encode() + data)[1])
        assert found > self._last, "the count went back"
        self._last = found
"""


def test_an_app_that_refuses_an_old_disk_gets_the_newest_back(tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "counter.py").write_text(_COUNTER)
    (tmp_path / "invariants.py").write_text(_COUNTED)
    (tmp_path / "nacre.toml").write_text(
        'name = "counter"\nversion = "1"\nsource = "source"\nentry = ["python3", "counter.py"]\n'
        f'[environment]\nDISK = "{{data}}/counts"\nELSEWHERE = "{tmp_path}/elsewhere"\n'
    )
    seed = _seed(lambda kinds: kinds[3] == "rollback" and not {"restart", "clones"} & set(kinds), 5)
    report = run(tmp_path, seed=seed, rounds=5)
    assert report.broken is None
    assert report.held >= 2
    (event,) = (event for event in report.events if event.kind == "rollback")
    assert event.words.endswith("it refused, and got the newest again")


def test_the_clock_moves_or_says_why_not(tmp_path: Path) -> None:
    app = App.load(_WORM)
    clock = Clock(tmp_path / "clock", app)
    if clock.missing:
        assert clock.environment == {}
        return
    clock.jump(50_000)
    clock.jump(50_000)
    program = "import time; print(time.time() - time.clock_gettime(time.CLOCK_MONOTONIC))"
    times = [
        float(subprocess.check_output([sys.executable, "-c", program], env=environment, text=True))
        for environment in ({}, clock.environment)
    ]
    assert 99_990 < times[1] - times[0] < 100_010


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (None, "there is none"),
        ("import nothing_that_there_is", "nothing_that_there_is"),
        ("class Invariants:\n    def __init__(self, send): pass\n", "no public method"),
        ("class Invariants:\n    def __init__(self, send): pass\n    def f(self, x: set): pass\n", "bytes"),
        ("import os\nos._exit(3)", "ended with 3"),
    ],
)
def test_invariants_that_cannot_be_used(copy: Copy, text: str | None, why: str) -> None:
    folder = copy()
    if text is None:
        (folder / "invariants.py").unlink()
    else:
        (folder / "invariants.py").write_text(text)
    with pytest.raises(ConfigurationError) as caught:
        run(folder, seed=1, rounds=1)
    assert caught.value.code == "hostile-invariants"
    assert why in str(caught.value)
