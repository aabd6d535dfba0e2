# SPDX-License-Identifier: Apache-2.0
"""Correctly signed documents that break AWS's syntax or the policy: genuine, and refused."""

from collections.abc import Sequence
from itertools import pairwise

import msgspec
import pytest
from tests.platforms.nitro.pki import INSTANCE, NOW, Pair, Raw, encode_map, issue, payload, pcrs, standard

from nacre.appraisal.verdict import Verdict, conclude
from nacre.checks import Check, Status
from nacre.errors import ConfigurationError, MalformedEvidence, UnsupportedEvidence
from nacre.platforms.base import Endorsements
from nacre.platforms.nitro import PLATFORM
from nacre.platforms.nitro.policy import DeniedCertificate, NitroPolicy, parent_register
from nacre.platforms.nitro.verify import NitroClaims
from nacre.reasons import explain
from nacre.trust import cbor
from nacre.trust.signatures import Signatures


def _claims(document: bytes) -> NitroClaims:
    return PLATFORM.verify(
        PLATFORM.parse(document),
        Endorsements({}),
        anchors=(standard().anchor,),
        at=NOW,
        signatures=Signatures(),
    )


def _judge(document: bytes, policy: NitroPolicy | None = None) -> tuple[NitroClaims, list[Check]]:
    claims = _claims(document)
    checks = list(PLATFORM.judge(claims, policy or NitroPolicy(), at=NOW))
    assert all(explain(check) for check in checks)
    return claims, checks


def _only(checks: Sequence[Check], identifier: str) -> Check:
    found = [check for check in checks if check.id == identifier]
    assert len(found) == 1
    return found[0]


def _verdict(claims: NitroClaims, checks: Sequence[Check]) -> Verdict:
    return conclude([*claims.checks, *checks], frozenset(PLATFORM.required))


def test_nothing_wrong() -> None:
    claims, checks = _judge(standard().document())
    assert _verdict(claims, checks) is Verdict.VERIFIED
    assert [check.id for check in checks] == [*PLATFORM.required[4:], "nitro.instance", "nitro.parent"]


_PCRS = pcrs()


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ([("module_id", "")], "nitro-field"),
        ([("module_id", None)], "nitro-field"),
        ([("module_id", b"i-0")], "nitro-field"),
        ([("digest", "SHA256")], "nitro-field"),
        ([("digest", None)], "nitro-field"),
        ([("digest", 384)], "nitro-field"),
        ([("timestamp", 0)], "nitro-field"),
        ([("timestamp", None)], "nitro-field"),
        ([("timestamp", -NOW)], "nitro-field"),
        ([("timestamp", True)], "nitro-field"),
        ([("timestamp", str(NOW))], "nitro-field"),
        ([("pcrs", {})], "nitro-field"),
        ([("pcrs", None)], "nitro-field"),
        ([("pcrs", [bytes(48)] * 16)], "nitro-field"),
        ([("pcrs", {index: bytes(48) for index in range(33)})], "nitro-field"),
        ([("pcrs", _PCRS | {32: bytes(48)})], "nitro-pcr-index"),
        ([("pcrs", _PCRS | {-1: bytes(48)})], "nitro-pcr-index"),
        ([("pcrs", {str(index): value for index, value in _PCRS.items()})], "nitro-pcr-index"),
        ([("pcrs", _PCRS | {b"\0": bytes(48)})], "nitro-pcr-index"),
        ([("pcrs", _PCRS | {16: bytes(47)})], "nitro-field"),
        ([("pcrs", _PCRS | {16: b""})], "nitro-field"),
        ([("pcrs", _PCRS | {16: None})], "nitro-field"),
        ([("pcrs", _PCRS | {16: "0" * 48})], "nitro-field"),
        ([("pcrs", Raw(encode_map([*_PCRS.items(), (0, b"\xee" * 48)])))], "cbor-duplicate-key"),
        ([("pcrs", _PCRS), ("pcrs", _PCRS)], "cbor-duplicate-key"),
        ([("nonce", b"a"), ("nonce", b"b")], "cbor-duplicate-key"),
        ([("module_id", "i-1"), ("module_id", "i-2"), ("module_id", "i-3")], "cbor-duplicate-key"),
        ([("extra", 1), ("extra", 1)], "cbor-duplicate-key"),
        ([("public_key", b"")], "nitro-field"),
        ([("public_key", bytes(1025))], "nitro-field"),
        ([("public_key", "key")], "nitro-field"),
        ([("user_data", bytes(1025))], "nitro-field"),
        ([("user_data", 0)], "nitro-field"),
        ([("nonce", bytes(1025))], "nitro-field"),
        ([("nonce", [b""])], "nitro-field"),
        ([(1, 1)], "nitro-key-type"),
        ([(b"nonce", b"")], "nitro-key-type"),
        ([("nitrotpm_pcrs", _PCRS)], "nitro-both-pcrs"),
    ],
    ids=lambda value: str(value)[:60],
)
def test_syntax(changes: Sequence[Pair], reason: str) -> None:
    claims, checks = _judge(standard().document(*changes))
    assert all(check.status is Status.PASS for check in claims.checks)
    found = [check for check in checks if check.id == "nitro.syntax"]
    assert reason in {check.reason for check in found}
    assert all(check.status is Status.FAIL for check in found)
    assert _verdict(claims, checks) is Verdict.REJECTED


