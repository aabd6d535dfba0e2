# SPDX-License-Identifier: Apache-2.0
"""Intel's signed documents: TCB Info (v2, v3) and enclave identity (v2), decoded.

Source: Intel PCS API v4 (and v3 for TCB Info v2), "Get TCB Info" and "Get Quoting Enclave Identity".
Decoding proves nothing: the signature over the exact bytes is checked in ``verify.py``.
"""

from collections.abc import Mapping
from typing import TypeVar, cast

import msgspec

from nacre.errors import MalformedEvidence
from nacre.trust.json import signed_member
from nacre.trust.times import parse_rfc3339

__all__ = [
    "COMPONENTS",
    "EnclaveIdentity",
    "ModuleIdentity",
    "SvnLevel",
    "TcbInfo",
    "TcbLevel",
    "TcbStatus",
    "parse_identity",
    "parse_tcb_info",
]

COMPONENTS = 16
_MAX_LEVELS = 256
_MAX_MODULES = 64
_MAX_ADVISORIES = 256
_HASH_SIZE = 48
_SGX_SIGNER_SIZE = 32
_DOCUMENT_LIMIT = 256 * 1024

T = TypeVar("T")


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

    PLATFORM = frozenset(
        {
            UP_TO_DATE,
            SW_HARDENING,
            CONFIGURATION,
            CONFIGURATION_AND_SW_HARDENING,
            OUT_OF_DATE,
            OUT_OF_DATE_CONFIGURATION,
            REVOKED,
        }
    )
    COMPONENT = frozenset({UP_TO_DATE, OUT_OF_DATE, REVOKED})
    ALL = PLATFORM | {RELAUNCH, RELAUNCH_CONFIGURATION, NOT_SUPPORTED}


class TcbLevel(msgspec.Struct, frozen=True):
    """One level of TCB Info.

    Attributes:
        sgx: Sixteen SVNs, one byte each, that the PCK certificate has to reach.
        pcesvn: The PCESVN it has to reach.
        tdx: Sixteen SVNs that TEE_TCB_SVN has to reach; empty for SGX.
        status: A platform status.
        date: The level's date, Unix seconds.
        advisories: Security advisories that apply at this level.
    """

    sgx: bytes
    pcesvn: int
    tdx: bytes
    status: str
    date: int
    advisories: tuple[str, ...]


class SvnLevel(msgspec.Struct, frozen=True):
    """One level of an enclave or a TDX module: an ISVSVN to reach."""

    isvsvn: int
    status: str
    date: int
    advisories: tuple[str, ...]


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
        names: What each component is, as far as Intel says: SGX components, then TDX components.
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
    names: tuple[tuple[str, str], ...]


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


