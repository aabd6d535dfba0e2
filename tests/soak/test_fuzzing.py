# SPDX-License-Identifier: Apache-2.0
"""Every reader under a coverage-guided fuzzer, for as long as one likes."""

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.fuzz.harness import cache_folder, prepare
from tests.fuzz.targets import TARGETS

pytestmark = pytest.mark.soak

_STATISTIC = re.compile(r"stat::(\w+):\s+(\d+)")
_COVERED = re.compile(r"cov: (\d+)")


@pytest.mark.parametrize("name", TARGETS)
def test_a_reader_raises_nothing_but_our_errors(
    name: str, minutes: float, repository: Path, record_property: Callable[[str, object], None]
) -> None:
    pytest.importorskip("atheris", reason="NOT RUN: atheris is not installed")
    folder = cache_folder() / name
    command = [sys.executable, "-m", "tests.fuzz.harness", name, *prepare(name, folder)]
    done = subprocess.run(
        [*command, f"-max_total_time={round(minutes * 60)}"],
        cwd=repository,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    statistics = dict(_STATISTIC.findall(done.stderr))
    record_property("inputs", f"{int(statistics.get('number_of_executed_units', 0)):,}")
    record_property("edges", (_COVERED.findall(done.stderr) or ["0"])[-1])
    record_property("corpus", sum(1 for _ in (folder / "corpus").iterdir()))
    crash = f"run it again: python -m tests.fuzz.harness {name} FILE, with a FILE of {folder / 'crashes'}"
    assert done.returncode == 0, f"{crash}\n{done.stderr[-4000:]}"
