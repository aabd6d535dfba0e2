# SPDX-License-Identifier: Apache-2.0
"""Verify and judge what a World says."""

from collections.abc import Sequence

import pytest
from tests.platforms.snp.pki import NOW, World

from nacre.appraisal.appraise import appraise
from nacre.appraisal.bindings import Binding
from nacre.appraisal.policy import Policy
from nacre.appraisal.release import Release
from nacre.appraisal.result import Result
from nacre.checks import Check, Status
from nacre.errors import VerificationError
from nacre.platforms.base import Endorsements
from nacre.platforms.snp import PLATFORM
from nacre.platforms.snp.claims import SnpClaims
from nacre.platforms.snp.policy import SnpPolicy
from nacre.reasons import explain
from nacre.trust.anchors import Anchor
from nacre.trust.memo import Memo
from nacre.trust.signatures import Signatures

#: The checks of a verification, in their order.
ORDER = ("snp.report", "snp.chain", "snp.signature", "revocation", "snp.endorsed-tcb", "snp.chip", "currency")


def verify(
    world: World,
    *,
    evidence: bytes | None = None,
    endorsements: Endorsements | None = None,
    anchors: Sequence[Anchor] | None = None,
    at: int = NOW,
    memo: Memo | None = None,
) -> SnpClaims:
    return PLATFORM.verify(
        PLATFORM.parse(world.evidence() if evidence is None else evidence),
        world.endorsements if endorsements is None else endorsements,
        anchors=(world.anchor,) if anchors is None else anchors,
        at=at,
        signatures=Signatures(memo),
    )


def refused(
    world: World,
    check: str,
    *,
    evidence: bytes | None = None,
    endorsements: Endorsements | None = None,
    anchors: Sequence[Anchor] | None = None,
    memo: Memo | None = None,
) -> str:
    """Insist that a check fails, that the ones before it held, and that there are words for it."""
    with pytest.raises(VerificationError) as caught:
        verify(world, evidence=evidence, endorsements=endorsements, anchors=anchors, memo=memo)
    error = caught.value
    assert error.check == check
    assert str(error) != error.code
    assert "{" not in str(error)
    assert "{" not in error.hint
    assert tuple(made.id for made in error.trail) == ORDER[: ORDER.index(check)]
    return error.code


def judged(world: World, policy: SnpPolicy | None = None) -> dict[str, Check]:
    """Verify, judge, and return the checks of the judgement by their names."""
    checks = list(PLATFORM.judge(verify(world), policy or SnpPolicy(), at=NOW))
    assert len({check.id for check in checks}) == len(checks)
    for check in checks:
        assert "{" not in explain(check)
    return {check.id: check for check in checks}


def outcome(world: World, check: str, policy: SnpPolicy | None = None) -> tuple[Status, str]:
    """Return status and reason of one check of the judgement."""
    found = judged(world, policy)[check]
    return found.status, found.reason


BINDING = Binding.nonce(bytes(range(32)))
_RELEASE = f"""
id = "release"
[[snp]]
measurement = "{(b"M" * 48).hex()}"
host_data = "any"
"""
_RELEASES = (Release.parse(_RELEASE),)


def appraised(
    world: World,
    *,
    evidence: bytes | None = None,
    endorsements: Endorsements | None = None,
    anchors: Sequence[Anchor] | None = None,
    binding: Binding | None = BINDING,
    releases: tuple[Release, ...] = _RELEASES,
    section: SnpPolicy | None = None,
    waive: tuple[str, ...] = (),
    at: int = NOW,
    memo: Memo | None = None,
) -> Result:
    """Appraise a world, with the strictest policy unless a test gives something up; all has to have words."""
    result = appraise(
        world.evidence() if evidence is None else evidence,
        policy=Policy(
            id="test",
            unsafe_waive=waive,
            releases=releases,
            platforms=("snp",),
            sections={"snp": section or SnpPolicy()},
            anchored={"snp": (world.anchor,) if anchors is None else tuple(anchors)},
        ),
        endorsements=world.endorsements if endorsements is None else endorsements,
        at=at,
        binding=binding,
        signatures=Signatures(memo),
    )
    for check in result.checks:
        assert "{" not in explain(check)
    return result
