# SPDX-License-Identifier: Apache-2.0
"""MRTD: what the TDX module measured while the host filled a TD's first memory.

One SHA-384 runs over the host's calls: a block of 128 bytes for each page that is added, and for each 256
bytes that are measured a block and the bytes themselves. Addresses are in it and so is the order of calls,
in which hosts differ; all else that a host does before the start is outside.

Not proven here:
    That a host calls in the order that it is said to: no TD can be started without the hardware. Both orders
    are held against another program's values. What Google's hosts did in 2023, measuring the list of memory
    too, by the shape of the machine, is not computed; Google signs such values itself.

Source: Intel, TDX Module Base Architecture Specification, 348549-002US, 12.1.1 (MRTD), and its ABI
specification, TDH.MEM.PAGE.ADD and TDH.MR.EXTEND; QEMU, ``target/i386/kvm/tdx.c``; Linux,
``arch/x86/kvm/vmx/tdx.c`` (``tdx_gmem_post_populate``); google/gce-tcb-verifier, ``tdx/measurement.go``.
"""

import hashlib
from collections.abc import Iterable, Iterator
from typing import Literal

from nacre.platforms.measuring import Measurement, Part
from nacre.platforms.tdx.tdvf import PAGE, Kind, Section, sections

__all__ = ["ORDERS", "Order", "mrtd"]

#: ``page``: each page is added and measured before the next, as Linux since 6.16 does it whoever asks, with
#: QEMU since 9 and Google's hosts; ``section``: all pages of a section are added, then measured, as by the
#: kernels that Intel gave out before, with QEMU 8.
Order = Literal["page", "section"]
ORDERS: tuple[Order, ...] = ("page", "section")

_REGISTER = "mrtd"
_CHUNK = 256
_BLOCK = 128
_LABELS = {
    Kind.BOOT: "boot firmware volume",
    Kind.CONFIGURATION: "configuration firmware volume",
    Kind.HOB: "memory for the TD HOB",
    Kind.TEMPORARY: "memory for firmware",
}


def mrtd(firmware: bytes, *, order: Order = "page") -> Measurement:
    """Compute MRTD of a TD that starts with firmware.

    Args:
        firmware: The whole image.
        order: In which order the host calls.

    Returns:
        ``mrtd``, 48 bytes, and a part for each section of the firmware that MRTD covers.

    Raises:
        MalformedEvidence: As :func:`nacre.platforms.tdx.tdvf.sections`.
    """
    digest = hashlib.sha384()
    parts: list[Part] = []
    for section in sections(firmware):
        if not section.added:
            continue
        for block in _calls(firmware, section, order):
            digest.update(block)
        parts.append(
            Part(
                register=_REGISTER,
                label=_LABELS[section.kind],
                input="firmware",
                offset=section.offset,
                size=section.size,
                digest=digest.digest(),
                value=_words(section, order),
            )
        )
    return Measurement({_REGISTER: digest.digest()}, tuple(parts))


def _calls(firmware: bytes, section: Section, order: Order) -> Iterator[bytes]:
    pages = range(section.address, section.end, PAGE)
    if order == "section":
        yield from _added(pages)
        yield from _measured(firmware, section, pages)
    else:
        for page in pages:
            yield from _added((page,))
            yield from _measured(firmware, section, (page,))


def _added(pages: Iterable[int]) -> Iterator[bytes]:
    for page in pages:
        yield _block(b"MEM.PAGE.ADD", page)


def _measured(firmware: bytes, section: Section, pages: Iterable[int]) -> Iterator[bytes]:
    if not section.measured:
        return
    shift = section.offset - section.address
    for page in pages:
        for address in range(page, page + PAGE, _CHUNK):
            yield _block(b"MR.EXTEND", address)
            yield firmware[address + shift : address + shift + _CHUNK]


def _block(name: bytes, address: int) -> bytes:
    return (name.ljust(16, b"\0") + address.to_bytes(8, "little")).ljust(_BLOCK, b"\0")


def _words(section: Section, order: Order) -> str:
    where = f"{section.memory // PAGE} pages at {section.address:#x}"
    if not section.measured:
        return f"{where}, without their content"
    return f"{where}, {'page by page' if order == 'page' else 'all added, then all measured'}"
