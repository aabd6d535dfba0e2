# SPDX-License-Identifier: Apache-2.0
"""What a measurement is: the registers that hardware will report, and which bytes of which input make them.

Every platform's ``measure`` returns one of these, so that one command can explain any of them and name the
first input in which two differ.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Protocol, TypeVar

import msgspec

__all__ = ["Measurement", "Part", "Together", "differences", "one_by_one"]

_T = TypeVar("_T")


class Together(Protocol):
    """What does several jobs, perhaps at once: hashing lets other threads run."""

    def __call__(self, jobs: Sequence[Callable[[], _T]], /) -> list[_T]:
        """Do all jobs and return their results in order."""


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """One step on the way to a register's value.

    Attributes:
        register: The register, named as in releases.
        label: What is measured, in the field's words: ``kernel``, ``boot firmware volume`` …
        input: Which input it comes from: ``kernel``, ``initrd``, ``command line``, ``firmware``, ``eif``,
            ``certificate`` …; ``parameters`` for what no file holds, as the number of processors.
        offset: Where in the input, bytes.
        size: How many bytes of the input; 0 for what no file holds.
        digest: What went into the register: the bytes' digest, or what a register is extended with. Where one
            digest runs over all parts of a register, what it is after this one.
        value: The parameters in words; empty for bytes of a file.
    """

    register: str
    label: str
    input: str
    offset: int = 0
    size: int = 0
    digest: bytes
    value: str = ""


class Measurement(msgspec.Struct, frozen=True):
    """Registers and where they come from.

    Attributes:
        registers: Name, as in releases, to value of the register's size.
        parts: The steps, in the order in which they are measured.
    """

    registers: Mapping[str, bytes]
    parts: tuple[Part, ...]

    def of(self, register: str) -> tuple[Part, ...]:
        """Return the steps of one register, in order."""
        return tuple([part for part in self.parts if part.register == register])


def differences(one: Measurement, other: Measurement) -> Iterator[tuple[str, Part | None, Part | None]]:
    """Name, for each register in which two measurements differ, the first step that differs.

    Yields:
        The register and its first different step in either; None where one has no more steps, both None
        where the steps are the same and only the values differ.
    """
    for register in dict.fromkeys([*one.registers, *other.registers]):
        if one.registers.get(register) == other.registers.get(register):
            continue
        mine, theirs = one.of(register), other.of(register)
        for index in range(max(len(mine), len(theirs))):
            here = mine[index] if index < len(mine) else None
            there = theirs[index] if index < len(theirs) else None
            if here is None or there is None or not _same(here, there):
                yield register, here, there
                break
        else:
            yield register, None, None


def one_by_one(jobs: Sequence[Callable[[], _T]], /) -> list[_T]:
    """Do jobs one after the other; who has threads to spare passes something else."""
    return [job() for job in jobs]


def _same(one: Part, other: Part) -> bool:
    """Tell whether two steps put the same into a register; from where, and in whose words, is no matter."""
    if one.digest and other.digest:
        return one.digest == other.digest
    return msgspec.structs.replace(one, offset=other.offset) == other
