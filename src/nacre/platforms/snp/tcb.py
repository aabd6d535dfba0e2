# SPDX-License-Identifier: Apache-2.0
"""The versions of firmware and microcode under a guest, held against the policy.

A report states four: what runs (CURRENT), what the firmware was committed to and cannot be rolled back below
(COMMITTED), what the key that signs is derived for (REPORTED), and what ran when the guest was launched
(LAUNCH). Only REPORTED is backed by a certificate; the firmware that holds that key vouches for the others.
"""

from collections.abc import Iterator, Sequence

from nacre.checks import Check, Later, Status, failed, passed
from nacre.platforms.snp.claims import SnpClaims
from nacre.platforms.snp.floors import TABLE_DATE, Shortfall, kind_of_chip, shortfalls
from nacre.platforms.snp.policy import SnpPolicy, TcbMinimum
from nacre.platforms.snp.products import COMPONENTS, Product
from nacre.platforms.snp.report import HAS_PROCESSOR, Report

__all__ = ["judge_tcb"]

_TCB = passed("snp.tcb", date=TABLE_DATE)
_LAUNCH_TCB = passed("snp.launch-tcb", date=TABLE_DATE)
_LAUNCH_IGNORED = Check("snp.launch-tcb", Status.NOT_APPLICABLE, "snp-launch-tcb-ignored")
_COMMITTED = passed("snp.firmware")
_PROVISIONAL_ALLOWED = passed("snp.firmware", "snp-provisional-allowed")
_ANY = "any"


def judge_tcb(claims: SnpClaims, policy: SnpPolicy) -> Iterator[Check]:
    """Hold the four TCBs and the firmware's version against the policy.

    1. ``snp.tcb``: REPORTED_TCB meets the policy's own minimum for the product line, and every row of the
       shipped table whose component that leaves unsaid and whose advisory the policy does not accept.
    2. ``snp.launch-tcb``: so does LAUNCH_TCB.
    3. ``snp.firmware``: no TCB is above CURRENT_TCB, what runs is committed, its version is not too low.
    """
    report, product = claims.evidence.report, claims.product
    own = _minimum(policy.minimum_tcb, product)
    # (1)
    yield _level("snp.tcb", report.reported_tcb, report, product, own, policy)
    # (2)
    if policy.unsafe_ignore_launch_tcb:
        yield _LAUNCH_IGNORED
    else:
        launch = _minimum(policy.minimum_launch_tcb, product) or own
        yield _level("snp.launch-tcb", report.launch_tcb, report, product, launch, policy)
    # (3)
    yield _firmware(report, product, policy)


def _minimum(minimums: Sequence[TcbMinimum], product: Product) -> TcbMinimum | None:
    return next((minimum for minimum in minimums if minimum.product == product.name), None)


def _level(  # noqa: PLR0917 (one TCB, whose it is, and what it is held against)
    check: str, tcb: bytes, report: Report, product: Product, own: TcbMinimum | None, policy: SnpPolicy
) -> Check:
    below = _below(tcb, product, own) if own is not None else ()
    if below:
        return failed(check, "snp-tcb-below", actual=below, expected=product.name)
    chip = ""
    if report.version >= HAS_PROCESSOR:
        chip = kind_of_chip(product, report.cpuid_model, report.cpuid_stepping)
    short = shortfalls(product.name, chip, tcb)
    if own is not None:
        # What the policy leaves unsaid stays held against the table.
        short = tuple([each for each in short if not getattr(own, each.floor.component)])
        if not short:
            return passed(check, "snp-tcb-own")
    if not short:
        return _TCB if check == "snp.tcb" else _LAUNCH_TCB
    advisories = tuple(dict.fromkeys(each.floor.advisory for each in short))
    accepted = policy.accept_advisories
    bad = () if _ANY in accepted else tuple([each for each in advisories if each not in accepted])
    missing = Later(_sentence, short)
    if bad:
        return failed(check, "snp-tcb-low", actual=bad, missing=missing, date=TABLE_DATE)
    return passed(check, "snp-tcb-accepted", advisories=advisories, missing=missing, date=TABLE_DATE)


def _sentence(short: Sequence[Shortfall]) -> str:
    return "; ".join(map(str, short))


def _below(tcb: bytes, product: Product, own: TcbMinimum) -> tuple[str, ...]:
    levels = product.tcb(tcb)
    return tuple(
        [
            f"{name} {level}, not {least}"
            for name in COMPONENTS
            if (level := getattr(levels, name)) is not None and level < (least := getattr(own, name))
        ]
    )


def _firmware(report: Report, product: Product, policy: SnpPolicy) -> Check:
    current = report.current_tcb
    for name, tcb in (
        ("REPORTED_TCB", report.reported_tcb),
        ("COMMITTED_TCB", report.committed_tcb),
        ("LAUNCH_TCB", report.launch_tcb),
    ):
        if tcb != current and _above(product, tcb, current):
            return failed("snp.firmware", "snp-tcb-order", name=name, actual=tcb, expected=current)
    runs = (report.current_major, report.current_minor, report.current_build)
    committed = (report.committed_major, report.committed_minor, report.committed_build)
    provisional = report.committed_tcb != current or committed != runs
    if provisional and not policy.allow_provisional_firmware:
        return failed(
            "snp.firmware",
            "snp-provisional",
            actual=f"{_dotted(runs)}, TCB {current.hex()}",
            expected=f"{_dotted(committed)}, TCB {report.committed_tcb.hex()}",
        )
    if committed < policy.min_firmware:
        return failed(
            "snp.firmware",
            "snp-firmware-old",
            actual=_dotted(committed),
            expected=_dotted(policy.min_firmware),
        )
    return _PROVISIONAL_ALLOWED if provisional else _COMMITTED


def _above(product: Product, tcb: bytes, other: bytes) -> bool:
    return any(tcb[place] > other[place] for place in product.places if place is not None)


def _dotted(version: tuple[int, ...]) -> str:
    return ".".join(map(str, version))
