# SPDX-License-Identifier: Apache-2.0
"""Azure's wrapper around a hardware report: the HCL report, at NV index 0x01400001 of a guest's vTPM.

On Azure a paravisor (the host compatibility layer, HCL; OpenHCL) runs at VMPL 0 and asks for the report; the
guest reads what the paravisor left in the vTPM. Beside the report are the *runtime data*, JSON with the keys
of the vTPM and some words about the machine, and the report commits to their hash. The report therefore
speaks of the paravisor. What the guest is, only the vTPM can say.

::

    0     "HCLA", version (1, 2), size of everything, request type, status, 12 reserved bytes
    32    1184 bytes: an SNP report, or a TDREPORT (1024) and zeros
    1216  size of what follows, its version, report type, hash type, size of the JSON, the JSON
    …     zeros, up to the size of the NV index

A TDREPORT is authenticated by a key that never leaves its machine, so to anybody else it proves nothing.

Source: Microsoft, "Guest attestation for confidential VMs: design" (attestation report format);
microsoft/openvmm, ``openhcl_attestation_protocol``. Integers are little-endian.
"""

import hashlib
from collections.abc import Iterator, Mapping
from struct import Struct
from typing import Final

import msgspec

from nacre.checks import Check, passed
from nacre.errors import MalformedEvidence, UnsupportedEvidence, VerificationError
from nacre.platforms.base import FieldView
from nacre.trust import json

__all__ = [
    "MAGIC",
    "MAX_HCL",
    "RUNTIME_CHECK",
    "Hcl",
    "Key",
    "Runtime",
    "check_runtime",
    "hcl_views",
    "parse_hcl",
    "wraps_report",
]

MAGIC: Final = b"HCLA"
#: The check that the report commits to the runtime data; made of HCL reports only.
RUNTIME_CHECK: Final = "snp.runtime-data"
#: Larger wrappers are not read. The NV index has 2600 bytes.
MAX_HCL: Final = 64 << 10

_WHAT = "HCL report"
_RUNTIME = "runtime data"
_HEADER = Struct("<4s4I12s")
_REPORT_SIZE = 1184
_DATA = Struct("<5I")
_DATA_AT = _HEADER.size + _REPORT_SIZE
_KIND_AT = _DATA_AT + 8
_RUNTIME_AT = _DATA_AT + _DATA.size
_VERSIONS = (1, 2)
_DATA_VERSION = 1
_SNP, _TDX = 2, 4
_HASHES = {1: "sha256", 2: "sha384", 3: "sha512"}
_DIGESTS = {"sha256": hashlib.sha256, "sha384": hashlib.sha384, "sha512": hashlib.sha512}
_USER_DATA_SIZE = 64

_RUNTIME_PASSED = passed(RUNTIME_CHECK)


class Key(msgspec.Struct, frozen=True):
    """A key of the vTPM, as the runtime data name it; RSA, numbers in base64url."""

    kid: str
    kty: str
    e: str = ""
    n: str = ""
    key_ops: tuple[str, ...] = ()


class Runtime(msgspec.Struct, frozen=True):
    """The runtime data; members beside these are the paravisor's own affair."""

    keys: tuple[Key, ...]
    user_data: str = msgspec.field(default="", name="user-data")
    configuration: Mapping[str, object] = msgspec.field(default_factory=dict, name="vm-configuration")


class Hcl(msgspec.Struct, frozen=True):
    """An HCL report taken apart. Nothing of it is verified.

    Attributes:
        version: 1 or 2.
        request: The request type.
        report: The SNP report, 1184 bytes.
        algorithm: How the report commits to the runtime data: ``sha256``, ``sha384`` or ``sha512``.
        runtime: The runtime data, exactly as they came.
        claims: What they say.
        user_data: 64 bytes that the guest chose and wrote into the vTPM; None if it chose none.
    """

    version: int
    request: int
    report: bytes
    algorithm: str
    runtime: bytes
    claims: Runtime
    user_data: bytes | None

    def digest(self) -> bytes:
        """Return the hash of the runtime data that the report has to begin its report data with."""
        return _DIGESTS[self.algorithm](self.runtime).digest()


