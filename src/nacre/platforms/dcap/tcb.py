# SPDX-License-Identifier: Apache-2.0
"""TCB evaluation: which level of Intel's documents a platform reaches, and what that is called.

The rules are those of Intel's Quote Verification Library (``EvaluateTcb``, ``TdxModuleCheck``,
``TDRelaunchCheck``, ``TcbLevelCheck``). A status is one of ten words, never a boolean.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime

import msgspec

from nacre.platforms.dcap.tcb_info import (
    Component,
    EnclaveIdentity,
    ModuleIdentity,
    SvnLevel,
    TcbInfo,
    TcbLevel,
    TcbStatus,
)

__all__ = ["Shortfall", "Svns", "TcbReport", "evaluate", "find_module"]

_S = TcbStatus

_CONFIGURATION_MISSING = {
    _S.CONFIGURATION,
    _S.CONFIGURATION_AND_SW_HARDENING,
    _S.OUT_OF_DATE_CONFIGURATION,
}
_OLD = {_S.OUT_OF_DATE, _S.OUT_OF_DATE_CONFIGURATION}
_RELAUNCH_HELPS = {_S.UP_TO_DATE, _S.SW_HARDENING, _S.CONFIGURATION, _S.CONFIGURATION_AND_SW_HARDENING}
_OUT_OF_DATE = {
    _S.UP_TO_DATE: _S.OUT_OF_DATE,
    _S.SW_HARDENING: _S.OUT_OF_DATE,
    _S.CONFIGURATION: _S.OUT_OF_DATE_CONFIGURATION,
    _S.CONFIGURATION_AND_SW_HARDENING: _S.OUT_OF_DATE_CONFIGURATION,
}


class Svns(msgspec.Struct, frozen=True):
    """The security version numbers that a platform shows.

    Attributes:
        sgx: The sixteen components of the PCK certificate, one byte each.
        pcesvn: The PCK certificate's PCESVN.
        qe: The ISVSVN of the quoting enclave's report.
        tdx: TEE_TCB_SVN, 16 bytes; empty for SGX.
        tdx_now: TEE_TCB_SVN2 of a TD 1.5 report, 16 bytes: what runs now; empty if there is none.
    """

    sgx: bytes
    pcesvn: int
    qe: int
    tdx: bytes = b""
    tdx_now: bytes = b""


class Shortfall(msgspec.Struct, frozen=True):
    """One component that misses the newest level.

    Attributes:
        component: Intel's name for it, or its position.
        has: Its SVN.
        needs: The SVN of the level.
        updater: Who can update it.
    """

    component: str
    has: int
    needs: int
    updater: str

    def __str__(self) -> str:
        return f"{self.component} is {self.has}, level needs {self.needs}, {self.updater} updates it"


class TcbReport(msgspec.Struct, frozen=True):
    """What TCB evaluation found.

    Attributes:
        status: The converged status.
        platform: The status of the platform level alone.
        components: The statuses of TDX module (TDX with a versioned module only) and quoting enclave.
        launch: For TD 1.5 reports, the converged status with the SVNs at launch.
        current: For TD 1.5 reports, the same with the SVNs that run now.
        current_advisories: For TD 1.5 reports, the advisories of the levels that those meet.
        advisories: Sorted ids of every advisory of the levels that were met.
        date: The oldest date of those levels, Unix seconds; None if some level was not met.
        number: The ``tcbEvaluationDataNumber`` of TCB Info.
        outdated: Since when something is OutOfDate, Unix seconds, for grace periods: the first date at which
            Intel published a level above one that was met; None if nothing is, or none of them is UpToDate.
        svns: What was evaluated.
        info: Against which TCB Info.
        identity: Against which quoting enclave identity.
    """

    status: str
    platform: str
    components: tuple[str, ...]
    launch: str | None
    current: str | None
    current_advisories: tuple[str, ...]
    advisories: tuple[str, ...]
    date: int | None
    number: int
    outdated: int | None
    svns: Svns
    info: TcbInfo
    identity: EnclaveIdentity

    def shortfalls(self) -> tuple[Shortfall, ...]:
        """Name the components that miss the newest level, and who can update each."""
        return tuple(_shortfalls(self))


class _Reached(msgspec.Struct, frozen=True):
    status: str
    platform: str
    components: tuple[str, ...]
    levels: tuple[TcbLevel | SvnLevel | None, ...]
    outdated: tuple[int | None, ...]


def find_module(info: TcbInfo, tee_tcb_svn: bytes) -> ModuleIdentity | None:
    """Return the identity that a TDX module has to meet: by its major version, byte 1 of TEE_TCB_SVN."""
    major = tee_tcb_svn[1]
    return info.modules.get(f"TDX_{major:02X}") if major else info.module


def evaluate(info: TcbInfo, identity: EnclaveIdentity, svns: Svns) -> TcbReport:
    """Evaluate a platform's SVNs. Both documents must be authentic and belong to the platform.

    Steps:

    1. Platform level: the first whose SGX components, PCESVN and TDX components are all reached.
    2. TDX module level, if the module has a major version; quoting enclave level.
    3. Converge: a revoked component revokes, an old one makes the whole old.
    4. TD 1.5: again with the SVNs that run now; if those are good, relaunching the TD is enough. If they
       are worse than at launch, the status is still that of the launch, as in Intel's library; ``current``
       tells, and the policy of TDX refuses it.
    """
    launch = _reach(info, identity, svns, svns.tdx)
    status = launch.status
    levels = launch.levels
    now = None
    if svns.tdx_now:
        # (4)
        now = _reach(info, identity, svns, svns.tdx_now) if svns.tdx_now != svns.tdx else launch
        if now.status == _S.NOT_SUPPORTED:
            status = now.status
        elif launch.status in _OLD and now.status in _RELAUNCH_HELPS:
            configure = {launch.status, now.status} & _CONFIGURATION_MISSING
            status = _S.RELAUNCH_CONFIGURATION if configure else _S.RELAUNCH
    outdated = (*launch.outdated, *(now.outdated if now else ()))
    met = [level for level in levels if level is not None]
    return TcbReport(
        status,
        launch.platform,
        launch.components,
        launch.status if now else None,
        now.status if now else None,
        _advisories([level for level in now.levels if level]) if now else (),
        _advisories(met),
        _seconds(min([level.date for level in met])) if len(met) == len(levels) else None,
        info.number,
        _earliest(outdated),
        svns,
        info,
        identity,
    )


def _reach(info: TcbInfo, identity: EnclaveIdentity, svns: Svns, tdx: bytes) -> _Reached:
    # (1)
    platform = _platform_level(info.levels, svns, tdx)
    # (2)
    enclave = _svn_level(identity.levels, svns.qe)
    levels: list[TcbLevel | SvnLevel | None] = [platform]
    if tdx and tdx[1]:
        module = find_module(info, tdx)
        levels.append(_svn_level(module.levels, tdx[0]) if module else None)
    levels.append(enclave)
    statuses = [level.status if level else _S.NOT_SUPPORTED for level in levels]
    # (3)
    status = _converge(statuses[0], statuses[1:])
    outdated = _outdated(info, identity, tdx, levels) if status in _OLD else ()
    return _Reached(status, statuses[0], tuple(statuses[1:]), tuple(levels), outdated)


def _outdated(
    info: TcbInfo, identity: EnclaveIdentity, tdx: bytes, met: Sequence[TcbLevel | SvnLevel | None]
) -> tuple[int | None, ...]:
    """Say of each level that was met and is old since when it is; None where no level above it is good."""
    module = find_module(info, tdx) if tdx and tdx[1] else None
    lists: list[Sequence[TcbLevel | SvnLevel]] = [info.levels, identity.levels]
    if module:
        lists.insert(1, module.levels)
    since: list[int | None] = []
    for levels, level in zip(lists, met, strict=True):
        if level is not None and level.status in _OLD:
            above = levels[: levels.index(level)]
            good = any(better.status == _S.UP_TO_DATE for better in above)
            later = [better.date for better in above if better.date > level.date]
            since.append(_seconds(min(later, default=level.date)) if good else None)
    return tuple(since)


def _earliest(since: Sequence[int | None]) -> int | None:
    known = [moment for moment in since if moment is not None]
    return min(known) if known and len(known) == len(since) else None


def _seconds(date: datetime) -> int:
    return int(date.timestamp())


def _platform_level(levels: tuple[TcbLevel, ...], svns: Svns, tdx: bytes) -> TcbLevel | None:
    # With a versioned module, its SVN and version are judged by the module's own levels.
    first = _first_component(tdx)
    for level in levels:
        tcb = level.tcb
        if (
            svns.pcesvn >= tcb.pcesvn
            and _reaches(svns.sgx, tcb.sgx)
            and (not tdx or (tcb.tdx is not None and _reaches(tdx[first:], tcb.tdx[first:])))
        ):
            return level
    return None


def _first_component(tdx: bytes) -> int:
    return 2 if tdx and tdx[1] else 0


def _reaches(svns: bytes, components: tuple[Component, ...]) -> bool:
    return all(svn >= component.svn for svn, component in zip(svns, components, strict=True))


def _svn_level(levels: tuple[SvnLevel, ...], svn: int) -> SvnLevel | None:
    for level in levels:
        if svn >= level.isvsvn:
            return level
    return None


def _converge(platform: str, components: list[str]) -> str:
    if platform == _S.NOT_SUPPORTED or _S.NOT_SUPPORTED in components:
        return _S.NOT_SUPPORTED
    if _S.REVOKED in components:
        return _S.REVOKED
    if _S.OUT_OF_DATE in components:
        return _OUT_OF_DATE.get(platform, platform)
    return platform


def _advisories(levels: list[TcbLevel | SvnLevel]) -> tuple[str, ...]:
    found: set[str] = set()
    for level in levels:
        found.update(level.advisories)
    return tuple(sorted(found))


_PACKAGES = "the host operator (DCAP packages)"
_SOMEBODY = "the machine's owner or host operator"
_UPDATERS = {
    "BIOS": "the machine's owner (BIOS)",
    "OS/VMM": "the cloud or host operator (OS/VMM)",
}


def _shortfalls(report: TcbReport) -> Iterator[Shortfall]:
    info, svns = report.info, report.svns
    if info.levels:
        newest = info.levels[0].tcb
        yield from _below("SGX", svns.sgx, newest.sgx, 0)
        yield from _below("TDX", svns.tdx, newest.tdx or (), _first_component(svns.tdx))
        if svns.pcesvn < newest.pcesvn:
            yield Shortfall("PCE", svns.pcesvn, newest.pcesvn, _PACKAGES)
    module = find_module(info, svns.tdx) if svns.tdx and svns.tdx[1] else None
    if module and module.levels and svns.tdx[0] < module.levels[0].isvsvn:
        yield Shortfall(f"TDX module {module.id}", svns.tdx[0], module.levels[0].isvsvn, "the cloud")
    levels = report.identity.levels
    if levels and svns.qe < levels[0].isvsvn:
        yield Shortfall("quoting enclave", svns.qe, levels[0].isvsvn, _PACKAGES)


def _below(family: str, svns: bytes, components: tuple[Component, ...], first: int) -> Iterator[Shortfall]:
    for index, (svn, component) in enumerate(zip(svns, components, strict=False)):
        if svn < component.svn and index >= first:
            name = component.type or f"{family} component {index + 1}"
            yield Shortfall(name, svn, component.svn, _UPDATERS.get(component.category, _SOMEBODY))
