# SPDX-License-Identifier: Apache-2.0
"""The two calls for those who need no more."""

from typing import TYPE_CHECKING

import pytest

from nacre.appraisal.policy import Policy
from nacre.appraisal.verdict import Verdict
from nacre.endorsers import api
from nacre.errors import AppraisalError

if TYPE_CHECKING:
    from tests.endorsers.conftest import Case

LENIENT = """
id = "lenient"
accept = "WARNING"
platforms = ["tdx"]
unsafe_waive = ["freshness", "binding", "executables"]
"""


def test_verify_and_appraise(uptodate: "Case", policy: Policy) -> None:
    lenient = Policy.parse(LENIENT)
    result = api.verify(uptodate.evidence, policy=lenient, endorsements=uptodate.endorsements, at=uptodate.at)
    assert result.verdict is Verdict.WARNING
    with pytest.raises(AppraisalError):
        api.verify(uptodate.evidence, policy=policy, endorsements=uptodate.endorsements, at=uptodate.at)
    result = api.appraise(
        uptodate.evidence, policy=policy, endorsements=uptodate.endorsements, at=uptodate.at
    )
    assert result.verdict is Verdict.INCOMPLETE


def test_a_policy_keeps_its_verifier(policy: Policy) -> None:
    one = api._verifier(policy, offline=False)
    assert api._verifier(policy, offline=False) is one
    assert api._verifier(policy, offline=True) is not one


def test_only_policies_used_last_do() -> None:
    for _ in range(40):
        api._verifier(Policy.default(), offline=True)
    assert len(api._verifiers) <= 16


def test_what_the_room_offers() -> None:
    from nacre import endorsers

    for name in endorsers.__all__:
        assert getattr(endorsers, name) is not None
    with pytest.raises(AttributeError):
        endorsers.nothing  # noqa: B018
