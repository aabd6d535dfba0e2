# SPDX-License-Identifier: Apache-2.0
"""What a policy accepts of a TD: attributes bit by bit, service TDs."""

import pytest
from tests.platforms.dcap.judging import claims_of, found, judge, refusal
from tests.platforms.dcap.pki import World

from nacre.appraisal.verdict import Verdict
from nacre.checks import Status
from nacre.errors import ConfigurationError
from nacre.platforms import sgx, tdx
from nacre.platforms.tdx.policy import TdxPolicy
from nacre.reasons import explain

_SEPT_VE_DISABLE = 28
_HARMLESS = {28, 30, 31, 63}
_NAMED = {0: "DEBUG", 28: "SEPT_VE_DISABLE", 29: "MIGRATABLE", 30: "PKS", 31: "KL", 62: "TPA", 63: "PERFMON"}


def _td(*bits: int, **report: bytes) -> World:
    attributes = sum(1 << bit for bit in {_SEPT_VE_DISABLE, *bits})
    version = 5 if report else 4
    return World(version=version, report={"td_attributes": attributes.to_bytes(8, "little"), **report})


@pytest.mark.parametrize("bit", range(64))
def test_each_attribute(bit: int) -> None:
    world = _td(bit)
    result = judge(world)
    if bit == 0:
        assert refusal(world) == "debug: debug-on"
        return
    if bit in _HARMLESS:
        assert result.verdict is Verdict.VERIFIED
        narrow = tuple(name for name in TdxPolicy().td_attributes if name != _NAMED[bit])
        assert refusal(world, section={"td_attributes": narrow}) == "tdx.attributes: td-attributes-refused"
        return
    assert refusal(world) == "tdx.attributes: td-attributes-refused"
    name = _NAMED.get(bit, f"reserved bit {bit}")
    assert found(result, "tdx.attributes").actual == (name,)
    assert name in explain(found(result, "tdx.attributes"))
    if bit in _NAMED:
        section = {"td_attributes": (*TdxPolicy().td_attributes, name)}
        assert judge(_td(bit, mr_service_td=bytes(48)), section=section).verdict is Verdict.VERIFIED


def test_allowing_debug_as_an_attribute_does_not_allow_debug() -> None:
    section = {"td_attributes": (*TdxPolicy().td_attributes, "DEBUG")}
    assert refusal(_td(0), section=section) == "debug: debug-on"


def test_all_harmless_attributes_together() -> None:
    assert judge(_td(*_HARMLESS)).verdict is Verdict.VERIFIED
    assert found(judge(_td(*_HARMLESS, 1, 29)), "tdx.attributes").actual == ("reserved bit 1", "MIGRATABLE")
    nothing = {"td_attributes": (), "require_sept_ve_disable": False}
    assert judge(World(report={"td_attributes": bytes(8)}), section=nothing).verdict is Verdict.VERIFIED


def test_sept_ve_disable() -> None:
    world = World(report={"td_attributes": bytes(8)})
    assert refusal(world) == "tdx.attributes: sept-ve-disable-clear"
    assert judge(world, section={"require_sept_ve_disable": False}).verdict is Verdict.VERIFIED
    # The wish for it stands however the other attributes are listed.
    listed = {"td_attributes": ("PKS", "SEPT_VE_DISABLE")}
    assert refusal(world, section=listed) == "tdx.attributes: sept-ve-disable-clear"


@pytest.mark.parametrize("name", ["debug", "", "MIGRATABLE ", "reserved bit 1"])
def test_attributes_that_nobody_knows(name: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        TdxPolicy(td_attributes=(name,))
    assert caught.value.code == "policy-td-attribute"
    assert "MIGRATABLE" in str(caught.value)


def test_service_td() -> None:
    measurement = bytes(range(48))
    world = _td(mr_service_td=measurement)
    assert refusal(world) == "tdx.service-td: service-td-refused"
    for listed, good in (
        ((measurement.hex(),), True),
        (("11" * 48, measurement.hex()), True),
        (("11" * 48,), False),
        (("00" * 48,), False),
    ):
        verdict = judge(world, section={"service_tds": listed}).verdict
        assert verdict is (Verdict.VERIFIED if good else Verdict.REJECTED)
    said = explain(found(judge(world, section={"service_tds": (measurement.hex(),)}), "tdx.service-td"))
    assert said == f"the policy lists the service TD {measurement.hex()}"
    # No service TD is fine whatever the list says, and a TD 1.0 report has no field for one.
    for plain in (_td(), World(version=5)):
        check = found(judge(plain, section={"service_tds": ("11" * 48,)}), "tdx.service-td")
        assert (check.status, check.reason) == (Status.PASS, "no-service-td")


@pytest.mark.parametrize("value", ["", "00" * 47, "0G" * 48, "AA" * 48])
def test_service_tds_that_could_never_match(value: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        TdxPolicy(service_tds=(value,))
    assert caught.value.code == "policy-hex"


def test_the_lines_of_all_intel_platforms_are_checked_too() -> None:
    with pytest.raises(ConfigurationError):
        TdxPolicy(accept_tcb_status=("Revoked",))


def test_claims_and_policy_of_another_platform() -> None:
    claims = claims_of(World())
    with pytest.raises(TypeError):
        tdx.PLATFORM.judge(claims, sgx.PLATFORM.policy(), at=0)
    with pytest.raises(TypeError):
        sgx.PLATFORM.judge(claims, tdx.PLATFORM.policy(), at=0)


def test_registers() -> None:
    """Each register is the field of its name, at its place in the report."""
    fields = {name: bytes((number,)) * 48 for number, name in enumerate(_FIELDS.values(), 1)}
    claims = claims_of(World(report=fields))
    assert claims.registers == {register: fields[name] for register, name in _FIELDS.items()}
    assert {register.name for register in tdx.PLATFORM.registers} == set(_FIELDS)
    assert all(len(claims.registers[register.name]) == register.size for register in tdx.PLATFORM.registers)
    for register, offset in _OFFSETS.items():
        assert claims.quote.raw[48 + offset : 48 + offset + 48] == claims.registers[register]


_FIELDS = {
    "mrtd": "mr_td",
    "rtmr0": "rtmr0",
    "rtmr1": "rtmr1",
    "rtmr2": "rtmr2",
    "rtmr3": "rtmr3",
    "mrconfigid": "mr_config_id",
    "mrowner": "mr_owner",
    "mrownerconfig": "mr_owner_config",
    "mrseam": "mr_seam",
}
_OFFSETS = {
    "mrseam": 16,
    "mrtd": 136,
    "mrconfigid": 184,
    "mrowner": 232,
    "mrownerconfig": 280,
    "rtmr0": 328,
    "rtmr1": 376,
    "rtmr2": 424,
    "rtmr3": 472,
}
