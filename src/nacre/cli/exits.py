# SPDX-License-Identifier: Apache-2.0
"""What the command's exit status says."""

from enum import IntEnum

__all__ = ["Exit"]


class Exit(IntEnum):
    """Exit statuses; scripts may rely on them."""

    ACCEPTED = 0
    INTERNAL = 1
    USAGE = 2
    REJECTED = 10
    INCOMPLETE = 11
    WARNING = 12
    UNSUPPORTED = 20
    MALFORMED = 30
    UNAVAILABLE = 40
    INTERRUPTED = 130
