# SPDX-License-Identifier: Apache-2.0
"""What Intel says of its simulated machines: the SGX extension of a PCK certificate, TCB Info, QE identity.

One TCB Info has a level for every status, and a machine is certified at the level that its faults name: as
with Intel, it is the machine that is old, not the document that is another.

Source: Intel PCS API v4; Intel SGX PCK Certificate and CRL Specification.
"""

import datetime as dt
import hashlib
from collections.abc import Sequence
from typing import Final

import msgspec

from nacre.platforms.dcap.pck import SGX_EXTENSION
from nacre.platforms.dcap.simulated_certificates import DAY, LIST_LIFE, Authorities
from nacre.platforms.dcap.simulated_faults import ComponentTcb, Faults
from nacre.platforms.dcap.tcb_info import TcbStatus

__all__ = ["MODULE_VERSION", "QE_SIGNER", "component_svn", "qe_identity", "sgx_extension", "tcb_info"]

#: MRSIGNER of the simulated quoting enclaves, 32 bytes.
QE_SIGNER: Final = hashlib.sha256(b"nacre simulated quoting enclave").digest()
#: Major version of the simulated TDX module.
MODULE_VERSION: Final = 1

_FMSPC = b"Nacre\0"
_OTHER_FMSPC = b"Other\0"
_PCEID = "0000"
_PCESVN = 13
_COMPONENTS = 16
_EVALUATION = 20
_BETWEEN_LEVELS = 180 * DAY
_S = TcbStatus
# Newest first: the SVN, Intel's word and how often a newer date was published since.
_LEVELS = {
    "up_to_date": (9, _S.UP_TO_DATE, 0),
    "sw_hardening_needed": (8, _S.SW_HARDENING, 0),
    "configuration_needed": (7, _S.CONFIGURATION, 0),
    "configuration_and_sw_hardening_needed": (6, _S.CONFIGURATION_AND_SW_HARDENING, 0),
    "out_of_date": (5, _S.OUT_OF_DATE, 1),
    "out_of_date_configuration_needed": (4, _S.OUT_OF_DATE_CONFIGURATION, 1),
    "revoked": (3, _S.REVOKED, 2),
}
_COMPONENT_LEVELS = {"up_to_date": 5, "out_of_date": 4, "revoked": 3}
# Of what is at no level.
_BELOW = 2


class _Component(msgspec.Struct, frozen=True, omit_defaults=True):
    svn: int
    category: str = ""
    type: str = ""


class _Tcb(msgspec.Struct, frozen=True, omit_defaults=True):
    sgxtcbcomponents: tuple[_Component, ...]
    pcesvn: int
    tdxtcbcomponents: tuple[_Component, ...] = ()


class _Isvsvn(msgspec.Struct, frozen=True):
    isvsvn: int


class _Level(msgspec.Struct, frozen=True, rename="camel"):
    tcb: _Tcb | _Isvsvn
    tcb_date: dt.datetime
    tcb_status: str


