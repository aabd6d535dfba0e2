# SPDX-License-Identifier: Apache-2.0
"""The event log: measured first, then remembered, and never mistaken for the system's own."""

import hashlib
from collections.abc import Mapping
from pathlib import Path

import msgspec
import pytest

from nacre.appraisal.systems.eventlog import replayed
from nacre.enclave.agent.log import EventLog
from nacre.errors import EnclaveError


class _Register:
    """A device that has one register and nothing else."""

    def __init__(self, platform: str = "tdx") -> None:
        self.platform = platform
        self.value = bytes(48)
        self.broken = False

    def extend(self, register: str, digest: bytes) -> None:
        assert register == {"tdx": "rtmr3", "nitro": "pcr16"}[self.platform]
        if self.broken:
            raise EnclaveError("device-unreachable", actual="gone")
        self.value = hashlib.sha384(self.value + digest).digest()

    def evidence(self, data: bytes, *, nonce: bytes | None = None, public_key: bytes | None = None) -> bytes:
        raise AssertionError(data, nonce, public_key)

    def endorsements(self) -> Mapping[str, bytes]:
        raise AssertionError

    def registers(self) -> Mapping[str, bytes]:
        return {}

    def entropy(self, size: int) -> bytes | None:
        raise AssertionError(size)

    def sealing_key(self, context: bytes) -> bytes | None:
        raise AssertionError(context)

    def close(self) -> None:
        pass


@pytest.mark.parametrize("platform", ["tdx", "nitro"])
def test_log_replays_to_the_register(platform: str, tmp_path: Path) -> None:
    device = _Register(platform)
    log = EventLog(device, mirror=str(tmp_path / "events"))
    for number in range(5):
        log.add_of_app(f"event.{number}", bytes([number]) * number)
    assert replayed(log.events, 3) == device.value
    lines = (tmp_path / "events").read_bytes().splitlines()
    assert [msgspec.json.decode(line)["event"] for line in lines] == [f"event.{n}" for n in range(5)]
    assert log.mirrored


def test_what_was_not_measured_is_not_logged() -> None:
    device = _Register()
    log = EventLog(device)
    device.broken = True
    with pytest.raises(EnclaveError):
        log.add_of_app("paid", b"")
    assert log.events == ()


def test_full_disk_loses_the_copy_and_not_the_log() -> None:
    log = EventLog(_Register(), mirror="/dev/full")
    log.add_of_app("paid", b"1")
    assert len(log.events) == 1
    assert not log.mirrored


def test_platform_without_register_has_a_log_that_is_only_its_word() -> None:
    log = EventLog(_Register("snp"))
    log.add_of_app("paid", b"1")
    assert log.register is None


@pytest.mark.parametrize(
    "name",
    ["", "a b", "a:b", "é", "a\n", "x" * 65, "nacre-boot", "system-ready", "compose-hash", "app-id", "-a"],
)
def test_app_does_not_speak_as_the_system(name: str) -> None:
    with pytest.raises(EnclaveError) as refused:
        EventLog(_Register()).add_of_app(name, b"")
    assert refused.value.code == "agent-event-name"


def test_log_is_bounded() -> None:
    log = EventLog(_Register())
    with pytest.raises(EnclaveError) as refused:
        log.add_of_app("a", bytes(1025))
    assert refused.value.code == "agent-event-size"
    for _ in range(1024):
        log.add_of_app("a", b"")
    with pytest.raises(EnclaveError) as refused:
        log.add_of_app("a", b"")
    assert refused.value.code == "agent-log-full"
