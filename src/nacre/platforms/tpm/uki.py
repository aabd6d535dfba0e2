# SPDX-License-Identifier: Apache-2.0
"""The registers that a unified kernel image leaves in a TPM, known before anything boots it.

Firmware starts the image, systemd's stub in it starts the kernel, and the kernel's own stub takes the first
file system over:

====  ============================================================================================
PCR   is extended by
====  ============================================================================================
4     the firmware's words, a separator, the image, the kernel in it
9     the kernel: its command line, the first file system
11    the stub: name and content of each section; then systemd, where there is one, by its phases
12    the stub: a command line that is not the image's own
====  ============================================================================================

PCR 0 to 3, 5 and 7 are the firmware's, the machine's and the disk's; no image can tell them.

Not proven here:
    Stubs other than systemd 252's and kernels other than Linux 6.1, which were booted by OVMF with an
    emulated TPM. What later stubs measure is taken from their source; systemd 253 and 254 are refused, since
    releases of these differ.

Source: systemd, ``src/boot/efi/stub.c`` and ``src/fundamental/{tpm-pcr,uki}.h``; UAPI Group, "Unified Kernel
Image" and "Linux TPM PCR Registry"; Linux, ``drivers/firmware/efi/libstub/efi-stub-helper.c``; TCG, PC Client
Platform Firmware Profile 1.06, 3.3.4.5 (PCR 4).
"""

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence

import msgspec

from nacre.errors import MalformedEvidence, UnsupportedEvidence
from nacre.platforms.measuring import Measurement, Part
from nacre.platforms.pe import Program, Section, authenticode, parse
from nacre.platforms.tpm.registers import insist, measured

__all__ = ["PHASES", "measure"]

#: What systemd measures while it starts a machine, in order.
PHASES = ("enter-initrd", "leave-initrd", "sysinit", "ready")

_INPUT = "uki"
_STARTED = b"Calling EFI Application from Boot Option"
_SEPARATOR = bytes(4)
_SAYS_VERSION = b".sdmagic"
_VERSION = re.compile(rb"#### LoaderInfo: systemd-stub (\d{3})\b[^#]{0,80} ####")
_KERNEL, _COMMAND_LINE, _INITRD = b".linux", b".cmdline", b".initrd"
#: What stubs of systemd 252 measure, in this order, and of 255 and later.
_OLD = (_KERNEL, b".osrel", _COMMAND_LINE, _INITRD, b".splash", b".dtb", b".pcrpkey")
_NEW = (
    _KERNEL,
    b".osrel",
    _COMMAND_LINE,
    _INITRD,
    b".ucode",
    b".splash",
    b".dtb",
    b".uname",
    b".sbat",
    b".pcrpkey",
)
_OLD_VERSION, _NEW_VERSION = 252, 255
#: Of several of these the stub takes one or the other.
_CHOICES = (b".profile", b".dtbauto", b".hwids", b".efifw")
#: What the stub packs before the first file system, so that the kernel measures more than the section.
_PACKED = (b".pcrsig", b".pcrpkey")


def measure(
    *,
    image: bytes | memoryview,
    algorithm: str = "sha256",
    phases: Sequence[str] = (),
    command_line: str | None = None,
) -> Measurement:
    """Predict PCR 4 and 11, PCR 9 where the kernel gets the first file system as it is in the image, and 12.

    Args:
        image: The image, which firmware starts without another boot loader.
        algorithm: The bank, as ``hashlib`` calls its hash.
        phases: What systemd measures until the registers are read: the first of :data:`PHASES`. None, where
            the first process is another.
        command_line: What firmware hands the stub, which takes it without Secure Boot, or where the image
            has none; None where firmware hands it nothing.

    Raises:
        MalformedEvidence: As ``pe.parse``; ``uki-section``: there is no kernel, a command line is no text,
            or a section has more bytes in memory than in the file.
        UnsupportedEvidence: ``uki-version``: the stub is not systemd's, or of a version that is not known;
            ``uki-choice``: it has a section that makes what is measured depend on the machine.
        ConfigurationError: ``tpm-bank``.
    """
    insist(algorithm)
    whole = bytes(image)
    parts = _opened(whole)
    found = dict(parts.sections)
    given = found[_COMMAND_LINE].content if _COMMAND_LINE in found else None
    taken = given if command_line is None else command_line.encode()
    steps = [
        *_programs(whole, found[_KERNEL], algorithm),
        *(_of_kernel(found, taken, algorithm) if parts.handed_on and taken is not None else ()),
        *_of_stub(parts.sections, algorithm),
        *(_words("pcr11", "phase", phase.encode(), phase, algorithm) for phase in phases),
    ]
    if command_line is not None:
        steps.append(_words("pcr12", "load options", _wide(command_line.encode()), command_line, algorithm))
    return measured(steps, algorithm=algorithm)


