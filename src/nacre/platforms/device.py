# SPDX-License-Identifier: Apache-2.0
"""The interface of a TEE's device, from inside: how an enclave asks its hardware for evidence.

Real hardware and an emulator differ in the paths of :class:`DevicePaths` alone.
"""

from collections.abc import Mapping
from typing import Protocol

import msgspec

__all__ = ["Device", "DevicePaths"]


class DevicePaths(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where the devices are; what is not there is not used.

    Attributes:
        nsm: Nitro's security module: a character device, or a Unix socket on which each message is its
            length (32 bits, big-endian) and its CBOR.
        tsm: The directory of configfs-tsm's reports (TDX, SEV-SNP).
        tsm_measurements: The directory of the kernel's measurement registers (TDX).
        sev_guest: SEV-SNP's own device.
        tdx_guest: TDX's own device.
        attestation: The directory of Gramine's pseudo-files (SGX).
    """

    nsm: str = "/dev/nsm"
    tsm: str = "/sys/kernel/config/tsm/report"
    tsm_measurements: str = "/sys/devices/virtual/misc/tdx_guest/measurements"
    sev_guest: str = "/dev/sev-guest"
    tdx_guest: str = "/dev/tdx_guest"
    attestation: str = "/dev/attestation"


class Device(Protocol):
    """One TEE as its own software sees it. Every method raises ``EnclaveError`` when the device refuses."""

    @property
    def platform(self) -> str:
        """The name of the platform."""

    def evidence(self, data: bytes, *, nonce: bytes | None = None, public_key: bytes | None = None) -> bytes:
        """Ask for evidence that commits to ``data`` (64 bytes of report data; Nitro: ``user_data``).

        Only Nitro has fields for ``nonce`` and ``public_key``; elsewhere they are refused.
        """

    def endorsements(self) -> Mapping[str, bytes]:
        """Return the documents that the device itself hands out (SEV-SNP's certificate table), by role."""

    def extend(self, register: str, digest: bytes) -> None:
        """Extend a runtime register, named as in releases (``rtmr3``, ``pcr16`` and above) by a digest.

        Raises:
            EnclaveError: ``device-no-register`` where the hardware has none of that name.
        """

    def registers(self) -> Mapping[str, bytes]:
        """Return the registers that can be read from inside; empty where none can."""

    def entropy(self, size: int) -> bytes | None:
        """Return random bytes of the TEE's own generator, or None where it has none of its own."""

    def sealing_key(self, context: bytes) -> bytes | None:
        """Return 32 bytes that only this image on this machine can derive, or None where there are none."""

    def close(self) -> None:
        """Let go of whatever is kept open between questions."""
