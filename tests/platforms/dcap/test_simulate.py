# SPDX-License-Identifier: Apache-2.0
"""Quotes of simulated hardware: accepted under their root alone, and each fault found by its check."""

import functools
from collections.abc import Mapping

import dcap_qvl
import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from nacre import platforms
from nacre.checks import Status
from nacre.errors import ConfigurationError, VerificationError
from nacre.platforms.base import Endorsements
from nacre.platforms.dcap.claims import DcapClaims
from nacre.platforms.dcap.endorsements import ROLES
from nacre.platforms.dcap.policy import DcapPolicy
from nacre.platforms.dcap.simulated_faults import ComponentTcb
from nacre.platforms.sgx.simulate import Faults as SgxFaults
from nacre.platforms.sgx.simulate import machine as sgx_machine
from nacre.platforms.simulation import Machine, Root, simulator
from nacre.platforms.tdx.simulate import Faults as TdxFaults
from nacre.platforms.tdx.simulate import create_root
from nacre.platforms.tdx.simulate import machine as tdx_machine
from nacre.trust.anchors import Origin
from nacre.trust.signatures import Signatures

_NOW = 1_780_315_200 + 1234
_DAY = 86_400
_DATA = b"D" * 64
_REGISTERS: Mapping[str, Mapping[str, bytes]] = {
    "sgx": {
        "mrenclave": b"E" * 32,
        "mrsigner": b"S" * 32,
        "isvprodid": b"\1\2",
        "isvsvn": b"\3\4",
        "configid": b"C" * 64,
        "configsvn": b"\5\6",
        "isvextprodid": b"X" * 16,
        "isvfamilyid": b"F" * 16,
    },
    "tdx": {
        "mrtd": b"T" * 48,
        "rtmr0": b"0" * 48,
        "rtmr1": b"1" * 48,
        "rtmr2": b"2" * 48,
        "rtmr3": b"3" * 48,
        "mrconfigid": b"C" * 48,
        "mrowner": b"O" * 48,
        "mrownerconfig": b"W" * 48,
        "mrseam": b"M" * 48,
    },
}

both = pytest.mark.parametrize("platform", ["sgx", "tdx"])


@functools.cache
def _root() -> Root:
    return create_root(at=_NOW)


def _machine(platform: str, **faults: object) -> Machine:
    if platform == "sgx":
        return sgx_machine(_root(), at=_NOW, faults=msgspec.convert(faults, SgxFaults))
    return tdx_machine(_root(), at=_NOW, faults=msgspec.convert(faults, TdxFaults))


def _claims(platform: str, made: Machine, *, vendor: Machine | None = None, at: int = _NOW) -> DcapClaims:
    built_in = platforms.get(platform)
    claims = built_in.verify(
        built_in.parse(made.evidence(_DATA, registers=_REGISTERS[platform], at=at)),
        Endorsements((vendor or made).endorsements(at=at)),
        anchors=_root().anchors(),
        at=at,
        signatures=Signatures(),
    )
    assert isinstance(claims, DcapClaims)
    return claims


def _failed(platform: str, policy: Mapping[str, object] | None = None, /, **faults: object) -> set[str]:
    """Return every check that fails, with its code."""
    built_in = platforms.get(platform)
    try:
        claims = _claims(platform, _machine(platform, **faults))
    except VerificationError as error:
        return {f"{error.check}: {error.code}"}
    judged = built_in.judge(claims, built_in.policy(**(policy or {})), at=_NOW)
    checks = (*claims.checks, *judged)
    return {f"{one.id}: {one.reason}" for one in checks if one.status in {Status.FAIL, Status.SKIPPED}}


@both
def test_a_healthy_machine_is_simulated(platform: str) -> None:
    made = _machine(platform)
    claims = _claims(platform, made)
    assert _failed(platform) == set()
    assert made.platform == claims.platform == platform
    assert claims.origin is Origin.SIMULATED
    assert claims.registers == _REGISTERS[platform]
    assert claims.committed.data == _DATA
    assert claims.tcb is not None
    assert claims.tcb.status == "UpToDate"
    assert claims.quote.header.version == {"sgx": 3, "tdx": 4}[platform]


@both
def test_it_is_simulated_years_later(platform: str) -> None:
    assert _claims(platform, _machine(platform), at=_NOW + 10_000 * _DAY).checks[-1].status is Status.PASS


@both
def test_intels_root_does_not_vouch_for_it(platform: str) -> None:
    made, built_in = _machine(platform), platforms.get(platform)
    with pytest.raises(VerificationError) as caught:
        built_in.verify(
            built_in.parse(made.evidence(_DATA, registers={}, at=_NOW)),
            Endorsements(made.endorsements(at=_NOW)),
            anchors=built_in.anchors(),
            at=_NOW,
            signatures=Signatures(),
        )
    assert caught.value.check == "dcap.pck-chain"


