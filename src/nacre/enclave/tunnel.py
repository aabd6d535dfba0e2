# SPDX-License-Identifier: Apache-2.0
"""HTTP CONNECT and nothing else of HTTP: read, answered, asked for, and the bytes passed on.

A head is taken only if it can be read in one way. Whoever is refused is not read any further, so nothing that
follows a refused head can pass for another request.

Source: RFC 9110, 9.3.6; RFC 9112, 2.2, 3.2.3, 5.
"""

import asyncio
import contextlib
import re
import socket
from collections.abc import Awaitable, Callable

from nacre.enclave.agent.connection import CHUNK, Gone
from nacre.enclave.agent.routing import refusal
from nacre.errors import EnclaveError

__all__ = ["Streams", "dialled", "insist", "serve", "splice", "through"]

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]

_END = b"\r\n\r\n"
_LINE = re.compile(rb"CONNECT ([!-~]{1,300}) HTTP/1\.[01]")
_HEADER = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[\t\x20-\x7e\x80-\xff]*")
#: A name or an IPv4 address in lower case, and a port without leading zeros.
_TARGET = re.compile(rb"(?=.{1,253}:)[a-z0-9-]+(?:\.[a-z0-9-]+)*:([1-9][0-9]{0,4})")
_BODY = (b"content-length", b"transfer-encoding")
_ANSWER = re.compile(rb"HTTP/1\.[01] ([0-9]{3})(?: [\t\x20-\x7e\x80-\xff]*)?")
_LAST_PORT = 65535
_FIRST_GOOD, _FIRST_OTHER = 200, 300
_LINGER = 0.5


async def serve(
    near: Streams,
    reached: Callable[[str], Awaitable[Streams]],
    *,
    limit: int,
    patience: float,
    idle: float,
) -> None:
    """Serve one connection: one tunnel, or one refusal.

    Args:
        near: The caller.
        reached: Connects to a target, ``host:port``, or raises ``EnclaveError``.
        limit: Bytes of the caller's head.
        patience: Seconds for the caller's head.
        idle: Seconds until a tunnel through which nothing moves is ended.

    Raises:
        Gone: A side broke off.
    """
    try:
        far = await reached(await _asked(near[0], limit=limit, patience=patience))
    except EnclaveError as error:
        await _refuse(near, error)
        return
    try:
        await _accept(near[1])
        await splice(near, far, idle=idle)
    except BaseException:
        far[1].transport.abort()
        raise
    far[1].close()


async def _asked(reader: asyncio.StreamReader, *, limit: int, patience: float) -> str:
    """Read the head of a CONNECT.

    Returns:
        The target, ``host:port``.

    Raises:
        EnclaveError: ``egress-request``, ``agent-headers``, ``agent-too-slow``.
        Gone: The caller left.
    """
    head = await _head(reader, limit=limit, patience=patience)
    first, *headers = head.removesuffix(_END).split(b"\r\n")
    line = _LINE.fullmatch(first)
    if line is None:
        raise EnclaveError("egress-request", actual=_shown(first))
    for header in headers:
        found = _HEADER.fullmatch(header)
        if found is None or found[1].lower() in _BODY:
            raise EnclaveError("egress-request", actual=_shown(header))
    target = _TARGET.fullmatch(line[1])
    if target is None or int(target[1]) > _LAST_PORT:
        raise EnclaveError("egress-request", actual=_shown(line[1]))
    return line[1].decode("ascii")


def insist(target: str, allowed: frozenset[str]) -> None:
    """Let only what is written in the list pass.

    Raises:
        EnclaveError: ``egress-undeclared``.
    """
    if target not in allowed:
        raise EnclaveError("egress-undeclared", what=target, expected=tuple(sorted(allowed)))


async def _accept(writer: asyncio.StreamWriter) -> None:
    """Say that the tunnel stands."""
    writer.write(b"HTTP/1.1 200 Connected\r\n\r\n")
    with contextlib.suppress(OSError):
        await writer.drain()


async def _refuse(streams: Streams, error: EnclaveError) -> None:
    """Answer with an error; what the caller still sends is thrown away."""
    reader, writer = streams
    answer = refusal(error)
    head = f"HTTP/1.1 {answer.status} Refused\r\ncontent-type: application/json\r\n"
    head += f"content-length: {len(answer.body)}\r\nconnection: close\r\n\r\n"
    with contextlib.suppress(OSError, TimeoutError):
        async with asyncio.timeout(_LINGER):
            writer.write(head.encode("ascii") + answer.body)
            await writer.drain()
            writer.write_eof()
            # Closing with something unread would reset the connection, and the answer could be lost.
            while await reader.read(CHUNK):
                pass


