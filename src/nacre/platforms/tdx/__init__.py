# SPDX-License-Identifier: Apache-2.0
"""Intel TDX: virtual machines (TDs) that prove themselves by DCAP quotes."""

from typing import ClassVar

from nacre.platforms.base import PlatformPolicy, Register
from nacre.platforms.dcap.platform import REQUIRED, DcapPlatform
from nacre.platforms.tdx.evidence import looks_like, parse_td_quote
from nacre.platforms.tdx.policy import TdxPolicy, judge_td
from nacre.platforms.tdx.verify import TDX, verify_td

__all__ = ["PLATFORM", "TdxPlatform"]

_HASH = 48


class TdxPlatform(DcapPlatform):
    """Intel TDX."""

    name: ClassVar[str] = "tdx"
    title: ClassVar[str] = "Intel TDX"
    registers: ClassVar[tuple[Register, ...]] = (
        Register("mrtd", _HASH, "value"),
        # Depends on the machine's memory map and devices, which clouds change.
        Register("rtmr0", _HASH, "stated"),
        Register("rtmr1", _HASH, "value"),
        Register("rtmr2", _HASH, "value"),
        Register("rtmr3", _HASH, "stated"),
        Register("mrconfigid", _HASH, "optional"),
        Register("mrowner", _HASH, "optional"),
        Register("mrownerconfig", _HASH, "optional"),
        Register("mrseam", _HASH, "optional"),
    )
    required: ClassVar[tuple[str, ...]] = (
        *REQUIRED,
        "tdx.module",
        "tdx.attributes",
        "tdx.service-td",
        "tdx.tcb-now",
    )
    policy: ClassVar[type[PlatformPolicy]] = TdxPolicy
    _tee = TDX
    detect = staticmethod(looks_like)
    parse = staticmethod(parse_td_quote)
    _verify = staticmethod(verify_td)
    _judge = staticmethod(judge_td)


PLATFORM = TdxPlatform()
