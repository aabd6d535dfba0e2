# SPDX-License-Identifier: Apache-2.0
"""``nacre release``: reference values, from any form into any other."""

import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import click
import msgspec

from nacre.appraisal.reference import showing
from nacre.appraisal.reference.convert import FORMS, Given, read, write_as
from nacre.cli import inputs, terminal
from nacre.errors import ConfigurationError
from nacre.trust.jwk import read_keys

__all__ = ["command"]

_SEALED = ("corim", "in-toto")


class Written(msgspec.Struct, frozen=True):
    """What ``convert --json`` writes."""

    written: str
    form: str
    read_as: str
    signature_checked: bool
    id: str
    fingerprint: str
    notes: tuple[str, ...]


@click.group("release")
def command() -> None:
    """Convert and show reference values: which registers code shows."""


@command.command("convert")
@click.argument("files", nargs=-1, required=True)
@click.option("--to", "form", type=click.Choice(tuple(FORMS)), required=True, help="The form to write.")
@click.option("--output", "-o", default="-", help="Where to write; stdout, if left out.", metavar="FILE")
@click.option(
    "--trust", help="Who may have signed FILES: public keys or authorities, PEM or JWK.", metavar="FILE"
)
@click.option("--payload", help="The manifest that a signature in FILES is about.", metavar="FILE")
@click.option("--at", help="Judge validity as of this time instead of now.", metavar="RFC3339")
@click.option("--id", "name", default="", help="What to call the release.")
@click.option("--any", "anything", multiple=True, help="A register that may be anything.", metavar="REGISTER")
@click.option(
    "--leave-out", multiple=True, help="Give up what a release cannot say, by name.", metavar="NAME"
)
@click.option("--key", help="The PEM private key to sign with (corim, in-toto).", metavar="FILE")
@click.option("--signer", default="", help="What the signer is called; the release's name, if left out.")
@click.option("--json", "as_json", is_flag=True, help="Say what was written as JSON.")
def convert(
    files: Sequence[str],
    *,
    form: str,
    output: str,
    trust: str | None,
    payload: str | None,
    at: str | None,
    name: str,
    anything: Sequence[str],
    leave_out: Sequence[str],
    key: str | None,
    signer: str,
    as_json: bool,
) -> None:
    """Read the release in FILES (- for stdin), whatever form it has, and write it in another.

    What cannot be said in the other form is refused by name, never dropped. Nothing is overwritten.
    """
    if key is not None and form not in _SEALED:
        raise ConfigurationError("release-unsealed", actual=form, expected=_SEALED)
    if as_json and output == "-":
        raise ConfigurationError("release-json-output")
    given = Given(
        at=int(time.time()) if at is None else inputs.time(at),
        id=name,
        anything=tuple(anything),
        leave_out=tuple(leave_out),
        pinned=None if trust is None else read_keys(inputs.document(trust)),
        preimage=None if payload is None else inputs.document(payload),
    )
    found = read([inputs.document(file) for file in files], given, file=files[0])
    document, lost = write_as(found.release, form)
    if key is not None:
        document = _sealed(document, form, key, signer or found.release.id)
    _write(document, output)
    written = Written(
        output,
        form,
        found.form,
        found.signed,
        found.release.id,
        found.release.fingerprint.hex(),
        (*found.notes, *lost),
    )
    if as_json:
        terminal.json(msgspec.json.encode(written))
    else:
        terminal.note(f"note: {terminal.clean(note)}" for note in written.notes)


def _sealed(document: bytes, form: str, key: str, signer: str) -> bytes:
    from nacre.appraisal.reference import intoto, signed  # noqa: PLC0415 (only to sign)
    from nacre.cli.signing import private_key  # noqa: PLC0415
    from nacre.trust.signing import signing_key  # noqa: PLC0415

    chosen = signing_key(private_key(key))
    if form == "in-toto":
        return intoto.seal(document, sign=chosen.sign, key_id=signer)
    return signed.dumps(document, algorithm=chosen.algorithm, sign=chosen.sign, signer=signer)


def _write(document: bytes, output: str) -> None:
    if output == "-":
        if document[:1] >= b"\x80" and sys.stdout.isatty():
            raise ConfigurationError("release-binary")
        sys.stdout.buffer.write(document)
        sys.stdout.buffer.flush()
        return
    try:
        with Path(output).open("xb") as file:
            file.write(document)
    except FileExistsError:
        raise ConfigurationError("file-exists", path=output) from None
    except OSError as error:
        raise ConfigurationError("file-unwritable", path=output, actual=error.strerror or "?") from None


@command.command("show")
@click.argument("file")
@click.option("--json", "as_json", is_flag=True, help="Write JSON.")
def show(file: str, *, as_json: bool) -> None:
    """Show what is in FILE (- for stdin): a release, or a manifest of any profile; trust none of it."""
    document = inputs.document(file)
    shown = showing.show(document, file=file)
    if as_json:
        terminal.json(msgspec.json.encode(shown))
    else:
        terminal.out(_lines(shown, terminal.style(sys.stdout)))


def _lines(shown: showing.Shown, style: terminal.Style) -> Iterator[str]:
    yield f"{style.paint('NOT VERIFIED', 'bold', 'yellow')}  {shown.title}"
    for name, value in shown.facts.items():
        yield f"  {style.paint(f'{name:<12}', 'dim')} {terminal.clean(value)}"
    for part in shown.parts:
        yield ""
        yield style.paint(terminal.clean(part.name), "bold")
        column = max((len(terminal.clean(name)) for name, _ in part.values), default=0)
        for name, value in part.values:
            yield f"  {style.paint(f'{terminal.clean(name):<{column}}', 'dim')}  {terminal.clean(value)}"
    if shown.problem:
        yield ""
        yield style.paint(f"No release can be made of it: {terminal.clean(shown.problem)}.", "yellow")
