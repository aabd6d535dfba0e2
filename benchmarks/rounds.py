# SPDX-License-Identifier: Apache-2.0
"""Contenders against each other in one run: A B C A B C …, judged by the ratios within each round.

A machine is never equally fast twice, and seldom idle. What is compared is therefore measured within the
same few milliseconds, over and over, and the result is the median of the ratios of all rounds with the
least and the greatest beside it. Nothing is said in microseconds that would have to hold elsewhere.
"""

import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from statistics import median
from typing import NamedTuple

import msgspec

__all__ = [
    "Budget",
    "Contender",
    "Measured",
    "Ratio",
    "Row",
    "Section",
    "Times",
    "microseconds",
    "race",
    "ratio",
    "serve",
]


class Contender(NamedTuple):
    """One of those that are compared.

    Attributes:
        name: What tables call it.
        run: One call of it. Its value, or the exception it raises, is nobody's concern here: what it
            returns has been checked before the race.
        per_call: How many units of work one call does.
        timed: For a program of its own: does so many calls and returns the seconds of processor time that
            they took there.
    """

    name: str
    run: Callable[[], object]
    per_call: int = 1
    timed: Callable[[int], float] | None = None


class Budget(NamedTuple):
    """How much to measure.

    Attributes:
        rounds: How many rounds a race has.
        pieces: How many pieces of evidence the long run takes.
        processes: How many times a process is started.
    """

    rounds: int
    pieces: int
    processes: int


class Ratio(msgspec.Struct, frozen=True):
    """The ratios of all rounds."""

    median: float
    least: float
    greatest: float
    rounds: int


class Row(msgspec.Struct, frozen=True):
    """One line of the report.

    Attributes:
        section: Which table it belongs to.
        case: Which evidence.
        what: What was compared with what.
        value: What was measured: the median.
        least: The least of all rounds.
        greatest: The greatest of all rounds.
        rounds: How many rounds there were.
        unit: ``x`` for ratios.
        goal: What it should be; None if it is there for information.
        at_least: Whether it should be at least that, or at most.
    """

    section: str
    case: str
    what: str
    value: float
    least: float
    greatest: float
    rounds: int
    unit: str = "x"
    goal: float | None = None
    at_least: bool = True

    @classmethod
    def of(
        cls,
        section: str,
        case: str,
        what: str,
        found: Ratio,
        *,
        goal: float | None = None,
        at_least: bool = True,
    ) -> "Row":
        """Make a line of ratios."""
        return cls(
            section,
            case,
            what,
            found.median,
            found.least,
            found.greatest,
            found.rounds,
            goal=goal,
            at_least=at_least,
        )

    @property
    def met(self) -> bool | None:
        """Whether the goal was met; None if there is none."""
        if self.goal is None:
            return None
        return self.value >= self.goal if self.at_least else self.value <= self.goal


class Measured(msgspec.Struct, frozen=True):
    """What one section found.

    Attributes:
        rows: The lines of the report.
        microseconds: Contender to the median of its rounds: what the ratios were made of.
        facts: What the report says about the machine and the programs.
    """

    rows: list[Row]
    microseconds: dict[str, float] = {}
    facts: dict[str, str] = {}


Section = Callable[[Budget], Measured]
Times = Mapping[str, Sequence[float]]

# Seconds: so long that what a contender found in the processor's caches when its turn began weighs little, as
# in a server that does nothing else, and short against what else a machine does.
_SLICE = 0.05
_WARM_UP = 3


def race(
    contenders: Iterable[Contender], *, rounds: int, clock: Callable[[], float] = time.thread_time
) -> dict[str, list[float]]:
    """Run all contenders in turn, ``rounds`` times.

    Args:
        contenders: Who takes part. Each one's slice of a round is as many calls as fill some milliseconds.
        rounds: How often.
        clock: Seconds. The time of this thread's work by default: other programs then cost nobody
            anything. Where threads or processes are part of what is compared it has to be the wall's.

    Returns:
        Name to the seconds that one unit of work took, one value a round.
    """
    entered = [(contender, _calls(contender, clock)) for contender in contenders]
    times: dict[str, list[float]] = {contender.name: [] for contender, _ in entered}
    for _ in range(rounds):
        for contender, calls in entered:
            times[contender.name].append(_turn(contender, calls, clock) / (calls * contender.per_call))
    return times


def _turn(contender: Contender, calls: int, clock: Callable[[], float]) -> float:
    if contender.timed is not None:
        return contender.timed(calls)
    run = contender.run
    began = clock()
    for _ in range(calls):
        run()
    return clock() - began


def _calls(contender: Contender, clock: Callable[[], float]) -> int:
    _turn(contender, _WARM_UP, clock)
    return max(1, round(_SLICE / max(_turn(contender, 1, clock), 1e-7)))


def ratio(times: Times, above: str, below: str | Sequence[str]) -> Ratio:
    """Divide one contender's time by another's, or by the sum of several, round by round."""
    names = (below,) if isinstance(below, str) else below
    quotients = [
        time_above / sum(parts)
        for time_above, *parts in zip(times[above], *(times[name] for name in names), strict=True)
    ]
    return Ratio(median(quotients), min(quotients), max(quotients), len(quotients))


def microseconds(case: str, times: Times) -> dict[str, float]:
    """Return the median of each contender: what ratios were made of, for information."""
    return {f"{case}: {name}": round(median(seconds) * 1e6, 1) for name, seconds in times.items()}


def serve(section: Section, quick: Budget, full: Budget) -> None:
    """Run a section as a program of its own; the outcome as JSON on stdout.

    ``--quick`` takes the small budget. ``--engine OpenSSL`` makes as if AWS-LC were not installed.
    """
    words = sys.argv[1:]
    if "OpenSSL" in words:
        sys.modules["awscrt"] = None  # type: ignore[assignment] # what makes an import fail
    measured = section(quick if "--quick" in words else full)
    sys.stdout.write(msgspec.json.encode(measured).decode() + "\n")
