# SPDX-License-Identifier: Apache-2.0
"""The launch digest of a virtual machine under SEV-SNP, and under SEV and SEV-ES, before any host starts it.

Under SEV-SNP every page that the host puts into the guest is a step: the digest so far, the SHA-384 of the
page, its kind and its address make the next digest. First come the pages of the firmware, then those that its
list of sections asks for, then one for each processor. Under SEV and SEV-ES the digest is one SHA-256 over
the firmware, the table of the kernel's hashes and (under SEV-ES) the processors.

What the firmware's own pages make can be kept (``firmware_digest``): it is nearly all of the work, and the
same whatever the number of processors, the kernel and its command line are.

Not proven here:
    A real host: the digests are those of virtee/sev-snp-measure, which others hold against hardware. To prove
    it: start a machine with ``nacre run`` on a host and compare with its report.

Source: AMD, SEV Secure Nested Paging Firmware ABI Specification (56860), SNP_LAUNCH_UPDATE and the table
"Layout of the PAGE_INFO structure"; AMD, SEV API (55766), LAUNCH_MEASURE; QEMU, ``target/i386/sev.c``.
"""

import hashlib
import struct
from collections.abc import Iterator

import msgspec

from nacre.errors import ConfigurationError
from nacre.platforms.measuring import Measurement, Part
from nacre.platforms.snp.firmware import (
    CPUID,
    HASHES,
    KINDS,
    MEMORY,
    PAGE,
    SECRETS,
    Firmware,
    Section,
)
from nacre.platforms.snp.hashes import Loaded
from nacre.platforms.snp.vmsa import FIRST, HOSTS, state

__all__ = ["MAX_CPUS", "REGISTER", "Launch", "firmware_digest", "measure", "measure_sev"]

#: What releases and reports call it.
REGISTER = "measurement"
#: More processors are not measured; Linux takes no more in one guest.
MAX_CPUS = 8192

_NORMAL, _PROCESSOR, _ZERO, _UNMEASURED, _SECRETS, _CPUID = range(1, 7)
_NOTHING = bytes(48)
# Size of the structure, kind of the page, no migration image, no permissions of lower levels, address.
_INFO = struct.Struct("<HBBBBBBQ")
_INFO_SIZE = 0x70
#: The address under which processors are measured.
_PROCESSORS = 0xFFFFFFFFF000
_SNP = 1


class Launch(msgspec.Struct, frozen=True, kw_only=True):
    """What is decided when a machine starts.

    Attributes:
        cpus: Virtual processors.
        signature: Their CPUID signature, as ``cpus.signature`` gives it; only QEMU has it measured.
        features: SEV_FEATURES, 64 bits. Which bits a host sets depends on its kernel and on QEMU.
        host: ``qemu``, ``ec2`` or ``gce``.
    """

    cpus: int = 1
    signature: int = 0
    features: int = _SNP
    host: str = "qemu"


class _Digest:
    """The digest of the pages so far."""

    __slots__ = ("value",)

    def __init__(self, value: bytes) -> None:
        self.value = value

    def add(self, kind: int, gpa: int, contents: bytes = _NOTHING) -> None:
        """Take one page in; ``contents`` is its SHA-384, or zeros where contents are not measured."""
        info = _INFO.pack(_INFO_SIZE, kind, 0, 0, 0, 0, 0, gpa)
        self.value = hashlib.sha384(self.value + contents + info).digest()


def firmware_digest(firmware: Firmware) -> bytes:
    """Return the launch digest after the firmware's own pages, 48 bytes.

    A page that is the same as the one before, as in the empty parts of firmware, is not hashed again.
    """
    # As _Digest.add, but without a call for each page: this loop is where the time goes.
    data, start, sha384, pack = firmware.data, firmware.gpa, hashlib.sha384, _INFO.pack
    value, last, contents = _NOTHING, b"", _NOTHING
    for offset in range(0, len(data), PAGE):
        page = data[offset : offset + PAGE]
        if page != last:
            last, contents = page, sha384(page).digest()
        info = pack(_INFO_SIZE, _NORMAL, 0, 0, 0, 0, 0, start + offset)
        value = sha384(value + contents + info).digest()
    return value


def measure(
    firmware: Firmware, launch: Launch, *, loaded: Loaded | None = None, start: bytes | None = None
) -> Measurement:
    """Compute the launch digest under SEV-SNP.

    Args:
        firmware: As ``read_firmware`` read it.
        launch: What the host decides.
        loaded: What the host loads; None if the firmware starts from a disk.
        start: What ``firmware_digest`` returned for this firmware; computed if it is not given.

    Raises:
        ConfigurationError: ``snp-launch``: the firmware lacks what is needed, or a number is out of range.
    """
    _check(firmware, launch)
    if loaded is not None and not any(section.kind == HASHES for section in firmware.sections):
        raise ConfigurationError("snp-launch", what="the firmware has no place for hashes of a kernel")
    digest = _Digest(firmware_digest(firmware) if start is None else start)
    parts = [_part("firmware", "firmware", digest.value, size=len(firmware.data))]
    # EC2 prepares the CPUID page last.
    late = launch.host == "ec2"
    for section in sorted(firmware.sections, key=lambda section: late and section.kind == CPUID):
        parts += _prepare(digest, section, firmware, launch, loaded)
    parts += _processors(digest, firmware, launch)
    return Measurement({REGISTER: digest.value}, tuple(parts))


