# SPDX-License-Identifier: Apache-2.0
"""The image of a Nitro enclave (EIF), written: the same parts give the same bytes.

The bytes are those of AWS's own tool: sections in the order kernel, command line, metadata, ramdisks,
signature; the command line without a final zero; the metadata's members in that tool's order. Only the
signature of AWS's tool differs from run to run.

Nothing is copied: what is written is the very buffers that were given, between headers made here.

Numbers of 10^16 and more with a fraction or an exponent are written into metadata as ``1e16``; AWS's library
0.8.1 writes ``1e+16``. Metadata is not measured.

Source: aws/aws-nitro-enclaves-image-format, ``src/utils/mod.rs``, ``src/utils/eif_signer.rs``.
"""

import zlib
from collections.abc import Iterator, Sequence
from functools import partial

import msgspec

from nacre.errors import BuildError
from nacre.platforms.measuring import Measurement, Together, one_by_one
from nacre.platforms.nitro.crc import combined
from nacre.platforms.nitro.eif import (
    ARCHITECTURES,
    CMDLINE,
    CRC,
    HEADER,
    KERNEL,
    MAGIC,
    MAX_METADATA,
    MAX_SECTIONS,
    METADATA,
    NAMES,
    RAMDISK,
    SECTION,
    SIGNATURE,
    VERSION,
    Buffer,
    Eif,
)
from nacre.platforms.nitro.eif_sign import Signer, sign
from nacre.platforms.nitro.measure import Hashing, Piece, hashes, measurement

__all__ = ["Assembled", "Metadata", "Parts", "assemble", "parts_of"]

_GIB = 1 << 30
_FIXED = 3  # kernel, command line, metadata


class _Built(msgspec.Struct, frozen=True, rename="pascal"):
    build_time: str
    build_tool: str
    build_tool_version: str
    operating_system: str
    kernel_version: str


class _Identity(msgspec.Struct, frozen=True, rename="pascal"):
    image_name: str
    image_version: str
    build_metadata: _Built
    docker_info: object
    custom_metadata: object


class Metadata(msgspec.Struct, frozen=True, kw_only=True):
    """What an image says of itself. It is not measured: nobody can rely on it.

    Attributes:
        name: The image's.
        version: The image's.
        built: When, as RFC 3339 writes it; for builds to be the same it must not be the clock's.
        tool: What built it.
        tool_version: The tool's version.
        system: The kernel's system.
        kernel: The kernel's version.
        docker: What Docker says of the image that it was made of; JSON.
        custom: Whatever else; JSON.
    """

    name: str
    version: str
    built: str = "1970-01-01T00:00:00+00:00"
    tool: str = "nacre"
    tool_version: str = ""
    system: str = "Linux"
    kernel: str = "Unknown"
    docker: object = None
    custom: object = None

    def encode(self) -> bytes:
        """Return it as AWS's tool writes it: one line, objects that nobody defines sorted by name."""
        built = _Built(self.built, self.tool, self.tool_version, self.system, self.kernel)
        identity = _Identity(self.name, self.version, built, self.docker, self.custom)
        return msgspec.json.encode(identity, order="deterministic")


class Parts(msgspec.Struct, frozen=True, kw_only=True):
    """What an image is made of.

    Attributes:
        kernel: A bzImage, for aarch64 an Image.
        command_line: The kernel's, without a final zero.
        ramdisks: The first one is the platform's (PCR1), the others are the application's (PCR2).
        metadata: JSON, as ``Metadata.encode`` returns it; None for none, which only tools of 2021 and older
            expect (version 3).
        architecture: ``x86_64`` or ``aarch64``.
        memory: Bytes that the enclave gets unless told otherwise.
        cpus: Processors that it gets unless told otherwise.
    """

    kernel: Buffer
    command_line: bytes
    ramdisks: tuple[Buffer, ...]
    metadata: bytes | None
    architecture: str = ARCHITECTURES[0]
    memory: int = _GIB
    cpus: int = 2


class Assembled(msgspec.Struct, frozen=True):
    """An image that has only to be written.

    Attributes:
        chunks: Its bytes, in order: ``stream.writelines(chunks)``.
        measurement: What it will measure to; the same as ``measure`` of the file.
    """

    chunks: tuple[Buffer, ...]
    measurement: Measurement


class _Written(msgspec.Struct, frozen=True):
    kind: int
    data: Buffer


