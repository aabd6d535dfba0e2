# SPDX-License-Identifier: Apache-2.0
"""The table at the end of OVMF firmware: by GUID, where the host and the measuring find what they need.

32 bytes before the end of the image the table ends. It is read backwards: each entry is its data, its length
(u16, little-endian, with these 18 bytes) and its GUID; the last one, the footer, tells the length of all.

Source: tianocore/edk2, ``OvmfPkg/ResetVector/Ia16/ResetVectorVtf0.asm``; QEMU, ``hw/i386/pc_sysfw_ovmf.c``.
"""

from collections.abc import Mapping

from nacre.errors import MalformedEvidence

__all__ = ["entries", "guid"]


def guid(text: str) -> bytes:
    """Return the 16 bytes of a GUID as firmware stores it: the first three groups little-endian."""
    first, second, third, *rest = [bytes.fromhex(group) for group in text.split("-")]
    return first[::-1] + second[::-1] + third[::-1] + b"".join(rest)


_AFTER = 32
_FOOTER = guid("96b582de-1fb2-45f7-baea-a366c55a082d")
_GUID, _LENGTH = 16, 2
_HEAD = _GUID + _LENGTH


def entries(firmware: bytes) -> Mapping[bytes, bytes]:
    """Return the data of each entry by its GUID, as :func:`guid` gives it; of two, what QEMU finds first.

    Args:
        firmware: The image as the host maps it below 4 GiB.

    Raises:
        MalformedEvidence: ``firmware-table``: the image has none, or lengths in it contradict each other.
    """
    end = len(firmware) - _AFTER
    if end < _HEAD or firmware[end - _GUID : end] != _FOOTER:
        raise MalformedEvidence("firmware-table", actual="no such table")
    total = _length(firmware, end)
    start = end - total
    if total < _HEAD or start < 0:
        raise MalformedEvidence("firmware-table", actual=f"a table of {total} bytes")
    found: dict[bytes, bytes] = {}
    end -= _HEAD
    while end > start:
        length = _length(firmware, end) if end - start >= _HEAD else 0
        if not _HEAD <= length <= end - start:
            raise MalformedEvidence("firmware-table", actual=f"an entry of {length} bytes")
        found.setdefault(firmware[end - _GUID : end], firmware[end - length : end - _HEAD])
        end -= length
    return found


def _length(firmware: bytes, end: int) -> int:
    return int.from_bytes(firmware[end - _HEAD : end - _GUID], "little")
