# SPDX-License-Identifier: Apache-2.0
"""AWS Nitro Enclaves: enclaves that prove themselves by documents that AWS signs."""

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
from nacre.platforms.nitro import endorsements as aws
from nacre.platforms.nitro.evidence import PCRS, NitroEvidence, looks_like, parse_document
from nacre.platforms.nitro.policy import NitroPolicy, judge_enclave
from nacre.platforms.nitro.verify import CODE_PCRS, NitroClaims, verify_document
from nacre.platforms.nitro.views import document_facts, document_views
from nacre.trust.anchors import Anchor
from nacre.trust.signatures import Signatures

__all__ = ["PLATFORM", "NitroPlatform"]

_PCR_SIZE = 48


class NitroPlatform:
    """AWS Nitro Enclaves.

    A release states the registers of the code, PCR0 to PCR2. It may state the others: PCR3 and PCR4 name
    the parent's role and instance, PCR8 the signer of the image, 16 to 31 are the application's own.
    """

    name: ClassVar[str] = "nitro"
    title: ClassVar[str] = "AWS Nitro Enclaves"
    roles: ClassVar[tuple[str, ...]] = aws.ROLES
    registers: ClassVar[tuple[Register, ...]] = tuple(
        Register(f"pcr{index}", _PCR_SIZE, "value" if index in CODE_PCRS else "optional")
        for index in range(PCRS)
    )
    required: ClassVar[tuple[str, ...]] = (
        "nitro.document",
        "nitro.chain",
        "nitro.signature",
        "currency",
        "revocation",
        "nitro.syntax",
        "debug",
    )
    physical: ClassVar[tuple[str, ...]] = ("nitro.parent",)
    not_proven: ClassVar[str] = (
        "that AWS keeps its word: it builds the machine, holds it and signs for it, and nobody else vouches "
        "for anything in the document"
    )
    policy: ClassVar[type[PlatformPolicy]] = NitroPolicy

    def detect(self, data: bytes) -> bool:
        """Tell whether this looks like an attestation document of AWS."""
        return looks_like(data)

    def parse(self, data: bytes) -> NitroEvidence:
        """Decode an attestation document.

        Raises:
            MalformedEvidence: It is not one, or its certificates cannot be told.
            UnsupportedEvidence: It is NitroTPM's.
        """
        return parse_document(data)

    def anchors(self) -> tuple[Anchor, ...]:
        """Return AWS's root."""
        return aws.anchors()

    def sources(self, evidence: Evidence) -> Sequence[Source]:
        """Say which endorsements a document needs: none, its chain is in it."""
        _document(evidence)
        return ()

    def verify(
        self,
        evidence: Evidence,
        endorsements: Endorsements,  # noqa: ARG002 (AWS publishes none)
        *,
        anchors: Sequence[Anchor],
        at: int,
        signatures: Signatures,
    ) -> NitroClaims:
        """Verify an attestation document.

        Raises:
            VerificationError: With the check that failed and those that held before it.
        """
        return verify_document(_document(evidence), anchors=anchors, at=at, signatures=signatures)

    def judge(self, claims: Claims, policy: PlatformPolicy, *, at: int) -> Iterator[Check]:  # noqa: ARG002
        """Hold an enclave against the policy."""
        if not isinstance(claims, NitroClaims) or not isinstance(policy, NitroPolicy):
            raise TypeError("claims and policy of Nitro were expected")
        return judge_enclave(claims, policy)

    def views(self, evidence: Evidence) -> Iterator[FieldView]:
        """List every field of a document."""
        return document_views(_document(evidence))

    def facts(
        self,
        evidence: Evidence,
        endorsements: Endorsements = NO_ENDORSEMENTS,  # noqa: ARG002 (the document says it all)
    ) -> Mapping[str, object]:
        """Return the values of a document under the names of the shared test vectors."""
        return document_facts(_document(evidence))

    def salvage(self, data: bytes) -> None:
        """Read nothing of what ``parse`` refuses: CBOR that is not well-formed has no fields to show."""
        del data


def _document(evidence: Evidence) -> NitroEvidence:
    if not isinstance(evidence, NitroEvidence):
        raise TypeError("an attestation document of Nitro was expected")
    return evidence


PLATFORM = NitroPlatform()
