# SPDX-License-Identifier: Apache-2.0
"""``nacre endorsements``: the vendors' signed documents."""

import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import click
import msgspec

from nacre import platforms, reasons
from nacre.cli import failure, inputs, terminal
from nacre.cli.exits import Exit
from nacre.endorsers import bundle
from nacre.endorsers import store as stores
from nacre.endorsers.defaults import default_endorser
from nacre.endorsers.facts import CERTIFICATE, facts
from nacre.endorsers.verifier import system_clock
from nacre.errors import ConfigurationError, MalformedEvidence, NacreError
from nacre.platforms.base import Endorsements, Platform, Source
from nacre.trust import pem
from nacre.trust.x509 import parse_certificate

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
@click.argument("evidence", nargs=-1, required=True)
@click.option("--store", metavar="DIR", help="Also lay AMD's documents out in this folder, for a fleet.")
@click.option("--json", "as_json", is_flag=True, help="Write JSON.")
def fetch(evidence: tuple[str, ...], *, store: str | None, as_json: bool) -> int:
    """Fetch what each EVIDENCE (- for stdin) needs into the cache, and list it.

    A store serves a whole fleet without a network: NACRE_KDS_URL=file:///path/of/the/folder. Chips that AMD
    does not know, or not now, are told on stderr while the others are fetched.
    """
    status = Exit.ACCEPTED
    found: list[Described] = []
    for name in evidence:
        try:
            platform, documents = _collected(name, offline=False, store=store)
        except NacreError as error:
            if len(evidence) == 1:
                raise
            failure.report(f"{name}: {error}", error.hint)
            status = failure.exit_of(error)
            continue
        found += _described(documents.documents)
        if not as_json:
            _list(documents.documents, platform.title)
    if as_json:
        terminal.json(msgspec.json.encode(found))
    return status


@command.command("show")
@click.argument("path")
@click.option("--json", "as_json", is_flag=True, help="Write JSON.")
def show(path: str, *, as_json: bool) -> None:
    """List the documents of a bundle, folder or store with their dates and numbers; verify none of them."""
    folder = Path(path)
    documents = dict(stores.documents(folder)) if stores.is_store(folder) else bundle.load(path).documents
    if as_json:
        terminal.json(msgspec.json.encode(list(_described(documents))))
    else:
        _list(documents, path)


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
        platform = platforms.detect(inputs.device_evidence(evidence))
        loaded = bundle.load(folder).documents
        documents = Endorsements({role: data for role, data in loaded.items() if role in platform.roles})
    data = bundle.pack(documents, platform.name, system_clock())
    if output == "-":
        terminal.out([data.decode().rstrip("\n")])
        return
    _create(Path(output), data)
    if as_json:
        terminal.json(msgspec.json.encode(list(_described(documents.documents))))
    else:
        terminal.note([f"wrote {output}: {len(documents.documents)} documents, {len(data)} bytes"])


def _collected(name: str, *, offline: bool, store: str | None = None) -> tuple[Platform, Endorsements]:
    data = inputs.device_evidence(name)
    platform = platforms.detect(data)
    parsed = platform.parse(data)
    collector = default_endorser(offline=offline)
    now = system_clock()
    with _busy(f"asking for the endorsements of {platform.title} evidence"):
        found = collector.endorsements(platform, parsed, at=now)
        if store is not None:
            _lay_out(Path(store), platform, collector.served(platform, parsed, at=now))
    return platform, found


def _lay_out(store: Path, platform: Platform, served: Iterable[tuple[Source, bytes]]) -> None:
    for source, document in served:
        if source.endorser != "amd-kds":
            raise ConfigurationError("store-not-amd", actual=platform.title)
        stores.put(store, source, document)


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


def _list(documents: Mapping[str, bytes], title: str) -> None:
    terminal.out(_lines(list(_described(documents)), title, terminal.style(sys.stdout)))


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


def _described(documents: Mapping[str, bytes]) -> Iterator[Described]:
    for role, data in sorted(documents.items()):
        if role.endswith("_issuer_chain"):
            yield Described(role, len(data), _chain(data))
            continue
        try:
            found = facts(data, documents.get(role + _CHAIN))
            kind = _kind(data, found.kind)
        except MalformedEvidence:
            yield Described(role, len(data), "not readable as an endorsement")
            continue
        yield Described(
            role,
            len(data),
            kind,
            reasons.render("{at:time}", {"at": found.begins}),
            reasons.render("{at:time}", {"at": found.ends}),
            found.number,
            found.fmspc,
        )


def _kind(data: bytes, kind: str) -> str:
    if kind == CERTIFICATE:
        return _chain(data) if data.startswith(b"-----BEGIN") else str(parse_certificate(data))
    return {"tcb": "TCB Info", "identity": "enclave identity"}.get(kind, "revocation list")


def _chain(data: bytes) -> str:
    try:
        return f"chain of {len(pem.certificates(data))} certificates"
    except MalformedEvidence:
        return "not readable as a chain"
