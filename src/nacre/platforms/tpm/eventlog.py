# SPDX-License-Identifier: Apache-2.0
"""The log that firmware keeps of what it measured, in the TCG's crypto-agile form.

TPMs' logs have this form (``/sys/kernel/security/tpm0/binary_bios_measurements``), and so have those of TDX
guests (ACPI table ``CCEL``), with other register numbers and padded to the size of their memory.

A log is somebody's word. What it says of a register holds only if its digests come to the value that quoted
evidence shows (:mod:`nacre.platforms.tpm.replay`), and even then a digest vouches for an event's data only
where it is theirs.

Source: TCG, PC Client Platform Firmware Profile 1.06, 10 (event logging).
"""

from collections.abc import Mapping
from struct import Struct

import msgspec

from nacre.errors import MalformedEvidence, UnsupportedEvidence
from nacre.trust.reader import Reader

__all__ = ["MAX_LOG", "NO_ACTION", "Event", "EventLog", "parse"]

#: Bytes of a log with its padding. Real ones have 40 KiB.
MAX_LOG = 1 << 20
#: The type of events that extend no register.
NO_ACTION = 3

_WHAT = "event log"
_MAX_EVENTS = 4096
_MAX_ALGORITHMS = 8
_SIGNATURE = b"Spec ID Event03\0"
_FIRST = Struct("<II20sI")  # register, type, SHA-1 digest, size of the data
_SPEC = Struct("<16sIBBBBI")  # signature, platform class, minor, major, errata, size of a UINTN, algorithms
_ALGORITHM = Struct("<HH")  # identifier, bytes of a digest
_EVENT = Struct("<III")  # register, type, digests
#: By the TCG's identifiers: what ``hashlib`` calls the hash, and the bytes of a digest.
_KNOWN = {
    0x04: ("sha1", 20),
    0x0B: ("sha256", 32),
    0x0C: ("sha384", 48),
    0x0D: ("sha512", 64),
    0x12: ("sm3_256", 32),
}


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """One event.

    Attributes:
        register: The number of the register, as the log counts.
        kind: The type of the event, which no digest covers.
        digests: What the register is extended with, by the names of hashes.
        data: What the event is said to be about.
        offset: Where the event begins in the log, bytes.
        size: Bytes of the event in the log.
    """

    register: int
    kind: int
    digests: Mapping[str, bytes]
    data: bytes
    offset: int
    size: int


class EventLog(msgspec.Struct, frozen=True):
    """A log taken apart. Nothing of it is verified.

    Attributes:
        algorithms: The hashes that every event has a digest of, as ``hashlib`` calls them.
        events: All but the one that only says so.
    """

    algorithms: tuple[str, ...]
    events: tuple[Event, ...]


def parse(data: bytes | memoryview, *, padded: bool = False) -> EventLog:
    """Take a log apart.

    Args:
        data: The whole log, bytes-like.
        padded: Whether bytes that are all ff or all zero may follow it, as in a CCEL.

    Raises:
        MalformedEvidence: ``too-large``, ``too-many``, ``truncated``, ``trailing-bytes``, or
            ``event-log-header`` or ``event-log-digests``.
        UnsupportedEvidence: ``event-log-form``: the older form, which has SHA-1 alone.
    """
    if len(data) > MAX_LOG:
        raise MalformedEvidence("too-large", what=_WHAT, expected=MAX_LOG, actual=len(data))
    whole = bytes(data)
    reader = Reader(whole, _WHAT)
    sizes = _header(reader)
    events: list[Event] = []
    while reader.remaining and not (padded and _padding(whole[reader.offset :])):
        if len(events) == _MAX_EVENTS:
            raise MalformedEvidence("too-many", what=_WHAT, expected=_MAX_EVENTS, actual=len(events) + 1)
        events.append(_event(reader, sizes))
    return EventLog(tuple(name for name, _ in sizes.values()), tuple(events))


def _header(reader: Reader) -> Mapping[int, tuple[str, int]]:
    """Read the first event, which says how the others are read: names and sizes of the digests."""
    _, kind, _, size = reader.unpack(_FIRST, "header")
    inner = Reader(reader.take(size, "header"), "event log: header")
    if kind != NO_ACTION or size < _SPEC.size:
        raise UnsupportedEvidence("event-log-form")
    signature, *_, count = inner.unpack(_SPEC)
    if signature != _SIGNATURE:
        raise UnsupportedEvidence("event-log-form")
    if not 0 < count <= _MAX_ALGORITHMS:
        raise MalformedEvidence("event-log-header", actual=f"{count} algorithms")
    sizes: dict[int, tuple[str, int]] = {}
    for _ in range(count):
        identifier, length = inner.unpack(_ALGORITHM)
        known = _KNOWN.get(identifier)
        if known is None or known[1] != length or identifier in sizes:
            raise MalformedEvidence("event-log-header", actual=f"algorithm {identifier:#06x}, {length} bytes")
        sizes[identifier] = known
    inner.skip(inner.take(1, "vendor")[0], "vendor")
    inner.finish()
    return sizes


def _event(reader: Reader, sizes: Mapping[int, tuple[str, int]]) -> Event:
    start = reader.offset
    register, kind, count = reader.unpack(_EVENT, "event")
    if count != len(sizes):
        raise MalformedEvidence("event-log-digests", offset=start, expected=len(sizes), actual=count)
    digests: dict[str, bytes] = {}
    for _ in range(count):
        identifier = reader.u16("digest")
        name, size = sizes.get(identifier, ("", 0))
        if not name or name in digests:
            raise MalformedEvidence(
                "event-log-digests", offset=start, expected=len(sizes), actual=f"{identifier:#06x}"
            )
        digests[name] = reader.take(size, "digest")
    data = reader.take(reader.u32("event"), "event")
    return Event(
        register=register,
        kind=kind,
        digests=digests,
        data=data,
        offset=start,
        size=reader.offset - start,
    )


def _padding(rest: bytes) -> bool:
    return not rest.strip(b"\xff") or not rest.strip(b"\0")
