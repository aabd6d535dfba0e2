# SPDX-License-Identifier: Apache-2.0
"""The conformance runner: every case below a folder, judged and compared with what it expects.

The profile is that of the vectors' oracle, more lenient than the default policy: TCB statuses are
reported, not judged, and what recorded evidence cannot have (a nonce, a release) is waived.
"""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import msgspec

from nacre import platforms, reasons
from nacre.appraisal.appraise import appraise
from nacre.appraisal.result import Result
from nacre.appraisal.verdict import Verdict
from nacre.checks import Status
from nacre.errors import ConfigurationError, MalformedEvidence, UnsupportedEvidence
from nacre.platforms.base import Endorsements, Evidence
from nacre.platforms.dcap.claims import DcapClaims
from nacre.testing.cases import Case, Json, find, load
from nacre.testing.profile import profile

__all__ = ["Difference", "Outcome", "Report", "run"]

_CLEAN = (Status.PASS, Status.NOT_APPLICABLE)
_BAD = (Status.FAIL, Status.ERROR, Status.SKIPPED)
_ACCEPTED = (Verdict.VERIFIED, Verdict.WARNING)


class Difference(msgspec.Struct, frozen=True):
    """One thing that came out otherwise than expected."""

    what: str
    expected: Json
    actual: Json


class Outcome(msgspec.Struct, frozen=True):
    """What came of one case.

    Attributes:
        case: The case's name.
        group: The folder that holds it, below the one that was run.
        tee: The kind of TEE.
        status: ``agree``, ``disagree``, ``unsupported`` (no platform here) or ``unreadable``.
        differences: What came out otherwise.
        unread: Whether the evidence was refused before its claims could be read, so that stated claims
            were not compared; only where the case is to fail.
        why: What the result or the error says.
    """

    case: str
    group: str
    tee: str
    status: str
    differences: tuple[Difference, ...] = ()
    unread: bool = False
    why: str = ""


class Report(msgspec.Struct, frozen=True):
    """What came of all cases."""

    outcomes: tuple[Outcome, ...]

    def count(self, status: str) -> int:
        """Count the cases with a status."""
        return sum(outcome.status == status for outcome in self.outcomes)

    @property
    def agrees(self) -> bool:
        """Whether at least one case ran, and every case that was meant for us came out as expected."""
        bad = self.count("disagree") + self.count("unreadable")
        return bad == 0 and self.count("agree") > 0


def run(directory: Path, *, progress: Callable[[int, int], None] = lambda _done, _all: None) -> Report:
    """Run every case below a folder; folders without a ``case.json`` are skipped.

    Args:
        directory: Where to look.
        progress: Told after each case how many are done, and of how many.

    Raises:
        ConfigurationError: There is no such folder.
    """
    folders = list(find(directory))
    outcomes = []
    for number, folder in enumerate(folders, 1):
        outcomes.append(_outcome(folder, directory))
        progress(number, len(folders))
    return Report(tuple(outcomes))


def _outcome(folder: Path, directory: Path) -> Outcome:
    within = folder.parent.relative_to(directory) if folder != directory else Path()
    group = within.as_posix() if within.parts else directory.resolve().name
    try:
        case = load(folder)
    except ConfigurationError as error:
        return Outcome(folder.name, group, "", "unreadable", why=str(error))
    if not case.platform:
        return Outcome(case.id, group, case.tee, "unsupported")
    return _judge(case, group)


def _judge(case: Case, group: str) -> Outcome:
    try:
        result = appraise(
            case.evidence,
            policy=profile(case),
            endorsements=Endorsements(case.collateral),
            at=case.at,
        )
        claims = None if case.expected.claims is None else _facts(case)
    except Exception as error:  # noqa: BLE001 (whatever escapes is what a case is there to find)
        escaped = Difference("error", None, f"{type(error).__name__}: {error}")
        return Outcome(case.id, group, case.tee, "disagree", (escaped,), why=str(error))
    why = "; ".join(reasons.explain(check) for check in result.checks if check.status in _BAD)
    if case.optional and isinstance(result.error, UnsupportedEvidence):
        return Outcome(case.id, group, case.tee, "agree", unread=True, why=why)
    unread = claims is None and case.expected.claims is not None and case.expected.crypto == "fail"
    differences = list(_differences(case, result))
    if case.expected.claims is not None and not unread:
        differences.extend(_compare("claims", case.expected.claims, claims))
    status = "disagree" if differences else "agree"
    return Outcome(case.id, group, case.tee, status, tuple(differences), unread, why)


def _differences(case: Case, result: Result) -> Iterator[Difference]:
    expected = case.expected
    claims = result.claims
    verdict = "pass" if result.verdict in _ACCEPTED else "fail"
    holds = claims is not None and all(check.status in _CLEAN for check in claims.checks)
    yield from _compare("verdict", expected.verdict, verdict)
    if expected.crypto is not msgspec.UNSET:
        yield from _compare("crypto", expected.crypto, "pass" if holds else "fail")
    if isinstance(claims, DcapClaims):
        yield from _tcb_differences(case, claims)
    elif expected.tcb_status is not None:
        yield Difference("tcb_status", expected.tcb_status, None)


def _tcb_differences(case: Case, claims: DcapClaims) -> Iterator[Difference]:
    tcb = claims.tcb
    found: dict[str, Json] = {}
    if tcb is not None:
        found = {
            "tcb_status": tcb.status,
            "advisory_ids": list(tcb.advisories),
            "tcb_date": None if tcb.date is None else reasons.render("{at:time}", {"at": tcb.date}),
            "tcb_evaluation_data_number": tcb.number,
            "platform_level_status": tcb.platform,
            "component_statuses": list(tcb.components),
            "launch_status": tcb.launch,
            "current_status": tcb.current,
        }
    for name in (
        "tcb_status",
        "advisory_ids",
        "tcb_date",
        "tcb_evaluation_data_number",
        "platform_level_status",
        "component_statuses",
        "launch_status",
        "current_status",
    ):
        stated: Json = getattr(case.expected, name)
        if stated is not None:
            yield from _compare(name, stated, found.get(name))


def _facts(case: Case) -> Json:
    """Return what a reader finds, even in evidence that the parser refuses; None if it finds nothing."""
    platform = platforms.get(case.platform)
    evidence: Evidence | None
    try:
        evidence = platform.parse(case.evidence)
    except (MalformedEvidence, UnsupportedEvidence):
        evidence = platform.salvage(case.evidence)
    return None if evidence is None else dict(platform.facts(evidence))


def _compare(what: str, expected: Json, actual: Json) -> Iterator[Difference]:
    """Compare recursively; keys that are not stated are not compared."""
    if isinstance(expected, Mapping) and isinstance(actual, Mapping):
        for key, value in expected.items():
            yield from _compare(f"{what}.{key}", value, actual.get(key))
    elif expected != actual or type(expected) is not type(actual):
        yield Difference(what, expected, actual)
