# SPDX-License-Identifier: Apache-2.0
"""What a target asks of a kernel, and which modules an image has to bring for it.

A kernel that lacks what a target needs does not fail to build: it fails to boot, or boots and has no device
that gives evidence. So options are read from its configuration, and a missing one is named before.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

import msgspec

from nacre.build.recipe import Target
from nacre.errors import BuildError

__all__ = ["NEEDS", "Need", "Ready", "insist", "modules", "options"]

_SET = re.compile(r"^(CONFIG_\w+)=([ym])$", re.MULTILINE)


class Need(NamedTuple):
    """One option.

    Attributes:
        option: Without ``CONFIG_``.
        module: The module that it is where it is not built in; empty if it cannot be one.
        why: What it is for, for people.
    """

    option: str
    module: str
    why: str


_EVERYWHERE = (
    Need("BLK_DEV_INITRD", "", "the image is the first file system"),
    Need("BINFMT_SCRIPT", "", "the first program is a script"),
    Need("DEVTMPFS", "", "devices appear by themselves"),
    Need("PROC_FS", "", "the agent looks at itself"),
    Need("SYSFS", "", "devices are described there"),
    Need("TMPFS", "", "the application writes into memory"),
    Need("UNIX", "", "the application asks the agent over a Unix socket"),
    Need("VSOCKETS", "vsock", "the only way out is AF_VSOCK"),
    Need("VIRTIO_VSOCKETS", "vmw_vsock_virtio_transport", "the only way out is AF_VSOCK"),
)
_PCI = Need("VIRTIO_PCI", "virtio_pci", "devices are on a PCI bus")
_TSM = (
    Need("CONFIGFS_FS", "configfs", "evidence is asked for through configfs"),
    Need("TSM_REPORTS", "tsm", "evidence is asked for through configfs"),
)

#: What each target needs.
NEEDS: Final[Mapping[Target, tuple[Need, ...]]] = {
    "nitro": (
        *_EVERYWHERE,
        Need("VIRTIO_MMIO", "virtio_mmio", "devices are mapped into memory"),
        Need("VIRTIO_MMIO_CMDLINE_DEVICES", "", "the hypervisor names devices on the command line"),
        Need("NSM", "nsm", "evidence comes from /dev/nsm"),
    ),
    "qemu": (*_EVERYWHERE, _PCI, Need("SERIAL_8250_CONSOLE", "", "the console is a serial port")),
    "sgx": (),
    "snp": (
        *_EVERYWHERE,
        _PCI,
        *_TSM,
        Need("AMD_MEM_ENCRYPT", "", "memory is encrypted"),
        Need("SEV_GUEST", "sev-guest", "evidence comes from the secure processor"),
    ),
    "tdx": (
        *_EVERYWHERE,
        _PCI,
        *_TSM,
        Need("INTEL_TDX_GUEST", "", "the machine is a trust domain"),
        Need("TDX_GUEST_DRIVER", "tdx-guest", "evidence comes from the TDX module"),
    ),
}


class Ready(msgspec.Struct, frozen=True, kw_only=True):
    """A kernel as an image takes it.

    Attributes:
        version: Its version, with what the builder added.
        image: What a machine boots, ``bzImage``.
        config: Its configuration.
        modules: Name and content, in the order in which they are loaded.
    """

    version: str
    image: bytes
    config: str
    modules: tuple[tuple[str, bytes], ...] = ()


def options(config: str) -> Mapping[str, str]:
    """Read which options are ``y`` or ``m``; names without ``CONFIG_``."""
    return {name.removeprefix("CONFIG_"): value for name, value in _SET.findall(config)}


def insist(config: str, *, targets: Iterable[Target]) -> None:
    """Refuse a kernel that lacks what a target needs.

    Raises:
        BuildError: ``kernel-option``: names the option, the target and the reason.
    """
    known = options(config)
    for target in targets:
        for need in NEEDS[target]:
            value = known.get(need.option)
            if value is None or (value == "m" and not need.module):
                raise BuildError("kernel-option", what=target, expected=f"CONFIG_{need.option}", why=need.why)


def modules(config: str, *, targets: Iterable[Target]) -> tuple[str, ...]:
    """Return the modules that targets need, beside what is built in."""
    known = options(config)
    wanted = [need.module for target in targets for need in NEEDS[target] if known.get(need.option) == "m"]
    return tuple(dict.fromkeys(wanted))
