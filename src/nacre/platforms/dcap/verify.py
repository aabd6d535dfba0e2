# SPDX-License-Identifier: Apache-2.0
"""Verification of a DCAP quote, shared by SGX and TDX.

The algorithm is that of Intel's Quote Verification Library (``QuoteVerifier``, ``PckCertVerifier``,
``TCBInfoVerifier``, ``EnclaveIdentityVerifier``), with three additions: documents must already have
been issued at the time of judgement, the second half of the quoting enclave's report data must be zero,
and what runs now is judged beside what ran at launch (by the policy of TDX).

Not proven here:
    A genuine SGX platform that is UpToDate and a genuine quote whose PCK certificate is revoked: none is
    public, so the tests make their own under a root of theirs.
"""

import hashlib
from collections.abc import Mapping, Sequence
from hmac import compare_digest

import msgspec

from nacre.checks import Check, failed, passed, skipped
from nacre.errors import VerificationError
from nacre.platforms.base import Committed, Endorsements
from nacre.platforms.dcap.claims import DcapClaims, identity_of
from nacre.platforms.dcap.endorsements import (
    PCK_CA,
    PCK_LEAF,
    Collateral,
    Dated,
    Tee,
    read_below_anchor,
    read_chain,
    validity,
    verify_collateral,
)
from nacre.platforms.dcap.evidence import CertType, Quote
from nacre.platforms.dcap.layout import SGX_REPORT, SgxReport, TdReport
from nacre.platforms.dcap.matching import check_identity, check_info, check_module, svns_of
from nacre.platforms.dcap.pck import PckExtension, parse_extension
from nacre.platforms.dcap.tcb import TcbReport, evaluate
from nacre.platforms.trail import Trail
from nacre.trust.anchors import Anchor
from nacre.trust.keys import P256_SHA256, raw_signature
from nacre.trust.path import check_path
from nacre.trust.signatures import Key, Signatures
from nacre.trust.x509 import Certificate

__all__ = ["Certified", "Verified", "make_claims", "verify_quote"]


class _Pck(msgspec.Struct, frozen=True):
    """A PCK chain whose signatures hold."""

    pem: bytes
    digest: bytes
    leaf: Certificate
    ca: Certificate
    ca_digest: bytes
    key: Key
    extension: PckExtension
    identity: Mapping[str, bytes | str | bool]
    issuer: str
    anchor: Anchor
    dated: tuple[Dated, ...]
    begins: int
    ends: int


class Certified(msgspec.Struct, frozen=True):
    """An attestation key that a quoting enclave vouches for, on a processor that Intel certified.

    ``region`` holds the bytes of the quote and ``outside`` the chain from elsewhere that this was learned
    from, ``telling`` tells PCK chain and quoting enclave's report; that report begins at
    ``qe_start`` of the region, which tells version 3 from the others. A later quote with the same key but
    other bytes, or bytes that are read otherwise, is verified anew: the memo never changes a verdict.
    """

    pck: _Pck
    key: Key
    qe_report: SgxReport
    qe_start: int
    region: bytes
    outside: bytes
    telling: bytes

    def covers(self, quote: Quote, outside: bytes, anchor: Anchor) -> bool:
        """Tell whether this was learned from these very bytes, below a root of the same worth."""
        start = quote.certified_offset
        return (
            quote.end - start == len(self.region)
            and quote.raw.startswith(self.region, start)
            and quote.qe_offset - start == self.qe_start
            and outside == self.outside
            and anchor.origin is self.pck.anchor.origin
        )


class _Assessed(msgspec.Struct, frozen=True):
    """What collateral says of a certified key and a TDX module. Depends on nothing else, time included."""

    tcb: TcbReport | None
    checks: tuple[Check, ...]


class Verified(msgspec.Struct, frozen=True):
    """A quote whose signatures hold, before SGX or TDX make claims of it."""

    certified: Certified
    collateral: Collateral
    tcb: TcbReport | None
    checks: tuple[Check, ...]


#: Bytes of a PEM chain by which it is looked up; they include the serial number of the PCK.
_TELLING = 512
_CERTIFIED = (passed("dcap.pck-chain"), passed("dcap.qe-report"))
_QUOTE_SIGNATURE = passed("dcap.quote-signature")
_CURRENCY = passed("currency")


