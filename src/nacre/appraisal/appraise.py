# SPDX-License-Identifier: Apache-2.0
"""Claims + Release + Policy + Binding -> Result.

Steps:

1. Recognise and decode the evidence.
2. Verify it: signatures, chains, revocation, currency (the platform's numbered steps).
3. Hold the claims against the platform's part of the policy.
4. Match the registers, and what another system shows by them, as a whole, against one release.
5. Check what the evidence is bound to.
6. Check that it is fresh.
7. Ask further sources.
8. Apply the policy's waivers and conclude.
"""

import functools
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import msgspec

from nacre import platforms
from nacre.appraisal.bindings import Binding
from nacre.appraisal.policy import Policy
from nacre.appraisal.purposes import Layout
from nacre.appraisal.release import Release, match
from nacre.appraisal.result import NOT_PROVEN, Foreign, Result
from nacre.appraisal.sources import CheckSource
from nacre.appraisal.verdict import Verdict, conclude
from nacre.checks import Check, Later, Status, failed, passed, skipped
from nacre.errors import (
    AppraisalError,
    MalformedEvidence,
    NacreError,
    UnsupportedEvidence,
    VerificationError,
)
from nacre.platforms.base import Claims, Endorsements, Evidence, Platform
from nacre.reasons import explain
from nacre.trust.signatures import Signatures

if TYPE_CHECKING:
    from nacre.appraisal.systems.envelope import Envelope

__all__ = ["accept", "appraise", "recognise", "refuse"]

#: Required of every platform, after its own checks.
_REQUIRED = ("executables", "binding", "freshness")

#: Seconds by which the clock of whoever made the evidence may be ahead.
_CLOCK_SKEW = 60

# Looking a member up in its enumeration is slow.
_PASS = Status.PASS
_HOLDS = (Status.PASS, Status.WARN)

_EVIDENCE_READ = passed("evidence")
_FRESH_NONCE = passed("freshness", "fresh-nonce")
_BINDING_SKIPPED = skipped("binding", "binding-not-given")
_FRESHNESS_SKIPPED = skipped("freshness", "freshness-unknown")


def recognise(data: bytes, policy: Policy) -> tuple[Platform, Evidence]:
    """Find the platform of evidence and decode it.

    Raises:
        MalformedEvidence: It is not well-formed.
        UnsupportedEvidence: Nobody here verifies it.
    """
    platform = platforms.detect(data, allowed_outsiders=policy.platforms)
    return platform, platform.parse(data)


def appraise(
    evidence: bytes | Evidence,
    *,
    policy: Policy,
    endorsements: Endorsements,
    at: int,
    binding: Binding | None = None,
    sources: Sequence[CheckSource] = (),
    signatures: Signatures | None = None,
    envelope: "Envelope | None" = None,
) -> Result:
    """Appraise evidence and tell the whole story; never raises for what the bytes say.

    Args:
        evidence: The bytes, or what ``recognise`` made of them.
        policy: What is acceptable.
        endorsements: The vendor's documents for this evidence.
        at: The time to judge at, Unix seconds.
        binding: What the evidence has to be bound to.
        sources: Further checks.
        signatures: The signature work, if it is to use a memo or a pool.
        envelope: What another system packed the evidence in. Its own binding counts if no other is given.
    """
    run = _Appraisal(evidence if isinstance(evidence, bytes) else evidence.raw, policy, at)
    if envelope is not None:
        run.opened(envelope, envelope.layout if binding is None else None)
        binding = binding or envelope.binding
    # (1)
    try:
        if isinstance(evidence, bytes):
            platform, evidence = recognise(evidence, policy)
        else:
            platform = platforms.get(evidence.platform)
    except (MalformedEvidence, UnsupportedEvidence) as error:
        return run.unread(error)
    run.read(platform)
    # (2)
    try:
        claims = platform.verify(
            evidence,
            endorsements,
            anchors=policy.anchors_for(platform.name),
            at=at,
            signatures=signatures or Signatures(),
        )
    except VerificationError as error:
        return run.stopped(error)
    run.checks += claims.checks
    # (3)
    run.checks += platform.judge(claims, policy.section(platform.name), at=at)
    # (4)
    facts = None if envelope is None else run.found(envelope, claims)
    release, executables = match(policy.releases, platform.name, claims.registers, facts)
    run.checks.append(executables)
    run.isolated(release)
    # (5), (6)
    run.checks += _bound_and_fresh(claims, binding, release, policy, at)
    # (7)
    for source in sources:
        run.required += source.required
        run.checks += source.checks(claims, release, at=at)
    return run.result(claims=claims, release=release)


def refuse(
    evidence: bytes, error: MalformedEvidence | UnsupportedEvidence, *, policy: Policy, at: int
) -> Result:
    """Tell the story of bytes that are no evidence and no envelope of any.

    Args:
        evidence: The bytes.
        error: What is wrong with them.
        policy: What would have been acceptable.
        at: The time, Unix seconds.
    """
    return _Appraisal(evidence, policy, at).unread(error)


def accept(result: Result, policy: Policy) -> Result:
    """Return the result if the policy accepts its verdict.

    Raises:
        AppraisalError: ``not-accepted``, with the result.
    """
    if result.verdict is Verdict.VERIFIED or (
        result.verdict is Verdict.WARNING and policy.accept is Verdict.WARNING
    ):
        return result
    raise AppraisalError(
        "not-accepted",
        result=result,
        actual=result.verdict.value,
        expected=policy.accept.value,
        problems=tuple(check.id for check in result.problems()),
    )


