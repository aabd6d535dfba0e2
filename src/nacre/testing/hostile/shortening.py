# SPDX-License-Identifier: Apache-2.0
"""After a failure: which of the rounds it takes, found by running fewer of them."""

from collections.abc import Iterator
from pathlib import Path

import msgspec

from nacre.testing.hostile.running import Report, run

__all__ = ["shorten"]

#: Which rounds, in order, and whether with their fault.
_Kept = tuple[tuple[int, bool], ...]


def shorten(folder: Path, report: Report, *, tries: int) -> Report:
    """Look for the shortest sequence that breaks an invariant.

    Rounds are left out, half of them at first, then fewer, and the faults of what stays.

    Args:
        folder: The application's.
        report: Of a run that broke an invariant.
        tries: How many sequences to run, at most.

    Returns:
        The report of the shortest run that broke one, with ``shortest`` and ``tries``.

    Raises:
        ConfigurationError, BuildError, EnclaveError: As ``run`` does.
    """
    best, done = report, 0
    kept = _kept(report)
    untried = _fewer(kept)
    seen = {kept}
    while done < tries and (fewer := next(untried, None)) is not None:
        if fewer in seen:
            continue
        seen.add(fewer)
        done += 1
        again = run(
            folder,
            seed=report.seed,
            rounds=report.rounds,
            platform=report.platform,
            faults=report.faults,
            only=dict(fewer),
        )
        if again.broken:
            best, kept = again, _kept(again)
            seen.add(kept)
            untried = _fewer(kept)
    return msgspec.structs.replace(best, shortest=best.run, only=dict(kept), tries=done)


def _kept(report: Report) -> _Kept:
    return tuple((turn.number, turn.fault.kind != "quiet") for turn in report.run)


def _fewer(kept: _Kept) -> Iterator[_Kept]:
    """Yield what is a little less, the boldest first; the last round is where it broke, and stays."""
    size = len(kept) - 1
    while size > 0:
        for start in range(0, len(kept) - 1, size):
            yield kept[:start] + kept[min(start + size, len(kept) - 1) :]
        size //= 2
    for index, (number, fault) in enumerate(kept):
        if fault:
            yield (*kept[:index], (number, False), *kept[index + 1 :])
