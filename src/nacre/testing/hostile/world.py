# SPDX-License-Identifier: Apache-2.0
"""The world outside the enclave as the host shows it: every name that the app asks for leads to the host.

It answers as the invariants state, until a fault meets a connection. What comes in the clear it can forge.
Where the app speaks TLS, it has no certificate for the name: it shows a wrong one, and lies to who takes it.
"""

import asyncio
import contextlib
import datetime as dt
import socket
import ssl
from collections.abc import Sequence
from pathlib import Path
from typing import Self

import msgspec

from nacre.enclave.agent.config import Limits
from nacre.enclave.agent.connection import Connection, Gone
from nacre.enclave.agent.routing import Response
from nacre.enclave.tunnel import Streams, serve
from nacre.errors import EnclaveError
from nacre.testing.hostile import lies
from nacre.testing.hostile.certificates import Authority
from nacre.testing.hostile.events import Log
from nacre.testing.hostile.faults import LIES
from nacre.testing.hostile.honest import Answer, Question
from nacre.testing.hostile.plan import Fault

__all__ = ["World"]

_CLIENT_HELLO = b"\x16"
_IDLE = 60.0
#: Seconds that an answer waits for another to be given first: if nobody else is connected, or somebody is.
_ALONE, _TOGETHER = 0.5, 10.0
_SETTLING = 5.0
_LONGEST_LINE = 1 << 24
_QUIET = Fault("quiet")
#: A name that is the host's own.
_ELSEWHERE = "elsewhere.example"


