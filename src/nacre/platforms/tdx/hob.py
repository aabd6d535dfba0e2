# SPDX-License-Identifier: Apache-2.0
"""The TD HOB: the list of memory that the host writes for the firmware, which measures it into RTMR0.

It says of each range whether it was added before the start or has to be accepted still. So it depends on how
much memory the TD has, and on what the firmware asked for; on nothing else. All integers are little-endian.

Source: UEFI, Platform Initialization 1.8, volume 3, 5 (HOB definitions); QEMU, ``hw/i386/tdvf-hob.c``,
``target/i386/kvm/tdx.c`` (``tdx_finalize_vm``) and ``hw/i386/pc_q35.c``; tianocore/edk2,
``OvmfPkg/Library/SecMeasurementLib`` (what of it is measured).
"""

import functools
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from struct import Struct

from nacre.errors import ConfigurationError
from nacre.platforms.tdx.tdvf import PAGE, Kind, Section

__all__ = ["below_4g", "hob", "memory_of"]

_GIB4 = 1 << 32
#: Up to this much memory lies below 4 GiB whole; of more, only the first 2 GiB do.
_ALL_LOW, _SPLIT = 0xB000_0000, 0x8000_0000
_MOST = 1 << 56
_HANDOFF = Struct("<HHIII32xQ")  # type, bytes, reserved, version, boot mode, …, end of the list
_RESOURCE = Struct("<HHI16xIIQQ")  # type, bytes, reserved, …, kind of memory, attributes, start, bytes
_END = 8
_SYSTEM, _UNACCEPTED = 0, 7
#: Present, initialised, tested.
_ATTRIBUTES = 7
_OVMF_MEMORY = ((0x810000, 0x10000), (0x80B000, 0x2000), (0x800000, 0x6000))
#: Where builds of OVMF want the list, and memory: address and bytes.
_OVMF = ((Kind.HOB, 0x809000, 0x2000), *((Kind.TEMPORARY, *place) for place in _OVMF_MEMORY))
_MIB, _GIB = 1 << 20, 1 << 30
#: Sizes of memory that machines are given, bytes.
_SIZES = (*range(256 * _MIB, 16 * _GIB, 256 * _MIB), *range(16 * _GIB, 1025 * _GIB, _GIB))


def below_4g(memory: int) -> int:
    """Return how many bytes of a machine's memory QEMU's ``q35`` puts below 4 GiB.

    Raises:
        ConfigurationError: ``tdx-memory``: that is no number of whole pages that a machine can have.
    """
    if not 0 < memory <= _MOST or memory % PAGE:
        raise ConfigurationError("tdx-memory", actual=memory)
    return min(memory, _SPLIT if memory >= _ALL_LOW else _ALL_LOW)


def hob(sections: Sequence[Section], *, memory: int) -> bytes:
    """Write the list as QEMU does, up to the mark of its end, which is not measured.

    Args:
        sections: What the firmware asks for.
        memory: Bytes of memory that the TD has.

    Raises:
        ConfigurationError: ``tdx-memory``: no machine has that, or it is less than the firmware asks for.
    """
    place = next(section.address for section in sections if section.kind == Kind.HOB)
    wanted = sorted(
        (section.address, section.end) for section in sections if section.kind in (Kind.HOB, Kind.TEMPORARY)
    )
    low = below_4g(memory)
    banks = [(0, low)] + ([(_GIB4, _GIB4 + memory - low)] if memory > low else [])
    if any(not any(first <= start and end <= last for first, last in banks) for start, end in wanted):
        raise ConfigurationError("tdx-memory", actual=memory)
    body = b"".join(
        [
            _RESOURCE.pack(3, _RESOURCE.size, 0, kind, _ATTRIBUTES, start, end - start)
            for bank in banks
            for kind, start, end in _ranges(bank, wanted)
        ]
    )
    end = place + _HANDOFF.size + len(body) + _END
    return _HANDOFF.pack(1, _HANDOFF.size, 0, 9, 0, end) + body


def _ranges(bank: tuple[int, int], wanted: Sequence[tuple[int, int]]) -> Iterator[tuple[int, int, int]]:
    at, last = bank
    for start, end in wanted:
        if bank[0] <= start < last:
            if start > at:
                yield _UNACCEPTED, at, start
            yield _SYSTEM, start, end
            at = end
    if at < last:
        yield _UNACCEPTED, at, last


def memory_of(digest: bytes) -> int | None:
    """Find how much memory a TD has, from the SHA-384 of its list.

    Returns:
        Bytes; None if no usual size of memory, with OVMF as firmware, has that digest.
    """
    return _known().get(digest)


@functools.cache
def _known() -> Mapping[bytes, int]:
    asked = [
        Section(kind=kind, offset=0, size=0, address=address, memory=size, measured=False, added=True)
        for kind, address, size in _OVMF
    ]
    return {hashlib.sha384(hob(asked, memory=size)).digest(): size for size in _SIZES}
