# SPDX-License-Identifier: Apache-2.0
"""The conformance runner: every case below a folder, judged and compared with what it expects."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import msgspec

from nacre.errors import ConfigurationError
from nacre.testing.cases import Case, Expected, find, load
from nacre.testing.judging import Ending, Judged, judge
from nacre.testing.questions import Json

__all__ = ["Ask", "Difference", "Outcome", "Report", "run"]

#: Whoever answers cases.
Ask = Callable[[Case], Judged]

_PARTS = (
    "tcb_date",
    "tcb_evaluation_data_number",
    "platform_level_status",
    "component_statuses",
    "launch_status",
    "current_status",
)


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
        status: ``agree``, ``disagree``, ``unsupported`` (no platform here, or whoever was asked does not do
            it) or ``unreadable``.
        differences: What came out otherwise.
        unread: Whether stated claims were not compared: the evidence was refused before it could be read,
            which counts only where the case is to fail, or whoever was asked tells no claims.
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


def run(
    directory: Path, *, ask: Ask = judge, progress: Callable[[int, int], None] = lambda _done, _all: None
) -> Report:
    """Run every case below a folder; folders without a ``case.json`` are skipped.

    Args:
        directory: Where to look.
        ask: Who answers: this verifier, or another (:class:`nacre.testing.peer.Peer`).
        progress: Told after each case how many are done, and of how many.

    Raises:
        ConfigurationError: There is no such folder.
    """
    folders = list(find(directory))
    outcomes = []
    for number, folder in enumerate(folders, 1):
        outcomes.append(_outcome(folder, directory, ask))
        progress(number, len(folders))
    return Report(tuple(outcomes))


def _outcome(folder: Path, directory: Path, ask: Ask) -> Outcome:
    within = folder.parent.relative_to(directory) if folder != directory else Path()
    group = within.as_posix() if within.parts else directory.resolve().name
    try:
        case = load(folder)
    except ConfigurationError as error:
        return Outcome(folder.name, group, "", "unreadable", why=str(error))
    if not case.platform:
        return Outcome(case.id, group, case.tee, "unsupported")
    return _compared(case, group, ask)


def _compared(case: Case, group: str, ask: Ask) -> Outcome:
    try:
        judged = ask(case)
    except Exception as error:  # noqa: BLE001 (whatever escapes is what a case is there to find)
        escaped = Difference("error", None, f"{type(error).__name__}: {error}")
        return Outcome(case.id, group, case.tee, "disagree", (escaped,), why=str(error))
    if judged.ending is Ending.UNSUPPORTED and case.optional and judged.answer.verdict == "fail":
        return Outcome(case.id, group, case.tee, "agree", unread=True, why=judged.why)
    if judged.declined:
        return Outcome(case.id, group, case.tee, "unsupported", why=judged.why)
    expected, claims = case.expected, judged.answer.claims
    unread = expected.claims is not None and (
        claims is msgspec.UNSET or (claims is None and expected.crypto == "fail")
    )
    differences = list(_differences(expected, judged))
    if expected.claims is not None and not unread:
        differences.extend(_compare("claims", expected.claims, claims))
    status = "disagree" if differences else "agree"
    return Outcome(case.id, group, case.tee, status, tuple(differences), unread, judged.why)


def _differences(expected: Expected, judged: Judged) -> Iterator[Difference]:
    """Compare what is stated with what is answered."""
    answer = judged.answer
    yield from _compare("verdict", expected.verdict, answer.verdict)
    for name in ("crypto", "tcb_status", "advisory_ids"):
        stated: Json = getattr(expected, name)
        found: Json = getattr(answer, name)
        if stated not in (None, msgspec.UNSET) and found is not msgspec.UNSET:
            yield from _compare(name, stated, found)
    if judged.parts is not None:
        for name in _PARTS:
            stated = getattr(expected, name)
            if stated is not None:
                yield from _compare(name, stated, judged.parts.get(name))


def _compare(what: str, expected: Json, actual: Json) -> Iterator[Difference]:
    """Compare recursively; keys that are not stated are not compared."""
    if isinstance(expected, Mapping) and isinstance(actual, Mapping):
        for key, value in expected.items():
            yield from _compare(f"{what}.{key}", value, actual.get(key))
    elif expected != actual or type(expected) is not type(actual):
        yield Difference(what, expected, actual)
