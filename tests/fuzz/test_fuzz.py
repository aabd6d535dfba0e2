# SPDX-License-Identifier: Apache-2.0
"""No reader answers foreign bytes with anything but its value or one of our errors, in bounded memory.

The short form: seeds, some hundred blind mutations of them, and awkward inputs of moderate size. What takes
long (a coverage-guided fuzzer, a mebibyte of everything, the clock) is in ``tests/soak``.
"""

import importlib.util
import subprocess
import sys
import tracemalloc
from pathlib import Path

import pytest
from tests.fuzz.awkward import SIZES, awkward
from tests.fuzz.harness import prepare
from tests.fuzz.mutation import mutations
from tests.fuzz.seeds import seeds
from tests.fuzz.targets import TARGETS, Target, attempt

MOST_MEMORY = 64 << 20
_MUTATIONS = 150

every_target = pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)


@every_target
def test_what_a_fuzzer_starts_from(target: Target) -> None:
    outcomes = [attempt(target, seed) for seed in seeds(target)]
    assert None in outcomes, "no seed is accepted, so nothing behind the first check is reached"


@every_target
def test_mutations(target: Target) -> None:
    for data in mutations(seeds(target), target.words, _MUTATIONS, seed=1):
        attempt(target, data)


@every_target
def test_awkward_inputs_take_bounded_memory(target: Target) -> None:
    tracemalloc.start()
    try:
        for one in awkward(target.grammar, SIZES[0]):
            tracemalloc.reset_peak()
            before, _ = tracemalloc.get_traced_memory()
            attempt(target, one.data)
            assert tracemalloc.get_traced_memory()[1] - before < MOST_MEMORY, one.name
    finally:
        tracemalloc.stop()


def test_awkward_inputs_are_as_large_as_they_say() -> None:
    for grammar in {target.grammar for target in TARGETS.values()}:
        assert all(len(one.data) <= SIZES[-1] for one in awkward(grammar, SIZES[-1]))


@pytest.mark.skipif(
    importlib.util.find_spec("atheris") is None,
    reason="NOT RUN: atheris is not installed",
)
def test_a_coverage_guided_fuzzer_runs(tmp_path: Path, repository: Path) -> None:
    options = [*prepare("nitro-document", tmp_path), "-runs=2000", "-seed=1"]
    done = subprocess.run(
        [sys.executable, "-m", "tests.fuzz.harness", "nitro-document", *options],
        cwd=repository,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert "number_of_executed_units: 2000" in done.stderr