@pytest.mark.parametrize("name", ["module_id", "digest", "timestamp", "pcrs"])
def test_a_missing_field(name: str) -> None:
    claims, checks = _judge(standard().document(drop=[name]))
    assert _only(checks, "nitro.syntax").context["name"] == name
    assert _verdict(claims, checks) is Verdict.REJECTED


@pytest.mark.parametrize("name", ["public_key", "user_data", "nonce"])
def test_a_missing_optional_field(name: str) -> None:
    claims, checks = _judge(standard().document(drop=[name]))
    assert _verdict(claims, checks) is Verdict.VERIFIED


@pytest.mark.parametrize("name", ["certificate", "cabundle"])
@pytest.mark.parametrize("value", [None, "text", 1, [], ["text"], [None]])
def test_certificates_that_cannot_be_told(name: str, value: object) -> None:
    for document in (
        standard().document((name, value)),
        standard().document(drop=[name]),
        standard().document((name, standard().leaf), (name, standard().leaf)),
        standard().document((name, standard().bundle), (name, standard().bundle)),
    ):
        with pytest.raises(MalformedEvidence):
            PLATFORM.parse(document)


def test_a_payload_that_is_no_map() -> None:
    for body in (b"\x80", b"\xf6", b"\x01", b"\x40"):
        with pytest.raises(MalformedEvidence) as caught:
            PLATFORM.parse(standard().sign(body))
        assert caught.value.code == "nitro-payload"


def test_ambiguous_values_are_no_values() -> None:
    twice = Raw(encode_map([*_PCRS.items(), (0, b"\xee" * 48)]))
    claims = _claims(
        standard().document(("nonce", b"a"), ("nonce", b"b"), ("pcrs", twice), ("user_data", "text"))
    )
    assert claims.committed.nonce is None
    assert claims.committed.data == b""
    assert "pcr0" not in claims.registers
    assert claims.registers["pcr1"] == _PCRS[1]
    assert claims.debug  # a register of the code is not there
    claims = _claims(standard().document(("pcrs", _PCRS), ("pcrs", _PCRS)))
    assert not claims.registers
    claims = _claims(standard().document(("module_id", "i-1"), ("module_id", "i-2")))
    assert claims.identity == {"module_id": "", "instance_id": "", "region": ""}
    assert _claims(standard().document(("timestamp", 0))).issued_at is None


def test_certificates_of_unusual_size() -> None:
    chain = issue({"regional": {"padding": 800}, "leaf": {"padding": 800}})
    claims = PLATFORM.verify(
        PLATFORM.parse(chain.document()),
        Endorsements({}),
        anchors=(chain.anchor,),
        at=NOW,
        signatures=Signatures(),
    )
    found = [check.context.get("name") for check in PLATFORM.judge(claims, NitroPolicy(), at=NOW)]
    assert "certificate" in found
    assert "cabundle" in found


