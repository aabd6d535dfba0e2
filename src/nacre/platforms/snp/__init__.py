# SPDX-License-Identifier: Apache-2.0
"""AMD SEV-SNP: virtual machines that prove themselves by reports of AMD's security processor."""

from collections.abc import Iterator, Mapping, Sequence
from typing import ClassVar

from nacre.checks import Check
from nacre.platforms.base import (
    NO_ENDORSEMENTS,
    Claims,
    Endorsements,
    Evidence,
    FieldView,
    PlatformPolicy,
    Register,
    Source,
)
from nacre.platforms.snp import endorsements as amd
from nacre.platforms.snp.claims import SnpClaims
from nacre.platforms.snp.evidence import SalvagedSnp, SnpEvidence, is_evidence, parse, salvage
from nacre.platforms.snp.judge import PHYSICAL, judge_guest
from nacre.platforms.snp.policy import SnpPolicy
from nacre.platforms.snp.verify import verify_report
from nacre.trust.anchors import Anchor
from nacre.trust.signatures import Signatures

__all__ = ["PLATFORM", "SnpPlatform"]

_HASH = 48


class SnpPlatform:
    """AMD SEV-SNP.

    A release states the measurement of the launch and what the host may put into HOST_DATA (``"any"`` where
    the guest does not look at it). It may state what the ID block says of the guest.
    """

    name: ClassVar[str] = "snp"
    title: ClassVar[str] = "AMD SEV-SNP"
    roles: ClassVar[tuple[str, ...]] = amd.ROLES
    registers: ClassVar[tuple[Register, ...]] = (
        Register("measurement", _HASH, "value"),
        Register("host_data", 32, "stated"),
        Register("family_id", 16, "optional"),
        Register("image_id", 16, "optional"),
        Register("guest_svn", 4, "optional", kind="minimum"),
        Register("id_key_digest", _HASH, "optional"),
        Register("author_key_digest", _HASH, "optional"),
    )
    required: ClassVar[tuple[str, ...]] = (
        "snp.report",
        "snp.chain",
        "snp.signature",
        "revocation",
        "snp.endorsed-tcb",
        "snp.chip",
        "currency",
        "snp.tcb",
        "snp.launch-tcb",
        "snp.firmware",
        "debug",
        "snp.migration",
        "snp.guest-policy",
        "snp.vmpl",
        "snp.alias-check",
    )
    physical: ClassVar[tuple[str, ...]] = PHYSICAL
    not_proven: ClassVar[str] = (
        "where the machine stands and who holds it: whoever puts an interposer between processor and memory "
        "(Battering RAM, TEE.fail), or gets the root keys out of a chip (BadFuse, on Milan), can read memory "
        "and sign reports that look like this one"
    )
    policy: ClassVar[type[PlatformPolicy]] = SnpPolicy

    def detect(self, data: bytes) -> bool:
        """Tell whether this looks like a report of SEV-SNP, alone or wrapped."""
        return is_evidence(data)

    def parse(self, data: bytes) -> SnpEvidence:
        """Decode a report: alone, with the host's certificate table, or in Azure's wrapper.

        Raises:
            MalformedEvidence: It is not well-formed.
            UnsupportedEvidence: It is of a version, algorithm or product line that is not verified here.
        """
        return parse(data)

    def anchors(self) -> tuple[Anchor, ...]:
        """Return AMD's roots, one for each product line."""
        return amd.anchors()

    def sources(self, evidence: Evidence) -> Sequence[Source]:
        """Say which certificates and lists a report needs.

        Raises:
            EndorsementsUnavailable: The key can not be told, or nobody serves it.
        """
        return amd.sources(_report(evidence))

    def verify(
        self,
        evidence: Evidence,
        endorsements: Endorsements,
        *,
        anchors: Sequence[Anchor],
        at: int,
        signatures: Signatures,
    ) -> SnpClaims:
        """Verify a report.

        Raises:
            VerificationError: With the check that failed and those that held before it.
        """
        return verify_report(_report(evidence), endorsements, anchors=anchors, at=at, signatures=signatures)

    def judge(self, claims: Claims, policy: PlatformPolicy, *, at: int) -> Iterator[Check]:  # noqa: ARG002
        """Hold guest and machine against the policy."""
        if not isinstance(claims, SnpClaims) or not isinstance(policy, SnpPolicy):
            raise TypeError("claims and policy of SEV-SNP were expected")
        return judge_guest(claims, policy)

    def views(self, evidence: Evidence) -> Iterator[FieldView]:
        """List every field of a report and of what is around it."""
        from nacre.platforms.snp.views import report_views  # noqa: PLC0415 (verification shows nothing)

        return report_views(evidence if isinstance(evidence, SalvagedSnp) else _report(evidence))

    def facts(self, evidence: Evidence, endorsements: Endorsements = NO_ENDORSEMENTS) -> Mapping[str, object]:
        """Return the values of a report under the names of the shared test vectors."""
        from nacre.platforms.snp.views import report_facts  # noqa: PLC0415 (verification shows nothing)

        found = evidence if isinstance(evidence, SalvagedSnp) else _report(evidence)
        return report_facts(found, endorsements)

    def salvage(self, data: bytes) -> SalvagedSnp | None:
        """Read what can be read of a report that ``parse`` refuses, for inspection."""
        return salvage(data)


def _report(evidence: Evidence) -> SnpEvidence:
    # By its exact type: what was salvaged of a malformed report is never verified.
    if type(evidence) is not SnpEvidence:
        raise TypeError("evidence of SEV-SNP was expected")
    return evidence


PLATFORM = SnpPlatform()
