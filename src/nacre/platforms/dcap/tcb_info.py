# SPDX-License-Identifier: Apache-2.0
"""Intel's signed documents: TCB Info (v2, v3) and enclave identity (v2), decoded.

Source: Intel PCS API v4 (and v3 for TCB Info v2), "Get TCB Info" and "Get Quoting Enclave Identity".
Decoding proves nothing: the signature over the exact bytes is checked in ``verify.py``.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Literal, cast

import msgspec

from nacre.errors import MalformedEvidence
from nacre.trust.json import convert, decode_known, signed_member, signed_parts
from nacre.trust.times import parse_rfc3339

__all__ = [
    "COMPONENTS",
    "Component",
    "EnclaveIdentity",
    "ModuleIdentity",
    "SvnLevel",
    "Tcb",
    "TcbInfo",
    "TcbLevel",
    "TcbStatus",
    "parse_identity",
    "parse_tcb_info",
]

COMPONENTS = 16
_HASH_SIZE = 48
_SGX_SIGNER_SIZE = 32
_DOCUMENT_LIMIT = 256 * 1024

_Svn = Annotated[int, msgspec.Meta(ge=0, le=0xFFFF)]
_Number = Annotated[int, msgspec.Meta(ge=0, le=1 << 31)]
_Date = Annotated[datetime, msgspec.Meta(tz=True)]
_Advisories = Annotated[tuple[str, ...], msgspec.Meta(max_length=256)]
_PlatformStatus = Literal[
    "UpToDate",
    "SWHardeningNeeded",
    "ConfigurationNeeded",
    "ConfigurationAndSWHardeningNeeded",
    "OutOfDate",
    "OutOfDateConfigurationNeeded",
    "Revoked",
]
_ComponentStatus = Literal["UpToDate", "OutOfDate", "Revoked"]


class TcbStatus:
    """The statuses that Intel's documents and their evaluation can give."""

    UP_TO_DATE = "UpToDate"
    SW_HARDENING = "SWHardeningNeeded"
    CONFIGURATION = "ConfigurationNeeded"
    CONFIGURATION_AND_SW_HARDENING = "ConfigurationAndSWHardeningNeeded"
    OUT_OF_DATE = "OutOfDate"
    OUT_OF_DATE_CONFIGURATION = "OutOfDateConfigurationNeeded"
    REVOKED = "Revoked"
    RELAUNCH = "TDRelaunchAdvised"
    RELAUNCH_CONFIGURATION = "TDRelaunchAdvisedConfigurationNeeded"
    NOT_SUPPORTED = "NotSupported"

    ALL = frozenset(
        {
            UP_TO_DATE,
            SW_HARDENING,
            CONFIGURATION,
            CONFIGURATION_AND_SW_HARDENING,
            OUT_OF_DATE,
            OUT_OF_DATE_CONFIGURATION,
            REVOKED,
            RELAUNCH,
            RELAUNCH_CONFIGURATION,
            NOT_SUPPORTED,
        }
    )


