# SPDX-License-Identifier: Apache-2.0
"""``nacre inspect``: every field of evidence, as it stands there."""

import hashlib
import sys
from collections.abc import Iterator

import click
import msgspec

from nacre import platforms
from nacre.cli import inputs, terminal
from nacre.cli.exits import Exit
from nacre.cli.failure import exit_of
from nacre.errors import MalformedEvidence, NacreError, UnsupportedEvidence
from nacre.platforms.base import Evidence, FieldView, Platform

__all__ = ["command"]

_WARNING = "Nothing here was verified: these are the words of whoever wrote the file."
_OFFSET_WIDTH = 6
#: Columns for a value; digests are cut in lines of a multiple of this, 16 bytes.
_LEAST_ROOM = 32


class Inspection(msgspec.Struct, frozen=True):
    """What ``--json`` writes. ``verified`` is always false; ``error`` says why evidence is malformed."""

    platform: str
    title: str
    size: int
    sha256: str
    verified: bool
    error: str | None
    fields: tuple[FieldView, ...]


@click.command("inspect")
@click.argument("file")
@click.option("--json", "as_json", is_flag=True, help="Write JSON.")
def command(file: str, *, as_json: bool) -> int:
    """Show every field of the evidence in FILE (- for stdin) with its offset and size; trust none of it.

    What another system packed the evidence in is taken off. Of malformed evidence it shows what can be
    read, and exits with 30.
    """
    data = inputs.device_evidence(file)
    platform = platforms.detect(data)
    evidence, error = _read(platform, data)
    found = Inspection(
        platform=platform.name,
        title=platform.title,
        size=len(data),
        sha256=hashlib.sha256(data).hexdigest(),
        verified=False,
        error=None if error is None else str(error),
        fields=tuple(platform.views(evidence)),
    )
    if as_json:
        terminal.json(msgspec.json.encode(found))
    else:
        terminal.out(_lines(found, terminal.style(sys.stdout), terminal.width(sys.stdout)))
    return Exit.ACCEPTED if error is None else exit_of(error)


def _read(platform: Platform, data: bytes) -> tuple[Evidence, NacreError | None]:
    try:
        return platform.parse(data), None
    except (MalformedEvidence, UnsupportedEvidence) as error:
        salvaged = platform.salvage(data)
        if salvaged is None:
            raise
        return salvaged, error


def _lines(found: Inspection, style: terminal.Style, columns: int) -> Iterator[str]:
    yield f"{style.paint('NOT VERIFIED', 'bold', 'yellow')}  {found.title} evidence, {found.size} bytes"
    yield style.paint(_WARNING, "yellow")
    if found.error is not None:
        yield style.paint(f"Not well-formed: {terminal.clean(found.error)}.", "red")
        yield "What follows is what can be read of it."
    yield ""
    yield style.paint(f"{'offset':>{_OFFSET_WIDTH}} {'size':>{_OFFSET_WIDTH}}  field", "dim")
    column = max((len(field.name) for field in found.fields), default=0)
    for field in found.fields:
        yield from _field(field, column, style, columns)


def _field(field: FieldView, column: int, style: terminal.Style, columns: int) -> Iterator[str]:
    place = f"{_number(field.offset)} {_number(field.size)}"
    lead = f"{style.paint(place, 'dim')}  {terminal.clean(field.name):<{column}}  "
    indent = 2 * _OFFSET_WIDTH + 3 + column + 2
    room = max(columns - indent, _LEAST_ROOM)
    value, notes = _shown(field), ", ".join(terminal.clean(note) for note in field.notes)
    if notes and len(value) + len(notes) + 2 <= room:
        # A number and its meaning belong on one line.
        yield f"{lead}{value}  {style.paint(notes, 'cyan')}"
        return
    for line in terminal.wrap(value, room - room % _LEAST_ROOM):
        yield lead + line
        lead = " " * indent
    for line in terminal.wrap(notes, room):
        yield lead + style.paint(line, "cyan")


def _shown(field: FieldView) -> str:
    """Shorten what is long and says nothing; ``--json`` has it in full."""
    value = terminal.clean(field.value)
    if len(value) >= _LEAST_ROOM and not value.strip("0"):
        return f"({len(value) // 2} zero bytes)"
    return value or "(empty)"


def _number(value: int | None) -> str:
    return f"{'' if value is None else value:>{_OFFSET_WIDTH}}"
