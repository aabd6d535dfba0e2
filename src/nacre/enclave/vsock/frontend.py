# SPDX-License-Identifier: Apache-2.0
"""The conversation with QEMU, which hands over the guest's memory and queues.

Source: QEMU, ``docs/interop/vhost-user.rst``.
"""

import contextlib
import enum
import os
import socket
import struct
from collections.abc import Callable
from struct import Struct

from nacre.enclave.vsock.memory import Memory, Region
from nacre.enclave.vsock.ring import Ring

__all__ = ["RX", "TX", "Frontend"]

#: The queues: to the guest, and from it.
RX, TX = 0, 1
_QUEUES = 2

_HEADER = Struct("<III")
_NUMBER = Struct("<Q")
_STATE = Struct("<II")
_ADDRESSES = Struct("<IIQQQQ")
_REGION = Struct("<QQQQ")
_CONFIG = Struct("<III")
_VERSION, _REPLY, _NEED_REPLY = 1, 4, 8
_MAX_MESSAGE, _MAX_DESCRIPTORS = 4096, 8

_VERSION_1 = 1 << 32
_PROTOCOL_FEATURES = 1 << 30
_REPLY_ACK, _CONFIG_SPACE = 1 << 3, 1 << 9
_NO_DESCRIPTOR = 1 << 8


class _Ask(enum.IntEnum):
    GET_FEATURES = 1
    SET_FEATURES = 2
    SET_OWNER = 3
    RESET_OWNER = 4
    SET_MEM_TABLE = 5
    SET_VRING_NUM = 8
    SET_VRING_ADDR = 9
    SET_VRING_BASE = 10
    GET_VRING_BASE = 11
    SET_VRING_KICK = 12
    SET_VRING_CALL = 13
    SET_VRING_ERR = 14
    GET_PROTOCOL_FEATURES = 15
    SET_PROTOCOL_FEATURES = 16
    GET_QUEUE_NUM = 17
    SET_VRING_ENABLE = 18
    GET_CONFIG = 24


class _Queue:
    """What QEMU said of one queue."""

    def __init__(self) -> None:
        self.size = self.next = 0
        self.addresses: tuple[int, int, int] | None = None
        self.kick: int | None = None
        self.call: int | None = None
        self.enabled = False
        self.ring: Ring | None = None


