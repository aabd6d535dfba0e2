# SPDX-License-Identifier: Apache-2.0
"""The policy lines for SEV-SNP."""

from typing import Annotated

import msgspec

from nacre.errors import ConfigurationError
from nacre.platforms.base import PlatformPolicy
from nacre.platforms.snp.floors import FLOORS
from nacre.platforms.snp.products import PRODUCTS

__all__ = ["HOST_REQUESTED", "SnpPolicy", "TcbMinimum"]

#: What a report says in the place of a privilege level if the host asked for it.
HOST_REQUESTED = 0xFFFF_FFFF

_HEX = frozenset("0123456789abcdef")
_ADVISORIES = tuple(dict.fromkeys(floor.advisory for floor in FLOORS))
_ANY = "any"
_HIGHEST_LEVEL = 3
_BITS = 64

_Level = Annotated[int, msgspec.Meta(ge=0, le=255)]
_Bit = Annotated[int, msgspec.Meta(ge=0, lt=_BITS)]
_NO_KEY = "00" * 48
_Version = Annotated[tuple[_Level, ...], msgspec.Meta(max_length=3)]


class TcbMinimum(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The lowest acceptable TCB of a product line, component by component.

    Attributes:
        product: The product line: ``Milan``, ``Genoa``, ``Turin``.
        fmc: Turin only.
        bootloader: The boot loader of the security processor.
        tee: Its operating system.
        snp: The SNP firmware.
        microcode: The lowest patch level of all cores. Levels of chips with stacked cache and of Bergamo and
            Siena are not comparable with those of the other chips of their line.
    """

    product: str
    fmc: _Level = 0
    bootloader: _Level = 0
    tee: _Level = 0
    snp: _Level = 0
    microcode: _Level = 0

    def __post_init__(self) -> None:
        """Refuse a product line that there is not."""
        if self.product not in PRODUCTS:
            raise ConfigurationError(
                "policy-range", key="product", actual=self.product, expected=tuple(PRODUCTS)
            )
        if self.fmc and PRODUCTS[self.product].places[0] is None:
            raise ConfigurationError("policy-range", key="fmc", actual=self.fmc, expected="0 on this line")


class SnpPolicy(PlatformPolicy, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is acceptable of an SEV-SNP guest and of the machine under it.

    Attributes:
        unsafe_allow_debug: Accept a guest whose memory the host may read. Only for development.
        unsafe_allow_migration: Accept a guest with a migration agent, which may take it to a machine that
            nobody attested.
        accept_advisories: AMD bulletins of the table of minimum TCBs to live with; ``["any"]`` for all.
        minimum_tcb: Minimum TCBs of your own; a component that is given here is no longer held against the
            table that ships.
        minimum_launch_tcb: Likewise for the TCB at launch; without it ``minimum_tcb`` holds for that too.
        unsafe_ignore_launch_tcb: Look at the TCB that is reported alone, even if the guest was launched under
            an older one, which may have let the host in.
        allow_provisional_firmware: Accept firmware that is not committed: the host can put the former one
            back without a trace in this report.
        min_firmware: Lowest committed firmware version: major, minor, build.
        min_abi: Lowest ABI version that the guest policy demands of a machine: major, minor.
        require_alias_check: Insist that the firmware found no memory that is addressed twice (BadRAM).
            Reports of version 2 cannot show it.
        allow_smt: Accept a machine with SMT on, or a guest that would accept one.
        require_single_socket: Insist that the guest policy ties the guest to one socket.
        allow_cxl: Accept a guest policy that allows memory and devices on CXL.
        require_aes_256_xts: Insist that the guest policy demands AES-256-XTS for memory.
        require_rapl_disabled: Insist that guest policy and machine have power reporting off.
        require_ciphertext_hiding: Insist that guest policy and machine hide ciphertext from the host.
        require_page_swap_disabled: Insist that the guest policy forbids moving and swapping of its pages.
        vmpls: Privilege levels that may have asked for the report. Below 0 something else runs in the guest
            that a release has to cover (an SVSM, a paravisor).
        launch_mitigations: Bits that LAUNCH_MIT_VECTOR has to have (reports of version 5).
        current_mitigations: Bits that CURRENT_MIT_VECTOR has to have, likewise.
        min_guest_svn: Lowest security version that the ID block gives the guest.
        id_keys: SHA-384 of keys that may have signed the ID block, 48 bytes in hex; empty for any or none.
        author_keys: Likewise for the key that signed the ID key.
        refuse_products: Product lines to refuse.
        unsafe_accept_products: Product lines to accept without a warning although their chips are reported to
            give up their root keys to software.
        chips: Chips to accept, HWID in hex (64 bytes, on Turin 8); empty for all. The one lever against
            keys that were extracted from other chips; a VLEK names no chip, so it fails.
        refuse_masked_chip: Refuse a report in which the host masks CHIP_ID.
        providers: Clouds to accept, the CSP id of a VLEK; empty for all. A VCEK names no cloud, so it fails.
        accept_paravisor: Accept that Azure's registers are those of the paravisor, not of the guest.
    """

    unsafe_allow_debug: bool = False
    unsafe_allow_migration: bool = False
    accept_advisories: tuple[str, ...] = ()
    minimum_tcb: tuple[TcbMinimum, ...] = ()
    minimum_launch_tcb: tuple[TcbMinimum, ...] = ()
    unsafe_ignore_launch_tcb: bool = False
    allow_provisional_firmware: bool = False
    min_firmware: _Version = ()
    min_abi: Annotated[tuple[_Level, ...], msgspec.Meta(max_length=2)] = ()
    require_alias_check: bool = True
    allow_smt: bool = True
    require_single_socket: bool = False
    allow_cxl: bool = False
    require_aes_256_xts: bool = False
    require_rapl_disabled: bool = False
    require_ciphertext_hiding: bool = False
    require_page_swap_disabled: bool = False
    vmpls: tuple[int, ...] = (0,)
    launch_mitigations: tuple[_Bit, ...] = ()
    current_mitigations: tuple[_Bit, ...] = ()
    min_guest_svn: int = 0
    id_keys: tuple[str, ...] = ()
    author_keys: tuple[str, ...] = ()
    refuse_products: tuple[str, ...] = ()
    unsafe_accept_products: tuple[str, ...] = ()
    chips: tuple[str, ...] = ()
    refuse_masked_chip: bool = False
    providers: tuple[str, ...] = ()
    accept_paravisor: bool = False

    def __post_init__(self) -> None:
        """Refuse lines that can not mean anything."""
        sizes = tuple(sorted({product.hwid_size for product in PRODUCTS.values()}))
        for key, values, accepted in (
            ("id_keys", self.id_keys, (48,)),
            ("author_keys", self.author_keys, (48,)),
            ("chips", self.chips, sizes),
        ):
            for value in values:
                if len(value) not in [2 * size for size in accepted] or not set(value) <= _HEX:
                    expected = " or ".join(map(str, accepted))
                    raise ConfigurationError("policy-hex", key=key, actual=value, expected=expected)
        if _NO_KEY in (*self.id_keys, *self.author_keys):
            # What a report says that nobody signed an ID block for.
            raise ConfigurationError(
                "policy-range", key="id_keys", actual=_NO_KEY, expected="the digest of a key"
            )
        _in_range("accept_advisories", self.accept_advisories, (*_ADVISORIES, _ANY))
        _in_range("refuse_products", self.refuse_products, tuple(PRODUCTS))
        _in_range("unsafe_accept_products", self.unsafe_accept_products, tuple(PRODUCTS))
        _once("minimum_tcb", self.minimum_tcb)
        _once("minimum_launch_tcb", self.minimum_launch_tcb)
        if not self.vmpls or not set(self.vmpls) <= {*range(_HIGHEST_LEVEL + 1)}:
            raise ConfigurationError(
                "policy-range", key="vmpls", actual=str(list(self.vmpls)), expected=f"0 to {_HIGHEST_LEVEL}"
            )
        if not 0 <= self.min_guest_svn < 1 << 32:
            raise ConfigurationError(
                "policy-range", key="min_guest_svn", actual=self.min_guest_svn, expected="32 bits"
            )


def _in_range(key: str, values: tuple[str, ...], known: tuple[str, ...]) -> None:
    for value in values:
        if value not in known:
            raise ConfigurationError("policy-range", key=key, actual=value, expected=known)


def _once(key: str, minimums: tuple[TcbMinimum, ...]) -> None:
    names = [minimum.product for minimum in minimums]
    if len(set(names)) != len(names):
        raise ConfigurationError("policy-range", key=key, actual=names[-1], expected="one for each line")
