# SPDX-License-Identifier: Apache-2.0
"""Writing to people: data to stdout, talk to stderr, colour on terminals only.

A few escape codes are all that a verdict needs, and a tenth of the start-up time of a library that
knows them all.
"""

import os
import sys
from collections.abc import Iterable, Iterator
from typing import TextIO

from nacre.reasons import printable

__all__ = ["Style", "binary", "clean", "json", "note", "out", "style", "width", "wrap"]

_CODES = {"bold": "1", "dim": "2", "red": "31", "green": "32", "yellow": "33", "cyan": "36"}
_LEAST_WIDTH, _MOST_WIDTH = 60, 112


class Style:
    """Paints text if the stream is a terminal that wants colour, and knows whether it reads Unicode."""

    __slots__ = ("colour", "unicode")

    def __init__(self, *, colour: bool, unicode: bool) -> None:
        """Say what the stream can show."""
        self.colour = colour
        self.unicode = unicode

    def paint(self, text: str, *names: str) -> str:
        """Wrap ``text`` in escape codes, if colour is wanted."""
        if not (self.colour and names and text):
            return text
        return f"\x1b[{';'.join(_CODES[name] for name in names)}m{text}\x1b[0m"


def style(stream: TextIO) -> Style:
    """Look at a stream: a terminal, ``NO_COLOR`` unset (no-color.org), ``TERM`` not dumb."""
    colour = stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    return Style(colour=colour, unicode=(stream.encoding or "").lower().startswith("utf"))


def width(stream: TextIO) -> int:
    """Columns to write in; what is not a terminal gets the most."""
    try:
        columns = os.get_terminal_size(stream.fileno()).columns
    except (OSError, ValueError):
        return _MOST_WIDTH
    return min(max(columns, _LEAST_WIDTH), _MOST_WIDTH)


def clean(text: str) -> str:
    """Make text from evidence harmless: no escape sequences, no line breaks, nothing invisible."""
    return printable(text)


def wrap(text: str, columns: int) -> Iterator[str]:
    """Break text into lines at spaces; a longer word (a digest) is cut."""
    line = ""
    for word in text.split():
        rest = word
        while rest:
            room = columns - len(line) - bool(line)
            if len(rest) <= room:
                line, rest = f"{line} {rest}" if line else rest, ""
            elif line:
                yield line
                line = ""
            else:
                yield rest[:columns]
                rest = rest[columns:]
    if line:
        yield line


def json(encoded: bytes) -> None:
    """Write JSON to stdout; what a terminal might obey is escaped, which changes nothing for a parser.

    JSON lets every character from U+007F on stand in a string as it is; what the stream cannot show is
    escaped too.
    """
    lines = encoded.decode().split("\n")
    unicode = style(sys.stdout).unicode
    _write(sys.stdout, [line if _plain(line, unicode) else _escaped(line, unicode) for line in lines])


def _plain(text: str, unicode: bool) -> bool:  # noqa: FBT001 (what the stream reads)
    return text.isprintable() and (unicode or text.isascii())


def _escaped(line: str, unicode: bool) -> str:  # noqa: FBT001 (what the stream reads)
    return "".join(letter if _plain(letter, unicode) else _units(letter) for letter in line)


def _units(letter: str) -> str:
    units = letter.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[at : at + 2].hex()}" for at in range(0, len(units), 2))


def out(lines: Iterable[str]) -> None:
    """Write lines of data to stdout."""
    _write(sys.stdout, lines)


def binary(data: bytes) -> None:
    """Write bytes to stdout as they are."""
    try:
        sys.stdout.buffer.write(data)
        sys.stdout.flush()
    except BrokenPipeError:
        _reader_left(sys.stdout)


def note(lines: Iterable[str]) -> None:
    """Write lines of talk to stderr."""
    _write(sys.stderr, lines)


def _write(stream: TextIO, lines: Iterable[str]) -> None:
    text = "".join(f"{line}\n" for line in lines)
    encoding = stream.encoding or "utf-8"
    try:
        stream.write(text.encode(encoding, "backslashreplace").decode(encoding))
        stream.flush()
    except BrokenPipeError:
        _reader_left(stream)


def _reader_left(stream: TextIO) -> None:
    # Whoever read us has gone (``| head``): the exit status still says what was found, and Python must not
    # complain when it flushes once more at exit.
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
