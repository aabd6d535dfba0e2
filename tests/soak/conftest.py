# SPDX-License-Identifier: Apache-2.0
"""What takes hours, with a summary to commit: ``RESULTS.md`` beside this file.

``make soak`` runs every test that is marked so, wherever it stands. What each of them found is kept in the
user's cache from one run to the next, so a run may be interrupted and taken up again, or done in parts:
``NACRE_SOAK_MINUTES=60 .venv/bin/pytest -m soak tests/soak -k x509``. The summary shows the last outcome of
each test, and the commit that it was an outcome of.
"""

import functools
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from tests.fuzz.harness import cache_folder

_RESULTS = Path(__file__).with_name("RESULTS.md")
_DEFAULT_MINUTES = 10.0


class _Outcome(msgspec.Struct, frozen=True):
    """The last outcome of one test.

    Attributes:
        outcome: ``passed``, ``failed`` or ``skipped``.
        day: When, ISO 8601.
        commit: What was tested; ``unknown`` where there is no git.
        seconds: How long it took.
        found: What it has to say, name to value.
    """

    outcome: str
    day: str
    commit: str
    seconds: float
    found: dict[str, str]


@pytest.fixture(scope="session")
def minutes() -> float:
    """How long each target is fuzzed."""
    return float(os.environ.get("NACRE_SOAK_MINUTES", _DEFAULT_MINUTES))


@pytest.hookimpl
def pytest_configure(config: pytest.Config) -> None:
    """Take notes on every test of the session: hooks of this file itself see those beside it alone."""
    config.pluginmanager.register(_Notes(), "soak-notes")


class _Notes:
    """What the tests marked ``soak`` came to."""

    def __init__(self) -> None:
        self._outcomes: dict[str, _Outcome] = {}

    @pytest.hookimpl
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Note what a test came to."""
        decisive = report.when == "call" or report.outcome != "passed"
        if "soak" in report.keywords and decisive:
            found = {name: str(value) for name, value in report.user_properties}
            day = time.strftime("%Y-%m-%d", time.gmtime())
            outcome = _Outcome(report.outcome, day, _commit(), report.duration, found)
            self._outcomes[report.nodeid] = outcome

    @pytest.hookimpl
    def pytest_sessionfinish(self) -> None:
        """Add to what earlier runs found, and write it down."""
        if not self._outcomes:
            return
        state = cache_folder().parent / "soak.json"
        known: dict[str, _Outcome] = {}
        if state.exists():
            known = msgspec.json.decode(state.read_bytes(), type=dict[str, _Outcome])
        known |= self._outcomes
        state.parent.mkdir(parents=True, exist_ok=True)
        state.write_bytes(msgspec.json.encode(known, order="sorted"))
        _RESULTS.write_text("\n".join(_lines(known)) + "\n")


@functools.cache
def _commit() -> str:
    command = ["git", "describe", "--always", "--dirty", "--exclude=*"]
    done = subprocess.run(command, cwd=_RESULTS.parent, capture_output=True, text=True, check=False)
    return done.stdout.strip() or "unknown"


def _lines(known: dict[str, _Outcome]) -> Iterator[str]:
    bad = sum(last.outcome != "passed" for last in known.values())
    days = sorted({last.day for last in known.values()})
    spent = _span(sum(last.seconds for last in known.values()))
    commits = sorted({last.commit for last in known.values()})
    yield from (
        "# Soak",
        "",
        "Written by `make soak`: the last outcome of each test that takes too long for every change.",
        "",
        f"- tests: {len(known)}, of which {bad} did not pass",
        f"- time: {spent} in all, {' to '.join(days[:1] + days[1:][-1:])}",
        f"- commits: {', '.join(commits)}",
        "",
        "Fuzzing has no end. A reader that was fuzzed for a minute was looked at for a minute, not more.",
        "What is younger than its commit, or not in the table, was not tried.",
        "",
        "| test | outcome | took | found |",
        "| --- | --- | ---: | --- |",
    )
    for name, last in sorted(known.items()):
        found = ", ".join(f"{key}: {value}" for key, value in last.found.items())
        test = name.removeprefix("tests/").replace(".py::", ": ")
        yield f"| {test} | {last.outcome} | {_span(last.seconds)} | {found} |"


def _span(seconds: float) -> str:
    return f"{seconds / 60:.0f} min" if seconds >= 100 else f"{seconds:.0f} s"
