# SPDX-License-Identifier: Apache-2.0
"""Any form of reference values into a release, and a release into any form.

What a file is, is told by its first bytes, never by its name. Whoever signed it has to be pinned by the
caller; a signature that nobody asked to check is refused, not ignored.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from nacre.appraisal.documents import Document, read_bytes
from nacre.appraisal.reference import manifest
from nacre.appraisal.reference.corim import MAX_CORIM, Corim, check_validity
from nacre.appraisal.reference.corim import loads as load_corim
from nacre.appraisal.reference.tables import Gathered, Table, registers_of, release_of, table_of, write
from nacre.appraisal.release import ANY, Release
from nacre.errors import (
    ConfigurationError,
    MalformedEvidence,
    UnsupportedEvidence,
    VerificationError,
)
from nacre.trust import json

if TYPE_CHECKING:
    from nacre.trust.jwk import KeySet

__all__ = ["FORMS", "Given", "Read", "load_manifest", "read", "write_as"]

_WHAT = "reference values"
_SIGNED, _UNSIGNED = b"\xd2", b"\xd9\x01\xf5"


class Given(msgspec.Struct, frozen=True, kw_only=True):
    """What the caller says beside the documents.

    Attributes:
        at: When signatures and manifests have to be valid, Unix seconds.
        id: What the release is called, where the documents have no name for it.
        anything: Registers that may be anything, where the documents do not mention them.
        leave_out: Names of what a release cannot say and the caller gives up.
        pinned: The keys of those who may sign.
        preimage: The manifest of a signature that only has its hash.
    """

    at: int
    id: str = ""
    anything: tuple[str, ...] = ()
    leave_out: tuple[str, ...] = ()
    pinned: "KeySet | None" = None
    preimage: bytes | None = None


class Read(msgspec.Struct, frozen=True):
    """What came of reading.

    Attributes:
        release: The release.
        form: ``toml``, ``corim``, ``rvps``, ``in-toto`` or ``cocli``.
        signed: Whether a pinned key signed it.
        notes: What was left out, and what the caller should know.
    """

    release: Release
    form: str
    signed: bool
    notes: tuple[str, ...]


class _Source(msgspec.Struct, frozen=True):
    table: Table
    form: str
    signed: bool = False


def read(documents: Sequence[bytes], given: Given, *, file: str = "(bytes)") -> Read:
    """Read a release from one document, or from several that belong together.

    Args:
        documents: The documents. Several only of Tinfoil's statements and of cocli's templates.
        given: What the caller says.
        file: What errors call the first.

    Raises:
        MalformedEvidence: A document is not what it seems to be.
        UnsupportedEvidence: It says what a release cannot, or nothing that is known here.
        VerificationError: A signature does not hold or has no pinned key; it is not valid now.
        ConfigurationError: What it says cannot be a release.
    """
    gathered = Gathered(_WHAT, given.leave_out)
    source = _source(documents, given, gathered, file)
    if not source.signed and given.pinned is not None:
        raise VerificationError(
            "reference-unsigned", check="reference.signature", what=file, expected=len(given.pinned.keys)
        )
    gathered.settle()
    table = dict(source.table)
    if given.id:
        table["id"] = given.id
    if "id" not in table:
        raise ConfigurationError("reference-no-id", what=file)
    _open_registers(table, given.anything)
    release = release_of(table, file=file)
    return Read(release, source.form, source.signed, tuple(gathered.notes))


def _source(documents: Sequence[bytes], given: Given, gathered: Gathered, file: str) -> _Source:
    first = documents[0]
    if given.preimage is not None and not first.startswith(_SIGNED):
        raise ConfigurationError("reference-payload", what=file)
    if first.lstrip()[:1] in (b"{", b"["):
        values = [json.loads(document, what=file, limit=MAX_CORIM) for document in documents]
        return _json(values, given, gathered)
    if len(documents) > 1:
        raise ConfigurationError("reference-several", what=file, actual=len(documents))
    if first.startswith(_SIGNED):
        from nacre.appraisal.reference import signed  # noqa: PLC0415 (slow to import, rarely needed)

        message = signed.loads(first, preimage=given.preimage)
        if given.pinned is None:
            raise VerificationError(
                "reference-signer",
                check=signed.CHECK,
                what="signed CoRIM",
                expected=message.algorithm,
                actual=0,
            )
        verified = signed.verify(message, pinned=given.pinned, at=given.at)
        return _Source(manifest.read(verified, gathered), "corim", signed=True)
    if first.startswith(_UNSIGNED):
        return _Source(_unsigned(load_corim(first), given, gathered), "corim")
    try:
        text = first.decode()
    except UnicodeDecodeError:
        raise MalformedEvidence(
            "reference-form", what=file, actual=first[:8], expected=tuple(FORMS)
        ) from None
    return _Source(Document.parse(text, what="release", file=file).table, "toml")


def _unsigned(corim: Corim, given: Given, gathered: Gathered) -> Table:
    check_validity(corim.validity, at=given.at, what="manifest", check="reference.signature")
    return manifest.read(corim, gathered)


def _json(values: Sequence[object], given: Given, gathered: Gathered) -> _Source:
    from nacre.appraisal.reference import intoto, rvps, templates  # noqa: PLC0415 (slow to import)

    if all(intoto.recognises(value) for value in values):
        opened = [intoto.opened(value, pinned=given.pinned) for value in values]
        # An envelope has something else inside it, a bare statement is its own.
        signed = all(inner is not outer for inner, outer in zip(opened, values, strict=True))
        if given.pinned is not None and not signed:
            return _Source({}, "in-toto")
        return _Source(intoto.read(opened, gathered), "in-toto", signed)
    if templates.recognises(values[0]):
        made = load_corim(templates.manifest(values[0], *values[1:]))
        return _Source(_unsigned(made, given, gathered), "cocli")
    if len(values) == 1 and rvps.recognises(values[0]):
        return _Source(rvps.read(values[0], gathered), "rvps")
    raise MalformedEvidence(
        "reference-form", what=_WHAT, actual="JSON of another kind", expected=tuple(FORMS)
    )


def _open_registers(table: Table, anything: Sequence[str]) -> None:
    """State registers as ``"any"`` that the caller opens and the documents do not mention."""
    unused = set(anything)
    for platform, rows in table.items():
        if not isinstance(rows, list) or platform == "id":
            continue
        known = registers_of(platform)
        for row in rows:
            for name in anything:
                if isinstance(row, dict) and name in known and name not in row:
                    row[name] = ANY
                    unused.discard(name)
    if unused:
        raise ConfigurationError("reference-not-open", what=_WHAT, actual=min(unused))


def load_manifest(path: Path, *, outsiders: Iterable[str] = ()) -> Release:
    """Read a release from an unsigned CoRIM file, as a policy names it.

    A policy is read without a clock and without keys, so a manifest that ends or is signed is refused:
    ``nacre release convert`` checks both and makes a file of it that does neither.

    Raises:
        ConfigurationError: ``config-manifest``: the file cannot be used, or not without a conversion.
    """
    data = read_bytes(path, what="release", limit=MAX_CORIM)
    gathered = Gathered(_WHAT, ())
    try:
        found = load_corim(data)
        if found.validity is not None:
            gathered.cannot("rim-validity")
        table = manifest.read(found, gathered)
        gathered.settle()
    except (MalformedEvidence, UnsupportedEvidence) as error:
        raise ConfigurationError("config-manifest", file=str(path), actual=str(error)) from None
    return release_of(table, file=str(path), outsiders=outsiders)


def write_as(release: Release, form: str) -> tuple[bytes, tuple[str, ...]]:
    """Write a release in a form of :data:`FORMS`, the same bytes for the same release.

    Returns:
        The document, and what it does not say.

    Raises:
        UnsupportedEvidence: ``reference-unwritable``, ``reference-union``: the form has no word for it.
    """
    gathered = Gathered(_WHAT, ())
    document = FORMS[form](release, gathered)
    if gathered.names:
        raise UnsupportedEvidence(
            "reference-unwritable", form=form, release=release.id, actual=gathered.names
        )
    return document, tuple(gathered.notes)


def _toml(release: Release, gathered: Gathered) -> bytes:
    del gathered
    return write(table_of(release)).encode()


def _corim(release: Release, gathered: Gathered) -> bytes:
    del gathered
    return manifest.write(release)


def _rvps(release: Release, gathered: Gathered) -> bytes:
    from nacre.appraisal.reference import rvps  # noqa: PLC0415 (rarely needed)

    return rvps.write(release, gathered)


def _intoto(release: Release, gathered: Gathered) -> bytes:
    from nacre.appraisal.reference import intoto  # noqa: PLC0415 (rarely needed)

    del gathered
    return intoto.write(release)


#: The forms that a release can be written in.
FORMS: Final[Mapping[str, Callable[[Release, Gathered], bytes]]] = {
    "toml": _toml,
    "corim": _corim,
    "rvps": _rvps,
    "in-toto": _intoto,
}