def verify_quote(
    quote: Quote,
    endorsements: Endorsements,
    tee: Tee,
    *,
    anchors: Sequence[Anchor],
    at: int,
    signatures: Signatures,
) -> Verified:
    """Verify a quote.

    Steps:

    1. PCK chain: leaf, Platform or Processor CA, a root that is an anchor; names, roles, signatures.
    2. QE report: signed by the PCK; its report data commit to the attestation key.
    3. Quote: header and report signed by the attestation key.
    4. Collateral: revocation lists signed by root and PCK CA; TCB Info and quoting enclave identity
       signed by Intel's TCB signer under the same root.
    5. All signatures settle. Nothing that was read counts before.
    6. Revocation: neither PCK, its CA nor the TCB signer is listed.
    7. TCB Info is of this TEE, FMSPC and PCEID.
    8. The quoting enclave is what its identity says.
    9. TDX: the module is one that TCB Info knows, with its signer and attributes.
    10. Currency: every certificate and document is inside its dates. Reported, not raised.
    11. TCB evaluation. Reported as a status; the policy decides on it.

    Raises:
        VerificationError: With the check that failed and those that held before it.
    """
    with Trail(signatures) as trail:
        # (1), (2)
        certified = _certified(quote, endorsements, anchors, signatures, trail)
        pck = certified.pck
        # (3)
        trail.current = "dcap.quote-signature"
        signatures.expect(
            certified.key,
            raw_signature(quote.signature, P256_SHA256),
            quote.signed,
            check="dcap.quote-signature",
            what="the quote",
        )
        trail.checks.append(_QUOTE_SIGNATURE)
        # (4)
        collateral = verify_collateral(
            endorsements,
            issuer=pck.ca,
            issuer_digest=pck.ca_digest,
            anchor=pck.anchor,
            signatures=signatures,
            trail=trail,
        )
        # (5)
        signatures.settle()
        # (6)
        trail.current = "revocation"
        _check_revocation(pck, collateral)
        trail.checks.append(collateral.revocation)
        # (7), (8), (9), (11)
        assessed = _assess(quote, certified, collateral, tee=tee, signatures=signatures, trail=trail)
        # (10)
        currency = _currency(pck, collateral, at)
    return Verified(certified, collateral, assessed.tcb, (*trail.checks, *assessed.checks, currency))


def _certified(
    quote: Quote, endorsements: Endorsements, anchors: Sequence[Anchor], signatures: Signatures, trail: Trail
) -> Certified:
    outside = b"" if quote.cert_type == CertType.PCK_CHAIN else _outside_chain(endorsements, trail)
    for anchor in anchors:
        known = signatures.recall(quote.attestation_key + anchor.digest)
        if isinstance(known, Certified) and known.covers(quote, outside, anchor):
            trail.checks += _CERTIFIED
            return known
    trail.begin("dcap.pck-chain")
    inside = quote.cert_type == CertType.PCK_CHAIN
    pck = _pck(quote.cert_data if inside else outside, anchors, signatures)
    _check_leaf_in_quote(quote, pck)
    trail.checks.append(_CERTIFIED[0])
    trail.begin("dcap.qe-report")
    qe_report_bytes = quote.qe_report
    signatures.expect(
        pck.key,
        raw_signature(quote.qe_signature, P256_SHA256),
        qe_report_bytes,
        check="dcap.qe-report",
        what="the quoting enclave's report",
    )
    qe_report = SgxReport(*SGX_REPORT.packed.unpack(qe_report_bytes))
    commits = hashlib.sha256(quote.attestation_key + quote.qe_auth).digest() + bytes(32)
    if not compare_digest(qe_report.report_data, commits):
        raise VerificationError(
            "qe-report-data", check="dcap.qe-report", expected=commits, actual=qe_report.report_data
        )
    key = P256_SHA256.point(quote.attestation_key)
    start = quote.certified_offset
    region = quote.raw[start : quote.end]
    telling = pck.digest + qe_report_bytes
    certified = Certified(pck, key, qe_report, quote.qe_offset - start, region, outside, telling)
    trail.checks.append(_CERTIFIED[1])
    signatures.learn(quote.attestation_key + pck.anchor.digest, certified)
    return certified


def _outside_chain(endorsements: Endorsements, trail: Trail) -> bytes:
    trail.begin("dcap.pck-chain")
    chain_pem = endorsements.get("pck_chain")
    if chain_pem is None:
        raise VerificationError("endorsement-missing", check="dcap.pck-chain", role="pck_chain")
    return chain_pem


def _check_leaf_in_quote(quote: Quote, pck: _Pck) -> None:
    """With the leaf alone in the quote, the chain from outside has to be that leaf's."""
    if quote.cert_type == CertType.PCK_LEAF and read_chain(quote.cert_data)[0].der != pck.leaf.der:
        raise VerificationError("pck-leaf-differs", check="dcap.pck-chain", actual=pck.leaf.serial)