def measure_sev(firmware: Firmware, launch: Launch, *, es: bool, loaded: Loaded | None = None) -> Measurement:
    """Compute the launch digest under SEV-ES (``es``) or plain SEV, 32 bytes.

    Raises:
        ConfigurationError: As ``measure``.
    """
    _check(firmware, launch)
    digest = hashlib.sha256(firmware.data)
    parts = [_part("firmware", "firmware", digest.digest(), size=len(firmware.data))]
    if loaded is not None:
        if not firmware.hashes:
            raise ConfigurationError("snp-launch", what="the firmware has no place for hashes of a kernel")
        parts += _loaded(loaded)
        digest.update(loaded.table())
        parts.append(_part("table of hashes", "parameters", digest.digest()))
    if es:
        for label, number, page in _states(firmware, launch, features=0):
            digest.update(page * number)
            parts.append(_part(label, "parameters", digest.digest(), value=_said(launch, number, 0)))
    return Measurement({REGISTER: digest.digest()}, tuple(parts))


def _check(firmware: Firmware, launch: Launch) -> None:
    if launch.host not in HOSTS:
        raise ConfigurationError("snp-launch", what=f"the host is {launch.host}, not {', '.join(HOSTS)}")
    if not 1 <= launch.cpus <= MAX_CPUS:
        raise ConfigurationError("snp-launch", what=f"{launch.cpus} processors are not 1 to {MAX_CPUS}")
    if launch.signature >> 32 or launch.features >> 64:
        raise ConfigurationError("snp-launch", what="signature or features have too many bits")
    if launch.cpus > 1 and not firmware.reset:
        raise ConfigurationError(
            "snp-launch", what="the firmware does not say where further processors start"
        )


def _prepare(
    digest: _Digest, section: Section, firmware: Firmware, launch: Launch, loaded: Loaded | None
) -> Iterator[Part]:
    """Measure what the host puts into one section."""
    if section.kind == HASHES and loaded is not None:
        yield from _loaded(loaded)
        table, offset = loaded.table(), firmware.hashes % PAGE
        if not firmware.hashes or offset + len(table) > PAGE:
            raise ConfigurationError("snp-launch", what="the table of hashes has no place in its page")
        page = bytes(offset) + table + bytes(PAGE - offset - len(table))
        digest.add(_NORMAL, section.gpa, hashlib.sha384(page).digest())
    else:
        unmeasured = launch.host == "gce" and section.kind == MEMORY
        kind = {SECRETS: _SECRETS, CPUID: _CPUID}.get(section.kind, _UNMEASURED if unmeasured else _ZERO)
        for gpa in range(section.gpa, section.gpa + section.size, PAGE):
            digest.add(kind, gpa)
    value = f"{section.size // PAGE} pages at {section.gpa:#x}"
    yield _part(KINDS[section.kind], "parameters", digest.value, value=value)


def _loaded(loaded: Loaded) -> Iterator[Part]:
    for name, item in (
        ("command line", loaded.command_line),
        ("initrd", loaded.initrd),
        ("kernel", loaded.kernel),
    ):
        yield _part(name, name, item.digest, size=item.size)


def _processors(digest: _Digest, firmware: Firmware, launch: Launch) -> Iterator[Part]:
    for label, number, page in _states(firmware, launch, features=launch.features):
        contents = hashlib.sha384(page).digest()
        for _ in range(number):
            digest.add(_PROCESSOR, _PROCESSORS, contents)
        yield _part(label, "parameters", digest.value, value=_said(launch, number, launch.features))


def _states(firmware: Firmware, launch: Launch, *, features: int) -> Iterator[tuple[str, int, bytes]]:
    """Yield the first processor and the others: what to call them, how many, the page that each has."""
    host = HOSTS[launch.host]
    for label, number, start in (
        ("first processor", 1, FIRST),
        ("further processors", launch.cpus - 1, firmware.reset),
    ):
        if number:
            page = state(host, start=start, signature=launch.signature, features=features)
            yield label, number, page


def _said(launch: Launch, number: int, features: int) -> str:
    processor = f" {launch.signature:#x}" if HOSTS[launch.host].rdx is None else ""
    return f"{number}{processor} of {launch.host}, features {features:#x}"


def _part(label: str, source: str, digest: bytes, *, size: int = 0, value: str = "") -> Part:
    return Part(register=REGISTER, label=label, input=source, size=size, digest=digest, value=value)
