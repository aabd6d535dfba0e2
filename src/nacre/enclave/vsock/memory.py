# SPDX-License-Identifier: Apache-2.0
"""The guest's memory, shared with this process; every address that the guest names is looked up in it."""

import mmap
import os
from collections.abc import Iterable

import msgspec

__all__ = ["GuestFault", "Memory", "Region"]


class GuestFault(Exception):
    """The guest named memory that it does not have, or a queue that cannot be."""

    def __init__(self, what: str, *values: int) -> None:
        """Say what, with the numbers that it names."""
        super().__init__(what.format(*values))


class Region(msgspec.Struct, frozen=True):
    """One piece of the guest's memory.

    Attributes:
        guest: Its address for the guest.
        size: Bytes.
        frontend: Its address in QEMU's own process, by which QEMU names the queues.
        offset: Where in the file it begins.
    """

    guest: int
    size: int
    frontend: int
    offset: int


class Memory:
    """All regions, mapped."""

    def __init__(self, regions: Iterable[tuple[Region, int]] = ()) -> None:
        """Map regions.

        Args:
            regions: Each with the descriptor of its file, which is left open.
        """
        self._regions = [(region, _mapped(region, descriptor)) for region, descriptor in regions]

    def guest(self, address: int, size: int) -> memoryview:
        """Return ``size`` bytes at an address of the guest's.

        Raises:
            GuestFault: They are not all in one region.
        """
        for region, view in self._regions:
            start = address - region.guest
            if start >= 0 and start + size <= region.size:
                return view[start : start + size]
        raise GuestFault("no memory of {} bytes at {:#x}", size, address)

    def frontend(self, address: int, size: int) -> memoryview:
        """Return ``size`` bytes at an address of QEMU's.

        Raises:
            GuestFault: They are not all in one region.
        """
        for region, view in self._regions:
            start = address - region.frontend
            if start >= 0 and start + size <= region.size:
                return view[start : start + size]
        raise GuestFault("no queue of {} bytes at {:#x}", size, address)


def _mapped(region: Region, descriptor: int) -> memoryview:
    end = region.offset + region.size
    if end > os.fstat(descriptor).st_size:
        raise GuestFault("a region of {} bytes is longer than its file", region.size)
    return memoryview(mmap.mmap(descriptor, end))[region.offset : end]
