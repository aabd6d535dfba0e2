# SPDX-License-Identifier: Apache-2.0
"""What is looked at before any key is made: whether there is randomness, and whose word the time is.

Each look is a named check of the report. One that fails keeps the agent from starting: a key made without
entropy is everybody's key.
"""

import os
import time
from pathlib import Path

from nacre.checks import Check, Status, failed, passed, skipped, warned
from nacre.errors import EnclaveError
from nacre.platforms.device import Device

__all__ = ["Sources", "examine", "insist"]

_SAMPLE = 32
#: 2026-01-01, before this software, and 2100-01-01.
_EARLIEST, _LATEST = 1_767_225_600, 4_102_444_800
#: Counters of the processor itself: on SEV-SNP (secure TSC) and TDX the host does not move them.
_OWN_CLOCKS = ("tsc", "arch_sys_counter")
#: What a kernel falls back to when it has no clock: counted interrupts, which the host sends.
_NO_CLOCKS = ("jiffies", "refined-jiffies")


class Sources:
    """Where this machine's randomness and time come from; paths, so that a test can show another machine."""

    def __init__(
        self,
        *,
        clock: str = "/sys/devices/system/clocksource/clocksource0/current_clocksource",
        pool: str = "/dev/urandom",
    ) -> None:
        """Name the files."""
        self.clock = Path(clock)
        self.pool = Path(pool)

    def sample(self) -> bytes | None:
        """Take random bytes from the kernel; None if it says that it has none yet."""
        try:
            return os.getrandom(_SAMPLE, os.GRND_NONBLOCK)
        except BlockingIOError:
            return None

    def now(self) -> int:
        """Return what the kernel takes for the time, Unix seconds."""
        return int(time.time())


def examine(device: Device, sources: Sources) -> tuple[Check, ...]:
    """Make every check; the device's own random bytes are stirred into the kernel's pool on the way."""
    return (_entropy(sources), _device_entropy(device, sources), _clock(sources), _time(sources))


def insist(checks: tuple[Check, ...]) -> None:
    """Refuse to go on if one failed.

    Raises:
        EnclaveError: With the failed check's reason.
    """
    for check in checks:
        if check.status is Status.FAIL:
            raise EnclaveError(check.reason, **check.context)


def _entropy(sources: Sources) -> Check:
    first, second = sources.sample(), sources.sample()
    if first is None or second is None:
        return failed("agent.entropy", "entropy-not-ready")
    # A generator that repeats itself is stuck (or the machine was cloned from a snapshot mid-way).
    if first == second:
        return failed("agent.entropy", "entropy-repeats", actual=len(first))
    return passed("agent.entropy")


def _device_entropy(device: Device, sources: Sources) -> Check:
    try:
        drawn = device.entropy(_SAMPLE)
        if drawn is None:
            return Check("agent.entropy-device", Status.NOT_APPLICABLE, "entropy-no-device")
        if len(set(drawn)) == 1 or len(drawn) != _SAMPLE:
            return failed("agent.entropy-device", "entropy-repeats", actual=len(drawn))
        with sources.pool.open("wb", buffering=0) as pool:
            pool.write(drawn)
    except EnclaveError as error:
        return failed("agent.entropy-device", "entropy-device-fails", actual=str(error))
    except OSError as error:
        return warned("agent.entropy-device", "entropy-unmixed", actual=error.strerror or "an error")
    return passed("agent.entropy-device", actual=len(drawn))


def _clock(sources: Sources) -> Check:
    try:
        name = sources.clock.read_text(encoding="ascii").strip()[:32]
    except (OSError, ValueError):
        return skipped("agent.clock-source", "clock-unknown")
    if name in _NO_CLOCKS or not name:
        return failed("agent.clock-source", "clock-none", actual=name or "nothing")
    if name not in _OWN_CLOCKS:
        return warned("agent.clock-source", "clock-of-host", actual=name, expected=_OWN_CLOCKS)
    return passed("agent.clock-source", actual=name)


def _time(sources: Sources) -> Check:
    now = sources.now()
    if not _EARLIEST <= now < _LATEST:
        return failed("agent.time", "clock-implausible", actual=now, expected=_EARLIEST)
    return passed("agent.time", actual=now)
