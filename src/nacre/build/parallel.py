# SPDX-License-Identifier: Apache-2.0
"""Hashing on several processors: hashlib and zlib let other threads run while they work on long inputs."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

__all__ = ["threads"]

_T = TypeVar("_T")


def threads(jobs: Sequence[Callable[[], _T]], /) -> list[_T]:
    """Do all jobs at once, each in a thread of its own, and return their results in order.

    Raises:
        Exception: What the first of the jobs that failed raised.
    """
    with ThreadPoolExecutor(max_workers=max(1, len(jobs))) as pool:
        return [future.result() for future in [pool.submit(job) for job in jobs]]