@both
def test_it_hands_out_all_that_intel_does(platform: str) -> None:
    assert {*_machine(platform).endorsements(at=_NOW), "pck_chain"} == set(ROLES)


@both
def test_another_process_endorses_it_alike(platform: str) -> None:
    kept = msgspec.msgpack.decode(msgspec.msgpack.encode(_root()), type=Root)
    there = simulator(platform).machine(kept, at=_NOW + 40 * _DAY)
    claims = _claims(platform, _machine(platform), vendor=there, at=_NOW + 40 * _DAY)
    assert claims.identity == _claims(platform, there).identity


@both
def test_another_process_revokes_the_same_certificate(platform: str) -> None:
    vendor = _machine(platform, revoked=("pck",))
    with pytest.raises(VerificationError) as caught:
        _claims(platform, _machine(platform), vendor=vendor)
    assert caught.value.code == "certificate-revoked"


@both
@pytest.mark.parametrize(
    ("data", "registers", "code"),
    [
        (_DATA, {"pcr0": bytes(48)}, "simulated-register"),
        (_DATA, {"mrenclave": bytes(31), "mrtd": bytes(31)}, "simulated-"),
        (b"short", {}, "simulated-size"),
    ],
)
def test_what_a_quote_has_no_room_for(
    platform: str, data: bytes, registers: dict[str, bytes], code: str
) -> None:
    with pytest.raises(ConfigurationError) as caught:
        _machine(platform).evidence(data, registers=registers, at=_NOW)
    assert caught.value.code.startswith(code)


_STATUS = "dcap.tcb-status: tcb-status-refused"
_Fault = tuple[dict[str, object], set[str]]


def _each(fault: str, found: Mapping[str, str]) -> list[_Fault]:
    return [({fault: (name,)}, {check}) for name, check in found.items()]


_DATED = ("pck", "pck_ca", "tcb", "tcb_info", "qe_identity", "pck_crl", "root_ca_crl")
_BOTH: tuple[_Fault, ...] = (
    ({"tcb": "sw_hardening_needed"}, {_STATUS}),
    ({"tcb": "configuration_needed"}, {_STATUS}),
    ({"tcb": "configuration_and_sw_hardening_needed"}, {_STATUS}),
    ({"tcb": "out_of_date"}, {_STATUS}),
    ({"tcb": "out_of_date_configuration_needed"}, {_STATUS}),
    ({"tcb": "revoked"}, {"dcap.tcb-status: tcb-revoked"}),
    ({"tcb": "not_supported"}, {"dcap.tcb-status: tcb-not-supported"}),
    ({"qe_tcb": "out_of_date"}, {_STATUS}),
    ({"qe_tcb": "revoked"}, {"dcap.tcb-status: tcb-revoked"}),
    ({"qe_tcb": "not_supported"}, {"dcap.tcb-status: tcb-not-supported"}),
    *_each("revoked", dict.fromkeys(("pck", "pck_ca", "tcb"), "revocation: certificate-revoked")),
    *_each("expired", dict.fromkeys(_DATED, "currency: expired")),
    *_each("future", dict.fromkeys(_DATED, "currency: not-yet-valid")),
    ({"debug": True}, {"debug: debug-on"}),
    ({"other_fmspc": True}, {"dcap.tcb-info: tcb-info-mismatch"}),
    ({"other_qe": True}, {"dcap.qe-identity: qe-identity-mismatch"}),
    ({"other_attestation_key": True}, {"dcap.qe-report: qe-report-data"}),
    *_each(
        "wrong_signature",
        {
            "quote": "dcap.quote-signature: signature-invalid",
            "qe_report": "dcap.qe-report: signature-invalid",
            "tcb_info": "dcap.tcb-info: signature-invalid",
            "qe_identity": "dcap.qe-identity: signature-invalid",
            "pck_crl": "revocation: signature-invalid",
            "root_ca_crl": "revocation: signature-invalid",
        },
    ),
    ({"missing": ("root_ca_crl",)}, {"revocation: endorsement-missing"}),
    ({"dynamic_platform": True, "cached_keys": True, "smt": True}, set()),
)


@both
@pytest.mark.parametrize(("faults", "found"), _BOTH)
def test_a_fault_is_found_by_its_check(platform: str, faults: dict[str, object], found: set[str]) -> None:
    assert _failed(platform, **faults) == found


@pytest.mark.parametrize(
    ("platform", "faults", "found"),
    [
        ("sgx", {"mode_32": True}, {"sgx.mode: sgx-mode-32"}),
        ("tdx", {"module_tcb": "out_of_date"}, {_STATUS}),
        ("tdx", {"module_tcb": "revoked"}, {"dcap.tcb-status: tcb-revoked"}),
        ("tdx", {"other_module": True}, {"tdx.module: tdx-module-mismatch"}),
        ("tdx", {"unknown_module": True}, {"tdx.module: tdx-module-unknown"}),
        ("tdx", {"sept_ve": True}, {"tdx.attributes: sept-ve-disable-clear"}),
        (
            "tdx",
            {"migratable": True},
            {"tdx.attributes: td-attributes-refused", "tdx.service-td: service-td-not-shown"},
        ),
    ],
)
def test_a_fault_of_one_of_them(platform: str, faults: dict[str, object], found: set[str]) -> None:
    assert _failed(platform, **faults) == found


