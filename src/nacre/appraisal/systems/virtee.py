# SPDX-License-Identifier: Apache-2.0
"""Reports of SEV-SNP as virtee's sev crate writes them into JSON, back to the bytes that AMD signed.

Byte strings are arrays of numbers there. Security versions are taken apart by name; where the firmware's own
(``fmc``) is stated, the report is of Turin, which orders them in another way.

Source: virtee/sev, ``src/firmware/guest/types/snp.rs``; its JSON as Confidential Containers ship it.
"""

from collections.abc import Mapping
from typing import Annotated, Final

import msgspec

from nacre.errors import MalformedEvidence
from nacre.platforms.snp.report import LAYOUT

__all__ = ["Certificate", "Report", "certificates", "report"]

_WHAT: Final = "SEV-SNP report in JSON"
_KINDS: Final = {"VCEK": "vek", "VLEK": "vek", "ASK": "ask", "ARK": "ark", "CRL": "crl"}
_MAX_CERTIFICATE: Final = 1 << 14
#: What the crate calls by another name.
_NAMES: Final = {
    "signature_algo": "sig_algo",
    "platform_info": "plat_info",
    "signer_info": "key_info",
    "cpuid_family": "cpuid_fam_id",
    "cpuid_model": "cpuid_mod_id",
    "cpuid_stepping": "cpuid_step",
}
_NUMBERS: Final = ("build", "minor", "major")
_SIGNATURE: Final = ("r", "s")

_U8 = Annotated[int, msgspec.Meta(ge=0, lt=1 << 8)]
_U32 = Annotated[int, msgspec.Meta(ge=0, lt=1 << 32)]
_U64 = Annotated[int, msgspec.Meta(ge=0)]
_Bytes = Annotated[tuple[_U8, ...], msgspec.Meta(max_length=_MAX_CERTIFICATE)]


class _Tcb(msgspec.Struct, forbid_unknown_fields=True):
    bootloader: _U8
    tee: _U8
    snp: _U8
    microcode: _U8
    fmc: _U8 | None = None

    def packed(self) -> bytes:
        """Return the eight bytes as they stand in a report."""
        if self.fmc is None:
            return bytes((self.bootloader, self.tee, 0, 0, 0, 0, self.snp, self.microcode))
        return bytes((self.fmc, self.bootloader, self.tee, self.snp, 0, 0, 0, self.microcode))


class _Version(msgspec.Struct, forbid_unknown_fields=True):
    major: _U8
    minor: _U8
    build: _U8


class _Signature(msgspec.Struct, forbid_unknown_fields=True):
    r: _Bytes
    s: _Bytes


class Report(msgspec.Struct, forbid_unknown_fields=True):
    """A report as the crate names its fields."""

    version: _U32
    guest_svn: _U32
    policy: _U64
    family_id: _Bytes
    image_id: _Bytes
    vmpl: _U32
    sig_algo: _U32
    current_tcb: _Tcb
    plat_info: _U64
    key_info: _U32
    report_data: _Bytes
    measurement: _Bytes
    host_data: _Bytes
    id_key_digest: _Bytes
    author_key_digest: _Bytes
    report_id: _Bytes
    report_id_ma: _Bytes
    reported_tcb: _Tcb
    chip_id: _Bytes
    committed_tcb: _Tcb
    current: _Version
    committed: _Version
    launch_tcb: _Tcb
    signature: _Signature
    cpuid_fam_id: _U8 | None = None
    cpuid_mod_id: _U8 | None = None
    cpuid_step: _U8 | None = None
    launch_mit_vector: _U64 | None = None
    current_mit_vector: _U64 | None = None


class Certificate(msgspec.Struct, forbid_unknown_fields=True):
    """An entry of the certificate table that came with a report."""

    cert_type: str | dict[str, str]
    data: _Bytes


def report(written: Report) -> bytes:
    """Put a report together, 1184 bytes.

    Raises:
        MalformedEvidence: ``field-size``: a byte string has another size than in a report.
    """
    values = []
    for name, _, size in LAYOUT.fields:
        value = bytes(size) if name.startswith("reserved") else _value(written, name)
        if isinstance(value, bytes) and len(value) != size:
            raise MalformedEvidence("field-size", what=_WHAT, name=name, expected=size, actual=len(value))
        values.append(value)
    return LAYOUT.packed.pack(*values)


def _value(written: Report, name: str) -> bytes | int:
    """Find a field of the report; a number that the crate does not write is zero."""
    part, _, number = name.rpartition("_")
    if number in _NUMBERS:
        return int(getattr(getattr(written, part), number))
    value = getattr(written.signature if name in _SIGNATURE else written, _NAMES.get(name, name))
    if isinstance(value, _Tcb):
        return value.packed()
    return bytes(value) if isinstance(value, tuple) else int(value or 0)


def certificates(written: tuple[Certificate, ...]) -> Mapping[str, bytes]:
    """Return role to certificate, of the kinds that are a vendor's."""
    return {
        _KINDS[entry.cert_type]: bytes(entry.data)
        for entry in written
        if isinstance(entry.cert_type, str) and entry.cert_type in _KINDS
    }
