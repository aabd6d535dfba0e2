# SPDX-License-Identifier: Apache-2.0
"""Reports of simulated hardware: accepted under their root alone, and each fault found by its check."""

import functools
import hashlib

import omne_attest
import pytest

from nacre.checks import Status
from nacre.errors import ConfigurationError, MalformedEvidence, VerificationError
from nacre.platforms.base import Endorsements
from nacre.platforms.simulation import Root, simulator
from nacre.platforms.snp import PLATFORM
from nacre.platforms.snp.claims import SnpClaims
from nacre.platforms.snp.policy import SnpPolicy
from nacre.platforms.snp.simulate import Faults, create_root, machine
from nacre.trust.anchors import Origin
from nacre.trust.signatures import Signatures

_NOW = 1_780_315_200 + 1234
_DATA = b"D" * 64


@functools.cache
def _root() -> Root:
    return create_root(at=_NOW)


def _claims(
    faults: Faults | None = None,
    *,
    product: str = "Genoa",
    version: int = 5,
    registers: dict[str, bytes] | None = None,
    table: bool = False,
) -> SnpClaims:
    made = machine(_root(), at=_NOW, faults=faults or Faults(), product=product, version=version)
    evidence = made.evidence(_DATA, registers=registers or {}, at=_NOW)
    documents = dict(made.endorsements(at=_NOW))
    if table:
        evidence += made.certificate_table()
        documents = {"crl": documents["crl"]}
    return PLATFORM.verify(
        PLATFORM.parse(evidence),
        Endorsements(documents),
        anchors=_root().anchors(),
        at=_NOW,
        signatures=Signatures(),
    )


def _codes(faults: Faults, policy: SnpPolicy, *, product: str) -> set[tuple[str, str]]:
    """Return every check that fails, with its code."""
    try:
        claims = _claims(faults, product=product)
    except VerificationError as error:
        return {(error.check, error.code)}
    except MalformedEvidence as error:
        return {("", error.code)}
    checks = (*claims.checks, *PLATFORM.judge(claims, policy, at=_NOW))
    return {(check.id, check.reason) for check in checks if check.status in {Status.FAIL, Status.SKIPPED}}


@pytest.mark.parametrize("table", [False, True])
@pytest.mark.parametrize("vlek", [False, True])
@pytest.mark.parametrize(
    ("product", "version"), [("Milan", 2), ("Milan", 3), ("Genoa", 4), ("Genoa", 5), ("Turin", 5)]
)
def test_a_healthy_machine_is_simulated(product: str, version: int, *, vlek: bool, table: bool) -> None:
    registers = {
        "measurement": b"M" * 48,
        "host_data": b"H" * 32,
        "family_id": b"F" * 16,
        "image_id": b"I" * 16,
        "guest_svn": b"\7\0\0\0",
        "id_key_digest": b"K" * 48,
        "author_key_digest": b"A" * 48,
    }
    claims = _claims(Faults(vlek=vlek), product=product, version=version, registers=registers, table=table)
    checks = (*claims.checks, *PLATFORM.judge(claims, SnpPolicy(), at=_NOW))
    assert not [check for check in checks if check.status is Status.FAIL]
    assert claims.origin is Origin.SIMULATED
    assert claims.registers == registers
    assert claims.committed.data == _DATA
    assert (claims.product.name, claims.key) == (product, "vlek" if vlek else "vcek")


def test_amds_roots_do_not_vouch_for_it() -> None:
    made = machine(_root(), at=_NOW)
    with pytest.raises(VerificationError) as caught:
        PLATFORM.verify(
            PLATFORM.parse(made.evidence(_DATA, registers={}, at=_NOW)),
            Endorsements(made.endorsements(at=_NOW)),
            anchors=PLATFORM.anchors(),
            at=_NOW,
            signatures=Signatures(),
        )
    assert caught.value.check == "snp.chain"


