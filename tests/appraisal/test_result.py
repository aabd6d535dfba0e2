# SPDX-License-Identifier: Apache-2.0
"""Results cannot be taken for a truth value, and tell all that was found."""

from collections.abc import Callable

import pytest

from nacre.appraisal.result import Result
from nacre.appraisal.verdict import Verdict
from nacre.checks import Check, Status, failed, skipped

MakeResult = Callable[..., Result]


def test_a_result_is_no_truth_value(make_result: MakeResult) -> None:
    result = make_result()
    with pytest.raises(TypeError, match="verdict"):
        bool(result)
    with pytest.raises(TypeError):
        assert result
    with pytest.raises(TypeError):
        assert not result


def test_a_result_cannot_be_changed(make_result: MakeResult) -> None:
    with pytest.raises(AttributeError):
        make_result().verdict = Verdict.VERIFIED  # type: ignore[misc]


def test_a_check_is_found_by_its_identifier(make_result: MakeResult) -> None:
    result = make_result(skipped("binding", "binding-not-given"))
    found = result.check("binding")
    assert found is not None
    assert found.status is Status.SKIPPED
    assert result.check("no-such-check") is None


def test_problems_are_all_that_is_not_clean(make_result: MakeResult) -> None:
    bad = (
        failed("executables", "executables-mismatch", release="r", registers=("code",)),
        skipped("binding", "binding-not-given"),
        Check("freshness", Status.WAIVED, "waived", {"was": "nothing shows when it was made"}),
        Check("debug", Status.NOT_APPLICABLE),
    )
    result = make_result(*bad)
    assert result.problems() == bad[:3]
    assert make_result().problems() == ()


def test_every_check_explains_itself(make_result: MakeResult) -> None:
    result = make_result(skipped("binding", "binding-not-given"))
    said = result.explain()
    assert set(said) == {check.id for check in result.checks}
    assert "bound" in said["binding"]
    assert "worm-1" in said["executables"]