class _Object:
    """A JSON object whose members are read with their types; every refusal names the member."""

    __slots__ = ("_members", "_path")

    def __init__(self, value: object, path: str) -> None:
        if not isinstance(value, dict):
            raise MalformedEvidence("document-member", path=path, expected="an object", actual=_kind(value))
        self._members = cast("dict[str, object]", value)
        self._path = path

    def has(self, name: str) -> bool:
        return name in self._members

    def _get(self, name: str, kind: type[T]) -> T:
        value = self._members.get(name)
        if type(value) is not kind:
            raise MalformedEvidence(
                "document-member", path=f"{self._path}.{name}", expected=kind.__name__, actual=_kind(value)
            )
        return cast("T", value)

    def text(self, name: str) -> str:
        return self._get(name, str)

    def number(self, name: str, limit: int) -> int:
        value = self._get(name, int)
        if not 0 <= value <= limit:
            raise MalformedEvidence(
                "document-member", path=f"{self._path}.{name}", expected=f"0 to {limit}", actual=value
            )
        return value

    def hexadecimal(self, name: str, size: int) -> bytes:
        text = self.text(name)
        try:
            value = bytes.fromhex(text)
        except ValueError:
            value = b""
        if len(value) != size or len(text) != 2 * size:
            raise MalformedEvidence(
                "document-member", path=f"{self._path}.{name}", expected=f"{size} bytes in hex", actual=text[:80]
            )
        return value

    def time(self, name: str) -> int:
        return parse_rfc3339(self.text(name), what=f"{self._path}.{name}")

    def object(self, name: str) -> "_Object":
        return _Object(self._members.get(name), f"{self._path}.{name}")

    def objects(self, name: str, limit: int) -> "list[_Object]":
        values = self._get(name, list)
        if len(values) > limit:
            raise MalformedEvidence(
                "too-many", what=f"{self._path}.{name}", expected=limit, actual=len(values)
            )
        path = f"{self._path}.{name}"
        return [_Object(value, path) for value in values]

    def values(self, name: str) -> list[object]:
        return self._get(name, list)

    def status(self, known: frozenset[str]) -> str:
        text = self.text("tcbStatus")
        if text not in known:
            raise MalformedEvidence("tcb-status-unknown", path=self._path, actual=text)
        return text

    def advisories(self) -> tuple[str, ...]:
        if "advisoryIDs" not in self._members:
            return ()
        values = self._get("advisoryIDs", list)
        if len(values) > _MAX_ADVISORIES or not all(isinstance(value, str) for value in values):
            raise MalformedEvidence(
                "document-member", path=f"{self._path}.advisoryIDs", expected="advisory ids", actual=len(values)
            )
        return tuple(values)


def _kind(value: object) -> str:
    return "nothing" if value is None else type(value).__name__


def parse_tcb_info(data: bytes) -> TcbInfo:
    """Decode a PCS answer ``{"tcbInfo": …, "signature": …}``.

    Raises:
        MalformedEvidence: It is not strict JSON of this form, or a member is missing or out of range.
    """
    signed, signature, value = signed_member(data, "tcbInfo", what="TCB Info", limit=_DOCUMENT_LIMIT)
    info = _Object(value, "tcbInfo")
    version = info.number("version", 1 << 16)
    if version not in (2, 3):
        raise MalformedEvidence("document-version", what="TCB Info", actual=version, expected=("2", "3"))
    kind = info.text("id") if version == 3 else "SGX"  # noqa: PLR2004
    if kind not in ("SGX", "TDX"):
        raise MalformedEvidence("document-member", path="tcbInfo.id", expected="SGX or TDX", actual=kind)
    if info.number("tcbType", 255) != 0:
        raise MalformedEvidence("document-member", path="tcbInfo.tcbType", expected=0, actual="another type")
    tdx = kind == "TDX"
    levels = info.objects("tcbLevels", _MAX_LEVELS)
    read_level = _level_v2 if version == 2 else _level_v3  # noqa: PLR2004
    return TcbInfo(
        signed,
        signature,
        kind,
        info.time("issueDate"),
        info.time("nextUpdate"),
        info.hexadecimal("fmspc", 6),
        info.hexadecimal("pceId", 2),
        info.number("tcbEvaluationDataNumber", 1 << 31),
        _module(info.object("tdxModule"), "", ()) if tdx else None,
        _modules(info) if tdx else {},
        tuple([read_level(level, tdx=tdx) for level in levels]),
        _names(levels[0], tdx=tdx) if levels and version == 3 else (),  # noqa: PLR2004
    )


def _level_v3(level: _Object, *, tdx: bool) -> TcbLevel:
    tcb = level.object("tcb")
    return TcbLevel(
        _svns(tcb.values("sgxtcbcomponents"), "sgxtcbcomponents"),
        tcb.number("pcesvn", 0xFFFF),
        _svns(tcb.values("tdxtcbcomponents"), "tdxtcbcomponents") if tdx else b"",
        level.status(TcbStatus.PLATFORM),
        level.time("tcbDate"),
        level.advisories(),
    )


