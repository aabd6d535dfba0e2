# SPDX-License-Identifier: Apache-2.0
"""``nacre inspect``: every field of evidence, as it stands there."""

import hashlib
import sys
from collections.abc import Iterator, Sequence

import click
import msgspec

from nacre import platforms
from nacre.cli import inputs, terminal
from nacre.platforms.base import FieldView

__all__ = ["command"]

_WARNING = "Nothing here was verified: these are the words of whoever wrote the file."
_OFFSET_WIDTH = 6


class Inspection(msgspec.Struct, frozen=True):
    """What ``--json`` writes. ``verified`` is always false."""

    platform: str
    title: str
    size: int
    sha256: str
    verified: bool
    fields: tuple[FieldView, ...]


@click.command("inspect")
@click.argument("file")
@click.option("--json", "as_json", is_flag=True, help="Write JSON.")
def command(file: str, *, as_json: bool) -> None:
    """Show every field of the evidence in FILE (- for stdin) with its offset and size; trust none of it."""
    data = inputs.evidence(file)
    platform = platforms.detect(data)
    found = Inspection(
        platform=platform.name,
        title=platform.title,
        size=len(data),
        sha256=hashlib.sha256(data).hexdigest(),
        verified=False,
        fields=tuple(platform.views(platform.parse(data))),
    )
    if as_json:
        terminal.out([msgspec.json.encode(found).decode()])
    else:
        terminal.out(_lines(found, terminal.style(sys.stdout), terminal.width(sys.stdout)))


def _lines(found: Inspection, style: terminal.Style, columns: int) -> Iterator[str]:
    yield f"{style.paint('NOT VERIFIED', 'bold', 'yellow')}  {found.title} evidence, {found.size} bytes"
    yield style.paint(_WARNING, "yellow")
    yield ""
    yield style.paint(f"{'offset':>{_OFFSET_WIDTH}} {'size':>{_OFFSET_WIDTH}}  field", "dim")
    column = max((len(field.name) for field in found.fields), default=0)
    for field in found.fields:
        yield from _field(field, column, style, columns)


def _field(field: FieldView, column: int, style: terminal.Style, columns: int) -> Iterator[str]:
    place = f"{_number(field.offset)} {_number(field.size)}"
    lead = f"{style.paint(place, 'dim')}  {terminal.clean(field.name):<{column}}  "
    indent = 2 * _OFFSET_WIDTH + 3 + column + 2
    room = max(columns - indent, 24)
    for line in terminal.wrap(terminal.clean(field.value) or "(empty)", room):
        yield lead + line
        lead = " " * indent
    yield from _notes(field.notes, indent, room, style)


def _notes(notes: Sequence[str], indent: int, room: int, style: terminal.Style) -> Iterator[str]:
    for text in notes:
        for line in terminal.wrap(terminal.clean(text), room):
            yield " " * indent + style.paint(line, "cyan")


def _number(value: int | None) -> str:
    return f"{'' if value is None else value:>{_OFFSET_WIDTH}}"
