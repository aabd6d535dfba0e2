# SPDX-License-Identifier: Apache-2.0
"""What evidence of SEV-SNP proves."""

from nacre.platforms.base import Claims
from nacre.platforms.snp.evidence import SnpEvidence
from nacre.platforms.snp.products import Product

__all__ = ["SnpClaims"]


class SnpClaims(Claims, frozen=True, kw_only=True):
    """What a report proved.

    Attributes:
        evidence: The evidence.
        product: The product line of the chip.
        key: ``vcek`` or ``vlek``: what kind of key signed the report.
        chip: The chip that AMD certified the VCEK for; None with a VLEK.
        csp: The provider that AMD certified the VLEK for; None with a VCEK.
        crl_number: The number of the revocation list, if there is one.
    """

    evidence: SnpEvidence
    product: Product
    key: str
    chip: bytes | None
    csp: str | None
    crl_number: int | None