class Frontend:
    """One connection from QEMU."""

    def __init__(self, connection: socket.socket, *, cid: int, changed: Callable[[], None]) -> None:
        """Begin.

        Args:
            connection: From QEMU.
            cid: The guest's context identifier.
            changed: Called before a queue comes or goes.
        """
        self.connection = connection
        self._cid = cid
        self._changed = changed
        self._memory = Memory()
        self._queues = [_Queue() for _ in range(_QUEUES)]

    def ring(self, index: int) -> Ring | None:
        """Return a queue, if the guest's driver has started it."""
        return self._queues[index].ring

    def kick(self, index: int) -> int | None:
        """Return the descriptor that is readable when the guest has put something into a queue."""
        return self._queues[index].kick

    def call(self, index: int) -> None:
        """Tell the guest that buffers of a queue were used."""
        queue = self._queues[index]
        if queue.ring is not None and queue.call is not None and not queue.ring.quiet:
            with contextlib.suppress(BlockingIOError):
                os.write(queue.call, _NUMBER.pack(1))

    def close(self) -> None:
        """Forget everything."""
        for queue in self._queues:
            queue.ring = None
            for descriptor in (queue.kick, queue.call):
                if descriptor is not None:
                    os.close(descriptor)
            queue.kick = queue.call = None
        self.connection.close()

    def handle(self) -> bool:
        """Answer one message; False if QEMU is gone or says what is no message.

        Raises:
            GuestFault: The guest's queues cannot be.
        """
        descriptors: list[int] = []
        try:
            header, descriptors, _, _ = socket.recv_fds(self.connection, _HEADER.size, _MAX_DESCRIPTORS)
            if len(header) < _HEADER.size:
                return False
            ask, flags, size = _HEADER.unpack(header)
            if size > _MAX_MESSAGE:
                return False
            payload = self._payload(size)
            reply = self._answer(ask, payload, descriptors)
            if reply is None and flags & _NEED_REPLY:
                reply = _NUMBER.pack(0)
            if reply is not None:
                self.connection.sendall(_HEADER.pack(ask, _VERSION | _REPLY, len(reply)) + reply)
        except (OSError, struct.error, IndexError):
            return False
        finally:
            for descriptor in descriptors:
                os.close(descriptor)
        return True

    def _payload(self, size: int) -> bytes:
        payload = b""
        while len(payload) < size:
            piece = self.connection.recv(size - len(payload))
            if not piece:
                raise ConnectionResetError
            payload += piece
        return payload

    def _answer(self, ask: int, payload: bytes, descriptors: list[int]) -> bytes | None:
        if ask == _Ask.GET_FEATURES:
            return _NUMBER.pack(_VERSION_1 | _PROTOCOL_FEATURES)
        if ask == _Ask.GET_PROTOCOL_FEATURES:
            return _NUMBER.pack(_REPLY_ACK | _CONFIG_SPACE)
        if ask == _Ask.GET_QUEUE_NUM:
            return _NUMBER.pack(_QUEUES)
        if ask == _Ask.GET_CONFIG:
            offset, size, flags = _CONFIG.unpack_from(payload)
            return _CONFIG.pack(offset, size, flags) + _NUMBER.pack(self._cid)[offset : offset + size].ljust(
                size, b"\0"
            )
        if ask == _Ask.SET_MEM_TABLE:
            self._map(payload, descriptors)
        elif ask in (_Ask.SET_VRING_KICK, _Ask.SET_VRING_CALL, _Ask.SET_VRING_ERR):
            self._notifier(ask, payload, descriptors)
        elif ask in (_Ask.SET_VRING_NUM, _Ask.SET_VRING_BASE, _Ask.SET_VRING_ENABLE, _Ask.GET_VRING_BASE):
            return self._state(ask, payload)
        elif ask == _Ask.SET_VRING_ADDR:
            index, _, descriptors_at, used, available, _ = _ADDRESSES.unpack(payload)
            self._queues[index].addresses = (descriptors_at, available, used)
        return None

    def _map(self, payload: bytes, descriptors: list[int]) -> None:
        count, _ = _STATE.unpack_from(payload)
        regions = []
        for number in range(count):
            guest, size, frontend, offset = _REGION.unpack_from(payload, _STATE.size + number * _REGION.size)
            regions.append((Region(guest, size, frontend, offset), descriptors[number]))
        self._memory = Memory(regions)
        for queue in self._queues:
            if queue.ring is not None:
                queue.next = queue.ring.next
                self._start(queue)

    def _notifier(self, ask: int, payload: bytes, descriptors: list[int]) -> None:
        (value,) = _NUMBER.unpack(payload)
        queue = self._queues[value & 0xFF]
        descriptor = None
        if not value & _NO_DESCRIPTOR and ask != _Ask.SET_VRING_ERR:
            descriptor = descriptors.pop(0)
            os.set_blocking(descriptor, False)
        if ask == _Ask.SET_VRING_KICK:
            self._changed()
            queue.kick = _replaced(queue.kick, descriptor)
            self._start(queue)
        elif ask == _Ask.SET_VRING_CALL:
            queue.call = _replaced(queue.call, descriptor)

    def _state(self, ask: int, payload: bytes) -> bytes | None:
        index, value = _STATE.unpack(payload)
        queue = self._queues[index]
        if ask == _Ask.SET_VRING_NUM:
            queue.size = value
        elif ask == _Ask.SET_VRING_BASE:
            queue.next = value
        elif ask == _Ask.SET_VRING_ENABLE:
            queue.enabled = bool(value)
            self._start(queue)
        else:
            self._changed()
            queue.next = queue.ring.next if queue.ring is not None else queue.next
            queue.ring = None
            queue.kick = _replaced(queue.kick, None)
            return _STATE.pack(index, queue.next)
        return None

    def _start(self, queue: _Queue) -> None:
        queue.ring = None
        if queue.kick is None or queue.addresses is None or not queue.enabled:
            return
        descriptors, available, used = queue.addresses
        queue.ring = Ring(
            self._memory,
            size=queue.size,
            descriptors=descriptors,
            available=available,
            used=used,
            next_=queue.next,
        )


def _replaced(old: int | None, new: int | None) -> int | None:
    if old is not None:
        os.close(old)
    return new
