# SPDX-License-Identifier: Apache-2.0
"""RTMR0 to RTMR2 of a TD that QEMU starts with a kernel, computed from the parts that go into them.

RTMR0
    is the machine: how much memory it has, the variables in the firmware's image, the ACPI tables that QEMU
    makes of its devices and processors, what the firmware would start next. Of an image alone it cannot be
    told; with the same machine it is the same each time.
RTMR1
    is the kernel, and that firmware came to its end.
RTMR2
    is the kernel's command line and its first file system, which the kernel's EFI part measures itself.

Nobody extends RTMR3 before the first process runs.

Not proven here:
    A whole boot: no TD can be started without the hardware. RTMR0 of two machines that have it, whose logs
    others published, comes out to the bit, given their ACPI tables; so does what follows the kernel in RTMR1.
    Of firmware newer than February 2025 no log was at hand: RTMR0 then follows one that the user has.
    The header that QEMU up to 10.1 gives to a kernel is held against QEMU itself. A TD that starts a unified
    kernel image, or from a disk, has other events: of these a log is replayed, and nothing predicted.

Source: tianocore/edk2, ``OvmfPkg/Tcg/TdTcg2Dxe``, ``SecurityPkg/Library/DxeTpm2MeasureBootLib``,
``OvmfPkg/Library/SecMeasurementLib``, ``OvmfPkg/AcpiPlatformDxe/QemuFwCfgAcpi.c``; Linux,
``drivers/firmware/efi/libstub``; Dstack-TEE/dstack, ``dstack/dstack-mr``.
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from struct import Struct
from typing import Literal

import msgspec

from nacre.errors import ConfigurationError
from nacre.platforms import ovmf
from nacre.platforms.measuring import Measurement, Part
from nacre.platforms.pe import authenticode
from nacre.platforms.tdx.hob import hob
from nacre.platforms.tdx.kernel import handed_over
from nacre.platforms.tdx.mrtd import Order
from nacre.platforms.tdx.tdvf import Kind, Section, sections
from nacre.platforms.tpm.registers import measured

__all__ = [
    "ACPI",
    "HOB",
    "RTMRS",
    "SHELL",
    "VOLUME",
    "Acpi",
    "Boot",
    "extended",
    "rtmr0",
    "rtmr1",
    "rtmr2",
    "td_hob",
    "usual",
]

#: The registers that can be extended.
RTMRS = ("rtmr0", "rtmr1", "rtmr2", "rtmr3")
#: The list of memory, and the variables in the image, as events are called.
HOB, VOLUME = "TD HOB", "configuration firmware volume"
#: What firmware measures of ACPI, in its order.
ACPI = ("ACPI table loader", "ACPI root pointer", "ACPI tables")

_GLOBAL = ovmf.guid("8be4df61-93ca-11d2-aa0d-00e098032b8c")
_SECURITY = ovmf.guid("d719b2cb-3d3a-4596-a3bc-dad00e67656f")
#: In the order in which they are measured, whether they are there or not.
_SECURE = {"SecureBoot": _GLOBAL, "PK": _GLOBAL, "KEK": _GLOBAL, "db": _SECURITY, "dbx": _SECURITY}
_VARIABLE = Struct("<16sQQ")  # vendor's GUID, UTF-16 units of the name, bytes of the value
_MIB = 1 << 20
_SEPARATOR = bytes(4)
_NONE = bytes(48)


def _option(name: str, volume: str, file: str) -> bytes:
    """Make a boot option for a program that lies in the firmware itself."""
    path = b"".join(
        bytes((4, kind, 20, 0)) + ovmf.guid(text) for kind, text in ((7, volume), (6, file))
    ) + bytes((0x7F, 0xFF, 4, 0))
    return Struct("<IH").pack(0x109, len(path)) + f"{name}\0".encode("utf-16-le") + path


#: What OVMF lists first to start: its own menu.
SHELL = _option("UiApp", "7cb8bdc9-f8eb-4f34-aaea-3ee4af6516a1", "462caa21-7614-4503-836e-8ab6f4662331")


class Acpi(msgspec.Struct, frozen=True):
    """Digests of what QEMU gives firmware to make ACPI tables of; SHA-384, 48 bytes each.

    They depend on QEMU's version, its machine type, and each device, processor and memory that it has.

    Attributes:
        loader: Of ``etc/table-loader``.
        pointer: Of ``etc/acpi/rsdp``.
        tables: Of ``etc/acpi/tables``.
    """

    loader: bytes
    pointer: bytes
    tables: bytes

    @classmethod
    def of(cls, *, loader: bytes, pointer: bytes, tables: bytes) -> "Acpi":
        """Hash the three files of QEMU's ``fw_cfg``."""
        return cls(*[hashlib.sha384(one).digest() for one in (loader, pointer, tables)])


