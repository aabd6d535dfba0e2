# SPDX-License-Identifier: Apache-2.0
"""Claims + Release + Policy + Binding -> Result.

Steps:

1. Recognise and decode the evidence.
2. Verify it: signatures, chains, revocation, currency (the platform's numbered steps).
3. Hold the claims against the platform's part of the policy.
4. Match the registers, as a whole, against one release.
5. Check what the evidence is bound to.
6. Check that it is fresh.
7. Ask further sources.
8. Apply the policy's waivers and conclude.
"""

import hashlib
from collections.abc import Iterable, Sequence

from nacre import platforms
from nacre.appraisal.bindings import Binding
from nacre.appraisal.policy import Policy
from nacre.appraisal.release import Release, match
from nacre.appraisal.result import Result
from nacre.appraisal.sources import CheckSource
from nacre.appraisal.verdict import Verdict, conclude
from nacre.checks import Check, Status, failed, passed, skipped
from nacre.errors import AppraisalError, MalformedEvidence, UnsupportedEvidence, VerificationError
from nacre.platforms.base import Claims, Endorsements, Evidence, Platform
from nacre.trust.signatures import Signatures

__all__ = ["accept", "appraise", "recognise"]

#: Required of every platform, after its own checks.
_REQUIRED = ("executables", "binding", "freshness")

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
    platform = platforms.detect(data, allowed_outsiders=policy.outsiders)
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
    """
    raise NotImplementedError
