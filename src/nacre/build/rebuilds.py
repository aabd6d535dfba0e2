# SPDX-License-Identifier: Apache-2.0
"""What somebody says who built a release again: that its registers came out, or what came out differently.

A statement about a release by its fingerprint. Whoever trusts several rebuilders need not trust the builder.
"""

import re
from typing import Final, Literal

import msgspec

from nacre.build import statements
from nacre.errors import MalformedEvidence
from nacre.trust.jwk import KeySet

__all__ = ["PREDICATE", "Rebuild", "read", "statement"]

#: A rebuilder's statement, version 1.
PREDICATE: Final = "urn:uuid:957e71ab-4006-4e57-8751-15fb26386a3f"

_COMMIT: Final = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_LONGEST: Final = 4096


class Rebuild(msgspec.Struct, frozen=True, kw_only=True):
    """The outcome of a rebuild.

    Attributes:
        release: Name of the release, as it has it.
        fingerprint: Of the release, 32 bytes.
        commit: The source that was built again, a commit of Git's, hex.
        result: Whether everything that was compared is the same.
        difference: The first difference, in words; empty if there is none.
        version: Of Nacre, which built again.
    """

    release: str
    fingerprint: bytes
    commit: str
    result: Literal["identical", "different"]
    difference: str = ""
    version: str


class _Predicate(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    commit: str
    result: Literal["identical", "different"]
    difference: str = ""
    nacre: str


def statement(rebuild: Rebuild) -> bytes:
    """Write a statement, for ``statements.sign``; of the difference no more than 4096 characters."""
    predicate = _Predicate(
        commit=rebuild.commit,
        result=rebuild.result,
        difference=rebuild.difference[:_LONGEST],
        nacre=rebuild.version,
    )
    return statements.encode({rebuild.release: rebuild.fingerprint}, PREDICATE, predicate)


def read(data: bytes, *, pinned: KeySet) -> Rebuild:
    """Read a rebuilder's statement, which one of the pinned keys has to have signed.

    Raises:
        MalformedEvidence: ``rebuild-form``; as ``statements.read``.
        VerificationError: As ``statements.read``.
        UnsupportedEvidence: As ``statements.read``.
    """
    subjects, predicate = statements.read(data, PREDICATE, _Predicate, pinned=pinned)
    if len(subjects) != 1:
        raise MalformedEvidence("rebuild-form", expected="one release", actual=f"{len(subjects)}")
    if not _COMMIT.fullmatch(predicate.commit):
        raise MalformedEvidence("rebuild-form", expected="a commit", actual=ascii(predicate.commit[:80]))
    if (predicate.result == "different") != bool(predicate.difference):
        raise MalformedEvidence(
            "rebuild-form", expected="a difference if it is different", actual=predicate.result
        )
    ((release, fingerprint),) = subjects.items()
    return Rebuild(
        release=release,
        fingerprint=fingerprint,
        commit=predicate.commit,
        result=predicate.result,
        difference=predicate.difference,
        version=predicate.nacre,
    )
