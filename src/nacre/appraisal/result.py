# SPDX-License-Identifier: Apache-2.0
"""The Attestation Result: a verdict and every check behind it."""

import hashlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, NoReturn

import msgspec

from nacre import reasons
from nacre.appraisal.verdict import Verdict
from nacre.checks import Check, Status
from nacre.platforms.base import Claims
from nacre.trust.anchors import Origin

if TYPE_CHECKING:
    from nacre.errors import NacreError

__all__ = ["NOT_PROVEN", "UNPROTECTED", "Foreign", "Physical", "Result"]

#: What no evidence of any kind shows. Each platform says it of its own evidence.
NOT_PROVEN = (
    "where the machine stands and who holds it: hardware interposers and extracted keys leave no trace "
    "in evidence"
)

#: What a binding may leave open, said so that its reader knows what to do about it.
UNPROTECTED: Mapping[str, str] = {
    "replay": "that the evidence is new: this binding has no nonce of yours, so it may be of any age",
    "relay": "that you talk to this very machine: whoever holds the bound key, or stands between, may answer "
    "with another machine's evidence",
    "diversion": "that it is the machine that you meant: anybody's genuine machine with this code can answer",
    "reflection": "that it is not your own side's evidence sent back: no role is bound",
}

_UNVERIFIED = "anything that the evidence says: it was refused before it proved something"
_OF_ORIGIN: Mapping[Origin, str] = {
    Origin.PRIVATE: "that a vendor's hardware spoke: the chain ends at a root that the policy calls private",
    Origin.SIMULATED: "that any hardware spoke: the chain ends at a development root, held by software",
}
_NOT_MADE = (Status.NOT_APPLICABLE, Status.SKIPPED)


class Physical(msgspec.Struct, frozen=True):
    """What was asked of the machine itself, against whoever has it in their hands.

    Attributes:
        checked: The platform's checks of this kind that were made, whatever came out.
        unchecked: Those that were not: the policy asks nothing, or the appraisal ended before.
        not_proven: What evidence of this platform never shows, whatever is asked.
    """

    checked: tuple[str, ...]
    unchecked: tuple[str, ...]
    not_proven: str


class Foreign(msgspec.Struct, frozen=True, kw_only=True):
    """What another system's envelope and layout had to do with a Result.

    Attributes:
        system: The system's name.
        layout: The layout's, empty if none was known.
        unprotected: What that layout leaves open, words of :data:`UNPROTECTED`.
        facts: What the system proved by the evidence, by name.
        described: What the envelope says of itself and nothing proves.
    """

    system: str
    layout: str = ""
    unprotected: tuple[str, ...] = ()
    facts: Mapping[str, bytes] = {}
    described: Mapping[str, bytes | str] = {}


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that an appraisal found. Made by ``appraise`` alone.

    A Result is not a truth value: compare ``verdict``, or call ``verify``, which raises.

    Attributes:
        verdict: What the checks come to.
        platform: The platform's name, empty if the evidence was not recognised.
        origin: GENUINE, PRIVATE or SIMULATED; None if no chain was followed to an anchor.
        checks: Every check, in the order in which it was made.
        claims: What the evidence proved; None if its signatures did not hold.
        policy: The identifier of the policy.
        release: The identifier of the release that matched, if one did.
        at: The time it was judged at, Unix seconds.
        raw: The evidence.
        error: The error that ended the appraisal early, if one did.
        foreign: The other system whose evidence it was, if it was.
        levers: The platform's checks about the machine itself, made or not.
        limit: What evidence of this platform never shows.
    """

    verdict: Verdict
    platform: str
    origin: Origin | None
    checks: tuple[Check, ...]
    claims: Claims | None
    policy: str
    release: str | None
    at: int
    raw: bytes
    error: "NacreError | None" = None
    foreign: Foreign | None = None
    levers: tuple[str, ...] = ()
    limit: str = NOT_PROVEN

    def __bool__(self) -> NoReturn:
        """Refuse: collapsing a verdict into a boolean is how verifiers were fooled."""
        raise TypeError("a Result is not a truth value: compare .verdict, or use verify()")

    @property
    def evidence(self) -> bytes:
        """SHA-256 of the evidence, 32 bytes."""
        return hashlib.sha256(self.raw).digest()

    @property
    def not_proven(self) -> tuple[str, ...]:
        """What this evidence does not show, however good the verdict is; each goes after "not proven"."""
        of_origin = _UNVERIFIED if self.claims is None else _OF_ORIGIN.get(self.claims.origin)
        left_open = self.foreign.unprotected if self.foreign else ()
        return (*((of_origin,) if of_origin else ()), self.limit, *(UNPROTECTED[name] for name in left_open))

    @property
    def physical(self) -> Physical:
        """What was asked of the machine itself, and what no answer to that shows."""
        made = {check.id for check in self.checks if check.status not in _NOT_MADE}
        return Physical(
            checked=tuple(lever for lever in self.levers if lever in made),
            unchecked=tuple(lever for lever in self.levers if lever not in made),
            not_proven=self.limit,
        )

    def check(self, identifier: str) -> Check | None:
        """Return the first check with this identifier."""
        return next((check for check in self.checks if check.id == identifier), None)

    def problems(self) -> tuple[Check, ...]:
        """Return the checks that keep the verdict from VERIFIED."""
        clean = (Status.PASS, Status.NOT_APPLICABLE)
        return tuple(check for check in self.checks if check.status not in clean)

    def explain(self) -> Mapping[str, str]:
        """Say in one sentence per check what it found."""
        return {check.id: reasons.explain(check) for check in self.checks}
