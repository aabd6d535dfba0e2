# SPDX-License-Identifier: Apache-2.0
"""The security module's interface, from both sides."""

import hashlib
import socket
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path
from types import MappingProxyType

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nacre.enclave.emulate.chip import Chip
from nacre.enclave.emulate.nsm import answer
from nacre.enclave.emulate.sockets import MessageSocket
from nacre.errors import EnclaveError
from nacre.platforms.nitro.device import MAX_REQUEST, NitroDevice
from nacre.trust import cbor

_DIGEST = bytes(range(48))


class _Echo:
    """A machine whose evidence is what it was asked for, so that a test can read it."""

    platform = "nitro"
    registers: Mapping[str, bytes] = MappingProxyType({f"pcr{index}": bytes(48) for index in range(32)})

    def evidence(
        self,
        data: bytes,
        *,
        registers: Mapping[str, bytes],
        at: int,
        nonce: bytes | None = None,
        public_key: bytes | None = None,
    ) -> bytes:
        return cbor.dumps([data, registers, at, nonce, public_key])

    def endorsements(self, *, at: int) -> Mapping[str, bytes]:
        return {"at": str(at).encode()}


@pytest.fixture
def chip() -> Chip:
    return Chip(_Echo(), registers={"pcr0": b"\x11" * 48}, clock=lambda: 1_800_000_000)


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="n") as name:  # a socket's path has 107 bytes at most
        yield Path(name)


@pytest.fixture
def device(chip: Chip, folder: Path) -> Iterator[NitroDevice]:
    path = folder / "nsm"
    with (
        MessageSocket(path, lambda request: answer(chip, request), limit=2 * MAX_REQUEST),
        closing(NitroDevice(str(path))) as opened,
    ):
        yield opened


def _read(evidence: bytes) -> tuple[bytes, dict[str, bytes], int, bytes | None, bytes | None]:
    seen = cbor.loads(evidence, what="echo", limit=1 << 16)
    return msgspec.convert(seen, tuple[bytes, dict[str, bytes], int, bytes | None, bytes | None])


def test_a_document_has_what_was_asked_for(device: NitroDevice) -> None:
    data, registers, at, nonce, key = _read(device.evidence(b"d" * 64, nonce=b"n", public_key=b"k"))
    assert (data, at, nonce, key) == (b"d" * 64, 1_800_000_000, b"n", b"k")
    assert registers == {f"pcr{index}": (b"\x11" if index == 0 else b"\0") * 48 for index in range(16)}
    assert _read(device.evidence(b"d"))[3:] == (None, None)
    assert device.endorsements() == {}
    assert device.sealing_key(b"x") is None


def test_extending_is_a_hash_and_shows_once_locked(device: NitroDevice) -> None:
    value = hashlib.sha384(bytes(48) + _DIGEST).digest()
    device.extend("pcr16", _DIGEST)
    assert device.registers()["pcr16"] == value
    assert "pcr16" not in _read(device.evidence(b""))[1]
    device.lock_pcr(16)
    assert _read(device.evidence(b""))[1]["pcr16"] == value
    assert device.pcr(16) == (True, value)
    assert device.extend_pcr(17, b"abc") == hashlib.sha384(bytes(48) + b"abc").digest()


def test_the_module_says_what_it_is(device: NitroDevice) -> None:
    device.lock_pcrs(20)
    module = device.describe()
    assert (module.max_pcrs, module.digest, module.locked) == (32, "SHA384", tuple(range(20)))


def test_random_bytes_are_as_many_as_asked_for_and_never_the_same(device: NitroDevice) -> None:
    assert [len(device.entropy(size)) for size in (0, 1, 300)] == [0, 1, 300]
    assert device.entropy(32) != device.entropy(32)
    with pytest.raises(EnclaveError) as caught:
        device.entropy((1 << 16) + 1)
    assert caught.value.code == "device-size"


@pytest.mark.parametrize("register", ["pcr15", "pcr32", "rtmr3", "pcr016", "pcr16\n", "pcr\uff116"])
def test_registers_that_are_not_the_applications(device: NitroDevice, register: str) -> None:
    with pytest.raises(EnclaveError) as caught:
        device.extend(register, _DIGEST)
    assert caught.value.code == "device-no-register"


