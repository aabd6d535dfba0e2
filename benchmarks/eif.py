# SPDX-License-Identifier: Apache-2.0
"""Enclave images, against SHA-384 of the same bytes.

The floor is one call of hashlib over kernel, command line and ramdisks in one piece. An image has three
hashes (PCR0 with PCR1, PCR2, and a checksum) over nearly the same bytes. It is written to the null device:
how fast a disk is says nothing of the code.

Threads are part of what is compared, so the clock is the wall's.
"""

import hashlib
import os
import time
from pathlib import Path

from benchmarks.rounds import Budget, Contender, Measured, Row, microseconds, race, ratio, serve

from nacre.build.parallel import threads
from nacre.platforms.nitro import eif
from nacre.platforms.nitro.eif_write import Metadata, Parts, assemble
from nacre.platforms.nitro.measure import measure as registers

QUICK = Budget(rounds=3, pieces=1 << 22, processes=0)
FULL = Budget(rounds=30, pieces=1 << 25, processes=0)

_SECTION = "Enclave images"
_SEED = hashlib.sha256(b"nacre").digest()


def _parts(size: int, split: tuple[int, ...]) -> Parts:
    """Make a kernel of an eighth and ramdisks of so many sixteenths of ``size``; the bytes do not matter."""
    block = memoryview(_SEED * (size // len(_SEED)))
    return Parts(
        kernel=block[: size // 8],
        command_line=b"console=ttyS0",
        ramdisks=tuple([block[: size // 16 * part] for part in split]),
        metadata=Metadata(name="benchmark", version="1").encode(),
    )


def measure(budget: Budget) -> Measured:
    """Race images of one ramdisk, of two, and of one whose second ramdisk is nearly everything."""
    rows: list[Row] = []
    spent: dict[str, float] = {}
    for case, split in (("one ramdisk", (14,)), ("two alike", (7, 7)), ("nearly all app", (1, 13))):
        found = _race(_parts(budget.pieces, split), budget.rounds)
        spent |= microseconds(case, found)
        for what, name in (
            ("written and measured, to bare SHA-384", "write"),
            ("read and measured, to bare SHA-384", "read"),
        ):
            rows.append(Row.of(_SECTION, case, what, ratio(found, name, "bare"), goal=1.3, at_least=False))
    return Measured(rows, spent)


def _race(parts: Parts, rounds: int) -> dict[str, list[float]]:
    measured = b"".join([parts.kernel, parts.command_line, *parts.ramdisks])
    made = assemble(parts)
    image = b"".join(made.chunks)
    assert registers(eif.parse(image), together=threads) == made.measurement

    def write() -> None:
        with Path(os.devnull).open("wb") as stream:
            stream.writelines(assemble(parts, together=threads).chunks)

    return race(
        [
            Contender("bare", lambda: hashlib.sha384(measured).digest()),
            Contender("write", write),
            Contender("read", lambda: registers(eif.parse(image), together=threads)),
        ],
        rounds=rounds,
        clock=time.perf_counter,
    )


if __name__ == "__main__":
    serve(measure, QUICK, FULL)