class _Piece(msgspec.Struct, frozen=True):
    """What one section holds, and where it is in the image."""

    content: bytes
    offset: int


class _Opened(msgspec.Struct, frozen=True):
    """An image taken apart.

    Attributes:
        sections: What the stub measures, in its order.
        handed_on: Whether the kernel gets the first file system as it is in the image.
    """

    sections: tuple[tuple[bytes, _Piece], ...]
    handed_on: bool


def _opened(image: bytes) -> _Opened:
    program = parse(image)
    old = _version(image, program) == _OLD_VERSION
    choices = [name.decode() for name in _CHOICES if _piece(image, program.section(name))]
    if choices:
        raise UnsupportedEvidence("uki-choice", actual=tuple(choices))
    sections = tuple(
        [
            (name, piece)
            for name in (_OLD if old else _NEW)
            if (piece := _piece(image, program.section(name))) is not None
        ]
    )
    names = [name for name, _ in sections]
    if _KERNEL not in names:
        raise MalformedEvidence("uki-section", what=_KERNEL.decode(), actual="absent")
    packed = any(_piece(image, program.section(name)) for name in _PACKED)
    return _Opened(sections, handed_on=old and not packed and _INITRD in names)


def _version(image: bytes, program: Program) -> int:
    piece = _piece(image, program.section(_SAYS_VERSION))
    stated = _VERSION.search(piece.content) if piece is not None else None
    version = int(stated[1]) if stated is not None else 0
    if version != _OLD_VERSION and version < _NEW_VERSION:
        raise UnsupportedEvidence("uki-version", actual=version, expected=f"{_OLD_VERSION}, {_NEW_VERSION}")
    return version


def _piece(image: bytes, section: Section | None) -> _Piece | None:
    """Return a section as it is in memory, where the stub finds it; it measures none that is empty."""
    if section is None or not section.memory:
        return None
    if section.memory > section.size:
        actual = f"{section.memory} bytes in memory, {section.size} in the file"
        raise MalformedEvidence("uki-section", what=section.name.decode(), actual=actual)
    return _Piece(image[section.offset : section.offset + section.memory], section.offset)


def _programs(image: bytes, kernel: _Piece, algorithm: str) -> Iterator[Part]:
    """Say what PCR 4 is extended by: firmware's words, and the two programs that it starts."""
    yield _words("pcr4", "EV_EFI_ACTION", _STARTED, _STARTED.decode(), algorithm)
    yield _words("pcr4", "EV_SEPARATOR", _SEPARATOR, _SEPARATOR.hex(), algorithm)
    for label, program, offset in (("image", image, 0), ("kernel", kernel.content, kernel.offset)):
        yield Part(
            register="pcr4",
            label=label,
            input=_INPUT,
            offset=offset,
            size=len(program),
            digest=authenticode(program, algorithm=algorithm),
        )


def _of_kernel(sections: Mapping[bytes, _Piece], line: bytes, algorithm: str) -> Iterator[Part]:
    """Say what the kernel measures: the command line as firmware has text, and the first file system."""
    yield _words("pcr9", "command line", _wide(line), line.decode(), algorithm)
    yield _bytes("pcr9", "initrd", sections[_INITRD], algorithm)


def _of_stub(sections: Sequence[tuple[bytes, _Piece]], algorithm: str) -> Iterator[Part]:
    for name, piece in sections:
        yield _words("pcr11", "section's name", name + b"\0", name.decode(), algorithm)
        yield _bytes("pcr11", name.decode(), piece, algorithm)


def _words(register: str, label: str, data: bytes, value: str, algorithm: str) -> Part:
    digest = hashlib.new(algorithm, data).digest()
    return Part(register=register, label=label, input="parameters", digest=digest, value=value)


def _bytes(register: str, label: str, piece: _Piece, algorithm: str) -> Part:
    return Part(
        register=register,
        label=label,
        input=_INPUT,
        offset=piece.offset,
        size=len(piece.content),
        digest=hashlib.new(algorithm, piece.content).digest(),
    )


def _wide(text: bytes) -> bytes:
    """Return a text as firmware has it: UTF-16, little-endian, and a zero."""
    try:
        return text.decode().encode("utf-16-le") + bytes(2)
    except UnicodeDecodeError as error:
        raise MalformedEvidence("uki-section", what=_COMMAND_LINE.decode(), actual=error.reason) from None
