# SPDX-License-Identifier: Apache-2.0
"""The interface of simulated hardware: machines that emit real bytes under a development root.

Each platform has ``simulate.py`` beside ``verify.py``. What it makes is as correctly signed as the vendor's
own, whatever its faults, and no policy takes it for genuine: the root decides that, not the bytes.
Time is an argument and keys come from OpenSSL's generator; nothing else here depends on where it runs.
"""

import importlib
from collections.abc import Mapping, Sequence
from typing import Protocol, cast

import msgspec

from nacre.errors import ConfigurationError
from nacre.platforms.base import Register
from nacre.trust.anchors import Anchor, simulated_anchor

__all__ = ["Machine", "Root", "Simulator", "check_registers", "check_size", "simulator"]


class Root(msgspec.Struct, frozen=True):
    """A development root: all that has to be kept so that evidence of today verifies tomorrow.

    Attributes:
        family: The platforms that share it: ``dcap`` (sgx, tdx), ``snp``, ``nitro``.
        certificates: The root certificates, DER.
        documents: Name to bytes: private keys (PKCS#8, DER) and certificates (DER) under the family's names.
    """

    family: str
    certificates: tuple[bytes, ...]
    documents: Mapping[str, bytes]

    def anchors(self) -> tuple[Anchor, ...]:
        """Return what a verifier has to trust to accept this root's evidence, as simulated."""
        return tuple(
            simulated_anchor(der, name=f"{self.family} development root") for der in self.certificates
        )


class Machine(Protocol):
    """One simulated machine, with its vendor behind it."""

    @property
    def platform(self) -> str:
        """The name of the platform."""

    @property
    def registers(self) -> Mapping[str, bytes]:
        """What registers hold at the start: those that code can read or extend, and those of the machine."""

    def evidence(
        self,
        data: bytes,
        *,
        registers: Mapping[str, bytes],
        at: int,
        nonce: bytes | None = None,
        public_key: bytes | None = None,
    ) -> bytes:
        """Make evidence.

        Args:
            data: What the attester commits to: 64 bytes of report data; Nitro: ``user_data``.
            registers: Name, as in releases, to value; what is not stated has the platform's own default.
            at: Now, Unix seconds.
            nonce: A separate field where the platform has one (Nitro).
            public_key: A separate field where the platform has one (Nitro).
        """

    def endorsements(self, *, at: int) -> Mapping[str, bytes]:
        """Return the vendor's documents by role, as its services would hand them out at ``at``."""


class Simulator(Protocol):
    """What a platform's ``simulate.py`` offers."""

    #: Whose root it is.
    FAMILY: str

    def create_root(self, *, at: int) -> Root:
        """Make a new root, valid for years from ``at``."""

    def machine(self, root: Root, *, at: int) -> Machine:
        """Make a machine that has been there since ``at``; platforms add a ``faults`` argument."""


def simulator(name: str) -> Simulator:
    """Return the simulator of a built-in platform, loaded when asked for."""
    return cast("Simulator", importlib.import_module(f"nacre.platforms.{name}.simulate"))


def check_registers(registers: Mapping[str, bytes], known: Sequence[Register], *, what: str) -> None:
    """Refuse registers that a platform does not have, and values of another size than theirs.

    Args:
        registers: Name to value, as for ``Machine.evidence``.
        known: The platform's registers.
        what: What messages call the machine.

    Raises:
        ConfigurationError: ``simulated-register`` or ``simulated-size``.
    """
    sizes = {register.name: register.size for register in known}
    for name, value in registers.items():
        if name not in sizes:
            raise ConfigurationError("simulated-register", what=what, name=name, expected=tuple(sizes))
        check_size(name, value, sizes[name], what=what)


def check_size(name: str, value: bytes, size: int, *, what: str) -> None:
    """Refuse a value of another size.

    Raises:
        ConfigurationError: ``simulated-size``.
    """
    if len(value) != size:
        raise ConfigurationError("simulated-size", what=what, name=name, expected=size, actual=len(value))
