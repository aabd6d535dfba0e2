# SPDX-License-Identifier: Apache-2.0
"""Jobs run at once, and their results come in order."""

import threading

import pytest

from nacre.build.parallel import threads


def test_jobs_run_at_once_and_results_come_in_order() -> None:
    meeting = threading.Barrier(2)

    def job(number: int) -> int:
        meeting.wait(timeout=60)
        return number

    assert threads([lambda: job(1), lambda: job(2)]) == [1, 2]


def test_no_jobs() -> None:
    assert threads([]) == []


def test_what_a_job_raises_is_raised() -> None:
    def job() -> int:
        raise ValueError

    with pytest.raises(ValueError, match=r"^$"):
        threads([job, lambda: 1])