class Component(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """One component of a TCB level, with Intel's words for what it is and who updates it."""

    svn: Annotated[int, msgspec.Meta(ge=0, le=255)]
    category: str = ""
    type: str = ""


_Components = Annotated[tuple[Component, ...], msgspec.Meta(min_length=COMPONENTS, max_length=COMPONENTS)]


class Tcb(
    msgspec.Struct,
    frozen=True,
    gc=False,
    omit_defaults=True,
    rename={"sgx": "sgxtcbcomponents", "tdx": "tdxtcbcomponents"},
):
    """What a platform has to reach for a level: SGX components, PCESVN and, for TDX, its components."""

    sgx: _Components
    pcesvn: _Svn
    tdx: _Components | None = None


class TcbLevel(
    msgspec.Struct,
    frozen=True,
    gc=False,
    omit_defaults=True,
    rename={"status": "tcbStatus", "date": "tcbDate", "advisories": "advisoryIDs"},
):
    """One level of TCB Info: what to reach, what that is called, since when, which advisories apply."""

    tcb: Tcb
    status: _PlatformStatus
    date: _Date
    advisories: _Advisories = ()


class _Isvsvn(msgspec.Struct, frozen=True, gc=False):
    isvsvn: _Svn


class SvnLevel(
    msgspec.Struct,
    frozen=True,
    gc=False,
    omit_defaults=True,
    rename={"status": "tcbStatus", "date": "tcbDate", "advisories": "advisoryIDs"},
):
    """One level of an enclave or a TDX module: an ISVSVN to reach."""

    tcb: _Isvsvn
    status: _ComponentStatus
    date: _Date
    advisories: _Advisories = ()

    @property
    def isvsvn(self) -> int:
        """The ISVSVN to reach."""
        return self.tcb.isvsvn


_SvnLevels = Annotated[tuple[SvnLevel, ...], msgspec.Meta(max_length=256)]


class ModuleIdentity(msgspec.Struct, frozen=True):
    """What a TDX module has to be: signer (48 bytes), attributes and mask (8 bytes each), levels."""

    id: str
    mrsigner: bytes
    attributes: bytes
    mask: bytes
    levels: tuple[SvnLevel, ...]


class TcbInfo(msgspec.Struct, frozen=True):
    """Decoded TCB Info.

    Attributes:
        signed: The exact bytes of the ``tcbInfo`` object, which the signature covers.
        signature: r ‖ s, 64 bytes big-endian.
        id: ``SGX`` or ``TDX``.
        issued: ``issueDate``, Unix seconds.
        next_update: ``nextUpdate``, Unix seconds.
        fmspc: 6 bytes.
        pceid: 2 bytes, in the order in which the hex is written.
        number: ``tcbEvaluationDataNumber``.
        module: The base identity of the TDX module (major version 0); None for SGX.
        modules: Identities of later module versions, by upper-case id (``TDX_01``).
        levels: Descending.
    """

    signed: bytes
    signature: bytes
    id: str
    issued: int
    next_update: int
    fmspc: bytes
    pceid: bytes
    number: int
    module: ModuleIdentity | None
    modules: Mapping[str, ModuleIdentity]
    levels: tuple[TcbLevel, ...]


class EnclaveIdentity(msgspec.Struct, frozen=True):
    """Decoded identity of a quoting enclave; sizes: miscselect 4, attributes 16, mrsigner 32 bytes."""

    signed: bytes
    signature: bytes
    id: str
    issued: int
    next_update: int
    number: int
    miscselect: bytes
    miscselect_mask: bytes
    attributes: bytes
    attributes_mask: bytes
    mrsigner: bytes
    isvprodid: int
    levels: tuple[SvnLevel, ...]


class _Module(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    mrsigner: str
    attributes: str
    attributesMask: str  # noqa: N815 (Intel's name)
    id: str = ""
    tcbLevels: _SvnLevels = ()  # noqa: N815

    def identity(self) -> ModuleIdentity:
        return ModuleIdentity(
            self.id.upper(),
            _hexadecimal(self.mrsigner, _HASH_SIZE, "mrsigner"),
            _hexadecimal(self.attributes, 8, "attributes"),
            _hexadecimal(self.attributesMask, 8, "attributesMask"),
            self.tcbLevels,
        )


class _TcbInfo(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    version: Literal[2, 3]
    issue_date: str
    next_update: str
    fmspc: str
    pce_id: str
    tcb_type: Literal[0]
    tcb_evaluation_data_number: _Number
    tcb_levels: Annotated[tuple[TcbLevel, ...], msgspec.Meta(max_length=256)]
    id: Literal["SGX", "TDX"] | None = None
    tdx_module: _Module | None = None
    tdx_module_identities: Annotated[tuple[_Module, ...], msgspec.Meta(max_length=64)] = ()


class _Identity(msgspec.Struct, frozen=True, omit_defaults=True):
    id: str
    version: Literal[2]
    issueDate: str  # noqa: N815 (Intel's names)
    nextUpdate: str  # noqa: N815
    tcbEvaluationDataNumber: _Number  # noqa: N815
    miscselect: str
    miscselectMask: str  # noqa: N815
    attributes: str
    attributesMask: str  # noqa: N815
    mrsigner: str
    isvprodid: _Svn
    tcbLevels: _SvnLevels  # noqa: N815


_TCB_INFO = msgspec.json.Decoder(_TcbInfo)
_IDENTITY = msgspec.json.Decoder(_Identity)


def parse_tcb_info(data: bytes) -> TcbInfo:
    """Decode a PCS answer ``{"tcbInfo": …, "signature": …}``.

    Raises:
        MalformedEvidence: It is not strict JSON of this form, or a member is missing or out of range.
    """
    what = "TCB Info"
    signed, signature = signed_parts(data, "tcbInfo", what=what, limit=_DOCUMENT_LIMIT)
    info = decode_known(signed, _TCB_INFO)
    if info is None or info.version == 2:  # noqa: PLR2004
        info = _tcb_info(data, what)
    kind = info.id or ("SGX" if info.version == 2 else "")  # noqa: PLR2004
    tdx = kind == "TDX"
    if not kind or tdx != (info.tdx_module is not None):
        raise MalformedEvidence("document-member", path="tcbInfo", expected="id and tdxModule", actual=kind)
    if tdx and not all(level.tcb.tdx for level in info.tcb_levels):
        raise MalformedEvidence("tcb-components", what=what, expected=COMPONENTS, actual=0)
    modules = {module.id: module for module in [given.identity() for given in info.tdx_module_identities]}
    if len(modules) != len(info.tdx_module_identities):
        raise MalformedEvidence(
            "document-member", path="tdxModuleIdentities", expected="each id once", actual=tuple(modules)
        )
    return TcbInfo(
        signed,
        signature,
        kind,
        parse_rfc3339(info.issue_date, what=what),
        parse_rfc3339(info.next_update, what=what),
        _hexadecimal(info.fmspc, 6, "fmspc"),
        _hexadecimal(info.pce_id, 2, "pceId"),
        info.tcb_evaluation_data_number,
        info.tdx_module.identity() if info.tdx_module else None,
        modules,
        info.tcb_levels,
    )


def _tcb_info(data: bytes, what: str) -> _TcbInfo:
    """Decode TCB Info of version 2, with members that are new to us, or with something wrong."""
    value = signed_member(data, "tcbInfo", what=what, limit=_DOCUMENT_LIMIT).value
    return convert(_nested(value, what) if value.get("version") == 2 else value, _TcbInfo, what=what)  # noqa: PLR2004


def _nested(info: dict[str, object], what: str) -> dict[str, object]:
    """Give TCB Info v2, which lists the components flat, the form of v3."""
    try:
        levels = [
            level
            | {
                "tcb": {
                    "sgxtcbcomponents": [
                        {"svn": level["tcb"][f"sgxtcbcomp{number:02d}svn"]}
                        for number in range(1, COMPONENTS + 1)
                    ],
                    "pcesvn": level["tcb"]["pcesvn"],
                }
            }
            for level in cast("list[dict[str, dict[str, object]]]", info["tcbLevels"])
        ]
    except (KeyError, TypeError):
        raise MalformedEvidence("tcb-components", what=what, expected=COMPONENTS, actual="fewer") from None
    return info | {"tcbLevels": levels, "id": "SGX"}


def parse_identity(data: bytes) -> EnclaveIdentity:
    """Decode a PCS answer ``{"enclaveIdentity": …, "signature": …}``.

    Raises:
        MalformedEvidence: It is not strict JSON of this form, or a member is missing or out of range.
    """
    what = "enclave identity"
    signed, signature = signed_parts(data, "enclaveIdentity", what=what, limit=_DOCUMENT_LIMIT)
    identity = decode_known(signed, _IDENTITY)
    if identity is None:
        value = signed_member(data, "enclaveIdentity", what=what, limit=_DOCUMENT_LIMIT).value
        identity = convert(value, _Identity, what=what)
    return EnclaveIdentity(
        signed,
        signature,
        identity.id,
        parse_rfc3339(identity.issueDate, what=what),
        parse_rfc3339(identity.nextUpdate, what=what),
        identity.tcbEvaluationDataNumber,
        # Written as a big-endian number; reports hold it little-endian.
        _hexadecimal(identity.miscselect, 4, "miscselect")[::-1],
        _hexadecimal(identity.miscselectMask, 4, "miscselectMask")[::-1],
        _hexadecimal(identity.attributes, 16, "attributes"),
        _hexadecimal(identity.attributesMask, 16, "attributesMask"),
        _hexadecimal(identity.mrsigner, _SGX_SIGNER_SIZE, "mrsigner"),
        identity.isvprodid,
        identity.tcbLevels,
    )


def _hexadecimal(text: str, size: int, path: str) -> bytes:
    try:
        value = bytes.fromhex(text)
    except ValueError:
        value = b""
    if len(value) != size or len(text) != 2 * size:
        raise MalformedEvidence(
            "document-member", path=path, expected=f"{size} bytes in hex", actual=text[:100]
        )
    return value
