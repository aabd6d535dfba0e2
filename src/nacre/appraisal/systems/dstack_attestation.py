# SPDX-License-Identifier: Apache-2.0
"""dstack's own container for evidence: what its certificates carry and its ``Attest`` answers.

Version 0 is SCALE: a zero byte, then the platform's evidence, dstack's events, the report data and the
configuration. Version 1, which dstack writes where an event is of the second kind, is a MessagePack map of
the same things.

What it states beside the evidence (report data, configuration) is repeated or merely said; only the evidence
and the events are taken from it.

Source: Dstack-TEE/dstack, ``dstack/dstack-attest/src/{attestation,v1}.rs``; SCALE: Parity's codec.
"""

from collections.abc import Callable
from typing import TypeVar

import msgspec

from nacre.appraisal.systems.eventlog import RUNTIME, Event
from nacre.errors import MalformedEvidence, UnsupportedEvidence
from nacre.trust.reader import Reader

__all__ = ["MAX_ATTESTATION", "Attestation", "parse"]

#: Bytes. Real ones have 10 KiB.
MAX_ATTESTATION = 1 << 19

_WHAT = "dstack attestation"
_MAX_EVENTS = 2048
_REPORT_DATA = 64
_MAPS = (*range(0x80, 0x90), 0xDE, 0xDF)

_T = TypeVar("_T")


class Attestation(msgspec.Struct, frozen=True):
    """What such a container holds.

    Attributes:
        kind: ``tdx``, ``nitro-enclave`` or ``sev-snp``.
        evidence: The platform's evidence.
        events: The log: the firmware's events as far as they were kept, then dstack's.
        config: What dstack says of the machine, JSON; nothing vouches for it.
        document: SEV-SNP: the document that HOST_DATA commits to; empty elsewhere.
        certificates: SEV-SNP: what came with the report.
    """

    kind: str
    evidence: bytes
    events: tuple[Event, ...] = ()
    config: str = ""
    document: str = ""
    certificates: tuple[bytes, ...] = ()


def parse(data: bytes) -> Attestation:
    """Read a container of either version.

    Raises:
        MalformedEvidence: It is none.
        UnsupportedEvidence: It is of a platform or version that is not read here.
    """
    if len(data) > MAX_ATTESTATION:
        raise MalformedEvidence("too-large", what=_WHAT, expected=MAX_ATTESTATION, actual=len(data))
    if data[:1] == b"\0":
        return _version_0(_Scale(data))
    raise UnsupportedEvidence("dstack-version", actual=data[:1], expected="00")


class _Scale(Reader):
    """Reads Parity's SCALE encoding."""

    def __init__(self, data: bytes) -> None:
        super().__init__(data, _WHAT)

    def compact(self) -> int:
        """Read a compact integer of the smallest of its four sizes."""
        first = self.take(1)[0]
        mode, low = first & 3, first >> 2
        if mode == 0:
            return low
        if mode == 3:  # noqa: PLR2004 (up to 67 bytes follow: nothing here is that large)
            raise MalformedEvidence("too-large", what=_WHAT, expected=MAX_ATTESTATION, actual=low)
        size = 1 if mode == 1 else 3
        value = low | int.from_bytes(self.take(size), "little") << 6
        if value < 1 << (6 if size == 1 else 14):
            raise MalformedEvidence("scale-not-minimal", what=_WHAT, actual=value, offset=self.offset)
        return value

    def string(self) -> bytes:
        return self.take(self.compact())

    def text(self) -> str:
        try:
            return self.string().decode()
        except UnicodeDecodeError:
            raise MalformedEvidence("text-invalid", what=_WHAT, offset=self.offset) from None

    def several(self, one: Callable[[], _T]) -> tuple[_T, ...]:
        count = self.compact()
        if count > _MAX_EVENTS:
            raise MalformedEvidence("too-many", what=_WHAT, expected=_MAX_EVENTS, actual=count)
        return tuple(one() for _ in range(count))

    def event(self) -> Event:
        imr, kind = self.u32(), self.u32()
        if imr > 3:  # noqa: PLR2004 (RTMR0 to RTMR3)
            raise MalformedEvidence("event-register", what=_WHAT, expected=3, actual=imr)
        digest, name = self.string(), self.text()
        return Event(imr, kind, digest, name, self.string())

    def runtime_event(self) -> Event:
        name = self.text()
        return Event(3, RUNTIME, b"", name, self.string())


def _version_0(reader: _Scale) -> Attestation:
    reader.skip(1)
    variant = reader.take(1, "platform")[0]
    document = ""
    log: tuple[Event, ...] = ()
    certificates: tuple[bytes, ...] = ()
    if variant == 0:
        kind, evidence, log = "tdx", reader.string(), reader.several(reader.event)
    elif variant == 2:  # noqa: PLR2004 (DstackNitroEnclave)
        kind, evidence = "nitro-enclave", reader.string()
    elif variant == 3:  # noqa: PLR2004 (DstackAmdSevSnp)
        kind, evidence = "sev-snp", reader.string()
        certificates, document = reader.several(reader.string), reader.text()
    else:
        raise UnsupportedEvidence("dstack-platform", actual=variant, expected="0, 2 or 3")
    own = reader.several(reader.runtime_event)
    reader.skip(_REPORT_DATA, "report data")
    config = reader.text()
    reader.finish()
    # dstack's own events are listed twice; the second list is the one that its verifier replays.
    boot = tuple(event for event in log if event.event_type != RUNTIME)
    return Attestation(kind, evidence, (*boot, *own), config, document, certificates)
