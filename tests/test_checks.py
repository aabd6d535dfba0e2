# SPDX-License-Identifier: Apache-2.0
"""Checks carry what happened, and nothing that has to be looked up."""

import pytest

from nacre.checks import Check, Status, failed, passed, skipped


@pytest.mark.parametrize(
    ("check", "status", "reason"),
    [
        (passed("debug"), Status.PASS, ""),
        (passed("freshness", "fresh-nonce"), Status.PASS, "fresh-nonce"),
        (failed("debug", "signature-invalid"), Status.FAIL, "signature-invalid"),
        (skipped("binding", "binding-not-given"), Status.SKIPPED, "binding-not-given"),
    ],
)
def test_shorthands(check: Check, status: Status, reason: str) -> None:
    assert (check.status, check.reason) == (status, reason)


def test_what_was_seen_and_wanted() -> None:
    check = failed("executables", "signature-size", expected=96, actual=95)
    assert (check.expected, check.actual) == (96, 95)
    assert (passed("debug").expected, passed("debug").actual) == (None, None)


def test_checks_do_not_change() -> None:
    with pytest.raises(AttributeError):
        passed("debug").status = Status.FAIL  # type: ignore[misc]  # what is tested


def test_statuses_are_the_words_of_the_design() -> None:
    assert [str(status) for status in Status] == [
        *("pass", "warn", "fail", "skipped", "waived", "not-applicable", "error"),
    ]
