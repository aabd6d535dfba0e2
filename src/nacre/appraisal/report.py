# SPDX-License-Identifier: Apache-2.0
"""A Result as JSON, in a documented form: ``nacre-result/v1``.

Only here, at the edge, do bytes become hexadecimal text and times RFC 3339.
"""

from collections.abc import Mapping
from typing import Final, Literal

import msgspec

from nacre import reasons
from nacre.appraisal.release import fact_text
from nacre.appraisal.result import Foreign, Result
from nacre.appraisal.verdict import Verdict
from nacre.checks import Check, Status, Value
from nacre.platforms.base import Claims
from nacre.trust.anchors import Origin

__all__ = [
    "SCHEMA",
    "CheckReport",
    "ClaimsReport",
    "CommittedReport",
    "ErrorReport",
    "ForeignReport",
    "PhysicalReport",
    "Report",
    "check_report",
    "report",
    "to_json",
]

#: The name of this form. Members may be added under it; none changes its meaning.
SCHEMA: Final = "nacre-result/v1"

_Shown = str | int | bool | list[str] | None


class CheckReport(msgspec.Struct, frozen=True, kw_only=True):
    """One check.

    Attributes:
        id: What was tested.
        title: The same for people.
        status: The outcome.
        reason: A reason code, null for a plain pass.
        claim: The AR4SI claim that it informs.
        expected: What it wanted to see, if it compares; bytes in hexadecimal.
        actual: What it saw, likewise.
        explanation: One sentence.
        hint: What the reader can do about it, null if nothing is known to help.
        spec: The document that demands it, if there is one.
    """

    id: str
    title: str
    status: Status
    reason: str | None
    claim: str
    expected: _Shown
    actual: _Shown
    explanation: str
    hint: str | None
    spec: str | None


class CommittedReport(msgspec.Struct, frozen=True, kw_only=True):
    """What the evidence commits to, in hexadecimal.

    Attributes:
        data: Report data, or Nitro's ``user_data``.
        nonce: A separate nonce field, null if there is none.
        public_key: A separate key field, null if there is none.
    """

    data: str
    nonce: str | None
    public_key: str | None


class ClaimsReport(msgspec.Struct, frozen=True, kw_only=True):
    """What the evidence proved.

    Attributes:
        registers: Name to value of every measurement register, hexadecimal.
        committed: What the evidence commits to.
        debug: Whether the TEE's owner can look inside.
        issued_at: When the evidence was made, RFC 3339, if it says so.
        valid_until: When the first certificate or endorsement of the chain ends, RFC 3339.
        identity: What tells this machine or instance from others; bytes in hexadecimal.
    """

    registers: dict[str, str]
    committed: CommittedReport
    debug: bool
    issued_at: str | None
    valid_until: str | None
    identity: dict[str, str | bool]


class ErrorReport(msgspec.Struct, frozen=True, kw_only=True):
    """The error that ended the appraisal early.

    Attributes:
        code: Its code.
        message: What was got and expected.
        hint: What the reader can do about it, null if nothing is known to help.
    """

    code: str
    message: str
    hint: str | None


class PhysicalReport(msgspec.Struct, frozen=True, kw_only=True):
    """What was asked of the machine itself, against whoever has it in their hands.

    Attributes:
        checked: The platform's checks of this kind that were made; their outcomes are among the checks.
        unchecked: Those that were not made, since the policy asks nothing or the appraisal ended before.
        not_proven: What evidence of this platform never shows, whatever is asked.
    """

    checked: list[str]
    unchecked: list[str]
    not_proven: str


