# SPDX-License-Identifier: Apache-2.0
"""Measurements as ``nacre measure`` shows, saves and compares them."""

import re
from collections.abc import Iterable, Iterator

import msgspec

from nacre.cli import terminal
from nacre.errors import ConfigurationError, MalformedEvidence
from nacre.platforms.measuring import Measurement, Part, differences
from nacre.platforms.nitro.measure import empty_registers
from nacre.trust import json

__all__ = ["Difference", "Measured", "compared", "compared_lines", "lines", "read", "saved", "uncompared"]

_HEX = re.compile(r"(?:[0-9a-f]{2})+")
_MAX_SAVED = 16 << 20
_NO_STEP = "no step that differs is known"
_OFFSET, _SIZE, _INDENT = 12, 11, 12
#: TEEs whose registers begin as zeros, and stay so, or hold a hash of nothing, if nothing is measured.
_FROM_NOTHING = ("nitro", "tdx", "tpm")


class Measured(msgspec.Struct, frozen=True):
    """A measurement and what was measured.

    Attributes:
        tee: ``nitro``, ``snp`` …
        source: The file, or what options describe.
        measurement: Its registers and steps.
        warning: What is wrong with it although it can be measured; empty if nothing.
    """

    tee: str
    source: str
    measurement: Measurement
    warning: str = ""

    @property
    def empty(self) -> tuple[str, ...]:
        """The registers that were made, but of nothing: they would be the same for whatever else."""
        return empty_registers(self.measurement.registers) if self.tee in _FROM_NOTHING else ()


class Step(msgspec.Struct, frozen=True):
    """One step, as ``--json`` writes it; the digest in hex."""

    register: str
    label: str
    input: str
    offset: int
    size: int
    digest: str
    value: str


class Saved(msgspec.Struct, frozen=True):
    """What ``--json`` writes, and what a later comparison reads.

    Attributes:
        tee: The TEE.
        source: What was measured.
        registers: Values in hex.
        empty: The registers whose value says nothing.
        parts: The steps.
    """

    tee: str
    source: str
    registers: dict[str, str]
    empty: tuple[str, ...]
    parts: tuple[Step, ...]


class Difference(msgspec.Struct, frozen=True):
    """A register in which two differ, and the first step that does; null where one has no such step."""

    register: str
    one: Step | None
    other: Step | None


def saved(measured: Measured) -> Saved:
    """Return what ``--json`` writes."""
    registers = measured.measurement.registers
    return Saved(
        measured.tee,
        measured.source,
        {name: value.hex() for name, value in registers.items()},
        measured.empty,
        tuple([_step(part) for part in measured.measurement.parts]),
    )


def read(data: bytes, *, source: str) -> Measured:
    """Read what ``--json`` wrote.

    Raises:
        ConfigurationError: ``measure-saved``.
    """
    try:
        found = json.decode(data, Saved, what=source, limit=_MAX_SAVED)
        registers = {name: _bytes(value) for name, value in found.registers.items()}
        parts = tuple([_part(step) for step in found.parts])
    except (MalformedEvidence, ValueError) as error:
        raise ConfigurationError("measure-saved", path=source, actual=str(error)) from None
    return Measured(found.tee, source, Measurement(registers, parts))


def lines(measured: Measured, style: terminal.Style, columns: int, *, explain: bool) -> Iterator[str]:
    """Show registers; with ``explain`` also which bytes of which input make them."""
    registers = measured.measurement.registers
    width = max(map(len, registers), default=0)
    for name, value in registers.items():
        note = style.paint("  (of nothing)", "yellow") if name in measured.empty else ""
        yield f"{style.paint(f'{name:<{width}}', 'bold')}  {value.hex()}{note}"
        if explain:
            yield from _explained(measured.measurement.of(name), style, columns)


def compared(one: Measured, other: Measured) -> tuple[Difference, ...]:
    """Name the registers that both know and in which they differ.

    Raises:
        ConfigurationError: ``measure-tees``: they are of two TEEs.
    """
    if one.tee != other.tee:
        raise ConfigurationError("measure-tees", expected=one.tee, actual=other.tee)
    if not (one.measurement.parts and other.measurement.parts):
        # Evidence tells no steps: none of the other's is the one that differs.
        one, other = [
            msgspec.structs.replace(side, measurement=Measurement(side.measurement.registers, ()))
            for side in (one, other)
        ]
    return tuple(
        [
            Difference(register, _told(here), _told(there))
            for register, here, there in differences(one.measurement, other.measurement)
            if register in one.measurement.registers and register in other.measurement.registers
        ]
    )


def uncompared(one: Measured, other: Measured) -> Iterator[str]:
    """Say which registers only one of two knows."""
    mine, theirs = one.measurement.registers, other.measurement.registers
    for source, names in ((one.source, [*mine.keys() - theirs]), (other.source, [*theirs.keys() - mine])):
        if names:
            yield f"not compared: {', '.join(sorted(names))}, known from {terminal.clean(source)} alone"


def compared_lines(
    found: Iterable[Difference], one: Measured, other: Measured, style: terminal.Style
) -> Iterator[str]:
    """Show the first step in which each register differs."""
    for difference in found:
        name = difference.register
        first = difference.one or difference.other
        where = _NO_STEP if first is None else f"first in {terminal.clean(first.label)}"
        yield f"{style.paint(name, 'bold')} differs: {where}"
        for side, step in ((one, difference.one), (other, difference.other)):
            yield f"  {terminal.clean(side.source)}"
            yield f"    {side.measurement.registers[name].hex()}"
            if first is not None:
                yield from [f"    {style.paint(line, 'cyan')}" for line in _said(step)]


def _explained(parts: Iterable[Part], style: terminal.Style, columns: int) -> Iterator[str]:
    yield style.paint(f"{'offset':>{_OFFSET}} {'size':>{_SIZE}}  input", "dim")
    for part in parts:
        place = f"{part.offset:>{_OFFSET}} {part.size:>{_SIZE}}" if part.size else " " * (_OFFSET + _SIZE + 1)
        label = part.label if part.label == part.input else f"{part.input}: {part.label}"
        yield f"{style.paint(place, 'dim')}  {terminal.clean(label)}"
        for text, colour in ((part.value, "cyan"), (part.digest.hex(), "dim")):
            for line in terminal.wrap(terminal.clean(text), columns - _INDENT):
                yield " " * _INDENT + style.paint(line, colour)


def _said(step: Step | None) -> Iterator[str]:
    if step is None:
        yield "no such step"
        return
    place = f"{step.size} bytes at {step.offset} of {step.input}" if step.size else f"of {step.input}"
    yield terminal.clean(", ".join([word for word in (step.label, place, step.value) if word]))
    if step.digest:
        yield f"digest {step.digest}"


def _told(part: Part | None) -> Step | None:
    return None if part is None else _step(part)


def _step(part: Part) -> Step:
    return Step(part.register, part.label, part.input, part.offset, part.size, part.digest.hex(), part.value)


def _part(step: Step) -> Part:
    return Part(
        register=step.register,
        label=step.label,
        input=step.input,
        offset=step.offset,
        size=step.size,
        digest=_bytes(step.digest),
        value=step.value,
    )


def _bytes(text: str) -> bytes:
    if text and not _HEX.fullmatch(text):
        raise ValueError(text[:80])
    return bytes.fromhex(text)
