# SPDX-License-Identifier: Apache-2.0
"""Appraising worlds and real evidence, with the strictest policy unless a test gives something up."""

import functools
from collections.abc import Mapping, Sequence
from string import Formatter

from tests.platforms.dcap.pki import NONCE, NOW, World

from nacre import platforms
from nacre.appraisal.appraise import appraise
from nacre.appraisal.bindings import Binding
from nacre.appraisal.policy import Policy
from nacre.appraisal.release import Release
from nacre.appraisal.result import Result
from nacre.appraisal.verdict import Verdict
from nacre.checks import Check
from nacre.errors import NacreError
from nacre.platforms.base import Endorsements
from nacre.platforms.dcap.claims import DcapClaims
from nacre.reasons import explain, reason
from nacre.trust.anchors import Anchor
from nacre.trust.memo import Memo
from nacre.trust.signatures import Signatures

BINDING = Binding.nonce(NONCE)
ACCEPTED = (Verdict.VERIFIED, Verdict.WARNING)

_RELEASE = f"""
id = "release"
[[sgx]]
mrenclave = "{"01" * 32}"
[[tdx]]
mrtd = "{"01" * 48}"
rtmr0 = "any"
rtmr1 = "{"03" * 48}"
rtmr2 = "{"04" * 48}"
rtmr3 = "any"
"""


@functools.cache
def release() -> Release:
    return Release.parse(_RELEASE)


def policy(
    tee: str,
    *anchors: Anchor,
    section: Mapping[str, object] | None = None,
    waive: tuple[str, ...] = (),
    releases: tuple[Release, ...] | None = None,
    accepted: tuple[str, ...] = ("sgx", "tdx"),
) -> Policy:
    """Make a policy that trusts these anchors alone."""
    return Policy(
        id="test",
        unsafe_waive=waive,
        releases=(release(),) if releases is None else releases,
        platforms=accepted,
        sections={tee: platforms.get(tee).policy(**(section or {}))},
        anchored={tee: anchors},
    )


def judge(
    world: World,
    *,
    quote: bytes | None = None,
    endorsements: Endorsements | None = None,
    anchors: Sequence[Anchor] | None = None,
    at: int = NOW,
    binding: Binding | None = BINDING,
    memo: Memo | None = None,
    **options: object,
) -> Result:
    """Appraise a world and insist that everything about the result can be told in words."""
    result = appraise(
        world.quote if quote is None else quote,
        policy=policy(world.tee, *((world.anchor,) if anchors is None else anchors), **options),  # type: ignore[arg-type]
        endorsements=world.endorsements if endorsements is None else endorsements,
        at=at,
        binding=binding,
        signatures=Signatures(memo),
    )
    assert_told(result)
    return result


def _lacking(code: str, context: Mapping[str, object]) -> set[str]:
    """Return the values that the words of a reason want and nobody gave."""
    words = reason(code).text + reason(code).hint
    return {name for _, name, _, _ in Formatter().parse(words) if name} - set(context)


def assert_told(result: Result) -> None:
    """Every check and error says what it means, with all its values."""
    for check in result.checks:
        assert explain(check)
        assert not check.reason or _lacking(check.reason, check.context) == set(), check
    if result.error:
        assert_spoken(result.error)


def found(result: Result, check: str) -> Check:
    """Return the one check of this name."""
    checks = [made for made in result.checks if made.id == check]
    assert len(checks) == 1, [made.id for made in result.checks]
    return checks[0]


def refusal(world: World, **options: object) -> str:
    """Return check and reason of the one failure of a world that has to be rejected."""
    result = judge(world, **options)  # type: ignore[arg-type]
    assert result.verdict is Verdict.REJECTED
    failures = [check for check in result.checks if check.status == "fail"]
    assert len(failures) == 1, failures
    return f"{failures[0].id}: {failures[0].reason}"


def claims_of(world: World) -> DcapClaims:
    """Return what a world proves, good or bad."""
    claims = judge(world).claims
    assert isinstance(claims, DcapClaims)
    return claims


def status_of(world: World) -> str:
    """Return the TCB status that a world comes to."""
    tcb = claims_of(world).tcb
    assert tcb is not None
    return tcb.status


def assert_spoken(error: NacreError) -> None:
    """An error says what it means, with all its values."""
    assert str(error)
    assert _lacking(error.code, error.context) == set(), error.code
