# SPDX-License-Identifier: Apache-2.0
"""The attestation report of SEV-SNP: bytes -> frozen record. Pure; knows no trust.

Versions 2 to 5. Integers are little-endian. Source: AMD, SEV Secure Nested Paging Firmware ABI
Specification (publication 56860), ATTESTATION_REPORT.

Not proven here:
    Reports of version 4: no such report is public, so the tests make their own under a root of theirs.
"""

from typing import Final, NoReturn

import msgspec

from nacre.errors import MalformedEvidence, UnsupportedEvidence
from nacre.platforms.layout import Layout

__all__ = [
    "HAS_MITIGATIONS",
    "HAS_PROCESSOR",
    "LAYOUT",
    "REPORT_SIZE",
    "SIGNED_SIZE",
    "VERSIONS",
    "Report",
    "is_report",
    "parse_report",
    "unpack_report",
]

#: Bytes of a report.
REPORT_SIZE: Final = 1184
#: Bytes at its beginning that are signed.
SIGNED_SIZE: Final = 0x2A0
#: The versions that are verified here. Version 1 is of firmware that was never released for use.
VERSIONS: Final = (2, 3, 4, 5)

_ECDSA_P384_SHA384 = 1
_COORDINATE = 48
#: The version from which a report says what processor it is of.
HAS_PROCESSOR: Final = 3
#: The version from which it says what mitigations are in place.
HAS_MITIGATIONS: Final = 5


class Report(msgspec.Struct, frozen=True, gc=False):
    """An attestation report, 1184 bytes.

    The four TCB versions are the eight bytes as they stand in the report: what they mean depends on the
    product line. Fields that a version does not have are zero.

    Attributes:
        version: Version of the report.
        guest_svn: Security version of the guest, from its ID block.
        policy: Guest policy bits.
        family_id: 16 bytes that the ID block chose.
        image_id: 16 bytes that the ID block chose.
        vmpl: Privilege level in the guest that asked for the report; ``0xffffffff`` if the host did.
        signature_algo: 1 for ECDSA P-384 with SHA-384.
        current_tcb: TCB of the firmware that runs.
        platform_info: Platform bits.
        signer_info: Bit 0 AUTHOR_KEY_EN, bit 1 MASK_CHIP_KEY, bits 4:2 SIGNING_KEY.
        reserved_signer: Zero.
        report_data: 64 bytes that the guest chose.
        measurement: Launch digest of the guest, 48 bytes.
        host_data: 32 bytes that the host chose at launch.
        id_key_digest: SHA-384 of the key that signed the ID block, 48 bytes.
        author_key_digest: SHA-384 of the key that signed that key, 48 bytes.
        report_id: Identifier of this guest instance, 32 bytes.
        report_id_ma: Identifier of its migration agent, 32 bytes.
        reported_tcb: The TCB that the signing key was derived for.
        cpuid_family: From version 3: extended plus base family.
        cpuid_model: From version 3: extended and base model.
        cpuid_stepping: From version 3.
        reserved_cpuid: Zero.
        chip_id: Identifier of the chip, 64 bytes; zero if the host masks it.
        committed_tcb: The TCB below which the firmware can not be rolled back.
        current_build: Version of the firmware that runs: build.
        current_minor: Minor.
        current_major: Major.
        reserved_current: Zero.
        committed_build: Version of the firmware that was committed: build.
        committed_minor: Minor.
        committed_major: Major.
        reserved_committed: Zero.
        launch_tcb: The TCB at the guest's launch or import.
        launch_mit_vector: From version 5: mitigations that were in place then.
        current_mit_vector: From version 5: mitigations that are in place now.
        reserved_end: Zero.
        r: R of the signature, 72 bytes, little-endian, zero-extended.
        s: S of the signature, likewise.
        reserved_signature: Zero.
    """

    version: int
    guest_svn: int
    policy: int
    family_id: bytes
    image_id: bytes
    vmpl: int
    signature_algo: int
    current_tcb: bytes
    platform_info: int
    signer_info: int
    reserved_signer: bytes
    report_data: bytes
    measurement: bytes
    host_data: bytes
    id_key_digest: bytes
    author_key_digest: bytes
    report_id: bytes
    report_id_ma: bytes
    reported_tcb: bytes
    cpuid_family: int
    cpuid_model: int
    cpuid_stepping: int
    reserved_cpuid: bytes
    chip_id: bytes
    committed_tcb: bytes
    current_build: int
    current_minor: int
    current_major: int
    reserved_current: bytes
    committed_build: int
    committed_minor: int
    committed_major: int
    reserved_committed: bytes
    launch_tcb: bytes
    launch_mit_vector: int
    current_mit_vector: int
    reserved_end: bytes
    r: bytes
    s: bytes
    reserved_signature: bytes

    @property
    def author_key_en(self) -> bool:
        """Whether the digest of an author's key is in the report."""
        return bool(self.signer_info & 1)

    @property
    def mask_chip_key(self) -> bool:
        """Whether the host forbade the firmware to sign: there is no signature then."""
        return bool(self.signer_info & 2)

    @property
    def signing_key(self) -> int:
        """Which key signed: 0 VCEK, 1 VLEK, 7 none."""
        return self.signer_info >> 2 & 7