async def dialled(address: str, *, patience: float) -> Streams:
    """Connect to ``unix:PATH`` (or a bare path), ``vsock:CID:PORT`` or ``tcp:HOST:PORT``.

    Raises:
        EnclaveError: ``egress-unreachable``.
    """
    try:
        async with asyncio.timeout(patience):
            return await _dial(address)
    except TimeoutError:
        raise EnclaveError("egress-unreachable", what=address, actual="no answer in time") from None
    except (OSError, ValueError) as error:  # a name that no resolver encodes is a ValueError
        problem = getattr(error, "strerror", None) or type(error).__name__
        raise EnclaveError("egress-unreachable", what=address, actual=problem) from None


async def through(streams: Streams, target: str, *, limit: int, patience: float) -> None:
    """Ask another proxy for a tunnel. Nothing is believed of its answer but whether it began one.

    Raises:
        EnclaveError: ``egress-unreachable``, ``agent-headers``, ``agent-too-slow``.
    """
    reader, writer = streams
    writer.write(f"CONNECT {target} HTTP/1.1\r\nhost: {target}\r\n\r\n".encode("ascii"))
    try:
        await writer.drain()
        head = await _head(reader, limit=limit, patience=patience)
    except (Gone, OSError):
        raise EnclaveError("egress-unreachable", what=target, actual="the uplink ended") from None
    answer = _ANSWER.fullmatch(head.partition(b"\r\n")[0])
    if answer is None or not _FIRST_GOOD <= int(answer[1]) < _FIRST_OTHER:
        actual = _shown(answer[1] if answer else b"no HTTP")
        raise EnclaveError("egress-unreachable", what=target, actual=f"the uplink answered {actual}")


async def splice(near: Streams, far: Streams, *, idle: float) -> None:
    """Pass bytes both ways, as fast as the slower side takes them, until both have said that they are done.

    Raises:
        Gone: One side broke off, or nothing moved for ``idle`` seconds.
    """
    try:
        async with asyncio.timeout(idle) as clock, asyncio.TaskGroup() as both:
            both.create_task(_copied(near[0], far[1], clock, idle))
            both.create_task(_copied(far[0], near[1], clock, idle))
    except TimeoutError:
        raise Gone from None
    except ExceptionGroup as group:
        if group.split(OSError)[1] is not None:
            raise
        raise Gone from None


async def _copied(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, clock: asyncio.Timeout, idle: float
) -> None:
    loop = asyncio.get_running_loop()
    while data := await reader.read(CHUNK):
        clock.reschedule(loop.time() + idle)
        writer.write(data)
        await writer.drain()
        clock.reschedule(loop.time() + idle)
    writer.write_eof()


async def _head(reader: asyncio.StreamReader, *, limit: int, patience: float) -> bytes:
    try:
        async with asyncio.timeout(patience):
            head = await reader.readuntil(_END)
    except TimeoutError:
        raise EnclaveError("agent-too-slow", expected=str(patience)) from None
    except asyncio.LimitOverrunError as error:
        raise EnclaveError("agent-headers", expected=limit, actual=f"{error.consumed} bytes") from None
    except (asyncio.IncompleteReadError, OSError):
        raise Gone from None
    if len(head) > limit:
        raise EnclaveError("agent-headers", expected=limit, actual=f"{len(head)} bytes")
    return head


async def _dial(address: str) -> Streams:
    kind, _, rest = address.partition(":")
    if kind == "vsock":
        cid, _, port = rest.partition(":")
        connected = socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM)
        connected.setblocking(False)  # noqa: FBT003 (the library's word)
        try:
            await asyncio.get_running_loop().sock_connect(connected, (int(cid), int(port)))
        except BaseException:
            connected.close()
            raise
        return await asyncio.open_connection(sock=connected)
    if kind == "tcp":
        host, _, port = rest.rpartition(":")
        return await asyncio.open_connection(host, int(port))
    return await asyncio.open_unix_connection(rest if kind == "unix" else address)


def _shown(data: bytes) -> str:
    return data[:64].decode("ascii", "backslashreplace")
