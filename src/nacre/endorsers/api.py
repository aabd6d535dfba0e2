# SPDX-License-Identifier: Apache-2.0
"""``nacre.verify`` and ``nacre.appraise``: one call for those who need no more.

Behind them is one Verifier for each of the policies used last, so that a second call is as fast as a
server's.
"""

import threading
from typing import TYPE_CHECKING

from nacre.appraisal.bindings import Binding
from nacre.appraisal.policy import Policy
from nacre.appraisal.result import Result
from nacre.endorsers.verifier import Verifier
from nacre.platforms.base import Endorsements

if TYPE_CHECKING:
    from nacre.appraisal.systems.envelope import Envelope

__all__ = ["appraise", "verify"]

_MAX_VERIFIERS = 16

_lock = threading.Lock()
_verifiers: dict[tuple[int, bool], Verifier] = {}


def verify(
    evidence: "bytes | Envelope",
    *,
    policy: Policy,
    binding: Binding | None = None,
    endorsements: Endorsements | None = None,
    at: int | None = None,
    offline: bool = False,
) -> Result:
    """Appraise evidence and insist on a verdict that the policy accepts.

    Args:
        evidence: The bytes, as the device gave them; or another system's envelope (``nacre.unwrap``).
        policy: What is acceptable.
        binding: What the evidence has to be bound to: a nonce of yours, for one.
        endorsements: The vendor's documents; fetched and cached if not given.
        at: The time to judge at, Unix seconds; now if not given.
        offline: Use what is cached and never the network.

    Raises:
        AppraisalError: Genuine, but not what the policy wants; carries the Result.
        EndorsementsUnavailable: Nothing speaks against the evidence, but an endorser could not serve.
        MalformedEvidence: The bytes are no evidence.
        UnsupportedEvidence: They are of a kind that is not verified here.
        VerificationError: They are forged, revoked, or not what they claim to be.
        ConfigurationError: A setting cannot be used.
    """
    verifier = _verifier(policy, offline=offline)
    return verifier.verify(evidence, binding=binding, endorsements=endorsements, at=at)


def appraise(
    evidence: "bytes | Envelope",
    *,
    policy: Policy,
    binding: Binding | None = None,
    endorsements: Endorsements | None = None,
    at: int | None = None,
    offline: bool = False,
) -> Result:
    """Appraise evidence and tell the whole story; never raises for what the bytes say.

    If endorsements cannot be had, the Result has the check ``endorsements``, skipped, that says why.

    Args:
        evidence: The bytes, as the device gave them; or another system's envelope (``nacre.unwrap``).
        policy: What is acceptable.
        binding: What the evidence has to be bound to: a nonce of yours, for one.
        endorsements: The vendor's documents; fetched and cached if not given.
        at: The time to judge at, Unix seconds; now if not given.
        offline: Use what is cached and never the network.

    Raises:
        ConfigurationError: A setting cannot be used.
    """
    verifier = _verifier(policy, offline=offline)
    return verifier.appraise(evidence, binding=binding, endorsements=endorsements, at=at)


def _verifier(policy: Policy, *, offline: bool) -> Verifier:
    key = (id(policy), offline)
    found = _verifiers.get(key)
    if found is not None and found.policy is policy:
        return found
    with _lock:
        if len(_verifiers) >= _MAX_VERIFIERS:
            _verifiers.clear()
        verifier = _verifiers[key] = Verifier(policy, offline=offline)
        return verifier
