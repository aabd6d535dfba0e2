# SPDX-License-Identifier: Apache-2.0
"""``nacre explain``: the words behind a code."""

import difflib
import sys
from collections.abc import Iterable, Iterator

import click
import msgspec

from nacre import reasons
from nacre.cli import terminal
from nacre.errors import ConfigurationError

__all__ = ["command", "nearest"]


class Explanation(msgspec.Struct, frozen=True, omit_defaults=True):
    """A code and its words, as ``--json`` writes them."""

    code: str
    kind: str
    text: str
    title: str = ""
    hint: str = ""
    spec: str = ""
    claim: str = ""


def nearest(word: str, known: Iterable[str]) -> str:
    """Return the known word that was probably meant, or nothing."""
    return next(iter(difflib.get_close_matches(word, list(known), n=1, cutoff=0.5)), "")


def _every() -> dict[str, Explanation]:
    found = {
        code: Explanation(code, "reason", entry.text, hint=entry.hint, spec=entry.spec)
        for code, entry in reasons.reasons().items()
    }
    for code, check in reasons.checks().items():
        found[code] = Explanation(
            code, "check", check.passes, title=check.title, spec=check.spec, claim=check.claim
        )
    return found


def _lines(one: Explanation, style: terminal.Style, columns: int) -> Iterator[str]:
    head = f"{one.code}: {one.title}" if one.title else one.code
    yield f"{style.paint(head, 'bold')} {style.paint(f'({one.kind})', 'dim')}"
    rows = (("passes when", one.text) if one.kind == "check" else ("means", one.text), ("hint", one.hint))
    for name, value in (*rows, ("spec", one.spec), ("AR4SI claim", one.claim)):
        lead = f"  {style.paint(f'{name:<12}', 'dim')} "
        for line in terminal.wrap(value, columns - 15):
            yield lead + line
            lead = " " * 15


@click.command("explain")
@click.argument("code", required=False)
@click.option("--json", "as_json", is_flag=True, help="Write JSON.")
def command(code: str | None, *, as_json: bool) -> None:
    """Explain a reason code or a check; without CODE, list them all.

    {braces} stand for the values that a Result fills in.
    """
    every = _every()
    if code is not None and code not in every:
        guess = nearest(code, every)
        raise ConfigurationError(
            "code-unknown",
            actual=code,
            guess=f"did you mean {guess}?" if guess else "nacre explain lists them all",
        )
    chosen = (
        [every[code]] if code is not None else sorted(every.values(), key=lambda one: (one.kind, one.code))
    )
    if as_json:
        terminal.json(msgspec.json.encode(chosen[0] if code is not None else chosen))
        return
    style, columns = terminal.style(sys.stdout), terminal.width(sys.stdout)
    if code is not None:
        terminal.out(_lines(chosen[0], style, columns))
    else:
        column = max(len(one.code) for one in chosen)
        terminal.out(f"{one.kind:<7} {one.code:<{column}}  {one.title or one.text}" for one in chosen)
