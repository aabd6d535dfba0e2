# SPDX-License-Identifier: Apache-2.0
"""Both clients against a whole agent; an app that uses one inside; and answers that no agent gives."""

import asyncio
import contextlib
import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_der_public_key

from nacre.appraisal.bindings import Binding
from nacre.enclave import AsyncClient, Client, EnclaveError, envelope
from nacre.enclave.agent.config import Config
from nacre.enclave.agent.keys import statement
from nacre.enclave.emulate.chip import Chip
from nacre.enclave.emulate.nsm import answer
from nacre.enclave.emulate.sockets import MessageSocket
from nacre.platforms.device import DevicePaths
from nacre.platforms.nitro import simulate

Configure = Callable[..., Config]

_APP = """
import json, time
from nacre.enclave import Client
client = Client()
sealed = client.seal(b"secret", context="c")
way = client.open_egress("localhost", PORT)
way.sendall(b"hello")
plain = client.unseal(sealed, context="c").decode()
told = {"app": client.info().app, "plain": plain, "way": way.recv(5).decode()}
way.close()
with open("told.part", "w") as file:
    json.dump(told, file)
import os; os.rename("told.part", "told.json")
time.sleep(60)
"""


@pytest.fixture
def port() -> Iterator[int]:
    """A server that says first what it was told."""
    listening = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listening.accept()
                with connection:
                    connection.sendall(connection.recv(5))

    thread = threading.Thread(target=serve)
    thread.start()
    yield listening.getsockname()[1]
    listening.shutdown(socket.SHUT_RDWR)
    listening.close()
    thread.join()


@pytest.fixture
def config(configure: Configure, folder: Path, port: int) -> Iterator[Config]:
    """A running agent, with the app above inside."""
    at = int(time.time())
    chip = Chip(simulate.machine(simulate.create_root(at=at), at=at), registers={}, clock=lambda: at)
    others = dict.fromkeys(DevicePaths.__struct_fields__, "/nonexistent/device")
    made = configure(
        *(sys.executable, "-c", _APP.replace("PORT", str(port))),
        app={"egress": (f"localhost:{port}",)},
        devices=DevicePaths(**others | {"nsm": str(folder / "nsm")}),
        egress_socket=f"{folder}/out.sock",
        uplink="direct",
    )
    file = folder / "config.json"
    file.write_bytes(made.encode())
    with MessageSocket(folder / "nsm", lambda request: answer(chip, request), limit=1 << 16):
        process = subprocess.Popen([sys.executable, "-m", "nacre.enclave.agent", str(file)])
        try:
            end = time.monotonic() + 10
            while not (folder / "told.json").exists():
                assert process.poll() is None
                assert time.monotonic() < end
                time.sleep(0.02)
            yield made
        finally:
            process.terminate()
            process.wait(10)


def _code(error: pytest.ExceptionInfo[EnclaveError]) -> str:
    assert str(error.value)
    return error.value.code


def test_all_that_an_app_can_ask(config: Config, folder: Path, port: int) -> None:
    told = json.loads((folder / "told.json").read_text())
    assert told == {"app": "app", "plain": "secret", "way": "hello"}
    client = Client(config.socket, egress=config.egress_socket)
    info = client.info()
    assert (info.platform, info.mode, info.release) == ("nitro", "simulated", "ab" * 32)
    found = envelope.decode(client.evidence(b"mine"))
    assert found.data == b"mine"
    assert Binding.app_data(b"mine").committed(fields=True).data in found.evidence
    signed = client.sign(b"message")
    assert signed.key.hex() == info.keys["ed25519"]
    key = load_der_public_key(signed.key)
    assert isinstance(key, Ed25519PublicKey)
    key.verify(signed.signature, statement(b"message"))
    assert client.derive("a") == client.derive("a") != client.derive("a", purpose="b")
    assert client.emit("event", b"x").register == "pcr16"
    with pytest.raises(EnclaveError) as caught:
        client.raw_evidence(bytes(64))
    assert _code(caught) == "agent-undeclared"
    assert caught.value.hint
    with pytest.raises(EnclaveError) as caught:
        client.unseal(client.seal(b"x", context="one"), context="two")
    assert _code(caught) == "agent-unseal"
    for target in (("localhost", port + 1), ("example.org", port)):
        with pytest.raises(EnclaveError) as caught:
            client.open_egress(*target)
        assert _code(caught) == "egress-undeclared"
    with pytest.raises(EnclaveError) as caught:
        client.open_egress("a\r\nb: c", port)
    assert _code(caught) == "egress-request"


