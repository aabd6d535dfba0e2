# SPDX-License-Identifier: Apache-2.0
"""``--why-not``: what separates a platform from UpToDate, and which newer document said so."""

from collections.abc import Iterable, Iterator

import msgspec

from nacre import platforms, reasons
from nacre.appraisal.appraise import appraise
from nacre.appraisal.policy import Policy
from nacre.appraisal.result import Result
from nacre.cli.terminal import Style, clean, wrap
from nacre.errors import ConfigurationError
from nacre.platforms.base import Endorsements
from nacre.platforms.dcap.changes import Change, changes
from nacre.platforms.dcap.claims import DcapClaims
from nacre.platforms.dcap.tcb import TcbReport

__all__ = ["WhyNot", "examine"]

_TITLES = {"tcb_info": "TCB Info", "qe_identity": "the quoting enclave's identity"}


class WhyNot(msgspec.Struct, frozen=True, kw_only=True):
    """What is told.

    Attributes:
        status: The status now; empty if none was evaluated.
        missing: Each component below the newest level, and who updates it.
        compared: Whether there were older documents to compare with.
        was: The status with the older documents; empty if nothing was compared.
        changes: The documents that were replaced.
    """

    status: str
    missing: tuple[str, ...] = ()
    compared: bool = False
    was: str = ""
    changes: tuple[Change, ...] = ()

    def lines(self, style: Style, columns: int) -> Iterator[str]:
        """Tell it to people."""
        yield style.paint(f"Why not UpToDate: the status is {self.status or 'unknown'}", "bold")
        for text in self._sentences():
            lead = "  "
            for line in wrap(clean(text), columns - 4):
                yield lead + line
                lead = "    "

    def _sentences(self) -> Iterator[str]:
        if not self.status:
            yield "no TCB status was evaluated: the evidence was refused before, or its platform has none"
            return
        yield from self.missing
        if not self.missing and self.status != "UpToDate":
            yield "no component is below the newest level: its configuration or software is at issue"
        if not self.compared:
            yield "no older endorsements to compare with; give some after --why-not"
            return
        if self.was == self.status:
            yield f"with the older endorsements the status was {self.was} too"
        for change in self.changes:
            yield _told(change)


def _told(change: Change) -> str:
    text = (
        "{title}: number {old} of {issued:time} was replaced by number {new} of {reissued:time}, which "
        + ("turned {was} into {becomes}" if change.decisive else "changed nothing by itself")
    )
    return reasons.render(
        text,
        {
            "title": _TITLES[change.document],
            "old": change.old_number,
            "issued": change.old_issued,
            "new": change.new_number,
            "reissued": change.new_issued,
            "was": change.was,
            "becomes": change.becomes,
        },
    )


def examine(evidence: bytes, result: Result, *, older: str, bundle: bool) -> WhyNot:
    """Look into a result.

    Args:
        evidence: The evidence.
        result: What was found.
        older: A bundle or folder of older endorsements; empty for those that the cache still has.
        bundle: Whether the current endorsements were given, so that the cache says nothing about them.

    Raises:
        ConfigurationError: The older endorsements cannot be read, or are of another platform.
    """
    now = _tcb(result)
    if now is None:
        return WhyNot(status="")
    missing = tuple(str(shortfall) for shortfall in now.shortfalls())
    before = _before(evidence, result, now, _older(evidence, result, older, bundle=bundle))
    if before is None:
        if older:
            raise ConfigurationError("older-endorsements", path=older)
        return WhyNot(status=now.status, missing=missing)
    return WhyNot(
        status=now.status,
        missing=missing,
        compared=True,
        was=before.status,
        changes=tuple(changes(before, now)),
    )


def _tcb(result: Result) -> TcbReport | None:
    return result.claims.tcb if isinstance(result.claims, DcapClaims) else None


def _older(evidence: bytes, result: Result, older: str, *, bundle: bool) -> Iterable[Endorsements]:
    if older:
        from nacre.endorsers import bundle as bundles  # noqa: PLC0415

        return (bundles.load(older),)
    if bundle:
        return ()
    from nacre.endorsers.defaults import default_endorser  # noqa: PLC0415

    platform = platforms.get(result.platform)
    return default_endorser(offline=True).history(platform, platform.parse(evidence))


def _before(
    evidence: bytes, result: Result, now: TcbReport, candidates: Iterable[Endorsements]
) -> TcbReport | None:
    """Evaluate with older endorsements: the newest that give another status, or else the last."""
    found = None
    for endorsements in candidates:
        earlier = _tcb(appraise(evidence, policy=Policy.default(), endorsements=endorsements, at=result.at))
        if earlier is not None:
            found = earlier
            if earlier.status != now.status:
                break
    return found
