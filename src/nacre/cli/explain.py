# SPDX-License-Identifier: Apache-2.0
"""``nacre explain``: the words behind a code, and what other systems' evidence is worth."""

import difflib
import sys
from collections.abc import Iterable, Iterator

import click
import msgspec

from nacre import reasons
from nacre.appraisal import systems
from nacre.appraisal.systems.base import System
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


class LayoutExplanation(msgspec.Struct, frozen=True):
    """A layout, as ``--json`` writes it."""

    name: str
    parts: tuple[str, ...]
    unprotected: tuple[str, ...]
    source: str


class SystemExplanation(msgspec.Struct, frozen=True):
    """A system, as ``--json`` writes it."""

    system: str
    title: str
    about: str
    layouts: list[LayoutExplanation]
    facts: dict[str, str]
    documents: tuple[str, ...]


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


def _system(system: System) -> SystemExplanation:
    return SystemExplanation(
        system.name,
        system.title,
        systems.about(system.name),
        [LayoutExplanation(one.name, one.parts, one.unprotected, one.source) for one in system.layouts],
        {fact.name: fact.text for fact in system.facts},
        system.documents,
    )


def _overview(style: terminal.Style) -> Iterator[str]:
    """List every system with its layouts."""
    for system in map(systems.get, systems.names()):
        yield f"{style.paint(system.name, 'bold')}  {system.title}"
        column = max((len(one.name) for one in system.layouts), default=0)
        for one in system.layouts:
            yield f"  {one.name:<{column}}  {', '.join(one.parts)}"


def _system_lines(one: SystemExplanation, style: terminal.Style, columns: int) -> Iterator[str]:
    yield f"{style.paint(one.system, 'bold')} {style.paint('(system)', 'dim')}"
    yield ""
    yield from one.about.replace("``", "").rstrip().splitlines()
    for title, rows in (
        ("layouts, for --as", [(each.name, ", ".join(each.parts)) for each in one.layouts]),
        ("leaves open", [(each.name, ", ".join(each.unprotected)) for each in one.layouts]),
        (f"facts, for [{one.system}] in a release", list(one.facts.items())),
        ("files, for --part", [(name, "") for name in one.documents]),
    ):
        if rows:
            yield from ("", style.paint(title, "bold"))
        column = max((len(name) for name, _ in rows), default=0)
        for name, text in rows:
            lead = f"  {name:<{column}}  "
            for line in [*terminal.wrap(text, max(columns - len(lead), 20))] or [""]:
                yield (lead + line).rstrip()
                lead = " " * len(lead)


def _explain_systems(name: str | None, *, as_json: bool) -> None:
    style, columns = terminal.style(sys.stdout), terminal.width(sys.stdout)
    if as_json:
        every = [_system(systems.get(one)) for one in ([name] if name else systems.names())]
        terminal.json(msgspec.json.encode(every[0] if name else every))
    elif name:
        terminal.out(_system_lines(_system(systems.get(name)), style, columns))
    else:
        terminal.out(_overview(style))


@click.command("explain")
@click.argument("code", required=False)
@click.option("--systems", "of_systems", is_flag=True, help="List other systems, their layouts and parts.")
@click.option("--json", "as_json", is_flag=True, help="Write JSON.")
def command(code: str | None, *, of_systems: bool, as_json: bool) -> None:
    """Explain a reason code, a check or a system; without CODE, list the codes.

    A CODE is one that a Result names, or a system's name (dstack): what its evidence is bound to, what that
    leaves open, and what a release can ask of it. {braces} stand for the values that a Result fills in.
    """
    if of_systems or code in systems.names():
        if of_systems and code is not None:
            raise click.UsageError("--systems lists them all; a system's name alone explains it")
        _explain_systems(code, as_json=as_json)
        return
    every = _every()
    if code is not None and code not in every:
        guess = nearest(code, (*every, *systems.names()))
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
