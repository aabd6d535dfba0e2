# SPDX-License-Identifier: Apache-2.0
"""Reading conformance cases: one folder each, described by its ``case.json``.

The form is that of ``tests/vectors/README.md``. Other verifiers can be run over the same folders: nothing
in a case depends on this one.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path

import msgspec

from nacre.errors import ConfigurationError, MalformedEvidence
from nacre.testing.questions import PINNED_ROOT, PLATFORMS, ROOTS, Json, Question, anchors_of
from nacre.trust.anchors import Anchor
from nacre.trust.times import parse_rfc3339

__all__ = ["Case", "Expected", "find", "load"]

_MAX_FILE = 16 << 20
_MAX_CASES = 100_000


class Expected(msgspec.Struct, frozen=True):
    """What a verifier has to find. What is not stated is not compared.

    Attributes:
        verdict: ``pass`` or ``fail``.
        crypto: ``pass`` if chain, signatures, freshness, revocation and match of collateral all hold.
        claims: Values that a parser has to return.
        tcb_status: And the rest: the TCB evaluation, Intel's platforms only.
    """

    verdict: str
    crypto: str | msgspec.UnsetType = msgspec.UNSET
    claims: dict[str, Json] | None = None
    tcb_status: str | None = None
    advisory_ids: list[str] | None = None
    tcb_date: str | None = None
    tcb_evaluation_data_number: int | None = None
    platform_level_status: str | None = None
    component_statuses: list[str] | None = None
    launch_status: str | None = None
    current_status: str | None = None


class _Document(msgspec.Struct, frozen=True):
    """``case.json``, as far as a runner reads it."""

    id: str
    tee: str
    evidence: str | dict[str, str]
    collateral: dict[str, str | None]
    time: str
    expected: Expected
    policy: dict[str, Json] = {}
    optional: bool = False


class Case(Question, frozen=True, kw_only=True):
    """A question with the answer that has to come out.

    Its files are not read if no platform here verifies it.

    Attributes:
        id: Its name.
        tee: The kind of TEE, as case files call it.
        folder: Where it lies.
        optional: Whether a verifier may lack what the case is about, if it fails closed.
        expected: What has to come out.
    """

    id: str
    tee: str
    folder: Path
    optional: bool
    expected: Expected


def find(directory: Path) -> Iterator[Path]:
    """Find the folders below ``directory`` that hold a ``case.json``, in order.

    Raises:
        ConfigurationError: ``file-missing``, or there are absurdly many.
    """
    if not directory.is_dir():
        raise ConfigurationError("directory-missing", path=str(directory))
    found = sorted(path.parent for path in directory.rglob("case.json"))
    if len(found) > _MAX_CASES:
        raise ConfigurationError("too-many-cases", path=str(directory), expected=_MAX_CASES)
    yield from found


def load(folder: Path) -> Case:
    """Read a case and its files.

    Raises:
        ConfigurationError: ``case-unreadable``.
    """
    try:
        document = msgspec.json.decode(_read(folder, "case.json"), type=_Document)
        at = parse_rfc3339(document.time, what="time")
    except (msgspec.DecodeError, MalformedEvidence) as error:
        raise ConfigurationError("case-unreadable", path=str(folder), actual=str(error)) from None
    platform = PLATFORMS.get(document.tee, "")
    evidence, collateral, anchors = b"", {}, None
    if platform:
        if not isinstance(document.evidence, str):
            raise ConfigurationError("case-unreadable", path=str(folder), actual="evidence is not one file")
        evidence = _read(folder, document.evidence)
        named = {role: name for role, name in document.collateral.items() if name}
        collateral = {
            role: name.encode() if role == PINNED_ROOT else _read(folder, name)
            for role, name in named.items()
        }
        anchors = _anchors(folder, platform, collateral)
    return Case(
        id=document.id,
        tee=document.tee,
        platform=platform,
        folder=folder,
        evidence=evidence,
        collateral=collateral,
        anchors=anchors,
        at=at,
        policy=document.policy,
        optional=document.optional,
        expected=document.expected,
    )


def _anchors(folder: Path, platform: str, collateral: Mapping[str, bytes]) -> tuple[Anchor, ...]:
    """Return the root that a case trusts: here it is one of the collateral, and has to be there."""
    root = next((collateral[role] for role in ROOTS if role in collateral), None)
    try:
        anchors = anchors_of(platform, collateral, root=root)
    except MalformedEvidence as error:
        raise ConfigurationError("case-unreadable", path=str(folder), actual=str(error)) from None
    if anchors is None:
        problem = "no root among its collateral"
        raise ConfigurationError("case-unreadable", path=str(folder), actual=problem)
    return anchors


def _read(folder: Path, name: str) -> bytes:
    # A case may come from strangers: its files lie beside it, nowhere else.
    if Path(name).name != name:
        raise ConfigurationError("case-unreadable", path=str(folder), actual=f"{name} is not in its folder")
    try:
        with (folder / name).open("rb") as file:
            data = file.read(_MAX_FILE + 1)
    except OSError as error:
        problem = f"{name}: {error.strerror}"
        raise ConfigurationError("case-unreadable", path=str(folder), actual=problem) from None
    if len(data) > _MAX_FILE:
        raise ConfigurationError("case-unreadable", path=str(folder), actual=f"{name} is too large")
    return data
