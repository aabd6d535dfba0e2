# SPDX-License-Identifier: Apache-2.0
"""Asking other verifiers the same cases: real programs, good ones and bad ones."""

import json
import shlex
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from nacre import cli
from nacre.cli.exits import Exit
from nacre.errors import ConfigurationError
from nacre.testing import Outcome, run
from nacre.testing.peer import Peer

_OWN = Path(__file__).parents[1] / "vectors"
_CASES = ("nitro-synthetic/userdata-513", "nitro/marlin-sample-2024-02", "tdx/syn-policy-debug")

Program = Callable[..., str]


@pytest.fixture
def program(tmp_path: Path) -> Program:
    """Write a verifier of a few lines and return the command that runs it."""

    def write(answer: object, status: int = 0, *, first: str = "") -> str:
        text = answer if isinstance(answer, str) else json.dumps(answer)
        file = tmp_path / "verifier with spaces.py"
        file.write_text(
            f"import json, sys, time\nasked = json.load(sys.stdin)\n{first}\n"
            f"sys.stdout.write({text!r})\nsys.exit({status})\n"
        )
        return shlex.join([sys.executable, str(file)])

    return write


def _outcomes(command: str, case: str = _CASES[0], **options: float) -> tuple[Outcome, ...]:
    return run(_OWN / case, ask=Peer(command, **options)).outcomes


@pytest.mark.parametrize("case", _CASES)
def test_this_verifier_is_one_of_them(case: str) -> None:
    peer = Peer(shlex.join([sys.executable, "-m", "nacre", "conformance", "case"]))
    (told,) = run(_OWN / case, ask=peer).outcomes
    (own,) = run(_OWN / case).outcomes
    assert (told.status, told.unread) == (own.status, own.unread) == ("agree", own.unread)


def test_what_is_not_answered_is_not_compared(program: Program) -> None:
    (outcome,) = _outcomes(program({"verdict": "fail"}, 10))
    assert (outcome.status, outcome.unread) == ("agree", False)
    (outcome,) = _outcomes(program({"verdict": "pass"}), _CASES[1])
    assert (outcome.status, outcome.unread) == ("agree", True)


@pytest.mark.parametrize(
    ("answer", "what"),
    [
        ({"verdict": "fail"}, ["verdict"]),
        ({"verdict": "pass", "crypto": "fail"}, ["crypto"]),
        ({"verdict": "pass", "tcb_status": None}, ["tcb_status"]),
        ({"verdict": "pass", "tcb_status": "UpToDate", "advisory_ids": ["INTEL-SA-1"]}, ["advisory_ids"]),
        ({"verdict": "pass", "claims": {}}, None),
        ({"verdict": "pass", "claims": None}, None),
    ],
)
def test_what_is_answered_is_compared(
    program: Program, answer: dict[str, object], what: list[str] | None
) -> None:
    command = program(answer, 0 if answer["verdict"] == "pass" else 10)
    (outcome,) = _outcomes(command, "tdx/google-v5-90c06f000000-e18-uptodate-cf77a6")
    assert outcome.status == "disagree"
    found = [difference.what for difference in outcome.differences]
    assert found == what if what else all(name.startswith("claims") for name in found)


def test_what_it_does_not_do_is_not_held_against_it_nor_for_it(program: Program) -> None:
    (outcome,) = _outcomes(program({"verdict": "fail", "code": "no-nitro"}, 20))
    assert (outcome.status, outcome.why) == ("unsupported", "no-nitro")
    # What a verifier may lack it may refuse.
    (outcome,) = _outcomes(program({"verdict": "fail"}, 20), "sgx/syn-cert-type-4-with-external-chain")
    assert outcome.status == "agree"


@pytest.mark.parametrize(
    ("answer", "status", "first", "why"),
    [
        ({"verdict": "fail"}, 0, "", "its verdict is fail"),
        ({"verdict": "pass"}, 10, "", "its verdict is pass"),
        ({"verdict": "pass"}, 20, "", "its verdict is pass"),
        ({"verdict": "fail"}, 1, "", "ended with 1"),
        ({"verdict": "fail"}, 2, "", "ended with 2"),
        ({"verdict": "fail"}, 10, "raise ValueError", "ended with 1"),
        ({"verdict": "fail"}, 10, "import os; os.abort()", "ended with -6"),
        ({"verdict": "fail"}, 10, "time.sleep(60)", "no answer within 0.5 s"),
        ({"verdict": "maybe"}, 10, "", "not what was expected"),
        ({"crypto": "fail"}, 10, "", "not what was expected"),
        ({"verdict": "fail", "accepted": True}, 10, "", "not what was expected"),
        ('{"verdict": "fail", "verdict": "pass"}', 0, "", "twice"),
        ("", 10, "", "not JSON"),
        ('{"verdict": "fail"} and a word', 10, "", "not JSON"),
    ],
)
def test_no_answer_is_a_disagreement(
    program: Program, answer: object, status: int, first: str, why: str
) -> None:
    (outcome,) = _outcomes(program(answer, status, first=first), seconds=0.5 if "sleep" in first else 60)
    assert outcome.status == "disagree"
    assert why in outcome.why


@pytest.mark.parametrize("command", ["", " ", "no-such-verifier --fast", "'unbalanced"])
def test_a_program_that_is_not_there(command: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        Peer(command)
    assert caught.value.code == "peer-missing"


def test_a_program_that_does_not_start(tmp_path: Path) -> None:
    file = tmp_path / "verifier"
    file.write_bytes(b"\x7fELF and nothing else")
    file.chmod(0o755)
    (outcome,) = _outcomes(str(file))
    assert "Exec format error" in outcome.why


def test_no_shell_runs_it(program: Program, tmp_path: Path) -> None:
    _outcomes(f"{program({'verdict': 'fail'}, 10)} ; touch {tmp_path / 'ran'}")
    assert not (tmp_path / "ran").exists()


def test_the_command(program: Program, capsys: pytest.CaptureFixture[str]) -> None:
    folder = str(_OWN / "nitro-synthetic")
    never = program({"verdict": "fail", "code": "\x1b[2J"}, 10)
    assert cli.main(["conformance", "run", folder, "--with", never, "--json"]) == Exit.REJECTED
    found = json.loads(capsys.readouterr().out)
    expected = [
        json.loads(file.read_text())["expected"]["verdict"] for file in Path(folder).rglob("case.json")
    ]
    assert (found["agree"], found["disagree"]) == (expected.count("fail"), expected.count("pass"))
    assert cli.main(["conformance", "run", folder, "--with", never]) == Exit.REJECTED
    assert "\x1b" not in capsys.readouterr().out
    declining = program({"verdict": "fail"}, 20)
    assert cli.main(["conformance", "run", folder, "--with", declining]) == Exit.REJECTED
    assert "not run, nobody here verifies them: 22 (aws-nitro-enclave 22)" in capsys.readouterr().out
    for missing in ("no-such-verifier", ""):
        assert cli.main(["conformance", "run", folder, "--with", missing]) == Exit.USAGE
    assert cli.main(["conformance", "run", folder, "--with", never, "--timeout", "0"]) == Exit.USAGE
    assert cli.main(["conformance", "capabilities"]) == Exit.ACCEPTED
    assert json.loads(capsys.readouterr().out)["contract"] == "nacre-case/v1"
