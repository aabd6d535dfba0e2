# SPDX-License-Identifier: Apache-2.0
"""What a policy can ask of the machine itself: every machine here is certified correctly, as what it is."""

from collections.abc import Mapping

import pytest
from tests.platforms.dcap.judging import claims_of, found, judge, policy, refusal
from tests.platforms.dcap.pki import FMSPC, INSTANCE, NOW, PPID, World, der, extension_fields, pair

from nacre.appraisal.appraise import appraise
from nacre.appraisal.verdict import Verdict
from nacre.checks import Status
from nacre.errors import ConfigurationError
from nacre.platforms import sgx, tdx
from nacre.platforms.dcap.levers import PHYSICAL
from nacre.platforms.dcap.policy import DcapPolicy
from nacre.reasons import explain

TEES = pytest.mark.parametrize("tee", ["sgx", "tdx"])

_TYPES = ("standard", "scalable", "scalable-with-integrity")
_FLAGS = {1: ("dcap.dynamic-platform", "dynamic_platform"), 2: ("dcap.cached-keys", "cached_keys")} | {
    3: ("dcap.smt", "smt")
}
#: Everything that can be asked and is true of the machine of ``extension_fields``.
_ALL: Mapping[str, object] = {
    "fmspcs": (FMSPC.hex(),),
    "ppids": (PPID.hex(),),
    "platform_instances": (INSTANCE.hex(),),
    "cached_keys": False,
    "dynamic_platform": True,
    "sgx_types": ("scalable",),
    "smt": True,
}


def _world(tee: str, **fields: bytes) -> World:
    """Make a machine whose certificate differs in these fields (``f5`` …); empty ones are left out."""
    changed = extension_fields() | {int(name[1:]): value for name, value in fields.items()}
    stated = {number: value for number, value in changed.items() if value}
    return World(tee=tee, version=3 if tee == "sgx" else 4, fields=stated)


def _configuration(*flags: tuple[int, bool]) -> bytes:
    pairs = [pair((7, number), der(0x01, b"\xff" if value else b"\0")) for number, value in flags]
    return pair((7,), der(0x30, b"".join(pairs)))


@TEES
def test_nothing_is_asked_by_default(tee: str) -> None:
    result = judge(_world(tee))
    assert result.verdict is Verdict.VERIFIED
    assert not {check.id for check in result.checks} & set(PHYSICAL)
    assert result.physical.checked == ()
    assert result.physical.unchecked == PHYSICAL == sgx.PLATFORM.physical == tdx.PLATFORM.physical


@TEES
def test_everything_can_be_asked_at_once(tee: str) -> None:
    result = judge(_world(tee), section=_ALL)
    assert result.verdict is Verdict.VERIFIED
    assert result.physical.checked == PHYSICAL
    assert result.physical.unchecked == ()
    assert "interposer" in result.physical.not_proven
    said = {check.id: explain(check) for check in result.checks if check.id in PHYSICAL}
    assert said["dcap.ppid"] == f"the policy lists the machine with PPID {PPID.hex()}"
    assert said["dcap.cached-keys"] == "cached_keys is false, as asked"


@TEES
def test_lists_of_machines(tee: str) -> None:
    world = _world(tee)
    for section in (
        {"fmspcs": ("00" * 6, FMSPC.hex())},
        {"ppids": ("00" * 16, PPID.hex())},
        {"platform_instances": (INSTANCE.hex(), "00" * 16)},
        {"fmspcs": (FMSPC.hex(),), "ppids": (PPID.hex(),)},
    ):
        assert judge(world, section=section).verdict is Verdict.VERIFIED
    for section, check in (
        ({"fmspcs": ("00" * 6,)}, "dcap.model"),
        ({"fmspcs": ("00" * 6,), "ppids": (PPID.hex(),)}, "dcap.model"),
        ({"ppids": ("00" * 16,)}, "dcap.ppid"),
        ({"platform_instances": ("00" * 16,)}, "dcap.platform-instance"),
        # One list that fits does not make up for another that does not.
        ({"ppids": (PPID.hex(),), "platform_instances": ("00" * 16,)}, "dcap.platform-instance"),
        # A number counts where it stands: an instance id is no PPID, even if somebody certified it as one.
        ({"ppids": (INSTANCE.hex(),)}, "dcap.ppid"),
        ({"platform_instances": (PPID.hex(),)}, "dcap.platform-instance"),
    ):
        assert refusal(world, section=section) == f"{check}: lever-refused"


@TEES
def test_a_machine_that_is_not_listed(tee: str) -> None:
    """Somebody with a genuine machine of his own, or a key out of one, answers for ours."""
    stranger = _world(tee, f1=pair((1,), der(0x04, b"\xee" * 16)), f6=pair((6,), der(0x04, b"\xdd" * 16)))
    assert judge(stranger).verdict is Verdict.VERIFIED
    check = found(judge(stranger, section={"ppids": (PPID.hex(),)}), "dcap.ppid")
    assert (check.status, check.actual, check.expected) == (Status.FAIL, b"\xee" * 16, (PPID.hex(),))
    assert explain(check) == (
        f"Intel certified {'ee' * 16} for this machine; the policy line ppids accepts {PPID.hex()}"
    )
    listed = {"platform_instances": (INSTANCE.hex(),)}
    assert refusal(stranger, section=listed) == "dcap.platform-instance: lever-refused"


