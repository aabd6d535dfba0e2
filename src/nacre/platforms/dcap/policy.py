# SPDX-License-Identifier: Apache-2.0
"""The policy lines that SGX and TDX share: TCB status, advisories, evaluation number; and the machine."""

from nacre.checks import Check, Later, Status, failed, passed, skipped, warned
from nacre.errors import ConfigurationError
from nacre.platforms.dcap.claims import DcapClaims
from nacre.platforms.dcap.levers import LeverPolicy, judge_levers
from nacre.platforms.dcap.tcb import TcbReport
from nacre.platforms.dcap.tcb_info import TcbStatus

__all__ = ["DcapPolicy", "judge_platform", "refused_advisories"]

_DAY = 86400
_NEVER_ACCEPTABLE = frozenset({TcbStatus.REVOKED, TcbStatus.NOT_SUPPORTED})
#: "End of servicing lifetime": Intel will not mend this platform again, whatever is found.
_END_OF_SERVICE = "INTEL-DOC-10001"
_ANY = "any"


class DcapPolicy(LeverPolicy, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is acceptable of an Intel platform. The default accepts ``UpToDate`` and nothing else.

    Attributes:
        accept_tcb_status: Statuses to accept. ``Revoked`` and ``NotSupported`` can not be accepted.
        accept_advisories: Ids of advisories to live with, where a status beside ``UpToDate`` is accepted;
            ``["any"]`` for all but ``INTEL-DOC-10001``.
        reject_advisories: Ids that are never acceptable, whatever the status.
        min_tcb_evaluation_number: The oldest TCB recovery that may have been evaluated.
        tcb_grace_days: Accept ``OutOfDate`` for this many days after whatever is old became so: platform,
            TDX module and quoting enclave each by the first level that Intel published above theirs.
        unsafe_allow_debug: Accept a TEE whose owner can read its memory. Only for development.
    """

    accept_tcb_status: tuple[str, ...] = (TcbStatus.UP_TO_DATE,)
    accept_advisories: tuple[str, ...] = ()
    reject_advisories: tuple[str, ...] = ()
    min_tcb_evaluation_number: int = 0
    tcb_grace_days: int = 0
    unsafe_allow_debug: bool = False

    def __post_init__(self) -> None:
        """Refuse lines that can not mean anything."""
        super().__post_init__()
        for status in self.accept_tcb_status:
            if status not in TcbStatus.ALL or status in _NEVER_ACCEPTABLE:
                raise ConfigurationError(
                    "policy-tcb-status",
                    actual=status,
                    expected=tuple(sorted(TcbStatus.ALL - _NEVER_ACCEPTABLE)),
                )


_UP_TO_DATE = passed("dcap.tcb-status", status=TcbStatus.UP_TO_DATE)
_NO_ADVISORIES = passed("dcap.advisories", advisories=())
_TCB_NUMBER = Check("dcap.tcb-number", Status.NOT_APPLICABLE, "tcb-number-any")
_DEBUG_OFF = passed("debug")


def judge_platform(claims: DcapClaims, policy: DcapPolicy, *, at: int) -> list[Check]:
    """Hold a platform against the policy.

    Args:
        claims: What the quote proved.
        policy: What is acceptable.
        at: The time of judgement, Unix seconds, for grace periods.
    """
    tcb = claims.tcb
    if tcb is None:
        checks = [skipped("dcap.tcb-status", "endorsement-missing", role="tcb_info or qe_identity")]
    else:
        checks = [_judge_status(tcb, policy, at), _judge_advisories(tcb, policy), _judge_number(tcb, policy)]
    if not claims.debug:
        checks.append(_DEBUG_OFF)
    elif policy.unsafe_allow_debug:
        checks.append(warned("debug", "debug-allowed"))
    else:
        checks.append(failed("debug", "debug-on"))
    checks += judge_levers(claims.pck, policy)
    return checks


def _judge_status(tcb: TcbReport, policy: DcapPolicy, at: int) -> Check:
    status = tcb.status
    if status in policy.accept_tcb_status:
        if status == TcbStatus.UP_TO_DATE:
            return _UP_TO_DATE
        return passed("dcap.tcb-status", "tcb-status-accepted", status=status, missing=Later(_missing, tcb))
    grace_ends = (tcb.outdated or 0) + policy.tcb_grace_days * _DAY
    graced = status == TcbStatus.OUT_OF_DATE and tcb.outdated is not None and policy.tcb_grace_days > 0
    if graced and at <= grace_ends:
        return passed(
            "dcap.tcb-status",
            "tcb-status-grace",
            status=status,
            ends=grace_ends,
            missing=Later(_missing, tcb),
        )
    reason = {TcbStatus.REVOKED: "tcb-revoked", TcbStatus.NOT_SUPPORTED: "tcb-not-supported"}.get(
        status, "tcb-status-refused"
    )
    return failed(
        "dcap.tcb-status",
        reason,
        actual=status,
        expected=policy.accept_tcb_status,
        number=tcb.number,
        missing=Later(_missing, tcb),
    )


def _missing(tcb: TcbReport) -> str:
    found = [str(shortfall) for shortfall in tcb.shortfalls()]
    return "; ".join(found) or "nothing is below the newest level: its configuration or software is at issue"


def _judge_advisories(tcb: TcbReport, policy: DcapPolicy) -> Check:
    advisories = tcb.advisories
    if not advisories:
        return _NO_ADVISORIES
    bad = refused_advisories(tcb.status, advisories, policy)
    if bad:
        return failed("dcap.advisories", "advisories-refused", actual=bad, expected=policy.accept_advisories)
    return passed("dcap.advisories", "advisories-accepted", advisories=advisories)


def refused_advisories(status: str, advisories: tuple[str, ...], policy: DcapPolicy) -> tuple[str, ...]:
    """Return the advisories of a status that the policy does not live with."""
    refused = set(policy.reject_advisories)
    accepted = policy.accept_advisories
    if _END_OF_SERVICE not in accepted:
        refused.add(_END_OF_SERVICE)
    if status != TcbStatus.UP_TO_DATE and _ANY not in accepted:
        refused.update(advisory for advisory in advisories if advisory not in accepted)
    return tuple([advisory for advisory in advisories if advisory in refused])


def _judge_number(tcb: TcbReport, policy: DcapPolicy) -> Check:
    expected = policy.min_tcb_evaluation_number
    if not expected:
        return _TCB_NUMBER
    # An identity older than its TCB Info would let an old quoting enclave pass.
    actual = min(tcb.number, tcb.identity.number)
    if actual < expected:
        return failed("dcap.tcb-number", "tcb-number-old", actual=actual, expected=expected)
    return passed("dcap.tcb-number", actual=actual, expected=expected)
