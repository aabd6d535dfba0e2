# SPDX-License-Identifier: Apache-2.0
"""What a good signature says of a bad platform.

Every way in which another verifier of SGX or TDX was once fooled here, as correctly signed evidence. The
numbers are those of the must-not-fail list that these tests were written from: A whose key signed it, B
revocation and time, C TCB evaluation, D parsing, E beyond the quote. What only concerns SEV-SNP (A6, B6,
C10 to C12, D1) is not here.
"""

import struct
from collections.abc import Mapping

import pytest
from tests.platforms.dcap.judging import claims_of, found, judge, refusal, status_of
from tests.platforms.dcap.pki import (
    FMSPC,
    PCESVN,
    SVNS,
    TDX_SVNS,
    World,
    extension_fields,
    level,
    module,
    svn_level,
)

from nacre.appraisal.verdict import Verdict
from nacre.checks import Status

TEES = pytest.mark.parametrize("tee", ["sgx", "tdx"])
DOCUMENTS = pytest.mark.parametrize(
    ("role", "check"), [("tcb_info", "dcap.tcb-info"), ("qe_identity", "dcap.qe-identity")]
)


def _world(tee: str = "tdx", **changes: object) -> World:
    return World(tee=tee, version=3 if tee == "sgx" else 4).but(**changes)


# ── C. TCB evaluation ────────────────────────────────────────────────────────────────────────────────

_NOT_GOOD = (
    *("SWHardeningNeeded", "ConfigurationNeeded", "ConfigurationAndSWHardeningNeeded"),
    *("OutOfDate", "OutOfDateConfigurationNeeded", "Revoked"),
)


@pytest.mark.parametrize("status", _NOT_GOOD)
@TEES
def test_c1_no_error_is_not_accepted(tee: str, status: str) -> None:
    """dcap-qvl 0.3.4 and bitrouter #566: "valid" said nothing of a status that was not looked at."""
    result = judge(_world(tee, status=status))
    assert result.verdict is Verdict.REJECTED
    assert result.error is None
    assert found(result, "dcap.tcb-status").status is Status.FAIL
    with pytest.raises(TypeError):
        bool(result)


@TEES
def test_c1_status_that_nobody_knows(tee: str) -> None:
    """dcap-qvl 0.3.4 passed statuses it did not know, on every level, reached or not."""
    tdx_svns = TDX_SVNS if tee == "tdx" else None
    for levels in (
        [level("Fine", tdx=tdx_svns)],
        [level(tdx=tdx_svns), level("uptodate", tdx=tdx_svns)],
        [level("TDRelaunchAdvised", tdx=tdx_svns)],
    ):
        assert refusal(_world(tee, info={"tcbLevels": levels})) == "dcap.tcb-info: json-shape"
    for status in ("Fine", "SWHardeningNeeded", "ConfigurationNeeded"):
        assert refusal(_world(tee, qe=status)) == "dcap.qe-identity: json-shape"
    assert refusal(_world("tdx", module="Fine")) == "dcap.tcb-info: json-shape"


@pytest.mark.parametrize(
    ("report", "info", "reason"),
    [
        ({"mr_signer_seam": b"\1" * 48}, {}, "tdx-module-mismatch"),
        ({"seam_attributes": b"\1"}, {}, "tdx-module-mismatch"),
        ({"seam_attributes": b"\0\0\0\0\0\0\0\x80"}, {}, "tdx-module-mismatch"),
        # Even where the identity says that these attributes are right.
        (
            {"seam_attributes": b"\1"},
            {"tdxModuleIdentities": [module(attributes="01" + "00" * 7)]},
            "tdx-module-mismatch",
        ),
        ({}, {"tdxModuleIdentities": [module(attributes="01" + "00" * 7)]}, "tdx-module-mismatch"),
        ({}, {"tdxModuleIdentities": [module(mrsigner="01" * 48)]}, "tdx-module-mismatch"),
        ({}, {"tdxModuleIdentities": [module(3)]}, "tdx-module-unknown"),
        ({}, {"tdxModuleIdentities": []}, "tdx-module-unknown"),
        ({}, {"tdxModuleIdentities": None}, "tdx-module-unknown"),
        ({"tee_tcb_svn": b"\5\xff\3"}, {}, "tdx-module-unknown"),
        # Version 0 is judged by the base identity alone.
        ({"tee_tcb_svn": b"\5\0\3", "mr_signer_seam": b"\1" * 48}, {}, "tdx-module-mismatch"),
    ],
    ids=str,
)
def test_c2_tdx_module(report: Mapping[str, bytes | int], info: Mapping[str, object], reason: str) -> None:
    """dcap-qvl up to 0.3.12 ignored the module's identity, up to 0.6.3 a missing one passed."""
    result = judge(_world(report=report, info=info))
    assert result.verdict is Verdict.REJECTED
    assert found(result, "tdx.module").reason == reason


