# SPDX-License-Identifier: Apache-2.0
"""What was proved to be newer stays newer, across crashes, and a liar cannot lock anybody out."""

import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from nacre.endorsers import files
from nacre.endorsers.facts import Facts
from nacre.endorsers.rollback import Guard, Mark
from nacre.errors import EndorsementsUnavailable

if TYPE_CHECKING:
    from tests.endorsers.conftest import Notices

_NOW = 1000


def _facts(number: int, issued: int = 100, kind: str = "tcb", fmspc: str = "00") -> Facts:
    return Facts(0, 2000, kind, number, issued, fmspc)


def _refused(guard: Guard, found: Facts, at: int = _NOW, scope: str = "standard", tee: str = "tdx") -> str:
    try:
        guard.check(tee, scope, found, role="tcb_info", at=at)
    except EndorsementsUnavailable as error:
        return error.code
    return ""


@pytest.fixture
def guard(tmp_path: Path) -> Guard:
    made = Guard(tmp_path)
    made.record("tdx", "standard", [_facts(18), _facts(18, 90, "identity", ""), Facts(0, 9)])
    return made


def test_an_older_number(guard: Guard) -> None:
    assert _refused(guard, _facts(17, 900)) == "tcb-evaluation-rollback"
    assert _refused(guard, _facts(17, 900, "identity", "")) == "tcb-evaluation-rollback"


def test_an_older_issue_of_the_same_number(guard: Guard) -> None:
    assert _refused(guard, _facts(18, 99)) == "tcb-issue-rollback"


@pytest.mark.parametrize("found", [_facts(18), _facts(18, 101), _facts(19, 50), Facts(0, 9)])
def test_what_is_not_older(guard: Guard, found: Facts) -> None:
    assert _refused(guard, found) == ""


def test_what_the_mark_says_nothing_about(guard: Guard) -> None:
    older = _facts(17)
    assert _refused(guard, _facts(17, fmspc="01")) == ""
    assert _refused(guard, older, tee="sgx") == ""
    assert _refused(guard, older, scope="early") == ""
    assert _refused(guard, older, at=99) == ""
    assert _refused(guard, older, at=100) == "tcb-evaluation-rollback"


def test_marks_only_rise(guard: Guard, tmp_path: Path) -> None:
    guard.record("tdx", "standard", [_facts(17, 900)])
    guard.record("tdx", "standard", [_facts(19, 50)])
    assert Guard(tmp_path).marks() == {
        "tdx/standard/tcb/00": Mark(19, 50),
        "tdx/standard/identity/": Mark(18, 90),
    }


def test_only_on_request(guard: Guard, tmp_path: Path, notices: "Notices") -> None:
    assert guard.marks()
    lenient = Guard(tmp_path, notice=notices, unsafe_allow_rollback=True)
    assert _refused(lenient, _facts(17)) == ""
    assert notices.codes == ["tcb-evaluation-rollback"]


def test_everybody_who_shares_the_folder_knows(guard: Guard, tmp_path: Path) -> None:
    other = Guard(tmp_path)
    assert _refused(other, _facts(17)) == "tcb-evaluation-rollback"
    other.record("tdx", "standard", [_facts(20)])
    assert _refused(guard, _facts(19)) == "tcb-evaluation-rollback"
    guard.record("tdx", "standard", [_facts(19)])
    assert Guard(tmp_path).marks()["tdx/standard/tcb/00"].number == 20


def test_without_a_folder() -> None:
    guard = Guard(None)
    guard.record("tdx", "standard", [_facts(18)])
    assert _refused(guard, _facts(17)) == "tcb-evaluation-rollback"


def test_damage_is_told_and_memory_counts(guard: Guard, tmp_path: Path, notices: "Notices") -> None:
    guard._notice = notices
    state = tmp_path / "rollback" / "rollback.state"
    state.write_bytes(state.read_bytes()[:-1])
    assert _refused(guard, _facts(17)) == "tcb-evaluation-rollback"
    assert set(notices.codes) == {"rollback-state-unusable"}
    guard.record("tdx", "standard", [_facts(19)])
    assert Guard(tmp_path).marks()["tdx/standard/identity/"].number == 18


def test_another_format_is_nothing(guard: Guard, tmp_path: Path) -> None:
    files.replace_sealed(tmp_path / "rollback" / "rollback.state", b'{"format":"x","marks":{}}')
    assert Guard(tmp_path).marks() == {}
    assert guard.marks()


def test_a_disk_that_comes_back(tmp_path: Path, notices: "Notices") -> None:
    (tmp_path / "rollback").write_text("in the way")
    guard = Guard(tmp_path, notice=notices)
    guard.record("tdx", "standard", [_facts(18)])
    assert _refused(guard, _facts(17)) == "tcb-evaluation-rollback"
    assert set(notices.codes) == {"rollback-state-unusable"}
    (tmp_path / "rollback").unlink()
    guard.record("tdx", "standard", [_facts(18)])
    assert Guard(tmp_path).marks()["tdx/standard/tcb/00"] == Mark(18, 100)


def test_a_folder_that_others_can_write(tmp_path: Path, notices: "Notices") -> None:
    (tmp_path / "rollback").mkdir()
    (tmp_path / "rollback").chmod(0o777)
    Guard(tmp_path, notice=notices).record("tdx", "standard", [_facts(18)])
    assert notices.codes == ["cache-unsafe"]


_RECORDER = """
import sys
from pathlib import Path
from nacre.endorsers.facts import Facts
from nacre.endorsers.rollback import Guard
guard = Guard(Path(sys.argv[1]))
for number in range(1, int(sys.argv[2]) + 1):
    guard.record("tdx", sys.argv[3], [Facts(0, 9, "tcb", number, number, "00")])
    print(number, flush=True)
"""


def _recorder(folder: Path, count: int, scope: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", _RECORDER, str(folder), str(count), scope], stdout=subprocess.PIPE, text=True
    )


@pytest.mark.parametrize("lines", [1, 7, 23])
def test_a_crash_loses_nothing_that_was_recorded(tmp_path: Path, lines: int) -> None:
    with _recorder(tmp_path, 100_000, "standard") as recorder:
        assert recorder.stdout is not None
        for _ in range(lines):
            last = recorder.stdout.readline()
        recorder.send_signal(signal.SIGKILL)
        last = ([last, *recorder.stdout.read().splitlines()])[-1]
    assert Guard(tmp_path, notice=pytest.fail).marks()["tdx/standard/tcb/00"].number >= int(last)  # type: ignore[arg-type]


def test_two_processes_lose_nothing_to_each_other(tmp_path: Path) -> None:
    with _recorder(tmp_path, 40, "standard") as one, _recorder(tmp_path, 40, "early") as other:
        assert (one.wait(), other.wait()) == (0, 0)
    assert {key: mark.number for key, mark in Guard(tmp_path).marks().items()} == {
        "tdx/standard/tcb/00": 40,
        "tdx/early/tcb/00": 40,
    }
