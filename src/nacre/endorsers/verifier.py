# SPDX-License-Identifier: Apache-2.0
"""A Verifier: a policy with everything that makes the next appraisal faster than the first.

What servers use. It adds nothing to what ``appraise`` says; it brings endorsements, a clock, the memo of
signatures that already held, and threads if asked.
"""

import threading
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Self, TypeVar

import msgspec

from nacre.appraisal.appraise import accept, appraise, recognise
from nacre.appraisal.bindings import Binding
from nacre.appraisal.policy import Policy
from nacre.appraisal.release import Release
from nacre.appraisal.result import Result
from nacre.appraisal.sources import CheckSource
from nacre.appraisal.verdict import Verdict
from nacre.checks import Check, skipped
from nacre.endorsers.endorser import NO_ENDORSEMENTS, Endorser, RememberingEndorser
from nacre.errors import (
    EndorsementsUnavailable,
    MalformedEvidence,
    NacreError,
    UnsupportedEvidence,
    VerificationError,
)
from nacre.platforms.base import Claims, Endorsements, Evidence, Platform
from nacre.trust.memo import Memo, Recall
from nacre.trust.signatures import Signatures

if TYPE_CHECKING:
    from concurrent.futures import Future, ThreadPoolExecutor

    from nacre.appraisal.systems.envelope import Envelope

__all__ = ["UNAVAILABLE", "Verifier", "system_clock"]

#: The check that says, skipped, why endorsements could not be had.
UNAVAILABLE = "endorsements"

_MAX_PROVED = 256

# The checks of documents, made once the evidence's own signatures held, and the reasons that only those
# documents can give whose signatures held as well. For any other reason the documents are not genuine.
_OF_DOCUMENTS = frozenset({"dcap.tcb-info", "dcap.qe-identity", "snp.chain", "revocation"})
_OF_GENUINE = frozenset(
    {
        "certificate-revoked",
        "tcb-info-mismatch",
        "qe-identity-mismatch",
        "snp-key-kind",
        "snp-product-mismatch",
    }
)

_T = TypeVar("_T")


def system_clock() -> int:
    """Return the system's time, Unix seconds."""
    return int(time.time())