def test_a_digest_has_its_size(device: NitroDevice) -> None:
    with pytest.raises(EnclaveError) as caught:
        device.extend("pcr16", b"short")
    assert caught.value.code == "device-size"


def test_what_is_locked_stays_as_it_is(device: NitroDevice) -> None:
    device.lock_pcr(16)
    with pytest.raises(EnclaveError, match="ReadOnlyIndex") as caught:
        device.extend("pcr16", _DIGEST)
    assert caught.value.code == "device-refused"
    with pytest.raises(EnclaveError, match="ReadOnlyIndex"):
        device.lock_pcr(16)
    assert device.pcr(16) == (True, bytes(48))


@pytest.mark.parametrize(
    ("request_", "name"),
    [
        ("Nothing", "InvalidOperation"),
        ({"DescribeNSM": {}}, "InvalidOperation"),
        ("DescribePCR", "InvalidOperation"),
        ({"DescribePCR": {"index": 0}, "LockPCR": {"index": 0}}, "InvalidOperation"),
        ({"DescribePCR": 3}, "InvalidOperation"),
        ({}, "InvalidOperation"),
        (7, "InvalidOperation"),
        ({"DescribePCR": {}}, "InvalidArgument"),
        ({"DescribePCR": {"index": True}}, "InvalidArgument"),
        ({"DescribePCR": {"index": -1}}, "InvalidArgument"),
        ({"DescribePCR": {"index": 32}}, "InvalidIndex"),
        ({"ExtendPCR": {"index": 32, "data": b"x"}}, "InvalidIndex"),
        ({"ExtendPCR": {"index": 16, "data": b""}}, "InvalidArgument"),
        ({"ExtendPCR": {"index": 16, "data": "x"}}, "InvalidArgument"),
        ({"ExtendPCR": {"index": 0, "data": b"x"}}, "ReadOnlyIndex"),
        ({"LockPCR": {"index": 3}}, "ReadOnlyIndex"),
        ({"LockPCRs": {"range": 33}}, "InvalidIndex"),
        ({"Attestation": {"user_data": b"x" * 513}}, "InputTooLarge"),
        ({"Attestation": {"nonce": b"x" * 513}}, "InputTooLarge"),
        ({"Attestation": {"public_key": b"x" * 1025}}, "InputTooLarge"),
        ({"Attestation": {"nonce": "text"}}, "InvalidArgument"),
        ({"ExtendPCR": {"index": 16, "data": b"x" * MAX_REQUEST}}, "InputTooLarge"),
    ],
)
def test_refusals_have_the_modules_names(chip: Chip, request_: object, name: str) -> None:
    assert cbor.loads(answer(chip, cbor.dumps(request_)), what="", limit=99) == {"Error": name}


@given(st.binary(max_size=64))
def test_nothing_makes_the_module_fall(request_: bytes) -> None:
    chip = Chip(_Echo(), registers={}, clock=lambda: 0)
    assert cbor.loads(answer(chip, request_), what="", limit=1 << 14)


def test_requests_are_the_bytes_that_the_real_module_takes(folder: Path) -> None:
    """Source: aws-nitro-enclaves-nsm-api's own encoding (serde_cbor)."""
    seen: list[bytes] = []

    def refuse(request: bytes) -> bytes:
        seen.append(request)
        return cbor.dumps({"Error": "InternalError"})

    with (
        closing(NitroDevice(str(folder / "nsm"))) as device,
        MessageSocket(folder / "nsm", refuse, limit=MAX_REQUEST),
    ):
        for call in (
            device.describe,
            lambda: device.pcr(3),
            lambda: device.extend_pcr(16, b"abc"),
            lambda: device.lock_pcr(16),
            lambda: device.lock_pcrs(20),
            lambda: device.entropy(1),
        ):
            with pytest.raises(EnclaveError, match="InternalError"):
                call()
    assert [request.hex() for request in seen[:1] + seen[3:]] == [
        "6b44657363726962654e534d",
        "a1674c6f636b504352a165696e64657810",
        "a1684c6f636b50435273a16572616e676514",
        "6947657452616e646f6d",
    ]
    assert seen[1].hex() == "a16b4465736372696265504352a165696e64657803"


