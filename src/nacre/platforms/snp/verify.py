# SPDX-License-Identifier: Apache-2.0
"""Verification of an SEV-SNP report.

Warm, a verification is one signature: what is known of the key that signs (its path, its extensions) is
remembered under the bytes of its certificates and the anchor, and the revocation list under its own. A hit
says that signatures and rules hold; time and revocation are checked again each time.

Not proven here:
    A genuine report whose VCEK is revoked, a genuine VLEK report of Genoa or Turin, and the revocation list
    of Turin: none is public, so the tests make their own under a root of theirs.
"""

from collections.abc import Mapping, Sequence

from nacre.checks import Check, Status, failed, passed, skipped
from nacre.errors import VerificationError
from nacre.platforms.base import Committed, Endorsements
from nacre.platforms.snp.chain import CHAIN, Endorsed, endorsed_key, revocation_list
from nacre.platforms.snp.claims import SnpClaims
from nacre.platforms.snp.evidence import SnpEvidence
from nacre.platforms.snp.products import COMPONENTS, of_processor
from nacre.platforms.snp.report import HAS_PROCESSOR, SIGNED_SIZE, Report
from nacre.platforms.snp.vek import KINDS
from nacre.platforms.trail import Trail
from nacre.trust.anchors import Anchor
from nacre.trust.crl import Crl
from nacre.trust.keys import P384_SHA384, raw_signature
from nacre.trust.signatures import Signatures

__all__ = ["DEBUG", "verify_report"]

#: Bit 19 of the guest policy: the host may read and change the guest's memory.
DEBUG = 1 << 19
_ALWAYS_ONE = 1 << 17
_COORDINATE = slice(47, None, -1)  # of 72 bytes, little-endian: 48, big-endian
_NO_CHIP = bytes(64)

_REPORT = passed("snp.report")
_CHAIN = passed(CHAIN)
_SIGNATURE = passed("snp.signature")
_REVOCATION = passed("revocation")
_NO_LIST = skipped("revocation", "endorsement-missing", role="crl")
_ENDORSED_TCB = passed("snp.endorsed-tcb")
_CHIP = passed("snp.chip")
_CHIP_MASKED = Check("snp.chip", Status.NOT_APPLICABLE, "snp-chip-masked")
_NO_CHIP_IN_KEY = Check("snp.chip", Status.NOT_APPLICABLE, "snp-chip-vlek")
_CURRENCY = passed("currency")


def verify_report(
    evidence: SnpEvidence,
    endorsements: Endorsements,
    *,
    anchors: Sequence[Anchor],
    at: int,
    signatures: Signatures,
) -> SnpClaims:
    """Verify a report.

    Steps:

    1. Report: signed at all (MASK_CHIP_KEY), by VCEK or VLEK (SIGNING_KEY), bit 17 of the guest policy set.
    2. Chain: VCEK below ASK or VLEK below ASVK, an ARK that is an anchor; names, roles, RSASSA-PSS
       signatures. It is of the kind that the report says, and of the product line of its processor.
    3. Signature: ECDSA P-384 over bytes 0 to 0x29f, R and S little-endian.
    4. The revocation list is signed by the ARK.
    5. All signatures settle. Nothing that was read counts before.
    6. Revocation: neither VCEK or VLEK nor ASK or ASVK is listed.
    7. The TCB that the key is certified for is REPORTED_TCB, each component, reserved bytes included.
    8. The chip that a VCEK is certified for is CHIP_ID, unless that is masked.
    9. Azure's wrapper: the report commits to the runtime data.
    10. Currency: every certificate and the list are inside their dates. Reported, not raised.

    Raises:
        VerificationError: With the check that failed and those that held before it.
    """
    report = evidence.report
    with Trail(signatures) as trail:
        # (1)
        trail.begin("snp.report")
        kind = _signed_by(report)
        trail.checks.append(_REPORT)
        # (2)
        trail.begin(CHAIN)
        endorsed = endorsed_key(evidence, endorsements, anchors, signatures)
        _check_kind(report, kind, endorsed)
        trail.checks.append(_CHAIN)
        # (3)
        trail.begin("snp.signature")
        signatures.expect(
            endorsed.key,
            raw_signature(report.r[_COORDINATE] + report.s[_COORDINATE], P384_SHA384),
            evidence.raw[evidence.offset : evidence.offset + SIGNED_SIZE],
            check="snp.signature",
            what="the report",
        )
        trail.checks.append(_SIGNATURE)
        # (4)
        trail.begin("revocation")
        crl = revocation_list(endorsements, endorsed, signatures)
        # (5)
        signatures.settle()
        # (6)
        trail.checks.append(_revocation(endorsed, crl))
        # (7)
        trail.begin("snp.endorsed-tcb")
        _check_tcb(report, endorsed)
        trail.checks.append(_ENDORSED_TCB)
        # (8)
        trail.begin("snp.chip")
        trail.checks.append(_chip(report, endorsed))
        # (9)
        committed = _committed(evidence, trail)
        # (10)
        trail.checks.append(_currency(endorsed, crl, at))
    return _claims(evidence, endorsed, crl, checks=tuple(trail.checks), committed=committed)


