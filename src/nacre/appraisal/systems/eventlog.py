# SPDX-License-Identifier: Apache-2.0
"""Replay of dstack's event log: what was measured into the registers that a quote shows.

A log is only somebody's word until its digests, extended one after the other, come to the register of a
verified quote. And even then a digest that is merely stated vouches for itself, not for the name and payload
beside it. So a fact is read only from events whose digest is computed here, from name and payload; in RTMR3
dstack writes no others, and others are refused.

The digest of such an event is the SHA-384 of

* version 1: ``event type (u32, little-endian) ":" name ":" payload``
* version 2: the canonical JSON (RFC 8785) ``{"name":…,"payload":"hex","type":134217729}``

What dstack measures ends with the event ``system-ready``. From there on the application may extend RTMR3 with
names of its own choosing, so nothing after it says anything about the system.

Source: Dstack-TEE/dstack, ``dstack/cc-eventlog/src/{tdx,runtime_events}.rs``,
``dstack/dstack-attest/src/attestation.rs`` (``find_event``).
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Annotated

import msgspec

from nacre.appraisal.systems.encodings import unhex
from nacre.checks import Check, Status, failed, passed, skipped
from nacre.errors import MalformedEvidence
from nacre.trust import json

__all__ = ["MAX_LOG", "REGISTERS", "RUNTIME", "Event", "digest_of", "measured", "parse", "replayed"]

#: Bytes of a log. Real ones have 7 KiB.
MAX_LOG = 1 << 19
#: The type of the events that dstack itself and the application measure.
RUNTIME = 0x0800_0001
#: The registers that a log speaks of.
REGISTERS = ("rtmr0", "rtmr1", "rtmr2", "rtmr3")

_WHAT = "event log"
_MAX_EVENTS = 2048
_APPLICATION = 3
_READY = "system-ready"
_DIGEST = hashlib.sha384().digest_size
_U32 = Annotated[int, msgspec.Meta(ge=0, lt=1 << 32)]


class Event(msgspec.Struct, frozen=True):
    """One event of a log.

    Attributes:
        imr: The number of the RTMR.
        event_type: :data:`RUNTIME`, or a number of the TCG's.
        digest: As the log states it; empty if it leaves that to the reader.
        event: The name; firmware events have none.
        payload: What was measured under that name.
        version: How the digest is made: 1 or 2.
    """

    imr: int
    event_type: int
    digest: bytes
    event: str
    payload: bytes
    version: int = 1


class _Written(msgspec.Struct):
    imr: Annotated[int, msgspec.Meta(ge=0, lt=len(REGISTERS))]
    event_type: _U32
    event: str
    event_payload: str = ""
    digest: str = ""
    version: Annotated[int, msgspec.Meta(ge=1, le=2)] = 1


def parse(data: bytes) -> tuple[Event, ...]:
    """Read a log as dstack's guest agent serves it: a JSON array.

    Raises:
        MalformedEvidence: It is none; a member is there twice; a number or a text is not what it has to be.
    """
    written = json.decode(data, list[_Written], what=_WHAT, limit=MAX_LOG)
    if len(written) > _MAX_EVENTS:
        raise MalformedEvidence("too-many", what=_WHAT, expected=_MAX_EVENTS, actual=len(written))
    return tuple(
        Event(
            one.imr,
            one.event_type,
            unhex(one.digest, what=_WHAT),
            one.event,
            unhex(one.event_payload, what=_WHAT),
            one.version,
        )
        for one in written
    )


def digest_of(event: Event) -> bytes:
    """Compute the digest of one of dstack's own events from its name and payload, 48 bytes."""
    if event.version == 1:
        head = event.event_type.to_bytes(4, "little")
        return hashlib.sha384(b":".join((head, event.event.encode(), event.payload))).digest()
    name = msgspec.json.encode(event.event)
    payload = event.payload.hex().encode()
    text = b'{"name":%b,"payload":"%b","type":%d}' % (name, payload, event.event_type)
    return hashlib.sha384(text).digest()


def replayed(events: Iterable[Event], register: int) -> bytes:
    """Extend a register with the digests of its events, 48 bytes; dstack's own are computed, not believed."""
    value = bytes(_DIGEST)
    for event in events:
        if event.imr == register:
            digest = digest_of(event) if event.event_type == RUNTIME else event.digest
            value = hashlib.sha384(value + digest).digest()
    return value


def measured(
    events: Sequence[Event], registers: Mapping[str, bytes]
) -> tuple[tuple[Check, ...], Mapping[str, bytes]]:
    """Hold a log against the registers of a verified quote.

    Returns:
        The checks ``dstack.event-log`` and ``dstack.boot-log``, and the payloads of what the system itself
        measured, by name; none unless the first check passed.
    """
    boot = _boot_log(events, registers)
    wrong = _wrong(events) or _differs(events, registers, _APPLICATION)
    if wrong is not None:
        return (wrong, boot), {}
    named: dict[str, bytes] = {}
    for event in _of_system(events):
        # Scripts before boot are measured one by one; nothing else is measured twice.
        if event.event in named and event.event != "init-script-hash":
            twice = failed("dstack.event-log", "event-twice", actual=event.event)
            return (twice, boot), {}
        named.setdefault(event.event, event.payload)
    return (
        passed("dstack.event-log", actual=sum(event.imr == _APPLICATION for event in events)),
        boot,
    ), named


def _of_system(events: Iterable[Event]) -> Iterator[Event]:
    for event in events:
        if event.imr == _APPLICATION:
            if event.event == _READY:
                return
            yield event


def _wrong(events: Iterable[Event]) -> Check | None:
    """Find an event whose digest nobody can compute, or that states another."""
    ready = False
    for event in events:
        if (event.imr == _APPLICATION) != (event.event_type == RUNTIME):
            return failed(
                "dstack.event-log", "event-type", actual=event.event_type, what=REGISTERS[event.imr]
            )
        if event.event_type != RUNTIME:
            continue
        if event.digest and event.digest != digest_of(event):
            return failed(
                "dstack.event-log",
                "event-digest",
                what=event.event[:64],
                expected=digest_of(event),
                actual=event.digest,
            )
        # The first version's parts are not delimited: with a colon in its name an event reads in two ways.
        if not ready and event.version == 1 and ":" in event.event:
            return failed("dstack.event-log", "event-name", actual=event.event[:64])
        ready = ready or event.event == _READY
    return None


def _differs(events: Iterable[Event], registers: Mapping[str, bytes], number: int) -> Check | None:
    check = "dstack.event-log" if number == _APPLICATION else "dstack.boot-log"
    name = REGISTERS[number]
    value = replayed(events, number)
    if registers.get(name) == value:
        return None
    return failed(check, "event-log-mismatch", what=name, expected=registers.get(name), actual=value)


def _boot_log(events: Sequence[Event], registers: Mapping[str, bytes]) -> Check:
    """Replay the firmware's and the kernel's part, unless it was left out.

    In certificates dstack keeps of it only three events, the ones for ACPI tables.
    """
    boot = [event for event in events if event.imr != _APPLICATION]
    if all(event.payload == b"ACPI DATA" for event in boot):
        return Check("dstack.boot-log", Status.NOT_APPLICABLE, "boot-log-absent")
    if any(len(event.digest) != _DIGEST for event in boot):
        return skipped("dstack.boot-log", "boot-log-undigested")
    differences = (_differs(boot, registers, number) for number in range(_APPLICATION))
    return next((one for one in differences if one is not None), None) or passed("dstack.boot-log")