@pytest.mark.parametrize(
    ("data", "registers", "code"),
    [
        (_DATA, {"pcr0": bytes(48)}, "simulated-register"),
        (_DATA, {"measurement": bytes(32)}, "simulated-size"),
        (b"short", {}, "simulated-size"),
    ],
)
def test_what_a_report_has_no_room_for(data: bytes, registers: dict[str, bytes], code: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        machine(_root(), at=_NOW).evidence(data, registers=registers, at=_NOW)
    assert caught.value.code == code


@pytest.mark.parametrize("product", ["Milan", "Genoa", "Turin"])
@pytest.mark.parametrize(
    ("faults", "failed"),
    [
        (Faults(), set()),
        (Faults(old_tcb=True), {("snp.tcb", "snp-tcb-low"), ("snp.launch-tcb", "snp-tcb-low")}),
        (Faults(lower=("committed",)), {("snp.firmware", "snp-provisional")}),
        (Faults(lower=("current",)), {("snp.firmware", "snp-tcb-order")}),
        (Faults(lower=("launch",)), {("snp.launch-tcb", "snp-tcb-low")}),
        (Faults(above_certificate=True), {("snp.endorsed-tcb", "snp-endorsed-tcb")}),
        (Faults(revoked=("vek",)), {("revocation", "certificate-revoked")}),
        (Faults(revoked=("ask",)), {("revocation", "certificate-revoked")}),
        (Faults(no_crl=True), {("revocation", "endorsement-missing")}),
        (Faults(expired_crl=True), {("currency", "expired")}),
        (Faults(expired=("vek",)), {("currency", "expired")}),
        (Faults(expired=("ask",)), {("currency", "expired")}),
        (Faults(future=("vek",)), {("currency", "not-yet-valid")}),
        (Faults(debug=True), {("debug", "debug-on")}),
        (Faults(migration=True), {("snp.migration", "snp-migration")}),
        (Faults(vmpl=2), {("snp.vmpl", "snp-vmpl")}),
        (Faults(provisional=True), {("snp.firmware", "snp-provisional")}),
        (Faults(other_chip=True), {("snp.chip", "snp-chip")}),
        (Faults(masked_chip=True), set()),
        (Faults(vlek=True), set()),
        (Faults(other_kind=True), {("snp.chain", "snp-key-kind")}),
        (Faults(other_product=True), {("snp.chain", "snp-product-mismatch")}),
        (Faults(alias_unchecked=True), {("snp.alias-check", "snp-alias-check")}),
        (Faults(reserved=True), {("", "snp-reserved")}),
        (Faults(not_signed=True), {("snp.report", "snp-not-signed")}),
        (Faults(wrong_signature=True), {("snp.signature", "signature-invalid")}),
    ],
)
def test_each_fault_is_found_by_its_check(faults: Faults, failed: set[tuple[str, str]], product: str) -> None:
    assert _codes(faults, SnpPolicy(), product=product) == failed


_OLDER = [("Milan", 2), ("Milan", 3), ("Genoa", 4), ("Genoa", 5)]


def _outsider(
    faults: Faults, *, product: str, version: int, pinned: bytes | None = None
) -> omne_attest.Report:
    """Have another program verify a report under the root that the caller gives it."""
    made = machine(_root(), at=_NOW, faults=faults, product=product, version=version)
    documents = made.endorsements(at=_NOW)
    return omne_attest.verify(
        made.evidence(_DATA, registers={"measurement": b"M" * 48}, at=_NOW),
        documents["vek"],
        documents["ask"],
        documents["ark"],
        hashlib.sha256(documents["ark"]).digest() if pinned is None else pinned,
        omne_attest.Policy(measurement=b"M" * 48, report_data=_DATA),
    )


@pytest.mark.parametrize(("product", "version"), _OLDER)
def test_another_verifier_takes_it_under_its_own_root_alone(product: str, version: int) -> None:
    assert _outsider(Faults(), product=product, version=version).version == version
    with pytest.raises(omne_attest.Fail) as refused:
        _outsider(Faults(), product=product, version=version, pinned=omne_attest.vectors.ARK_SHA256)
    assert refused.value.kind is omne_attest.FailKind.ARK_NOT_PINNED


@pytest.mark.parametrize(("product", "version"), _OLDER)
@pytest.mark.parametrize(
    ("faults", "kind"),
    [
        (Faults(wrong_signature=True), omne_attest.FailKind.REPORT_SIGNATURE),
        (Faults(other_chip=True), omne_attest.FailKind.CHIP_ID_MISMATCH),
        (Faults(above_certificate=True), omne_attest.FailKind.TCB_MISMATCH),
        (Faults(debug=True), omne_attest.FailKind.DEBUG_ENABLED),
        (Faults(vmpl=1), omne_attest.FailKind.VMPL),
    ],
)
def test_another_verifier_finds_the_same_faults(
    product: str, version: int, faults: Faults, kind: omne_attest.FailKind
) -> None:
    with pytest.raises(omne_attest.Fail) as refused:
        _outsider(faults, product=product, version=version)
    assert refused.value.kind is kind


def test_smt_is_found_where_a_policy_refuses_it() -> None:
    claims = _claims(Faults(smt=True))
    (check,) = [
        check
        for check in PLATFORM.judge(claims, SnpPolicy(allow_smt=False), at=_NOW)
        if check.id == "snp.guest-policy"
    ]
    assert isinstance(check.actual, tuple)
    assert "SMT is on" in check.actual


def test_an_author_that_nobody_checked_is_no_register() -> None:
    claims = _claims(Faults(author_unchecked=True), registers={"author_key_digest": b"A" * 48})
    assert claims.registers["author_key_digest"] == bytes(48)


def test_a_simulator_is_found_by_name() -> None:
    assert simulator("snp").FAMILY == "snp"