def _claims(
    evidence: SnpEvidence, endorsed: Endorsed, crl: Crl | None, *, checks: tuple[Check, ...], committed: bytes
) -> SnpClaims:
    report = evidence.report
    return SnpClaims(
        platform="snp",
        origin=endorsed.anchor.origin,
        checks=checks,
        registers=_registers(report),
        committed=Committed(committed),
        debug=bool(report.policy & DEBUG),
        issued_at=None,
        valid_until=endorsed.ends if crl is None else min(endorsed.ends, crl.next_update),
        identity=endorsed.identity,
        evidence=evidence,
        product=endorsed.product,
        key=endorsed.kind,
        chip=endorsed.extension.hwid,
        csp=endorsed.extension.csp,
        crl_number=None if crl is None else crl.number,
    )


def _signed_by(report: Report) -> str:
    if report.mask_chip_key:
        raise VerificationError("snp-not-signed", check="snp.report")
    kind = KINDS.get(report.signing_key)
    if kind is None:
        raise VerificationError(
            "snp-signing-key", check="snp.report", actual=report.signing_key, expected="0 (VCEK) or 1 (VLEK)"
        )
    if report.signer_info >> 5:
        raise VerificationError(
            "snp-reserved",
            check="snp.report",
            name="signer_info",
            actual=f"{report.signer_info:x}",
            offset=72,
        )
    if not report.policy & _ALWAYS_ONE:
        raise VerificationError("snp-policy-bit", check="snp.report", actual=f"{report.policy:016x}")
    return kind


def _check_kind(report: Report, kind: str, endorsed: Endorsed) -> None:
    if kind != endorsed.kind:
        raise VerificationError(
            "snp-key-kind",
            check=CHAIN,
            expected=kind.upper(),
            actual=endorsed.kind.upper(),
            issuer=endorsed.path[1].common_name,
        )
    if report.version < HAS_PROCESSOR:
        return
    product = of_processor(report.cpuid_family, report.cpuid_model)
    if product is not endorsed.product:
        raise VerificationError(
            "snp-product-mismatch",
            check=CHAIN,
            expected=endorsed.product.name,
            actual=str(product and product.name),
        )


def _revocation(endorsed: Endorsed, crl: Crl | None) -> Check:
    if crl is None:
        return _NO_LIST
    for certificate in endorsed.path[:-1]:
        if certificate.serial in crl.revoked:
            raise VerificationError(
                "certificate-revoked",
                check="revocation",
                subject=certificate.common_name,
                serial=f"{certificate.serial:x}",
            )
    return _REVOCATION


def _check_tcb(report: Report, endorsed: Endorsed) -> None:
    certified = endorsed.extension.tcb
    if report.reported_tcb == certified:
        return
    product = endorsed.product
    for name, place in zip(COMPONENTS, product.places, strict=True):
        if place is not None and report.reported_tcb[place] != certified[place]:
            raise VerificationError(
                "snp-endorsed-tcb",
                check="snp.endorsed-tcb",
                name=name,
                expected=certified[place],
                actual=report.reported_tcb[place],
            )
    raise VerificationError(
        "snp-tcb-reserved", check="snp.endorsed-tcb", actual=report.reported_tcb, what=product.name
    )


def _chip(report: Report, endorsed: Endorsed) -> Check:
    if endorsed.chip is None:
        return _NO_CHIP_IN_KEY
    if report.chip_id == endorsed.chip:
        return _CHIP
    if report.chip_id == _NO_CHIP:
        return _CHIP_MASKED
    raise VerificationError("snp-chip", check="snp.chip", expected=endorsed.chip, actual=report.chip_id)


def _committed(evidence: SnpEvidence, trail: Trail) -> bytes:
    """Return what the guest chose: report data, or on Azure what the paravisor took into the runtime data."""
    report_data = evidence.report.report_data
    if evidence.form != "hcl":
        return report_data
    from nacre.platforms.snp.hcl import RUNTIME_CHECK, check_runtime, parse_hcl  # noqa: PLC0415 (few need it)

    trail.begin(RUNTIME_CHECK)
    hcl = parse_hcl(evidence.raw)
    trail.add(check_runtime(hcl, report_data))
    return hcl.user_data or b""


def _currency(endorsed: Endorsed, crl: Crl | None, at: int) -> Check:
    if endorsed.begins <= at <= endorsed.ends and (crl is None or crl.this_update <= at <= crl.next_update):
        return _CURRENCY
    dated: list[tuple[object, int, int]] = [
        (certificate, certificate.not_before, certificate.not_after) for certificate in endorsed.path
    ]
    if crl is not None:
        dated.append((crl, crl.this_update, crl.next_update))
    what, begins, ends = next(item for item in dated if not item[1] <= at <= item[2])
    reason = "expired" if at > ends else "not-yet-valid"
    return failed("currency", reason, what=str(what), begins=begins, ends=ends, at=at)


_NO_KEY = bytes(48)


def _registers(report: Report) -> Mapping[str, bytes]:
    return {
        "measurement": report.measurement,
        "host_data": report.host_data,
        "family_id": report.family_id,
        "image_id": report.image_id,
        "guest_svn": report.guest_svn.to_bytes(4, "little"),
        "id_key_digest": report.id_key_digest,
        # Without AUTHOR_KEY_EN nobody checked that field at launch.
        "author_key_digest": report.author_key_digest if report.author_key_en else _NO_KEY,
    }