@pytest.mark.parametrize("number", _FLAGS)
@pytest.mark.parametrize("asked", [True, False])
@TEES
def test_flags(tee: str, asked: bool, number: int) -> None:
    check, line = _FLAGS[number]
    section = {line: asked}
    others = tuple((other, not asked) for other in _FLAGS if other != number)
    good = _world(tee, f7=_configuration((number, asked), *others))
    assert judge(good, section=section).verdict is Verdict.VERIFIED
    bad = _world(tee, f7=_configuration((number, not asked), *((other, asked) for other, _ in others)))
    assert refusal(bad, section=section) == f"{check}: lever-refused"
    assert found(judge(bad, section=section), check).actual == str(not asked).lower()
    # What is not stated is neither true nor false.
    for silent in (
        _world(tee, f7=_configuration(*others)),
        _world(tee, f7=_configuration()),
        _world(tee, f7=b""),
    ):
        assert judge(silent).verdict is Verdict.VERIFIED
        assert refusal(silent, section=section) == f"{check}: lever-not-stated"


@pytest.mark.parametrize("stated", range(3))
@TEES
def test_sgx_types(tee: str, stated: int) -> None:
    world = _world(tee, f5=pair((5,), der(0x0A, bytes((stated,)))))
    for asked in _TYPES:
        if asked == _TYPES[stated]:
            assert judge(world, section={"sgx_types": (asked,)}).verdict is Verdict.VERIFIED
        else:
            assert refusal(world, section={"sgx_types": (asked,)}) == "dcap.sgx-type: lever-refused"
    assert judge(world, section={"sgx_types": _TYPES}).verdict is Verdict.VERIFIED


@TEES
def test_a_processor_ca_states_neither_instance_nor_configuration(tee: str) -> None:
    fields = {number: value for number, value in extension_fields().items() if number < 6}
    names = {"pck-ca": {"name": "Intel SGX PCK Processor CA"}}
    world = World(tee=tee, version=3 if tee == "sgx" else 4, fields=fields, certificates=names)
    assert judge(world).verdict is Verdict.VERIFIED
    assert set(claims_of(world).identity) == {"fmspc", "ppid", "sgx_type"}
    assert judge(world, section={"ppids": (PPID.hex(),)}).verdict is Verdict.VERIFIED
    for line, check in (
        ("platform_instances", "dcap.platform-instance"),
        ("cached_keys", "dcap.cached-keys"),
        ("dynamic_platform", "dcap.dynamic-platform"),
        ("smt", "dcap.smt"),
    ):
        assert refusal(world, section={line: _ALL[line]}) == f"{check}: lever-not-stated"


@TEES
def test_levers_are_judged_without_collateral(tee: str) -> None:
    """A machine that is refused is refused, whatever else could not be looked at."""
    world = _world(tee).but(documents={"tcb_info": None})
    assert judge(world, section=_ALL).verdict is Verdict.INCOMPLETE
    assert judge(world, section={"smt": False}).verdict is Verdict.REJECTED


def test_a_forgery_is_asked_nothing() -> None:
    """Levers read what Intel signed: a certificate that it did not sign answers none of them."""
    world = _world("tdx").but(certificates={"pck": {"signer": "somebody"}})
    result = judge(world, section=_ALL)
    assert result.verdict is Verdict.REJECTED
    assert result.physical.checked == ()
    assert result.not_proven[0].startswith("anything that the evidence says")
    assert result.not_proven[1] == tdx.PLATFORM.not_proven


def test_another_platforms_lines_ask_nothing() -> None:
    """``[sgx]`` says nothing about a TD."""
    world = _world("tdx")
    rules = policy("sgx", world.anchor, section={"ppids": ("00" * 16,)})
    rules.anchored["tdx"] = (world.anchor,)
    result = appraise(world.quote, policy=rules, endorsements=world.endorsements, at=NOW)
    assert result.physical.checked == ()


@pytest.mark.parametrize(
    ("key", "value", "code"),
    [
        ("fmspcs", "00806F050000", "policy-hex"),
        ("fmspcs", "00806f0500", "policy-hex"),
        ("fmspcs", "", "policy-hex"),
        ("fmspcs", "00806f05000g", "policy-hex"),
        ("ppids", "00" * 15, "policy-hex"),
        ("ppids", "0X" * 16, "policy-hex"),
        ("platform_instances", "00" * 17, "policy-hex"),
        ("sgx_types", "Scalable", "policy-range"),
        ("sgx_types", "any", "policy-range"),
    ],
)
def test_lines_that_could_never_match(key: str, value: str, code: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        DcapPolicy(**{key: (value,)})  # type: ignore[arg-type]
    assert caught.value.code == code
    assert key in str(caught.value)