def test_unknown_fields_are_ignored() -> None:
    document = standard().document(("new", [1, {"a": None}]), indefinite=True)
    claims, checks = _judge(document)
    assert _verdict(claims, checks) is Verdict.VERIFIED
    names = [view.name for view in PLATFORM.views(claims.evidence)]
    assert {"new", "new.0", "new.1", "new.1.a"} <= set(names)


def test_inspection_of_what_breaks_the_syntax() -> None:
    document = standard().document(("timestamp", "now"), ("certificate", b"junk"), (1, True))
    evidence = PLATFORM.parse(document)
    views = {view.name: view for view in PLATFORM.views(evidence)}
    assert views["timestamp"].value == "now"
    assert views["certificate"].notes == ("unreadable",)
    assert views["1"].value == "True"
    assert "violation" in views
    assert PLATFORM.facts(evidence)["leaf_not_after"] is None
    other = PLATFORM.parse(standard().sign(payload(standard()), protected=b"\xa0"))
    assert next(iter(PLATFORM.views(other))).notes == ("not ES384",)


def test_nitrotpm_is_another_platform() -> None:
    document = standard().document(("nitrotpm_pcrs", pcrs()), drop=["pcrs"])
    assert PLATFORM.detect(document)
    with pytest.raises(UnsupportedEvidence) as caught:
        PLATFORM.parse(document)
    assert caught.value.code == "nitrotpm-document"


def test_detection() -> None:
    assert PLATFORM.detect(standard().document())
    assert PLATFORM.detect(b"\xd2" + standard().document())
    for other in (b"", b"\x84", b"\x84\x43\xa1\x01\x26", standard().document()[1:], b"\x03\x00\x02\x00"):
        assert not PLATFORM.detect(other)


# ── Limits ───────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", ["user_data", "nonce"])
@pytest.mark.parametrize(("size", "limit", "good"), [(0, 0, 1), (1, 0, 0), (512, 512, 1), (513, 512, 0)])
def test_limits(name: str, size: int, limit: int, good: int) -> None:
    policy = msgspec.structs.replace(NitroPolicy(), **{f"max_{name}": limit})
    claims, checks = _judge(standard().document((name, bytes(size))), policy)
    assert (_only(checks, "nitro.syntax").status is Status.PASS) is bool(good)
    claims, checks = _judge(standard().document((name, bytes(size))))
    assert _verdict(claims, checks) is Verdict.VERIFIED


def test_a_violation_is_said_once() -> None:
    _, checks = _judge(standard().document(("nonce", bytes(1025))), NitroPolicy(max_nonce=512))
    assert _only(checks, "nitro.syntax").status is Status.FAIL


@pytest.mark.parametrize(
    "wrong",
    [
        {"max_user_data": 1025},
        {"max_user_data": -1},
        {"max_nonce": 1 << 20},
        {"denied_certificates": (DeniedCertificate(issuer="x", serial="0A"),)},
        {"denied_certificates": (DeniedCertificate(issuer="x", serial="0a"),)},
        {"denied_certificates": (DeniedCertificate(issuer="x", serial=""),)},
    ],
)
def test_policies_that_mean_nothing(wrong: dict[str, object]) -> None:
    with pytest.raises(ConfigurationError) as caught:
        NitroPolicy(**wrong)  # type: ignore[arg-type]
    assert str(caught.value) != caught.value.code


# ── Debug ────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "registers",
    [
        {index: bytes(48) for index in range(16)},
        _PCRS | {0: bytes(48)},
        _PCRS | {1: bytes(48)},
        _PCRS | {2: bytes(48)},
        {index: value for index, value in _PCRS.items() if index != 0},
        {4: _PCRS[4]},
    ],
    ids=["all", "0", "1", "2", "no 0", "none"],
)
def test_debug(registers: dict[int, bytes]) -> None:
    document = standard().document(("pcrs", registers))
    claims, checks = _judge(document)
    assert claims.debug
    assert _only(checks, "debug").status is Status.FAIL
    assert _verdict(claims, checks) is Verdict.REJECTED
    claims, checks = _judge(document, NitroPolicy(unsafe_allow_debug=True, check_instance_pcr=False))
    assert _only(checks, "debug").status is Status.WARN
    assert _verdict(claims, checks) is Verdict.WARNING


