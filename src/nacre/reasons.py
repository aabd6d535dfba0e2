# SPDX-License-Identifier: Apache-2.0
"""The words behind every check identifier and reason code.

The table itself is ``reasons.json`` beside this file: the one list of all codes. Codes are stable; the
words may improve. It is read when something is explained, never while something is verified.
"""

import functools
import string
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from nacre.checks import Check, Status

__all__ = [
    "CheckText",
    "Reason",
    "check_text",
    "checks",
    "explain",
    "printable",
    "reason",
    "reasons",
    "render",
]


class Reason(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Why a check or a call ended as it did.

    Attributes:
        text: One sentence, a format string over the context of the check or error.
        hint: What the reader can do about it, if anything.
        spec: The document that demands it, if there is one.
    """

    text: str
    hint: str = ""
    spec: str = ""


class CheckText(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename={"passes": "pass"}):
    """What a check is about.

    Attributes:
        title: A noun phrase, shown in the list of checks.
        passes: What is known when it passes, a format string over the context.
        claim: The AR4SI trustworthiness claim it informs.
        spec: The document that defines it.
    """

    title: str
    passes: str
    claim: str
    spec: str = ""


class _Table(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    check: dict[str, CheckText]
    reason: dict[str, Reason]


@functools.cache
def _table() -> _Table:
    return msgspec.json.decode(Path(__file__).with_suffix(".json").read_bytes(), type=_Table)


def reasons() -> Mapping[str, Reason]:
    """Every reason code with its words."""
    return _table().reason


def checks() -> Mapping[str, CheckText]:
    """Every check identifier with its words."""
    return _table().check


def reason(code: str) -> Reason:
    """Look up a reason code; an unlisted one (of a third-party platform) explains itself."""
    return _table().reason.get(code) or Reason(text=_literal(code))


def check_text(check: str) -> CheckText:
    """Look up a check identifier; an unlisted one (of a third-party source) explains itself."""
    return _table().check.get(check) or CheckText(title=check, passes=_literal(check), claim="configuration")


def _literal(text: str) -> str:
    """Return a format string that renders as ``text``."""
    return text.replace("{", "{{").replace("}", "}}")


class _Words(string.Formatter):
    """Formats context values for people; never raises, since it speaks while errors are reported."""

    def get_value(self, key: int | str, args: object, kwargs: Mapping[str, object]) -> object:
        del args
        return kwargs.get(str(key), "?")

    def format_field(self, value: object, format_spec: str) -> str:
        if format_spec == "time" and isinstance(value, int):
            return _time(value)
        if isinstance(value, bytes):
            return value.hex() if value else "(empty)"
        if isinstance(value, tuple):
            return ", ".join(printable(str(item)) for item in value) or "(none)"
        return printable(str(value))


def printable(text: str) -> str:
    """Make text harmless: no escape sequences, no line breaks, nothing invisible.

    Evidence and servers choose some of the values that errors name, and errors end up in terminals and logs.
    """
    if text.isprintable():
        return text
    return "".join(letter if letter.isprintable() else f"\\x{ord(letter):02x}" for letter in text)


def _time(seconds: int) -> str:
    try:
        return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    except (OverflowError, OSError, ValueError):
        return f"second {seconds}"


def render(text: str, context: Mapping[str, object]) -> str:
    """Fill a text of the table with the values of a context: bytes as hex, times as RFC 3339."""
    return _Words().vformat(text, (), context)


def explain(check: Check) -> str:
    """Say in one sentence what a check found."""
    if check.reason:
        return render(reason(check.reason).text, check.context)
    text = check_text(check.id)
    return render(text.passes, check.context) if check.status is Status.PASS else text.title