class Boot(msgspec.Struct, frozen=True, kw_only=True):
    """How a TD is started, beyond what is in its image.

    Attributes:
        memory: Bytes of memory.
        order: In which order the host fills it; of MRTD only.
        acpi: The ACPI tables; without them, or a log, RTMR0 stays unknown.
        pattern: What a log of such a machine has for RTMR0. Where there is one it is followed, whatever EDK2
            it is of: but for the list of memory and the variables in the image, which are computed anew.
        changes_kernel: Whether the host changes the kernel's header: QEMU before 10.2 does.
        separator: The register in which firmware marks that it is about to start something. Builds of EDK2
            from before 2023 take RTMR0, where that is marked once already.
        secure: Values of the variables of Secure Boot; of those left out firmware measures that they are not
            there.
        options: What the firmware could start, in its order: EFI load options.
    """

    memory: int
    order: Order = "page"
    acpi: Acpi | None = None
    pattern: tuple[Part, ...] = ()
    changes_kernel: bool = False
    separator: Literal["rtmr0", "rtmr1"] = "rtmr1"
    secure: Mapping[str, bytes] = {}
    options: Sequence[bytes] = (SHELL,)


def td_hob(memory: int) -> str:
    """Return what the event for the list of memory is called."""
    return f"{HOB} (memory {memory / _MIB:.15g} MiB)"


def extended(parts: Iterable[Part], names: Sequence[str]) -> Measurement:
    """Extend registers, of which those that are named are told even where nothing extends them."""
    made = measured(parts, algorithm="sha384")
    return Measurement({**dict.fromkeys(names, _NONE), **made.registers}, made.parts)


def rtmr0(firmware: bytes, boot: Boot) -> Measurement:
    """Compute RTMR0, 48 bytes.

    Without a log to follow it is that of OVMF as EDK2 made it up to February 2025. Later builds also measure
    what QEMU says of the boot menu and of the machine (SMBIOS), and list more that they could start.

    Args:
        firmware: The whole image.
        boot: How the TD is started. Without ACPI tables or a log there is no RTMR0 to tell.

    Raises:
        MalformedEvidence: As :func:`nacre.platforms.tdx.tdvf.sections`.
        ConfigurationError: ``tdx-memory``, ``tdx-acpi``, ``tdx-variable``.
    """
    found = sections(firmware)
    listed = _memory(found, boot)
    volumes = _volumes(firmware, found)
    parts = _like(boot.pattern, listed, volumes) if boot.pattern else _rtmr0(boot, listed, volumes)
    return extended(parts, RTMRS[:1])


def rtmr1(kernel: bytes, *, initrd: int, boot: Boot) -> Measurement:
    """Compute RTMR1, 48 bytes.

    Args:
        kernel: The kernel's file.
        initrd: Bytes of the first file system; 0 for none.
        boot: How the TD is started.

    Raises:
        MalformedEvidence: As :func:`nacre.platforms.pe.authenticode` and
            :func:`nacre.platforms.tdx.kernel.handed_over`.
        ConfigurationError: ``tdx-memory``.
    """
    image, words = kernel, ""
    if boot.changes_kernel:
        image, address = handed_over(kernel, initrd=initrd, memory=boot.memory)
        words = "header as QEMU changes it" + (f": initrd at {address:#x}, {initrd} bytes" if initrd else "")
    parts = [
        Part(
            register="rtmr1",
            label="kernel",
            input="kernel",
            size=len(kernel),
            digest=authenticode(image, algorithm="sha384"),
            value=words,
        ),
        _said("rtmr1", "EFI action", b"Calling EFI Application from Boot Option"),
    ]
    if boot.separator == "rtmr1":
        parts.append(_separator("rtmr1"))
    parts.append(_said("rtmr1", "EFI action", b"Exit Boot Services Invocation"))
    parts.append(_said("rtmr1", "EFI action", b"Exit Boot Services Returned with Success"))
    return extended(parts, RTMRS[1:2])


