# SPDX-License-Identifier: Apache-2.0
"""``nacre result``: what other verifiers say, and whether it is they who say it."""

import sys
from collections.abc import Iterator, Mapping

import click
import msgspec

from nacre import reasons
from nacre.appraisal import opinions
from nacre.appraisal.opinions import Expected, Opinion, Shown, Stance
from nacre.appraisal.opinions.report import answer
from nacre.checks import Check, Status, failed
from nacre.cli import inputs, terminal
from nacre.cli.exits import Exit
from nacre.cli.failure import exit_of
from nacre.cli.render import check_lines, indented
from nacre.cli.terminal import Style, clean
from nacre.errors import ConfigurationError, VerificationError
from nacre.trust.jwk import KeySet, read_keys

__all__ = ["command"]

_UNVERIFIED = "Nothing here was verified: these are the words of whoever wrote the file."
_NOT_OURS = "Nacre did not see the evidence: this is what the issuer says, not a verdict of ours."
_STATUS = {
    Stance.AFFIRMS: Exit.ACCEPTED,
    Stance.RESERVES: Exit.WARNING,
    Stance.SILENT: Exit.INCOMPLETE,
    Stance.OBJECTS: Exit.REJECTED,
}
_COLOURS = {Stance.AFFIRMS: "green", Stance.OBJECTS: "red"}
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
#: Columns for the names of claims; longer ones stand on lines of their own.
_MOST_COLUMN = 40


@click.group("result")
def command() -> None:
    """Read other verifiers' results: EAR, Azure, Google, NVIDIA and Intel tokens.

    What they say stays theirs: it is shown with its issuer and the key that signed it, and is never merged
    into a verdict of nacre verify.
    """


@command.command("show")
@click.argument("token", metavar="FILE|-")
@click.option("--json", "as_json", is_flag=True, help="Write JSON.")
def show(token: str, *, as_json: bool) -> int:
    """Show what the token in FILE (- for stdin) says; trust none of it."""
    shown = opinions.show(_token(token))
    if as_json:
        terminal.json(msgspec.json.format(msgspec.json.encode(shown), indent=2))
    else:
        terminal.out(_shown_lines(shown, terminal.style(sys.stdout), terminal.width(sys.stdout)))
    return Exit.ACCEPTED


@command.command("verify")
@click.argument("token", metavar="FILE|-")
@click.option(
    "--keys", required=True, metavar="FILE", help="The issuer's keys: JWK set, or PEM keys or root."
)
@click.option(
    "--kind", type=click.Choice(opinions.KINDS), help="The kind of token; told by its claims if left out."
)
@click.option(
    "--issuer", "issuers", multiple=True, metavar="URL", help="Who has to have issued it; repeatable."
)
@click.option("--audience", metavar="TEXT", help="For whom it has to be.")
@click.option(
    "--nonce", metavar="HEX|TEXT", help="What it has to answer: hex of the bytes sent, or the text."
)
@click.option("--max-age", metavar="TIME", help="How old it may be: 30s, 5m, 1h, 2d.")
@click.option("--at", metavar="TIME", help="Judge as of this time (RFC 3339) instead of now.")
@click.option("--json", "as_json", is_flag=True, help="Write JSON.")
def verify(
    token: str,
    *,
    keys: str,
    kind: str | None,
    issuers: tuple[str, ...],
    audience: str | None,
    nonce: str | None,
    max_age: str | None,
    at: str | None,
    as_json: bool,
) -> int:
    """Verify the token in FILE (- for stdin) under keys that you pin, and say what its issuer says.

    Keys in the token itself, and addresses of keys, are never used. Nothing is fetched.

    Exit status: 0 valid, and its issuer affirms without reservation; 12 valid, with reservations; 11 valid,
    but the issuer does not judge; 10 refused, or its issuer objects; 20 of no known kind; 30 malformed.
    """
    expected = Expected(
        at=_now() if at is None else inputs.time(at),
        issuers=issuers,
        audience=audience,
        nonce=None if nonce is None else _nonce(nonce),
        max_age=None if max_age is None else _seconds(max_age),
    )
    pinned = read_keys(inputs.document(keys))
    data = _token(token)
    try:
        opinion = opinions.verify(data, keys=pinned, expected=expected, kind=kind or "")
    except VerificationError as error:
        checks = (*error.trail, failed(error.check, error.code, **error.context))
        _write(None, checks, pinned, as_json=as_json)
        return exit_of(error)
    _write(opinion, opinion.checks, pinned, as_json=as_json)
    warned = any(check.status is Status.WARN for check in opinion.checks)
    return Exit.WARNING if warned and opinion.stance is Stance.AFFIRMS else _STATUS[opinion.stance]


