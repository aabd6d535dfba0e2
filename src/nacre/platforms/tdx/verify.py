# SPDX-License-Identifier: Apache-2.0
"""From a verified quote to the claims of a TD."""

from collections.abc import Sequence

from nacre.platforms.base import Committed, Endorsements
from nacre.platforms.dcap.claims import DcapClaims
from nacre.platforms.dcap.endorsements import Tee
from nacre.platforms.dcap.evidence import Quote
from nacre.platforms.dcap.layout import TdReport
from nacre.platforms.dcap.verify import make_claims, verify_quote
from nacre.trust.anchors import Anchor
from nacre.trust.signatures import Signatures

__all__ = ["TDX", "verify_td"]

TDX = Tee("tdx", "TDX", "TD_QE")
_DEBUG = 1  # TDATTRIBUTES.DEBUG


def verify_td(
    quote: Quote, endorsements: Endorsements, *, anchors: Sequence[Anchor], at: int, signatures: Signatures
) -> DcapClaims:
    """Verify a quote of a TD: the numbered steps of ``dcap.verify.verify_quote``.

    Raises:
        VerificationError: With the check that failed and those that held before it.
    """
    verified = verify_quote(quote, endorsements, TDX, anchors=anchors, at=at, signatures=signatures)
    report = quote.report
    assert isinstance(report, TdReport)  # noqa: S101 (the parser chose the record by the TEE)
    return make_claims(
        quote,
        verified,
        registers={
            "mrtd": report.mr_td,
            "rtmr0": report.rtmr0,
            "rtmr1": report.rtmr1,
            "rtmr2": report.rtmr2,
            "rtmr3": report.rtmr3,
            "mrconfigid": report.mr_config_id,
            "mrowner": report.mr_owner,
            "mrownerconfig": report.mr_owner_config,
            "mrseam": report.mr_seam,
        },
        committed=Committed(report.report_data),
        debug=bool(report.td_attributes[0] & _DEBUG),
    )
