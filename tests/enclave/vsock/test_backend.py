# SPDX-License-Identifier: Apache-2.0
"""The host's side of a virtio socket, against a driver that is played here, in real shared memory."""

import contextlib
import os
import selectors
import shutil
import socket
import struct
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from nacre.enclave.vsock.backend import Vsock
from nacre.enclave.vsock.connection import ROOM
from nacre.enclave.vsock.packet import HEADER, HOST, HOSTS, RECEIVE, SEND, Op, Packet

_CID, _PORT, _SERVICE = 16, 80, 9000
_SIZE = 64  # descriptors of each queue
_BUFFER = 4096
_GUEST, _FRONTEND = 0x1000_0000, 0x7F00_0000_0000
_MEMORY = 1 << 20
# In the memory, for each queue: descriptors, available, used; then the buffers.
_QUEUE = 0x4000
_NEXT, _WRITE, _INDIRECT = 1, 2, 4


class _Guest:
    """QEMU and the guest's driver, whose memory a test may spoil."""

    def __init__(self, path: Path) -> None:
        self.file = os.memfd_create("guest")
        os.ftruncate(self.file, _MEMORY)
        self.frontend = socket.socket(socket.AF_UNIX)
        self.frontend.settimeout(5)
        self.frontend.connect(str(path))
        self.kicks = [os.eventfd(0) for _ in range(2)]
        self.calls = [os.eventfd(0, os.EFD_NONBLOCK) for _ in range(2)]
        self.available = [0, 0]
        self.seen = 0
        self.sent = 0

    def close(self) -> None:
        self.frontend.close()
        for descriptor in (self.file, *self.kicks, *self.calls):
            os.close(descriptor)

    def ask(self, number: int, payload: bytes, *descriptors: int, flags: int = 1) -> None:
        message = struct.pack("<III", number, flags, len(payload)) + payload
        socket.send_fds(self.frontend, [message], descriptors)

    def reply(self) -> bytes:
        number, flags, size = struct.unpack("<III", self.frontend.recv(12, socket.MSG_WAITALL))
        assert flags == 5
        assert number
        return self.frontend.recv(size, socket.MSG_WAITALL)

    def start(self) -> None:
        self.ask(5, struct.pack("<IIQQQQ", 1, 0, _GUEST, _MEMORY, _FRONTEND, 0), self.file)
        for queue in (0, 1):
            base = _FRONTEND + queue * _QUEUE
            self.ask(8, struct.pack("<II", queue, _SIZE))
            self.ask(10, struct.pack("<II", queue, 0))
            self.ask(9, struct.pack("<IIQQQQ", queue, 0, base, base + 0x1000, base + 0x2000, 0))
            self.ask(13, struct.pack("<Q", queue), self.calls[queue])
            self.ask(12, struct.pack("<Q", queue), self.kicks[queue])
            self.ask(18, struct.pack("<II", queue, 1), flags=9)
            assert self.reply() == bytes(8)
        for number in range(_SIZE):
            self.offer(number)

    def write(self, at: int, data: bytes) -> None:
        os.pwrite(self.file, data, at)

    def describe(
        self, queue: int, number: int, *, at: int, size: int, flags: int, following: int = 0
    ) -> None:
        descriptor = struct.pack("<QIHH", _GUEST + at, size, flags, following)
        self.write(queue * _QUEUE + number * 16, descriptor)

    def publish(self, queue: int, head: int, *, by: int = 1) -> None:
        index = self.available[queue]
        self.write(queue * _QUEUE + 0x2000 + 4 + (index % _SIZE) * 2, struct.pack("<H", head))
        self.available[queue] = (index + by) & 0xFFFF
        self.write(queue * _QUEUE + 0x2000 + 2, struct.pack("<H", self.available[queue]))
        os.eventfd_write(self.kicks[queue], 1)

    def buffer(self, queue: int, number: int) -> int:
        return 0x10000 + (queue * _SIZE + number) * _BUFFER

    def offer(self, number: int) -> None:
        """Give an empty buffer for what comes."""
        self.describe(0, number, at=self.buffer(0, number), size=_BUFFER, flags=_WRITE)
        self.publish(0, number)

    def send(self, packet: Packet, *, pieces: int = 1, patience: float = 5) -> None:
        data = packet.encode()
        number = self.sent % (_SIZE // 8) * 8
        self.sent += 1
        at, step = self.buffer(1, number), -(-len(data) // pieces)
        self.write(at, data)
        for piece in range(pieces):
            last = piece == pieces - 1
            size = len(data) - piece * step if last else step
            self.describe(
                1,
                number + piece,
                at=at + piece * step,
                size=size,
                flags=0 if last else _NEXT,
                following=number + piece + 1,
            )
        self.publish(1, number)
        deadline = time.monotonic() + patience
        while self.used(1) != self.sent & 0xFFFF:
            assert time.monotonic() < deadline
            time.sleep(0.001)

    def used(self, queue: int) -> int:
        (index,) = struct.unpack("<H", os.pread(self.file, 2, queue * _QUEUE + 0x1000 + 2))
        return int(index)

    def receive(self, *, keep: bool = False) -> Packet:
        deadline = time.monotonic() + 5
        while self.used(0) == self.seen & 0xFFFF:
            assert time.monotonic() < deadline, "no packet"
            time.sleep(0.001)
        at = 0x1000 + 4 + (self.seen % _SIZE) * 8
        number, size = struct.unpack("<II", os.pread(self.file, 8, at))
        self.seen += 1
        packet = Packet.decode(os.pread(self.file, size, self.buffer(0, number)))
        assert packet is not None
        if not keep:
            self.offer(number)
        return packet

    def packet(self, got: Packet, op: int, **fields: object) -> Packet:
        """Answer a packet."""
        whole = {"room": 1 << 16, **fields}
        return Packet(source=got.target, target=got.source, op=op, **whole)  # type: ignore[arg-type]


@pytest.fixture
def folder() -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(prefix="nacre-"))
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
def vsock(folder: Path) -> Iterator[Vsock]:
    with Vsock(
        folder / "vsock", cid=_CID, ports={_PORT: folder / "80"}, services={_SERVICE: folder / "9000"}
    ) as vsock:
        yield vsock


@pytest.fixture
def guest(vsock: Vsock, folder: Path) -> Iterator[_Guest]:
    del vsock
    guest = _Guest(folder / "vsock")
    guest.start()
    yield guest
    guest.close()


def _caller(folder: Path) -> socket.socket:
    caller = socket.socket(socket.AF_UNIX)
    caller.settimeout(5)
    caller.connect(str(folder / "80"))
    return caller


def _connected(guest: _Guest, folder: Path, **fields: object) -> tuple[socket.socket, Packet]:
    caller = _caller(folder)
    asked = guest.receive()
    assert (asked.op, asked.source[0], asked.target) == (Op.REQUEST, HOST, (_CID, _PORT))
    assert asked.room == ROOM
    guest.send(guest.packet(asked, Op.RESPONSE, **fields))
    return caller, asked


def _ended(caller: socket.socket) -> bool:
    try:
        return caller.recv(1) == b""
    except ConnectionResetError:
        return True


def test_qemu_learns_the_identifier(vsock: Vsock, folder: Path) -> None:
    del vsock
    guest = _Guest(folder / "vsock")
    guest.ask(1, b"")
    assert struct.unpack("<Q", guest.reply())[0] == 1 << 32 | 1 << 30
    guest.ask(15, b"")
    assert struct.unpack("<Q", guest.reply())[0] == 1 << 3 | 1 << 9
    guest.ask(24, struct.pack("<III", 0, 8, 0) + bytes(8))
    assert guest.reply()[12:] == struct.pack("<Q", _CID)
    guest.close()


def test_bytes_go_both_ways(guest: _Guest, folder: Path) -> None:
    caller, asked = _connected(guest, folder)
    with caller:
        caller.sendall(b"question")
        got = guest.receive()
        assert (got.op, got.data, got.source) == (Op.RW, b"question", asked.source)
        guest.send(guest.packet(got, Op.RW, data=b"answer", taken=8))
        assert caller.recv(100) == b"answer"


@pytest.mark.parametrize("pieces", [2, 3, 8])
def test_a_packet_may_come_in_pieces(guest: _Guest, folder: Path, pieces: int) -> None:
    caller, asked = _connected(guest, folder)
    with caller:
        guest.send(guest.packet(asked, Op.RW, data=bytes(range(200))), pieces=pieces)
        assert caller.recv(1000) == bytes(range(200))


def test_large_data_is_cut_to_the_guests_buffers_and_credit(guest: _Guest, folder: Path) -> None:
    caller, asked = _connected(guest, folder, room=10_000)
    data = os.urandom(100_000)
    with caller:
        caller.setblocking(False)
        sent, found, requests = 0, b"", 0
        while len(found) < len(data):
            if sent < len(data):
                with contextlib.suppress(BlockingIOError):
                    sent += caller.send(data[sent:])
            got = guest.receive()
            if got.op == Op.CREDIT_REQUEST:
                requests += 1
                guest.send(guest.packet(asked, Op.CREDIT_UPDATE, room=10_000, taken=len(found)))
                continue
            assert len(got.data) <= _BUFFER - HEADER
            found += got.data
            assert len(found) <= (requests + 1) * 10_000  # never more than there was room for
        assert found == data
        assert requests >= 9


def test_a_guest_is_told_when_there_is_room_again(guest: _Guest, folder: Path) -> None:
    caller, asked = _connected(guest, folder)
    with caller:
        got, update = 0, None
        for _ in range(ROOM // 2 // 4000 + 1):
            guest.send(guest.packet(asked, Op.RW, data=bytes(4000)))
            got += len(caller.recv(4000, socket.MSG_WAITALL))
        update = guest.receive()
        assert update.op == Op.CREDIT_UPDATE
        assert ROOM // 2 <= update.taken <= got
        guest.send(guest.packet(asked, Op.CREDIT_REQUEST))
        assert guest.receive().taken == got


def test_more_than_there_is_room_for_is_reset(guest: _Guest, folder: Path) -> None:
    caller, asked = _connected(guest, folder)
    with caller:
        caller.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sent = 0
        while guest.used(0) == guest.seen & 0xFFFF or guest.receive().op != Op.RST:
            guest.send(guest.packet(asked, Op.RW, data=bytes(4000)))
            sent += 4000
            assert sent < 4 * ROOM
    assert sent >= ROOM


def test_each_direction_ends_by_itself(guest: _Guest, folder: Path) -> None:
    caller, asked = _connected(guest, folder)
    with caller:
        caller.sendall(b"all")
        caller.shutdown(socket.SHUT_WR)
        assert guest.receive().data == b"all"
        ended = guest.receive()
        assert (ended.op, ended.flags) == (Op.SHUTDOWN, SEND)
        guest.send(guest.packet(asked, Op.RW, data=b"still here", taken=3))
        assert caller.recv(100) == b"still here"
        guest.send(guest.packet(asked, Op.SHUTDOWN, flags=SEND, taken=3))
        assert caller.recv(100) == b""
        assert guest.receive().op == Op.RST  # both are done


def test_the_guest_ends_first(guest: _Guest, folder: Path) -> None:
    caller, asked = _connected(guest, folder)
    with caller:
        guest.send(guest.packet(asked, Op.RW, data=b"bye"))
        guest.send(guest.packet(asked, Op.SHUTDOWN, flags=SEND))
        assert caller.recv(100) == b"bye"
        assert caller.recv(100) == b""
        caller.sendall(b"one more thing")
        assert guest.receive().data == b"one more thing"


def test_a_close_in_the_guest_is_confirmed(guest: _Guest, folder: Path) -> None:
    caller, asked = _connected(guest, folder)
    with caller:
        guest.send(guest.packet(asked, Op.RW, data=b"bye"))
        guest.send(guest.packet(asked, Op.SHUTDOWN, flags=SEND | RECEIVE))
        assert guest.receive().op == Op.RST
        assert caller.recv(100) == b"bye"
        assert _ended(caller)


def test_nobody_listens_in_the_guest(guest: _Guest, folder: Path) -> None:
    with _caller(folder) as caller:
        guest.send(guest.packet(guest.receive(), Op.RST))
        assert _ended(caller)


def test_a_caller_that_is_gone_is_reset(guest: _Guest, folder: Path) -> None:
    caller, asked = _connected(guest, folder)
    caller.close()
    assert guest.receive().op == Op.SHUTDOWN
    for _ in range(2):
        guest.send(guest.packet(asked, Op.RW, data=b"hello?"))
    assert guest.receive().op == Op.RST


@pytest.mark.parametrize("host", HOSTS)
def test_the_guest_calls_a_service(guest: _Guest, folder: Path, host: int) -> None:
    with socket.socket(socket.AF_UNIX) as service:
        service.bind(str(folder / "9000"))
        service.listen()
        asking = Packet(source=(_CID, 1234), target=(host, _SERVICE), op=Op.REQUEST, room=1 << 16)
        guest.send(asking)
        answer = guest.receive()
        assert (answer.op, answer.source) == (Op.RESPONSE, (host, _SERVICE))
        called, _ = service.accept()
        with called:
            guest.send(msgspec.structs.replace(asking, op=Op.RW, data=b"cbor"))
            assert called.recv(100) == b"cbor"
            called.sendall(b"document")
            assert guest.receive().data == b"document"


def test_one_port_calls_the_host_by_both_its_names(guest: _Guest, folder: Path) -> None:
    with socket.socket(socket.AF_UNIX) as service, contextlib.ExitStack() as stack:
        service.bind(str(folder / "9000"))
        service.listen()
        called = []
        for host in HOSTS:
            asking = Packet(source=(_CID, 1234), target=(host, _SERVICE), op=Op.REQUEST, room=1 << 16)
            guest.send(asking)
            assert guest.receive().op == Op.RESPONSE
            called.append(stack.enter_context(service.accept()[0]))
            guest.send(msgspec.structs.replace(asking, op=Op.RW, data=b"%d" % host))
        assert [one.recv(100) for one in called] == [b"2", b"3"]


@pytest.mark.parametrize(
    "packet",
    [
        Packet(source=(_CID, 1), target=(HOST, _SERVICE), op=Op.REQUEST),  # nobody is there
        Packet(source=(_CID, 1), target=(HOST, 1), op=Op.REQUEST),  # no such service
        Packet(source=(_CID, 1), target=(HOST, _SERVICE), op=Op.RW, data=b"x"),
        Packet(source=(_CID, 1), target=(HOST, _SERVICE), op=99),
    ],
)
def test_what_belongs_to_no_stream_is_reset(guest: _Guest, packet: Packet) -> None:
    guest.send(packet)
    got = guest.receive()
    assert (got.op, got.source, got.target) == (Op.RST, packet.target, packet.source)


def test_a_guest_speaks_for_itself_alone(guest: _Guest, folder: Path) -> None:
    caller, asked = _connected(guest, folder)
    with caller:
        guest.send(Packet(source=(_CID + 1, _PORT), target=asked.source, op=Op.RW, data=b"forged"))
        guest.send(Packet(source=(_CID, _PORT), target=(1, asked.source[1]), op=Op.RW, data=b"forged"))
        guest.send(guest.packet(asked, Op.RST, taken=0))
        assert caller.recv(100) == b""


def test_packets_that_are_none_are_dropped(guest: _Guest, folder: Path) -> None:
    caller, asked = _connected(guest, folder)
    with caller:
        right = guest.packet(asked, Op.RW, data=b"right")
        for spoilt in (right.encode()[:20], right.encode()[:-1], right.encode() + b"x"):
            number = guest.sent % (_SIZE // 8) * 8
            guest.sent += 1
            guest.write(guest.buffer(1, number), spoilt)
            guest.describe(1, number, at=guest.buffer(1, number), size=len(spoilt), flags=0)
            guest.publish(1, number)
        guest.send(right)
        assert caller.recv(100) == b"right"


def test_credit_that_cannot_be_is_reset(guest: _Guest, folder: Path) -> None:
    caller, asked = _connected(guest, folder)
    with caller:
        guest.send(guest.packet(asked, Op.CREDIT_UPDATE, taken=1))  # nothing was sent
        assert guest.receive().op == Op.RST
        assert _ended(caller)


def _insist(guest: _Guest, packet: Packet) -> None:
    for _ in range(1000):
        guest.send(packet, patience=0.5)


def test_a_guest_that_gives_no_buffers_is_not_listened_to(guest: _Guest) -> None:
    asking = Packet(source=(_CID, 1), target=(HOST, 1), op=Op.REQUEST)
    for _ in range(_SIZE):
        guest.send(asking)
        assert guest.receive(keep=True).op == Op.RST
    # Its queue of answers is full now: at some time questions are no longer taken.
    with pytest.raises(AssertionError):
        _insist(guest, asking)
    for number in range(_SIZE):
        guest.offer(number)
    assert guest.receive().op == Op.RST


def _beyond_the_queue(guest: _Guest) -> None:
    guest.publish(1, _SIZE)


def _beyond_the_memory(guest: _Guest) -> None:
    guest.describe(1, 0, at=_MEMORY - 10, size=44, flags=0)
    guest.publish(1, 0)


def _before_the_memory(guest: _Guest) -> None:
    guest.write(_QUEUE, struct.pack("<QIHH", _GUEST - 10, 44, 0, 0))
    guest.publish(1, 0)


def _around_the_address_space(guest: _Guest) -> None:
    guest.write(_QUEUE, struct.pack("<QIHH", (1 << 64) - 1, 44, 0, 0))
    guest.publish(1, 0)


def _in_a_circle(guest: _Guest) -> None:
    guest.describe(1, 0, at=0x10000, size=1, flags=_NEXT, following=1)
    guest.describe(1, 1, at=0x10000, size=1, flags=_NEXT, following=0)
    guest.publish(1, 0)


def _to_nowhere(guest: _Guest) -> None:
    guest.describe(1, 0, at=0x10000, size=1, flags=_NEXT, following=_SIZE)
    guest.publish(1, 0)


def _indirect(guest: _Guest) -> None:
    guest.describe(1, 0, at=0x10000, size=16, flags=_INDIRECT)
    guest.publish(1, 0)


def _too_many(guest: _Guest) -> None:
    guest.publish(1, 0, by=_SIZE + 1)


def _readable_after_writable(guest: _Guest) -> None:
    guest.describe(1, 0, at=0x10000, size=1, flags=_NEXT | _WRITE, following=1)
    guest.describe(1, 1, at=0x10000, size=1, flags=0)
    guest.publish(1, 0)


def _huge(guest: _Guest) -> None:
    for number in range(8):
        guest.describe(1, number, at=0, size=_MEMORY, flags=_NEXT, following=number + 1)
    guest.publish(1, 0)


@pytest.mark.parametrize(
    "spoil",
    [
        _beyond_the_queue,
        _beyond_the_memory,
        _before_the_memory,
        _around_the_address_space,
        _in_a_circle,
        _to_nowhere,
        _indirect,
        _too_many,
        _readable_after_writable,
        _huge,
    ],
)
def test_a_queue_that_cannot_be_ends_the_guests_streams_and_nothing_else(
    vsock: Vsock, guest: _Guest, folder: Path, spoil: object
) -> None:
    caller, _ = _connected(guest, folder)
    with caller:
        assert callable(spoil)
        spoil(guest)
        assert _ended(caller)
    assert vsock.fault
    assert guest.frontend.recv(1) == b""
    # Callers are turned away, and do not wait.
    with _caller(folder) as late:
        assert _ended(late)


def test_a_buffer_too_small_for_a_header_is_a_fault(vsock: Vsock, folder: Path) -> None:
    guest = _Guest(folder / "vsock")
    guest.start()
    for number in range(_SIZE):
        guest.describe(0, number, at=guest.buffer(0, number), size=HEADER, flags=_WRITE)
    with _caller(folder) as caller:
        assert _ended(caller)
    assert vsock.fault
    guest.close()


@pytest.mark.parametrize(
    ("number", "payload"),
    [
        (5, b""),  # no regions at all
        (5, struct.pack("<IIQQQQ", 1, 0, 0, 4096, 0, 0)),  # without its file
        (8, struct.pack("<II", 7, 64)),  # no such queue
        (9, b"short"),
        (12, struct.pack("<Q", 0)),  # without its descriptor
        (24, b""),
    ],
)
def test_a_message_that_is_none_ends_the_conversation(
    vsock: Vsock, folder: Path, number: int, payload: bytes
) -> None:
    guest = _Guest(folder / "vsock")
    guest.ask(number, payload)
    assert guest.frontend.recv(1) == b""
    guest.close()
    # Another QEMU may come.
    again = _Guest(folder / "vsock")
    again.start()
    caller, _ = _connected(again, folder)
    caller.close()
    again.close()
    assert vsock.fault is None


def test_a_region_longer_than_its_file_is_not_mapped(vsock: Vsock, folder: Path) -> None:
    guest = _Guest(folder / "vsock")
    guest.ask(5, struct.pack("<IIQQQQ", 1, 0, 0, _MEMORY + 4096, 0, 0), guest.file)
    assert guest.frontend.recv(1) == b""
    assert vsock.fault
    guest.close()


def test_leaving_ends_everything(folder: Path) -> None:
    with Vsock(folder / "vsock", cid=_CID, ports={_PORT: folder / "80"}, services={}) as vsock:
        guest = _Guest(folder / "vsock")
        guest.start()
        caller, _ = _connected(guest, folder)
    assert _ended(caller)
    assert not list(folder.iterdir())
    assert vsock.fault is None
    caller.close()
    guest.close()


def test_before_the_guest_is_up_callers_are_turned_away(vsock: Vsock, folder: Path) -> None:
    del vsock
    with _caller(folder) as caller:
        assert _ended(caller)


def test_what_was_closed_a_moment_ago_is_not_asked(tmp_path: Path) -> None:
    served = Vsock(tmp_path / "vsock", cid=_CID, ports={}, services={})
    done: list[str] = []
    mine, other = socket.socketpair()
    with selectors.DefaultSelector() as selector, mine, other:
        served._selector = selector

        def first() -> None:
            selector.unregister(other)
            other.close()
            done.append("first")

        served._watch(mine, first)
        served._watch(other, lambda: done.append("second"))
        keys = [selector.get_key(mine), selector.get_key(other)]
        served._act(keys)
        # Its number may belong to somebody else by then.
        taken = socket.socket(fileno=os.dup2(mine.fileno(), keys[1].fd))
        with taken:
            served._watch(taken, lambda: done.append("third"))
            served._act(keys[1:])
    assert done == ["first"]
