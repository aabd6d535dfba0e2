# SPDX-License-Identifier: Apache-2.0
"""A simulated machine with TDX."""

import hashlib
from collections.abc import Mapping
from typing import Final, Literal

import msgspec

from nacre.platforms.dcap.layout import BODY_TYPES
from nacre.platforms.dcap.simulate import FAMILY, DcapMachine, Shape, create_root
from nacre.platforms.dcap.simulate import Faults as DcapFaults
from nacre.platforms.dcap.simulated_documents import MODULE_VERSION, component_svn
from nacre.platforms.dcap.simulated_faults import ComponentTcb
from nacre.platforms.dcap.views import TD_ATTRIBUTES
from nacre.platforms.simulation import Root
from nacre.platforms.tdx import PLATFORM
from nacre.platforms.tdx.verify import TDX

__all__ = ["FAMILY", "Faults", "create_root", "machine"]

_BITS = {name: 1 << bit for bit, name in TD_ATTRIBUTES.items()}
_XFAM = bytes.fromhex("e702060000000000")


class Faults(DcapFaults, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is wrong with a machine with TDX, beside the lines of ``dcap.simulated_faults.Faults``.

    Attributes:
        module_tcb: The level of the TDX module with which the TD was launched.
        module_tcb_now: The level of the one that runs now; quotes of version 4 do not tell.
        other_module: The TDX module is signed by somebody else than Intel.
        unknown_module: The TDX module has a major version that TCB Info does not know.
        migratable: The host may move the TD to another machine.
        sept_ve: The TD's kernel may get #VE on pages that the host took away.
    """

    module_tcb: ComponentTcb = "up_to_date"
    module_tcb_now: ComponentTcb = "up_to_date"
    other_module: bool = False
    unknown_module: bool = False
    migratable: bool = False
    sept_ve: bool = False


_HEALTHY: Final = Faults()


_SHAPE: Final = Shape(
    platform=PLATFORM.name,
    title=PLATFORM.title,
    version=4,
    body=BODY_TYPES[2],
    registers=PLATFORM.registers,
    fields={
        "mrtd": "mr_td",
        **{name: name for name in ("rtmr0", "rtmr1", "rtmr2", "rtmr3")},
        "mrconfigid": "mr_config_id",
        "mrowner": "mr_owner",
        "mrownerconfig": "mr_owner_config",
        "mrseam": "mr_seam",
    },
    quoting_enclave=TDX.quoting_enclave,
    product=2,
)
_SHAPES: Final[Mapping[int, Shape]] = {
    4: _SHAPE,
    5: msgspec.structs.replace(_SHAPE, version=5, body=BODY_TYPES[3]),
}


def machine(root: Root, *, at: int, faults: Faults = _HEALTHY, version: Literal[4, 5] = 4) -> DcapMachine:
    """Make a machine with TDX that has been there since ``at``, and a TD on it.

    Args:
        root: What ``create_root`` made.
        at: Unix seconds.
        faults: What is wrong with it.
        version: Version of its quotes; those of 5 carry reports of TD 1.5.
    """
    attributes = _BITS["DEBUG"] * faults.debug | _BITS["MIGRATABLE"] * faults.migratable
    attributes |= _BITS["SEPT_VE_DISABLE"] * (not faults.sept_ve)
    major = MODULE_VERSION + faults.unknown_module
    report = {
        "tee_tcb_svn": bytes([component_svn(faults.module_tcb), major]),
        "tee_tcb_svn2": bytes([component_svn(faults.module_tcb_now), major]),
        "mr_seam": hashlib.sha384(b"nacre simulated TDX module").digest(),
        "mr_signer_seam": b"\1" * faults.other_module,
        "td_attributes": attributes.to_bytes(8, "little"),
        "xfam": _XFAM,
        "mr_td": hashlib.sha384(b"nacre simulated TD").digest(),
    }
    return DcapMachine(root, _SHAPES[version], report=report, at=at, faults=faults)
