# SPDX-License-Identifier: Apache-2.0
"""The first state of a virtual processor (VMSA), as the host hands it to AMD's firmware: one page each.

Hosts differ in a few registers. What they put there is measured, so it is known only for hosts whose code is
public or whose machines were looked at.

Source: AMD64 Architecture Programmer's Manual, volume 2, table B-4 (layout) and section 14.1.3 (state after
reset); virtee/sev-snp-measure, ``vmsa.py`` (what each host puts in).
"""

import struct
from typing import Final

import msgspec

from nacre.platforms.snp.firmware import PAGE

__all__ = ["FIRST", "HOSTS", "Host", "state"]

#: Where the first processor starts: the reset vector.
FIRST: Final = 0xFFFFFFF0

_SEGMENT = struct.Struct("<HHIQ")  # selector, attributes, limit, base
_WORD = struct.Struct("<Q")
_MXCSR, _FCW = (0x408, struct.Struct("<I")), (0x410, struct.Struct("<H"))
_CS, _SS, _TR = 0x10, 0x20, 0x90
#: Segments that are alike everywhere: ES, DS, FS and GS; GDTR and IDTR; LDTR. Offset to attributes.
_SEGMENTS = {0x00: 0x93, 0x30: 0x93, 0x40: 0x93, 0x50: 0x93, 0x60: 0, 0x80: 0, 0x70: 0x82}
#: Registers that are alike everywhere.
_REGISTERS = {
    0x0D0: 0x1000,  # EFER: KVM sets SVME
    0x148: 0x40,  # CR4: KVM sets MCE
    0x158: 0x10,  # CR0
    0x160: 0x400,  # DR7
    0x168: 0xFFFF0FF0,  # DR6
    0x170: 0x2,  # RFLAGS
    0x3E8: 0x1,  # XCR0
}
_RIP, _PAT, _RDX, _FEATURES = 0x178, 0x268, 0x310, 0x3B0
_LIMIT, _SELECTOR = 0xFFFF, 0xF000


class Host(msgspec.Struct, frozen=True, kw_only=True):
    """What one kind of host puts into a virtual processor.

    Attributes:
        code: Attributes of CS.
        code_first: Attributes of CS of the first processor.
        stack: Attributes of SS.
        task: Attributes of TR.
        pat: The page attribute table.
        rdx: RDX; None for the processor's CPUID signature.
        mxcsr: State of the vector unit.
        fcw: State of the floating-point unit.
    """

    code: int = 0x9B
    code_first: int = 0x9B
    stack: int = 0x93
    task: int = 0x8B
    pat: int = 0x7040600070406
    rdx: int | None = 0x600
    mxcsr: int = 0
    fcw: int = 0


#: Hosts by name: QEMU with KVM, Amazon EC2, Google Compute Engine.
HOSTS: Final = {
    "qemu": Host(rdx=None, mxcsr=0x1F80, fcw=0x37F),
    "ec2": Host(code_first=0x9A, stack=0x92, task=0x83),
    "gce": Host(pat=0x00070106),
}


def state(host: Host, *, start: int, signature: int, features: int) -> bytes:
    """Return the page of one processor, 4096 bytes.

    Args:
        host: Who makes it.
        start: Where the processor starts, 32 bits.
        signature: Its CPUID signature, 32 bits.
        features: SEV_FEATURES, 64 bits: bit 0 is SEV-SNP itself, bit 5 the swapping of debug registers.
    """
    page = bytearray(PAGE)
    code = host.code_first if start == FIRST else host.code
    for offset, attributes in (_SEGMENTS | {_SS: host.stack, _TR: host.task}).items():
        _SEGMENT.pack_into(page, offset, 0, attributes, _LIMIT, 0)
    _SEGMENT.pack_into(page, _CS, _SELECTOR, code, _LIMIT, start & 0xFFFF0000)
    varying = {
        _RIP: start & 0xFFFF,
        _PAT: host.pat,
        _RDX: signature if host.rdx is None else host.rdx,
        _FEATURES: features,
    }
    for offset, value in (_REGISTERS | varying).items():
        _WORD.pack_into(page, offset, value)
    for (offset, layout), value in ((_MXCSR, host.mxcsr), (_FCW, host.fcw)):
        layout.pack_into(page, offset, value)
    return bytes(page)
