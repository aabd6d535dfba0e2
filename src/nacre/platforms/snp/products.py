# SPDX-License-Identifier: Apache-2.0
"""The product lines of AMD that are verified here, as data.

A line has its own root and its own layout of TCB versions. What is not in this table is refused by name or
by number: a layout that is guessed reads one component as another.

========  ===========================  ===============================================  ======  =====
line      CPUID family: models         TCB_VERSION, byte by byte                        HWID    form
========  ===========================  ===============================================  ======  =====
Milan     19: 00-0f                    boot loader, TEE, –, –, –, –, SNP, microcode     64      0
Genoa     19: 10-1f, a0-af             as Milan; Bergamo and Siena are a0-af            64      0
Turin     1a: 00-11                    FMC, boot loader, TEE, SNP, –, –, –, microcode   8       1
========  ===========================  ===============================================  ======  =====

Source: AMD, SEV Secure Nested Paging Firmware ABI Specification (56860), TCB_VERSION; AMD, Versioned Chip
Endorsement Key Certificate and KDS Interface Specification (57230), 3.1.
"""

from typing import Final

import msgspec

from nacre.errors import UnsupportedEvidence

__all__ = [
    "COMPONENTS",
    "LINES",
    "PRODUCTS",
    "Product",
    "Tcb",
    "check_processor",
    "of_issuer",
    "of_processor",
]

#: The components of a TCB, in the order in which they start.
COMPONENTS: Final = ("fmc", "bootloader", "tee", "snp", "microcode")
_TCB_SIZE = 8


class Tcb(msgspec.Struct, frozen=True):
    """Security patch levels, one byte each; a component that a product line does not have is None."""

    fmc: int | None
    bootloader: int
    tee: int
    snp: int
    microcode: int


class Product(msgspec.Struct, frozen=True):
    """A product line.

    Attributes:
        name: As AMD's key service calls it.
        places: Byte of TCB_VERSION for each of ``COMPONENTS``; None if it has no such component.
        processors: CPUID family, first and last model of each of its ranges.
        hwid_size: Bytes of the chip's identifier in VCEK certificates and at the front of CHIP_ID.
        struct_version: The version that its VCEK and VLEK certificates state.
        extracted: What is reported to get the root keys out of its chips by software alone; empty if nothing.
    """

    name: str
    places: tuple[int | None, int, int, int, int]
    processors: tuple[tuple[int, int, int], ...]
    hwid_size: int
    struct_version: int
    extracted: str = ""

    @property
    def ask(self) -> str:
        """Common name of the authority above VCEKs."""
        return f"SEV-{self.name}"

    @property
    def asvk(self) -> str:
        """Common name of the authority above VLEKs."""
        return f"SEV-VLEK-{self.name}"

    def tcb(self, version: bytes) -> Tcb:
        """Take a TCB_VERSION apart."""
        fmc, bootloader, tee, snp, microcode = self.places
        return Tcb(
            None if fmc is None else version[fmc],
            version[bootloader],
            version[tee],
            version[snp],
            version[microcode],
        )

    def version(self, tcb: Tcb) -> bytes:
        """Put a TCB_VERSION together; its other bytes are zero."""
        version = bytearray(_TCB_SIZE)
        for place, level in zip(self.places, msgspec.structs.astuple(tcb), strict=True):
            if place is not None:
                version[place] = level
        return bytes(version)


_FIRST_FORM = (None, 0, 1, 6, 7)
_SECOND_FORM = (0, 1, 2, 3, 7)

PRODUCTS: Final = {
    product.name: product
    for product in (
        Product(
            "Milan",
            _FIRST_FORM,
            ((0x19, 0x00, 0x0F),),
            64,
            0,
            extracted="BadFuse and MilanLaunchy, arXiv 2605.12990",
        ),
        Product("Genoa", _FIRST_FORM, ((0x19, 0x10, 0x1F), (0x19, 0xA0, 0xAF)), 64, 0),
        Product("Turin", _SECOND_FORM, ((0x1A, 0x00, 0x11),), 8, 1),
    )
}

#: Lines that are known and not verified here: their reports have a longer TCB in another order.
_NOT_YET = {"Venice": ((0x1A, 0x50, 0x57), (0x1A, 0x90, 0x9F), (0x1A, 0xA0, 0xAF), (0x1A, 0xC0, 0xC7))}

#: The names of all lines that are known, verified here or not.
LINES: Final = frozenset((*PRODUCTS, *_NOT_YET))


def _cover(processors: tuple[tuple[int, int, int], ...], family: int, model: int) -> bool:
    return any(family == of and first <= model <= last for of, first, last in processors)


_BY_PROCESSOR = {
    (family, model): product
    for product in PRODUCTS.values()
    for family, first, last in product.processors
    for model in range(first, last + 1)
}


def of_processor(family: int, model: int) -> Product | None:
    """Find the line of a processor; None if it is not verified here."""
    return _BY_PROCESSOR.get((family, model))


def check_processor(family: int, model: int) -> None:
    """Refuse a processor of no line that is verified here.

    Raises:
        UnsupportedEvidence: ``snp-product-unsupported`` for a line that is known, or ``snp-product-unknown``.
    """
    if of_processor(family, model):
        return
    for name, processors in _NOT_YET.items():
        if _cover(processors, family, model):
            raise UnsupportedEvidence("snp-product-unsupported", actual=name, expected=tuple(PRODUCTS))
    raise UnsupportedEvidence(
        "snp-product-unknown", actual=f"family {family:02x}, model {model:02x}", expected=tuple(PRODUCTS)
    )


_AUTHORITIES = {
    name: (product, kind)
    for product in PRODUCTS.values()
    for name, kind in ((product.ask, "vcek"), (product.asvk, "vlek"))
}


def of_issuer(common_name: str) -> tuple[Product, str] | None:
    """Find line and kind of key, ``vcek`` or ``vlek``, by the name of the authority above it, if known."""
    return _AUTHORITIES.get(common_name)
