# SPDX-License-Identifier: Apache-2.0
"""Intel SGX: enclaves that prove themselves by DCAP quotes."""

from typing import ClassVar

from nacre.platforms.base import PlatformPolicy, Register
from nacre.platforms.dcap.platform import REQUIRED, DcapPlatform
from nacre.platforms.sgx.evidence import looks_like, parse_enclave_quote
from nacre.platforms.sgx.policy import SgxPolicy, judge_enclave
from nacre.platforms.sgx.verify import SGX, verify_enclave

__all__ = ["PLATFORM", "SgxPlatform"]


class SgxPlatform(DcapPlatform):
    """Intel SGX."""

    name: ClassVar[str] = "sgx"
    title: ClassVar[str] = "Intel SGX"
    registers: ClassVar[tuple[Register, ...]] = (
        Register("mrenclave", 32, "optional", alternative=1),
        Register("mrsigner", 32, "optional", alternative=2),
        Register("isvprodid", 2, "optional", kind="number", alternative=2),
        Register("isvsvn", 2, "optional", kind="minimum", alternative=2),
        Register("configid", 64, "optional"),
        Register("configsvn", 2, "optional", kind="minimum"),
        Register("isvextprodid", 16, "optional"),
        Register("isvfamilyid", 16, "optional"),
    )
    required: ClassVar[tuple[str, ...]] = (*REQUIRED, "sgx.mode")
    policy: ClassVar[type[PlatformPolicy]] = SgxPolicy
    _tee = SGX
    detect = staticmethod(looks_like)
    parse = staticmethod(parse_enclave_quote)
    _verify = staticmethod(verify_enclave)
    _judge = staticmethod(judge_enclave)


PLATFORM = SgxPlatform()
