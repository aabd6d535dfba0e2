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
from typing import Annotated, Literal, TypeVar

import msgspec

from nacre.appraisal.systems.eventlog import RUNTIME, Event
from nacre.appraisal.systems.scale import Scale
from nacre.errors import MalformedEvidence, UnsupportedEvidence

__all__ = ["MAX_ATTESTATION", "Attestation", "parse"]

#: Bytes. Real ones have 10 KiB.
MAX_ATTESTATION = 1 << 19

_WHAT = "dstack attestation"
_MAX_EVENTS = 2048
_REPORT_DATA = 64
#: The first bytes of MessagePack maps.
_MAPS = tuple(bytes((byte,)) for byte in (*range(0x80, 0x90), 0xDE, 0xDF))

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
    if data[:1] in _MAPS:
        return _version_1(data)
    raise UnsupportedEvidence("dstack-version", actual=data[:1], expected="0 or 1")


class _Scale(Scale):
    """Reads what dstack writes in SCALE."""

    def __init__(self, data: bytes) -> None:
        super().__init__(data, _WHAT)

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
        raise UnsupportedEvidence("dstack-platform", actual=variant, expected=("0", "2", "3"))
    own = reader.several(reader.runtime_event)
    reader.skip(_REPORT_DATA, "report data")
    config = reader.text()
    reader.finish()
    # dstack's own events are listed twice; the second list is the one that its verifier replays.
    boot = tuple(event for event in log if event.event_type != RUNTIME)
    return Attestation(kind, evidence, (*boot, *own), config, document, certificates)


_Octets = bytes | list[Annotated[int, msgspec.Meta(ge=0, le=255)]]
_Version = Annotated[int, msgspec.Meta(ge=1, le=2)]


class _BootEvent(msgspec.Struct):
    imr: Annotated[int, msgspec.Meta(ge=0, le=3)]
    event_type: Annotated[int, msgspec.Meta(ge=0, lt=1 << 32)]
    digest: _Octets
    event: str
    event_payload: _Octets


class _OwnEvent(msgspec.Struct):
    event: str
    payload: _Octets
    version: _Version = 1


class _PlatformData(msgspec.Struct):
    quote: _Octets = b""
    event_log: list[_BootEvent] = []
    nsm_quote: _Octets = b""
    report: _Octets = b""
    cert_chain: list[_Octets] = []
    mr_config: str = ""


class _Platform(msgspec.Struct):
    kind: str
    data: _PlatformData


class _StackData(msgspec.Struct):
    runtime_events: list[_OwnEvent]
    config: str


class _Stack(msgspec.Struct):
    kind: Literal["dstack", "dstack-pod"]
    data: _StackData


class _Container(msgspec.Struct):
    version: Literal[1]
    platform: _Platform
    stack: _Stack


def _version_1(data: bytes) -> Attestation:
    try:
        read = msgspec.msgpack.decode(data)
        # A key that is there twice, or a longer form than needed, does not come back.
        again = msgspec.msgpack.encode(read)
        container = msgspec.convert(read, _Container)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, OverflowError) as error:
        raise MalformedEvidence("msgpack-invalid", what=_WHAT, detail=str(error)) from None
    if again != data:
        raise MalformedEvidence("msgpack-invalid", what=_WHAT, detail="not in its shortest form")
    platform, stack = container.platform, container.stack.data
    found = platform.data
    evidence = {"tdx": found.quote, "nitro-enclave": found.nsm_quote, "sev-snp": found.report}
    if platform.kind not in evidence:
        raise UnsupportedEvidence("dstack-platform", actual=platform.kind, expected=tuple(evidence))
    if len(found.event_log) + len(stack.runtime_events) > _MAX_EVENTS:
        count = len(found.event_log) + len(stack.runtime_events)
        raise MalformedEvidence("too-many", what=_WHAT, expected=_MAX_EVENTS, actual=count)
    boot = [
        Event(one.imr, one.event_type, bytes(one.digest), one.event, bytes(one.event_payload))
        for one in found.event_log
        if one.event_type != RUNTIME
    ]
    own = [Event(3, RUNTIME, b"", one.event, bytes(one.payload), one.version) for one in stack.runtime_events]
    return Attestation(
        platform.kind,
        bytes(evidence[platform.kind]),
        (*boot, *own),
        stack.config,
        found.mr_config,
        tuple(map(bytes, found.cert_chain)),
    )
