# SPDX-License-Identifier: Apache-2.0
"""The verdict algebra: nothing that is missing, failed or given up ends in VERIFIED."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nacre.appraisal.verdict import Verdict, conclude
from nacre.checks import Check, Status

_IDS = ("a", "b", "c", "d")
_CHECKS = st.lists(st.builds(Check, st.sampled_from(_IDS), st.sampled_from(Status)), max_size=8)
_REQUIRED = st.lists(st.sampled_from(_IDS), max_size=4)


def _checks(**outcomes: Status) -> list[Check]:
    return [Check(check, status) for check, status in outcomes.items()]


@pytest.mark.parametrize(
    ("status", "verdict"),
    [
        (Status.PASS, Verdict.VERIFIED),
        (Status.NOT_APPLICABLE, Verdict.VERIFIED),
        (Status.WARN, Verdict.WARNING),
        (Status.WAIVED, Verdict.WARNING),
        (Status.SKIPPED, Verdict.INCOMPLETE),
        (Status.FAIL, Verdict.REJECTED),
        (Status.ERROR, Verdict.REJECTED),
    ],
)
def test_a_required_check_decides(status: Status, verdict: Verdict) -> None:
    assert conclude(_checks(a=status, b=Status.PASS), frozenset(("a", "b"))) is verdict


def test_a_check_that_nobody_requires_may_be_skipped_but_not_fail() -> None:
    assert conclude(_checks(a=Status.PASS, b=Status.SKIPPED), frozenset(("a",))) is Verdict.VERIFIED
    assert conclude(_checks(a=Status.PASS, b=Status.WARN), frozenset(("a",))) is Verdict.WARNING
    assert conclude(_checks(a=Status.PASS, b=Status.FAIL), frozenset(("a",))) is Verdict.REJECTED


def test_rejection_beats_what_is_missing() -> None:
    assert conclude(_checks(a=Status.SKIPPED, b=Status.FAIL), frozenset(("a", "b", "c"))) is Verdict.REJECTED


def test_what_is_missing_beats_a_warning() -> None:
    assert conclude(_checks(a=Status.WAIVED, b=Status.SKIPPED), frozenset(("a", "b"))) is Verdict.INCOMPLETE


def test_a_required_check_that_was_never_made_is_missing() -> None:
    assert conclude(_checks(a=Status.PASS), frozenset(("a", "b"))) is Verdict.INCOMPLETE


def test_nothing_asked_is_not_verified() -> None:
    assert conclude([], frozenset()) is Verdict.INCOMPLETE
    assert conclude(_checks(a=Status.SKIPPED), frozenset()) is Verdict.INCOMPLETE


def test_a_second_outcome_never_hides_the_first() -> None:
    skipped, passing = Check("a", Status.SKIPPED), Check("a", Status.PASS)
    assert conclude([skipped, passing], frozenset("a")) is Verdict.INCOMPLETE
    assert conclude([passing, skipped], frozenset("a")) is Verdict.INCOMPLETE


@given(_CHECKS, _REQUIRED)
def test_verified_means_that_every_required_check_holds(checks: list[Check], required: list[str]) -> None:
    verdict = conclude(checks, frozenset(required))
    statuses = {check.status for check in checks}
    made = {check.id for check in checks}
    assert (verdict is Verdict.REJECTED) == bool(statuses & {Status.FAIL, Status.ERROR})
    if verdict in (Verdict.VERIFIED, Verdict.WARNING):
        assert checks
        assert set(required) <= made
        assert not any(check.status is Status.SKIPPED and check.id in required for check in checks)
    if verdict is Verdict.VERIFIED:
        assert not statuses & {Status.WARN, Status.WAIVED}


@given(_CHECKS, _REQUIRED)
def test_taking_a_check_away_never_helps(checks: list[Check], required: list[str]) -> None:
    passing = [check for check in checks if check.status is Status.PASS]
    order = (Verdict.VERIFIED, Verdict.WARNING, Verdict.INCOMPLETE, Verdict.REJECTED)
    before = order.index(conclude(checks, frozenset(required)))
    for check in passing:
        rest = [other for other in checks if other is not check]
        assert order.index(conclude(rest, frozenset(required))) >= before
