# SPDX-License-Identifier: Apache-2.0
"""The way out: a real uplink process, real sockets, and callers who try everything else."""

import asyncio
import contextlib
import hashlib
import os
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import msgspec
import pytest

from nacre.enclave.agent.config import Config, Limits
from nacre.enclave.agent.egress import Egress
from nacre.enclave.agent.listen import Listener
from nacre.enclave.agent.routing import Refusal
from nacre.enclave.tunnel import Streams

Configure = Callable[..., Config]

_SIZE = 4 << 20


async def _echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer with the digest once the caller said that it is done, then with all of it again."""
    with contextlib.suppress(OSError):
        data = await reader.read()
        writer.write(hashlib.sha256(data).digest() + data)
        await writer.drain()
        writer.close()


@contextlib.asynccontextmanager
async def _far() -> AsyncIterator[int]:
    server = await asyncio.start_server(_echo, "127.0.0.1", 0, backlog=2048)
    async with server:
        yield server.sockets[0].getsockname()[1]


@contextlib.asynccontextmanager
async def _uplink(folder: Path, *more: str) -> AsyncIterator[str]:
    path = str(folder / "up.sock")
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "nacre.enclave.uplink", "--listen", f"unix:{path}", *more),
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        assert process.stderr is not None
        assert b"listening" in await process.stderr.readline()
        yield path
    finally:
        process.terminate()
        assert await process.wait() == 0


@contextlib.asynccontextmanager
async def _egress(config: Config, *, idle: float = 60.0) -> AsyncIterator[str]:
    assert config.egress_socket is not None
    address = f"unix:{config.egress_socket}"
    listener = Listener(address, Egress(config, idle=idle).serve, limits=config.limits)
    await listener.open()
    try:
        yield config.egress_socket
    finally:
        await listener.close()


async def _said(path: str, data: bytes) -> bytes:
    """Send bytes, and return all that comes back."""
    reader, writer = await asyncio.open_unix_connection(path)
    try:
        writer.write(data)
        async with asyncio.timeout(10):
            return await reader.read()
    finally:
        writer.close()


async def _tunnel(path: str, target: str) -> Streams:
    reader, writer = await asyncio.open_unix_connection(path)
    writer.write(f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n".encode())
    head = await reader.readuntil(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 "), head
    return reader, writer


def _code(answer: bytes) -> tuple[int, str]:
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split(b" ")[1]), msgspec.json.decode(body, type=Refusal).error


@pytest.mark.parametrize("way", ["uplink", "direct"])
def test_bytes_go_both_ways_and_each_side_ends_by_itself(
    folder: Path, configure: Configure, way: str
) -> None:
    async def run() -> None:
        async with _far() as port, _uplink(folder) as up:
            target = f"localhost:{port}"
            config = configure(
                app={"egress": (target,)},
                egress_socket=f"{folder}/out.sock",
                uplink=up if way == "uplink" else "direct",
            )
            async with _egress(config) as path:
                reader, writer = await _tunnel(path, target)
                data = os.urandom(_SIZE)
                writer.write(data)
                writer.write_eof()  # the answer comes only after this arrived at the far end
                assert await reader.read() == hashlib.sha256(data).digest() + data
                writer.close()

    asyncio.run(run())


def test_bytes_sent_along_with_the_head_are_the_tunnels(folder: Path, configure: Configure) -> None:
    async def run() -> None:
        async with _far() as port, _uplink(folder) as up:
            target = f"localhost:{port}"
            config = configure(app={"egress": (target,)}, egress_socket=f"{folder}/out.sock", uplink=up)
            async with _egress(config) as path:
                reader, writer = await asyncio.open_unix_connection(path)
                writer.write(f"CONNECT {target} HTTP/1.1\r\n\r\nearly".encode())
                writer.write_eof()
                answer = await reader.read()
                assert answer.endswith(hashlib.sha256(b"early").digest() + b"early")
                writer.close()

    asyncio.run(run())


_FORMS = {
    "other host": (b"CONNECT evil.example:443 HTTP/1.1\r\n\r\n", 403, "egress-undeclared"),
    "other port": (b"CONNECT good.example:444 HTTP/1.1\r\n\r\n", 403, "egress-undeclared"),
    "longer name": (b"CONNECT good.example.evil.example:443 HTTP/1.1\r\n\r\n", 403, "egress-undeclared"),
    "below it": (b"CONNECT a.good.example:443 HTTP/1.1\r\n\r\n", 403, "egress-undeclared"),
    "address": (b"CONNECT 127.0.0.1:443 HTTP/1.1\r\n\r\n", 403, "egress-undeclared"),
    "address as a number": (b"CONNECT 2130706433:443 HTTP/1.1\r\n\r\n", 403, "egress-undeclared"),
    "sixth version": (b"CONNECT [::1]:443 HTTP/1.1\r\n\r\n", 400, "egress-request"),
    "capitals": (b"CONNECT GOOD.example:443 HTTP/1.1\r\n\r\n", 400, "egress-request"),
    "last dot": (b"CONNECT good.example.:443 HTTP/1.1\r\n\r\n", 400, "egress-request"),
    "zeros": (b"CONNECT good.example:0443 HTTP/1.1\r\n\r\n", 400, "egress-request"),
    "port out of range": (b"CONNECT good.example:65979 HTTP/1.1\r\n\r\n", 400, "egress-request"),
    "no port": (b"CONNECT good.example HTTP/1.1\r\n\r\n", 400, "egress-request"),
    "user": (b"CONNECT u:p@good.example:443 HTTP/1.1\r\n\r\n", 400, "egress-request"),
    "user who looks right": (
        b"CONNECT good.example:443@evil.example:443 HTTP/1.1\r\n\r\n",
        400,
        "egress-request",
    ),
    "absolute": (b"CONNECT https://good.example:443 HTTP/1.1\r\n\r\n", 400, "egress-request"),
    "path": (b"CONNECT good.example:443/ HTTP/1.1\r\n\r\n", 400, "egress-request"),
    "unicode": ("CONNECT g\u043e\u043ed.example:443 HTTP/1.1\r\n\r\n".encode(), 400, "egress-request"),
    "escapes": (b"CONNECT good%2eexample:443 HTTP/1.1\r\n\r\n", 400, "egress-request"),
    "zero byte": (b"CONNECT good.example:443\0 HTTP/1.1\r\n\r\n", 400, "egress-request"),
    "two spaces": (b"CONNECT  good.example:443 HTTP/1.1\r\n\r\n", 400, "egress-request"),
    "tab": (b"CONNECT\tgood.example:443 HTTP/1.1\r\n\r\n", 400, "egress-request"),
    "bare line feed": (b"CONNECT good.example:443 HTTP/1.1\nX: y\r\n\r\n", 400, "egress-request"),
    "bare carriage return": (
        b"CONNECT good.example:443 HTTP/1.1\r\nX: y\rZ: 1\r\n\r\n",
        400,
        "egress-request",
    ),
    "folded": (b"CONNECT good.example:443 HTTP/1.1\r\nX: y\r\n z\r\n\r\n", 400, "egress-request"),
    "space before colon": (b"CONNECT good.example:443 HTTP/1.1\r\nX : y\r\n\r\n", 400, "egress-request"),
    "length": (b"CONNECT good.example:443 HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc", 400, "egress-request"),
    "chunks": (
        b"CONNECT good.example:443 HTTP/1.1\r\nTransfer-ENCODING: chunked\r\n\r\n",
        400,
        "egress-request",
    ),
    "get": (b"GET http://good.example:443/ HTTP/1.1\r\n\r\n", 400, "egress-request"),
    "lower case": (b"connect good.example:443 HTTP/1.1\r\n\r\n", 400, "egress-request"),
    "second version": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400, "egress-request"),
    "old": (b"CONNECT good.example:443 HTTP/0.9\r\n\r\n", 400, "egress-request"),
    "large": (b"CONNECT good.example:443 HTTP/1.1\r\nX: " + b"y" * 9000 + b"\r\n\r\n", 431, "agent-headers"),
    "endless": (b"CONNECT good.example:443 HTTP/1.1\r\nX: " + b"y" * 200_000, 431, "agent-headers"),
    "second request after a refused one": (
        b"CONNECT evil.example:443 HTTP/1.1\r\n\r\nCONNECT good.example:443 HTTP/1.1\r\n\r\n",
        403,
        "egress-undeclared",
    ),
}


def test_nothing_but_what_is_declared_goes_out(folder: Path, configure: Configure) -> None:
    """The uplink here is a listener that nobody may reach: each refusal comes before anything is dialled."""
    reached: list[str] = []

    async def trap(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        reached.append("something")
        writer.close()

    async def run() -> dict[str, tuple[int, str]]:
        up = f"{folder}/up.sock"
        server = await asyncio.start_unix_server(trap, up)
        config = configure(
            app={"egress": ("good.example:443",)}, egress_socket=f"{folder}/out.sock", uplink=up
        )
        async with server, _egress(config) as path:
            return {name: _code(await _said(path, data)) for name, (data, _, _) in _FORMS.items()}

    assert asyncio.run(run()) == {name: (status, code) for name, (_, status, code) in _FORMS.items()}
    assert reached == []


@pytest.mark.parametrize("app", [{}, {"profile": "isolated", "egress": ("good.example:443",)}])
def test_nothing_goes_out_by_default_nor_from_isolation(
    folder: Path, configure: Configure, app: dict[str, object]
) -> None:
    async def run() -> bytes:
        config = configure(app=app, egress_socket=f"{folder}/out.sock", uplink="direct")
        async with _egress(config) as path:
            return await _said(path, b"CONNECT good.example:443 HTTP/1.1\r\n\r\n")

    assert _code(asyncio.run(run())) == (403, "egress-undeclared")


def test_callers_who_dawdle_are_sent_away(folder: Path, configure: Configure) -> None:
    async def run() -> None:
        async with _far() as port:
            target = f"localhost:{port}"
            config = configure(
                app={"egress": (target,)},
                egress_socket=f"{folder}/out.sock",
                uplink="direct",
                limits=Limits(patience=0.2),
            )
            async with _egress(config, idle=0.3) as path:
                assert _code(await _said(path, b"CONNECT good")) == (408, "agent-too-slow")
                reader, writer = await _tunnel(path, target)
                lost: list[dict[str, object]] = []
                asyncio.get_running_loop().set_exception_handler(lambda _, said: lost.append(said))
                with contextlib.suppress(ConnectionError):
                    assert await asyncio.wait_for(reader.read(), 5) == b""  # nothing moved
                writer.close()
                assert lost == []

    asyncio.run(run())


_HOSTILE = [b"", b"HTTP/1.1 403 No\r\n\r\n", b"garbage\r\n\r\n", b"HTTP/1.1 200", b"x" * 100_000]


@pytest.mark.parametrize("answer", _HOSTILE, ids=lambda value: value[:16].decode() or "nothing")
def test_a_hostile_uplink_is_only_a_refusal(folder: Path, configure: Configure, answer: bytes) -> None:
    async def hostile(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        writer.close()

    async def run() -> bytes:
        up = f"{folder}/up.sock"
        server = await asyncio.start_unix_server(hostile, up)
        config = configure(app={"egress": ("a.example:1",)}, egress_socket=f"{folder}/out.sock", uplink=up)
        async with server, _egress(config) as path:
            return await _said(path, b"CONNECT a.example:1 HTTP/1.1\r\n\r\n")

    assert _code(asyncio.run(run())) in ((502, "egress-unreachable"), (431, "agent-headers"))


def test_the_host_may_narrow_and_dials_nobody_who_is_not_there(folder: Path, configure: Configure) -> None:
    async def run() -> tuple[bytes, bytes]:
        async with _far() as port, _uplink(folder, "--only", "localhost:1") as up:
            targets = (f"localhost:{port}", "localhost:1")
            config = configure(app={"egress": targets}, egress_socket=f"{folder}/out.sock", uplink=up)
            async with _egress(config) as path:
                first, second = [
                    await _said(path, f"CONNECT {target} HTTP/1.1\r\n\r\n".encode()) for target in targets
                ]
                return first, second

    for answer in asyncio.run(run()):
        assert _code(answer) == (502, "egress-unreachable")


def test_a_thousand_at_once(folder: Path, configure: Configure) -> None:
    many = 1000

    async def run() -> int:
        async with _far() as port:
            target = f"localhost:{port}"
            config = configure(
                app={"egress": (target,)},
                egress_socket=f"{folder}/out.sock",
                uplink="direct",
                limits=Limits(connections=many, patience=30.0),
            )
            async with _egress(config) as path:
                tunnels = [await _tunnel(path, target) for _ in range(many)]
                with contextlib.suppress(OSError):  # one more is sent away at once
                    assert await _said(path, b"") == b""
                for number, (_, writer) in enumerate(tunnels):
                    writer.write(str(number).encode())
                    writer.write_eof()
                good = 0
                for number, (reader, writer) in enumerate(tunnels):
                    good += (await reader.read()).endswith(str(number).encode())
                    writer.close()
                return good

    assert asyncio.run(run()) == many
