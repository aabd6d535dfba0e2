# SPDX-License-Identifier: Apache-2.0
"""One stream between a port of the guest and a Unix socket here, with the credit that each side gives."""

import contextlib
import socket

from nacre.enclave.vsock.packet import RECEIVE, SEND, Op, Packet

__all__ = ["ROOM", "Connection"]

#: Bytes that are kept for a Unix socket which does not read.
ROOM = 1 << 18
_MODULUS = 1 << 32
_LARGEST_READ = 1 << 16


class Connection:
    """What is known of one stream. Nothing here waits."""

    def __init__(self, local: socket.socket, *, cid: int, guest_port: int, host: tuple[int, int]) -> None:
        """Begin.

        Args:
            local: The Unix socket, connected and not blocking.
            cid: The guest's context identifier.
            guest_port: The guest's port.
            host: What the guest calls this host, and the port here.
        """
        self.local = local
        self.key = (guest_port, *host)
        self.established = False
        self.over = False
        self._cid = cid
        self._pending = bytearray()
        self._taken = self._told = 0
        self._sent = self._peer_room = self._peer_taken = 0
        self._local_ended = self._guest_ended = False
        self._asked = False
        self._shut = False

    @property
    def credit(self) -> int:
        """Bytes that the guest can still keep."""
        return max(0, self._peer_room - (self._sent - self._peer_taken) % _MODULUS)

    @property
    def wants_to_read(self) -> bool:
        """Whether bytes of the Unix socket could go to the guest."""
        return self.established and not self._local_ended and self.credit > 0

    @property
    def wants_to_write(self) -> bool:
        """Whether bytes of the guest's wait for the Unix socket."""
        return bool(self._pending)

    @property
    def needs_credit(self) -> bool:
        """Whether the guest has to be asked for room; true once for each time that there is none."""
        if self.established and not self._local_ended and self.credit == 0 and not self._asked:
            self._asked = True
            return True
        return False

    def packet(self, op: Op, *, flags: int = 0, data: bytes = b"") -> Packet:
        """Make a packet of this connection."""
        guest_port, host, port = self.key
        self._told = self._taken
        self._sent += len(data)
        return Packet(
            source=(host, port),
            target=(self._cid, guest_port),
            op=op,
            flags=flags,
            room=ROOM,
            taken=self._taken % _MODULUS,
            data=data,
        )

    def read(self, limit: int) -> Packet | None:
        """Take bytes from the Unix socket for the guest, or its end; None if there is nothing now."""
        try:
            data = self.local.recv(min(limit, self.credit, _LARGEST_READ))
        except BlockingIOError:
            return None
        except OSError:
            return self.reset()
        if data:
            return self.packet(Op.RW, data=data)
        self._local_ended = True
        return self.reset() if self._finished() else self.packet(Op.SHUTDOWN, flags=SEND)

    def write(self) -> Packet | None:
        """Give the Unix socket what waits for it; what the guest has to be told of that, if anything."""
        try:
            while self._pending:
                count = self.local.send(self._pending)
                del self._pending[:count]
                self._taken += count
        except BlockingIOError:
            pass
        except OSError:
            return self.reset()
        if self._guest_ended and not self._pending and not self._shut:
            self._shut = True
            with contextlib.suppress(OSError):
                self.local.shutdown(socket.SHUT_WR)
        if self._finished():
            return self.reset()
        return self.packet(Op.CREDIT_UPDATE) if self._taken - self._told >= ROOM // 2 else None

    def receive(self, packet: Packet) -> Packet | None:
        """Take a packet of the guest's; the answer, if it needs one."""
        if packet.op == Op.RST:
            self._end()
            return None
        if (self._sent - packet.taken) % _MODULUS > _MODULUS // 2:
            return self.reset()  # took more than it was sent
        self._peer_room, self._peer_taken = packet.room, packet.taken
        if self.credit:
            self._asked = False
        if not self.established:
            self.established = packet.op == Op.RESPONSE
            return None if self.established else self.reset()
        return self._told_by(packet)

    def reset(self) -> Packet:
        """End at once, and tell the guest."""
        self._end()
        return self.packet(Op.RST)

    def _told_by(self, packet: Packet) -> Packet | None:
        if packet.op == Op.RW:
            return self._data(packet.data)
        if packet.op == Op.SHUTDOWN:
            self._guest_ended |= bool(packet.flags & SEND)
            # Who receives no more is sent no more.
            self._local_ended |= bool(packet.flags & RECEIVE)
            return self.write()
        if packet.op == Op.CREDIT_REQUEST:
            return self.packet(Op.CREDIT_UPDATE)
        return None if packet.op == Op.CREDIT_UPDATE else self.reset()

    def _data(self, data: bytes) -> Packet | None:
        if self._guest_ended or len(self._pending) + len(data) > ROOM:
            return self.reset()  # after its own end, or more than it was given room for
        self._pending += data
        return self.write()

    def _finished(self) -> bool:
        return self._local_ended and self._guest_ended and not self._pending

    def _end(self) -> None:
        if not self.over:
            # What the guest sent before is not lost with it, unless the Unix socket takes no more.
            with contextlib.suppress(OSError):
                while self._pending:
                    del self._pending[: self.local.send(self._pending)]
            self.over = True
            self.local.close()