def assemble(parts: Parts, *, signer: Signer | None = None, together: Together = one_by_one) -> Assembled:
    """Make an image and measure it, in one go.

    Args:
        parts: What it is made of. Buffers must not change until the chunks are written.
        signer: Who signs PCR0, if anybody does.
        together: Does three jobs of hashing.

    Raises:
        BuildError: ``eif-part``: there is no kernel or no ramdisk, the command line has a zero in it,
            a number does not fit; ``eif-ramdisks``, ``eif-too-large``: too many ramdisks, metadata too long;
            ``eif-signer``.
        MalformedEvidence: As ``sign`` raises.
    """
    _check(parts)
    sections = list(_sections(parts))
    pieces = list(_pieces(sections))
    body = _body(sections)
    jobs: list[Hashing] = [*hashes(pieces), partial(_checksum, body)]
    whole, app, (crc,) = together(jobs)
    certificate = None if signer is None else signer.certificate
    measured = measurement(pieces, whole, app, certificate=certificate)
    last: list[Buffer] = []
    if signer is not None:
        sections.append(_Written(SIGNATURE, sign(measured.registers["pcr0"], signer)))
        last = _body(sections[-1:])
    header = _header(parts, sections)
    total = combined(zlib.crc32(header), int.from_bytes(crc, "big"), sum(map(len, body)))
    for chunk in last:
        total = zlib.crc32(chunk, total)
    return Assembled((header, CRC.pack(total), *body, *last), measured)


def _body(sections: Sequence[_Written]) -> list[Buffer]:
    chunks: list[Buffer] = []
    for section in sections:
        chunks += [SECTION.pack(section.kind, 0, len(section.data)), section.data]
    return chunks


def _checksum(chunks: Sequence[Buffer]) -> list[bytes]:
    total = 0
    for chunk in chunks:
        total = zlib.crc32(chunk, total)
    return [CRC.pack(total)]


def parts_of(image: Eif) -> Parts:
    """Take an image apart, without its signature: to sign it, or to sign it anew.

    Assembled again, it has the registers that it had. AWS's tool changes the file in place, and leaves a
    table behind that QEMU refuses if the second signature is of another length.
    """
    (kernel,), (line,), metadata = image.of(KERNEL), image.of(CMDLINE), image.of(METADATA)
    return Parts(
        kernel=image.read(kernel),
        command_line=bytes(image.read(line)),
        ramdisks=tuple([image.read(section) for section in image.of(RAMDISK)]),
        metadata=bytes(image.read(metadata[0])) if metadata else None,
        architecture=image.architecture,
        memory=image.memory,
        cpus=image.cpus,
    )


def _check(parts: Parts) -> None:
    for what, wrong in (
        ("the kernel, which is empty", not len(parts.kernel)),
        ("the command line, which has a zero byte in it", 0 in parts.command_line),
        ("the first ramdisk, which is missing", not parts.ramdisks),
        (f"the architecture {parts.architecture}", parts.architecture not in ARCHITECTURES),
        (f"the memory of {parts.memory} bytes", not 0 < parts.memory < 1 << 64),
        (f"the number of {parts.cpus} processors", not 0 < parts.cpus < 1 << 64),
    ):
        if wrong:
            raise BuildError("eif-part", what=what)
    if len(parts.ramdisks) > MAX_SECTIONS - _FIXED - 1:
        raise BuildError("eif-ramdisks", expected=MAX_SECTIONS - _FIXED - 1, actual=len(parts.ramdisks))
    if parts.metadata is not None and len(parts.metadata) > MAX_METADATA:
        raise BuildError(
            "eif-too-large", what="the metadata", expected=MAX_METADATA, actual=len(parts.metadata)
        )


def _sections(parts: Parts) -> Iterator[_Written]:
    yield _Written(KERNEL, parts.kernel)
    yield _Written(CMDLINE, parts.command_line)
    if parts.metadata is not None:
        yield _Written(METADATA, parts.metadata)
    for ramdisk in parts.ramdisks:
        yield _Written(RAMDISK, ramdisk)


def _pieces(sections: Sequence[_Written]) -> Iterator[Piece]:
    """Find what is measured, where it will lie in the file."""
    offset, ramdisks = HEADER.size + CRC.size, 0
    for section in sections:
        offset += SECTION.size
        if section.kind == RAMDISK:
            yield Piece(f"{NAMES[RAMDISK]} {ramdisks}", offset, section.data)
            ramdisks += 1
        elif section.kind != METADATA:
            yield Piece(NAMES[section.kind], offset, section.data)
        offset += len(section.data)


def _header(parts: Parts, sections: Sequence[_Written]) -> bytes:
    sizes = [len(section.data) for section in sections]
    offsets, offset = [], HEADER.size + CRC.size
    for size in sizes:
        offsets.append(offset)
        offset += SECTION.size + size
    unused = [0] * (MAX_SECTIONS - len(sections))
    return HEADER.pack(
        MAGIC,
        VERSION if parts.metadata is not None else VERSION - 1,
        ARCHITECTURES.index(parts.architecture),
        parts.memory,
        parts.cpus,
        0,
        len(sections),
        *offsets,
        *unused,
        *sizes,
        *unused,
        0,
    )
