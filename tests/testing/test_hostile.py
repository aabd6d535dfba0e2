# SPDX-License-Identifier: Apache-2.0
"""The hostile host: real enclaves, real faults; the genuine worm holds and two planted bugs are found."""

import json
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
import pytest

from nacre import cli
from nacre.build.app import App
from nacre.cli.exits import Exit
from nacre.errors import ConfigurationError
from nacre.testing.hostile import FAULTS, Kind, Method, draw, run
from nacre.testing.hostile.clock import Clock
from nacre.testing.hostile.faults import EGRESS
from nacre.testing.hostile.plan import Fault, Parameter, keep

_WORM = Path(__file__).parents[2] / "examples" / "worm"
_METHODS = (
    Method("step", (Parameter("ticks", "int"), Parameter("stimuli", "names"))),
    Method("look"),
    Method("say", (Parameter("text", "str"), Parameter("data", "bytes"))),
)
_OF_THE_WORM = (Method("look"), _METHODS[0])
_INSIDE = tuple(kind for kind in FAULTS if kind not in EGRESS)

Copy = Callable[..., Path]


@pytest.fixture(autouse=True)
def _own_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the development root where the test is."""
    monkeypatch.setenv("NACRE_DATA_DIR", str(tmp_path / "data"))


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


def _seed(wanted: Callable[[list[str]], bool], rounds: int, kinds: Sequence[Kind]) -> int:
    """Find the first seed that plans what a test is about."""
    return next(
        seed
        for seed in range(10_000)
        if wanted([turn.fault.kind for turn in draw(seed, rounds=rounds, methods=_OF_THE_WORM, kinds=kinds)])
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
def test_a_short_plan_begins_a_long_one_and_forty_rounds_have_every_fault(seed: int) -> None:
    long = draw(seed, rounds=45, methods=_METHODS)
    assert draw(seed, rounds=13, methods=_METHODS) == long[:13]
    for turn in long:
        if turn.fault.kind == "rollback":
            assert 1 <= turn.fault.amount <= turn.number
        elif turn.fault.kind == "clock":
            assert abs(turn.fault.amount) <= 365 * 86400
    kinds = {turn.fault.kind for turn in long[:40]}
    assert kinds | {"rollback"} == {"quiet", *FAULTS}
    assert "rollback" in kinds or long[0].fault.kind == "quiet"


def test_the_clock_goes_back_too() -> None:
    amounts = {turn.fault.amount > 0 for turn in draw(1, rounds=20, methods=_METHODS, kinds=["clock"])}
    assert amounts == {False, True}


def test_only_the_faults_that_were_asked_for_are_planned() -> None:
    plan = draw(4, rounds=30, methods=_METHODS, kinds=["pause", "lie-old"])
    assert {turn.fault.kind for turn in plan} == {"pause", "lie-old", "quiet"}


def test_rounds_are_left_out_and_faults_taken_away() -> None:
    plan = draw(4, rounds=30, methods=_METHODS, kinds=["pause"])
    first = next(turn for turn in plan if turn.fault.kind == "pause")
    assert keep(plan, {first.number: True, 29: False}) == (
        first,
        msgspec.structs.replace(plan[29], fault=Fault("quiet")),
    )


def test_the_genuine_worm_holds(capsys: pytest.CaptureFixture[str]) -> None:
    kinds = [kind for kind in _INSIDE if kind != "rollback"]
    seed = _seed(
        lambda kinds: "clones" in kinds[:8] and "restart" in kinds[2:8] and "pause" in kinds, 9, kinds
    )
    status = cli.main(["test", str(_WORM), "--hostile-host", "--seed", str(seed), "--rounds", "9", "--json"])
    told = json.loads(capsys.readouterr().out)
    assert (status, told["broken"], told["seed"]) == (Exit.ACCEPTED, None, seed)
    assert told["held"] + told["unanswered"] == 9
    assert told["held"] >= 5
    assert {"clones", "restart", "pause"} <= {event["kind"] for event in told["events"]}
    # It keeps nothing, and who runs it is told that its disk was not rolled back.
    assert "rollback" in told["not_tried"]
    assert set(EGRESS) <= told["not_tried"].keys()


def test_a_disk_that_is_rolled_back_is_found_and_found_again(
    copy: Copy, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = copy(WORM_STATE="{data}/worm")
    seed = _seed(
        lambda kinds: "rollback" in kinds[5:7] and not {"restart", "clones", "pause"} & set(kinds), 9, _INSIDE
    )
    words = ["test", str(folder), "--hostile-host", "--seed", str(seed), "--rounds", "9", "--shorter", "0"]
    assert cli.main(words) == Exit.REJECTED
    told = capsys.readouterr().out
    assert "started it on its disk of round" in told
    assert "the tick went back from" in told or "which no step does" in told
    # What it says to run again breaks again, in the same way.
    again = shlex.split(told[told.index("again: nacre ") :].splitlines()[0])[2:]
    assert cli.main([*again, "--shorter", "0"]) == Exit.REJECTED
    assert told == capsys.readouterr().out


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


def test_a_fault_that_was_asked_for_and_not_applied_is_no_success(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["test", str(_WORM), "--hostile-host", "--seed", "1", "--rounds", "1", "--fault", "rollback"]
    assert cli.main(words) == Exit.INCOMPLETE
    told = capsys.readouterr().out
    assert "INCOMPLETE: no fault was applied, so nothing was tested" in told
    assert "not tried: rollback: no value of the app's environment begins with {data}" in told
    assert "again: nacre test" in told
    assert "--fault rollback" in told


def test_faults_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["test", "--list-faults"]) == 0
    listed = [line.split()[0] for line in capsys.readouterr().out.splitlines()]
    assert listed == list(FAULTS)


@pytest.mark.parametrize(
    "words", [("--fault", "quiet"), ("--only", "3,x"), ("--only", "3:loud"), ("--tee", "x")]
)
def test_options_that_mean_nothing(words: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["test", str(_WORM), "--hostile-host", *words]) == Exit.USAGE
    assert words[0] in capsys.readouterr().err


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
