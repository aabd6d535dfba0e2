# SPDX-License-Identifier: Apache-2.0
"""The policy lines for TDX, and holding a TD against them."""

from nacre.checks import Check, Status, failed, passed, skipped, warned
from nacre.errors import ConfigurationError
from nacre.platforms.dcap.claims import DcapClaims
from nacre.platforms.dcap.layout import TdReport
from nacre.platforms.dcap.policy import DcapPolicy, judge_platform, refused_advisories
from nacre.platforms.dcap.tcb import TcbReport
from nacre.platforms.dcap.views import TD_ATTRIBUTES, flags

__all__ = ["TdxPolicy", "judge_td"]

_SEPT_VE_DISABLE = 1 << 28
_DEBUG = 1  # judged by its own check
_HARMLESS = ("SEPT_VE_DISABLE", "PKS", "KL", "PERFMON")
_BITS = {name: 1 << bit for bit, name in TD_ATTRIBUTES.items()}


class TdxPolicy(DcapPolicy, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is acceptable of a TD, beside the lines of ``DcapPolicy``.

    Attributes:
        require_sept_ve_disable: Refuse a TD whose kernel may get #VE on pages that the host took away.
            On by default; Azure and some Google TDs run without it.
        td_attributes: TDATTRIBUTES bits that may be set, by name. ``MIGRATABLE`` is not among the
            defaults: the host could move the TD to a machine that nobody attested.
        service_tds: MRSERVICETD values to accept, 48 bytes in hex; none by default.
        unsafe_ignore_current_tcb: Look at the TCB at launch alone, as Intel's library does, even if what
            runs now (TD 1.5) is worse.
    """

    require_sept_ve_disable: bool = True
    td_attributes: tuple[str, ...] = _HARMLESS
    service_tds: tuple[str, ...] = ()
    unsafe_ignore_current_tcb: bool = False

    def __post_init__(self) -> None:
        """Refuse lines that can not mean anything."""
        super().__post_init__()
        for name in self.td_attributes:
            if name not in _BITS:
                raise ConfigurationError("policy-td-attribute", actual=name, expected=tuple(_BITS))
        for value in self.service_tds:
            if len(value) != 96 or not set(value) <= set("0123456789abcdef"):  # noqa: PLR2004
                raise ConfigurationError("policy-hex", key="service_tds", actual=value, expected=48)

    def allowed_attributes(self) -> int:
        """Return the allowed bits as a number."""
        return sum(_BITS[name] for name in set(self.td_attributes))


_ATTRIBUTES = passed("tdx.attributes")
_NOW_GOOD = passed("tdx.tcb-now")
_NO_SECOND_TCB = Check("tdx.tcb-now", Status.NOT_APPLICABLE, "no-second-tcb")
_NO_SERVICE_TD = passed("tdx.service-td", "no-service-td")
_NOT_SHOWN = skipped("tdx.service-td", "service-td-not-shown")


def judge_td(claims: DcapClaims, policy: TdxPolicy, *, at: int) -> list[Check]:
    """Hold a TD against the policy."""
    report = claims.quote.report
    assert isinstance(report, TdReport)  # noqa: S101 (the parser chose the record by the TEE)
    return [
        *judge_platform(claims, policy, at=at),
        _judge_attributes(report.td_attributes, policy),
        _judge_service_td(report, policy),
        _judge_now(claims.tcb, policy),
    ]


def _judge_now(tcb: TcbReport | None, policy: TdxPolicy) -> Check:
    """Hold what runs now against the policy, where a report tells it apart from what ran at launch."""
    if tcb is None or tcb.current is None:
        return _NO_SECOND_TCB
    # As at launch, or better, so that relaunching is advised: then the status has been judged already, and so
    # have the advisories of the launch. Those of an older level with the same status have not.
    judged = tcb.current == tcb.launch or tcb.status != tcb.launch
    refused = refused_advisories(tcb.current, tcb.current_advisories, policy)
    bad = tuple([advisory for advisory in refused if advisory not in tcb.advisories])
    if not bad and (judged or tcb.current in policy.accept_tcb_status):
        return _NOW_GOOD
    make = warned if policy.unsafe_ignore_current_tcb else failed
    return make("tdx.tcb-now", "tcb-now-worse", actual=tcb.current, launch=tcb.launch, advisories=bad)


def _judge_attributes(attributes: bytes, policy: TdxPolicy) -> Check:
    bits = int.from_bytes(attributes, "little")
    allowed = _HARMLESS_BITS if policy.td_attributes is _HARMLESS else policy.allowed_attributes()
    refused = bits & ~(allowed | _DEBUG)
    if refused:
        names = flags(refused.to_bytes(8, "little"), TD_ATTRIBUTES)
        return failed("tdx.attributes", "td-attributes-refused", actual=names, expected=policy.td_attributes)
    if policy.require_sept_ve_disable and not bits & _SEPT_VE_DISABLE:
        return failed("tdx.attributes", "sept-ve-disable-clear")
    return _ATTRIBUTES


_HARMLESS_BITS = sum(_BITS[name] for name in _HARMLESS)


def _judge_service_td(report: TdReport, policy: TdxPolicy) -> Check:
    measurement = report.mr_service_td
    if not any(measurement):
        # Only a service TD moves a TD elsewhere, and a report of TDX 1.0 has no field to name it.
        migratable = int.from_bytes(report.td_attributes, "little") & _BITS["MIGRATABLE"]
        return _NOT_SHOWN if migratable and not measurement else _NO_SERVICE_TD
    if measurement.hex() in policy.service_tds:
        return passed("tdx.service-td", actual=measurement)
    return failed("tdx.service-td", "service-td-refused", actual=measurement, expected=policy.service_tds)