class _Module(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    mrsigner: str = ""
    attributes: str = ""
    attributes_mask: str = ""
    id: str = ""
    tcb_levels: tuple[_Level, ...] = ()


class _TcbInfo(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    id: str
    version: int
    issue_date: dt.datetime
    next_update: dt.datetime
    fmspc: str
    pce_id: str
    tcb_type: int
    tcb_evaluation_data_number: int
    tdx_module: _Module | None = None
    tdx_module_identities: tuple[_Module, ...] = ()
    tcb_levels: tuple[_Level, ...]


class _Identity(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    id: str
    version: int
    issue_date: dt.datetime
    next_update: dt.datetime
    tcb_evaluation_data_number: int
    miscselect: str
    miscselect_mask: str
    attributes: str
    attributes_mask: str
    mrsigner: str
    isvprodid: int
    tcb_levels: tuple[_Level, ...]


def component_svn(tcb: ComponentTcb) -> int:
    """Return the security version of a quoting enclave or TDX module at a level."""
    return _COMPONENT_LEVELS.get(tcb, _BELOW)


def tcb_info(authorities: Authorities, faults: Faults, *, tdx: bool, at: int) -> bytes:
    """Make TCB Info of a day, signed."""
    begins, ends = faults.dates("tcb_info", begins=at - at % DAY, life=LIST_LIFE, at=at)
    signer = _Module(mrsigner="00" * 48, attributes="00" * 8, attributes_mask="FF" * 8)
    module = msgspec.structs.replace(
        signer, id=f"TDX_{MODULE_VERSION:02X}", tcb_levels=_component_levels(authorities)
    )
    levels = [
        _Level(_tcb(svn, tdx=tdx), _level_date(authorities, age), status)
        for svn, status, age in _LEVELS.values()
    ]
    made = _TcbInfo(
        id="TDX" if tdx else "SGX",
        version=3,
        issue_date=_time(begins),
        next_update=_time(ends),
        fmspc=_FMSPC.hex().upper(),
        pce_id=_PCEID,
        tcb_type=0,
        tcb_evaluation_data_number=_EVALUATION,
        tdx_module=signer if tdx else None,
        tdx_module_identities=(module,) if tdx else (),
        tcb_levels=tuple(levels),
    )
    return _signed(authorities, "tcb_info", "tcbInfo", made)


def qe_identity(authorities: Authorities, faults: Faults, *, name: str, product: int, at: int) -> bytes:
    """Make the identity of a quoting enclave of a day, signed.

    Args:
        authorities: Who signs.
        faults: What is wrong with it.
        name: ``QE`` or ``TD_QE``.
        product: Its ISVPRODID.
        at: Now, Unix seconds.
    """
    begins, ends = faults.dates("qe_identity", begins=at - at % DAY, life=LIST_LIFE, at=at)
    made = _Identity(
        id=name,
        version=2,
        issue_date=_time(begins),
        next_update=_time(ends),
        tcb_evaluation_data_number=_EVALUATION,
        miscselect="00000000",
        miscselect_mask="FFFFFFFF",
        attributes="11" + "00" * 15,
        attributes_mask="FBFFFFFFFFFFFFFF" + "00" * 8,
        mrsigner=QE_SIGNER.hex().upper(),
        isvprodid=product,
        tcb_levels=_component_levels(authorities),
    )
    return _signed(authorities, "qe_identity", "enclaveIdentity", made)


def sgx_extension(faults: Faults, *, seed: bytes) -> bytes:
    """Encode what Intel certifies about a processor, DER.

    Args:
        faults: Its level, model and configuration.
        seed: What tells it from others.
    """
    svn = _LEVELS[faults.tcb][0] if faults.tcb != "not_supported" else _BELOW
    svns = [svn] * _COMPONENTS
    tcb = [
        _pair((2, number), _element(2, bytes([value]))) for number, value in enumerate([*svns, _PCESVN], 1)
    ]
    flags = [
        _pair((7, number), _element(1, b"\xff" if flag else b"\0"))
        for number, flag in enumerate((faults.dynamic_platform, faults.cached_keys, faults.smt), 1)
    ]
    fields = (
        _octets(1, hashlib.sha256(b"nacre PPID\0" + seed).digest()[:16]),
        _pair((2,), _element(0x30, b"".join((*tcb, _pair((2, 18), _element(4, bytes(svns))))))),
        _octets(3, bytes.fromhex(_PCEID)),
        _octets(4, _OTHER_FMSPC if faults.other_fmspc else _FMSPC),
        _pair((5,), _element(0x0A, b"\1")),
        _octets(6, hashlib.sha256(b"nacre instance\0" + seed).digest()[:16]),
        _pair((7,), _element(0x30, b"".join(flags))),
    )
    return _element(0x30, b"".join(fields))


def _tcb(svn: int, *, tdx: bool) -> _Tcb:
    sgx = (_Component(svn, "BIOS", "Early Microcode Update"), *(_Component(svn),) * (_COMPONENTS - 1))
    # The module's own levels judge the first two, and the third is judged with the machine.
    module = (_Component(0, "OS/VMM", "TDX Module"),) * 2 + (_Component(0),) * (_COMPONENTS - 2)
    return _Tcb(sgx, _PCESVN, module if tdx else ())


def _component_levels(authorities: Authorities) -> tuple[_Level, ...]:
    statuses = (_S.UP_TO_DATE, _S.OUT_OF_DATE, _S.REVOKED)
    return tuple(
        _Level(_Isvsvn(svn), _level_date(authorities, age), status)
        for age, (svn, status) in enumerate(zip(_COMPONENT_LEVELS.values(), statuses, strict=True))
    )


def _level_date(authorities: Authorities, age: int) -> dt.datetime:
    begins = authorities.begins - authorities.begins % DAY
    return _time(begins - age * _BETWEEN_LEVELS)


def _signed(authorities: Authorities, role: str, member: str, made: msgspec.Struct) -> bytes:
    text = msgspec.json.encode(made)
    signature = authorities.sign("tcb", text, what=role).hex()
    return f'{{"{member}":'.encode() + text + f',"signature":"{signature}"}}'.encode()


def _time(seconds: int) -> dt.datetime:
    return dt.datetime.fromtimestamp(seconds, dt.UTC)


def _octets(number: int, value: bytes) -> bytes:
    return _pair((number,), _element(4, value))


def _pair(path: Sequence[int], value: bytes) -> bytes:
    """Encode a field: its OID below Intel's, and its value."""
    return _element(0x30, _element(6, SGX_EXTENSION + bytes(path)) + value)


def _element(tag: int, content: bytes) -> bytes:
    size = len(content)
    if size < 0x80:  # noqa: PLR2004 (the short form of DER)
        return bytes((tag, size)) + content
    length = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes((tag, 0x80 | len(length))) + length + content
