# SPDX-License-Identifier: Apache-2.0
"""What a TD's registers will be, before any hardware sees it."""

from collections.abc import Sequence

from nacre.errors import ConfigurationError
from nacre.platforms.measuring import Measurement, Part
from nacre.platforms.tdx.mrtd import mrtd
from nacre.platforms.tdx.rtmr import RTMRS, Acpi, Boot, extended, rtmr0, rtmr1, rtmr2

__all__ = ["measure", "qemu"]

#: The first that can start a TD; the first that fills it page by page; the first that leaves kernels alone.
_FIRST, _BY_PAGE, _UNCHANGED = (8, 0), (9, 0), (10, 2)


def qemu(version: str, *, memory: int, acpi: Acpi | None = None) -> Boot:
    """Say how a version of QEMU starts a TD.

    Up to 9.2 these are builds with patches that Intel or distributions gave out; 10.1 is the first that does
    it by itself.

    Args:
        version: As ``qemu-system-x86_64 --version`` says it: ``10.0.2``.
        memory: Bytes of memory that the TD is given.
        acpi: The ACPI tables that it makes for this machine, if known.

    Raises:
        ConfigurationError: ``tdx-qemu``: that is no version, or one that starts no TDs.
    """
    numbers = version.split(".")
    if len(numbers) < len(_FIRST) or not all(one.isascii() and one.isdigit() for one in numbers):
        raise ConfigurationError("tdx-qemu", actual=version)
    known = (int(numbers[0]), int(numbers[1]))
    if known < _FIRST:
        raise ConfigurationError("tdx-qemu", actual=version)
    return Boot(
        memory=memory,
        order="page" if known >= _BY_PAGE else "section",
        acpi=acpi,
        changes_kernel=known < _UNCHANGED,
    )


def measure(
    *,
    firmware: bytes,
    kernel: bytes,
    initrd: bytes,
    command_line: str,
    boot: Boot,
    runtime: Sequence[Part] = (),
) -> Measurement:
    """Compute the registers of a TD that starts with a kernel.

    Args:
        firmware: The whole image.
        kernel: The kernel's file.
        initrd: The first file system; empty for none.
        command_line: As the host is given it.
        boot: How it is started.
        runtime: What programs in it extend RTMR3 by, in order.

    Returns:
        ``mrtd`` and ``rtmr0`` to ``rtmr3``, 48 bytes each. Without ACPI tables or a log there is no
        ``rtmr0``: the image alone does not tell it.

    Raises:
        MalformedEvidence: An input is not what it is given as; see the functions for each register.
        ConfigurationError: A parameter that no machine has.
    """
    steps = [mrtd(firmware, order=boot.order)]
    if boot.acpi is not None or boot.pattern:
        steps.append(rtmr0(firmware, boot))
    steps += [
        rtmr1(kernel, initrd=len(initrd), boot=boot),
        rtmr2(command_line, initrd=initrd),
        extended(runtime, RTMRS[3:]),
    ]
    registers = {name: value for step in steps for name, value in step.registers.items()}
    return Measurement(registers, tuple([part for step in steps for part in step.parts]))
