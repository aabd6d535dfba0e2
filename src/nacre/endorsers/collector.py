# SPDX-License-Identifier: Apache-2.0
"""Endorsements from memory, from disk, from the network, in this order.

A vendor replaces documents long before they end, and a new one may say that a platform is out of date by
now. So documents are fetched anew after a day although they are valid for a month, and the old ones serve
on while the endorser cannot be reached. Which document is good enough is not decided here: an expired one
is handed over if there is nothing better, and its platform says what is wrong with it.

Nor is it decided here what is genuine. A document that a Verifier doubts is dropped, unless it proved
genuine before, and fetched anew; until the endorser may be asked again older versions serve, and the
doubted one itself where there is nothing else: it may yet be genuine, to evidence of another root.
"""

import threading
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

import msgspec

from nacre.endorsers.cache import Cache, Version, default_folder
from nacre.endorsers.endorser import NO_ENDORSEMENTS
from nacre.endorsers.facts import facts
from nacre.endorsers.notices import Notice, log
from nacre.endorsers.pcs import Document, Pcs
from nacre.endorsers.rollback import Guard
from nacre.errors import EndorsementsUnavailable, MalformedEvidence
from nacre.platforms.base import Endorsements, Evidence, Platform, Source
from nacre.trust.anchors import Origin

__all__ = ["REFRESH", "Collector", "system_clock"]

#: Seconds after which a document is fetched anew although it is valid.
REFRESH = 24 * 3600

# Seconds before an endorser that failed is asked again, without and with documents to go on with.
_RETRY_BARE = 15
_RETRY_STOCKED = 300
# Seconds before an endorser that serves expired documents is asked again.
_RETRY_EXPIRED = 60
# Seconds before an endorser is asked again for documents that were doubted.
_RETRY_DOUBTED = 60
_MAX_HELD = 256
_MAX_GENUINE = 1024

_Key = tuple[str, ...]


def system_clock() -> int:
    """Return the system's time, Unix seconds."""
    return int(time.time())


class _Held(msgspec.Struct, frozen=True):
    """Endorsements in memory: valid from ``begins`` to ``ends``, to be used until ``renew``.

    ``versions`` are what they were joined from, with their URLs.
    """

    endorsements: Endorsements
    versions: tuple[tuple[str, Version], ...]
    begins: int
    ends: int
    renew: int

    def valid(self, at: int) -> bool:
        return self.begins <= at <= self.ends


class _Failure(msgspec.Struct, frozen=True):
    """Why an endorser could not serve, to be repeated until ``until`` instead of asking again."""

    error: EndorsementsUnavailable
    until: int


class _Part(msgspec.Struct, frozen=True):
    """One document to use, and when to look for another."""

    version: Version
    renew: int


class _Asked(NamedTuple):
    """What an endorsement is for: a platform, a time to judge at, and the time it is now.

    Before ``pause`` nothing that was doubted is asked for again.
    """

    platform: str
    at: int
    now: int
    pause: int