def _pck(chain_pem: bytes, anchors: Sequence[Anchor], signatures: Signatures) -> _Pck:
    # The beginning, with the serial number, tells chains apart; the comparison decides.
    key = b"pck" + chain_pem[:_TELLING]
    for anchor in anchors:
        known = signatures.recall(key + anchor.digest)
        if isinstance(known, _Pck) and known.pem == chain_pem and known.anchor.origin is anchor.origin:
            return known
    anchor, root, chain = read_below_anchor(chain_pem, anchors)
    if len(chain) != 2:  # noqa: PLR2004
        raise VerificationError(
            "chain-length", check="dcap.pck-chain", expected="PCK, its CA and the root", actual=len(chain)
        )
    leaf, ca = chain
    check_path(
        chain,
        anchor=root,
        roles=(PCK_LEAF, PCK_CA),
        scheme=P256_SHA256,
        signatures=signatures,
        check="dcap.pck-chain",
    )
    dated = (validity(leaf), validity(ca), validity(root))
    extension = parse_extension(leaf)
    pck = _Pck(
        chain_pem,
        hashlib.sha256(chain_pem).digest(),
        leaf,
        ca,
        ca.digest,
        signatures.key(P256_SHA256, leaf.spki),
        extension,
        identity_of(extension),
        ca.common_name,
        anchor,
        dated,
        max(item.begins for item in dated),
        min(item.ends for item in dated),
    )
    signatures.learn(key + anchor.digest, pck)
    return pck


def _check_revocation(pck: _Pck, collateral: Collateral) -> None:
    pck_crl, root_crl = collateral.pck_crl, collateral.root_crl
    if pck_crl and pck.leaf.serial in pck_crl.revoked:
        _revoked(pck.leaf)
    if root_crl:
        for certificate in (pck.ca, *collateral.signers):
            if certificate.serial in root_crl.revoked:
                _revoked(certificate)


def _revoked(certificate: Certificate) -> None:
    raise VerificationError(
        "certificate-revoked",
        check="revocation",
        subject=certificate.common_name,
        serial=f"{certificate.serial:x}",
    )


def _assess(
    quote: Quote,
    certified: Certified,
    collateral: Collateral,
    *,
    tee: Tee,
    signatures: Signatures,
    trail: Trail,
) -> _Assessed:
    report = quote.report
    module = (
        report.tee_tcb_svn + report.mr_signer_seam + report.seam_attributes + report.tee_tcb_svn2
        if isinstance(report, TdReport)
        else b""
    )
    key = certified.telling + collateral.digest + module
    known = signatures.recall(key)
    if isinstance(known, _Assessed):
        return known
    before = len(trail.checks)
    trail.checks += collateral.missing
    if collateral.info:
        trail.begin("dcap.tcb-info")
        check_info(certified.pck.extension, collateral.info, tee)
        trail.passed()
    if collateral.identity:
        trail.begin("dcap.qe-identity")
        check_identity(certified.qe_report, collateral.identity, tee)
        trail.passed()
    if isinstance(report, TdReport):
        trail.begin("tdx.module")
        if collateral.info:
            check_module(report, collateral.info)
            trail.passed()
        else:
            trail.add(skipped("tdx.module", "endorsement-missing", role="tcb_info"))
    tcb = None
    if collateral.info and collateral.identity:
        tcb = evaluate(
            collateral.info,
            collateral.identity,
            svns_of(quote.report, certified.pck.extension, certified.qe_report),
        )
    assessed = _Assessed(tcb, tuple(trail.checks[before:]))
    del trail.checks[before:]
    signatures.remember(key, assessed)
    return assessed


def _currency(pck: _Pck, collateral: Collateral, at: int) -> Check:
    if pck.begins <= at <= pck.ends and collateral.begins <= at <= collateral.ends:
        return _CURRENCY
    item = next(item for item in (*pck.dated, *collateral.dated) if not item.begins <= at <= item.ends)
    reason = "expired" if at > item.ends else "not-yet-valid"
    return failed("currency", reason, what=str(item.what), begins=item.begins, ends=item.ends, at=at)


def make_claims(
    quote: Quote, verified: Verified, *, registers: Mapping[str, bytes], committed: Committed, debug: bool
) -> DcapClaims:
    """Put together what a verified quote claims."""
    pck, collateral = verified.certified.pck, verified.collateral
    crls = (collateral.pck_crl, collateral.root_crl)
    return DcapClaims(
        platform=quote.platform,
        origin=pck.anchor.origin,
        checks=verified.checks,
        registers=registers,
        committed=committed,
        debug=debug,
        issued_at=None,
        valid_until=min(pck.ends, collateral.ends),
        identity=pck.identity,
        quote=quote,
        pck=pck.extension,
        pck_issuer=pck.issuer,
        tcb=verified.tcb,
        crl_numbers=(crls[0].number if crls[0] else None, crls[1].number if crls[1] else None),
    )
