# SPDX-License-Identifier: Apache-2.0
"""The registers that an image will show in confidential guests, for each way of starting it."""

from typing import Literal

from nacre.build.app import Resources
from nacre.build.parallel import threads
from nacre.build.releases import Variant
from nacre.platforms.measuring import Measurement
from nacre.platforms.snp.cpus import signature
from nacre.platforms.snp.firmware import read_firmware
from nacre.platforms.snp.hashes import Loaded
from nacre.platforms.snp.measure import Launch, firmware_digest, measure
from nacre.platforms.tdx.mrtd import mrtd
from nacre.platforms.tdx.rtmr import Boot, rtmr1, rtmr2

__all__ = ["PROCESSOR", "confidential"]

#: QEMU's name of the processor that images are measured for, and that they are started with.
PROCESSOR = "EPYC-v4"
#: SEV_FEATURES that hosts set, and since when.
_FEATURES = {0x1: "SNP alone", 0x21: "with debug registers swapped (Linux 6.11 or newer)"}
_MIB = 1 << 20


def confidential(
    target: Literal["snp", "tdx"],
    *,
    firmware: bytes,
    kernel: bytes,
    initrd: bytes,
    command_line: str,
    resources: Resources,
) -> tuple[Variant, ...]:
    """Compute what a guest that QEMU starts with these parts shows.

    Raises:
        MalformedEvidence, ConfigurationError: A part cannot be measured.
    """
    if target == "tdx":
        return _tdx(firmware, kernel, initrd, command_line, resources)
    return _snp(firmware, kernel, initrd, command_line, resources)


def _snp(
    firmware: bytes, kernel: bytes, initrd: bytes, line: str, resources: Resources
) -> tuple[Variant, ...]:
    """Compute the launch digest for each set of features that hosts turn on."""
    read = read_firmware(firmware)
    loaded = Loaded.of(kernel=kernel, initrd=initrd, command_line=line, together=threads)
    start = firmware_digest(read)
    found = []
    for features, words in _FEATURES.items():
        launch = Launch(cpus=resources.cpus, signature=signature(PROCESSOR), features=features)
        measured = measure(read, launch, loaded=loaded, start=start)
        # Nothing of the host's is to be in the report beside.
        registers = {**measured.registers, "host_data": bytes(32)}
        about = f"{PROCESSOR}, processors: {resources.cpus}; {words}"
        found.append(Variant(about, Measurement(registers, measured.parts)))
    return tuple(found)


def _tdx(
    firmware: bytes, kernel: bytes, initrd: bytes, line: str, resources: Resources
) -> tuple[Variant, ...]:
    """Compute MRTD, RTMR1 and RTMR2; RTMR0 depends on the host's ACPI tables, RTMR3 on the application."""
    first, last = mrtd(firmware), rtmr2(line, initrd=initrd)
    found = []
    # The address that older ones write into the kernel's header follows from the memory.
    older = f"QEMU 10.1, memory: {resources.machine} MiB"
    for changes, about in ((True, older), (False, "QEMU 10.2 or newer")):
        boot = Boot(memory=resources.machine * _MIB, changes_kernel=changes)
        middle = rtmr1(kernel, initrd=len(initrd), boot=boot)
        found.append(
            Variant(
                about,
                Measurement(
                    {**first.registers, **middle.registers, **last.registers},
                    (*first.parts, *middle.parts, *last.parts),
                ),
            )
        )
    return tuple(found)