def _level_v2(level: _Object, *, tdx: bool) -> TcbLevel:
    del tdx  # version 2 is of a time before TDX
    tcb = level.object("tcb")
    svns = bytes([tcb.number(f"sgxtcbcomp{index:02d}svn", 255) for index in range(1, COMPONENTS + 1)])
    return TcbLevel(
        svns,
        tcb.number("pcesvn", 0xFFFF),
        b"",
        level.status(TcbStatus.PLATFORM),
        level.time("tcbDate"),
        level.advisories(),
    )


def _svns(components: list[object], what: str) -> bytes:
    if len(components) != COMPONENTS:
        raise MalformedEvidence("tcb-components", what=what, expected=COMPONENTS, actual=len(components))
    try:
        return bytes([component["svn"] for component in cast("list[dict[str, int]]", components)])
    except (TypeError, KeyError, ValueError):
        raise MalformedEvidence(
            "document-member", path=what, expected="svn 0 to 255 in each", actual="something else"
        ) from None


def _names(level: _Object, *, tdx: bool) -> tuple[tuple[str, str], ...]:
    tcb = level.object("tcb")
    names = []
    for member in ("sgxtcbcomponents", "tdxtcbcomponents") if tdx else ("sgxtcbcomponents",):
        for component in tcb.values(member):
            fields = cast("dict[str, object]", component)
            names.append((str(fields.get("type", "")), str(fields.get("category", ""))))
    return tuple(names)


def _modules(info: _Object) -> dict[str, ModuleIdentity]:
    if not info.has("tdxModuleIdentities"):
        return {}
    found: dict[str, ModuleIdentity] = {}
    for identity in info.objects("tdxModuleIdentities", _MAX_MODULES):
        name = identity.text("id").upper()
        if name in found:
            raise MalformedEvidence("document-member", path="tdxModuleIdentities", expected="each id once", actual=name)
        found[name] = _module(identity, name, _svn_levels(identity))
    return found


def _module(module: _Object, name: str, levels: tuple[SvnLevel, ...]) -> ModuleIdentity:
    return ModuleIdentity(
        name,
        module.hexadecimal("mrsigner", _HASH_SIZE),
        module.hexadecimal("attributes", 8),
        module.hexadecimal("attributesMask", 8),
        levels,
    )


def _svn_levels(holder: _Object) -> tuple[SvnLevel, ...]:
    return tuple(
        [
            SvnLevel(
                level.object("tcb").number("isvsvn", 0xFFFF),
                level.status(TcbStatus.COMPONENT),
                level.time("tcbDate"),
                level.advisories(),
            )
            for level in holder.objects("tcbLevels", _MAX_LEVELS)
        ]
    )


def parse_identity(data: bytes) -> EnclaveIdentity:
    """Decode a PCS answer ``{"enclaveIdentity": …, "signature": …}``.

    Raises:
        MalformedEvidence: It is not strict JSON of this form, or a member is missing or out of range.
    """
    signed, signature, value = signed_member(
        data, "enclaveIdentity", what="enclave identity", limit=_DOCUMENT_LIMIT
    )
    identity = _Object(value, "enclaveIdentity")
    version = identity.number("version", 1 << 16)
    if version != 2:  # noqa: PLR2004
        raise MalformedEvidence("document-version", what="enclave identity", actual=version, expected=("2",))
    return EnclaveIdentity(
        signed,
        signature,
        identity.text("id"),
        identity.time("issueDate"),
        identity.time("nextUpdate"),
        identity.number("tcbEvaluationDataNumber", 1 << 31),
        # Written as a big-endian number; reports hold it little-endian.
        identity.hexadecimal("miscselect", 4)[::-1],
        identity.hexadecimal("miscselectMask", 4)[::-1],
        identity.hexadecimal("attributes", 16),
        identity.hexadecimal("attributesMask", 16),
        identity.hexadecimal("mrsigner", _SGX_SIGNER_SIZE),
        identity.number("isvprodid", 0xFFFF),
        _svn_levels(identity),
    )
