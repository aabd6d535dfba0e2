# SPDX-License-Identifier: Apache-2.0
"""From a question to a verdict: the one way, whoever asks."""

from collections.abc import Mapping
from enum import IntEnum
from typing import Literal

import msgspec

from nacre import platforms, reasons
from nacre.appraisal.appraise import appraise
from nacre.appraisal.result import Result
from nacre.appraisal.verdict import Verdict
from nacre.checks import Check, Status
from nacre.errors import MalformedEvidence, NacreError, UnsupportedEvidence
from nacre.platforms.base import Endorsements, Evidence
from nacre.platforms.dcap.claims import DcapClaims
from nacre.platforms.dcap.tcb import TcbReport
from nacre.testing.profile import profile
from nacre.testing.questions import Json, Question

__all__ = ["Answer", "CheckAnswer", "Ending", "Judged", "judge", "refusal"]

_CLEAN = (Status.PASS, Status.NOT_APPLICABLE)
_BAD = (Status.FAIL, Status.ERROR, Status.SKIPPED)
_ACCEPTED = (Verdict.VERIFIED, Verdict.WARNING)

_Outcome = Literal["pass", "fail"]


class Ending(IntEnum):
    """How a verifier ends when it was asked one question: the exit status of its command."""

    ACCEPT = 0
    INTERNAL = 1
    REJECT = 10
    UNSUPPORTED = 20
    MALFORMED = 30


class CheckAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """One check.

    Attributes:
        id: What was tested.
        status: The outcome.
        code: A reason code, null for a plain pass.
        text: One sentence about it.
    """

    id: str
    status: str
    code: str | None
    text: str


class Answer(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a verifier answers. Other verifiers may leave out all but ``verdict``: that is not compared then.

    Attributes:
        verdict: Whether the evidence is accepted under the profile.
        crypto: Whether chains, signatures, dates, revocation and match of collateral hold, whatever the
            profile says.
        code: Why it ended as it did, in the verifier's own codes; null if it is accepted.
        tcb_status: Intel's platforms: the status in Intel's words; null unless ``crypto`` is ``pass``.
        advisory_ids: Intel's platforms: ids of the advisories that apply, sorted; null likewise.
        claims: What the evidence says, under the names of the vectors, bytes in lower-case hexadecimal; null
            if it cannot be read.
        checks: What was tested, in order.
    """

    verdict: _Outcome
    crypto: _Outcome | msgspec.UnsetType = msgspec.UNSET
    code: str | msgspec.UnsetType | None = msgspec.UNSET
    tcb_status: str | msgspec.UnsetType | None = msgspec.UNSET
    advisory_ids: list[str] | msgspec.UnsetType | None = msgspec.UNSET
    claims: dict[str, Json] | msgspec.UnsetType | None = msgspec.UNSET
    checks: list[CheckAnswer] | msgspec.UnsetType = msgspec.UNSET


class Judged(msgspec.Struct, frozen=True, kw_only=True):
    """An answer, and what belongs to it outside its JSON.

    Attributes:
        answer: The answer.
        ending: How the verifier ended.
        parts: The parts of a TCB evaluation by the names of case files; None if the verifier tells none.
        declined: Whether it said that it does not do this, so that nothing is to be compared.
        why: What is wrong with the evidence, for people.
    """

    answer: Answer
    ending: Ending
    parts: Mapping[str, Json] | None = None
    declined: bool = False
    why: str = ""


def judge(question: Question) -> Judged:
    """Appraise the evidence of a question.

    Raises:
        UnsupportedEvidence: The question asks for something that is not checked here.
        MalformedEvidence: What it asks for has the wrong type.
    """
    result = appraise(
        question.evidence,
        policy=profile(question),
        endorsements=Endorsements(question.collateral),
        at=question.at,
    )
    claims = result.claims
    # Evidence of another platform proves nothing about the one that was named.
    holds = (
        claims is not None
        and claims.platform == question.platform
        and all(check.status in _CLEAN or _left_out(check, result) for check in claims.checks)
    )
    tcb = claims.tcb if isinstance(claims, DcapClaims) and holds else None
    accepted = result.verdict in _ACCEPTED
    bad = [check for check in result.checks if check.status in _BAD]
    answer = Answer(
        verdict="pass" if accepted else "fail",
        crypto="pass" if holds else "fail",
        code=None if accepted else _code(result),
        tcb_status=tcb.status if tcb else None,
        advisory_ids=list(tcb.advisories) if tcb else None,
        claims=_facts(question),
        checks=[
            CheckAnswer(
                id=check.id,
                status=check.status.value,
                code=check.reason or None,
                text=reasons.explain(check),
            )
            for check in result.checks
        ],
    )
    return Judged(
        answer=answer,
        ending=Ending.ACCEPT if accepted else _ending(result.error),
        parts=_parts(tcb),
        why="; ".join(map(reasons.explain, bad)),
    )


def refusal(error: NacreError | None) -> Judged:
    """Answer a question that could not be put: fail closed, and say why. None stands for an error of ours."""
    answer = Answer(
        verdict="fail",
        crypto="fail",
        code=error.code if error else "internal",
        tcb_status=None,
        advisory_ids=None,
        claims=None,
        checks=[],
    )
    return Judged(answer=answer, ending=_ending(error, Ending.INTERNAL), why=str(error or ""))


def _left_out(check: Check, result: Result) -> bool:
    """Tell whether a check was not made because the profile does without it: a revocation list is missing."""
    return check.status is Status.SKIPPED and any(
        other.id == check.id and other.status is Status.WAIVED for other in result.checks
    )


def _ending(error: NacreError | None, otherwise: Ending = Ending.REJECT) -> Ending:
    if isinstance(error, UnsupportedEvidence):
        return Ending.UNSUPPORTED
    return Ending.MALFORMED if isinstance(error, MalformedEvidence) else otherwise


def _code(result: Result) -> str:
    """Return the first thing that is wrong; with nothing wrong, the first that could not be looked at."""
    if result.error is not None:
        return result.error.code
    bad = sorted(
        (check for check in result.checks if check.status in _BAD), key=lambda check: _BAD.index(check.status)
    )
    return next((check.reason for check in bad), result.verdict.value)


def _parts(tcb: TcbReport | None) -> dict[str, Json]:
    """Name the parts of a TCB evaluation as case files do."""
    if tcb is None:
        return {}
    return {
        "tcb_date": None if tcb.date is None else reasons.render("{at:time}", {"at": tcb.date}),
        "tcb_evaluation_data_number": tcb.number,
        "platform_level_status": tcb.platform,
        "component_statuses": list(tcb.components),
        "launch_status": tcb.launch,
        "current_status": tcb.current,
    }


def _facts(question: Question) -> dict[str, Json] | None:
    """Return what a reader finds, even in evidence that the parser refuses; None if it finds nothing."""
    platform = platforms.get(question.platform)
    evidence: Evidence | None
    try:
        evidence = platform.parse(question.evidence)
    except (MalformedEvidence, UnsupportedEvidence):
        evidence = platform.salvage(question.evidence)
    return None if evidence is None else dict(platform.facts(evidence, Endorsements(question.collateral)))
