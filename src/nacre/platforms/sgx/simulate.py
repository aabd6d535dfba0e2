# SPDX-License-Identifier: Apache-2.0
"""A simulated machine with SGX."""

import hashlib
from typing import Final

from nacre.platforms.dcap.layout import BODY_TYPES
from nacre.platforms.dcap.simulate import FAMILY, DcapMachine, Shape, create_root
from nacre.platforms.dcap.simulate import Faults as DcapFaults
from nacre.platforms.sgx import PLATFORM
from nacre.platforms.sgx.verify import SGX
from nacre.platforms.simulation import Root

__all__ = ["FAMILY", "Faults", "create_root", "machine"]

_INITIALIZED = 1
_DEBUG = 2
_MODE64BIT = 4


class Faults(DcapFaults, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is wrong with a machine with SGX, beside the lines of ``dcap.simulated_faults.Faults``.

    Attributes:
        mode_32: The enclave runs in 32-bit mode.
    """

    mode_32: bool = False


_HEALTHY: Final = Faults()


_SHAPE: Final = Shape(
    platform=PLATFORM.name,
    title=PLATFORM.title,
    version=3,
    body=BODY_TYPES[1],
    registers=PLATFORM.registers,
    fields={
        "mrenclave": "mr_enclave",
        "mrsigner": "mr_signer",
        "isvprodid": "isv_prod_id",
        "isvsvn": "isv_svn",
        "configid": "config_id",
        "configsvn": "config_svn",
        "isvextprodid": "isv_ext_prod_id",
        "isvfamilyid": "isv_family_id",
    },
    quoting_enclave=SGX.quoting_enclave,
    product=1,
)


def machine(root: Root, *, at: int, faults: Faults = _HEALTHY) -> DcapMachine:
    """Make a machine with SGX that has been there since ``at``, and an enclave on it."""
    attributes = _INITIALIZED | _DEBUG * faults.debug | _MODE64BIT * (not faults.mode_32)
    report = {
        "attributes": bytes([attributes]),
        "mr_enclave": hashlib.sha256(b"nacre simulated enclave").digest(),
        "mr_signer": hashlib.sha256(b"nacre simulated signer").digest(),
    }
    return DcapMachine(root, _SHAPE, report=report, at=at, faults=faults)
