# SPDX-License-Identifier: Apache-2.0
"""Turns at a server that allows one request in so many seconds; processes are in ``test_kds``."""

import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from nacre.endorsers.files import locked
from nacre.endorsers.pace import Pace
from nacre.errors import EndorsementsUnavailable

if TYPE_CHECKING:
    from tests.endorsers.conftest import Notices

HOST = "kds.example:8443"
FOLDER = "pace/kds.example-8443"


class Time:
    """Time that passes while somebody sleeps."""

    def __init__(self) -> None:
        self.now = 1_700_000_000.0
        self.slept: list[float] = []

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(round(seconds, 3))
        self.now += seconds


@pytest.fixture
def clock() -> Time:
    return Time()


def pace(folder: Path | None, clock: Time, notices: "Notices", patience: float = 0.1) -> Pace:
    return Pace(HOST, folder, interval=10, patience=patience, notice=notices, clock=clock, sleep=clock.sleep)


def ask(made: Pace, clock: Time, seconds: float = 0) -> None:
    with made.turn() as wait:
        wait()
        clock.now += seconds


def test_only_who_asks_waits_and_only_from_the_last_request_on(
    tmp_path: Path, clock: Time, notices: "Notices"
) -> None:
    made = pace(tmp_path, clock, notices)
    ask(made, clock)
    assert clock.slept == []
    clock.now += 4
    with made.turn():
        pass  # it was in the cache after all
    ask(made, clock, 3)
    assert clock.slept == [6]
    # The request took three seconds; when it arrived, nobody knows.
    ask(made, clock)
    assert clock.slept == [6, 10]
    clock.now += 60
    ask(made, clock)
    assert clock.slept == [6, 10]
    assert notices == []


def test_another_process_counts(tmp_path: Path, clock: Time, notices: "Notices") -> None:
    ask(pace(tmp_path, clock, notices), clock)
    clock.now += 1
    ask(pace(tmp_path, clock, notices), clock)
    assert clock.slept == [9]


def test_without_a_folder_threads_still_take_turns(clock: Time, notices: "Notices") -> None:
    made = pace(None, clock, notices)
    ask(made, clock)
    ask(made, clock)
    assert clock.slept == [10]


def test_a_time_to_come_says_nothing(tmp_path: Path, clock: Time, notices: "Notices") -> None:
    ask(pace(tmp_path, clock, notices), clock)
    clock.now -= 86400
    ask(pace(tmp_path, clock, notices), clock)
    assert clock.slept == []


def test_a_folder_that_fails_costs_nothing_but_spacing(
    tmp_path: Path, clock: Time, notices: "Notices"
) -> None:
    (tmp_path / "pace").write_text("in the way")
    made = pace(tmp_path, clock, notices)
    ask(made, clock)
    ask(made, clock)
    assert clock.slept == [10]
    assert notices.codes == ["cache-unusable"] * 2


def test_a_folder_of_others(tmp_path: Path, clock: Time, notices: "Notices") -> None:
    (tmp_path / FOLDER).mkdir(parents=True)
    (tmp_path / FOLDER).chmod(0o777)
    ask(pace(tmp_path, clock, notices), clock)
    assert notices.codes == ["cache-unsafe"]
    assert list((tmp_path / FOLDER).iterdir()) == []


def test_a_mark_that_cannot_be_left(tmp_path: Path, clock: Time, notices: "Notices") -> None:
    (tmp_path / FOLDER).mkdir(parents=True, mode=0o700)
    (tmp_path / FOLDER / "last").symlink_to("nowhere")
    ask(pace(tmp_path, clock, notices), clock)
    assert not (tmp_path / FOLDER / "nowhere").exists()


def test_another_process_that_never_ends(tmp_path: Path, clock: Time, notices: "Notices") -> None:
    made = pace(tmp_path, clock, notices)
    ask(made, clock)
    with locked(tmp_path / FOLDER), pytest.raises(EndorsementsUnavailable) as caught:
        ask(made, clock)
    assert caught.value.code == "endorser-queue"
    ask(made, clock)  # the thread's own turn is over


def test_a_thread_that_never_ends(clock: Time, notices: "Notices") -> None:
    made = pace(None, clock, notices)
    with made.turn(), pytest.raises(EndorsementsUnavailable) as caught:
        ask(made, clock)
    assert (caught.value.code, caught.value.context["host"]) == ("endorser-queue", HOST)
    ask(made, clock)


def test_a_crowd_is_sent_away_at_once(clock: Time, notices: "Notices") -> None:
    """Evidence of chips that do not exist must not tie up every thread of a server."""
    made = pace(None, clock, notices, patience=30)
    inside, leave = threading.Event(), threading.Event()

    def stay() -> None:
        with made.turn():
            inside.set()
            leave.wait(10)

    threads = [threading.Thread(target=stay) for _ in range(9)]
    threads[0].start()
    assert inside.wait(5)
    for thread in threads[1:]:
        thread.start()
    while made._places._value > 0:
        pass
    with pytest.raises(EndorsementsUnavailable) as caught, made.turn():
        pass
    assert caught.value.code == "endorser-queue"
    leave.set()
    for thread in threads:
        thread.join()
    ask(made, clock)