def test_c2_revoked_module() -> None:
    """dcap-qvl up to 0.3.12: a revoked module passed."""
    assert refusal(_world(module="Revoked")) == "dcap.tcb-status: tcb-revoked"
    assert status_of(_world(report={"tee_tcb_svn": b"\4\1\3"})) == "NotSupported"


@pytest.mark.parametrize("status", _NOT_GOOD)
def test_c3_module_does_not_stand_for_the_platform(status: str) -> None:
    """go-tdx-guest 91f9a52: with a versioned module the platform's status was forgotten."""
    claims = claims_of(_world(status=status, module="UpToDate"))
    assert claims.tcb is not None
    assert claims.tcb.status == status
    assert claims.tcb.platform == status
    assert claims.tcb.components == ("UpToDate", "UpToDate")


def test_c4_components_of_a_versioned_module() -> None:
    """dcap-qvl up to 0.6.3 compared SVN and version of the module with the platform's level too."""
    info = {"tcbLevels": [level(tdx=(9, 9, 3, *bytes(13)))]}
    assert status_of(_world(info=info)) == "UpToDate"
    info = {"tcbLevels": [level(tdx=(0, 0, 4, *bytes(13)))]}
    assert status_of(_world(info=info)) == "NotSupported"
    # A module without a version has no levels of its own, so there they count.
    old = {"tee_tcb_svn": bytes((5, 0, 3))}
    info = {"tcbLevels": [level(tdx=(6, 0, 3, *bytes(13)))]}
    assert status_of(_world(report=old, info=info)) == "NotSupported"
    info = {"tcbLevels": [level(tdx=(5, 0, 3, *bytes(13)))]}
    assert status_of(_world(report=old, info=info)) == "UpToDate"


def test_c5_old_component_of_a_badly_configured_platform() -> None:
    """dcap-qvl up to 0.6.3 said OutOfDate where Intel says OutOfDateConfigurationNeeded."""
    for status in ("ConfigurationNeeded", "ConfigurationAndSWHardeningNeeded"):
        for component in ({"qe": "OutOfDate"}, {"module": "OutOfDate"}):
            assert status_of(_world(status=status, **component)) == "OutOfDateConfigurationNeeded"


@pytest.mark.parametrize("count", [0, 1, 15, 17])
@TEES
def test_c6_fewer_or_more_components(tee: str, count: int) -> None:
    """dcap-qvl 0.4.0 compared as many of sixteen components as there were."""
    svns = (SVNS * 2)[:count]
    usual = TDX_SVNS if tee == "tdx" else None
    assert refusal(_world(tee, info={"tcbLevels": [level(sgx=svns, tdx=usual)]})).startswith(
        "dcap.tcb-info: "
    )
    # Also in a level that is never reached.
    levels = [level(tdx=usual), level("OutOfDate", sgx=svns, tdx=usual)]
    assert refusal(_world(tee, info={"tcbLevels": levels})).startswith("dcap.tcb-info: ")
    if tee == "tdx":
        tdx_svns = (TDX_SVNS * 2)[:count]
        assert refusal(_world(info={"tcbLevels": [level(tdx=tdx_svns)]})).startswith("dcap.tcb-info: ")
        assert refusal(_world(info={"tcbLevels": [level(tdx=None)]})).startswith("dcap.tcb-info: ")


@pytest.mark.parametrize(
    ("what", "info"),
    [
        ("PCEID", {"pceId": "0001"}),
        ("FMSPC", {"fmspc": "00806f050001"}),
        ("TEE", {"id": "SGX", "tdxModule": None, "tdxModuleIdentities": None}),
    ],
)
def test_c7_documents_of_another_platform(what: str, info: Mapping[str, object]) -> None:
    """dcap-qvl 0.7.0 accepted TCB Info of another PCEID."""
    result = judge(_world(info=info))
    assert result.verdict is Verdict.REJECTED
    assert found(result, "dcap.tcb-info").context["what"] == what


def test_c7_documents_of_the_same_platform_in_other_letters() -> None:
    """FMSPCs occur in both cases; they are bytes."""
    for text in (FMSPC.hex(), FMSPC.hex().upper(), "00806F050000", "00806f050000"):
        assert judge(_world(info={"fmspc": text})).verdict is Verdict.VERIFIED