def parse_hcl(data: bytes) -> Hcl:
    """Take an HCL report apart.

    Raises:
        MalformedEvidence: ``truncated``, ``too-large``, ``trailing-bytes``, ``hcl-…``, or what is wrong with
            the JSON: two members of one name, for one.
        UnsupportedEvidence: ``hcl-tdreport`` for a TDX guest's, ``hcl-report-type`` for any other.
    """
    if len(data) > MAX_HCL:
        raise MalformedEvidence("too-large", what=_WHAT, expected=MAX_HCL, actual=len(data))
    if len(data) < _RUNTIME_AT:
        raise MalformedEvidence("truncated", what=_WHAT, expected=_RUNTIME_AT, actual=len(data), offset=0)
    magic, version, size, request, _, reserved = _HEADER.unpack_from(data)
    data_size, data_version, kind, hashed, length = _DATA.unpack_from(data, _DATA_AT)
    if magic != MAGIC or version not in _VERSIONS or data_version != _DATA_VERSION:
        raise MalformedEvidence("hcl-version", actual=f"{magic!r} {version}, {data_version}")
    if kind == _TDX:
        raise UnsupportedEvidence("hcl-tdreport")
    if kind != _SNP:
        raise UnsupportedEvidence("hcl-report-type", actual=kind, expected=_SNP)
    if hashed not in _HASHES:
        raise MalformedEvidence("hcl-hash-type", actual=hashed, expected=tuple(map(str, _HASHES)))
    end = _RUNTIME_AT + length
    if data_size != _DATA.size + length or size != end or end > len(data):
        raise MalformedEvidence("hcl-sizes", actual=f"{size}, {data_size}, {length}", expected=len(data))
    if reserved.strip(b"\0") or data[end:].strip(b"\0"):
        raise MalformedEvidence("trailing-bytes", what=_WHAT, actual=len(data) - end, offset=end)
    runtime = data[_RUNTIME_AT:end]
    claims = json.decode(runtime, Runtime, what=_RUNTIME, limit=MAX_HCL)
    names = [key.kid for key in claims.keys]
    if len(set(names)) < len(names):
        raise MalformedEvidence("hcl-key-twice", actual=tuple(names))
    return Hcl(
        version,
        request,
        data[_HEADER.size : _DATA_AT],
        _HASHES[hashed],
        runtime,
        claims,
        _user_data(claims.user_data),
    )


def wraps_report(data: bytes) -> bool:
    """Tell whether there is an SNP report in a wrapper, well-formed or not; there may be a TDREPORT."""
    kind = data[_KIND_AT : _KIND_AT + 4]
    return int.from_bytes(kind, "little") == _SNP


def check_runtime(hcl: Hcl, report_data: bytes) -> Check:
    """Check that the report commits to the runtime data: its report data is their hash, then zeros.

    Worth something only once the report's signature held.

    Args:
        hcl: The wrapper.
        report_data: Of the report in it, 64 bytes.

    Raises:
        VerificationError: ``hcl-runtime-data``.
    """
    commits = hcl.digest().ljust(len(report_data), b"\0")
    if report_data != commits:
        raise VerificationError(
            "hcl-runtime-data", check=RUNTIME_CHECK, what=hcl.algorithm, expected=commits, actual=report_data
        )
    return _RUNTIME_PASSED


def hcl_views(hcl: Hcl) -> Iterator[FieldView]:
    """List the fields of the wrapper, for inspection; those of the report are the report's."""
    yield FieldView("hcl.version", 4, 4, str(hcl.version))
    yield FieldView("hcl.request_type", 12, 4, str(hcl.request))
    yield FieldView(
        "hcl.report", _HEADER.size, _REPORT_SIZE, "an SNP report", ("asked for by the paravisor",)
    )
    yield FieldView("hcl.hash_type", _DATA_AT + 12, 4, hcl.algorithm)
    yield FieldView("hcl.runtime", _RUNTIME_AT, len(hcl.runtime), hcl.runtime.decode())
    yield FieldView("hcl.runtime.digest", None, None, hcl.digest().hex(), ("report data have to begin so",))
    for key in hcl.claims.keys:
        yield FieldView(f"hcl.runtime.{key.kid}", None, None, f"{key.kty} {key.n}", key.key_ops)
    for name, value in hcl.claims.configuration.items():
        yield FieldView(f"hcl.runtime.{name}", None, None, msgspec.json.encode(value).decode())
    if hcl.user_data is not None:
        yield FieldView("hcl.runtime.user-data", None, None, hcl.user_data.hex(), ("chosen by the guest",))


def _user_data(text: str) -> bytes | None:
    if not text:
        return None
    try:
        value = bytes.fromhex(text)
    except ValueError:
        value = b""
    if len(value) != _USER_DATA_SIZE or len(text) != 2 * _USER_DATA_SIZE:
        raise MalformedEvidence("hcl-user-data", actual=text[:64], expected=_USER_DATA_SIZE)
    return value
