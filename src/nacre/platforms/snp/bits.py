# SPDX-License-Identifier: Apache-2.0
"""The bits of guest policy and platform information, each named once.

Source: AMD, SEV Secure Nested Paging Firmware ABI Specification (56860), guest policy and PLATFORM_INFO; its
bit 6 after AMD-SB-3016.
"""

from collections.abc import Mapping
from typing import Final

__all__ = ["PLATFORM", "POLICY", "named"]

#: Bits of the guest policy, beside the ABI version in its lowest two bytes.
POLICY: Final[Mapping[str, int]] = {
    "SMT": 1 << 16,
    "ALWAYS_ONE": 1 << 17,
    "MIGRATE_MA": 1 << 18,
    "DEBUG": 1 << 19,
    "SINGLE_SOCKET": 1 << 20,
    "CXL_ALLOW": 1 << 21,
    "MEM_AES_256_XTS": 1 << 22,
    "RAPL_DIS": 1 << 23,
    "CIPHERTEXT_HIDING_DRAM": 1 << 24,
    "PAGE_SWAP_DISABLE": 1 << 25,
}
#: Bits of PLATFORM_INFO.
PLATFORM: Final[Mapping[str, int]] = {
    "SMT_EN": 1 << 0,
    "TSME_EN": 1 << 1,
    "ECC_EN": 1 << 2,
    "RAPL_DIS": 1 << 3,
    "CIPHERTEXT_HIDING_DRAM_EN": 1 << 4,
    "ALIAS_CHECK_COMPLETE": 1 << 5,
    "IOMMU_WRITE_SAFE": 1 << 6,
    "TIO_EN": 1 << 7,
}


def named(value: int, names: Mapping[str, int], *, unknown: bool = False) -> tuple[str, ...]:
    """Name the bits that are set; with ``unknown`` only those that have no name."""
    rest = value & ~sum(names.values())
    if unknown and not rest:
        return ()
    found = [] if unknown else [name for name, bit in names.items() if value & bit]
    return (*found, *[f"bit {bit}" for bit in range(rest.bit_length()) if rest >> bit & 1])
