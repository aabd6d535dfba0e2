# SPDX-License-Identifier: Apache-2.0
"""What went wrong without stopping anything: a full disk, a corrupt cache entry, a server that is behind.

A notice is an error that nobody raises. Callers may take notices; by default they go to the log.
"""

from collections.abc import Callable

from nacre.errors import NacreError

__all__ = ["Notice", "log"]

Notice = Callable[[NacreError], None]


def log(error: NacreError) -> None:
    """Write a notice to the log ``nacre.endorsers`` as a warning."""
    import logging  # noqa: PLC0415 (slow to import, rarely needed)

    logging.getLogger("nacre.endorsers").warning("%s [%s]", error, error.code)
