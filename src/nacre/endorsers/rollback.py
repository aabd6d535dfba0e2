# SPDX-License-Identifier: Apache-2.0
"""The rollback guard: what was once seen to be newer stays newer.

An endorser, or whoever speaks for it, can serve documents of yesterday that are validly signed and inside
their dates, and so hide that a platform is out of date. The guard remembers, for each platform family
and kind of document, the highest ``tcbEvaluationDataNumber`` (of AMD's revocation lists: CRL number) and its
``issueDate`` among documents *that were verified under the vendor's root*, and refuses an older one. What is
merely served is never remembered: a liar could otherwise lock out every genuine document with one huge
number.

A document is older than the mark only at a time at which the marked one had already been issued, so
judging in the past works.
"""

from collections.abc import Iterable
from pathlib import Path

import msgspec

from nacre.endorsers.facts import Facts
from nacre.endorsers.files import locked, private_folder, read_sealed, replace_sealed
from nacre.endorsers.notices import Notice, log
from nacre.errors import ConfigurationError, EndorsementsUnavailable

__all__ = ["Guard", "Mark"]

_FORMAT = "nacre-rollback/v1"
_FILE = "rollback.state"
_LIMIT = 4 << 20
# Kinds of documents that replace each other: of certificates, each is for a key of its own.
_GUARDED = frozenset({"tcb", "identity", "crl"})


class Mark(msgspec.Struct, frozen=True, forbid_unknown_fields=True, order=True):
    """The newest document seen: by number, then by date (Unix seconds)."""

    number: int
    issued: int


class _State(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    format: str
    marks: dict[str, Mark]


class Guard:
    """Remembers the newest documents seen. Threads and processes may share one folder."""

    def __init__(
        self, folder: Path | None, *, notice: Notice = log, unsafe_allow_rollback: bool = False
    ) -> None:
        """Remember below ``folder``; without one, for the life of this object.

        Args:
            folder: Where to keep the state; made when something is recorded.
            notice: Takes what goes wrong.
            unsafe_allow_rollback: Accept older documents; each is a notice.
        """
        self._folder = None if folder is None else folder / "rollback"
        self._notice = notice
        self._allow = unsafe_allow_rollback
        self._marks: dict[str, Mark] = {}
        self._unsaved = False

    def check(self, platform: str, scope: str, found: Facts, *, role: str, at: int) -> None:
        """Refuse a document that is older than one seen before.

        Args:
            platform: The platform's name.
            scope: Which series of documents of it (``standard`` or ``early`` updates).
            found: What the document says about itself.
            role: What errors call it.
            at: The time to judge at, Unix seconds.

        Raises:
            EndorsementsUnavailable: ``tcb-evaluation-rollback``, or ``tcb-issue-rollback`` if the number is
                the same but the document was issued earlier; ``crl-rollback`` for a revocation list.
        """
        if found.kind not in _GUARDED:
            return
        mark = self.marks().get(_key(platform, scope, found))
        if mark is None or mark.issued > at or Mark(found.number, found.issued) >= mark:
            return
        if found.kind == "crl":
            error = EndorsementsUnavailable(
                "crl-rollback", role=role, expected=mark.number, actual=found.number, issued=found.issued
            )
        elif found.number < mark.number:
            error = EndorsementsUnavailable(
                "tcb-evaluation-rollback", role=role, expected=mark.number, actual=found.number
            )
        else:
            error = EndorsementsUnavailable(
                "tcb-issue-rollback", role=role, expected=mark.issued, actual=found.issued
            )
        if not self._allow:
            raise error
        self._notice(error)

    def record(self, platform: str, scope: str, proved: Iterable[Facts]) -> None:
        """Remember documents whose signatures held under the vendor's root."""
        numbered = [found for found in proved if found.kind in _GUARDED]
        new = {_key(platform, scope, found): Mark(found.number, found.issued) for found in numbered}
        if self._unsaved or _raises(self._marks, new):
            self._marks = _highest(self._marks, new)
            if self._folder is not None:
                self._unsaved = not self._save(self._folder)

    def marks(self) -> dict[str, Mark]:
        """Return what was seen, by ``platform/scope/kind/fmspc``."""
        return _highest(self._read(), self._marks)

    def _save(self, folder: Path) -> bool:
        try:
            if not private_folder(folder):
                self._notice(ConfigurationError("cache-unsafe", path=str(folder)))
                return False
            with locked(folder):
                kept = self._read()
                if _raises(kept, self._marks):
                    state = _State(_FORMAT, _highest(kept, self._marks))
                    replace_sealed(folder / _FILE, msgspec.json.encode(state))
        except OSError as error:
            said = error.strerror or str(error) or type(error).__name__
            self._notice(ConfigurationError("rollback-state-unusable", path=str(folder), actual=said))
            return False
        return True

    def _read(self) -> dict[str, Mark]:
        if self._folder is None:
            return {}
        path = self._folder / _FILE
        try:
            content = read_sealed(path, limit=_LIMIT)
            state = None if content is None else msgspec.json.decode(content, type=_State)
        except (OSError, ValueError) as error:
            said = error.strerror if isinstance(error, OSError) else "damaged"
            self._notice(ConfigurationError("rollback-state-unusable", path=str(path), actual=said))
            return {}
        return state.marks if state is not None and state.format == _FORMAT else {}


def _key(platform: str, scope: str, found: Facts) -> str:
    return f"{platform}/{scope}/{found.kind}/{found.fmspc}"


def _raises(marks: dict[str, Mark], new: dict[str, Mark]) -> bool:
    return any(key not in marks or marks[key] < mark for key, mark in new.items())


def _highest(one: dict[str, Mark], other: dict[str, Mark]) -> dict[str, Mark]:
    keys = one.keys() | other.keys()
    return {key: max(marks[key] for marks in (one, other) if key in marks) for key in keys}
