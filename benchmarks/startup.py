# SPDX-License-Identifier: Apache-2.0
"""From shell to verdict: whole processes, started one after the other.

``nacre verify`` over the examples of this repository, with what a bare interpreter takes beside it. Wall
time is what a person waits; since this machine may be doing something else, the processor time that each
process took is given as well.
"""

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import NamedTuple

from benchmarks.cases import ROOT
from benchmarks.rounds import Budget, Measured, Row, serve

QUICK = Budget(rounds=0, pieces=0, processes=5)
FULL = Budget(rounds=0, pieces=0, processes=20)

_SECTION = "Start"
_GOAL = 0.13  # seconds
_BARE = "an interpreter that does nothing"

# Evidence and the moment at which it was good, as in examples/demo.py.
_RECORDED = {
    "sgx": ("quote.bin", "2025-08-30T05:09:00Z"),
    "tdx": ("quote.bin", "2026-02-14T00:17:00Z"),
    "snp": ("report.bin", "2025-09-20T09:10:50Z"),
    "nitro": ("document.cbor", "2025-12-25T16:04:20Z"),
}


# As a user has it: nothing installed but Nacre, which finds, say, no typing_extensions to load each time.
# ``make bench`` makes that installation.
_PLAIN = ROOT / ".venv" / "plain" / "bin" / "nacre"
# Whoever forbids Python to keep bytecode compiles every module at every start.
_ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}


class _Took(NamedTuple):
    wall: float
    processor: float


def _command(platform: str) -> list[str]:
    folder = ROOT / "examples" / "verify" / platform
    evidence, at = _RECORDED[platform]
    script = _PLAIN if _PLAIN.exists() else Path(sys.executable).with_name("nacre")
    start = [str(script)] if script.exists() else [sys.executable, "-m", "nacre"]
    words = ["verify", str(folder / evidence), "--policy", str(folder / "policy.toml")]
    if (folder / "endorsements").is_dir():
        words += ["--endorsements", str(folder / "endorsements")]
    return [*start, *words, "--offline", "--at", at]


def _run(command: Sequence[str]) -> _Took:
    before = os.times()
    began = time.perf_counter()
    done = subprocess.run(command, check=False, capture_output=True, env=_ENVIRONMENT)
    wall = time.perf_counter() - began
    after = os.times()
    assert done.returncode == 0, done.stdout + done.stderr
    spent = after.children_user + after.children_system - before.children_user - before.children_system
    return _Took(wall, spent)


def measure(budget: Budget) -> Measured:
    """Start every command in turn, over and over."""
    bare = str(_PLAIN.with_name("python")) if _PLAIN.exists() else sys.executable
    commands = {_BARE: [bare, "-c", "pass"]}
    commands |= {f"nacre verify {platform}": _command(platform) for platform in _RECORDED}
    took: dict[str, list[_Took]] = {name: [] for name in commands}
    for command in commands.values():
        _run(command)  # so that every file has been read once
    for _ in range(budget.processes):
        for name, command in commands.items():
            took[name].append(_run(command))
    return Measured([row for name, times in took.items() for row in _rows(name, times)])


def _rows(name: str, times: Sequence[_Took]) -> tuple[Row, Row]:
    wall = [time.wall for time in times]
    processor = [time.processor for time in times]
    goal = None if name == _BARE else _GOAL
    return (
        Row(
            _SECTION,
            name,
            "whole process, wall, s",
            median(wall),
            min(wall),
            max(wall),
            len(wall),
            "s",
            goal,
            at_least=False,
        ),
        Row(
            _SECTION,
            name,
            "whole process, processor, s",
            median(processor),
            min(processor),
            max(processor),
            len(wall),
            "s",
        ),
    )


if __name__ == "__main__":
    serve(measure, QUICK, FULL)
