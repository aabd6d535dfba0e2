# SPDX-License-Identifier: Apache-2.0
"""``nacre verify URL`` of an enclave that runs: it is asked for evidence of this moment."""

import os
from collections.abc import Iterable
from typing import TYPE_CHECKING

import msgspec

from nacre.appraisal.appraise import refuse
from nacre.appraisal.policy import Policy
from nacre.appraisal.release import Release
from nacre.appraisal.result import Result
from nacre.checks import Check, skipped
from nacre.cli import inputs
from nacre.enclave import envelope
from nacre.endorsers.fetch import HttpFetcher, fetch_evidence
from nacre.endorsers.http import Limits
from nacre.endorsers.verifier import Verifier, system_clock
from nacre.errors import ConfigurationError, MalformedEvidence
from nacre.platforms.base import Claims, Endorsements
from nacre.trust.anchors import Origin

if TYPE_CHECKING:
    from nacre.cli.verifying import Request

__all__ = ["Live", "appraise", "base_of"]

_NONCE = 32
#: What makes no sense beside evidence that is asked for here.
_OTHERS = ("identity", "system", "part")


class Live:
    """Holds the agent's log against its register, and says that anybody could have passed the answer on."""

    required: tuple[str, ...] = ("channel",)

    def __init__(self, url: str, found: envelope.Envelope) -> None:
        """Name the enclave, and bring what it answered."""
        self._url = url
        self._found = found

    def checks(self, claims: Claims, release: Release | None, *, at: int) -> Iterable[Check]:
        """Make both checks."""
        del release, at
        # Which register it is depends on the platform that was verified, not on the one that was claimed.
        found = msgspec.structs.replace(self._found, platform=claims.platform)
        return (found.replay(claims.registers), skipped("channel", "channel-not-attested", url=self._url))


def base_of(url: str) -> str | None:
    """Return where an enclave is, if a URL names one: without a path, or with that of its evidence."""
    scheme, separator, rest = url.partition("://")
    host, slash, path = rest.partition("/")
    if slash + path in ("", "/", envelope.PATH) and not set("?#") & set(host):
        return f"{scheme}{separator}{host}"
    return None


def appraise(
    request: "Request", base: str, *, policy: Policy, endorsements: Endorsements | None, at: int | None
) -> Result:
    """Ask an enclave for evidence of a fresh nonce, or of the request's, and appraise it.

    Raises:
        ConfigurationError: ``options-contradict``, ``nonce-invalid``, or the URL cannot be used.
        EndorsementsUnavailable: It does not answer.
    """
    for name in _OTHERS:
        if getattr(request, name):
            flag = {"system": "--as"}.get(name, f"--{name}")
            raise ConfigurationError("options-contradict", one=flag, other=base)
    nonce = os.urandom(_NONCE) if request.nonce is None else inputs.nonce(request.nonce)
    fetcher = HttpFetcher(limits=Limits(size=envelope.MAX_SIZE))
    answer = fetch_evidence(f"{base}{envelope.PATH}?nonce={nonce.hex()}", fetcher=fetcher)
    try:
        found = envelope.decode(answer)
    except MalformedEvidence as error:
        return refuse(answer, error, policy=policy, at=system_clock() if at is None else at)
    verifier = Verifier(
        policy, endorsements=endorsements, offline=request.offline, sources=(Live(base, found),)
    )
    brought = None
    if endorsements is None and found.endorsements and (request.offline or _simulated(policy, found)):
        brought = Endorsements(found.endorsements)
    binding = found.binding(nonce=nonce)
    return verifier.appraise(found.evidence, binding=binding, endorsements=brought, at=at)


def _simulated(policy: Policy, found: envelope.Envelope) -> bool:
    """Tell whether the policy trusts a development root there: no vendor publishes what that one signs."""
    named = policy.roots.get(found.platform)
    return named is not None and any(anchor.origin is Origin.SIMULATED for anchor in named.own)