class Verifier:
    """Appraises evidence by one policy. Threads may share one.

    Where endorsements come from, in this order: the call's own, the ones given here, the endorser. If an
    endorser cannot serve, :meth:`appraise` goes on without and the Result has the check ``endorsements``,
    skipped, that says why, so that the verdict is INCOMPLETE at best; :meth:`verify` raises the endorser's
    error unless the evidence is refused anyway. No endorser is asked about evidence whose own signatures
    do not hold.
    """

    __slots__ = (
        "_clock",
        "_endorser",
        "_fixed",
        "_memo",
        "_memorious",
        "_offline",
        "_policy",
        "_pool",
        "_proved",
        "_sources",
    )

    def __init__(
        self,
        policy: Policy,
        *,
        endorsements: Endorsements | Endorser | None = None,
        clock: Callable[[], int] = system_clock,
        memo: Recall | None = None,
        threads: int | None = None,
        sources: Sequence[CheckSource] = (),
        offline: bool = False,
    ) -> None:
        """Bring together what appraisals share.

        Args:
            policy: What is acceptable.
            endorsements: The vendors' documents, or who gets them; by default they are fetched from
                Intel's PCS and kept in the user's cache directory.
            clock: Unix seconds.
            memo: Where signatures that held are remembered; one of its own by default.
            threads: Verify the signatures of one piece of evidence on this many threads, if more than
                one. That shortens the first appraisal of a platform; a server that is busy on all cores
                gains nothing.
            sources: Further checks.
            offline: By default, use what is cached and never the network.
        """
        self._offline = offline
        self._policy = policy
        self._clock = clock
        self._memo: Recall = Memo() if memo is None else memo
        self._sources = tuple(sources)
        self._pool = _Threads(threads - 1) if threads is not None and threads > 1 else None
        self._fixed = endorsements if isinstance(endorsements, Endorsements) else None
        self._endorser = None if isinstance(endorsements, Endorsements) else endorsements
        # Asking None whether it satisfies a protocol takes as long as a quarter of a signature.
        endorser = self._endorser
        self._memorious = (
            endorser if endorser is not None and isinstance(endorser, RememberingEndorser) else None
        )
        self._proved: dict[int, Endorsements] = {}

    @property
    def policy(self) -> Policy:
        """What is acceptable."""
        return self._policy

    def appraise(
        self,
        evidence: "bytes | Envelope",
        *,
        binding: Binding | None = None,
        endorsements: Endorsements | None = None,
        at: int | None = None,
    ) -> Result:
        """Appraise evidence and tell the whole story; never raises for what the bytes say.

        Args:
            evidence: The bytes, as the device gave them; or the envelope of another system, opened.
            binding: What they have to be bound to, instead of an envelope's own binding.
            endorsements: The vendor's documents for this evidence, instead of the Verifier's.
            at: The time to judge at, Unix seconds, instead of the clock's.

        Raises:
            ConfigurationError: The endorser's URL, or another setting, cannot be used.
        """
        moment = self._clock() if at is None else at
        given = self._fixed if endorsements is None else endorsements
        if given is None:
            return self._with_endorser(evidence, binding, moment)[0]
        data, envelope = _opened(evidence)
        return appraise(
            data,
            policy=self._policy,
            endorsements=given,
            at=moment,
            binding=binding,
            sources=self._sources,
            signatures=Signatures(self._memo, self._pool),
            envelope=envelope,
        )

    def verify(
        self,
        evidence: "bytes | Envelope",
        *,
        binding: Binding | None = None,
        endorsements: Endorsements | None = None,
        at: int | None = None,
    ) -> Result:
        """Appraise evidence and insist on a verdict that the policy accepts.

        Args:
            evidence: The bytes, as the device gave them; or the envelope of another system, opened.
            binding: What they have to be bound to, instead of an envelope's own binding.
            endorsements: The vendor's documents for this evidence, instead of the Verifier's.
            at: The time to judge at, Unix seconds, instead of the clock's.

        Raises:
            AppraisalError: The verdict is another; carries the Result.
            EndorsementsUnavailable: Nothing speaks against the evidence, but an endorser could not serve.
            MalformedEvidence: The bytes are no evidence.
            UnsupportedEvidence: They are of a kind that is not verified here.
            VerificationError: They are forged, revoked, or not what they claim to be.
            ConfigurationError: The endorser's URL, or another setting, cannot be used.
        """
        moment = self._clock() if at is None else at
        missing: EndorsementsUnavailable | None = None
        if self._fixed is None and endorsements is None:
            result, missing = self._with_endorser(evidence, binding, moment)
        else:
            result = self.appraise(evidence, binding=binding, endorsements=endorsements, at=moment)
        if result.verdict is Verdict.REJECTED:
            if result.error is not None:
                raise result.error
        elif missing is not None:
            raise missing
        return accept(result, self._policy)

    def close(self) -> None:
        """End the threads, if there are any; appraisals then do without."""
        if self._pool is not None:
            self._pool.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _with_endorser(
        self, evidence: "bytes | Envelope", binding: Binding | None, at: int
    ) -> tuple[Result, EndorsementsUnavailable | None]:
        data, envelope = _opened(evidence)
        try:
            platform, parsed = recognise(data, self._policy)
            return self._endorsed(platform, parsed, binding, at, envelope)
        except (MalformedEvidence, UnsupportedEvidence):
            return self.appraise(evidence, binding=binding, endorsements=NO_ENDORSEMENTS, at=at), None

    def _endorsed(
        self,
        platform: Platform,
        evidence: Evidence,
        binding: Binding | None,
        at: int,
        envelope: "Envelope | None",
    ) -> tuple[Result, EndorsementsUnavailable | None]:
        if not platform.roles:
            # Such evidence carries all that it needs: there is nobody to ask, or to load.
            return self._appraised(evidence, binding, NO_ENDORSEMENTS, at, envelope), None
        if self._endorser is None:
            self._endorser = self._memorious = _default_endorser(offline=self._offline)
        memorious = self._memorious
        try:
            endorsements = memorious.held(platform, evidence, at=at) if memorious is not None else None
            if endorsements is None:
                if memorious is not None:
                    alone = self._appraised(evidence, binding, NO_ENDORSEMENTS, at, envelope)
                    if alone.claims is None and alone.verdict is Verdict.REJECTED:
                        return alone, None
                endorsements = self._endorser.endorsements(platform, evidence, at=at)
        except EndorsementsUnavailable as error:
            why = _Unavailable(error)
            return why.told(self._appraised(evidence, binding, NO_ENDORSEMENTS, at, envelope, why)), error
        result = self._appraised(evidence, binding, endorsements, at, envelope)
        if memorious is not None:
            if result.claims is not None:
                self._prove(memorious, result.claims, endorsements)
            elif _speaks_against_documents(result.error):
                memorious.doubted(platform, evidence, endorsements)
        return result, None

    def _appraised(
        self,
        evidence: Evidence,
        binding: Binding | None,
        endorsements: Endorsements,
        at: int,
        envelope: "Envelope | None",
        *further: CheckSource,
    ) -> Result:
        return appraise(
            evidence,
            policy=self._policy,
            endorsements=endorsements,
            at=at,
            binding=binding,
            sources=(*self._sources, *further),
            signatures=Signatures(self._memo, self._pool),
            envelope=envelope,
        )

    def _prove(self, endorser: RememberingEndorser, claims: Claims, endorsements: Endorsements) -> None:
        """Tell the endorser once that documents are genuine."""
        if self._proved.get(id(endorsements)) is endorsements:
            return
        if len(self._proved) >= _MAX_PROVED:
            self._proved.clear()
        self._proved[id(endorsements)] = endorsements
        endorser.proved(claims.platform, endorsements, origin=claims.origin)