class ForeignReport(msgspec.Struct, frozen=True, kw_only=True):
    """The other system whose evidence it was.

    Attributes:
        system: The system's name.
        layout: How its evidence is bound, null if that was not known.
        unprotected: What that layout leaves open: ``replay``, ``relay``, ``diversion``, ``reflection``.
        facts: What the system proved by the evidence, by name; text, or bytes in hexadecimal.
        described: What its envelope says and nothing proves, likewise.
    """

    system: str
    layout: str | None
    unprotected: list[str]
    facts: dict[str, str]
    described: dict[str, str]


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """An Attestation Result as JSON.

    Attributes:
        schema: ``nacre-result/v1``.
        verdict: What all checks come to.
        origin: What the root of the chain is worth; null if no chain was followed to one. Only
            ``genuine`` says that a vendor's hardware spoke.
        platform: The platform's name, null if the evidence was not recognised.
        at: The time it was judged at, RFC 3339.
        evidence: SHA-256 of the evidence, hexadecimal.
        policy: The identifier of the policy.
        release: The identifier of the release that matched, null if none did.
        checks: Every check, in the order in which it was made.
        claims: What the evidence proved, null if its signatures did not hold.
        error: The error that ended the appraisal early, null if none did.
        foreign: The other system whose evidence it was, null if it was none's.
        physical: What was asked of the machine itself.
        not_proven: What stays open, however good the verdict is.
    """

    schema: Literal["nacre-result/v1"]
    verdict: Verdict
    origin: Origin | None
    platform: str | None
    at: str
    evidence: str
    policy: str
    release: str | None
    checks: list[CheckReport]
    claims: ClaimsReport | None
    error: ErrorReport | None
    foreign: ForeignReport | None
    physical: PhysicalReport
    not_proven: list[str]


def report(result: Result) -> Report:
    """Put a Result into words."""
    error, physical = result.error, result.physical
    return Report(
        schema=SCHEMA,
        verdict=result.verdict,
        origin=result.origin,
        platform=result.platform or None,
        at=_time(result.at),
        evidence=result.evidence.hex(),
        policy=result.policy,
        release=result.release,
        checks=[check_report(check) for check in result.checks],
        claims=None if result.claims is None else _claims(result.claims),
        error=None
        if error is None
        else ErrorReport(code=error.code, message=str(error), hint=error.hint or None),
        foreign=None if result.foreign is None else _foreign(result.foreign),
        physical=PhysicalReport(
            checked=list(physical.checked),
            unchecked=list(physical.unchecked),
            not_proven=physical.not_proven,
        ),
        not_proven=list(result.not_proven),
    )


def to_json(result: Result, *, indent: int = 2) -> bytes:
    """Encode a Result as JSON, UTF-8.

    Args:
        result: The Result.
        indent: Spaces for each level; 0 for one line.
    """
    encoded = msgspec.json.encode(report(result))
    return msgspec.json.format(encoded, indent=indent or -1)


def check_report(check: Check) -> CheckReport:
    """Put a check into words."""
    words = reasons.check_text(check.id)
    reason = reasons.reason(check.reason) if check.reason else None
    return CheckReport(
        id=check.id,
        title=words.title,
        status=check.status,
        reason=check.reason or None,
        claim=words.claim,
        expected=_shown(check.expected),
        actual=_shown(check.actual),
        explanation=reasons.explain(check),
        hint=reasons.render(reason.hint, check.context) or None if reason else None,
        spec=(reason.spec if reason else "") or words.spec or None,
    )


def _claims(claims: Claims) -> ClaimsReport:
    committed = claims.committed
    return ClaimsReport(
        registers={name: value.hex() for name, value in claims.registers.items()},
        committed=CommittedReport(
            data=committed.data.hex(),
            nonce=None if committed.nonce is None else committed.nonce.hex(),
            public_key=None if committed.public_key is None else committed.public_key.hex(),
        ),
        debug=claims.debug,
        issued_at=None if claims.issued_at is None else _time(claims.issued_at),
        valid_until=None if claims.valid_until is None else _time(claims.valid_until),
        identity=_identity(claims.identity),
    )


def _foreign(foreign: Foreign) -> ForeignReport:
    return ForeignReport(
        system=foreign.system,
        layout=foreign.layout or None,
        unprotected=list(foreign.unprotected),
        facts={name: fact_text(value) for name, value in foreign.facts.items()},
        described={
            name: value.hex() if isinstance(value, bytes) else value
            for name, value in foreign.described.items()
        },
    )


def _identity(identity: Mapping[str, bytes | str | bool]) -> dict[str, str | bool]:
    return {name: value.hex() if isinstance(value, bytes) else value for name, value in identity.items()}


def _shown(value: Value) -> _Shown:
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, tuple):
        return [str(item) for item in value]
    if value is None or isinstance(value, str | int):
        return value
    return str(value)


def _time(seconds: int) -> str:
    return reasons.render("{seconds:time}", {"seconds": seconds})
