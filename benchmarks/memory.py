# SPDX-License-Identifier: Apache-2.0
"""A long run, and two threads at once.

The long run appraises the evidence of a fleet (see ``fleet.py``) with one memo and looks at the memory of
the process: what is held after the first fifth is what the bounded caches take, and from there on nothing
may be added. The threads share one Verifier and verify quotes of platforms seen before; their work together
is compared with one thread's over the same number of quotes, in turn. Hashing, which never needs the
interpreter's lock, shows what two threads get on this machine at this moment.
"""

import gc
import hashlib
import os
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from benchmarks import cases
from benchmarks.fleet import Fleet
from benchmarks.rounds import Budget, Contender, Measured, Row, microseconds, race, ratio, serve

from nacre.appraisal.result import Result
from nacre.endorsers.verifier import Verifier
from nacre.platforms.base import Endorsements
from nacre.trust.memo import Memo

QUICK = Budget(rounds=6, pieces=3_000, processes=0)
FULL = Budget(rounds=40, pieces=100_000, processes=0)

_SECTION = "Long run"
_MACHINES = 1_500  # with three entries each, more than a memo holds
_FEW_MACHINES = 60
_FLAT = 2.0  # MiB
_WARM_UP = 5  # a fifth of the run
_CALLS = 40
_HASHED = 200_000  # bytes: as long as a warm appraisal takes, and all of it without the interpreter's lock
_THREADS = 2


def measure(budget: Budget) -> Measured:
    """Do both."""
    threads, noted = _threads(budget)
    return Measured([*_memory(budget), *threads], noted)


def _memory(budget: Budget) -> list[Row]:
    fleet = Fleet(_MACHINES if budget.pieces == FULL.pieces else _FEW_MACHINES)
    memo = Memo()
    verifiers = {name: Verifier(policy, memo=memo) for name, policy in fleet.policies.items()}
    gc.collect()
    gc.freeze()  # the fleet itself is no concern of the collector
    held: list[float] = []
    for number, piece in enumerate(fleet.pieces(budget.pieces), 1):
        result = verifiers[piece.policy].appraise(
            piece.evidence, binding=piece.binding, endorsements=piece.endorsements, at=piece.at
        )
        assert result.verdict is piece.verdict, result.problems()
        if number % (budget.pieces // 100) == 0:
            held.append(_resident())
            _progress(number, budget.pieces)
    warm = held[len(held) // _WARM_UP]
    growth = held[-1] - warm
    case = f"{budget.pieces:,} pieces of evidence"
    later = [value - warm for value in held[len(held) // _WARM_UP :]]
    return [
        _row(case, "memory added after the first fifth, MiB", growth, later, goal=_FLAT),
        _row(case, "memory of the whole process, MiB", held[-1], held),
    ]


def _row(case: str, what: str, value: float, all_values: list[float], *, goal: float | None = None) -> Row:
    least, greatest = min(all_values), max(all_values)
    return Row(_SECTION, case, what, value, least, greatest, len(all_values), "MiB", goal, at_least=False)


def _threads(budget: Budget) -> tuple[list[Row], dict[str, float]]:
    rows: list[Row] = []
    noted: dict[str, float] = {}
    calls: dict[str, Callable[[], object]] = {name: _warm(cases.dcap(name)) for name in cases.DCAP}
    data = bytes(_HASHED)
    calls["hashing, for comparison"] = lambda: hashlib.sha256(data)
    with ThreadPoolExecutor(_THREADS) as pool:
        for name, call in calls.items():
            times = race(_alone_and_together(call, pool), rounds=budget.rounds, clock=time.perf_counter)
            noted.update(microseconds(name, times))
            goal = 1.7 if name in cases.DCAP else None
            found = ratio(times, "one thread, wall", "two threads, wall")
            rows.append(Row.of("Throughput", name, "platform known, two threads to one", found, goal=goal))
    return rows, noted


def _alone_and_together(call: Callable[[], object], pool: ThreadPoolExecutor) -> list[Contender]:
    def many() -> None:
        for _ in range(_CALLS):
            call()

    def together() -> None:
        for future in [pool.submit(many) for _ in range(_THREADS)]:
            future.result()

    return [
        Contender("one thread, wall", many, _CALLS),
        Contender("two threads, wall", together, _CALLS * _THREADS),
    ]


def _warm(recorded: cases.Recorded) -> Callable[[], Result]:
    verifier = Verifier(recorded.policy, endorsements=Endorsements(recorded.documents))
    return lambda: verifier.appraise(recorded.evidence, binding=recorded.binding, at=recorded.at)


def _resident() -> float:
    """Return the memory of this process, MiB; as Linux tells it."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / (1 << 20)


def _progress(number: int, whole: int) -> None:
    if sys.stderr.isatty():
        end = "\n" if number == whole else "\r"
        sys.stderr.write(f"  {number:,} of {whole:,}{end}")


if __name__ == "__main__":
    serve(measure, QUICK, FULL)