# ── Instance and parent ──────────────────────────────────────────────────────────────────────────────


def test_pcr4_measures_the_instance() -> None:
    for registers in (_PCRS | {4: bytes(48)}, {index: _PCRS[index] for index in range(4)}):
        document = standard().document(("pcrs", registers))
        claims, checks = _judge(document)
        assert _only(checks, "nitro.instance").status is Status.FAIL
        assert _verdict(claims, checks) is Verdict.REJECTED
        claims, checks = _judge(document, NitroPolicy(check_instance_pcr=False))
        assert _only(checks, "nitro.instance").status is Status.NOT_APPLICABLE
        assert _verdict(claims, checks) is Verdict.VERIFIED


_ROLE = "arn:aws:iam::123456789012:role/Webserver"


@pytest.mark.parametrize(
    ("policy", "reason"),
    [
        (NitroPolicy(instances=(INSTANCE,)), ""),
        (NitroPolicy(instances=("i-1",)), "nitro-parent"),
        (NitroPolicy(regions=("us-east-1", "eu-west-1")), ""),
        (NitroPolicy(regions=("eu-west-1",)), "nitro-parent"),
        (NitroPolicy(instance_roles=(_ROLE,)), ""),
        (NitroPolicy(instance_roles=("arn:aws:iam::1:role/Other",)), "nitro-role"),
        (NitroPolicy(instances=(INSTANCE,), regions=("us-east-1",), instance_roles=(_ROLE,)), ""),
        (NitroPolicy(instances=(INSTANCE,), instance_roles=("x",)), "nitro-role"),
    ],
)
def test_parent(policy: NitroPolicy, reason: str) -> None:
    document = standard().document(("pcrs", _PCRS | {3: parent_register(_ROLE)}))
    _, checks = _judge(document, policy)
    check = _only(checks, "nitro.parent")
    assert check.reason == reason
    assert check.status is (Status.FAIL if reason else Status.PASS)


def test_no_role_is_no_accepted_role() -> None:
    _, checks = _judge(standard().document(("pcrs", {4: _PCRS[4]})), NitroPolicy(instance_roles=(_ROLE,)))
    assert _only(checks, "nitro.parent").status is Status.FAIL


# ── Denied certificates ──────────────────────────────────────────────────────────────────────────────


def test_denied_certificates() -> None:
    path = _claims(standard().document()).certificates
    for certificate, issuer in pairwise(path):
        denied = DeniedCertificate(issuer=issuer.common_name, serial=f"{certificate.serial:x}")
        claims, checks = _judge(standard().document(), NitroPolicy(denied_certificates=(denied,)))
        assert _only(checks, "revocation").reason == "nitro-denied"
        assert _verdict(claims, checks) is Verdict.REJECTED
    others = (
        DeniedCertificate(issuer="another", serial=f"{path[0].serial:x}"),
        DeniedCertificate(issuer=path[1].common_name, serial="ffff"),
    )
    _, checks = _judge(standard().document(), NitroPolicy(denied_certificates=others))
    assert _only(checks, "revocation").reason == "nitro-short-lived"


def test_the_policy_is_read_from_plain_values() -> None:
    policy = msgspec.convert(
        {"regions": ["eu-west-1"], "denied_certificates": [{"issuer": "x", "serial": "1f"}]}, NitroPolicy
    )
    assert policy.denied_certificates == (DeniedCertificate(issuer="x", serial="1f"),)
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"max_userdata": 1}, NitroPolicy)


def test_registers_of_a_release() -> None:
    assert [register.name for register in PLATFORM.registers] == [f"pcr{index}" for index in range(32)]
    assert {register.size for register in PLATFORM.registers} == {48}
    required = {register.name for register in PLATFORM.registers if register.required == "value"}
    assert required == {"pcr0", "pcr1", "pcr2"}
    assert cbor.dumps(None) == b"\xf6"
