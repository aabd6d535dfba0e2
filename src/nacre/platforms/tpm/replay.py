# SPDX-License-Identifier: Apache-2.0
"""What an event log's digests come to, extended one after the other.

Source: TCG, PC Client Platform Firmware Profile 1.06, 3.3.2 (locality of PCR 0), 10.4 (types of events);
UEFI 2.10, 32 (variables).
"""

import hashlib
from collections.abc import Iterator, Mapping
from struct import Struct

from nacre.errors import MalformedEvidence
from nacre.platforms.measuring import Measurement, Part
from nacre.platforms.tpm.eventlog import NO_ACTION, Event, EventLog
from nacre.platforms.tpm.registers import PCRS, insist, measured

__all__ = ["replay"]

_INPUT = "event log"
_FIRST = "pcr0"
_LOCALITY = b"StartupLocality\0"
_LOCALITIES = (0, 3, 4)
#: What is shown of an event's bytes that are no text.
_SHOWN = 32
_VARIABLE = Struct("<16sQQ")  # vendor's GUID, UTF-16 units of the name, bytes of the value
_VARIABLES = {0x80000001, 0x80000002, 0x8000000C, 0x800000E0}
_NAMES = {
    0x01: "EV_POST_CODE",
    0x04: "EV_SEPARATOR",
    0x05: "EV_ACTION",
    0x06: "EV_EVENT_TAG",
    0x07: "EV_S_CRTM_CONTENTS",
    0x08: "EV_S_CRTM_VERSION",
    0x0A: "EV_PLATFORM_CONFIG_FLAGS",
    0x0B: "EV_TABLE_OF_DEVICES",
    0x0C: "EV_COMPACT_HASH",
    0x0D: "EV_IPL",
    0x11: "EV_NONHOST_INFO",
    0x80000001: "EV_EFI_VARIABLE_DRIVER_CONFIG",
    0x80000002: "EV_EFI_VARIABLE_BOOT",
    0x80000003: "EV_EFI_BOOT_SERVICES_APPLICATION",
    0x80000004: "EV_EFI_BOOT_SERVICES_DRIVER",
    0x80000005: "EV_EFI_RUNTIME_SERVICES_DRIVER",
    0x80000006: "EV_EFI_GPT_EVENT",
    0x80000007: "EV_EFI_ACTION",
    0x80000008: "EV_EFI_PLATFORM_FIRMWARE_BLOB",
    0x80000009: "EV_EFI_HANDOFF_TABLES",
    0x8000000A: "EV_EFI_PLATFORM_FIRMWARE_BLOB2",
    0x8000000B: "EV_EFI_HANDOFF_TABLES2",
    0x8000000C: "EV_EFI_VARIABLE_BOOT2",
    0x80000010: "EV_EFI_HCRTM_EVENT",
    0x800000E0: "EV_EFI_VARIABLE_AUTHORITY",
    0x800000E1: "EV_EFI_SPDM_FIRMWARE_BLOB",
}


def replay(log: EventLog, *, algorithm: str, names: Mapping[int, str] = PCRS) -> Measurement:
    """Compute the registers that a log explains.

    A part's value quotes the event only where the digest is that of the very words: they cannot be changed
    without the register. Whatever else a log says of an event, its type included, is nobody's word but
    whoever handed it over.

    Args:
        log: The log.
        algorithm: Whose digests, as ``hashlib`` calls it: of a TPM the bank.
        names: The registers by their numbers in the log.

    Returns:
        The registers that the log extends, and a part for each event that does.

    Raises:
        MalformedEvidence: ``event-log-bank``: it has no such digests; ``event-log-register``: an event is of
            a register that there is none of; ``event-log-locality``.
        ConfigurationError: ``tpm-bank``: the algorithm is none to be used.
    """
    insist(algorithm)
    if algorithm not in log.algorithms:
        raise MalformedEvidence("event-log-bank", expected=algorithm, actual=log.algorithms)
    starts = _starts(log, algorithm) if names is PCRS else {}
    return measured(_parts(log, algorithm, names), algorithm=algorithm, starts=starts)


def _parts(log: EventLog, algorithm: str, names: Mapping[int, str]) -> Iterator[Part]:
    for event in log.events:
        if event.kind == NO_ACTION:
            continue
        if event.register not in names:
            raise MalformedEvidence(
                "event-log-register",
                offset=event.offset,
                actual=event.register,
                expected=tuple(names.values()),
            )
        digest = event.digests[algorithm]
        yield Part(
            register=names[event.register],
            label=_NAMES.get(event.kind, f"event type {event.kind:#010x}"),
            input=_INPUT,
            offset=event.offset,
            size=event.size,
            digest=digest,
            value=_words(event) if _vouched(event.data, digest, algorithm) else "",
        )


def _starts(log: EventLog, algorithm: str) -> Mapping[str, bytes]:
    """Find where PCR 0 begins: firmware that starts the TPM itself leaves its locality there."""
    found: dict[str, bytes] = {}
    measuring = False
    for event in log.events:
        if event.kind != NO_ACTION:
            measuring = measuring or PCRS.get(event.register) == _FIRST
        elif event.data.startswith(_LOCALITY):
            locality = event.data[len(_LOCALITY) :]
            if found or measuring or len(locality) != 1 or locality[0] not in _LOCALITIES:
                raise MalformedEvidence("event-log-locality", offset=event.offset, actual=locality)
            found[_FIRST] = locality.rjust(hashlib.new(algorithm).digest_size, b"\0")
    return found


def _vouched(data: bytes, digest: bytes, algorithm: str) -> bool:
    """Tell whether a digest is that of the event's data; some hash a text without its end."""
    return digest in (
        hashlib.new(algorithm, data).digest(),
        hashlib.new(algorithm, data.removesuffix(b"\0")).digest(),
    )


def _words(event: Event) -> str:
    data = event.data
    if event.kind in _VARIABLES and len(data) >= _VARIABLE.size:
        _, units, size = _VARIABLE.unpack_from(data)
        name, value = data[_VARIABLE.size :][: 2 * units], data[_VARIABLE.size + 2 * units :]
        if len(name) == 2 * units and len(value) == size:
            return f"{_text(name, 'utf-16-le') or name.hex()} = {_shown(value)}"
    return _text(data.removesuffix(b"\0"), "ascii") or _shown(data)


def _text(data: bytes, encoding: str) -> str:
    text = data.decode(encoding, "replace")
    return text if text.isascii() and text.isprintable() else ""


def _shown(data: bytes) -> str:
    return data.hex() if len(data) <= _SHOWN else f"{len(data)} bytes"