@pytest.mark.parametrize("version", [0, 1, 4, -3, "3", 3.5, True, None])
def test_c7_versions_that_nobody_defined(version: object) -> None:
    """dcap-qvl 0.7.0 accepted TCB Info of version 4."""
    assert refusal(_world(info={"version": version})) == "dcap.tcb-info: json-shape"
    assert refusal(_world(identity={"version": version})) == "dcap.qe-identity: json-shape"
    assert refusal(_world(identity={"version": 3})) == "dcap.qe-identity: json-shape"


def test_c7_second_version_is_for_sgx_alone() -> None:
    """Version 2 of TCB Info knows no TDX."""
    assert judge(_world(info={"version": 2})).verdict is Verdict.REJECTED


@pytest.mark.parametrize("outer", [0, 1, 5, 7])
def test_c7_outer_certification_data_of_another_type(outer: int) -> None:
    """dcap-qvl 0.7.0 accepted type 5 where a v4 quote has to say 6."""
    quote = bytearray(_world().quote)
    struct.pack_into("<H", quote, 632 + 4 + 128, outer)
    assert refusal(_world(), quote=bytes(quote)) == "evidence: certification-data-type"


@pytest.mark.parametrize(
    "name", ["Intel SGX PCK Certificate ", "intel sgx pck certificate", "Intel SGX PCK Platform CA", "", "x"]
)
def test_c7_leaf_of_another_name(name: str) -> None:
    """dcap-qvl 0.7.0 accepted any name of the leaf."""
    if name:
        assert refusal(_world(certificates={"pck": {"name": name}})) == "dcap.pck-chain: wrong-role"


def test_c8_relaunch_is_advised() -> None:
    """dcap-qvl up to 0.6.3 and go-tdx-guest 91f9a52 did not know TDRelaunchAdvised."""
    old = {"tee_tcb_svn": bytes((4, 1, 3)), "tee_tcb_svn2": bytes((5, 1, 3))}
    modules = [module(levels=[svn_level(5), svn_level(4, "OutOfDate")])]
    for body in (3, 4):
        world = _world(version=5, body=body, report=old, info={"tdxModuleIdentities": modules})
        assert status_of(world) == "TDRelaunchAdvised"
        assert refusal(world) == "dcap.tcb-status: tcb-status-refused"
        lenient = {"accept_tcb_status": ("UpToDate", "TDRelaunchAdvised")}
        assert judge(world, section=lenient).verdict is Verdict.VERIFIED
    # TD 1.0 has nothing to compare with.
    assert (
        status_of(_world(version=5, body=2, report=old, info={"tdxModuleIdentities": modules})) == "OutOfDate"
    )


def test_c8_relaunch_does_not_help_an_old_quoting_enclave() -> None:
    """Automata PR #130: the advice was computed and then overwritten, or given where it cannot help."""
    old = {"tee_tcb_svn": bytes((4, 1, 3)), "tee_tcb_svn2": bytes((5, 1, 3))}
    modules = [module(levels=[svn_level(5), svn_level(4, "OutOfDate")])]
    world = _world(version=5, report=old, info={"tdxModuleIdentities": modules})
    assert status_of(world.but(qe="OutOfDate")) == "OutOfDate"
    assert status_of(world.but(qe="Revoked")) == "Revoked"


def test_c9_out_of_date_does_not_end_the_checks() -> None:
    """go-tdx-guest (teep #153) stopped at OutOfDate before it looked at the quoting enclave."""
    world = _world(status="OutOfDate", qe_report={"mr_signer": b"\7" * 32})
    assert refusal(world) == "dcap.qe-identity: qe-identity-mismatch"
    lenient = {"accept_tcb_status": ("OutOfDate",), "accept_advisories": ("any",)}
    assert refusal(world, section=lenient) == "dcap.qe-identity: qe-identity-mismatch"


def test_tcb_is_the_certificates_not_the_reports() -> None:
    """CPUSVN of the report is what runs, not what the PCK was certified at; neither may be compared."""
    for cpu_svn in (bytes(16), b"\xff" * 16):
        assert judge(_world("sgx", report={"cpu_svn": cpu_svn})).verdict is Verdict.VERIFIED
        assert judge(_world("sgx", qe_report={"cpu_svn": cpu_svn})).verdict is Verdict.VERIFIED
    fields = extension_fields(svns=(4, *SVNS[1:]))
    assert status_of(_world("sgx", fields=fields)) == "NotSupported"
    assert status_of(_world("sgx", fields=extension_fields(pcesvn=PCESVN - 1))) == "NotSupported"
