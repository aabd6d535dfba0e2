# SPDX-License-Identifier: Apache-2.0
"""The security module stays open between questions, and no answer is ever another question's."""

import contextlib
import os
import secrets
import socket
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from nacre.enclave.emulate.sockets import MessageSocket
from nacre.errors import EnclaveError
from nacre.platforms.nitro.device import MAX_REQUEST, NitroDevice
from nacre.trust import cbor


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="n") as name:  # a socket's path has 107 bytes at most
        yield Path(name)


def _framed(reply: bytes) -> bytes:
    return len(reply).to_bytes(4, "big") + reply


def _random(data: bytes) -> bytes:
    return cbor.dumps({"GetRandom": {"random": data}})


class _Module:
    """Answers with random bytes, and remembers on which connection it was asked what."""

    def __init__(self, path: Path) -> None:
        self.asked: list[int] = []
        self._server = socket.socket(socket.AF_UNIX)
        self._server.bind(str(path))
        self._server.listen(8)
        self._calls: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                self._calls.append(self._server.accept()[0])
                threading.Thread(target=self._serve, args=(len(self._calls) - 1,), daemon=True).start()

    def _serve(self, number: int) -> None:
        with contextlib.suppress(OSError):
            while self._calls[number].recv(1 << 16):
                self.asked.append(number)
                self._calls[number].sendall(_framed(_random(bytes([number] * 9))))

    def say(self, unasked: bytes) -> None:
        self._calls[-1].sendall(unasked)

    def hang_up(self) -> None:
        self._calls[-1].shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self._server.shutdown(socket.SHUT_RDWR)
        for one in (self._server, *self._calls):
            one.close()


@pytest.fixture
def module(folder: Path) -> Iterator[_Module]:
    with closing(_Module(folder / "nsm")) as there:
        yield there


@pytest.fixture
def patient(folder: Path, module: _Module) -> Iterator[NitroDevice]:
    del module
    with closing(NitroDevice(str(folder / "nsm"))) as opened:
        yield opened


def test_the_module_stays_open_between_questions(module: _Module, patient: NitroDevice) -> None:
    assert {patient.entropy(9) for _ in range(5)} == {bytes(9)}
    patient.close()
    assert patient.entropy(1) == b"\x01"
    assert module.asked == [0] * 5 + [1]


def test_a_module_that_hung_up_is_opened_again(module: _Module, patient: NitroDevice) -> None:
    patient.entropy(1)
    module.hang_up()
    assert patient.entropy(1) == b"\x01"


def test_what_nobody_asked_for_is_never_an_answer(module: _Module, patient: NitroDevice) -> None:
    patient.entropy(1)
    module.say(_framed(_random(b"planted")))
    assert patient.entropy(7) == b"\x01" * 7


def test_an_answer_that_came_too_late_is_not_the_next_ones(folder: Path) -> None:
    first = threading.Event()

    def late(request: bytes) -> bytes:
        if not first.is_set():
            first.set()
            time.sleep(0.5)
            return _random(b"late")
        return _random(request[-6:])

    with (
        pytest.MonkeyPatch.context() as patch,
        closing(NitroDevice(str(folder / "nsm"))) as device,
        MessageSocket(folder / "nsm", late, limit=MAX_REQUEST),
    ):
        patch.setattr("nacre.platforms.nitro.device._PATIENCE", 0.1)
        with pytest.raises(EnclaveError) as caught:
            device.entropy(4)
        assert caught.value.code == "device-unreachable"
        patch.setattr("nacre.platforms.nitro.device._PATIENCE", 20.0)
        time.sleep(0.6)
        assert device.entropy(6) == b"Random"


def test_a_forked_process_never_shares_the_open_module(patient: NitroDevice) -> None:
    patient.entropy(1)
    child = os.fork()
    if not child:
        os._exit(patient.entropy(1)[0])  # the number of the connection
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 1
    assert patient.entropy(1) == b"\0"


def test_threads_take_turns(folder: Path) -> None:
    with (
        closing(NitroDevice(str(folder / "nsm"))) as device,
        MessageSocket(
            folder / "nsm",
            lambda request: cbor.dumps({"Attestation": {"document": request}}),
            limit=MAX_REQUEST,
        ),
        ThreadPoolExecutor(8) as pool,
    ):
        wanted = [secrets.token_bytes(64) for _ in range(200)]
        for data, found in zip(wanted, pool.map(device.evidence, wanted), strict=True):
            assert data in found


def test_an_emulator_that_ends_hangs_up(folder: Path) -> None:
    with closing(NitroDevice(str(folder / "nsm"))) as device:
        with MessageSocket(folder / "nsm", lambda _: _random(b"x"), limit=MAX_REQUEST):
            device.entropy(1)
        with pytest.raises(EnclaveError) as caught:
            device.entropy(1)
        assert caught.value.code == "device-unreachable"


def test_an_emulator_waits_as_long_as_it_takes_between_questions(folder: Path) -> None:
    with (
        pytest.MonkeyPatch.context() as patch,
        MessageSocket(folder / "nsm", lambda request: request, limit=MAX_REQUEST),
        socket.socket(socket.AF_UNIX) as caller,
    ):
        patch.setattr("nacre.enclave.emulate.sockets._PATIENCE", 0.05)
        caller.connect(str(folder / "nsm"))
        time.sleep(0.2)
        caller.sendall(_framed(b"there"))
        assert caller.recv(64) == _framed(b"there")
        caller.sendall(b"\0\0")  # but not within one
        assert caller.recv(64) == b""
