# SPDX-License-Identifier: Apache-2.0
"""Where further checks come from: logs, registries, locations, chains."""

from collections.abc import Iterable
from typing import Protocol

from nacre.appraisal.release import Release
from nacre.checks import Check
from nacre.platforms.base import Claims

__all__ = ["CheckSource"]


class CheckSource(Protocol):
    """Something outside the evidence that has a say in its appraisal.

    Rooms above appraisal implement this: transparency asks a log about the release, location asks a
    registry about the machine.
    """

    #: Checks of this source without which no verdict is complete.
    required: tuple[str, ...]

    def checks(self, claims: Claims, release: Release | None, *, at: int) -> Iterable[Check]:
        """Make this source's checks; it answers with failed or skipped checks, it does not raise."""