@both
@pytest.mark.parametrize(
    ("flag", "check"),
    [
        ("dynamic_platform", "dcap.dynamic-platform"),
        ("cached_keys", "dcap.cached-keys"),
        ("smt", "dcap.smt"),
    ],
)
def test_what_is_certified_of_the_machine(platform: str, flag: str, check: str) -> None:
    assert _failed(platform, {flag: False}) == set()
    assert _failed(platform, {flag: False}, **{flag: True}) == {f"{check}: lever-refused"}


@both
def test_an_old_machine_can_be_accepted(platform: str) -> None:
    assert _failed(platform, {"accept_tcb_status": ("OutOfDate",)}, tcb="out_of_date") == set()
    assert _failed(platform, {"tcb_grace_days": 30}, tcb="out_of_date") == set()
    assert issubclass(platforms.get(platform).policy, DcapPolicy)


# The other library looks at no beginning of a revocation list, and needs every document.
_UNSEEN = ({"future": ("pck_crl",)}, {"future": ("root_ca_crl",)}, {"missing": ("root_ca_crl",)})


@both
@pytest.mark.parametrize(
    ("faults", "found"), [({}, set()), *(fault for fault in _BOTH if fault[0] not in _UNSEEN)]
)
def test_another_library_finds_the_same(platform: str, faults: dict[str, object], found: set[str]) -> None:
    made = _machine(platform, **faults)
    quote = made.evidence(_DATA, registers=_REGISTERS[platform], at=_NOW)
    collateral = _collateral(made.endorsements(at=_NOW))
    if found <= {_STATUS}:
        tcb = _claims(platform, made).tcb
        report = dcap_qvl.verify_with_root_ca(quote, collateral, _root().certificates[0], _NOW)
        assert tcb is not None
        assert report.status == tcb.status
    else:
        with pytest.raises(ValueError, match="Verification failed"):
            dcap_qvl.verify_with_root_ca(quote, collateral, _root().certificates[0], _NOW)


@pytest.mark.parametrize(
    ("launched", "runs", "status", "failed"),
    [
        ("up_to_date", "up_to_date", "UpToDate", set()),
        ("out_of_date", "up_to_date", "TDRelaunchAdvised", {_STATUS}),
        ("up_to_date", "out_of_date", "UpToDate", {"tdx.tcb-now: tcb-now-worse"}),
    ],
)
def test_what_runs_now_in_a_quote_of_version_5(
    launched: ComponentTcb, runs: ComponentTcb, status: str, failed: set[str]
) -> None:
    faults = TdxFaults(module_tcb=launched, module_tcb_now=runs)
    made = tdx_machine(_root(), at=_NOW, faults=faults, version=5)
    claims = _claims("tdx", made)
    assert claims.registers == _REGISTERS["tdx"]
    assert claims.quote.header.version == 5
    assert claims.tcb is not None
    assert claims.tcb.status == status
    built_in = platforms.get("tdx")
    checks = built_in.judge(claims, built_in.policy(), at=_NOW)
    assert {f"{check.id}: {check.reason}" for check in checks if check.status is Status.FAIL} == failed


def _collateral(documents: Mapping[str, bytes]) -> dcap_qvl.QuoteCollateralV3:
    info, info_signature = _split(documents["tcb_info"])
    identity, identity_signature = _split(documents["qe_identity"])
    return dcap_qvl.QuoteCollateralV3(
        pck_crl_issuer_chain=documents["pck_crl_issuer_chain"].decode(),
        root_ca_crl=documents["root_ca_crl"],
        pck_crl=documents["pck_crl"],
        tcb_info_issuer_chain=documents["tcb_info_issuer_chain"].decode(),
        tcb_info=info,
        tcb_info_signature=info_signature,
        qe_identity_issuer_chain=documents["qe_identity_issuer_chain"].decode(),
        qe_identity=identity,
        qe_identity_signature=identity_signature,
    )


def _split(document: bytes) -> tuple[str, bytes]:
    signed, signature = document[document.index(b":") + 1 :].rsplit(b',"signature":"', 1)
    return signed.decode(), bytes.fromhex(signature[:-2].decode())


def test_a_root_whose_keys_are_of_another_kind() -> None:
    key = ed25519.Ed25519PrivateKey.generate().private_bytes(
        Encoding.DER, PrivateFormat.PKCS8, NoEncryption()
    )
    mixed = Root("dcap", _root().certificates, {**_root().documents, "pck.key": key})
    with pytest.raises(TypeError, match="DCAP"):
        sgx_machine(mixed, at=_NOW)
