# SPDX-License-Identifier: Apache-2.0
"""Which version of one document serves: what is cached, what an endorser answers now, or what is left.

A document that was doubted stands behind all others until something else is served in its place.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import msgspec

from nacre.endorsers.cache import Cache, Version
from nacre.endorsers.facts import CERTIFICATE
from nacre.endorsers.notices import Notice
from nacre.endorsers.rollback import Guard
from nacre.endorsers.service import Service
from nacre.errors import EndorsementsUnavailable
from nacre.platforms.base import Source

__all__ = ["RETRY_DOUBTED", "Asked", "Part", "Stock"]

#: Seconds before an endorser is asked again for documents that were doubted.
RETRY_DOUBTED = 60

# Seconds before an endorser that failed is asked again, with documents to go on with.
_RETRY_STOCKED = 300
# Seconds before an endorser that serves expired documents is asked again.
_RETRY_EXPIRED = 60


class Part(msgspec.Struct, frozen=True):
    """One document to use, and when to look for another."""

    source: Source
    version: Version
    renew: int


class Asked(NamedTuple):
    """What an endorsement is for: a platform, a time to judge at, and the time it is now.

    Before ``pause`` nothing that was doubted is asked for again.
    """

    platform: str
    at: int
    now: int
    pause: int


class Stock:
    """Documents one by one, from the cache and from services. Threads may share one."""

    def __init__(
        self,
        services: Mapping[str, Service],
        *,
        cache: Cache,
        guard: Guard,
        clock: Callable[[], int],
        refresh: int,
        offline: bool,
        notice: Notice,
    ) -> None:
        """Bring together what a choice takes; the arguments are the collector's."""
        self._services = services
        self._cache = cache
        self._guard = guard
        self._clock = clock
        self._refresh = refresh
        self._offline = offline
        self._notice = notice
        self._doubted: dict[str, Version] = {}

    def service(self, source: Source) -> Service:
        """Return who serves a document."""
        return self._services[source.endorser]

    def url(self, source: Source) -> str:
        """Return where a document is fetched."""
        return self.service(source).url(source)

    def versions(self, source: Source) -> Sequence[Version]:
        """Return what is cached, newest first."""
        return self._cache.versions(self.url(source))

    def forget(self) -> None:
        """Doubt nothing any more."""
        self._doubted.clear()

    def drop(self, source: Source, version: Version) -> bool:
        """Drop a version that is doubted; tell whether it was not dropped already."""
        url = self.url(source)
        known = self._doubted.get(url)
        if known is not None and known.same(version):
            return False
        self._doubted[url] = version
        self._cache.drop(url, version)
        return True

    def offline(self, source: Source) -> bool:
        """Tell whether a document has to come from the cache."""
        return self._offline and not self.service(source).local

    def stocked(self, source: Source, asked: Asked) -> Part | None:
        """Return what the cache has, unless the endorser should be asked."""
        versions = self.versions(source)
        doubted = self._doubted.get(self.url(source))
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
        return Part(source, current or newest, renew)

    def cached(self, source: Source, asked: Asked) -> Part:
        """Return what the cache has, however old, because the network may not be used.

        Raises:
            EndorsementsUnavailable: ``endorsement-not-cached``, or what is there is a rollback.
        """
        versions = self.versions(source)
        if not versions:
            raise EndorsementsUnavailable("endorsement-not-cached", role=source.role, url=self.url(source))
        current = self._current(source, versions, asked)
        if current is None:
            current = versions[0]
            self._insist(source, current, asked)
        return Part(source, current, asked.now + _RETRY_STOCKED)

    def obtain(self, source: Source, asked: Asked) -> Part | EndorsementsUnavailable:
        """Ask the endorser, in turn if it wants that, and choose between its answer and what is cached."""
        service = self.service(source)
        try:
            if service.pace is None:
                return self._fetched(service, source, asked)
            with service.pace.turn() as wait:
                # Whoever had the turn before may have brought it.
                part = self.stocked(source, asked._replace(now=self._clock()))
                if part is not None:
                    return part
                wait()
                return self._fetched(service, source, asked)
        except EndorsementsUnavailable as error:
            return self._instead(source, error, asked)

    def _standing_in(self, source: Source, versions: Sequence[Version], asked: Asked) -> Part | None:
        """Return what serves in place of a doubted document, unless the endorser may be asked again."""
        if asked.now >= asked.pause:
            return None
        current = self._current(source, versions, asked)
        if current is None:
            current = versions[-1]
            self._insist(source, current, asked)
        return Part(source, current, asked.pause)

    def _fetched(self, service: Service, source: Source, asked: Asked) -> Part:
        """Fetch a document and keep it, unless it is older than one that was proved."""
        answer = service.fetch(source)
        version = Version(asked.now, asked.now, answer.document, answer.chain, answer.facts)
        self._insist(source, version, asked)
        url = self.url(source)
        self._doubted.pop(url, None)
        self._cache.store(url, version)
        current = self._current(source, self._cache.versions(url), asked) or version
        return Part(source, current, asked.now + self._lifetime(version, asked))

    def _instead(
        self, source: Source, error: EndorsementsUnavailable, asked: Asked
    ) -> Part | EndorsementsUnavailable:
        """Return what is cached in place of what the endorser did not give; the error if nothing is."""
        doubted = self._doubted.get(self.url(source))
        kept = self._current(source, _at_last(self.versions(source), doubted), asked)
        if kept is None:
            return error
        self._notice(error)
        return Part(source, kept, asked.now + (RETRY_DOUBTED if doubted is not None else _RETRY_STOCKED))

    def _lifetime(self, version: Version, asked: Asked) -> int:
        """Return for how long a version that was just fetched is not fetched anew, seconds."""
        left = version.facts.ends - asked.now
        if left < 0:
            return min(_RETRY_EXPIRED, self._refresh)
        # The certificate of one key never changes: a vendor makes another key instead.
        return left if version.facts.kind == CERTIFICATE and self._refresh else self._refresh

    def _current(self, source: Source, versions: Sequence[Version], asked: Asked) -> Version | None:
        """Return the newest version that is valid at a time and no rollback."""
        for version in versions:
            if version.facts.valid(asked.at):
                try:
                    self._insist(source, version, asked)
                except EndorsementsUnavailable:
                    continue
                return version
        return None

    def _insist(self, source: Source, version: Version, asked: Asked) -> None:
        """Refuse a version that is older than one that was proved."""
        scope = self.service(source).scope
        if scope:
            self._guard.check(asked.platform, scope, version.facts, role=source.role, at=asked.at)


def _at_last(versions: Sequence[Version], doubted: Version | None) -> Sequence[Version]:
    """Put a doubted version behind all others, even if another process has fetched it again."""
    return versions if doubted is None else [*[v for v in versions if not v.same(doubted)], doubted]
