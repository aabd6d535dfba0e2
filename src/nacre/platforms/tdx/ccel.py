# SPDX-License-Identifier: Apache-2.0
"""A TD's own log of what was measured ("CCEL"): which event made which register, in the words of its writers.

It is the log that ``/sys/firmware/acpi/tables/data/CCEL`` shows. Its registers are counted from MRTD: 1 is
RTMR0. Nothing extends MRTD once a TD runs, so an event of it is refused.

A log is somebody's word until its digests come to the registers of a verified quote. Labels are the log's
word even then: a digest covers the words beside it only where a part has a ``value``.

Source: UEFI 2.10, 38.4.1 (numbers of registers); ACPI 6.5, 5.2.34 (CCEL); tianocore/edk2,
``OvmfPkg/Tcg/TdTcg2Dxe`` and ``OvmfPkg/AcpiPlatformDxe/QemuFwCfgAcpi.c``; Linux,
``drivers/firmware/efi/libstub``.
"""

import hashlib
from collections.abc import Iterator, Sequence
from struct import Struct

import msgspec

from nacre.errors import MalformedEvidence
from nacre.platforms.measuring import Measurement, Part
from nacre.platforms.tdx.hob import memory_of
from nacre.platforms.tdx.rtmr import ACPI, HOB, RTMRS, VOLUME, Boot, td_hob, usual
from nacre.platforms.tpm import eventlog
from nacre.platforms.tpm import replay as tpm

__all__ = ["explained", "learned", "replay"]

_ALGORITHM = "sha384"
_NUMBERS = dict(enumerate(RTMRS, start=1))
_SEPARATOR, _TAG, _FLAGS, _IPL = 0x04, 0x06, 0x0A, 0x0D
_BOOT, _PROGRAM, _BLOB, _TABLES = 0x80000002, 0x80000003, 0x8000000A, 0x8000000B
_VARIABLES = {0x80000001: "variable", _BOOT: "boot variable", 0x800000E0: "authority"}
_LABELS = {
    _SEPARATOR: "separator",
    0x80000006: "partition table",
    0x80000007: "EFI action",
    _TABLES: HOB,
}
_TAGS = {0x8F3B22ED: "command line", 0x8F3B22EC: "initrd"}
_ACPI_DATA = b"ACPI DATA"
_NAMED = Struct("<16sQQ")  # vendor's GUID, UTF-16 units of the name, bytes of the value
_TAGGED = Struct("<II")  # identifier, bytes
_LOADED = Struct("<QQQQ")  # address, size, linked address, bytes of the device path
_NODE = Struct("<BBH")  # kind, kind of that kind, bytes with this
_FILE = (4, 4)
_LONGEST = 64


def replay(data: bytes | memoryview) -> Measurement:
    """Compute RTMR0 to RTMR3 as a log explains them, 48 bytes each; what it does not extend is zeros.

    Args:
        data: The log, with the padding to the end of its memory or without.

    Raises:
        MalformedEvidence: As :func:`nacre.platforms.tpm.eventlog.parse` and
            :func:`nacre.platforms.tpm.replay.replay`.
        UnsupportedEvidence: ``event-log-form``.
    """
    return explained(eventlog.parse(data, padded=True))


def explained(log: eventlog.EventLog) -> Measurement:
    """Do the same for a log that was read already.

    Raises:
        MalformedEvidence: As :func:`nacre.platforms.tpm.replay.replay`.
    """
    made = tpm.replay(log, algorithm=_ALGORITHM, names=_NUMBERS)
    events = [event for event in log.events if event.kind != eventlog.NO_ACTION]
    registers = {**dict.fromkeys(RTMRS, bytes(48)), **made.registers}
    return Measurement(registers, tuple(_labelled(events, made.parts)))


def learned(measurement: Measurement, boot: Boot) -> Boot:
    """Take from a replayed log what the image does not tell: ACPI tables, and all else that firmware finds.

    Only a log whose registers are those of a verified quote says what this machine has. Whether it should
    have that is for whoever takes it over to judge: firmware and kernel run what these tables hold.

    Raises:
        MalformedEvidence: ``ccel-boot``: the log is not of a TD that firmware got a list of memory for.
    """
    parts = measurement.of(RTMRS[0])
    labels = [part.label for part in parts]
    if not any(label.startswith(HOB) for label in labels):
        raise MalformedEvidence("ccel-boot", expected=HOB)
    twice = labels.count(_LABELS[_SEPARATOR]) > 1
    return msgspec.structs.replace(boot, pattern=parts, separator="rtmr0" if twice else "rtmr1")


def _labelled(events: Sequence[eventlog.Event], parts: Sequence[Part]) -> Iterator[Part]:
    tables, known = iter(ACPI), usual()
    for event, part in zip(events, parts, strict=True):
        value = part.value
        if not event.data and part.digest in known:
            # dstack's log leaves out what was measured; of this there is one way to come by the digest.
            label, value = known[part.digest].label, known[part.digest].value
        elif event.kind == _FLAGS and event.data == _ACPI_DATA:
            label = next(tables, "more ACPI data")
        elif event.kind in _VARIABLES and len(event.data) >= _NAMED.size:
            label, content = _variable(event)
            # Of these firmware hashes the value alone.
            if event.kind == _BOOT and hashlib.new(_ALGORITHM, content).digest() == part.digest:
                value = content.hex()
        elif event.kind == _TABLES and (memory := memory_of(part.digest)) is not None:
            # Nothing else comes to this digest; so the log tells what the machine was given.
            label = td_hob(memory)
        else:
            label = _label(event) or part.label
        yield msgspec.structs.replace(part, label=label, value=value)


def _variable(event: eventlog.Event) -> tuple[str, bytes]:
    _, units, _ = _NAMED.unpack_from(event.data)
    rest = event.data[_NAMED.size :]
    name = _utf16(rest[: 2 * min(units, _LONGEST)])
    return f"{_VARIABLES[event.kind]} {name}", rest[2 * units :]


def _label(event: eventlog.Event) -> str:
    """Say what an event is about; empty where the type says as much."""
    data, kind = event.data, event.kind
    if kind == _TAG and len(data) >= _TAGGED.size:
        return _TAGS.get(_TAGGED.unpack_from(data)[0], "")
    if kind == _PROGRAM and len(data) >= _LOADED.size:
        return f"program {_file(data[_LOADED.size :])}".rstrip()
    if kind == _BLOB:
        name = _ascii(data[1 : 1 + data[0]]) if data else "Fv("
        return VOLUME if name.startswith("Fv(") else f"firmware {name}".rstrip()
    if kind in (_IPL, _FLAGS):
        return _ascii(data)
    return _LABELS.get(kind, "")


def _file(path: bytes) -> str:
    """Find the name of a file in a device path; empty where it names none."""
    at, found = 0, []
    while at + _NODE.size <= len(path):
        kind, below, size = _NODE.unpack_from(path, at)
        if size < _NODE.size:
            break
        if (kind, below) == _FILE:
            found.append(_utf16(path[at + _NODE.size : at + size]))
        at += size
    return "".join(found)


def _utf16(text: bytes) -> str:
    return _printable(text.decode("utf-16-le", "ignore"))


def _ascii(text: bytes) -> str:
    return _printable(text.partition(b"\0")[0].decode("ascii", "ignore"))


def _printable(text: str) -> str:
    """Leave out what a terminal would take for something else, and what is too long to read."""
    return "".join(filter(str.isprintable, text))[:_LONGEST]