class Collector:
    """An endorser with a memory, a disk and a network. Threads may share one."""

    def __init__(
        self,
        *,
        pcs: Pcs | None = None,
        cache: Cache | None = None,
        guard: Guard | None = None,
        clock: Callable[[], int] = system_clock,
        refresh: int = REFRESH,
        offline: bool = False,
        notice: Notice = log,
    ) -> None:
        """Choose where documents come from.

        Args:
            pcs: The server; Intel's by default.
            cache: The disk; the user's cache directory by default.
            guard: The rollback guard; its state lives beside the cache by default.
            clock: Unix seconds.
            refresh: Seconds after which a valid document is fetched anew.
            offline: Use what is cached and never the network.
            notice: Takes what goes wrong without stopping anything.
        """
        self._pcs = pcs or Pcs()
        self._cache = cache or Cache(default_folder(), notice=notice)
        self._guard = guard or Guard(default_folder(), notice=notice)
        self._clock = clock
        self._refresh = refresh
        self._offline = offline
        self._notice = notice
        self._held: dict[_Key, _Held] = {}
        self._failures: dict[_Key, _Failure] = {}
        self._locks: dict[_Key, threading.Lock] = {}
        self._pauses: dict[_Key, int] = {}
        self._doubted: dict[str, Version] = {}
        self._genuine: set[bytes] = set()

    def held(self, platform: Platform, evidence: Evidence, *, at: int) -> Endorsements | None:
        """Return the documents that this evidence needs if they are in memory and need no renewal."""
        sources = platform.sources(evidence)
        if not sources:
            return NO_ENDORSEMENTS
        held = self._held.get(_key(platform, sources))
        if held is not None and held.valid(at) and self._clock() < held.renew:
            return held.endorsements
        return None

    def endorsements(self, platform: Platform, evidence: Evidence, *, at: int) -> Endorsements:
        """Return the documents that this evidence needs; the same object while nothing has changed.

        Raises:
            EndorsementsUnavailable: A document is neither cached nor to be had.
            ConfigurationError: The server's URL cannot be used.
        """
        sources = platform.sources(evidence)
        if not sources:
            return NO_ENDORSEMENTS
        key = _key(platform, sources)
        lock = self._locks.setdefault(key, threading.Lock())
        held = self._held.get(key)
        usable = held is not None and held.valid(at)
        # Whoever has something valid does not wait for the thread that is already asking.
        if held is not None and usable and (self._clock() < held.renew or lock.locked()):
            return held.endorsements
        with lock:
            return self._renewed(key, platform, sources, at)

    def proved(self, platform: str, endorsements: Endorsements, *, origin: Origin) -> None:
        """Remember documents as beyond doubt, and numbers of genuine ones for the rollback guard."""
        if len(self._genuine) >= _MAX_GENUINE:
            self._genuine.clear()
        for held in list(self._held.values()):
            if held.endorsements is endorsements:
                self._genuine.update(version.digest(url) for url, version in held.versions)
        if origin is not Origin.GENUINE or not self._pcs.scope:
            return
        found = []
        for document in endorsements.documents.values():
            try:
                found.append(facts(document))
            except MalformedEvidence:
                continue  # an issuer chain
        self._guard.record(platform, self._pcs.scope, found)

    def doubted(self, platform: Platform, evidence: Evidence, endorsements: Endorsements) -> None:
        """Drop documents, except what proved genuine before, and ask for them anew next time.

        Not more than once in a minute is an endorser asked anew for the same kind of evidence. Offline
        nothing is dropped, since nothing can be asked for.
        """
        if self._offline:
            return
        key = _key(platform, platform.sources(evidence))
        lock = self._locks.setdefault(key, threading.Lock())
        if not lock.acquire(blocking=False):  # somebody else is asking, or dropping
            return
        try:
            held = self._held.get(key)
            if held is not None and held.endorsements is endorsements and self._drop(held.versions):
                del self._held[key]
        finally:
            lock.release()

    def _drop(self, versions: Sequence[tuple[str, Version]]) -> bool:
        """Drop what never proved genuine and is not dropped already; tell whether there was any."""
        dropped = False
        for url, version in versions:
            known = self._doubted.get(url)
            if (known is None or not known.same(version)) and version.digest(url) not in self._genuine:
                self._doubted[url] = version
                self._cache.drop(url, version)
                dropped = True
        return dropped

    def history(self, platform: Platform, evidence: Evidence) -> tuple[Endorsements, ...]:
        """Return the documents that this evidence needs as they were, newest first, from the cache.

        Each is what would have been used between two changes; none if a document was never fetched.
        """
        sources = platform.sources(evidence)
        kept = [self._cache.versions(self._pcs.url(source)) for source in sources]
        found = []
        for moment in sorted({v.first_fetched for versions in kept for v in versions}, reverse=True):
            then = [version for versions in kept for version in _as_of(versions, moment)]
            if len(then) == len(sources):
                found.append(_joined(sources, then))
        return tuple(found)

    def _renewed(self, key: _Key, platform: Platform, sources: Sequence[Source], at: int) -> Endorsements:
        now = self._clock()
        held = self._held.get(key)
        if held is not None and held.valid(at) and now < held.renew:
            return held.endorsements
        failure = self._failures.get(key)
        if failure is not None and now < failure.until:
            raise EndorsementsUnavailable(failure.error.code, **failure.error.context)
        pause = self._pauses.get(key, 0)
        asked = _Asked(platform.name, at, now, pause if pause <= now + _RETRY_DOUBTED else 0)
        try:
            parts = self._collect(key, sources, asked)
        except EndorsementsUnavailable as error:
            self._failures[key] = _Failure(error, now + _RETRY_BARE)
            raise
        endorsements = _joined(sources, [part.version for part in parts])
        if held is not None and held.endorsements.documents == endorsements.documents:
            endorsements = held.endorsements
        if len(self._held) >= _MAX_HELD:
            self._held.clear()
            self._failures.clear()
            self._locks.clear()
            self._pauses.clear()
            self._doubted.clear()
        self._held[key] = _Held(
            endorsements,
            tuple([(self._pcs.url(s), part.version) for s, part in zip(sources, parts, strict=True)]),
            max(part.version.facts.begins for part in parts),
            min(part.version.facts.ends for part in parts),
            min(part.renew for part in parts),
        )
        return endorsements

    def _collect(self, key: _Key, sources: Sequence[Source], asked: _Asked) -> list[_Part]:
        if self._offline:
            return [self._offline_part(source, asked) for source in sources]
        parts = {source.role: self._stocked(source, asked) for source in sources}
        due = [source for source in sources if parts[source.role] is None]
        if due and asked.now >= asked.pause:
            self._pauses[key] = asked.now + _RETRY_DOUBTED
        failure: EndorsementsUnavailable | None = None
        for source, answer in zip(due, self._fetch_all(due), strict=True):
            try:
                parts[source.role] = self._chosen(source, answer, asked)
            except EndorsementsUnavailable as error:  # what else came is kept all the same
                failure = failure or error
        if failure is not None:
            raise failure
        return [part for part in parts.values() if part is not None]

    def _fetch_all(self, sources: Sequence[Source]) -> list[Document | EndorsementsUnavailable]:
        if len(sources) < 2:  # noqa: PLR2004
            return [self._fetch(source) for source in sources]
        from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415 (only where something is fetched)

        with ThreadPoolExecutor(len(sources)) as pool:
            return list(pool.map(self._fetch, sources))

    def _fetch(self, source: Source) -> Document | EndorsementsUnavailable:
        try:
            return self._pcs.fetch(source)
        except EndorsementsUnavailable as error:
            return error

    def _stocked(self, source: Source, asked: _Asked) -> _Part | None:
        """Return what the cache has, unless the endorser should be asked."""
        url = self._pcs.url(source)
        versions = self._cache.versions(url)
        doubted = self._doubted.get(url)
        if doubted is not None:
            return self._standing_in(source, _at_last(versions, doubted), asked)
        if not versions:
            return None
        newest = versions[0]
        renew = newest.fetched + self._lifetime(newest, asked)
        if not newest.fetched <= asked.now < renew:  # a clock that went back proves nothing about age
            return None
        current = self._current(source, versions, asked)
        if current is None:  # of another time; asking again would bring the same
            try:
                self._insist(source, newest, asked)
            except EndorsementsUnavailable:
                return None
        return _Part(current or newest, renew)

    def _standing_in(self, source: Source, versions: Sequence[Version], asked: _Asked) -> _Part | None:
        """Return what serves in place of a doubted document, unless the endorser may be asked again."""
        if asked.now >= asked.pause:
            return None
        current = self._current(source, versions, asked)
        if current is None:
            current = versions[-1]
            self._insist(source, current, asked)
        return _Part(current, asked.pause)

    def _offline_part(self, source: Source, asked: _Asked) -> _Part:
        url = self._pcs.url(source)
        versions = self._cache.versions(url)
        if not versions:
            raise EndorsementsUnavailable("endorsement-not-cached", role=source.role, url=url)
        current = self._current(source, versions, asked)
        if current is None:
            current = versions[0]
            self._insist(source, current, asked)
        return _Part(current, asked.now + _RETRY_STOCKED)

    def _chosen(self, source: Source, answer: Document | EndorsementsUnavailable, asked: _Asked) -> _Part:
        """Choose between what the endorser answered and what is cached."""
        url = self._pcs.url(source)
        try:
            if isinstance(answer, EndorsementsUnavailable):
                raise answer
            version = Version(asked.now, asked.now, answer.document, answer.chain, answer.facts)
            self._insist(source, version, asked)
        except EndorsementsUnavailable as error:
            doubted = self._doubted.get(url)
            kept = self._current(source, _at_last(self._cache.versions(url), doubted), asked)
            if kept is None:
                raise
            self._notice(error)
            return _Part(kept, asked.now + (_RETRY_DOUBTED if doubted is not None else _RETRY_STOCKED))
        self._doubted.pop(url, None)
        self._cache.store(url, version)
        current = self._current(source, self._cache.versions(url), asked) or version
        return _Part(current, asked.now + self._lifetime(version, asked))

    def _lifetime(self, version: Version, asked: _Asked) -> int:
        return self._refresh if version.facts.ends >= asked.now else min(_RETRY_EXPIRED, self._refresh)

    def _current(self, source: Source, versions: Sequence[Version], asked: _Asked) -> Version | None:
        """Return the newest version that is valid at a time and no rollback."""
        for version in versions:
            if version.facts.valid(asked.at):
                try:
                    self._insist(source, version, asked)
                except EndorsementsUnavailable:
                    continue
                return version
        return None

    def _insist(self, source: Source, version: Version, asked: _Asked) -> None:
        """Refuse a version that is older than one that was proved."""
        scope = self._pcs.scope
        if scope:
            self._guard.check(asked.platform, scope, version.facts, role=source.role, at=asked.at)


def _key(platform: Platform, sources: Sequence[Source]) -> _Key:
    return (platform.name, *[source.path for source in sources])


def _at_last(versions: Sequence[Version], doubted: Version | None) -> Sequence[Version]:
    """Put a doubted version behind all others, even if another process has fetched it again."""
    return versions if doubted is None else [*[v for v in versions if not v.same(doubted)], doubted]


def _as_of(versions: Sequence[Version], moment: int) -> Sequence[Version]:
    """Return the version that was the newest at a moment: one or none."""
    return [version for version in versions if version.first_fetched <= moment][:1]


def _joined(sources: Sequence[Source], versions: Sequence[Version]) -> Endorsements:
    documents: dict[str, bytes] = {}
    for source, version in zip(sources, versions, strict=True):
        documents[source.role] = version.document
        if version.chain is not None:
            documents[source.chain_role] = version.chain
    return Endorsements(documents)
