# SPDX-License-Identifier: Apache-2.0
"""Packets of a virtio socket.

Source: OASIS Virtual I/O Device (VIRTIO) 1.2, section 5.10.6. All numbers are little-endian.
"""

import enum
from struct import Struct

import msgspec

__all__ = ["HEADER", "HOST", "HOSTS", "PARENT", "RECEIVE", "SEND", "Op", "Packet"]

_HEADER = Struct("<QQIIIHHIII")
#: Bytes of a header.
HEADER = _HEADER.size
#: The host's own context identifier.
HOST = 2
#: What a Nitro enclave calls its parent instance.
PARENT = 3
#: What a guest may call the host.
HOSTS = (HOST, PARENT)
_STREAM = 1
#: What a shutdown ends: that its sender receives, that it sends.
RECEIVE, SEND = 1, 2


class Op(enum.IntEnum):
    """What a packet is for."""

    REQUEST = 1
    RESPONSE = 2
    RST = 3
    SHUTDOWN = 4
    RW = 5
    CREDIT_UPDATE = 6
    CREDIT_REQUEST = 7


class Packet(msgspec.Struct, frozen=True, kw_only=True):
    """One packet.

    Attributes:
        source: Context identifier and port.
        target: Context identifier and port.
        op: What it is for; a number where nobody knows it.
        flags: Of a shutdown: ``RECEIVE``, ``SEND``.
        room: Bytes that the sender can keep for this connection.
        taken: Bytes that the sender has taken out of that in all, modulo 2^32.
        data: The payload.
    """

    source: tuple[int, int]
    target: tuple[int, int]
    op: int
    flags: int = 0
    room: int = 0
    taken: int = 0
    data: bytes = b""

    @classmethod
    def decode(cls, buffer: bytes) -> "Packet | None":
        """Read a packet of a stream; None if it is none."""
        if len(buffer) < HEADER:
            return None
        source, target, source_port, target_port, size, kind, op, flags, room, taken = _HEADER.unpack_from(
            buffer
        )
        if kind != _STREAM or size != len(buffer) - HEADER:
            return None
        return cls(
            source=(source, source_port),
            target=(target, target_port),
            op=op,
            flags=flags,
            room=room,
            taken=taken,
            data=buffer[HEADER:],
        )

    def encode(self) -> bytes:
        """Return header and payload."""
        (source, source_port), (target, target_port) = self.source, self.target
        return (
            _HEADER.pack(
                source,
                target,
                source_port,
                target_port,
                len(self.data),
                _STREAM,
                self.op,
                self.flags,
                self.room,
                self.taken,
            )
            + self.data
        )
