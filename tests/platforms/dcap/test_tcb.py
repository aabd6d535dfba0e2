# SPDX-License-Identifier: Apache-2.0
"""TCB evaluation against tables that were written by hand, and what it tells about a platform."""

import functools
import itertools
from collections.abc import Sequence

import pytest
from tests.platforms.dcap.judging import claims_of, found, judge, status_of
from tests.platforms.dcap.pki import (
    DAY,
    NOW,
    PCESVN,
    QE_SVN,
    SVNS,
    TDX_SVNS,
    Json,
    World,
    extension_fields,
    level,
    module,
    svn_level,
)

from nacre.platforms.dcap.changes import Change, changes
from nacre.platforms.dcap.tcb import Shortfall, Svns, TcbReport, evaluate, find_module
from nacre.platforms.dcap.tcb_info import (
    EnclaveIdentity,
    TcbInfo,
    TcbStatus,
    parse_identity,
    parse_tcb_info,
)
from nacre.reasons import explain

_U, _S, _C = "UpToDate", "SWHardeningNeeded", "ConfigurationNeeded"
_CS = "ConfigurationAndSWHardeningNeeded"
_O, _OC, _R = "OutOfDate", "OutOfDateConfigurationNeeded", "Revoked"
_T, _TC, _N = "TDRelaunchAdvised", "TDRelaunchAdvisedConfigurationNeeded", "NotSupported"

_PLATFORM = (_U, _S, _C, _CS, _O, _OC, _R)
_COMPONENT = (_U, _O, _R)

#: Platform status to what comes of it if the worst component is UpToDate, OutOfDate, Revoked.
_CONVERGED = {
    _U: (_U, _O, _R),
    _S: (_S, _O, _R),
    _C: (_C, _OC, _R),
    _CS: (_CS, _OC, _R),
    _O: (_O, _O, _R),
    _OC: (_OC, _OC, _R),
    _R: (_R, _R, _R),
}
#: Status at launch to what comes of it with each status now, in the order of the first row.
_RELAUNCHED = {
    "": (_U, _S, _C, _CS, _O, _OC, _R, _N),
    _U: (_U, _U, _U, _U, _U, _U, _U, _N),
    _S: (_S, _S, _S, _S, _S, _S, _S, _N),
    _C: (_C, _C, _C, _C, _C, _C, _C, _N),
    _CS: (_CS, _CS, _CS, _CS, _CS, _CS, _CS, _N),
    _O: (_T, _T, _TC, _TC, _O, _O, _O, _N),
    _OC: (_TC, _TC, _TC, _TC, _OC, _OC, _OC, _N),
    _R: (_R, _R, _R, _R, _R, _R, _R, _N),
    _N: (_N, _N, _N, _N, _N, _N, _N, _N),
}


def _relaunched(launch: str, now: str) -> str:
    return _RELAUNCHED[launch][_RELAUNCHED[""].index(now)]


def _converged(platform: str, *components: str) -> str:
    if _N in (platform, *components):
        return _N
    return _CONVERGED[platform][max(_COMPONENT.index(component) for component in components)]


@pytest.mark.parametrize("platform", _PLATFORM)
@pytest.mark.parametrize("qe", _COMPONENT)
def test_convergence(platform: str, qe: str) -> None:
    for tdx_module in _COMPONENT:
        tcb = claims_of(World(status=platform, qe=qe, module=tdx_module)).tcb
        assert tcb is not None
        assert tcb.status == _converged(platform, qe, tdx_module)
        assert (tcb.platform, tcb.components) == (platform, (tdx_module, qe))
        assert (tcb.launch, tcb.current) == (None, None)
    sgx = claims_of(World(tee="sgx", version=3, status=platform, qe=qe)).tcb
    assert sgx is not None
    assert sgx.status == _converged(platform, qe)
    assert sgx.components == (qe,)


def _tdx(microcode: int, svn: int = TDX_SVNS[0]) -> bytes:
    return bytes((svn, 1, microcode, *bytes(13)))