def rtmr2(command_line: str, *, initrd: bytes) -> Measurement:
    """Compute RTMR2, 48 bytes.

    Args:
        command_line: As QEMU is given it. To start with a first file system firmware adds a word to it.
        initrd: The first file system; empty for none.

    Raises:
        ConfigurationError: ``tdx-command-line``: it has other characters than printable ASCII.
    """
    if not command_line.isascii() or not all(map(str.isprintable, command_line)):
        raise ConfigurationError("tdx-command-line", actual=command_line)
    line = f"{command_line} initrd=initrd" if initrd else command_line
    encoded = f"{line}\0".encode("utf-16-le")
    parts = [_part("rtmr2", "command line", "command line", encoded, size=len(command_line), value=line)]
    if initrd:
        parts.append(_part("rtmr2", "initrd", "initrd", initrd, size=len(initrd)))
    return extended(parts, RTMRS[2:3])


def usual() -> Mapping[bytes, Part]:
    """Return what firmware measures of a machine on which nothing is set, by digest."""
    parts = [*_secure({}), *_options((SHELL,))]
    return {part.digest: part for part in parts}


def _like(pattern: Sequence[Part], listed: Part, volumes: Iterator[Part]) -> Iterator[Part]:
    for part in pattern:
        if part.label.startswith(HOB):
            yield listed
        elif part.label == VOLUME:
            yield next(volumes, part)
        else:
            yield part


def _memory(found: Sequence[Section], boot: Boot) -> Part:
    listed = hob(found, memory=boot.memory)
    return _part("rtmr0", td_hob(boot.memory), "parameters", listed, value=f"{len(listed)} bytes")


def _volumes(firmware: bytes, found: Sequence[Section]) -> Iterator[Part]:
    for section in found:
        if section.kind == Kind.CONFIGURATION:
            content = firmware[section.offset : section.offset + section.size]
            yield _part("rtmr0", VOLUME, "firmware", content, offset=section.offset, size=section.size)


def _rtmr0(boot: Boot, listed: Part, volumes: Iterator[Part]) -> Iterator[Part]:
    if boot.acpi is None:
        raise ConfigurationError("tdx-acpi")
    yield listed
    yield from volumes
    yield from _secure(boot.secure)
    yield _separator("rtmr0")
    for label, digest in zip(ACPI, (boot.acpi.loader, boot.acpi.pointer, boot.acpi.tables), strict=True):
        yield Part(register="rtmr0", label=label, input="ACPI", digest=digest)
    yield from _options(boot.options)
    if boot.separator == "rtmr0":
        yield _separator("rtmr0")


def _options(options: Sequence[bytes]) -> Iterator[Part]:
    numbers = range(len(options))
    order = b"".join(number.to_bytes(2, "little") for number in numbers)
    words = " ".join(f"{number:04x}" for number in numbers)
    yield _part("rtmr0", "boot variable BootOrder", "parameters", order, value=words)
    for number, option in enumerate(options):
        label = f"boot variable Boot{number:04X}"
        yield _part("rtmr0", label, "parameters", option, value=option.hex())


def _secure(given: Mapping[str, bytes]) -> Iterator[Part]:
    for name in given:
        if name not in _SECURE:
            raise ConfigurationError("tdx-variable", actual=name, expected=tuple(_SECURE))
    for name, vendor in _SECURE.items():
        value = given.get(name, b"")
        whole = _VARIABLE.pack(vendor, len(name), len(value)) + name.encode("utf-16-le") + value
        words = f"{len(value)} bytes" if value else "not set"
        yield _part("rtmr0", f"variable {name}", "parameters", whole, value=words)


def _part(
    register: str, label: str, source: str, content: bytes, *, offset: int = 0, size: int = 0, value: str = ""
) -> Part:
    digest = hashlib.sha384(content).digest()
    return Part(
        register=register, label=label, input=source, offset=offset, size=size, digest=digest, value=value
    )


def _said(register: str, label: str, words: bytes) -> Part:
    return _part(register, label, "parameters", words, value=words.decode())


def _separator(register: str) -> Part:
    return _part(register, "separator", "parameters", _SEPARATOR, value=_SEPARATOR.hex())