class World:
    """Plays the hosts.

    Attributes:
        problem: Why an honest answer could not be had; empty as a rule.
        certificate: Of the authority that the app is to trust, PEM.
    """

    def __init__(self, hosts: Sequence[str], honest: Path, folder: Path, log: Log) -> None:
        """Make the authorities.

        Args:
            hosts: Those that the application may ask, ``host:port``.
            honest: The socket where ``honest.serve`` answers.
            folder: A folder of its own, to be made.
            log: Where each fault that meets a connection is noted.
        """
        self.problem = ""
        self._hosts, self._honest, self._log = hosts, honest, log
        folder.mkdir()
        now = dt.datetime.now(dt.UTC)
        self._authority = Authority(folder / "known", at=now)
        self._nobody = Authority(folder / "unknown", at=now)
        self.certificate = self._authority.certificate
        self._past: list[tuple[Question, Answer]] = []
        self._fault = _QUIET
        self._count = 0
        self._later = asyncio.Event()
        self._limits = Limits()
        self._tasks: set[asyncio.Task[None]] = set()
        self._lying: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        """Nothing is needed to begin."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Hang up on everybody."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def intend(self, fault: Fault | None) -> None:
        """Begin a round: its first connection is number 0."""
        self._fault, self._count = fault or _QUIET, 0

    async def settled(self) -> None:
        """Wait until it is known what became of each lie: an app may answer before its refusal comes."""
        if self._lying:
            await asyncio.wait(self._lying, timeout=_SETTLING)

    async def serve(self, connection: Connection) -> None:
        """Serve one connection of an agent's egress, as its uplink."""
        limits = self._limits
        await serve(
            connection.streams, self._reached, limit=limits.header, patience=limits.patience, idle=_IDLE
        )

    async def _reached(self, target: str) -> Streams:
        fault = self._fault if self._fault.which == self._count else _QUIET
        self._count += 1
        if fault.kind == "egress-drop":
            self._log.say("egress-drop", f"did not connect the app to {target}")
            raise EnclaveError("egress-unreachable", what=target, actual="no answer in time")
        near, far = socket.socketpair()
        for end in (near, far):
            end.setblocking(False)  # noqa: FBT003 (the library's word)
        task = asyncio.get_running_loop().create_task(self._play(far, target, fault))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        if fault.kind in LIES:
            self._lying.add(task)
            task.add_done_callback(self._lying.discard)
        return await asyncio.open_connection(sock=near)

    async def _play(self, end: socket.socket, target: str, fault: Fault) -> None:
        """Be the server at the other end."""
        with end, contextlib.suppress(Gone, OSError, TimeoutError):
            tls = await _begins_with(end, _CLIENT_HELLO)
            forged = tls and fault.kind in LIES
            context = self._shown(target, fault if forged else _QUIET) if tls else None
            try:
                connection = Connection(*await _accepted(end, context), limits=self._limits)
            except OSError:
                if forged:
                    self._refused(fault, target)
                return
            try:
                if await connection.next():
                    await self._answer(connection, target, fault, tls=tls)
                elif forged:
                    self._refused(fault, target)
            finally:
                await connection.close()

    def _refused(self, fault: Fault, target: str) -> None:
        self._log.say(fault.kind, f"showed {_certificate(fault)} for {target}, which the app refused")

    def _shown(self, target: str, fault: Fault) -> ssl.SSLContext:
        """Return what a server shows: a host has genuine certificates, but for its own names only."""
        name = target.rpartition(":")[0]
        if fault.kind == "lie-other":
            names = (host.rpartition(":")[0] for host in self._hosts)
            return self._authority.context(next((other for other in names if other != name), _ELSEWHERE))
        return (self._authority if fault is _QUIET else self._nobody).context(name)

    async def _answer(self, connection: Connection, target: str, fault: Fault, *, tls: bool) -> None:
        asked = await connection.whole()
        path = f"{asked.path}?{asked.query}" if asked.query else asked.path
        question = Question(target, asked.method, path, asked.body)
        honest = await self._asked(question)
        told = honest
        if fault.kind in LIES:
            told = await self._lie(question, honest, fault, tls=tls)
        elif fault.kind == "egress-repeat" and not tls:
            self._log.say("egress-repeat", f"delivered the request to {target} {fault.amount} times more")
            for _ in range(fault.amount):
                await self._asked(question)
        elif fault.kind == "egress-delay":
            self._log.say("egress-delay", f"kept the answer of {target} for {fault.amount} ms")
            await asyncio.sleep(fault.amount / 1000)
        elif fault.kind == "egress-reorder":
            await self._wait_for_later(target)
        self._past.append((question, honest))
        if fault.kind == "egress-cut":
            passed = told.body[: min(fault.amount, len(told.body) - 1)] if told.body else b""
            self._log.say("egress-cut", f"passed {len(passed)} bytes of the answer of {target}, then hung up")
            await connection.begin(told.status, [(b"content-length", b"%d" % (len(told.body) or 1))])
            await connection.send(passed)
            connection.abort()
            return
        response = Response(status=told.status, headers=_headers(told.body), body=told.body)
        await connection.answer(response, extra=(("connection", "close"),))
        if fault.kind != "egress-reorder":
            self._later.set()

    async def _lie(self, question: Question, honest: Answer, fault: Fault, *, tls: bool) -> Answer:
        told: Answer | None
        match fault.kind:
            case "lie-value":
                told, how = lies.twisted(honest, fault.amount), "a wrong value"
            case "lie-old":
                past = [then for asked, then in self._past if lies.same_question(asked, question)]
                told, how = lies.old(honest, past, fault.amount), "an old answer"
            case "lie-other":
                others = [
                    await self._asked(msgspec.structs.replace(question, host=host))
                    for host in self._hosts
                    if host != question.host
                ]
                told, how = lies.another(honest, others, fault.amount), "another host's answer"
            case _:
                told, how = lies.failed(honest, fault.amount), "a failure"
        if told is None:
            return honest
        taken = f"showed {_certificate(fault)}, which the app took, and " if tls else ""
        shown = told.body[:120].decode("utf-8", "replace")
        self._log.say(fault.kind, f"{taken}told the app {how} for {question.host}: {told.status} {shown}")
        return told

    async def _wait_for_later(self, target: str) -> None:
        self._later.clear()
        patience = _ALONE if len(self._tasks) == 1 else _TOGETHER
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(patience):
                await self._later.wait()
                self._log.say("egress-reorder", f"kept the answer of {target} until another was given")

    async def _asked(self, question: Question) -> Answer:
        """Ask the invariants what is true."""
        reader, writer = await asyncio.open_unix_connection(str(self._honest), limit=_LONGEST_LINE)
        try:
            writer.write(msgspec.json.encode(question) + b"\n")
            answer = msgspec.json.decode(await reader.readline(), type=Answer)
        finally:
            writer.close()
        if answer.problem:
            self.problem = answer.problem
            raise Gone
        return answer


def _certificate(fault: Fault) -> str:
    """Say what is wrong with a certificate."""
    return "another name's certificate" if fault.kind == "lie-other" else "a certificate of its own making"


def _headers(body: bytes) -> tuple[tuple[str, str], ...]:
    kind = "application/json" if body[:1] in (b"{", b"[") else "text/plain; charset=utf-8"
    return (("content-type", kind),)


async def _begins_with(end: socket.socket, first: bytes) -> bool:
    """Look at the first byte and leave it where it is.

    Raises:
        Gone: There is none.
    """
    loop, ready = asyncio.get_running_loop(), asyncio.Event()
    loop.add_reader(end, ready.set)
    try:
        async with asyncio.timeout(_IDLE):
            await ready.wait()
    finally:
        loop.remove_reader(end)
    byte = end.recv(1, socket.MSG_PEEK)
    if not byte:
        raise Gone
    return byte == first


async def _accepted(end: socket.socket, context: ssl.SSLContext | None) -> Streams:
    """Begin to serve what is connected already; with a context, in TLS."""
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    protocol = asyncio.StreamReaderProtocol(reader)
    transport, _ = await loop.connect_accepted_socket(lambda: protocol, end, ssl=context)
    return reader, asyncio.StreamWriter(transport, protocol, reader, loop)
