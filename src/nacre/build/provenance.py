# SPDX-License-Identifier: Apache-2.0
"""How an image was made: SLSA provenance of its files, for whoever makes it again.

No time is stated unless the caller has one to state, so that two builds say the same. Provenance is the
builder's word: it is worth as much as whoever signs it, and hardware never shows it.

Source: SLSA 1.0, "Provenance".
"""

import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Final

import msgspec

from nacre.build import statements
from nacre.errors import BuildError, MalformedEvidence, NacreError, UnsupportedEvidence
from nacre.trust.jwk import KeySet
from nacre.trust.times import parse_rfc3339

__all__ = ["BUILD_TYPE", "PREDICATE", "Material", "Provenance", "read", "statement"]

PREDICATE: Final = "https://slsa.dev/provenance/v1"
#: An image as ``nacre build`` makes it of ``nacre.toml`` and ``nacre.lock``.
BUILD_TYPE: Final = "urn:uuid:4777351e-cd75-477e-877a-668ba6175278"

_WHAT: Final = "provenance"
_SOURCE: Final = "source"
_SHA256, _COMMIT = "sha256", "gitCommit"
_NACRE: Final = "nacre"
_GIT: Final = "git+"
#: Whoever rebuilds hands it to Git, which has schemes that run commands.
_REPOSITORY: Final = re.compile(r"(https://(?![^/]*@)|ssh://|file://)[!-~]+")
_COMMITS: Final = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_SHA256S: Final = re.compile(r"[0-9a-f]{64}")
#: The last second of the year 9999.
_LAST: Final = 253_402_300_799
_URI: Final = re.compile(r"[a-z][a-z0-9+.-]*:[!-~]+")


class Material(msgspec.Struct, frozen=True, kw_only=True):
    """A file that went in.

    Attributes:
        name: What it is, for people.
        uri: A package's purl; empty if it is none.
        sha256: Of the file.
    """

    name: str
    uri: str = ""
    sha256: bytes


class Provenance(msgspec.Struct, frozen=True, kw_only=True):
    """How an image was made.

    Attributes:
        outputs: What came out: names of files and SHA-256.
        recipe: SHA-256 of ``nacre.toml``.
        lock: SHA-256 of ``nacre.lock``.
        targets: What it was made for.
        materials: What went in.
        repository: Where the source is, ``https://…``, ``ssh://…`` or ``file://…``; empty if nobody said.
        commit: The source, a commit of Git's, hex; empty if it was not under version control.
        builder: Who built, a URI.
        version: Of Nacre.
        at: Seconds since 1970, if the build has a time.
    """

    outputs: Mapping[str, bytes]
    recipe: bytes
    lock: bytes
    targets: tuple[str, ...]
    materials: tuple[Material, ...] = ()
    repository: str = ""
    commit: str = ""
    builder: str
    version: str
    at: int | None = None


class _Parameters(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    recipe: str
    lock: str
    targets: tuple[str, ...]


class _Resource(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    name: str
    uri: str = ""
    digest: dict[str, str]


class _Definition(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    build_type: str
    external_parameters: _Parameters
    resolved_dependencies: tuple[_Resource, ...]


class _Builder(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    id: str
    version: dict[str, str]


class _Metadata(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    finished_on: str


class _Run(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    builder: _Builder
    metadata: _Metadata | None = None


class _Predicate(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    build_definition: _Definition
    run_details: _Run


def statement(provenance: Provenance) -> bytes:
    """Write provenance as a statement, for ``statements.sign`` or as it is.

    Raises:
        BuildError: ``provenance-unusable``: something in it could not be read again.
    """
    if provenance.at is not None and not 0 <= provenance.at <= _LAST:
        raise BuildError("provenance-unusable", actual=f"the time {provenance.at}")
    run = _Run(
        builder=_Builder(id=provenance.builder, version={_NACRE: provenance.version}),
        metadata=None if provenance.at is None else _Metadata(_text(provenance.at)),
    )
    definition = _Definition(
        build_type=BUILD_TYPE,
        external_parameters=_Parameters(provenance.recipe.hex(), provenance.lock.hex(), provenance.targets),
        resolved_dependencies=tuple(_resources(provenance)),
    )
    predicate = _Predicate(build_definition=definition, run_details=run)
    written = statements.encode(provenance.outputs, PREDICATE, predicate)
    try:
        read(written, pinned=None)
    except NacreError as error:
        raise BuildError("provenance-unusable", actual=str(error)) from None
    return written


def read(data: bytes, *, pinned: KeySet | None) -> Provenance:
    """Read the provenance of an image that Nacre built.

    Args:
        data: A statement, or an envelope.
        pinned: As for ``statements.read``: whose provenance is believed.

    Raises:
        MalformedEvidence: ``provenance-field``; as ``statements.read``.
        VerificationError: As ``statements.read``.
        UnsupportedEvidence: As ``statements.read``; ``provenance-type``, where something else built it.
    """
    outputs, predicate = statements.read(data, PREDICATE, _Predicate, pinned=pinned)
    definition, run = predicate.build_definition, predicate.run_details
    if definition.build_type != BUILD_TYPE:
        raise UnsupportedEvidence("provenance-type", actual=definition.build_type[:128])
    source = [one for one in definition.resolved_dependencies if one.name == _SOURCE]
    others = [one for one in definition.resolved_dependencies if one.name != _SOURCE]
    if len(source) > 1:
        raise MalformedEvidence("provenance-field", what=_SOURCE, actual=f"{len(source)} of them")
    stated = definition.external_parameters
    repository, commit = _source(source[0]) if source else ("", "")
    return Provenance(
        outputs=outputs,
        recipe=_hash("recipe", stated.recipe),
        lock=_hash("lock", stated.lock),
        targets=stated.targets,
        materials=tuple([_material(one) for one in others]),
        repository=repository,
        commit=commit,
        builder=_matching(_URI, "builder", run.builder.id),
        version=run.builder.version.get(_NACRE, ""),
        at=None if run.metadata is None else parse_rfc3339(run.metadata.finished_on, what=_WHAT),
    )


def _resources(provenance: Provenance) -> Iterable[_Resource]:
    if provenance.commit or provenance.repository:
        uri = f"{_GIT}{provenance.repository}" if provenance.repository else ""
        yield _Resource(name=_SOURCE, uri=uri, digest={_COMMIT: provenance.commit})
    for one in provenance.materials:
        yield _Resource(name=one.name, uri=one.uri, digest={_SHA256: one.sha256.hex()})


def _source(resource: _Resource) -> tuple[str, str]:
    commit = _matching(_COMMITS, _COMMIT, resource.digest.get(_COMMIT, ""))
    if not resource.uri:
        return "", commit
    return _matching(_REPOSITORY, "repository", resource.uri.removeprefix(_GIT)), commit


def _material(resource: _Resource) -> Material:
    digest = _hash(resource.name, resource.digest.get(_SHA256, ""))
    return Material(name=resource.name, uri=resource.uri, sha256=digest)


def _hash(what: str, text: str) -> bytes:
    return bytes.fromhex(_matching(_SHA256S, what, text))


def _matching(pattern: re.Pattern[str], what: str, text: str) -> str:
    if not pattern.fullmatch(text):
        raise MalformedEvidence("provenance-field", what=what[:80], actual=ascii(text[:80]))
    return text


def _text(at: int) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
