# SPDX-License-Identifier: Apache-2.0
"""``nacre endorsements``: the vendors' signed documents."""

import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import click
import msgspec

from nacre import platforms, reasons
from nacre.cli import inputs, terminal
from nacre.endorsers import bundle
from nacre.endorsers.defaults import default_endorser
from nacre.endorsers.facts import facts
from nacre.endorsers.verifier import system_clock
from nacre.errors import ConfigurationError, MalformedEvidence
from nacre.platforms.base import Endorsements, Platform
from nacre.trust import pem

__all__ = ["command"]

_CHAIN = "_issuer_chain"


class Described(msgspec.Struct, frozen=True, omit_defaults=True):
    """A document as it is listed; nothing here was verified."""

    role: str
    size: int
    kind: str
    begins: str = ""
    ends: str = ""
    number: int = 0
    fmspc: str = ""


@click.group("endorsements")
def command() -> None:
    """Fetch, show and pack the vendors' signed documents."""


@command.command("fetch")
@click.argument("evidence")
@click.option("--json", "as_json", is_flag=True, help="Write JSON.")
def fetch(evidence: str, *, as_json: bool) -> None:
    """Fetch what the evidence in EVIDENCE (- for stdin) needs into the cache, and list it."""
    platform, documents = _collected(evidence, offline=False)
    _list(documents, platform.title, as_json=as_json)


@command.command("show")
@click.argument("path")
@click.option("--json", "as_json", is_flag=True, help="Write JSON.")
def show(path: str, *, as_json: bool) -> None:
    """List the documents of a bundle or folder with their dates and numbers; verify none of them."""
    _list(bundle.load(path), path, as_json=as_json)


@command.command("pack")
@click.argument("evidence")
@click.option(
    "--output", "-o", metavar="FILE", default="-", help="Where to write the bundle; stdout if left out."
)
@click.option("--from", "folder", metavar="DIR", help="Take the documents from this folder or bundle.")
@click.option("--offline", is_flag=True, help="Do not fetch; use what is cached.")
@click.option("--json", "as_json", is_flag=True, help="Also list what was packed, as JSON.")
def pack(evidence: str, *, output: str, folder: str | None, offline: bool, as_json: bool) -> None:
    """Pack what the evidence in EVIDENCE needs into one file, to verify without a network."""
    if folder is None:
        platform, documents = _collected(evidence, offline=offline)
    else:
        platform = platforms.detect(inputs.evidence(evidence))
        loaded = bundle.load(folder).documents
        documents = Endorsements({role: data for role, data in loaded.items() if role in platform.roles})
    data = bundle.pack(documents, platform.name, system_clock())
    if output == "-":
        terminal.out([data.decode().rstrip("\n")])
        return
    _create(Path(output), data)
    if as_json:
        _list(documents, platform.title, as_json=True)
    else:
        terminal.note([f"wrote {output}: {len(documents.documents)} documents, {len(data)} bytes"])


def _collected(name: str, *, offline: bool) -> tuple[Platform, Endorsements]:
    data = inputs.evidence(name)
    platform = platforms.detect(data)
    parsed = platform.parse(data)
    with _busy(f"asking for the endorsements of {platform.title} evidence"):
        found = default_endorser(offline=offline).endorsements(platform, parsed, at=system_clock())
    return platform, found


def _busy(what: str) -> AbstractContextManager[object]:
    """Show on terminals that something takes its time."""
    if not sys.stderr.isatty():
        return nullcontext()
    from rich.console import Console  # noqa: PLC0415 (slow to import)

    return Console(stderr=True).status(what)


def _create(path: Path, data: bytes) -> None:
    try:
        path.write_bytes(data)
    except OSError as error:
        raise ConfigurationError("file-unwritable", path=str(path), actual=error.strerror or "?") from None


def _list(documents: Endorsements, title: str, *, as_json: bool) -> None:
    described = list(_described(documents))
    if as_json:
        terminal.json(msgspec.json.encode(described))
        return
    style = terminal.style(sys.stdout)
    terminal.out(_lines(described, title, style))


def _lines(described: list[Described], title: str, style: terminal.Style) -> Iterator[str]:
    if not described:
        yield f"{terminal.clean(title)}: needs no endorsements, everything is in the evidence"
        return
    yield f"{style.paint(terminal.clean(title), 'bold')}, not verified"
    column = max(len(one.role) for one in described)
    for one in described:
        words = [f"{one.size:>7} bytes", one.kind]
        if one.ends:
            words.append(f"{one.begins} to {one.ends}")
        if one.number:
            words.append(f"number {one.number}")
        if one.fmspc:
            words.append(f"FMSPC {one.fmspc}")
        yield f"  {one.role:<{column}}  {terminal.clean(', '.join(words))}"


def _described(documents: Endorsements) -> Iterator[Described]:
    for role, data in sorted(documents.documents.items()):
        if role.endswith("_chain"):
            yield Described(role, len(data), _chain(data))
            continue
        try:
            found = facts(data, documents.get(role + _CHAIN))
        except MalformedEvidence:
            yield Described(role, len(data), "not readable as an endorsement")
            continue
        yield Described(
            role,
            len(data),
            {"tcb": "TCB Info", "identity": "enclave identity"}.get(found.kind, "revocation list"),
            reasons.render("{at:time}", {"at": found.begins}),
            reasons.render("{at:time}", {"at": found.ends}),
            found.number,
            found.fmspc,
        )


def _chain(data: bytes) -> str:
    try:
        return f"chain of {len(pem.certificates(data))} certificates"
    except MalformedEvidence:
        return "not readable as a chain"
