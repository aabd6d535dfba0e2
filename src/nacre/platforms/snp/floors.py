# SPDX-License-Identifier: Apache-2.0
"""The lowest TCB at which an advisory is dealt with: a table that AMD does not publish in a form to be read.

No vendor document says of an SNP report whether its TCB is current. AMD's security bulletins are pages with
tables for people, unsigned; AMDESE/AMDSEV issues 89 and 254 ask for more. So this table ships with the
package, with a date and with the source of each row, and a policy may put its own in the place of any
product line's. None of the bulletins themselves was at hand when it was written: each row says who read it.

Two warnings. A TCB that is above every row may still lack a fix: some are not visible in a TCB at all
(AMD-SB-3034: AMD withdrew the values; AMD-SB-3030: in the boot firmware; the bus interposers: nowhere). And
microcode levels of two kinds of chip of one product line are not comparable, so rows name the kind: stepping
2 of Milan and Genoa is the kind with stacked cache, models a0 to af of Genoa are Bergamo and Siena. A report
that does not say what chip it is of (version 2) is held to all rows of its line.
"""

import functools
from typing import Final

import msgspec

from nacre.platforms.snp.products import PRODUCTS, Product

__all__ = ["FLOORS", "TABLE_DATE", "Floor", "Shortfall", "kind_of_chip", "shortfalls"]

#: When this table was last gone over.
TABLE_DATE: Final = "2026-11-25"

_CCF = "microsoft/CCF issue 6812, of 2025-02-13, which quotes the bulletin"
_LINUX = "AMD's patch for Linux of April 2026, sev_firmware_allows_es, which quotes the bulletin"
_OTHERS = "three verifiers of 2026 that are independent of each other, which quote the bulletin"
_ONE = "one verifier of 2026 that quotes the bulletin"

_STACKED_STEPPING = 2
_FIRST_DENSE_MODEL = {"Genoa": 0xA0, "Turin": 0x10}


class Floor(msgspec.Struct, frozen=True):
    """One row: from which level of a component on an advisory is dealt with.

    Attributes:
        advisory: AMD's bulletin.
        cve: What it is about.
        published: When, as far as known.
        product: The product line.
        chip: The kind of chip (``classic``, ``stacked``, ``dense``); empty for all of the line.
        component: The component of the TCB.
        minimum: The level.
        source: Who read the bulletin.
    """

    advisory: str
    cve: str
    published: str
    product: str
    chip: str
    component: str
    minimum: int
    source: str


class Shortfall(msgspec.Struct, frozen=True):
    """A row that a TCB does not meet."""

    floor: Floor
    actual: int

    def __str__(self) -> str:  # typing.override is of Python 3.12
        floor = self.floor
        return f"{floor.advisory} ({floor.cve}) needs {floor.component} {floor.minimum}, it is {self.actual}"


#: Oldest advisory first.
FLOORS: Final = (
    Floor("AMD-SB-3015", "CVE-2024-21944", "2024-12-10", "Milan", "", "snp", 0x17, _ONE),
    Floor("AMD-SB-3015", "CVE-2024-21944", "2024-12-10", "Genoa", "", "snp", 0x16, _ONE),
    Floor("AMD-SB-3019", "CVE-2024-56161", "2025-02-03", "Milan", "", "snp", 0x18, _CCF),
    Floor("AMD-SB-3019", "CVE-2024-56161", "2025-02-03", "Genoa", "", "snp", 0x17, _CCF),
    Floor("AMD-SB-3019", "CVE-2024-56161", "2025-02-03", "Milan", "classic", "microcode", 0xDB, _ONE),
    Floor("AMD-SB-3019", "CVE-2024-56161", "2025-02-03", "Milan", "stacked", "microcode", 0x44, _ONE),
    Floor("AMD-SB-3019", "CVE-2024-56161", "2025-02-03", "Genoa", "classic", "microcode", 0x54, _OTHERS),
    Floor("AMD-SB-3019", "CVE-2024-56161", "2025-02-03", "Genoa", "stacked", "microcode", 0x4F, _ONE),
    Floor("AMD-SB-3019", "CVE-2024-56161", "2025-02-03", "Genoa", "dense", "microcode", 0x19, _ONE),
    Floor("AMD-SB-3020", "CVE-2025-0033", "2025-10-13", "Genoa", "", "snp", 0x1B, _OTHERS),
    Floor("AMD-SB-3020", "CVE-2025-0033", "2025-10-13", "Turin", "", "snp", 0x04, _ONE),
    Floor("AMD-SB-3027", "CVE-2025-29943", "2026-01", "Genoa", "classic", "microcode", 0x56, _OTHERS),
    Floor("AMD-SB-3027", "CVE-2025-29943", "2026-01", "Genoa", "stacked", "microcode", 0x51, _ONE),
    Floor("AMD-SB-3027", "CVE-2025-29943", "2026-01", "Turin", "classic", "microcode", 0x51, _ONE),
    Floor("AMD-SB-3023", "CVE-2025-48514", "2026", "Milan", "", "snp", 0x1B, _LINUX),
    Floor("AMD-SB-3023", "CVE-2025-48514", "2026", "Genoa", "", "snp", 0x1B, _LINUX),
    Floor("AMD-SB-3023", "CVE-2025-48514", "2026", "Turin", "", "snp", 0x04, _LINUX),
)


def kind_of_chip(product: Product, model: int, stepping: int) -> str:
    """Tell which kind of chip of a line a processor is: ``classic``, ``stacked`` or ``dense``."""
    dense = _FIRST_DENSE_MODEL.get(product.name)
    if dense is not None and model >= dense:
        return "dense"
    return "stacked" if stepping == _STACKED_STEPPING and product.struct_version == 0 else "classic"


@functools.lru_cache(maxsize=256)
def shortfalls(product: str, chip: str, tcb: bytes) -> tuple[Shortfall, ...]:
    """Say which rows a TCB does not meet.

    Args:
        product: The product line's name.
        chip: The kind of chip, empty if it is not known: then the rows of every kind hold.
        tcb: TCB_VERSION, 8 bytes.
    """
    levels = PRODUCTS[product].tcb(tcb)
    return tuple(
        [
            Shortfall(floor, level)
            for floor in FLOORS
            if floor.product == product
            and (not chip or floor.chip in ("", chip))
            and (level := getattr(levels, floor.component)) < floor.minimum
        ]
    )
