# SPDX-License-Identifier: Apache-2.0
"""The registers that a Nitro enclave will report, from its image.

A register is the SHA-384 of 48 zero bytes and the SHA-384 of what is measured: PCR0 of the kernel, the
command line and all ramdisks, PCR1 of the same but the first ramdisk alone, PCR2 of the other ramdisks, PCR8
of the certificate of who signed. PCR3 and PCR4 measure the role and the identifier of the parent instance:
one hash with nothing inside. The header and the metadata are not measured: who changes them changes no
register.

All of it takes one pass, and a second over the further ramdisks: until the first ramdisk has been read, PCR0
and PCR1 have the same hash.

Not proven here:
    A real Nitro hypervisor: the registers are those that QEMU's reader and AWS's own library compute, and
    that a guest saw which QEMU had booted. To prove it: compare with a document of the enclave.

Source: AWS, "Where to get an enclave's measurements"; qemu/qemu, ``hw/core/eif.c`` and
``hw/virtio/virtio-nsm.c``.
"""

import hashlib
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial

import msgspec

from nacre.errors import MalformedEvidence
from nacre.platforms.measuring import Measurement, Part, Together, one_by_one
from nacre.platforms.nitro.eif import CMDLINE, CRC, HEADER, KERNEL, RAMDISK, Buffer, Eif
from nacre.platforms.nitro.eif_sign import read_signature
from nacre.platforms.nitro.policy import parent_register

__all__ = ["Hashing", "Piece", "empty_registers", "hashes", "measure", "measurement", "parent"]

#: Some hashing that has to be done, and returns its values.
Hashing = Callable[[], list[bytes]]

_SIZE = 48
_BOOT = 3  # pieces of PCR1: kernel, command line, first ramdisk


class Piece(msgspec.Struct, frozen=True):
    """Something that is measured.

    Attributes:
        name: ``kernel``, ``command line``, ``ramdisk 0`` …
        offset: Where it begins in the image.
        data: All of it.
    """

    name: str
    offset: int
    data: Buffer


def measure(image: Eif, *, together: Together = one_by_one) -> Measurement:
    """Compute PCR0, PCR1 and PCR2 of an image, and PCR8 if it is signed (zero if not).

    Args:
        image: As ``eif.parse`` read it. Its checksum is checked along the way.
        together: Does three jobs of hashing.

    Raises:
        MalformedEvidence: ``eif-crc``, or as ``read_signature``.
    """
    signature = read_signature(image)
    pieces = [
        Piece(section.name, section.offset, image.read(section))
        for kind in (KERNEL, CMDLINE, RAMDISK)
        for section in image.of(kind)
    ]

    def checksum() -> list[bytes]:
        start = zlib.crc32(image.data[: HEADER.size])
        return [CRC.pack(zlib.crc32(image.data[HEADER.size + CRC.size :], start))]

    jobs: list[Hashing] = [*hashes(pieces), checksum]
    whole, app, (crc,) = together(jobs)
    if crc != CRC.pack(image.crc):
        raise MalformedEvidence("eif-crc", expected=CRC.pack(image.crc), actual=crc)
    return measurement(pieces, whole, app, certificate=None if signature is None else signature.certificate)


def hashes(pieces: Sequence[Piece]) -> tuple[Hashing, Hashing]:
    """Return the hashing that PCR0 and PCR1, and that PCR2 takes; to be done before ``measurement``."""
    return partial(_running, pieces), partial(_running, pieces[_BOOT:])


def _running(pieces: Sequence[Piece]) -> list[bytes]:
    """Return the value of one hash over several pieces after each of them."""
    state, values = hashlib.sha384(), []
    for piece in pieces:
        state.update(piece.data)
        values.append(state.digest())
    return values


def measurement(
    pieces: Sequence[Piece], whole: Sequence[bytes], app: Sequence[bytes], *, certificate: bytes | None
) -> Measurement:
    """Put together what ``hashes`` found.

    Args:
        pieces: Kernel, command line and ramdisks, in this order.
        whole: What the first job returned.
        app: What the second one returned.
        certificate: Of who signed, DER; None if nobody did.
    """
    parts = [
        *_parts("pcr0", pieces, whole),
        *_parts("pcr1", pieces[:_BOOT], whole),
        *_parts("pcr2", pieces[_BOOT:], app),
    ]
    values = {
        "pcr0": _extended(whole[-1]),
        "pcr1": _extended(whole[_BOOT - 1]),
        "pcr2": _extended(app[-1]) if app else _EMPTY,
        "pcr8": bytes(_SIZE),
    }
    if certificate is not None:
        digest = hashlib.sha384(certificate).digest()
        values["pcr8"] = _extended(digest)
        parts.append(
            Part(
                register="pcr8",
                label="signing certificate, DER",
                input="certificate",
                size=len(certificate),
                digest=digest,
            )
        )
    return Measurement(values, tuple(parts))


def parent(*, role: str = "", instance: str = "") -> Measurement:
    """Compute PCR3 from the ARN of the parent's role, PCR4 from its identifier, if they are given."""
    values: dict[str, bytes] = {}
    parts = []
    for register, label, name in (("pcr3", "role", role), ("pcr4", "instance", instance)):
        if name:
            values[register] = parent_register(name)
            parts.append(
                Part(
                    register=register,
                    label=f"parent's {label}",
                    input="parameters",
                    digest=values[register],
                    value=name,
                )
            )
    return Measurement(values, tuple(parts))


def empty_registers(registers: Mapping[str, bytes]) -> tuple[str, ...]:
    """Name the registers that hold the measurement of nothing, or zeros as in debug mode.

    PCR2 does for an image with one ramdisk, and PCR8 for one that nobody signed: such a register holds for
    any image of the kind, and a policy that asks for it asks for nothing.
    """
    return tuple([name for name, value in registers.items() if value == _EMPTY or not any(value)])


def _parts(register: str, pieces: Sequence[Piece], values: Sequence[bytes]) -> Iterator[Part]:
    for piece, digest in zip(pieces, values, strict=False):
        yield Part(
            register=register,
            label=piece.name,
            input="eif",
            offset=piece.offset,
            size=len(piece.data),
            digest=digest,
        )


def _extended(digest: bytes) -> bytes:
    return hashlib.sha384(bytes(_SIZE) + digest).digest()


_EMPTY = _extended(hashlib.sha384().digest())
