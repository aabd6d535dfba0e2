# SPDX-License-Identifier: Apache-2.0
"""A program that is a kernel of Linux as far as anybody looks who only loads it."""

from tests.platforms.programs import program

__all__ = ["linux"]


def linux(*, protocol: int = 0x20F, high: int = 1, more: int = 0x3F, highest: int = 0x7FFFFFFF) -> bytes:
    """Make an EFI program with the setup header of a kernel."""
    made = bytearray(program({".text": b"kernel" * 400}))
    made[0x1F1:0x300] = bytes(0x300 - 0x1F1)
    made[0x1F1] = 1
    made[0x202:0x206] = b"HdrS"
    made[0x206:0x208] = protocol.to_bytes(2, "little")
    made[0x211] = high
    made[0x22C:0x230] = highest.to_bytes(4, "little")
    made[0x236] = more
    return bytes(made)