def _two_levels(now: str, launch: str) -> list[Json]:
    return [level(now, tdx=_tdx(2)), level(launch, tdx=_tdx(1))]


@functools.cache
def _info(now: str, launch: str, module_now: str, module_launch: str) -> TcbInfo:
    modules = [module(levels=[svn_level(6, module_now), svn_level(5, module_launch)])]
    world = World(info={"tcbLevels": _two_levels(now, launch), "tdxModuleIdentities": modules})
    return parse_tcb_info(world.signed_document("tcb_info", "tcbInfo", world.tcb_info()))


@functools.cache
def _identity(qe: str) -> EnclaveIdentity:
    return parse_identity(World(qe=qe).endorsements.documents["qe_identity"])


@pytest.mark.parametrize("launch", [*_PLATFORM, _N])
def test_relaunch_whole_matrix(launch: str) -> None:
    """Platform, module and quoting enclave, each with every status at launch and now."""
    modules, platforms = (*_COMPONENT, _N), (*_PLATFORM, _N)
    for now, before, after, qe in itertools.product(platforms, modules, modules, (*_COMPONENT, _N)):
        info = _info(
            *(_U if status == _N else status for status in (now, launch)),
            *(_U if status == _N else status for status in (after, before)),
        )
        svns = Svns(
            bytes(SVNS),
            PCESVN,
            0 if qe == _N else QE_SVN,
            _tdx(0 if launch == _N else 1, 4 if before == _N else 5),
            _tdx(0 if now == _N else 2, 4 if after == _N else 6),
        )
        report = evaluate(info, _identity(_U if qe == _N else qe), svns)
        statuses = (_converged(launch, before, qe), _converged(now, after, qe))
        assert (report.launch, report.current) == statuses
        assert report.status == _relaunched(*statuses), (launch, before, now, after, qe)


@pytest.mark.parametrize("launch", _PLATFORM)
def test_relaunch_from_the_quote_on(launch: str) -> None:
    for now in _PLATFORM:
        for body in (3, 4):
            world = World(
                version=5,
                body=body,
                report={"tee_tcb_svn": _tdx(1), "tee_tcb_svn2": _tdx(2)},
                info={"tcbLevels": _two_levels(now, launch)},
            )
            assert status_of(world) == _relaunched(launch, now)


def test_two_modules_in_one_quote() -> None:
    """The module that runs now may be of another version, with an identity of its own."""
    first = module(1, [svn_level(5, _O)])
    second = module(2, [svn_level(3)])
    report = {"tee_tcb_svn": bytes((5, 1, 3)), "tee_tcb_svn2": bytes((3, 2, 3))}
    world = World(version=5, report=report, info={"tdxModuleIdentities": [first, second]})
    assert status_of(world) == _T
    # Nobody knows the module that runs now, so nobody can say that it is good.
    assert status_of(world.but(info={"tdxModuleIdentities": [first]})) == _N


def test_same_svns_need_no_second_look() -> None:
    tcb = claims_of(World(version=5, status=_O)).tcb
    assert tcb is not None
    assert (tcb.launch, tcb.current, tcb.status) == (_O, _O, _O)


# ── Levels ───────────────────────────────────────────────────────────────────────────────────────────


def _one_less(svns: Sequence[int], place: int) -> tuple[int, ...]:
    return tuple(svn - (number == place) for number, svn in enumerate(svns))


def test_every_sgx_component_counts() -> None:
    svns = tuple(range(3, 19))
    info = {"tcbLevels": [level(_U, sgx=svns), level(_O, sgx=bytes(16), pcesvn=0)]}
    assert status_of(World(fields=extension_fields(svns), info=info)) == _U
    for place in range(16):
        fields = extension_fields(_one_less(svns, place))
        assert status_of(World(fields=fields, info=info)) == _O
        better = extension_fields(tuple(svn + (number == place) for number, svn in enumerate(svns)))
        assert status_of(World(fields=better, info=info)) == _U
    assert status_of(World(fields=extension_fields(svns, PCESVN - 1), info=info)) == _O
    assert status_of(World(fields=extension_fields((255,) * 16, 65535), info=info)) == _U


