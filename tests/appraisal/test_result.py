# SPDX-License-Identifier: Apache-2.0
"""Results cannot be taken for a truth value, and tell all that was found."""

from collections.abc import Callable

import msgspec
import pytest

from nacre.appraisal.result import NOT_PROVEN, UNPROTECTED, Foreign, Physical, Result
from nacre.appraisal.verdict import Verdict
from nacre.checks import Check, Status, failed, passed, skipped
from nacre.trust.anchors import Origin

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


def test_what_was_asked_of_the_machine(make_result: MakeResult) -> None:
    levers = tuple(f"acme.{number}" for number in range(1, 6))
    made = (
        passed("acme.1"),
        failed("acme.2", "lever-refused", line="x", actual="a", expected=("b",)),
        Check("acme.3", Status.NOT_APPLICABLE),
        skipped("acme.4", "not-reached"),
    )
    physical = msgspec.structs.replace(make_result(*made), levers=levers, limit="who feeds it").physical
    assert physical == Physical(levers[:2], levers[2:], "who feeds it")


def test_what_is_not_proven_depends_on_who_spoke(make_result: MakeResult) -> None:
    assert make_result().not_proven == (NOT_PROVEN,)
    private = make_result(origin=Origin.PRIVATE).not_proven
    simulated = make_result(origin=Origin.SIMULATED).not_proven
    refused = make_result(verified=False).not_proven
    assert {said[1:] for said in (private, simulated, refused)} == {(NOT_PROVEN,)}
    assert [said[0].partition(":")[0] for said in (private, simulated, refused)] == [
        "that a vendor's hardware spoke",
        "that any hardware spoke",
        "anything that the evidence says",
    ]
    foreign = Foreign(system="gramine", layout="gramine", unprotected=("relay", "replay"))
    left_open = msgspec.structs.replace(make_result(), foreign=foreign, limit="who feeds it").not_proven
    assert left_open == ("who feeds it", UNPROTECTED["relay"], UNPROTECTED["replay"])


def test_every_check_explains_itself(make_result: MakeResult) -> None:
    result = make_result(skipped("binding", "binding-not-given"))
    said = result.explain()
    assert set(said) == {check.id for check in result.checks}
    assert "bound" in said["binding"]
    assert "worm-1" in said["executables"]
