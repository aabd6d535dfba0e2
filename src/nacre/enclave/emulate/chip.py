# SPDX-License-Identifier: Apache-2.0
"""What an emulated TEE remembers while it runs: its registers, and which of them are locked."""

import hashlib
import hmac
import os
import threading
from collections.abc import Callable, Mapping

from nacre.platforms.simulation import Machine

__all__ = ["Chip"]

#: PCRs that are locked from the start.
_BOOT_PCRS = 16


class Chip:
    """One running enclave's hardware. May be asked by several threads."""

    def __init__(
        self,
        machine: Machine,
        *,
        registers: Mapping[str, bytes],
        clock: Callable[[], int],
        secret: bytes = b"",
    ) -> None:
        """Start.

        Args:
            machine: The simulated machine.
            registers: Name, as in releases, to value at the start; others hold what the machine's hold.
            clock: Tells the time, Unix seconds.
            secret: What sealing keys are derived from; random by default, so that they end with the chip.
        """
        self.platform = machine.platform
        self._machine = machine
        self._clock = clock
        self._secret = secret or os.urandom(32)
        self._turn = threading.Lock()
        self._registers = {**machine.registers, **registers}
        self._locked = set(range(_BOOT_PCRS))

    @property
    def registers(self) -> Mapping[str, bytes]:
        """The registers as they are now."""
        with self._turn:
            return dict(self._registers)

    @property
    def locked(self) -> frozenset[int]:
        """The PCRs that can no longer be extended."""
        with self._turn:
            return frozenset(self._locked)

    def extend(self, register: str, data: bytes) -> bytes:
        """Set a register to the SHA-384 of its value and ``data``, and return that."""
        with self._turn:
            value = hashlib.sha384(self._registers[register] + data).digest()
            self._registers[register] = value
            return value

    def extend_pcr(self, index: int, data: bytes) -> bytes | None:
        """Extend a PCR, unless it is locked (None)."""
        with self._turn:
            if index in self._locked:
                return None
            name = f"pcr{index}"
            self._registers[name] = hashlib.sha384(self._registers[name] + data).digest()
            return self._registers[name]

    def lock(self, *indices: int) -> bool:
        """Lock PCRs, and say whether one of them was not locked yet."""
        with self._turn:
            new = not self._locked.issuperset(indices)
            self._locked.update(indices)
            return new

    def evidence(self, data: bytes, *, nonce: bytes | None = None, public_key: bytes | None = None) -> bytes:
        """Make evidence of this moment: every register, but of PCRs those that are locked."""
        with self._turn:
            shown = {
                name: value
                for name, value in self._registers.items()
                if not name.startswith("pcr") or int(name[3:]) in self._locked
            }
        return self._machine.evidence(
            data, registers=shown, at=self._clock(), nonce=nonce, public_key=public_key
        )

    def endorsements(self) -> Mapping[str, bytes]:
        """Return the vendor's documents of this moment, by role."""
        return self._machine.endorsements(at=self._clock())

    def sealing_key(self, register: str) -> bytes:
        """Return 32 bytes that this machine gives to code of this ``register`` alone."""
        with self._turn:
            value = self._registers.get(register, b"")
        return hmac.digest(self._secret, register.encode() + b"\0" + value, "sha256")