def _hostile(path: Path, reply: bytes) -> threading.Thread:
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(path))
    server.listen(1)

    def serve() -> None:
        with server, server.accept()[0] as connection:
            connection.recv(1 << 16)
            connection.sendall(reply)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    return thread


def _framed(reply: bytes) -> bytes:
    return len(reply).to_bytes(4, "big") + reply


@pytest.mark.parametrize(
    "reply",
    [
        b"",
        b"\0\0",
        _framed(b""),
        b"\0\0\0\x09short",
        b"\xff\xff\xff\xff" + b"x" * 64,
        _framed(b"\xff" * 9),
        _framed(b"\xa1" * 200),
        _framed(b"\x9b" + b"\xff" * 8),
        _framed(cbor.dumps("Attestation")),
        _framed(cbor.dumps({"Attestation": None})),
        _framed(cbor.dumps({"Attestation": {"document": "text"}})),
        _framed(cbor.dumps({"GetRandom": {"random": b"x"}})),
        _framed(cbor.dumps({"Error": {"deep": [1] * 99}})),
        _framed(cbor.dumps({"Attestation": {"document": b""}}) + b"\0"),
    ],
)
def test_whatever_a_device_answers_is_evidence_or_one_error(folder: Path, reply: bytes) -> None:
    thread = _hostile(folder / "nsm", reply)
    with closing(NitroDevice(str(folder / "nsm"))) as device, pytest.raises(EnclaveError) as caught:
        device.evidence(b"")
    assert str(caught.value)
    assert caught.value.code in {"device-answer", "device-refused"}
    thread.join(5)


@pytest.mark.parametrize(
    "reply",
    [
        {"DescribeNSM": {}},
        {
            "DescribeNSM": {
                "version_major": 1,
                "version_minor": 1,
                "version_patch": True,
                "module_id": "i",
                "digest": "SHA384",
                "locked_pcrs": [],
                "max_pcrs": 1,
            }
        },
        {
            "DescribeNSM": {
                "version_major": 1,
                "version_minor": 1,
                "version_patch": 1,
                "module_id": "i",
                "digest": "SHA384",
                "locked_pcrs": ["x"],
                "max_pcrs": 1,
            }
        },
    ],
)
def test_descriptions_that_are_none(folder: Path, reply: object) -> None:
    _hostile(folder / "nsm", _framed(cbor.dumps(reply)))
    with closing(NitroDevice(str(folder / "nsm"))) as device, pytest.raises(EnclaveError) as caught:
        device.describe()
    assert caught.value.code == "device-answer"


def test_random_bytes_that_never_come_end(folder: Path) -> None:
    _hostile(folder / "nsm", _framed(cbor.dumps({"GetRandom": {"random": b""}})))
    with closing(NitroDevice(str(folder / "nsm"))) as device, pytest.raises(EnclaveError) as caught:
        device.entropy(32)
    assert caught.value.code == "device-answer"


def test_an_emulator_that_is_gone_is_told_clearly(folder: Path) -> None:
    with pytest.raises(EnclaveError) as caught:
        NitroDevice(str(folder / "other")).evidence(b"")
    assert caught.value.code == "device-unreachable"
    left = socket.socket(socket.AF_UNIX)
    left.bind(str(folder / "left"))
    left.close()  # its file stays, as a killed emulator's does
    with pytest.raises(EnclaveError, match="refused") as caught:
        NitroDevice(str(folder / "left")).evidence(b"")
    assert caught.value.code == "device-unreachable"


def test_a_node_that_is_no_module_refuses_the_ioctl() -> None:
    with pytest.raises(EnclaveError) as caught:
        NitroDevice("/dev/null").evidence(b"")
    assert caught.value.code == "device-unreachable"


def test_a_request_too_large_is_not_sent(device: NitroDevice) -> None:
    with pytest.raises(EnclaveError) as caught:
        device.evidence(b"x" * MAX_REQUEST)
    assert caught.value.code == "device-size"
    with pytest.raises(EnclaveError, match="InputTooLarge"):
        device.evidence(b"x" * 513)