def _opened(evidence: "bytes | Envelope") -> "tuple[bytes, Envelope | None]":
    return (evidence, None) if isinstance(evidence, bytes) else (evidence.evidence, evidence)


def _speaks_against_documents(error: NacreError | None) -> bool:
    return (
        isinstance(error, VerificationError)
        and error.check in _OF_DOCUMENTS
        and error.code not in _OF_GENUINE
    )


class _Unavailable:
    """Says in the Result why endorsements could not be had."""

    required: tuple[str, ...] = (UNAVAILABLE,)

    def __init__(self, error: EndorsementsUnavailable) -> None:
        self._check = skipped(UNAVAILABLE, error.code, **error.context)

    def checks(self, claims: Claims, release: Release | None, *, at: int) -> tuple[Check, ...]:
        del claims, release, at
        return (self._check,)

    def told(self, result: Result) -> Result:
        """Say it also where the evidence came to nothing for want of a document, before any other check."""
        if result.verdict is not Verdict.INCOMPLETE or result.check(UNAVAILABLE) is not None:
            return result
        return msgspec.structs.replace(result, checks=(*result.checks, self._check))


class _Threads:
    """A pool that is made when it is first used."""

    def __init__(self, workers: int) -> None:
        self._workers = workers
        self._lock = threading.Lock()
        self._executor: ThreadPoolExecutor | None = None
        self._closed = False

    def __call__(self, work: Callable[[], _T], /) -> "Future[_T]":
        executor = self._executor or self._started()
        try:
            if executor is not None:
                return executor.submit(work)
        except RuntimeError:  # closed in this very moment
            pass
        return _done(work())

    def close(self) -> None:
        with self._lock:
            self._closed = True
            executor, self._executor = self._executor, None
        if executor is not None:
            executor.shutdown()

    def _started(self) -> "ThreadPoolExecutor | None":
        from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415 (slow to import, rarely used)

        with self._lock:
            if self._executor is None and not self._closed:
                self._executor = ThreadPoolExecutor(self._workers, thread_name_prefix="nacre-verifier")
            return self._executor


def _done(value: _T) -> "Future[_T]":
    from concurrent.futures import Future  # noqa: PLC0415 (slow to import, rarely used)

    done: Future[_T] = Future()
    done.set_result(value)
    return done


def _default_endorser(*, offline: bool) -> RememberingEndorser:
    from nacre.endorsers.defaults import shared_endorser  # noqa: PLC0415 (only where something is fetched)

    return shared_endorser(offline=offline)