@pytest.mark.parametrize("major", [0, 1])
def test_every_tdx_component_counts(major: int) -> None:
    svns = (9, major, *range(3, 17))
    info = {
        "tcbLevels": [level(_U, tdx=svns), level(_O, tdx=bytes(16))],
        "tdxModuleIdentities": [module(levels=[svn_level(0)])],
    }
    assert status_of(World(report={"tee_tcb_svn": bytes(svns)}, info=info)) == _U
    for place in range(16):
        if major and place == 1:
            continue
        report = {"tee_tcb_svn": bytes(_one_less(svns, place) if svns[place] else svns)}
        # With a versioned module its SVN and version are judged by the module's own levels.
        good = _U if (major and place < 2) or not svns[place] else _O
        assert status_of(World(report=report, info=info)) == good


def test_first_level_that_is_reached() -> None:
    levels = [level(_U, sgx=(255,) * 16), level(_S), level(_O), level(_R, sgx=bytes(16), pcesvn=0)]
    assert status_of(World(info={"tcbLevels": levels})) == _S
    assert status_of(World(info={"tcbLevels": [levels[0], levels[3]]})) == _R
    assert status_of(World(info={"tcbLevels": [levels[0]]})) == _N
    assert status_of(World(info={"tcbLevels": []})) == _N
    identity = {"tcbLevels": [svn_level(5), svn_level(4, _O), svn_level(0, _R)]}
    assert status_of(World(identity=identity)) == _O
    assert status_of(World(identity=identity, qe_report={"isv_svn": 3})) == _R
    assert status_of(World(identity={"tcbLevels": []})) == _N


def test_modules_are_named_in_either_case() -> None:
    info = {"tdxModuleIdentities": [module(0x1A, [svn_level(5)]) | {"id": "tdx_1a"}]}
    assert status_of(World(report={"tee_tcb_svn": b"\5\x1a\3"}, info=info)) == _U


def test_module_without_version_has_the_base_identity() -> None:
    info = {"tcbLevels": [level(tdx=bytes(16))]}
    tcb = claims_of(World(report={"tee_tcb_svn": bytes((5, 0, 3))}, info=info)).tcb
    assert tcb is not None
    assert tcb.components == (_U,)
    assert find_module(tcb.info, bytes(16)) is tcb.info.module


# ── What is reported ─────────────────────────────────────────────────────────────────────────────────


def _report(world: World) -> TcbReport:
    tcb = claims_of(world).tcb
    assert tcb is not None
    return tcb


def test_advisories_dates_and_numbers_of_all_levels_together() -> None:
    newer = level(_U, sgx=(255,) * 16, date=NOW - 3 * DAY)
    reached = level(_O, date=NOW - 50 * DAY, advisories=("INTEL-SA-2", "INTEL-SA-1"))
    of_module = svn_level(5, date=NOW - 40 * DAY, advisories=("INTEL-SA-3",))
    of_enclave = svn_level(4, date=NOW - 60 * DAY, advisories=("INTEL-SA-2", "INTEL-SA-4"))
    world = World(
        info={
            "tcbLevels": [newer, reached],
            "tdxModuleIdentities": [module(levels=[of_module])],
            "tcbEvaluationDataNumber": 21,
        },
        identity={"tcbLevels": [of_enclave]},
    )
    report = _report(world)
    assert report.advisories == ("INTEL-SA-1", "INTEL-SA-2", "INTEL-SA-3", "INTEL-SA-4")
    assert report.date == NOW - 60 * DAY
    assert report.outdated == NOW - 3 * DAY
    assert (report.number, report.identity.number) == (21, 20)
    assert _report(world.but(identity={"tcbLevels": []})).date is None
    assert _report(world.but(info={"tcbLevels": [level(_O)]})).outdated is None


