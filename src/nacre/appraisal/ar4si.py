# SPDX-License-Identifier: Apache-2.0
"""From checks to an AR4SI trustworthiness vector and its tier.

The vector says of each claim the worst that any check found. Three rules keep it honest: the tier is never
better than the worst claim, affirming is said of a VERIFIED result under a vendor's root only, and what
was required and not checked is said to be unknown, not left out.

Source: draft-ietf-rats-ar4si, 2.3.
"""

import functools
from collections.abc import Mapping
from typing import Literal

import msgspec

from nacre import reasons
from nacre.appraisal.result import Result
from nacre.appraisal.verdict import Verdict
from nacre.checks import Status
from nacre.trust.anchors import Origin

__all__ = ["CLAIMS", "Tier", "TrustVector", "status", "tier", "trust_vector"]

Tier = Literal["none", "affirming", "warning", "contraindicated"]

# AR4SI values. 0 to 1 and -1 say nothing, from 2 affirming, from 32 warning, from 96 contraindicated.
_MALFUNCTION = -1
_UNKNOWN = 1
_APPROVED = 2
_APPROVED_AT_BOOT = 3
_KNOWN_FLAWS = 32
_UNRECOGNISED_CODE = 33
_ELEMENTS_UNAVAILABLE = 36
_CONTRAINDICATED = 96
_NOT_RECOGNISED = 97
_NOT_AUTHENTIC = 99
# Ours, in the range left to verifiers: a root vouches for the hardware that is not its vendor's.
_PRIVATE_ROOT = -33

#: The claims of a vector, as JSON names them.
CLAIMS = (
    "instance-identity",
    "configuration",
    "executables",
    "file-system",
    "hardware",
    "runtime-opaque",
    "storage-opaque",
    "sourced-data",
)

_BY_STATUS: Mapping[Status, int] = {
    Status.PASS: _APPROVED,
    Status.WARN: _KNOWN_FLAWS,
    Status.WAIVED: _KNOWN_FLAWS,
    Status.FAIL: _CONTRAINDICATED,
    Status.ERROR: _MALFUNCTION,
    Status.SKIPPED: _UNKNOWN,
}
# Registers show what was started, not what runs since.
_BY_CLAIM: Mapping[tuple[str, Status], int] = {
    ("executables", Status.PASS): _APPROVED_AT_BOOT,
    ("executables", Status.WAIVED): _UNRECOGNISED_CODE,
    ("configuration", Status.WAIVED): _ELEMENTS_UNAVAILABLE,
}
_BY_REASON: Mapping[str, int] = {
    "executables-mismatch": _UNRECOGNISED_CODE,
    "tcb-not-supported": _NOT_RECOGNISED,
    "tcb-status-accepted": _KNOWN_FLAWS,
    "tcb-status-grace": _KNOWN_FLAWS,
}
_REVOKED = frozenset({"certificate-revoked", "tcb-revoked"})

_BADNESS: Mapping[Tier, int] = {"affirming": 0, "none": 1, "warning": 2, "contraindicated": 3}
_BEST: Mapping[Verdict, Tier] = {
    Verdict.VERIFIED: "affirming",
    Verdict.WARNING: "warning",
    Verdict.INCOMPLETE: "warning",
    Verdict.REJECTED: "contraindicated",
}


def _tier(value: int) -> Tier:
    if -1 <= value <= 1:
        return "none"
    size = value if value > 0 else ~value
    if size < _KNOWN_FLAWS:
        return "affirming"
    return "warning" if size < _CONTRAINDICATED else "contraindicated"


_TIERS: Mapping[int, Tier] = {value: _tier(value) for value in range(-128, 128)}


class TrustVector(msgspec.Struct, frozen=True, omit_defaults=True, rename="kebab"):
    """An AR4SI trustworthiness vector; a claim that is None is not made."""

    instance_identity: int | None = None
    configuration: int | None = None
    executables: int | None = None
    file_system: int | None = None
    hardware: int | None = None
    runtime_opaque: int | None = None
    storage_opaque: int | None = None
    sourced_data: int | None = None

    def values(self) -> tuple[int, ...]:
        """Return the values of the claims that are made."""
        return tuple([value for value in msgspec.structs.astuple(self) if value is not None])


def trust_vector(result: Result) -> TrustVector:
    """Weigh every check of a Result into the claim that it informs."""
    return msgspec.convert(dict(_claims(result)), TrustVector)


def tier(value: int) -> Tier:
    """Return the tier of a claim's value, -128 to 127."""
    return _TIERS[value]


def status(result: Result, vector: TrustVector) -> Tier:
    """Return the worst of the verdict, the origin and every claim."""
    tiers = [_BEST[result.verdict], *{_TIERS[value] for value in vector.values()}]
    if result.origin is not Origin.GENUINE:
        tiers.append("warning")
    return max(tiers, key=_BADNESS.__getitem__)


def _claims(result: Result) -> Mapping[str, int]:
    claims = result.claims
    if claims is None:
        if result.error is not None and result.error.code in _REVOKED:
            return {"instance-identity": _CONTRAINDICATED, "hardware": _CONTRAINDICATED}
        if result.verdict is Verdict.INCOMPLETE:
            # Not forged: a document without which nothing can be verified is missing.
            return {"configuration": _ELEMENTS_UNAVAILABLE, "hardware": _UNKNOWN}
        return dict.fromkeys(CLAIMS, _NOT_AUTHENTIC)
    # Where nothing required is missing, what was skipped was not asked for.
    complete = result.verdict in (Verdict.VERIFIED, Verdict.WARNING)
    worst: dict[str, int] = {}
    for check in result.checks:
        for claim, value in _said(check.id, check.status, check.reason, complete):
            if worst.get(claim) != value:
                _worsen(worst, claim, value)
    if claims.debug:
        _worsen(worst, "configuration", _CONTRAINDICATED)
        _worsen(worst, "runtime-opaque", _CONTRAINDICATED)
    if result.origin is not Origin.GENUINE:
        value = _PRIVATE_ROOT if result.origin is Origin.PRIVATE else _NOT_RECOGNISED
        _worsen(worst, "instance-identity", value)
        _worsen(worst, "hardware", value)
    return worst


@functools.lru_cache(maxsize=1024)
def _said(check: str, outcome: Status, reason: str, complete: bool) -> tuple[tuple[str, int], ...]:  # noqa: FBT001
    """Return the claims that a check informs, and with which value; servers ask for the same few all day."""
    if outcome is Status.NOT_APPLICABLE or (complete and outcome is Status.SKIPPED):
        return ()
    claim = reasons.check_text(check).claim
    value = _BY_REASON.get(reason) or _BY_CLAIM.get((claim, outcome)) or _BY_STATUS[outcome]
    said = (claim if claim in CLAIMS else "configuration", value)
    # A claim that is skipped becomes "unknown", which is no tier; this makes the whole a warning.
    return (said, ("configuration", _ELEMENTS_UNAVAILABLE)) if outcome is Status.SKIPPED else (said,)


def _worsen(worst: dict[str, int], claim: str, value: int) -> None:
    known = worst.get(claim)
    if known is None or _badness(value) > _badness(known):
        worst[claim] = value


def _badness(value: int) -> tuple[int, int]:
    return _BADNESS[tier(value)], abs(value)
