# SPDX-License-Identifier: Apache-2.0
"""Correctly signed evidence of simulated hardware, good or bad, for tests of policies and of verifiers."""

from collections.abc import Mapping
from typing import Protocol, cast

import msgspec

from nacre import platforms
from nacre.platforms.base import Endorsements
from nacre.platforms.simulation import Machine, Root, simulator

__all__ = ["Simulated", "create_root", "simulated"]

_NO_REGISTERS: Mapping[str, bytes] = {}


class Simulated(msgspec.Struct, frozen=True, kw_only=True):
    """Evidence of simulated hardware and what a verifier needs for it.

    Attributes:
        evidence: The bytes, as the device would give them.
        endorsements: The vendor's documents.
        roots: The root certificates, DER: what a policy names under ``anchors.<platform>.simulated``.
    """

    evidence: bytes
    endorsements: Endorsements
    roots: tuple[bytes, ...]


class _FaultySimulator(Protocol):
    Faults: type[msgspec.Struct]

    def machine(self, root: Root, *, at: int, faults: msgspec.Struct) -> Machine:
        """Make a machine with something wrong."""


def create_root(platform: str, *, at: int) -> Root:
    """Make a development root of a platform; the one of SEV-SNP takes seconds, so keep it for all tests.

    Args:
        platform: ``nitro``, ``snp`` and so on.
        at: Now, Unix seconds.

    Raises:
        ConfigurationError: ``platform-unknown``.
    """
    platforms.get(platform)
    return simulator(platform).create_root(at=at)


def simulated(
    platform: str,
    root: Root,
    *,
    at: int,
    faults: msgspec.Struct | None = None,
    data: bytes = bytes(64),
    registers: Mapping[str, bytes] = _NO_REGISTERS,
    nonce: bytes | None = None,
    public_key: bytes | None = None,
) -> Simulated:
    """Make evidence of a new machine.

    Args:
        platform: ``nitro``, ``snp`` and so on.
        root: What ``create_root`` made for the platform.
        at: Now, Unix seconds.
        faults: What is wrong with the machine, ``Faults`` of ``nacre.platforms.<platform>.simulate``; nothing
            if not given.
        data: What the evidence commits to: 64 bytes of report data; Nitro: ``user_data``.
        registers: Name, as in releases, to value; what is not stated has the platform's own default.
        nonce: A field of its own, Nitro only.
        public_key: A field of its own, Nitro only.

    Raises:
        ConfigurationError: ``platform-unknown``, ``simulated-register`` or ``simulated-size``.
        TypeError: ``faults`` are those of another platform.
    """
    platforms.get(platform)
    made = cast("_FaultySimulator", simulator(platform))
    faults = made.Faults() if faults is None else faults
    if not isinstance(faults, made.Faults):
        raise TypeError("faults of another platform than", platform)
    machine = made.machine(root, at=at, faults=faults)
    evidence = machine.evidence(data, registers=registers, at=at, nonce=nonce, public_key=public_key)
    return Simulated(
        evidence=evidence, endorsements=Endorsements(machine.endorsements(at=at)), roots=root.certificates
    )
