# SPDX-License-Identifier: Apache-2.0
"""A machine protected by AMD SEV-SNP: QEMU's command line, from version 9.1 on.

Not proven here:
    A host with SEV-SNP and QEMU 9.1: the command line is held against QEMU's own schema. To prove it:
    ``start`` on one.

Source: qemu/qemu, ``qapi/qom.json`` (``SevCommonProperties``, ``SevSnpGuestProperties``).
"""

import subprocess
from pathlib import Path

import msgspec

from nacre.build.app import App
from nacre.build.registers import PROCESSOR
from nacre.enclave.launch.arguments import base64_of, number, word
from nacre.enclave.launch.confidential import DEVICES, QEMU, Guest, Value, line
from nacre.enclave.launch.present import absent, knows_object, spawn
from nacre.errors import EnclaveError

__all__ = ["Launch", "command", "missing", "start"]

_OBJECT = "sev-snp-guest"
_DEBUG, _RESERVED_ONE = 1 << 19, 1 << 17
_HOST_DATA, _ID_BLOCK, _ID_AUTH = 32, 96, 4096
_MEMORY: dict[str, Value] = {
    "qom-type": "memory-backend-memfd",
    "share": True,
    "prealloc": False,
    "reserve": False,
}


class Launch(msgspec.Struct, frozen=True, kw_only=True):
    """What the processor is told, and reports.

    Attributes:
        cbitpos: The bit of an address that marks encryption: the host's CPUID 0x8000001F, EBX bits 5 to 0.
        reduced_phys_bits: The bits of an address that encryption takes.
        cpu: QEMU's name of the processor; the first state of each processor is measured, and it is in it.
        policy: The guest's policy. Debugging is refused.
        host_data: 32 bytes that stand in every report, or none.
        id_block: The identity block, 96 bytes, or none.
        id_auth: Its signature, 4096 bytes, or none.
        author_key: Whether `id_auth` has an author's key.
    """

    cbitpos: int = 51
    reduced_phys_bits: int = 1
    cpu: str = PROCESSOR
    policy: int = 0x30000
    host_data: bytes | None = None
    id_block: bytes | None = None
    id_auth: bytes | None = None
    author_key: bool = False


def command(app: App, guest: Guest, *, launch: Launch = Launch()) -> tuple[str, ...]:  # noqa: B008 (frozen)
    """Return the command line. Kernel, first file system and the kernel's command line are measured.

    Raises:
        EnclaveError: ``launch-word``, ``launch-number``, ``launch-size``; ``launch-debug``: the policy allows
            debugging; ``launch-identity``: block and signature come together or not at all.
    """
    if launch.policy & _DEBUG:
        raise EnclaveError("launch-debug", what=f"the policy {launch.policy:#x}")
    if not launch.policy & _RESERVED_ONE or launch.policy >> 64:
        raise EnclaveError(
            "launch-number", what="policy", expected="64 bits with bit 17 set", actual=hex(launch.policy)
        )
    if (launch.id_block is None) != (launch.id_auth is None):
        raise EnclaveError("launch-identity")
    cpu = word(launch.cpu, what="the processor's name")
    if "," in cpu or "=" in cpu:
        raise EnclaveError(
            "launch-word", what="the processor's name", expected="it has options of its own", actual=cpu
        )
    return line(app, guest, kind=_kind(launch), memory=_MEMORY, cpu=cpu)


def missing(*, device: Path = Path("/dev/sev")) -> tuple[str, ...]:
    """Say what is not on this machine, in words."""
    devices = {**DEVICES, device: "of a host kernel with SEV-SNP enabled"}
    lacking = absent(programs={QEMU: "QEMU 9.1 or newer"}, devices=devices)
    return lacking if knows_object(QEMU, _OBJECT) else (*lacking, f"{_OBJECT} in QEMU (9.1 or newer)")


def start(
    app: App,
    guest: Guest,
    *,
    launch: Launch = Launch(),  # noqa: B008 (frozen)
    device: Path = Path("/dev/sev"),
) -> subprocess.Popen[bytes]:
    """Start the machine; it runs as long as the process that is returned.

    Raises:
        EnclaveError: As ``command`` raises; ``launch-missing``, ``launch-failed``.
    """
    return spawn(command(app, guest, launch=launch), missing=missing(device=device))


def _kind(launch: Launch) -> dict[str, Value]:
    number(launch.cbitpos, what="cbitpos", least=32, most=63)
    number(launch.reduced_phys_bits, what="reduced-phys-bits", least=1, most=63)
    kind: dict[str, Value] = {
        "qom-type": _OBJECT,
        "id": "snp",
        "cbitpos": launch.cbitpos,
        "reduced-phys-bits": launch.reduced_phys_bits,
        "policy": launch.policy,
        "kernel-hashes": True,
    }
    if launch.host_data is not None:
        kind["host-data"] = base64_of(launch.host_data, what="host data", size=_HOST_DATA)
    if launch.id_block is not None and launch.id_auth is not None:
        kind["id-block"] = base64_of(launch.id_block, what="identity block", size=_ID_BLOCK)
        kind["id-auth"] = base64_of(launch.id_auth, what="identity authentication", size=_ID_AUTH)
        kind["author-key-enabled"] = launch.author_key
    return kind
