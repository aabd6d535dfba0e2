# SPDX-License-Identifier: Apache-2.0
"""What is looked at before there are keys, on good machines and on bad ones."""

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from nacre.checks import Status
from nacre.enclave.agent.boot import Sources, examine, insist
from nacre.enclave.agent.config import Config
from nacre.enclave.agent.enclave import Enclave
from nacre.errors import ConfigurationError, EnclaveError

Configure = Callable[..., Config]


class _Device:
    """A device with a generator that gives what a case wants."""

    platform = "nitro"

    def __init__(self, drawn: bytes | EnclaveError | None) -> None:
        self.drawn = drawn

    def entropy(self, size: int) -> bytes | None:
        assert size == 32
        if isinstance(self.drawn, EnclaveError):
            raise self.drawn
        return self.drawn

    def evidence(self, data: bytes, *, nonce: bytes | None = None, public_key: bytes | None = None) -> bytes:
        raise AssertionError(data, nonce, public_key)

    def endorsements(self) -> Mapping[str, bytes]:
        raise AssertionError

    def extend(self, register: str, digest: bytes) -> None:
        raise EnclaveError("device-no-register", actual=register, what=digest.hex())

    def registers(self) -> Mapping[str, bytes]:
        return {}

    def sealing_key(self, context: bytes) -> bytes | None:
        raise AssertionError(context)

    def close(self) -> None:
        pass


class _Sources(Sources):
    """Another machine's randomness and time."""

    def __init__(
        self, folder: Path, *, clock: str | None = "tsc", draws: tuple[bytes | None, ...] = (), now: int = 0
    ) -> None:
        super().__init__(clock=str(folder / "clock"), pool=str(folder / "pool"))
        if clock is not None:
            self.clock.write_text(clock + "\n")
        self._draws = list(draws)
        self._now = now

    def sample(self) -> bytes | None:
        return self._draws.pop() if self._draws else super().sample()

    def now(self) -> int:
        return self._now or super().now()


def test_this_machine_is_fit(tmp_path: Path) -> None:
    checks = examine(_Device(bytes(range(32))), _Sources(tmp_path))
    assert [check.status for check in checks] == [Status.PASS] * 4
    assert (tmp_path / "pool").read_bytes() == bytes(range(32))
    insist(checks)


@pytest.mark.parametrize(
    ("drawn", "sources", "code"),
    [
        (None, {"draws": (None,)}, "entropy-not-ready"),
        (None, {"draws": (bytes(32), bytes(32))}, "entropy-repeats"),
        (bytes(32), {}, "entropy-repeats"),
        (b"short", {}, "entropy-repeats"),
        (EnclaveError("device-unreachable", actual="gone"), {}, "entropy-device-fails"),
        (None, {"clock": "jiffies"}, "clock-none"),
        (None, {"clock": ""}, "clock-none"),
        (None, {"now": 1}, "clock-implausible"),
        (None, {"now": 1_767_225_599}, "clock-implausible"),
        (None, {"now": 4_102_444_800}, "clock-implausible"),
    ],
)
def test_unfit_machine_gets_no_keys(
    tmp_path: Path,
    configure: Configure,
    drawn: bytes | EnclaveError | None,
    sources: dict[str, object],
    code: str,
) -> None:
    machine = _Sources(tmp_path, **sources)  # type: ignore[arg-type]
    # The device would fail if it were asked for anything after the checks.
    with pytest.raises(EnclaveError) as refused:
        asyncio.run(Enclave.start(configure(), _Device(drawn), sources=machine))
    assert refused.value.code == code
    assert "?" not in str(refused.value)


@pytest.mark.parametrize(
    ("clock", "status"),
    [
        ("kvm-clock", Status.WARN),
        ("hpet", Status.WARN),
        (None, Status.SKIPPED),
        ("arch_sys_counter", Status.PASS),
    ],
)
def test_clock_that_is_the_hosts_word_is_called_so(tmp_path: Path, clock: str | None, status: Status) -> None:
    checks = examine(_Device(None), _Sources(tmp_path, clock=clock))
    assert {check.id: check.status for check in checks}["agent.clock-source"] is status
    insist(checks)


def test_pool_that_cannot_be_written_is_a_reservation(tmp_path: Path) -> None:
    sources = _Sources(tmp_path)
    sources.pool.mkdir()
    assert examine(_Device(bytes(range(32))), sources)[1].reason == "entropy-unmixed"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"mode":"simulated"', '"mode":"trust me"'),
        ('"mode":"simulated"', '"mode":"simulated","debug":true'),
        ('"mode":"simulated"', '"mode":"simulated","mode":"genuine"'),
        ('"public":"unix:', '"public":"udp:'),
        ("abab", "abax"),
        ('"socket":"/', '"socket":"'),
        ('"app_user":null', '"app_user":0'),
        ('"restart":"never"', '"restart":"sometimes"'),
    ],
)
def test_configuration_is_strict(tmp_path: Path, configure: Configure, old: str, new: str) -> None:
    text = configure().encode().decode()
    assert old in text
    file = tmp_path / "config.json"
    file.write_text(text)
    assert Config.load(file) == configure()
    file.write_text(text.replace(old, new, 1))
    with pytest.raises(ConfigurationError):
        Config.load(file)