def _write(opinion: Opinion | None, checks: tuple[Check, ...], keys: KeySet, *, as_json: bool) -> None:
    if as_json:
        terminal.json(msgspec.json.format(msgspec.json.encode(answer(opinion, checks)), indent=2))
        return
    if keys.ignored:
        terminal.note([f"note: not used of the key file: {clean('; '.join(keys.ignored))}"])
    style, columns = terminal.style(sys.stdout), terminal.width(sys.stdout)
    terminal.out(_answer_lines(opinion, checks, style, columns))


def _answer_lines(
    opinion: Opinion | None, checks: tuple[Check, ...], style: Style, columns: int
) -> Iterator[str]:
    if opinion is None:
        yield f"{style.paint('REFUSED', 'bold', 'red')}  what this token says does not count"
    else:
        yield from _opinion_lines(opinion, style, columns)
    yield ""
    column = max(len(reasons.check_text(check.id).title) for check in checks)
    for check in checks:
        yield from check_lines(check, column, verbose=False, style=style, columns=columns)
    if opinion is not None:
        yield ""
        yield from indented(_NOT_OURS, "", 0, columns, paint=style)


def _opinion_lines(opinion: Opinion, style: Style, columns: int) -> Iterator[str]:
    stance = style.paint(opinion.stance.value.upper(), "bold", _COLOURS.get(opinion.stance, "yellow"))
    yield f"{clean(opinion.issuer)} {stance}: {clean(opinion.said)}"
    signer = opinion.signer
    ends = "never" if opinion.expires is None else _time(opinion.expires)
    rows = {
        "kind": opinion.title,
        "about": opinion.subject,
        "issued": f"{_time(opinion.issued_at)}, ends {ends}",
        "key": f"{signer.key_id or '(no name)'}, SHA-256 {signer.digest.hex()}",
        "root": signer.anchor,
    }
    for name, value in rows.items():
        if value:
            yield from indented(clean(value), f"  {style.paint(f'{name:<8}', 'dim')}  ", 12, columns)
    for part in opinion.parts:
        lead = f"  {style.paint(f'{clean(part.name):<8}', 'dim')}  "
        yield from indented(clean(part.said), lead, 12, columns)


def _shown_lines(shown: Shown, style: Style, columns: int) -> Iterator[str]:
    title = shown.kind or "of no kind known here"
    yield f"{style.paint('NOT VERIFIED', 'bold', 'yellow')}  {shown.form}: {title}"
    yield style.paint(_UNVERIFIED, "yellow")
    if shown.algorithm:
        key = f", key {shown.key_id}" if shown.key_id else ""
        yield clean(f"It says it is signed with {shown.algorithm}{key}.")
    if shown.untrusted:
        yield clean(f"Its header names keys, which are never used: {', '.join(shown.untrusted)}.")
    yield ""
    yield from _claim_lines(shown.claims, columns)
    for name, claims in shown.parts.items():
        yield ""
        yield style.paint(clean(name), "bold")
        yield from _claim_lines(claims, columns)


def _claim_lines(claims: Mapping[str, object], columns: int) -> Iterator[str]:
    rows = list(_flat(claims, ""))
    column = min(max((len(clean(name)) for name, _ in rows), default=0), _MOST_COLUMN)
    for name, value in rows:
        lead = f"  {clean(name):<{column}}  "
        if len(clean(name)) > column:
            yield lead.rstrip()
            lead = " " * (column + 4)
        yield from indented(clean(value) or "(empty)", lead, column + 4, columns)


def _flat(claims: Mapping[str, object], prefix: str) -> Iterator[tuple[str, str]]:
    """Write nested claims one to a line, names joined by dots."""
    for name, value in claims.items():
        if isinstance(value, dict) and value:
            yield from _flat(value, f"{prefix}{name}.")
        elif isinstance(value, str):
            yield f"{prefix}{name}", value
        else:
            yield f"{prefix}{name}", msgspec.json.encode(value).decode()


def _token(name: str) -> bytes:
    data = inputs.evidence(name)
    # Editors end a text with a line break, which is no part of a token; CBOR begins with no letter of ASCII.
    return data.rstrip(b"\r\n") if data[:1].isascii() else data


def _nonce(text: str) -> bytes | str:
    """Read a nonce: bytes where the text is hex of 8 to 64 of them, else the text as it is."""
    try:
        value = bytes.fromhex(text)
    except ValueError:
        return text
    return value if 8 <= len(value) <= 64 else text  # noqa: PLR2004 (RFC 9711, 4.1)


def _seconds(text: str) -> int:
    number, unit = text[:-1], text[-1:]
    if unit not in _UNITS or not number.isdecimal():
        raise ConfigurationError("duration-unreadable", actual=text[:80])
    return int(number) * _UNITS[unit]


def _now() -> int:
    import time  # noqa: PLC0415 (only where no time is given)

    return int(time.time())


def _time(seconds: int) -> str:
    return reasons.render("{at:time}", {"at": seconds})