class _Appraisal:
    """One appraisal on its way."""

    __slots__ = ("at", "checks", "foreign", "platform", "policy", "raw", "required")

    def __init__(self, raw: bytes, policy: Policy, at: int) -> None:
        self.raw = raw
        self.policy = policy
        self.at = at
        self.platform: Platform | None = None
        self.checks: list[Check] = []
        self.required: tuple[str, ...] = ()
        self.foreign: Foreign | None = None

    def opened(self, envelope: "Envelope", layout: Layout | None) -> None:
        """Remember what the evidence came in, and the layout that it has to be bound by."""
        self.required = envelope.opened.required
        self.foreign = Foreign(
            system=envelope.system.name,
            layout=layout.name if layout else "",
            unprotected=layout.unprotected if layout else (),
            described=envelope.opened.described,
        )

    def found(self, envelope: "Envelope", claims: Claims) -> Mapping[str, bytes] | None:
        """Let the other system say what it shows of verified evidence; None if it cannot tell."""
        found = envelope.found(claims, self.at)
        if found is None or self.foreign is None:
            return None
        self.checks += found.checks
        self.foreign = msgspec.structs.replace(self.foreign, facts=found.facts)
        return {f"{envelope.system.name}.{name}": value for name, value in found.facts.items()}

    def unread(self, error: MalformedEvidence | UnsupportedEvidence) -> Result:
        """End where the evidence could not be read."""
        self.checks.append(failed("evidence", error.code, **error.context))
        return self.result(error=error)

    def read(self, platform: Platform) -> None:
        """Go on with the platform whose evidence was read."""
        self.platform = platform
        self.checks.append(_EVIDENCE_READ)
        accepted = self.policy.platforms
        if platform.name not in accepted:
            refused = failed("platform", "platform-not-accepted", actual=platform.name, expected=accepted)
            self.checks.append(refused)

    def stopped(self, error: VerificationError) -> Result:
        """Show what held, what failed, and what was therefore not reached."""
        self.checks += error.trail
        # What cannot be checked for want of a document is incomplete, not forged.
        missing = error.code == "endorsement-missing"
        make = skipped if missing else failed
        self.checks.append(make(error.check, error.code, **error.context))
        made = {check.id for check in self.checks}
        required = (*self.platform.required, *_REQUIRED) if self.platform else _REQUIRED
        self.checks += [skipped(check, "not-reached") for check in required if check not in made]
        return self.result(error=None if missing else error)

    def isolated(self, release: Release | None) -> None:
        """Say whether the code is shut off from all but its callers, if anybody says or asks so.

        The agent enforces it; that it does is part of what was measured.
        """
        if self.policy.require_isolated:
            self.required += ("isolated",)
        if release is not None and release.profile == "isolated":
            self.checks.append(passed("isolated", release=release.id))
        elif self.policy.require_isolated:
            self.checks.append(
                skipped("isolated", "isolated-unknown")
                if release is None
                else failed("isolated", "isolated-not", release=release.id)
            )

    def result(
        self,
        *,
        claims: Claims | None = None,
        release: Release | None = None,
        error: NacreError | None = None,
    ) -> Result:
        """Apply the policy's waivers and conclude."""
        # (8)
        checks = self.checks
        waivable = self.policy.unsafe_waive
        if waivable and claims is not None:
            for position, check in enumerate(checks):
                if check.status is not _PASS and check.id in waivable and self.policy.waives(check):
                    checks[position] = _waived(check)
        required = _required(self.platform.required if self.platform else ())
        if self.required:
            required = required.union(self.required)
        return Result(
            verdict=conclude(checks, required),
            platform=self.platform.name if self.platform else "",
            origin=claims.origin if claims else None,
            checks=tuple(checks),
            claims=claims,
            policy=self.policy.id,
            release=release.id if release else None,
            at=self.at,
            raw=self.raw,
            error=error,
            foreign=self.foreign,
            levers=self.platform.physical if self.platform else (),
            limit=self.platform.not_proven if self.platform else NOT_PROVEN,
        )


@functools.cache
def _required(checks: tuple[str, ...]) -> frozenset[str]:
    return frozenset(checks).union(_REQUIRED)


def _bound_and_fresh(
    claims: Claims, binding: Binding | None, release: Release | None, policy: Policy, at: int
) -> tuple[Check, Check]:
    if binding is None:
        bound = _BINDING_SKIPPED
    else:
        bound = binding.check(
            claims.committed,
            raw_declared=bool(release and release.raw_report_data),
            layout=release.layout if release else None,
        )
        if binding.fresh and bound.status in _HOLDS:
            return bound, _FRESH_NONCE
    if policy.max_age is None or claims.issued_at is None:
        return bound, _FRESHNESS_SKIPPED
    age = at - claims.issued_at
    if age < -_CLOCK_SKEW:
        return bound, failed("freshness", "evidence-from-the-future", actual=claims.issued_at, at=at)
    if age > policy.max_age:
        return bound, failed("freshness", "evidence-too-old", actual=age, expected=policy.max_age)
    return bound, passed("freshness", "evidence-young", actual=max(age, 0), expected=policy.max_age)


def _waived(check: Check) -> Check:
    return Check(check.id, Status.WAIVED, "waived", {"was": Later(explain, check)})