def test_the_same_awaited(config: Config, port: int) -> None:
    async def run() -> None:
        client = AsyncClient(config.socket, egress=config.egress_socket)
        plain = Client(config.socket)
        assert await client.info() == plain.info()
        assert envelope.decode(await client.evidence(b"mine")).data == b"mine"
        keys = await asyncio.gather(*(client.derive(str(number % 8)) for number in range(64)))
        assert len(set(keys)) == 8
        assert keys[0] == plain.derive("0")
        assert await client.unseal(plain.seal(b"s", context="c"), context="c") == b"s"
        assert plain.unseal(await client.seal(b"s")) == b"s"
        assert (await client.sign(b"m", algorithm="p256")).key == bytes.fromhex(plain.info().keys["p256"])
        assert (await client.emit("event")).register == "pcr16"
        reader, writer = await client.open_egress("localhost", port)
        writer.write(b"hello")
        assert await reader.read() == b"hello"
        writer.close()
        with pytest.raises(EnclaveError) as caught:
            await client.open_egress("localhost", port + 1)
        assert _code(caught) == "egress-undeclared"
        with pytest.raises(EnclaveError) as caught:
            await client.raw_evidence(bytes(64))
        assert _code(caught) == "agent-undeclared"

    asyncio.run(run())


_NO_AGENT = {
    "nothing": b"",
    "no HTTP": b"SSH-2.0-x\r\n\r\n",
    "cut off": b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n{}",
    "no JSON": b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n<>",
    "refusal without reason": b"HTTP/1.1 500 Oh\r\ncontent-length: 2\r\n\r\n{}",
    "other shape": b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n[]",
}


@pytest.mark.parametrize("said", _NO_AGENT.values(), ids=_NO_AGENT)
def test_what_is_no_agent_is_an_error_of_ours(folder: Path, said: bytes) -> None:
    path = str(folder / "s")

    async def pretend(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(said)
        await writer.drain()
        writer.close()

    async def run() -> set[str]:
        blocking, awaited = Client(path, seconds=5), AsyncClient(path, seconds=5)
        codes = set()
        async with await asyncio.start_unix_server(pretend, path):
            with pytest.raises(EnclaveError) as caught:
                await awaited.info()
            codes.add(_code(caught))
            with pytest.raises(EnclaveError) as caught:
                await asyncio.to_thread(blocking.info)
            codes.add(_code(caught))
        return codes

    assert asyncio.run(run()) == {"client-answer"}


@pytest.mark.parametrize("said", [_NO_AGENT["no HTTP"], _NO_AGENT["refusal without reason"], b""])
def test_what_is_no_way_out_is_an_error_of_ours(folder: Path, said: bytes) -> None:
    path = str(folder / "s")

    async def pretend(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(said)
        await writer.drain()
        writer.close()

    async def run() -> set[str]:
        codes = set()
        async with await asyncio.start_unix_server(pretend, path):
            with pytest.raises(EnclaveError) as caught:
                await AsyncClient(egress=path, seconds=5).open_egress("a", 1)
            codes.add(_code(caught))
            with pytest.raises(EnclaveError) as caught:
                await asyncio.to_thread(Client(egress=path, seconds=5).open_egress, "a", 1)
            codes.add(_code(caught))
        return codes

    assert asyncio.run(run()) <= {"client-answer", "client-unreachable"}


def test_no_agent_at_all(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    monkeypatch.delenv("NACRE_SOCKET", raising=False)
    with pytest.raises(EnclaveError) as caught:
        Client().info()
    assert _code(caught) == "client-no-socket"
    monkeypatch.setenv("NACRE_SOCKET", str(folder / "none"))
    with pytest.raises(EnclaveError) as caught:
        Client().info()
    assert _code(caught) == "client-unreachable"
    with pytest.raises(EnclaveError) as caught:
        asyncio.run(AsyncClient().info())
    assert _code(caught) == "client-unreachable"


def test_importing_the_room_loads_nothing() -> None:
    program = (
        "import sys, nacre.enclave; print(sorted({'h11', 'cryptography', 'asyncio'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
