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
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import msgspec

from nacre.endorsers.cache import Cache, Version, default_folder
from nacre.endorsers.endorser import NO_ENDORSEMENTS
from nacre.endorsers.facts import Facts, facts
from nacre.endorsers.notices import Notice, log
from nacre.endorsers.pcs import Pcs
from nacre.endorsers.rollback import Guard
from nacre.endorsers.service import Service
from nacre.endorsers.stock import RETRY_DOUBTED, Asked, Part, Stock
from nacre.errors import EndorsementsUnavailable, MalformedEvidence
from nacre.platforms.base import Endorsements, Evidence, Platform, Source
from nacre.trust.anchors import Origin

__all__ = ["REFRESH", "Collector", "system_clock"]

#: Seconds after which a document is fetched anew although it is valid.
REFRESH = 24 * 3600

# Seconds before an endorser that failed is asked again, without documents to go on with.
_RETRY_BARE = 15
_MAX_HELD = 256
_MAX_GENUINE = 1024

# For these reasons the same is asked of what the evidence could be as well.
_ELSEWHERE = frozenset({"kds-unknown", "endorsement-not-cached"})

_Key = tuple[str, ...]


def system_clock() -> int:
    """Return the system's time, Unix seconds."""
    return int(time.time())


class _Held(msgspec.Struct, frozen=True):
    """Endorsements in memory: valid from ``begins`` to ``ends``, to be used until ``renew``.

    ``parts`` are what they were joined from.
    """

    endorsements: Endorsements
    parts: tuple[Part, ...]
    begins: int
    ends: int
    renew: int

    def valid(self, at: int) -> bool:
        return self.begins <= at <= self.ends


class _Failure(msgspec.Struct, frozen=True):
    """Why an endorser could not serve, to be repeated until ``until`` instead of asking again."""

    error: EndorsementsUnavailable
    until: int


