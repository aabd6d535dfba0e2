# SPDX-License-Identifier: Apache-2.0
"""Which of Intel's documents changed a platform's status, and what the platform lacks now."""

from collections.abc import Iterator

import msgspec

from nacre.platforms.dcap.tcb import TcbReport, evaluate
from nacre.platforms.dcap.tcb_info import EnclaveIdentity, TcbInfo

__all__ = ["Change", "changes"]


class Change(msgspec.Struct, frozen=True):
    """One document that was replaced.

    Attributes:
        document: Its role: ``tcb_info`` or ``qe_identity``.
        was: The status of this platform with the old document and everything else new.
        becomes: Its status with the new one.
        old_number: The old document's ``tcbEvaluationDataNumber``.
        new_number: The new document's.
        old_issued: When the old one was issued, Unix seconds.
        new_issued: When the new one was issued, Unix seconds.
        decisive: Whether this document alone makes the difference.
    """

    document: str
    was: str
    becomes: str
    old_number: int
    new_number: int
    old_issued: int
    new_issued: int
    decisive: bool


def changes(old: TcbReport, new: TcbReport) -> Iterator[Change]:
    """Compare two evaluations of one platform and say which new document made the difference.

    Each document is put back alone while all others stay new, so that blame falls on the one that turned
    the status. Both evaluations have to be of the same processor model.
    """
    svns = new.svns
    with_old_info = evaluate(old.info, new.identity, svns).status
    with_old_identity = evaluate(new.info, old.identity, svns).status
    for role, was, before, after in (
        ("tcb_info", with_old_info, old.info, new.info),
        ("qe_identity", with_old_identity, old.identity, new.identity),
    ):
        if _differs(before, after):
            yield Change(
                role,
                was,
                new.status,
                before.number,
                after.number,
                before.issued,
                after.issued,
                was != new.status,
            )


def _differs(before: TcbInfo | EnclaveIdentity, after: TcbInfo | EnclaveIdentity) -> bool:
    return (before.number, before.issued) != (after.number, after.issued)
