# SPDX-License-Identifier: Apache-2.0
"""No input of a mebibyte takes more than a second or 64 MiB.

Measured over awkward inputs of every size and over all that fuzzing has found. The only place where tests
look at a clock: at the processor time of this thread, and at the better of several attempts, so that a busy
machine costs nobody anything.
"""

import time
import tracemalloc
from collections.abc import Callable, Iterator

import pytest
from tests.fuzz.awkward import SIZES, Awkward, awkward
from tests.fuzz.harness import cache_folder
from tests.fuzz.targets import TARGETS, Target, attempt

pytestmark = pytest.mark.soak

_SECONDS = 1.0
_MEMORY = 64 << 20
_ATTEMPTS = 3
_MOST_OF_CORPUS = 2000


@pytest.mark.parametrize("name", TARGETS)
def test_no_input_takes_long_or_much(name: str, record_property: Callable[[str, object], None]) -> None:
    target = TARGETS[name]
    slowest, largest = (0.0, ""), (0, "")
    count = 0
    for one in _inputs(target):
        count += 1
        slowest = max(slowest, (_seconds(target, one.data), one.name))
        largest = max(largest, (_memory(target, one.data), one.name))
    record_property("inputs", f"{count:,}")
    record_property("slowest", f"{slowest[0] * 1000:.0f} ms ({slowest[1]})")
    record_property("most memory", f"{largest[0] / (1 << 20):.1f} MiB ({largest[1]})")
    assert slowest[0] < _SECONDS, slowest[1]
    assert largest[0] < _MEMORY, largest[1]


def _inputs(target: Target) -> Iterator[Awkward]:
    for size in SIZES:
        yield from awkward(target.grammar, size)
    corpus = cache_folder() / target.name / "corpus"
    found = sorted(corpus.iterdir()) if corpus.is_dir() else []
    for file in found[:: max(1, len(found) // _MOST_OF_CORPUS)]:
        yield Awkward("found by fuzzing", file.read_bytes())


def _seconds(target: Target, data: bytes) -> float:
    best = float("inf")
    for _ in range(_ATTEMPTS):
        began = time.thread_time()
        attempt(target, data)
        best = min(best, time.thread_time() - began)
        if best < _SECONDS / 10:
            break
    return best


def _memory(target: Target, data: bytes) -> int:
    tracemalloc.start()
    try:
        attempt(target, data)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