class Collector:
    """An endorser with a memory, a disk and a network. Threads may share one."""

    def __init__(
        self,
        *,
        pcs: Pcs | None = None,
        kds: Service | None = None,
        cache: Cache | None = None,
        guard: Guard | None = None,
        clock: Callable[[], int] = system_clock,
        refresh: int = REFRESH,
        offline: bool = False,
        notice: Notice = log,
    ) -> None:
        """Choose where documents come from.

        Args:
            pcs: The server of Intel's documents; Intel's own by default.
            kds: The server of AMD's documents; AMD's own by default.
            cache: The disk; the user's cache directory by default.
            guard: The rollback guard; its state lives beside the cache by default.
            clock: Unix seconds.
            refresh: Seconds after which a valid document is fetched anew.
            offline: Use what is cached and never the network.
            notice: Takes what goes wrong without stopping anything.
        """
        self._pcs = pcs or Pcs()
        self._guard = guard or Guard(default_folder(), notice=notice)
        self._clock = clock
        self._offline = offline
        self._stock = Stock(
            _Services(self._pcs, kds, notice),
            cache=cache or Cache(default_folder(), notice=notice),
            guard=self._guard,
            clock=clock,
            refresh=refresh,
            offline=offline,
            notice=notice,
        )
        self._held: dict[_Key, _Held] = {}
        self._failures: dict[_Key, _Failure] = {}
        self._locks: dict[_Key, threading.Lock] = {}
        self._pauses: dict[_Key, int] = {}
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

    def served(self, platform: Platform, evidence: Evidence, *, at: int) -> tuple[tuple[Source, bytes], ...]:
        """Return what ``endorsements`` is made of: each document with where it was served.

        Raises:
            EndorsementsUnavailable: A document is neither cached nor to be had.
            ConfigurationError: The server's URL cannot be used.
        """
        endorsements = self.endorsements(platform, evidence, at=at)
        parts = [held.parts for held in self._held.values() if held.endorsements is endorsements]
        return tuple([(part.source, part.version.document) for part in parts[0]]) if parts else ()

    def proved(self, platform: str, endorsements: Endorsements, *, origin: Origin) -> None:
        """Remember documents as beyond doubt, and numbers of genuine ones for the rollback guard."""
        if len(self._genuine) >= _MAX_GENUINE:
            self._genuine.clear()
        parts = [
            part
            for held in list(self._held.values())
            if held.endorsements is endorsements
            for part in held.parts
        ]
        self._genuine.update(part.version.digest(self._stock.url(part.source)) for part in parts)
        if origin is not Origin.GENUINE:
            return
        for part in parts:
            self._record(platform, self._stock.service(part.source).scope, part.version.facts)
        if not parts:
            for document in endorsements.documents.values():
                try:
                    self._record(platform, self._pcs.scope, facts(document))
                except MalformedEvidence:
                    continue  # an issuer chain

    def _record(self, platform: str, scope: str, found: Facts) -> None:
        if scope:
            self._guard.record(platform, scope, (found,))

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
            if held is not None and held.endorsements is endorsements and self._drop(held.parts):
                del self._held[key]
        finally:
            lock.release()

    def _drop(self, parts: Sequence[Part]) -> bool:
        """Drop what never proved genuine and is not dropped already; tell whether there was any."""
        unproved = [p for p in parts if p.version.digest(self._stock.url(p.source)) not in self._genuine]
        dropped = [self._stock.drop(part.source, part.version) for part in unproved]
        return any(dropped)

    def history(self, platform: Platform, evidence: Evidence) -> tuple[Endorsements, ...]:
        """Return the documents that this evidence needs as they were, newest first, from the cache.

        Each is what would have been used between two changes; none if a document was never fetched.
        """
        sources = platform.sources(evidence)
        kept = [self._stock.versions(source) for source in sources]
        found = []
        for moment in sorted({v.first_fetched for versions in kept for v in versions}, reverse=True):
            then = [
                (s, v) for s, versions in zip(sources, kept, strict=True) for v in _as_of(versions, moment)
            ]
            if len(then) == len(sources):
                found.append(_joined(then))
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
        asked = Asked(platform.name, at, now, pause if pause <= now + RETRY_DOUBTED else 0)
        try:
            parts = self._first(key, sources, asked)
        except EndorsementsUnavailable as error:
            self._failures[key] = _Failure(error, now + _RETRY_BARE)
            raise
        endorsements = _joined([(part.source, part.version) for part in parts])
        if held is not None and held.endorsements.documents == endorsements.documents:
            endorsements = held.endorsements
        if len(self._held) >= _MAX_HELD:
            self._forget()
        self._held[key] = _Held(
            endorsements,
            tuple(parts),
            max(part.version.facts.begins for part in parts),
            min(part.version.facts.ends for part in parts),
            min(part.renew for part in parts),
        )
        return endorsements

    def _forget(self) -> None:
        self._held.clear()
        self._failures.clear()
        self._locks.clear()
        self._pauses.clear()
        self._stock.forget()

    def _first(self, key: _Key, sources: Sequence[Source], asked: Asked) -> list[Part]:
        """Collect for the first of what the evidence can be that the endorser knows."""
        candidates = _candidates(sources)
        if len(candidates) > 1:  # what was found once is not looked for elsewhere first
            candidates.sort(key=lambda candidate: not self._stock.versions(candidate[0]))
        failure: EndorsementsUnavailable | None = None
        for candidate in candidates:
            try:
                return self._collect(key, candidate, asked, in_order=len(candidates) > 1)
            except EndorsementsUnavailable as error:
                failure = failure or error
                if error.code not in _ELSEWHERE:
                    break
        raise failure or AssertionError

    def _collect(self, key: _Key, sources: Sequence[Source], asked: Asked, *, in_order: bool) -> list[Part]:
        parts: dict[str, Part | None] = {
            source.role: self._stock.cached(source, asked)
            if self._stock.offline(source)
            else self._stock.stocked(source, asked)
            for source in sources
        }
        due = [source for source in sources if parts[source.role] is None]
        if due and asked.now >= asked.pause:
            self._pauses[key] = asked.now + RETRY_DOUBTED
        failure: EndorsementsUnavailable | None = None
        in_order = in_order or any(self._stock.service(source).pace is not None for source in due)
        answers = self._one_by_one(due, asked) if in_order else self._together(due, asked)
        for source, answer in zip(due, answers, strict=False):
            if isinstance(answer, Part):
                parts[source.role] = answer
            else:  # what else came is kept all the same
                failure = failure or answer
        if failure is not None:
            raise failure
        return [part for part in parts.values() if part is not None]

    def _together(self, sources: Sequence[Source], asked: Asked) -> Iterable[Part | EndorsementsUnavailable]:
        if len(sources) < 2:  # noqa: PLR2004
            return [self._stock.obtain(source, asked) for source in sources]
        from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415 (only where something is fetched)

        with ThreadPoolExecutor(len(sources)) as pool:
            return list(pool.map(lambda source: self._stock.obtain(source, asked), sources))

    def _one_by_one(
        self, sources: Sequence[Source], asked: Asked
    ) -> Iterator[Part | EndorsementsUnavailable]:
        """Ask where each request costs a wait, or the first answer may spare the others."""
        for source in sources:
            answer = self._stock.obtain(source, asked)
            yield answer
            if not isinstance(answer, Part):
                return


class _Services(Mapping[str, Service]):
    """Who serves what, by ``Source.endorser``; AMD's is made when it is asked first."""

    def __init__(self, pcs: Service, kds: Service | None, notice: Notice) -> None:
        self._services = {"intel-pcs": pcs}
        self._notice = notice
        if kds is not None:
            self._services["amd-kds"] = kds

    def __getitem__(self, name: str) -> Service:
        if name == "amd-kds" and name not in self._services:
            from nacre.endorsers.kds import Kds  # noqa: PLC0415 (few need it)

            self._services[name] = Kds(notice=self._notice)
        return self._services[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._services)

    def __len__(self) -> int:
        return len(self._services)


def _candidates(sources: Sequence[Source]) -> list[Sequence[Source]]:
    """List what the sources can be where evidence leaves that open, the likeliest first."""
    others = [
        [
            msgspec.structs.replace(source, path=source.alternatives[index], alternatives=())
            if source.alternatives
            else source
            for source in sources
        ]
        for index in range(max(len(source.alternatives) for source in sources))
    ]
    return [sources, *others]


def _key(platform: Platform, sources: Sequence[Source]) -> _Key:
    return (platform.name, *[source.path for source in sources])


def _as_of(versions: Sequence[Version], moment: int) -> Sequence[Version]:
    """Return the version that was the newest at a moment: one or none."""
    return [version for version in versions if version.first_fetched <= moment][:1]


def _joined(found: Iterable[tuple[Source, Version]]) -> Endorsements:
    documents: dict[str, bytes] = {}
    for source, version in found:
        documents[source.role] = version.document
        if version.chain is not None:
            documents[source.chain_role] = version.chain
    return Endorsements(documents)
