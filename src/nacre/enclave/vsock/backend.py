# SPDX-License-Identifier: Apache-2.0
"""The virtio socket of one guest: Unix sockets here, ports there."""

import contextlib
import os
import selectors
import socket
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec

from nacre.enclave.vsock.connection import Connection
from nacre.enclave.vsock.frontend import RX, TX, Frontend
from nacre.enclave.vsock.memory import GuestFault
from nacre.enclave.vsock.packet import HEADER, HOST, HOSTS, Op, Packet

__all__ = ["Vsock"]

_MAX_CONNECTIONS = 1024
#: Answers that wait for a buffer of the guest's; a guest that gives none is not listened to meanwhile.
_MAX_WAITING = 256
_FIRST_PORT, _LAST_PORT = 1 << 30, (1 << 31) - 1
_SMALLEST_BUFFER = HEADER + 1
_BACKLOG = 64


class Vsock:
    """Serves one guest until it is left; the sockets' files go with it.

    Attributes:
        fault: What the guest did that no driver does; its socket is dead since. None if nothing.
    """

    def __init__(
        self, path: Path, *, cid: int, ports: Mapping[int, Path], services: Mapping[int, Path]
    ) -> None:
        """Listen.

        Args:
            path: Where QEMU connects (``-chardev socket,path=…``).
            cid: The guest's context identifier, 3 or more.
            ports: Where this machine connects to reach each port of the guest.
            services: What the guest reaches at each port of the host, whatever it calls the host.
        """
        self.fault: str | None = None
        self._cid = cid
        self._services = dict(services)
        self._path, self._ports = path, dict(ports)
        self._frontend: Frontend | None = None
        self._kicks: dict[int, int] = {}
        self._connections: dict[tuple[int, int, int], Connection] = {}
        self._answers: deque[Packet] = deque()
        self._readable: dict[tuple[int, int, int], None] = {}
        self._next_port = _FIRST_PORT
        self._stopping = False
        self._thread = threading.Thread(target=self._serve, name=f"vsock-{cid}", daemon=True)

    def __enter__(self) -> Self:
        """Begin to serve.

        Raises:
            OSError: A socket cannot be made.
        """
        self._selector = selectors.DefaultSelector()
        self._alarm, self._bell = socket.socketpair()
        self._watch(self._alarm, lambda: None)
        self._listen(self._path, self._frontend_called)
        for number, path in self._ports.items():
            self._listen(path, self._port(number))
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Serve no more; streams that are open end."""
        # Rung first: once it is to stop, the thread may wake for another reason and close the other end.
        self._bell.send(b"!")
        self._stopping = True
        self._thread.join()
        self._bell.close()

    # ── The loop ─────────────────────────────────────────────────────────────────────────────────────

    def _serve(self) -> None:
        while not self._stopping:
            self._act([key for key, _ in self._selector.select()])
            try:
                self._move()
            except GuestFault as fault:
                self._broken(fault)
        self._reset()
        self._drop_frontend()
        for key in list(self._selector.get_map().values()):
            if isinstance(key.fileobj, socket.socket):
                key.fileobj.close()
        self._selector.close()
        for path in (self._path, *self._ports.values()):
            path.unlink(missing_ok=True)

    def _act(self, keys: Sequence[selectors.SelectorKey]) -> None:
        """Do what is due, unless an earlier one of these changed it, or closed it: it is asked for again."""
        for key in keys:
            if self._selector.get_map().get(key.fd) is key:
                key.data()

    def _watch(
        self, file: socket.socket | int, act: Callable[[], None], events: int = selectors.EVENT_READ
    ) -> None:
        self._selector.register(file, events, act)

    def _listen(self, path: Path, called: Callable[[socket.socket], None]) -> None:
        path.unlink(missing_ok=True)
        listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listening.bind(str(path))
        listening.listen(_BACKLOG)
        listening.setblocking(False)  # noqa: FBT003 (the library's word)

        def act() -> None:
            with contextlib.suppress(OSError):
                connection, _ = listening.accept()
                called(connection)

        self._watch(listening, act)

    # ── QEMU ─────────────────────────────────────────────────────────────────────────────────────────

    def _frontend_called(self, connection: socket.socket) -> None:
        if self._frontend is not None:
            connection.close()
            return
        frontend = self._frontend = Frontend(connection, cid=self._cid, changed=self._quiesce)

        def act() -> None:
            try:
                alive = frontend.handle()
            except GuestFault as fault:
                self._broken(fault)
                return
            if not alive:
                self._reset()
                self._drop_frontend()
                return
            self._watch_kicks(frontend)

        self._watch(connection, act)

    def _watch_kicks(self, frontend: Frontend) -> None:
        for index in (RX, TX):
            kick = frontend.kick(index)
            if kick is not None and index not in self._kicks:
                self._kicks[index] = kick
                self._watch(kick, lambda kick=kick: _drained(kick))  # type: ignore[misc]

    def _quiesce(self) -> None:
        """Let go of the queues' descriptors, and of every stream if the guest's driver goes."""
        for kick in self._kicks.values():
            self._selector.unregister(kick)
        if self._kicks and self._frontend is not None and self._frontend.ring(TX) is not None:
            self._reset()
        self._kicks.clear()

    def _drop_frontend(self) -> None:
        frontend, self._frontend = self._frontend, None
        if frontend is not None:
            for kick in self._kicks.values():
                self._selector.unregister(kick)
            self._kicks.clear()
            self._selector.unregister(frontend.connection)
            frontend.close()

    def _broken(self, fault: GuestFault) -> None:
        self.fault = str(fault)
        self._reset()
        self._drop_frontend()

    # ── Streams ──────────────────────────────────────────────────────────────────────────────────────

    def _port(self, guest_port: int) -> Callable[[socket.socket], None]:
        def called(local: socket.socket) -> None:
            ready = self._frontend is not None and self._frontend.ring(TX) is not None
            if not ready or len(self._connections) >= _MAX_CONNECTIONS:
                local.close()
                return
            connection = self._add(local, guest_port, (HOST, self._free_port(guest_port)))
            self._answers.append(connection.packet(Op.REQUEST))

        return called

    def _free_port(self, guest_port: int) -> int:
        while True:
            port = self._next_port
            self._next_port = port + 1 if port < _LAST_PORT else _FIRST_PORT
            if (guest_port, HOST, port) not in self._connections:
                return port

    def _add(self, local: socket.socket, guest_port: int, host: tuple[int, int]) -> Connection:
        local.setblocking(False)  # noqa: FBT003 (the library's word)
        connection = Connection(local, cid=self._cid, guest_port=guest_port, host=host)
        self._connections[connection.key] = connection
        return connection

    def _reset(self) -> None:
        for connection in list(self._connections.values()):
            connection.reset()
            self._settle(connection)
        self._answers.clear()
        self._readable.clear()

    def _settle(self, connection: Connection) -> None:
        """Watch a stream's Unix socket for what can be done with it now."""
        local = connection.local
        registered = local in self._selector.get_map() if local.fileno() >= 0 else False
        if connection.over:
            self._connections.pop(connection.key, None)
            self._readable.pop(connection.key, None)
            # A closed socket left the selector's kernel side by itself, but not its table.
            with contextlib.suppress(KeyError, ValueError):
                self._selector.unregister(local)
            return
        events = selectors.EVENT_WRITE if connection.wants_to_write else 0
        if connection.wants_to_read and connection.key not in self._readable:
            events |= selectors.EVENT_READ
        if events and registered:
            self._selector.modify(local, events, lambda: self._ready(connection))
        elif events:
            self._watch(local, lambda: self._ready(connection), events)
        elif registered:
            self._selector.unregister(local)

    def _ready(self, connection: Connection) -> None:
        if connection.wants_to_write:
            self._answer(connection.write())
        if connection.wants_to_read:
            self._readable[connection.key] = None
        self._settle(connection)

    def _answer(self, packet: Packet | None) -> None:
        if packet is not None:
            self._answers.append(packet)

    # ── Queues ───────────────────────────────────────────────────────────────────────────────────────

    def _move(self) -> None:
        """Move what can be moved, both ways."""
        self._from_guest()
        self._to_guest()

    def _from_guest(self) -> None:
        frontend = self._frontend
        ring = frontend.ring(TX) if frontend is not None else None
        if frontend is None or ring is None:
            return
        used = False
        while len(self._answers) < _MAX_WAITING and (chain := ring.peek()) is not None:
            packet = Packet.decode(chain.read())
            ring.done(chain, 0)
            used = True
            if packet is not None:
                self._received(packet)
            if len(self._answers) >= _MAX_WAITING:
                self._to_guest()
        if used:
            frontend.call(TX)

    def _to_guest(self) -> None:
        frontend = self._frontend
        ring = frontend.ring(RX) if frontend is not None else None
        if frontend is None or ring is None:
            return
        used = False
        while (self._answers or self._readable) and (chain := ring.peek()) is not None:
            if chain.room < _SMALLEST_BUFFER:
                raise GuestFault("a buffer of {} bytes", chain.room)
            packet = self._answers.popleft() if self._answers else self._next(chain.room - HEADER)
            if packet is not None:
                ring.done(chain, chain.write(packet.encode()))
                used = True
        if used:
            frontend.call(RX)

    def _next(self, limit: int) -> Packet | None:
        """Take a packet from the stream whose turn it is."""
        key = next(iter(self._readable))
        del self._readable[key]
        connection = self._connections[key]
        packet = connection.read(limit)
        if packet is not None and packet.op == Op.RW and connection.wants_to_read:
            self._readable[key] = None
        elif connection.needs_credit:
            self._answers.append(connection.packet(Op.CREDIT_REQUEST))
        self._settle(connection)
        return packet

    def _received(self, packet: Packet) -> None:
        (cid, guest_port), target = packet.source, packet.target
        if cid != self._cid or target[0] not in HOSTS:
            return  # not this guest, or not this host: nobody to answer
        connection = self._connections.get((guest_port, *target))
        if connection is not None:
            self._answer(connection.receive(packet))
            self._settle(connection)
        elif packet.op == Op.REQUEST and (connection := self._served(guest_port, target)) is not None:
            connection.receive(msgspec.structs.replace(packet, op=Op.RESPONSE))
            self._answer(connection.packet(Op.RESPONSE))
            self._settle(connection)
        elif packet.op != Op.RST:
            self._answers.append(Packet(source=packet.target, target=packet.source, op=Op.RST))

    def _served(self, guest_port: int, host: tuple[int, int]) -> Connection | None:
        path = self._services.get(host[1])
        if path is None or len(self._connections) >= _MAX_CONNECTIONS:
            return None
        local = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            local.setblocking(False)  # noqa: FBT003 (the library's word)
            local.connect(str(path))
        except OSError:
            local.close()
            return None
        return self._add(local, guest_port, host)


def _drained(kick: int) -> None:
    with contextlib.suppress(BlockingIOError):
        os.read(kick, 8)
