# SPDX-License-Identifier: Apache-2.0
"""The part of QEMU's command line that is the same for every confidential guest.

All that the firmware or the hardware measures is fixed here: processors, memory, devices. Objects are given
as JSON, so that no character of a value can end it; nothing of QEMU's defaults or of its configuration files
is taken.

Source: qemu/qemu, ``qapi/qom.json``, ``qemu-options.hx``.
"""

import json
from collections.abc import Mapping
from pathlib import Path

import msgspec

from nacre.build.app import App
from nacre.enclave.launch.arguments import number, qemu_value, word

__all__ = ["DEVICES", "QEMU", "Guest", "Value", "line"]

QEMU = "qemu-system-x86_64"
#: What each confidential guest needs of the host's kernel.
DEVICES = {
    Path("/dev/kvm"): "of the host's KVM",
    Path("/dev/vhost-vsock"): "of the kernel's module vhost_vsock",
}
Value = str | int | bool | Mapping[str, str]

_FIRST_CID, _LAST_CID = 3, (1 << 32) - 2
_MOST_MEMORY, _MOST_CPUS = 1 << 22, 255
_MIB = 20


class Guest(msgspec.Struct, frozen=True, kw_only=True):
    """What a confidential guest boots and what it is reached by.

    Attributes:
        firmware: A build of OVMF for this kind of guest.
        kernel: The kernel.
        initramfs: The first file system.
        parameters: The kernel's command line.
        cid: The guest's context identifier on AF_VSOCK.
        log: Where its console is written on the host.
    """

    firmware: Path
    kernel: Path
    initramfs: Path
    parameters: str
    cid: int
    log: Path


def line(
    app: App, guest: Guest, *, kind: Mapping[str, Value], memory: Mapping[str, Value], cpu: str
) -> tuple[str, ...]:
    """Return the command line.

    Args:
        app: Whose resources the guest gets.
        guest: What it boots.
        kind: The object that makes it confidential, with its ``qom-type``.
        memory: The object of its memory, without its size.
        cpu: QEMU's name of the processor.

    Raises:
        EnclaveError: ``launch-word``, ``launch-number``.
    """
    cpus = number(app.resources.cpus, what="number of processors", least=1, most=_MOST_CPUS)
    size = app.resources.machine
    number(size, what="memory", least=1, most=_MOST_MEMORY)
    parameters = word(guest.parameters, what="the kernel's command line")
    machine = f"q35,accel=kvm,kernel-irqchip=split,confidential-guest-support={kind['id']},memory-backend=ram"
    return (
        *(QEMU, "-no-user-config", "-nodefaults", "-display", "none", "-no-reboot"),
        *("-machine", f"{machine},smm=off,vmport=off,hpet=off"),
        *("-object", _json(kind)),
        *("-object", _json({**memory, "id": "ram", "size": size << _MIB})),
        *("-cpu", cpu, "-smp", f"cpus={cpus},maxcpus={cpus}", "-m", f"{size}M"),
        *("-bios", word(guest.firmware, what="the firmware's path")),
        *("-kernel", word(guest.kernel, what="the kernel's path")),
        *("-initrd", word(guest.initramfs, what="the first file system's path")),
        *("-append", parameters),
        *("-chardev", f"file,id=console,path={qemu_value(guest.log, what='the path of the log')}"),
        *("-serial", "chardev:console"),
        *("-device", f"vhost-vsock-pci,guest-cid={_cid(guest)}"),
    )


def _cid(guest: Guest) -> str:
    return number(guest.cid, what="context identifier", least=_FIRST_CID, most=_LAST_CID)


def _json(properties: Mapping[str, Value]) -> str:
    return json.dumps(properties, separators=(",", ":"))
