# SPDX-License-Identifier: Apache-2.0
"""The part of the platform interface that SGX and TDX answer alike."""

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import ClassVar

from nacre.checks import Check
from nacre.errors import EndorsementsUnavailable, MalformedEvidence
from nacre.platforms.base import (
    NO_ENDORSEMENTS,
    Claims,
    Endorsements,
    Evidence,
    FieldView,
    PlatformPolicy,
    Source,
)
from nacre.platforms.dcap import endorsements as intel
from nacre.platforms.dcap.claims import DcapClaims
from nacre.platforms.dcap.evidence import CertType, Quote
from nacre.platforms.dcap.levers import PHYSICAL
from nacre.platforms.dcap.pck import parse_extension
from nacre.platforms.dcap.salvage import SalvagedQuote, salvage_quote
from nacre.platforms.dcap.views import quote_facts, quote_views
from nacre.trust.anchors import Anchor, vendor_anchor
from nacre.trust.signatures import Signatures

__all__ = ["REQUIRED", "DcapPlatform", "quote_of"]

#: The checks of every quote, in the order in which they are made.
REQUIRED = (
    "dcap.pck-chain",
    "dcap.qe-report",
    "dcap.quote-signature",
    "revocation",
    "dcap.tcb-info",
    "dcap.qe-identity",
    "currency",
    "dcap.tcb-status",
    "dcap.advisories",
    "dcap.tcb-number",
    "debug",
)


def quote_of(evidence: Evidence) -> Quote:
    """Return evidence as the quote that it is.

    Raises:
        TypeError: It is another platform's.
    """
    # By its exact type: what was salvaged of a malformed quote is a Quote too, and never verified.
    if type(evidence) is not Quote:
        raise TypeError("a DCAP quote was expected")
    return evidence


class DcapPlatform:
    """What is the same for SGX and TDX."""

    roles = intel.ROLES
    physical = PHYSICAL
    not_proven = (
        "where the machine stands and who holds it: whoever puts an interposer between processor and memory "
        "(WireTap, Battering RAM, TEE.fail) can read keys and sign quotes that look like this one"
    )
    name: ClassVar[str]
    policy: ClassVar[type[PlatformPolicy]]
    _tee: intel.Tee
    #: ``verify`` and ``judge`` of this TEE, for quotes, claims and policies that are its own.
    _verify: ClassVar[Callable[..., DcapClaims]]
    _judge: ClassVar[Callable[..., list[Check]]]

    def anchors(self) -> tuple[Anchor, ...]:
        """Return Intel's root."""
        return (vendor_anchor("intel-sgx-root-ca"),)

    def sources(self, evidence: Evidence) -> Sequence[Source]:
        """Say which collateral a quote needs.

        Raises:
            EndorsementsUnavailable: ``pck-not-in-quote``: the processor can not be told from the quote.
            MalformedEvidence: The PCK chain in the quote can not be read.
        """
        quote = quote_of(evidence)
        if quote.cert_type != CertType.PCK_CHAIN:
            raise EndorsementsUnavailable("pck-not-in-quote", actual=quote.cert_type)
        return _sources(self._tee, quote.cert_data)

    def verify(
        self,
        evidence: Evidence,
        endorsements: Endorsements,
        *,
        anchors: Sequence[Anchor],
        at: int,
        signatures: Signatures,
    ) -> DcapClaims:
        """Verify a quote.

        Raises:
            VerificationError: With the check that failed and those that held before it.
        """
        quote = quote_of(evidence)
        return self._verify(quote, endorsements, anchors=anchors, at=at, signatures=signatures)

    def judge(self, claims: Claims, policy: PlatformPolicy, *, at: int) -> list[Check]:
        """Hold a TEE against its part of the policy."""
        if not isinstance(claims, DcapClaims) or not isinstance(policy, self.policy):
            raise TypeError("claims and policy of this platform were expected")
        return self._judge(claims, policy, at=at)

    def views(self, evidence: Evidence) -> Iterator[FieldView]:
        """List every field of a quote."""
        return quote_views(evidence if isinstance(evidence, SalvagedQuote) else quote_of(evidence))

    def salvage(self, data: bytes) -> SalvagedQuote | None:
        """Read what can be read of a quote that ``parse`` refuses, for inspection."""
        return salvage_quote(data)

    def facts(
        self,
        evidence: Evidence,
        endorsements: Endorsements = NO_ENDORSEMENTS,  # noqa: ARG002 (the quote says it all)
    ) -> Mapping[str, object]:
        """Return the values of a quote under the names of the shared test vectors."""
        return quote_facts(evidence if isinstance(evidence, SalvagedQuote) else quote_of(evidence))


@functools.lru_cache(maxsize=64)
def _sources(tee: intel.Tee, chain_pem: bytes) -> tuple[Source, ...]:
    chain = intel.read_chain(chain_pem)
    if len(chain) < 2:  # noqa: PLR2004
        raise MalformedEvidence("chain-length", expected="PCK and its CA", actual=len(chain))
    return intel.sources(tee, parse_extension(chain[0]), chain[1].common_name)
