# SPDX-License-Identifier: Apache-2.0
"""The way of evidence: simulated machine, emulated device, the driver that ships, the verifier."""

import hashlib
import signal
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from nacre.appraisal.purposes import digest
from nacre.enclave.emulate.emulator import Emulator
from nacre.errors import EnclaveError
from nacre.platforms import devices, get
from nacre.platforms.base import Endorsements
from nacre.platforms.device import Device
from nacre.platforms.simulation import Root, simulator
from nacre.trust.anchors import Origin
from nacre.trust.signatures import Signatures

_AT = 1_800_000_000
_REGISTERS: Mapping[str, Mapping[str, bytes]] = {
    "nitro": {f"pcr{index}": bytes((index + 1,)) * 48 for index in range(5)},
    "sgx": {"mrenclave": b"e" * 32, "mrsigner": b"s" * 32},
    "snp": {"measurement": b"m" * 48},
    "tdx": {"mrtd": b"t" * 48, "rtmr1": b"1" * 48, "rtmr3": b"3" * 48},
}


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="n") as name:
        yield Path(name)


@pytest.fixture(scope="module", params=sorted(_REGISTERS))
def root(request: pytest.FixtureRequest) -> tuple[str, Root]:
    return request.param, simulator(request.param).create_root(at=_AT)


def _verify(device: Device, emulator: Emulator, root: Root, data: bytes) -> Mapping[str, bytes]:
    platform = get(device.platform)
    evidence = platform.parse(device.evidence(data))
    documents = {file.name: file.read_bytes() for file in emulator.endorsements.iterdir()}
    claims = platform.verify(
        evidence,
        Endorsements(documents | dict(device.endorsements())),
        anchors=root.anchors(),
        at=_AT,
        signatures=Signatures(),
    )
    assert claims.origin is Origin.SIMULATED
    assert claims.committed.data == data
    assert not claims.debug
    return claims.registers


def test_what_the_driver_returns_verifies_as_simulated(folder: Path, root: tuple[str, Root]) -> None:
    name, own = root
    machine = simulator(name).machine(own, at=_AT)
    data = digest("evidence", bytes(32), b"")
    with Emulator(machine, registers=_REGISTERS[name], directory=folder / "e", clock=lambda: _AT) as emulator:
        device = devices.find(emulator.paths)
        assert device.platform == name
        registers = _verify(device, emulator, own, data)
        for register, value in _REGISTERS[name].items():
            assert registers[register] == value
        if name == "tdx":
            device.extend("rtmr3", b"d" * 48)
            extended = hashlib.sha384(b"3" * 48 + b"d" * 48).digest()
            assert _verify(device, emulator, own, data)["rtmr3"] == extended
    with pytest.raises(EnclaveError):
        device.evidence(data)
    assert [entry.name for entry in (folder / "e").iterdir() if entry.is_socket()] == []


def test_a_killed_emulator_leaves_a_folder_that_the_next_one_uses(folder: Path) -> None:
    program = textwrap.dedent(
        """
        import sys, time
        from pathlib import Path
        from nacre.enclave.emulate.emulator import Emulator
        from nacre.platforms.snp import simulate
        machine = simulate.machine(simulate.create_root(at=1_800_000_000), at=1_800_000_000)
        with Emulator(machine, registers={}, directory=Path(sys.argv[1]), clock=lambda: 1_800_000_000):
            print("serving", flush=True)
            time.sleep(60)
        """
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, str(folder / "e")], stdout=subprocess.PIPE, text=True
    ) as killed:
        assert killed.stdout is not None
        assert killed.stdout.readline() == "serving\n"
        killed.send_signal(signal.SIGKILL)
    time.sleep(0.05)
    own = simulator("snp").create_root(at=_AT)
    machine = simulator("snp").machine(own, at=_AT)
    with Emulator(machine, registers={}, directory=folder / "e", clock=lambda: _AT) as emulator:
        assert _verify(devices.find(emulator.paths), emulator, own, bytes(64))


def test_a_folder_that_cannot_be_used(folder: Path) -> None:
    (folder / "e").write_bytes(b"")
    machine = simulator("nitro").machine(simulator("nitro").create_root(at=_AT), at=_AT)
    with (
        pytest.raises(EnclaveError) as refused,
        Emulator(machine, registers={}, directory=folder / "e", clock=lambda: _AT),
    ):
        pass
    assert refused.value.code == "emulator-directory"
