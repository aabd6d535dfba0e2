# SPDX-License-Identifier: Apache-2.0
"""Correctly signed evidence as other systems would ship it, and releases that ask for it."""

from collections.abc import Mapping

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from tests.platforms.dcap import pki as intel
from tests.platforms.nitro import pki as aws

from nacre.appraisal.appraise import appraise
from nacre.appraisal.policy import Policy
from nacre.appraisal.release import Release
from nacre.appraisal.result import Result
from nacre.appraisal.systems import envelope
from nacre.platforms.base import Endorsements
from nacre.reasons import explain
from nacre.trust.anchors import Anchor

NOW = aws.NOW
assert NOW == intel.NOW


def key(name: str) -> bytes:
    """Return the SubjectPublicKeyInfo of the one key of this name, DER."""
    public = intel.key(name).public_key()
    return public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def tdx_world(report_data: bytes) -> intel.World:
    """Make a TDX quote over report data."""
    return intel.World(report={"report_data": report_data})


def release(platform: str, *, layout: str = "", facts: str = "") -> Release:
    """Make the release of the code that the worlds of this platform run."""
    registers = {
        "nitro": "".join(f'pcr{index} = "{value.hex()}"\n' for index, value in list(aws.pcrs().items())[:3]),
        "tdx": 'mrtd = "{}"\nrtmr0 = "any"\nrtmr1 = "{}"\nrtmr2 = "{}"\nrtmr3 = "any"\n'.format(
            "01" * 48, "03" * 48, "04" * 48
        ),
    }
    head = f'id = "app"\nlayout = "{layout}"\n'
    return Release.parse(f"{head}\n{facts}\n[[{platform}]]\n{registers[platform]}")


def ask(
    data: bytes,
    *,
    system: str,
    platform: str,
    anchor: Anchor,
    endorsements: Endorsements | None = None,
    given: Mapping[str, bytes] | None = None,
    releases: tuple[Release, ...] = (),
    at: int = NOW,
    max_age: int | None = None,
) -> Result:
    """Open an envelope and appraise what is in it; insist that everything can be told in words."""
    opened = envelope.unwrap(data, name=system, given=given or {})
    policy = Policy(
        id="test", releases=releases, platforms=(platform,), anchored={platform: (anchor,)}, max_age=max_age
    )
    result = appraise(
        opened.evidence,
        policy=policy,
        endorsements=endorsements or Endorsements(opened.opened.endorsements),
        at=at,
        envelope=opened,
    )
    assert all(explain(check) for check in result.checks)
    return result


def ask_nitro(
    document: bytes,
    *,
    system: str,
    given: Mapping[str, bytes] | None = None,
    layout: str = "",
    facts: str = "",
) -> Result:
    """Ask for a document of the standard chain."""
    return ask(
        document,
        system=system,
        platform="nitro",
        anchor=aws.standard().anchor,
        given=given,
        releases=(release("nitro", layout=layout, facts=facts),),
        max_age=300,
    )


def ask_tdx(
    world: intel.World,
    *,
    system: str,
    data: bytes | None = None,
    given: Mapping[str, bytes] | None = None,
    layout: str = "",
    facts: str = "",
    max_age: int | None = None,
) -> Result:
    """Ask for the quote of a world, bare or in an envelope."""
    return ask(
        world.quote if data is None else data,
        system=system,
        platform="tdx",
        anchor=world.anchor,
        endorsements=world.endorsements,
        given=given,
        releases=(release("tdx", layout=layout, facts=facts),),
        max_age=max_age,
    )


def outcome(result: Result, identifier: str) -> tuple[str, str]:
    """Return status and reason of the one check of this name."""
    found = [check for check in result.checks if check.id == identifier]
    assert len(found) == 1
    return found[0].status.value, found[0].reason
