# SPDX-License-Identifier: Apache-2.0
"""A split virtqueue, from the device's side.

Source: OASIS Virtual I/O Device (VIRTIO) 1.2, section 2.7.
"""

from struct import Struct

import msgspec

from nacre.enclave.vsock.memory import GuestFault, Memory

__all__ = ["Chain", "Ring"]

_DESCRIPTOR = Struct("<QIHH")
_INDEX = Struct("<H")
_HEAD = Struct("<HH")
_USED = Struct("<II")
_NEXT, _WRITE, _INDIRECT = 1, 2, 4
_NO_INTERRUPT = 1
_MAX_SIZE = 1 << 15
#: More than any driver puts into one chain.
_MAX_CHAIN = 1 << 20


class Chain(msgspec.Struct, frozen=True):
    """One buffer of the guest's, in pieces.

    Attributes:
        head: Its number.
        readable: What the guest sends.
        writable: Where the guest wants its answer.
    """

    head: int
    readable: tuple[memoryview, ...]
    writable: tuple[memoryview, ...]

    @property
    def room(self) -> int:
        """Bytes that can be written."""
        return sum(len(piece) for piece in self.writable)

    def read(self) -> bytes:
        """Copy what the guest sends; afterwards it may change its memory as it likes."""
        return b"".join(self.readable)

    def write(self, data: bytes) -> int:
        """Fill the pieces in order, and return how many bytes fitted."""
        done = 0
        for piece in self.writable:
            part = data[done : done + len(piece)]
            piece[: len(part)] = part
            done += len(part)
        return done


class Ring:
    """One queue."""

    def __init__(
        self, memory: Memory, *, size: int, descriptors: int, available: int, used: int, next_: int
    ) -> None:
        """Find the queue's three parts.

        Args:
            memory: The guest's memory.
            size: Descriptors in the queue, a power of two.
            descriptors: Address of the table, as QEMU names it; likewise the other two.
            available: Address of the ring that the guest writes.
            used: Address of the ring that the device writes.
            next_: Number of the next buffer.

        Raises:
            GuestFault: A part is not in memory.
        """
        if not 0 < size <= _MAX_SIZE or size & (size - 1):
            raise GuestFault("a queue of {}", size)
        self._memory = memory
        self._size = size
        self._descriptors = memory.frontend(descriptors, size * _DESCRIPTOR.size)
        self._available = memory.frontend(available, _HEAD.size + size * _INDEX.size)
        self._used = memory.frontend(used, _HEAD.size + size * _USED.size)
        self.next = next_ & 0xFFFF
        # A device that took over continues where the last one stopped.
        self._done = _HEAD.unpack_from(self._used)[1]

    @property
    def quiet(self) -> bool:
        """Whether the guest does not want to be told of used buffers."""
        return bool(_HEAD.unpack_from(self._available)[0] & _NO_INTERRUPT)

    def peek(self) -> Chain | None:
        """Return the next buffer without taking it; None if there is none.

        Raises:
            GuestFault: The guest's queue is no queue.
        """
        _, end = _HEAD.unpack_from(self._available)
        waiting = (end - self.next) & 0xFFFF
        if waiting == 0:
            return None
        if waiting > self._size:
            raise GuestFault("{} buffers in a queue of {}", waiting, self._size)
        at = _HEAD.size + (self.next % self._size) * _INDEX.size
        (head,) = _INDEX.unpack_from(self._available, at)
        return self._chain(head)

    def done(self, chain: Chain, written: int) -> None:
        """Take the buffer that ``peek`` showed, and give it back."""
        self.next = (self.next + 1) & 0xFFFF
        at = _HEAD.size + (self._done % self._size) * _USED.size
        _USED.pack_into(self._used, at, chain.head, written)
        self._done = (self._done + 1) & 0xFFFF
        # The number last: the guest looks at nothing before it.
        _INDEX.pack_into(self._used, _INDEX.size, self._done)

    def _chain(self, head: int) -> Chain:
        readable: list[memoryview] = []
        writable: list[memoryview] = []
        index, total = head, 0
        for _ in range(self._size):  # a chain that is longer goes round in a circle
            if index >= self._size:
                raise GuestFault("descriptor {} of {}", index, self._size)
            address, length, flags, following = _DESCRIPTOR.unpack_from(
                self._descriptors, index * _DESCRIPTOR.size
            )
            total += length
            if flags & _INDIRECT or total > _MAX_CHAIN:
                raise GuestFault("a descriptor with flags {} and {} bytes", flags, length)
            if writable and not flags & _WRITE:
                raise GuestFault("a readable piece after a writable one")
            (writable if flags & _WRITE else readable).append(self._memory.guest(address, length))
            if not flags & _NEXT:
                return Chain(head, tuple(readable), tuple(writable))
            index = following
        raise GuestFault("a chain without an end")
