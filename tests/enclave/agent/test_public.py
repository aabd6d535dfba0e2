# SPDX-License-Identifier: Apache-2.0
"""The public door over real sockets: what passes to the app, and what a hostile caller gets."""

import asyncio
import contextlib
import os
import socket
import stat
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import msgspec
import pytest

from nacre.enclave.agent.config import Config, Limits
from nacre.enclave.agent.listen import Listener
from nacre.enclave.agent.routing import Router
from nacre.enclave.agent.server import PublicDoor, is_ours
from nacre.errors import EnclaveError

Configure = Callable[..., Config]
App = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

_GET = b"GET /x HTTP/1.1\r\nhost: a\r\n\r\n"


@contextlib.asynccontextmanager
async def _door(config: Config, app: App | None = None) -> AsyncIterator[str]:
    """Serve the public door, with an app on its socket if there is one; yields the door's path."""
    server = None
    if app is not None:
        server = await asyncio.start_unix_server(app, config.app_socket)
    listener = Listener(config.public, PublicDoor(Router(), config).serve, limits=config.limits)
    await listener.open()
    try:
        yield config.public.partition(":")[2]
    finally:
        await listener.close()
        if server is not None:
            server.close()
        await asyncio.sleep(0.02)  # the loop lets go of what was closed


async def _ask(path: str, data: bytes) -> bytes:
    """Send bytes and read all that comes until the other side ends."""
    reader, writer = await asyncio.open_unix_connection(path)
    with contextlib.suppress(ConnectionError):
        writer.write(data)
        await writer.drain()
    answer = b""
    with contextlib.suppress(ConnectionError):
        answer = await asyncio.wait_for(reader.read(-1), 8)
    writer.close()
    return answer


def _status(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1])


def _code(answer: bytes) -> str:
    found: object = msgspec.json.decode(answer.partition(b"\r\n\r\n")[2])
    assert isinstance(found, dict)
    return str(found["error"])


async def _echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer with the request's head as the body."""
    head = await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.1 200 OK\r\nconnection: close, x-gone\r\nx-gone: 1\r\nkeep-alive: 5\r\n")
    writer.write(b"content-length: %d\r\n\r\n" % len(head) + head)
    await writer.drain()
    writer.close()


def test_only_what_is_for_the_app_reaches_it(configure: Configure) -> None:
    async def run() -> bytes:
        async with _door(configure(), _echo) as path:
            head = b"host: a\r\nconnection: close, x-secret\r\nx-secret: 1\r\nte: trailers\r\nx-kept: 2\r\n"
            return await _ask(path, b"GET /x?y HTTP/1.1\r\n" + head + b"\r\n")

    head, _, body = asyncio.run(run()).partition(b"\r\n\r\n")
    assert b"GET /x?y HTTP/1.1" in body
    assert b"x-kept: 2" in body
    for name in (b"x-secret", b"te:", b"connection"):
        assert name not in body.lower()
    assert b"x-gone" not in head
    assert b"keep-alive" not in head.lower()


