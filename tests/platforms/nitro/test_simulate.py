# SPDX-License-Identifier: Apache-2.0
"""Documents of simulated hardware: accepted under their root alone, and each fault found by its check."""

import functools
from pathlib import Path

import pytest

import nacre
from nacre.checks import Status
from nacre.errors import ConfigurationError, VerificationError
from nacre.platforms.base import Endorsements
from nacre.platforms.nitro import PLATFORM
from nacre.platforms.nitro.policy import NitroPolicy, parent_register
from nacre.platforms.nitro.simulate import INSTANCE, MODULE, REGION, ROLE, Faults, create_root, machine
from nacre.platforms.nitro.verify import NitroClaims
from nacre.platforms.simulation import Root, simulator
from nacre.trust.anchors import Origin
from nacre.trust.signatures import Signatures

_NOW = 1_780_315_200 + 1234
_CODE = {"pcr0": b"\x01" * 48, "pcr1": b"\x02" * 48, "pcr2": b"\x03" * 48}


@functools.cache
def _root() -> Root:
    return create_root(at=_NOW)


def _document(faults: Faults | None = None, *, at: int = _NOW) -> bytes:
    made = machine(_root(), at=at, faults=faults or Faults())
    return made.evidence(b"data", registers=_CODE, at=at, nonce=b"nonce", public_key=b"key")


def _claims(document: bytes, *, at: int = _NOW) -> NitroClaims:
    return PLATFORM.verify(
        PLATFORM.parse(document),
        Endorsements({}),
        anchors=_root().anchors(),
        at=at,
        signatures=Signatures(),
    )


def _codes(faults: Faults) -> set[tuple[str, str]]:
    """Return every check that fails, with its code."""
    try:
        claims = _claims(_document(faults))
    except VerificationError as error:
        return {(error.check, error.code)}
    checks = (*claims.checks, *PLATFORM.judge(claims, NitroPolicy(), at=_NOW))
    return {(check.id, check.reason) for check in checks if check.status is Status.FAIL}


@pytest.mark.parametrize("later", [0, 3599, 7 * 3600, 400 * 86_400])
def test_a_healthy_machine_is_simulated_and_has_nothing_wrong(later: int) -> None:
    at = _NOW + later
    claims = _claims(_document(at=at), at=at)
    checks = (*claims.checks, *PLATFORM.judge(claims, NitroPolicy(), at=at))
    assert {check.status for check in checks} <= {Status.PASS, Status.NOT_APPLICABLE}
    assert claims.origin is Origin.SIMULATED
    assert claims.issued_at == at
    assert claims.committed.data == b"data"
    assert (claims.committed.nonce, claims.committed.public_key) == (b"nonce", b"key")
    assert {name: claims.registers[name] for name in _CODE} == _CODE
    assert claims.registers["pcr3"] == parent_register(ROLE)
    assert claims.identity == {"module_id": MODULE, "instance_id": INSTANCE, "region": REGION}
    assert machine(_root(), at=at).endorsements(at=at) == {}


def test_the_default_policy_does_not_know_its_root() -> None:
    with pytest.raises(VerificationError) as caught:
        PLATFORM.verify(
            PLATFORM.parse(_document()),
            Endorsements({}),
            anchors=PLATFORM.anchors(),
            at=_NOW,
            signatures=Signatures(),
        )
    assert (caught.value.check, caught.value.code) == ("nitro.chain", "nitro-root")


def test_a_policy_that_names_the_root_takes_it_as_simulated(tmp_path: Path) -> None:
    (tmp_path / "root.der").write_bytes(_root().certificates[0])
    (tmp_path / "policy.toml").write_text(
        'accept = "WARNING"\nunsafe_waive = ["binding", "executables", "freshness"]\n'
        '[anchors.nitro]\nsimulated = ["root.der"]\n'
    )
    policy = nacre.Policy.load(tmp_path / "policy.toml")
    assert nacre.verify(_document(), policy=policy, at=_NOW, offline=True).origin is Origin.SIMULATED
    strict = nacre.Policy.parse('unsafe_waive = ["binding", "executables", "freshness"]')
    with pytest.raises(VerificationError):
        nacre.verify(_document(), policy=strict, at=_NOW, offline=True)


def test_another_development_root_is_another_root() -> None:
    other = create_root(at=_NOW)
    document = machine(other, at=_NOW).evidence(b"", registers={}, at=_NOW)
    with pytest.raises(VerificationError):
        _claims(document)


@pytest.mark.parametrize(
    ("registers", "code"),
    [({"pcr32": bytes(48)}, "simulated-register"), ({"pcr0": bytes(32)}, "simulated-size")],
)
def test_registers_that_are_none(registers: dict[str, bytes], code: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        machine(_root(), at=_NOW).evidence(b"", registers=registers, at=_NOW)
    assert caught.value.code == code
    assert "Nitro" in str(caught.value)


FAULTS = [
    (Faults(), set()),
    (Faults(debug=True), {("debug", "nitro-debug")}),
    (Faults(clock=4 * 3600), {("nitro.chain", "certificate-expired")}),
    (Faults(clock=-40 * 86_400), {("nitro.chain", "certificate-not-yet-valid")}),
    (Faults(expired=("leaf",)), {("nitro.chain", "certificate-expired")}),
    (Faults(expired=("zonal",)), {("nitro.chain", "certificate-expired")}),
    (Faults(future=("leaf",)), {("nitro.chain", "certificate-not-yet-valid")}),
    (Faults(wrong_signature=True), {("nitro.signature", "signature-invalid")}),
    (Faults(other_instance=True), {("nitro.instance", "nitro-instance")}),
    (Faults(other_module=True), {("nitro.chain", "nitro-signer-name")}),
    (Faults(user_data=1025), {("nitro.syntax", "nitro-field")}),
    (Faults(nonce=1025), {("nitro.syntax", "nitro-field")}),
    (Faults(public_key=1025), {("nitro.syntax", "nitro-field")}),
    (Faults(missing=("zonal",)), {("nitro.chain", "issuer-mismatch")}),
    (Faults(reordered=True), {("nitro.chain", "path-too-long")}),
    (Faults(not_authority=("instance",)), {("nitro.chain", "not-a-ca")}),
    (Faults(short_path=("regional",)), {("nitro.chain", "path-too-long")}),
    (Faults(wrong_curve=("leaf",)), {("nitro.chain", "key-unusable")}),
    (Faults(wrong_curve=("instance",)), {("nitro.chain", "key-unusable")}),
    (Faults(wrong_curve=("zonal",)), {("nitro.chain", "key-unusable")}),
    (Faults(wrong_curve=("regional",)), {("nitro.chain", "key-unusable")}),
]


@pytest.mark.parametrize(("faults", "failed"), FAULTS)
def test_each_fault_is_found_by_its_check(faults: Faults, failed: set[tuple[str, str]]) -> None:
    assert _codes(faults) == failed


def test_a_simulator_is_found_by_name() -> None:
    assert simulator("nitro").FAMILY == "nitro"
