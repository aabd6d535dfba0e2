# SPDX-License-Identifier: Apache-2.0
"""From a verified quote to the claims of an SGX enclave."""

from collections.abc import Sequence

from nacre.platforms.base import Committed, Endorsements
from nacre.platforms.dcap.claims import DcapClaims
from nacre.platforms.dcap.endorsements import Tee
from nacre.platforms.dcap.evidence import Quote
from nacre.platforms.dcap.layout import SgxReport
from nacre.platforms.dcap.verify import make_claims, verify_quote
from nacre.trust.anchors import Anchor
from nacre.trust.signatures import Signatures

__all__ = ["SGX", "verify_enclave"]

SGX = Tee("sgx", "SGX", "QE")
_DEBUG = 2  # ATTRIBUTES.DEBUG


def verify_enclave(
    quote: Quote, endorsements: Endorsements, *, anchors: Sequence[Anchor], at: int, signatures: Signatures
) -> DcapClaims:
    """Verify a quote of an enclave: the numbered steps of ``dcap.verify.verify_quote``.

    Raises:
        VerificationError: With the check that failed and those that held before it.
    """
    verified = verify_quote(quote, endorsements, SGX, anchors=anchors, at=at, signatures=signatures)
    report = quote.report
    assert isinstance(report, SgxReport)  # noqa: S101 (the parser chose the record by the TEE)
    return make_claims(
        quote,
        verified,
        registers={
            "mrenclave": report.mr_enclave,
            "mrsigner": report.mr_signer,
            "isvprodid": report.isv_prod_id.to_bytes(2, "little"),
            "isvsvn": report.isv_svn.to_bytes(2, "little"),
            "configid": report.config_id,
            "configsvn": report.config_svn.to_bytes(2, "little"),
            "isvextprodid": report.isv_ext_prod_id,
            "isvfamilyid": report.isv_family_id,
        },
        committed=Committed(report.report_data),
        debug=bool(report.attributes[0] & _DEBUG),
    )