@pytest.mark.parametrize(
    "request_",
    [
        b"POST /x HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST /x HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\ncontent-length: 4\r\n\r\nabcd",
        b"POST /x HTTP/1.1\r\nhost: a\r\ncontent-length: +3\r\n\r\nabc",
        b"POST /x HTTP/1.1\r\nhost: a\r\ntransfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        b"POST /x HTTP/1.1\r\nhost: a\r\ntransfer-encoding : chunked\r\n\r\n0\r\n\r\n",
        b"GET /x HTTP/1.1\r\nhost: a\r\n folded: 1\r\nx y: 1\r\n\r\n",
        b"GET /x HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n",
        b"GET /x HTTP/1.1\r\n\r\n",
        b"GET http://a/.well-known/nacre/evidence HTTP/1.1\r\nhost: a\r\n\r\n",
        b"CONNECT a:1 HTTP/1.1\r\nhost: a\r\n\r\n",
        b"GET  /x HTTP/1.1\r\nhost: a\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
    ],
)
def test_what_two_servers_could_read_in_two_ways_is_refused(configure: Configure, request_: bytes) -> None:
    reached = []

    async def app(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        reached.append(await reader.read(1))
        writer.close()

    async def run() -> bytes:
        async with _door(configure(), app) as path:
            return await _ask(path, request_)

    answer = asyncio.run(run())
    assert _status(answer) in {400, 501}
    assert b"connection: close" in answer.lower()
    assert not reached


def test_headers_of_ten_thousand_bytes_are_too_many(configure: Configure) -> None:
    async def run() -> tuple[bytes, bytes]:
        async with _door(configure(), _echo) as path:
            whole = b"GET /x HTTP/1.1\r\nhost: a\r\nx: " + b"y" * 10_000 + b"\r\n\r\n"
            return await _ask(path, whole), await _ask(path, whole[:-2] * 10)

    for answer in asyncio.run(run()):
        assert _status(answer) == 431
        assert _code(answer) == "agent-headers"


def test_slow_caller_is_let_go_and_others_are_answered_meanwhile(configure: Configure) -> None:
    async def run() -> tuple[float, bytes, bytes]:
        loop = asyncio.get_running_loop()
        async with _door(configure(), _echo) as path:
            # A plain socket: a stream forgets what it has read when a later write fails.
            with socket.socket(socket.AF_UNIX) as slow:
                slow.setblocking(False)
                await loop.sock_connect(slow, path)
                begun = time.monotonic()
                await loop.sock_sendall(slow, b"GET /x HTTP/1.1\r\n")

                async def drip() -> None:
                    with contextlib.suppress(OSError):
                        while True:
                            await loop.sock_sendall(slow, b"x: 1\r\n")
                            await asyncio.sleep(0.1)

                dripping = asyncio.create_task(drip())
                other = await _ask(path, _GET)
                answer = b""
                with contextlib.suppress(ConnectionError):
                    while some := await loop.sock_recv(slow, 1 << 16):
                        answer += some
                dripping.cancel()
                return time.monotonic() - begun, answer, other

    seconds, answer, other = asyncio.run(run())
    assert seconds > 0.9
    assert _status(answer) == 408
    assert _status(other) == 200


def test_caller_that_takes_nothing_stops_the_app_and_not_the_memory(configure: Configure) -> None:
    written = 0

    async def app(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal written
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
        with contextlib.suppress(ConnectionError):
            while written < 1 << 27:
                writer.write(b"10000\r\n" + bytes(1 << 16) + b"\r\n")
                await writer.drain()
                written += 1 << 16
        writer.close()

    async def run() -> None:
        async with _door(configure(), app) as path:
            _, writer = await asyncio.open_unix_connection(path)
            writer.write(_GET)
            await asyncio.sleep(0.5)
            assert written < 1 << 23
            writer.close()

    asyncio.run(run())


def test_bodies_stream_both_ways(configure: Configure) -> None:
    async def app(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
        line = b""
        while line != b"0\r\n":  # each chunk comes back before the next one was sent
            line = await reader.readline()
            writer.write(line + await reader.readexactly(int(line, 16) + 2))
            await writer.drain()
        writer.close()

    async def run() -> list[bytes]:
        async with _door(configure(), app) as path:
            reader, writer = await asyncio.open_unix_connection(path)
            writer.write(b"POST /x HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n")
            found = []
            for part in (b"one", b"two"):
                writer.write(b"3\r\n" + part + b"\r\n")
                if part == b"one":
                    await reader.readuntil(b"\r\n\r\n")
                await reader.readline()
                found.append((await reader.readline()).strip())
            writer.write(b"0\r\n\r\n")
            assert await reader.readline() == b"0\r\n"
            writer.close()
            return found

    assert asyncio.run(run()) == [b"one", b"two"]


def test_app_that_is_not_there_says_so(configure: Configure) -> None:
    async def run() -> bytes:
        async with _door(configure()) as path:
            return await _ask(path, _GET)

    answer = asyncio.run(run())
    assert (_status(answer), _code(answer)) == (502, "app-absent")


@pytest.mark.parametrize(
    ("said", "code"),
    [(b"", "app-broken"), (b"SSH-2.0\r\n\r\n", "app-broken"), (b"HTTP/1.1 200 OK\r\nx", "app-broken")],
)
def test_app_that_speaks_otherwise_is_named(configure: Configure, said: bytes, code: str) -> None:
    async def app(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(said)
        await writer.drain()
        writer.close()

    async def run() -> bytes:
        async with _door(configure(), app) as path:
            return await _ask(path, _GET)

    answer = asyncio.run(run())
    assert (_status(answer), _code(answer)) == (502, code)


def test_app_that_never_answers_is_waited_for_so_long(configure: Configure) -> None:
    async def app(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(-1)
        writer.close()

    async def run() -> bytes:
        async with _door(configure(limits=Limits(answer=0.3, patience=1)), app) as path:
            return await _ask(path, _GET)

    answer = asyncio.run(run())
    assert (_status(answer), _code(answer)) == (504, "app-slow")


def test_answer_that_ends_early_does_not_look_complete(configure: Configure) -> None:
    async def app(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n")
        await writer.drain()
        writer.close()

    async def run() -> bytes:
        async with _door(configure(), app) as path:
            return await _ask(path, _GET)

    assert b"0\r\n\r\n" not in asyncio.run(run())


def test_change_of_protocol_is_clearly_refused(configure: Configure) -> None:
    async def run() -> bytes:
        async with _door(configure(), _echo) as path:
            return await _ask(
                path, b"GET /x HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n"
            )

    answer = asyncio.run(run())
    assert (_status(answer), _code(answer)) == (501, "agent-upgrade")


@pytest.mark.parametrize(
    ("target", "ours"),
    [
        (b"/.well-known/nacre/evidence?nonce=00", True),
        (b"/.well-known/nacre", True),
        (b"//.well-known/nacre/evidence", True),
        (b"/x/..%2f.well-known/nacre/evidence", True),
        (b"/%2ewell-known/./nacre/evidence", True),
        (b"/.WELL-known\\nacre/evidence", True),
        (b"/.well-known/nacreous", False),
        (b"/x?/.well-known/nacre/evidence", False),
    ],
)
def test_no_app_answers_in_the_agents_name(target: bytes, ours: bool) -> None:
    assert is_ours(target) is ours


def test_two_agents_never_share_a_path(configure: Configure, folder: Path) -> None:
    config = configure()

    async def run() -> None:
        async with _door(config) as path:
            assert stat.S_IMODE(os.stat(path).st_mode) == 0o600  # noqa: PTH116 (as the kernel says)
            second = Listener(config.public, PublicDoor(Router(), config).serve, limits=config.limits)
            with pytest.raises(EnclaveError) as refused:
                await second.open()
            assert refused.value.code == "agent-listen"
            assert _status(await _ask(path, _GET)) == 502
        # What a killed agent leaves is no obstacle.
        folder.joinpath("public.sock").touch()
        folder.joinpath("public.sock").unlink()
        async with _door(config):
            pass

    asyncio.run(run())


def test_more_callers_than_allowed_are_turned_away_at_once(configure: Configure) -> None:
    async def run() -> tuple[bytes, bytes]:
        async with _door(configure(limits=Limits(connections=2, patience=5)), _echo) as path:
            held = [await asyncio.open_unix_connection(path) for _ in range(2)]
            await asyncio.sleep(0.05)
            turned = await _ask(path, _GET)
            held[0][1].close()
            await asyncio.sleep(0.05)
            answered = await _ask(path, b"GET /x HTTP/1.0\r\n\r\n")
            held[1][1].close()
            return turned, answered

    turned, answered = asyncio.run(run())
    assert turned == b""
    assert _status(answered) == 200