LAYOUT = Layout(
    Report,
    "I I Q 16s 16s I I 8s Q I 4s 64s 48s 32s 48s 48s 32s 32s 8s B B B 21s 64s 8s B B B 1s B B B 1s 8s Q Q "
    "152s 72s 72s 368s",
)

_BEGINNINGS = tuple(version.to_bytes(4, "little") for version in VERSIONS)
_RESERVED = tuple(field for field in LAYOUT.fields if field[0].startswith("reserved"))
_CPUID_FIELDS = tuple(field for field in LAYOUT.fields if field[0].startswith("cpuid"))
_MITIGATION_FIELDS = tuple(field for field in LAYOUT.fields if field[0].endswith("mit_vector"))
_SIGNATURE_FIELDS = tuple(
    (name, at + _COORDINATE, size - _COORDINATE) for name, at, size in LAYOUT.fields[-3:-1]
)


def _zero_fields(version: int) -> tuple[tuple[str, int, int], ...]:
    """Name, offset and size of everything that has to be zero in a version."""
    fields = _RESERVED + _SIGNATURE_FIELDS
    if version < HAS_PROCESSOR:
        fields += _CPUID_FIELDS
    if version < HAS_MITIGATIONS:
        fields += _MITIGATION_FIELDS
    return fields


_ZERO_FIELDS = {version: _zero_fields(version) for version in VERSIONS}
#: The same as one mask each, so that the usual report costs one comparison.
_ZERO_MASKS = {
    version: int.from_bytes(
        bytes(255 * any(at <= place < at + size for _, at, size in fields) for place in range(REPORT_SIZE)),
        "little",
    )
    for version, fields in _ZERO_FIELDS.items()
}


def is_report(data: bytes) -> bool:
    """Tell whether ``data`` looks like a report: by its version, or if that is another one by its size."""
    return data[:4] in _BEGINNINGS or (len(data) == REPORT_SIZE and data[1:4] == b"\0\0\0")


def parse_report(data: bytes) -> Report:
    """Decode a report.

    Args:
        data: Exactly 1184 bytes.

    Raises:
        MalformedEvidence: ``snp-report-size``, or ``snp-reserved``: reserved bytes are not zero, which a
            firmware that knows more than this reader could mean something by.
        UnsupportedEvidence: ``snp-report-version`` or ``snp-signature-algorithm``.
    """
    report = unpack_report(data)
    if report.version not in VERSIONS:
        raise UnsupportedEvidence("snp-report-version", actual=report.version, expected="2 to 5")
    if report.signature_algo != _ECDSA_P384_SHA384:
        raise UnsupportedEvidence(
            "snp-signature-algorithm", actual=report.signature_algo, expected=_ECDSA_P384_SHA384
        )
    if int.from_bytes(data, "little") & _ZERO_MASKS[report.version]:
        _refuse_reserved(data, report.version)
    return report


def unpack_report(data: bytes) -> Report:
    """Read the fields of a report as they stand there, whatever they are; for inspection.

    Raises:
        MalformedEvidence: ``snp-report-size``.
    """
    if len(data) != REPORT_SIZE:
        raise MalformedEvidence("snp-report-size", actual=len(data), expected=REPORT_SIZE)
    return Report(*LAYOUT.packed.unpack(data))


def _refuse_reserved(data: bytes, version: int) -> NoReturn:
    name, at, size = next(
        field for field in _ZERO_FIELDS[version] if any(data[field[1] : field[1] + field[2]])
    )
    raise MalformedEvidence("snp-reserved", name=name, actual=data[at : at + size][:32], offset=at)