def test_shortfalls_name_component_and_updater() -> None:
    world = World(
        fields=extension_fields((4, 5, 2, 2, 3, 1, 0, 3, *bytes(8)), PCESVN - 1),
        report={"tee_tcb_svn": bytes((4, 1, 2))},
        qe_report={"isv_svn": 3},
        info={
            "tcbLevels": [
                level(sgx=(*SVNS[:3], 7, *SVNS[4:])),
                level(_O, sgx=bytes(16), tdx=bytes(16), pcesvn=0),
            ],
            "tdxModuleIdentities": [module(levels=[svn_level(5), svn_level(0, _O)])],
        },
        identity={"tcbLevels": [svn_level(4), svn_level(0, _O)]},
    )
    assert [str(shortfall) for shortfall in _report(world).shortfalls()] == [
        "Early Microcode Update is 4, level needs 5, the machine's owner (BIOS) updates it",
        "SGX component 4 is 2, level needs 7, the machine's owner or host operator updates it",
        "SEAMLDR ACM is 3, level needs 5, the cloud or host operator (OS/VMM) updates it",
        "TDX Late Microcode Update is 2, level needs 3, the cloud or host operator (OS/VMM) updates it",
        "PCE is 12, level needs 13, the host operator (DCAP packages) updates it",
        "TDX module TDX_01 is 4, level needs 5, the cloud updates it",
        "quoting enclave is 3, level needs 4, the host operator (DCAP packages) updates it",
    ]
    said = explain(found(judge(world), "dcap.tcb-status"))
    assert said.startswith(
        "the platform is OutOfDate under evaluation number 20, the policy accepts UpToDate: Early"
    )
    assert "SEAMLDR ACM is 3, level needs 5" in said


def test_shortfalls_of_an_old_module() -> None:
    """Without a version, the module is a component like others."""
    info = {"tcbLevels": [level(tdx=(6, 0, 3, *bytes(13)))]}
    world = World(report={"tee_tcb_svn": bytes((5, 0, 3))}, info=info)
    assert _report(world).shortfalls() == (
        Shortfall("TDX Module", 5, 6, "the cloud or host operator (OS/VMM)"),
    )


def test_no_shortfall() -> None:
    assert _report(World()).shortfalls() == ()
    assert _report(World(tee="sgx", version=3)).shortfalls() == ()
    said = explain(found(judge(World(status=_S)), "dcap.tcb-status"))
    assert said.endswith("nothing is below the newest level: its configuration or software is at issue")
    # Nothing to be below of.
    info: Json = {"tcbLevels": [], "tdxModuleIdentities": [module() | {"tcbLevels": []}]}
    assert _report(World(info=info, identity={"tcbLevels": []})).shortfalls() == ()


def test_hopeless_statuses_say_so() -> None:
    said = explain(found(judge(World(info={"tcbLevels": [level(pcesvn=14)]})), "dcap.tcb-status"))
    assert said == (
        "the platform reaches no TCB level at all (evaluation number 20): PCE is 13, level needs 14, "
        "the host operator (DCAP packages) updates it"
    )
    said = explain(found(judge(World(status=_R)), "dcap.tcb-status"))
    assert said.startswith("Intel revoked this platform's TCB (evaluation number 20): ")


def test_statuses_are_ten_words() -> None:
    assert {*_PLATFORM, _T, _TC, _N} == TcbStatus.ALL
    assert len(TcbStatus.ALL) == 10


# ── Which document made the difference ───────────────────────────────────────────────────────────────


def test_what_changed() -> None:
    old = World(info={"tcbEvaluationDataNumber": 17})
    new = World(info={"tcbEvaluationDataNumber": 20, "tcbLevels": [level(pcesvn=14), level(_O)]})
    blamed = Change("tcb_info", _U, _O, 17, 20, NOW - DAY, NOW - DAY, decisive=True)
    assert list(changes(_report(old), _report(new))) == [blamed]
    # A new identity that changes nothing is told, and not blamed.
    newer = new.but(identity={"tcbEvaluationDataNumber": 21})
    told = Change("qe_identity", _O, _O, 20, 21, NOW - DAY, NOW - DAY, decisive=False)
    assert list(changes(_report(old), _report(newer))) == [blamed, told]
    assert list(changes(_report(new), _report(new))) == []
