# SPDX-License-Identifier: Apache-2.0
"""The checks of one verification, in the order in which they are made."""

from types import TracebackType
from typing import Self

from nacre.checks import Check, Status, passed
from nacre.errors import MalformedEvidence, VerificationError
from nacre.trust.signatures import Signatures

__all__ = ["Trail"]


class Trail:
    """Keeps what ``Platform.verify`` did, so that a failure can show what held before it.

    As a context manager it turns whatever a step finds malformed into a failure of that step. Before it
    reports a failure it settles the signatures of earlier steps: the first thing that is wrong is what
    is reported, and no step counts as passed on a signature that nobody checked.
    """

    __slots__ = ("_signatures", "checks", "current")

    def __init__(self, signatures: Signatures) -> None:
        """Start an empty trail over the signature work of one verification."""
        self._signatures = signatures
        self.checks: list[Check] = []
        self.current = ""

    def begin(self, check: str) -> None:
        """Say which check is being made; failures from here on are its failures."""
        self.current = check

    def add(self, check: Check) -> None:
        """Add a finished check."""
        self.checks.append(check)

    def passed(self) -> None:
        """Add the current check as passed, if its signatures settle."""
        self.checks.append(passed(self.current))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, MalformedEvidence):
            error = VerificationError(error.code, check=self.current, **error.context)
        if not isinstance(error, VerificationError):
            return
        try:
            self._signatures.settle()
        except VerificationError as earlier:
            error = earlier
        error.trail = self._before(error.check)
        raise error from None

    def _before(self, check: str) -> tuple[Check, ...]:
        held = []
        for made in self.checks:
            if made.id == check and made.status is Status.PASS:
                break
            held.append(made)
        return tuple(held)
